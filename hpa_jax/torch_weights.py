"""Converts PyTorch state dictionaries, as dictionaries of NumPy arrays, to variables and back.

Two sets of names are known: those of the authors' released network (VIM-LPR), and those of
torchvision's ResNets, which are the former without `context_path.`.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from hpa_jax import tree_paths
from hpa_jax.models import layers, resnet
from hpa_jax.models.hpa import HPANet
from hpa_jax.tree_paths import Variables

StateDict = Mapping[str, np.ndarray]

MODULES = (  # path of a module here, the authors' name for it; {i} is the character position
    (r"backbone/spatial_path(\d)/conv", r"saptial_path.convblock\1.conv1"),  # (sic)
    (r"backbone/spatial_path(\d)/bn", r"saptial_path.convblock\1.bn"),
    (r"backbone/context_path/(conv1|bn1)", r"context_path.\1"),
    (r"backbone/context_path/(layer\d)_(\d+)/downsample_conv", r"context_path.\1.\2.downsample.0"),
    (r"backbone/context_path/(layer\d)_(\d+)/downsample_bn", r"context_path.\1.\2.downsample.1"),
    (r"backbone/context_path/(layer\d)_(\d+)/(\w+)", r"context_path.\1.\2.\3"),
    (r"backbone/attention_refinement3/(\w+)", r"attention_refinement_module1.\1"),
    (r"backbone/attention_refinement4/(\w+)", r"attention_refinement_module2.\1"),
    (r"semantic_network/fusion_conv", "feature_fusion_module1.convblock.0.conv1"),
    (r"semantic_network/fusion_bn", "feature_fusion_module1.convblock.0.bn"),
    (r"semantic_network/block1/conv", "feature_fusion_module1.convblock.1.conv1"),
    (r"semantic_network/block1/bn", "feature_fusion_module1.convblock.1.bn"),
    (r"semantic_network/gate(\d)", r"feature_fusion_module1.conv\1"),
    (r"semantic_network/output", "conv_seg"),
    (r"semantic_bn", "bnSeg"),
    (r"position_network/fusion_conv", "feature_fusion_module2.convblock.conv1"),
    (r"position_network/fusion_bn", "feature_fusion_module2.convblock.bn"),
    (r"position_network/gate(\d)", r"feature_fusion_module2.conv\1"),
    (r"position_network/output", "conv_pos"),
    (r"classifier/conv", "convblock{i}.0.conv1"),
    (r"classifier/bn", "convblock{i}.0.bn"),
    (r"classifier/dense", "classifier{i}"),
)
TENSORS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
HEAD = "context_path.features.fc."  # the ImageNet head, registered by the authors and never used
DUPLICATES = "context_path.features."  # the ResNet's tensors are repeated here


class Tensors(NamedTuple):
    """The PyTorch tensors that hold the numbers of one array of a variable tree.

    `names` has one entry, or one per character position: the array stacks these along axis 0.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]


def from_vim_lpr(state: StateDict) -> tuple[dict[str, Any], Variables]:
    """Returns the authors' network: `HPANet` arguments, inferred from the shapes, and variables.

    A state does not record whether plates are grey: `grey` is True, as in the release.

    Raises:
      ValueError: tensors are missing, unknown, misshapen or not finite; all are listed by name.
    """
    network = _network(state)
    model = HPANet(**network)
    abstract = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 50, 160, 3)))
    merged, problems = {}, []
    for name, tensor in state.items():
        if name.startswith(HEAD):
            continue
        name = name.replace(DUPLICATES, "context_path.")
        if not np.array_equal(merged.setdefault(name, tensor), tensor, equal_nan=True):
            problems.append(f"{name}: differs from its duplicate below {DUPLICATES}")
    return network, _assemble(merged, abstract, _tensors_of(abstract), problems)


def to_vim_lpr(variables: Variables) -> dict[str, np.ndarray]:
    """Returns a state dictionary that the authors' code loads strictly, duplicates included.

    Tensors that reading does not use are zeros: the ImageNet head and PyTorch's batch counters.

    Raises:
      ValueError: a module has no counterpart in that code, as with a custom backbone.
    """
    flat = traverse_util.flatten_dict(variables)
    state = {}
    for path, (names, shape) in _tensors_of(variables).items():
        array = np.asarray(flat[path])
        for name, part in zip(names, array if len(names) > 1 else [array], strict=True):
            state[name] = _to_torch(part, shape)
            if name.endswith("running_var"):
                state[name.replace("running_var", "num_batches_tracked")] = np.array(0)
    copies = {
        name.replace("context_path.", DUPLICATES): tensor
        for name, tensor in state.items()
        if name.startswith("context_path.")
    }
    channels = state["attention_refinement_module2.bn.bias"].size
    head = {"weight": np.zeros((1000, channels), np.float32), "bias": np.zeros(1000, np.float32)}
    return state | copies | {HEAD + name: tensor for name, tensor in head.items()}


def from_torchvision(state: StateDict) -> tuple[str, Variables]:
    """Returns an ImageNet ResNet's name, and its variables as `backbone/context_path`; no head.

    Raises:
      ValueError: tensors are missing, unknown, misshapen or not finite; all are listed by name.
    """
    depth = _depth(state, "")
    model = resnet.ResNet(depth)
    init = functools.partial(model.init, train=False)
    abstract = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 50, 160, 3)))
    abstract = {name: {"backbone": {"context_path": tree}} for name, tree in abstract.items()}
    tensors = {
        path: Tensors((names[0].removeprefix("context_path."),), shape)
        for path, (names, shape) in _tensors_of(abstract).items()
    }
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    return depth, _assemble(state, abstract, tensors, [])


def _depth(state: StateDict, prefix: str) -> str:
    """Returns the backbone's name, from its blocks in stage 3 and whether they are bottlenecks."""
    pattern = re.compile(re.escape(f"{prefix}layer3.") + r"(\d+)\.")
    blocks = {match[1] for name in state if (match := pattern.match(name))}
    bottleneck = f"{prefix}layer1.0.conv3.weight" in state
    for depth, stages in resnet.STAGES.items():
        if stages[2] == len(blocks) and (depth in resnet.BOTTLENECK) == bottleneck:
            return depth
    raise ValueError(
        f"{len(blocks)} blocks named {prefix}layer3.*: not a ResNet-18, -34, -50 or -101 under the "
        "names expected; is the file of another kind?"
    )


def _network(state: StateDict) -> dict[str, Any]:
    """Returns `HPANet`'s arguments; what an incomplete state does not show is as in the paper."""

    def size(name: str, paper: int) -> int:
        known = np.ndim(state.get(name)) and np.size(state[name])
        return len(state[name]) if known else paper

    positions = len([name for name in state if re.fullmatch(r"classifier\.\d+\.weight", name)])
    index = ".0" if positions else ""
    attention = "conv_pos.weight" in state or not positions
    num_classes = size("conv_seg.weight", 35) - 1
    return {
        "backbone": _depth(state, "context_path."),
        "num_characters": positions or size("conv_pos.weight", 7) - 1,
        "num_classes": num_classes,
        "void": size(f"classifier{index}.weight", num_classes) > num_classes,
        "classifier": "separate" if positions else "shared",
        "attention": attention,
        "grey": True,
        "width": _width(state, index),
    }


def _width(state: StateDict, index: str) -> float:
    """Returns the width at which the paper's channel counts round to those of `state`."""
    paper = {
        "context_path.bn1.weight": 64,
        "saptial_path.convblock3.bn.weight": 256,
        "feature_fusion_module1.convblock.0.bn.weight": 512,
        f"convblock{index}.0.bn.weight": 1000,
    }
    counts = [(len(state[n]), channels) for n, channels in paper.items() if np.ndim(state.get(n))]
    # `layers.scaled` rounds to multiples of 8, so each count leaves a range of widths.
    lowest = max(((count - 4) / channels for count, channels in counts), default=1.0)
    highest = min(((count + 4) / channels for count, channels in counts), default=1.0)
    middle = (lowest + highest) / 2
    plain = round(middle * 16) / 16
    fits = all(layers.scaled(channels, plain) == count for count, channels in counts)
    return plain if fits else round(middle, 4)


def _tensors_of(variables: Variables) -> dict[tuple[str, ...], Tensors]:
    """Returns by path each array's counterpart in the authors' names; arrays may be abstract."""
    flat = traverse_util.flatten_dict(variables)
    dense = flat.get(("params", "classifier", "dense", "kernel"))
    separate = dense is not None and len(dense.shape) == 3
    tensors = {}
    for path, array in flat.items():
        stacked = separate and path[1] == "classifier"
        name = f"{_module_name('/'.join(path[1:-1]))}.{TENSORS[path[-1]]}"
        indices = [f".{i}" for i in range(array.shape[0])] if stacked else [""]
        shape = array.shape[1:] if stacked else array.shape
        if path[-1] == "kernel":
            *window, inputs, outputs = shape
            # Only the last layer is a Linear in PyTorch; other dense layers are 1×1 convolutions.
            window = window or ([] if path[1] == "classifier" else [1, 1])
            shape = (outputs, inputs, *window)
        tensors[path] = Tensors(tuple(name.replace("{i}", i) for i in indices), tuple(shape))
    return tensors


def _module_name(path: str) -> str:
    for pattern, name in MODULES:
        if match := re.fullmatch(pattern, path):
            return match.expand(name)
    raise ValueError(f"module {path}: has no counterpart in the authors' network")


def _to_torch(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.ndim > 1:
        array = np.moveaxis(array, (-1, -2), (0, 1))
    return np.ascontiguousarray(array).reshape(shape)


def _from_torch(tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if tensor.ndim > 1:
        tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
    return np.ascontiguousarray(tensor, dtype=np.float32).reshape(shape)


def _assemble(
    state: StateDict,
    abstract: Variables,
    tensors: dict[tuple[str, ...], Tensors],
    problems: list[str],
) -> Variables:
    """Fills `abstract` from `state`, or raises with all `problems` and all mismatches."""
    given = {k: v for k, v in state.items() if not k.endswith(".num_batches_tracked")}
    broken = [f"{k}: is not finite" for k, v in given.items() if not np.isfinite(v).all()]
    tree_paths.raise_on_mismatch(
        {name: np.shape(tensor) for name, tensor in given.items()},
        {name: shape for names, shape in tensors.values() for name in names},
        problems + broken,
    )
    flat = {}
    for path, array in traverse_util.flatten_dict(abstract).items():
        names = tensors[path].names
        shape = array.shape if len(names) == 1 else array.shape[1:]
        parts = [_from_torch(given[name], shape) for name in names]
        flat[path] = parts[0] if len(names) == 1 else np.stack(parts)
    return traverse_util.unflatten_dict(flat)

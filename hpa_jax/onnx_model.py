"""Builds the network as an ONNX model for reading, with batch norms folded and pre-processing.

This module states hpa_jax/models a second time: repeat every change of it here, then update
`STATED`. The model is written node by node, which takes a second and needs only the package `onnx`.
Feature maps are NCHW, for which ONNX runtimes are fast. The model saves operations in the same way
as `bisenet.FusionConv` and `hpa.ModulatedConv`.
"""

import functools
import hashlib
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
from flax import traverse_util
from onnx import TensorProto, helper, numpy_helper

from hpa_jax.models import bisenet, hpa, norm, resnet
from hpa_jax.models.hpa import HPANet

STATED = "a6ec1829d286ab81"  # the `digest` of the models that this states: others are read by XLA
OPSET, IR_VERSION = 17, 10  # what ONNX Runtime 1.18 and newer read
Tree = Mapping[str, Any]
Size = tuple[int, int]  # height, width


@functools.cache
def digest() -> str:
    """A hash of the code in hpa_jax/models."""
    files = sorted(pathlib.Path(hpa.__file__).parent.glob("*.py"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def unstated(model: HPANet) -> str:
    """Returns why this module cannot build a network, in words; empty if it can."""
    if digest() != STATED:
        return "hpa_jax/models has changed, and onnx_model.py must state that change too"
    return _unstated_network(model)


def _unstated_network(model: HPANet) -> str:
    if type(model) is not HPANet:
        return f"onnx_model.py does not state {type(model).__name__}"
    known = model.backbone in resnet.STAGES
    return "" if known else f"onnx_model.py does not state the backbone {model.backbone!r}"


def build(model: HPANet, variables: Tree, image_size: Size, maps: bool = False) -> onnx.ModelProto:
    """Builds the network as a model that takes uint8 `images` B×H×W×3, for any B.

    Args:
      model: the network; its `dtype` is ignored, and the model computes in float32.
      variables: its parameters and batch statistics.
      image_size: H and W.
      maps: adds the output `maps`, B×h×w×Cp float32.

    Returns:
      A model with the outputs `ids` B×Cp int32 and `confidences` B×Cp float32.

    Raises:
      ValueError: the network has a backbone that is not stated here.
    """
    if problem := _unstated_network(model):
        raise ValueError(problem)
    flat = traverse_util.flatten_dict(variables["params"])
    flat |= traverse_util.flatten_dict(variables["batch_stats"])
    tree = traverse_util.unflatten_dict({path: np.asarray(x) for path, x in flat.items()})
    graph, characters = Graph(), model.num_characters
    images = _pixels(graph, model.grey)
    features = _backbone(graph, tree["backbone"], model.backbone, images, image_size)
    size, attention = features[0].size, None
    if model.attention:
        networks = tree["semantic_network"], tree["position_network"]
        semantic, position = _fusions(graph, networks, features)
        attention = _attention(graph, tree["position_network"], position)
    else:
        (semantic,) = _fusions(graph, [tree["semantic_network"]], features)
    semantic = _semantic(graph, tree, semantic)
    if model.classifier == "shared":
        logits = _shared_classifier(
            graph, tree["classifier"], semantic, attention, size, characters
        )
    else:
        logits = _separate_classifiers(graph, tree["classifier"], semantic, attention, characters)
    probabilities = graph.op("Softmax", logits, axis=-1)
    graph.op("ReduceMax", probabilities, axes=[-1], keepdims=0, output="confidences")
    ids = graph.op("ArgMax", probabilities, axis=-1, keepdims=0)
    graph.op("Cast", ids, to=TensorProto.INT32, output="ids")
    shapes = {"ids": (TensorProto.INT32, ["B", characters])}
    shapes["confidences"] = (TensorProto.FLOAT, ["B", characters])
    if maps:
        graph.op("Transpose", attention, perm=[0, 2, 3, 1], output="maps")
        shapes["maps"] = (TensorProto.FLOAT, ["B", *size, characters])
    return graph.model({"images": (TensorProto.UINT8, ["B", *image_size, 3])}, shapes)


class Graph:
    """A model under construction. Tensors are names; methods return the new tensor's name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"tensor{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def conv(self, x: str, kernel_HWIO: np.ndarray, bias: np.ndarray, stride: int = 1) -> str:
        """Adds a convolution padded by half its size, like all in the network."""
        margin = kernel_HWIO.shape[0] // 2
        weights = self.constant(kernel_HWIO.transpose(3, 2, 0, 1)), self.constant(bias)
        return self.op("Conv", x, *weights, strides=[stride] * 2, pads=[margin] * 4)

    def dense(self, x: str, layer: Tree) -> str:
        """Adds a dense layer over the channels of a feature map."""
        return self.conv(x, layer["kernel"][None, None], layer["bias"])

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def mean(self, x: str) -> str:
        """Adds the mean over all places, B×C×1×1."""
        return self.op("GlobalAveragePool", x)

    def reshape(self, x: str, *shape: int) -> str:
        """Reshapes as ONNX does: 0 keeps a dimension, -1 is inferred."""
        return self.op("Reshape", x, self.constant(shape, np.int64))

    def slice(self, x: str, start: int, stop: int) -> str:
        """Takes the channels `start` to `stop` of a feature map."""
        return self.op("Slice", x, *(self.constant([i], np.int64) for i in (start, stop, 1)))

    def model(self, inputs: Mapping[str, tuple], outputs: Mapping[str, tuple]) -> onnx.ModelProto:
        """Returns the model; inputs and outputs are given as name -> (type, shape)."""
        ends = [
            [helper.make_tensor_value_info(name, *info) for name, info in end.items()]
            for end in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, "hpa_jax", *ends, self._constants)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def _fold(layer: Tree, batch_norm: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Folds a batch norm into the kernel and bias of the convolution or dense layer before it."""
    scale = batch_norm["scale"] / np.sqrt(batch_norm["var"] + norm.EPSILON)
    bias = (layer.get("bias", 0) - batch_norm["mean"]) * scale + batch_norm["bias"]
    return layer["kernel"] * scale, bias


def _pixels(graph: Graph, grey: bool) -> str:
    """The input as float images in [0, 1]."""
    x = graph.op("Cast", "images", to=TensorProto.FLOAT)
    x = graph.op("Transpose", x, perm=[0, 3, 1, 2])
    if grey:  # as `hpa._to_grey`
        luminance = np.array(hpa.GREY_WEIGHTS, np.float32).reshape(1, 1, 3, 1)
        x = graph.conv(x, luminance, np.array([32768]))
        x = graph.op("Floor", graph.op("Mul", x, graph.constant(1 / 65536)))
        x = graph.op("Concat", x, x, x, axis=1)
    return graph.op("Mul", x, graph.constant(1 / 255))


class Feature(NamedTuple):
    """A feature map of the backbone."""

    name: str
    channels: int
    size: Size


def _backbone(graph: Graph, tree: Tree, depth: str, images: str, size: Size) -> list[Feature]:
    """The global features: spatial, stage 3, stage 4."""
    spatial = images
    for i in (1, 2, 3):
        block = tree[f"spatial_path{i}"]
        spatial = graph.relu(graph.conv(spatial, *_fold(block["conv"], block["bn"]), stride=2))
    stage3, stage4 = _resnet(graph, tree["context_path"], depth, images)
    tail = graph.mean(stage4)
    refined3 = _refine(graph, tree["attention_refinement3"], stage3)
    refined4 = _refine(graph, tree["attention_refinement4"], stage4)
    names = spatial, refined3, graph.op("Mul", refined4, tail)
    modules = tree["spatial_path3"], tree["attention_refinement3"], tree["attention_refinement4"]
    return [
        Feature(name, len(module["bn"]["bias"]), tuple(-(-n // shrunk) for n in size))
        for name, module, shrunk in zip(names, modules, (8, 16, 32), strict=True)
    ]


def _resnet(graph: Graph, tree: Tree, depth: str, images: str) -> list[str]:
    """Stages 3 and 4."""
    x = graph.relu(graph.conv(images, *_fold(tree["conv1"], tree["bn1"]), stride=2))
    x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    stages = []
    for stage, blocks in enumerate(resnet.STAGES[depth], start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _residual_block(graph, tree[f"layer{stage}_{block}"], x, stride)
        stages.append(x)
    return stages[2:]


def _residual_block(graph: Graph, block: Tree, x: str, stride: int) -> str:
    last = sum(name.startswith("conv") for name in block)
    y = x
    for i in range(1, last + 1):
        # The last but one has the stride: the first of two, or the second of a bottleneck's three.
        y = graph.conv(
            y, *_fold(block[f"conv{i}"], block[f"bn{i}"]), stride if i == last - 1 else 1
        )
        y = graph.relu(y) if i < last else y
    if "downsample_conv" in block:
        x = graph.conv(x, *_fold(block["downsample_conv"], block["downsample_bn"]), stride)
    return graph.relu(graph.op("Add", y, x))


def _refine(graph: Graph, tree: Tree, x: str) -> str:
    kernel, bias = _fold(tree["conv"], tree["bn"])
    gate = graph.conv(graph.mean(x), kernel[None, None], bias)
    return graph.op("Mul", x, graph.op("Sigmoid", gate))


def _fusions(graph: Graph, networks: Sequence[Tree], features: Sequence[Feature]) -> list[str]:
    """Computes the networks' fusion convolutions in one, on their common input; one output each.

    The context's channels are mixed at its own small size for all nine taps; then one matrix both
    upsamples them and shifts each tap to its place.
    """
    folded = [_fold(tree["fusion_conv"], tree["fusion_bn"]) for tree in networks]
    kernel = np.concatenate([kernel for kernel, _ in folded], axis=-1)
    splits = np.cumsum([feature.channels for feature in features])[:-1]
    of_spatial, *of_context = np.split(kernel, splits, axis=2)
    (spatial, *context), outputs = features, kernel.shape[-1]
    mixed, matrices = [], []
    for feature, part in zip(context, of_context, strict=True):
        taps = part.transpose(2, 3, 0, 1).reshape(1, 1, feature.channels, -1)
        taps = graph.conv(feature.name, taps, np.zeros(taps.shape[-1]))
        mixed.append(graph.reshape(taps, 0, outputs, -1))
        moves = (
            bisenet.shifted_interpolation(*n) for n in zip(feature.size, spatial.size, strict=True)
        )
        matrices.append(np.einsum("uyi,vxj->uvijyx", *moves).reshape(-1, math.prod(spatial.size)))
    moved = graph.op(
        "MatMul", graph.op("Concat", *mixed, axis=2), graph.constant(np.concatenate(matrices))
    )
    bias = np.concatenate([bias for _, bias in folded])
    fused = graph.op(
        "Add",
        graph.conv(spatial.name, of_spatial, bias),
        graph.reshape(moved, 0, outputs, *spatial.size),
    )
    fused = graph.relu(fused)
    ends = np.cumsum([len(bias) for _, bias in folded]).tolist()
    return [graph.slice(fused, a, b) for a, b in zip([0, *ends], ends, strict=False)]


def _semantic(graph: Graph, tree: Tree, x: str) -> str:
    """The normalised semantic features, background dropped."""
    network = tree["semantic_network"]
    block = network["block1"]
    x = _gate(graph, network, graph.relu(graph.conv(x, *_fold(block["conv"], block["bn"]))))
    kernel, bias = _fold(network["output"], tree["semantic_bn"])
    return graph.conv(x, kernel[None, None, :, :-1], bias[:-1])


def _attention(graph: Graph, network: Tree, x: str) -> str:
    """The HPA maps, background dropped."""
    x = graph.dense(_gate(graph, network, x), network["output"])
    return graph.slice(graph.op("Softmax", x, axis=1), 0, len(network["output"]["bias"]) - 1)


def _gate(graph: Graph, network: Tree, x: str) -> str:
    gate = graph.relu(graph.dense(graph.mean(x), network["gate1"]))
    gate = graph.op("Sigmoid", graph.dense(gate, network["gate2"]))
    return graph.op("Add", graph.op("Mul", x, gate), x)


def _shared_classifier(
    graph: Graph, tree: Tree, features: str, maps: str, size: Size, characters: int
) -> str:
    """Logits B×Cp×outputs; each tap is applied to the features once, for all maps."""
    kernel, bias = _fold(tree["conv"], tree["bn"])
    width, _, channels, hidden = kernel.shape
    seen = graph.constant(_seen_by_taps(size, width), np.int64)
    margin = graph.constant([0, 0, width // 2, width // 2] * 2, np.int64)

    def patches(x: str, order: Sequence[int]) -> str:
        """What each tap sees at each place of the output: B×C×taps×places, reordered."""
        flat = graph.reshape(graph.op("Pad", x, margin), 0, 0, -1)
        return graph.op("Transpose", graph.op("Gather", flat, seen, axis=2), perm=order)

    of_features = graph.reshape(patches(features, (2, 0, 3, 1)), width**2, -1, channels)
    products = graph.constant(kernel.reshape(-1, channels, hidden))
    products = graph.op("MatMul", of_features, products)
    products = graph.op("Transpose", products, perm=(1, 0, 2))
    of_maps = graph.reshape(patches(maps, (0, 3, 1, 2)), -1, characters, width**2)
    x = graph.op("Add", graph.op("MatMul", of_maps, products), graph.constant(bias))
    places = math.prod(-(-n // hpa.STRIDE) for n in size)
    x = graph.reshape(graph.relu(x), -1, places, characters, hidden)
    x = graph.op("ReduceMean", x, axes=[1], keepdims=0)
    x = graph.op("MatMul", x, graph.constant(tree["dense"]["kernel"]))
    return graph.op("Add", x, graph.constant(tree["dense"]["bias"]))


def _seen_by_taps(size: Size, width: int) -> np.ndarray:
    """Returns which places of the padded input each tap sees for each output: taps×places."""
    rows, columns = (np.arange(0, n, hpa.STRIDE) + np.arange(width)[:, None] for n in size)
    padded = size[1] + width - 1
    seen = rows[:, None, :, None] * padded + columns[None, :, None, :]
    return seen.reshape(width**2, -1)


def _separate_classifiers(
    graph: Graph, tree: Tree, features: str, maps: str | None, characters: int
) -> str:
    """Logits B×Cp×outputs, each character by its own classifier (paper, table 4)."""
    logits = []
    for i in range(characters):
        own = jax.tree.map(lambda x, i=i: x[i], tree)
        x = features if maps is None else graph.op("Mul", features, graph.slice(maps, i, i + 1))
        x = graph.relu(graph.conv(x, *_fold(own["conv"], own["bn"]), hpa.STRIDE))
        logits.append(graph.reshape(graph.dense(graph.mean(x), own["dense"]), 0, 1, -1))
    return graph.op("Concat", *logits, axis=1)

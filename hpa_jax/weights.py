"""Pure functions for surgery on variable trees, and for a look inside a network.

Parts are named by paths and patterns: see `tree_paths`.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from hpa_jax.charset import Charset
from hpa_jax.models.hpa import HPANet
from hpa_jax.tree_paths import (
    Flat,
    Variables,
    check_whole,
    covers,
    flatten,
    listed,
    nearby,
    raise_on_mismatch,
    shapes,
    unflatten,
)

NETWORK = "backbone", "semantic_network", "semantic_bn", "classifier"  # in every network
# Which axes hold characters, and which positions; the background and void come last on them.
CHARACTER_AXES = {
    "semantic_network/block1": (-1,),
    "semantic_network/gate?/kernel": (-2, -1),
    "semantic_network/gate?/bias": (-1,),
    "semantic_network/output/kernel": (-2, -1),
    "semantic_network/output/bias": (-1,),
    "semantic_bn": (-1,),
    "classifier/conv/kernel": (-2,),
    "classifier/dense": (-1,),
}
POSITION_AXES = {
    "position_network/fusion_*": (-1,),
    "position_network/gate?/kernel": (-2, -1),
    "position_network/gate?/bias": (-1,),
    "position_network/output/kernel": (-2, -1),
    "position_network/output/bias": (-1,),
}


def adapt(variables: Variables, fresh: Variables, old: Charset, new: Charset) -> Variables:
    """Moves a network to another charset, another Cp, or both.

    Every character that both charsets know keeps its rows in the classifier and its channels in
    the semantic network, and every position that both networks have keeps its attention map.
    Background and void are kept too. All that is new comes from `fresh`.

        fresh = HPANet(num_characters=7, num_classes=len(GREECE)).init(key, images)
        variables = weights.adapt(variables, fresh, TAIWAN, GREECE)

    Args:
      variables: of the trained network.
      fresh: of the new network, just initialised; all shapes come from it.
      old: the charset of `variables`.
      new: the charset of `fresh`.

    Raises:
      ValueError: a charset is not its network's; or the networks differ in more than this, and all
        mismatches are listed.
    """
    source, target = (flatten(tree, NETWORK) for tree in (variables, fresh))
    for name, charset, flat in (("old", old, source), ("new", new, target)):
        known = flat["params/semantic_bn/scale"].size - 1
        if len(charset) != known:
            raise ValueError(f"{name}: a charset of {len(charset)}, but its network has {known}")
    characters = (old.characters, new.characters)
    positions = (range(_num_characters(source)), range(_num_characters(target)))
    result = dict(source)  # an array that only it has is refused below
    for path in source.keys() & target.keys():
        of_characters, of_positions = _named_axes(path, source)
        moves = dict.fromkeys(of_characters, characters) | dict.fromkeys(of_positions, positions)
        result[path] = _transplant(source[path], target[path], moves)
    return _checked(result, target)


def _named_axes(path: str, flat: Flat) -> tuple[list[int], list[int]]:
    """Returns an array's axes of characters, and those of positions."""
    position_axes = dict(POSITION_AXES)
    if flat["params/classifier/dense/bias"].ndim == 2:  # separate classifiers are stacked
        position_axes["classifier"] = (0,)
    return _axes(CHARACTER_AXES, path, flat), _axes(position_axes, path, flat)


def _axes(table: dict[str, tuple[int, ...]], path: str, flat: Flat) -> list[int]:
    axes = [axis for pattern, axes in table.items() if covers(pattern, path) for axis in axes]
    return [axis % flat[path].ndim for axis in axes]


def _transplant(
    array: np.ndarray, fresh: np.ndarray, moves: dict[int, tuple[Sequence, Sequence]]
) -> np.ndarray:
    """Returns `fresh` with the entries that both arrays have taken from `array`.

    `moves` gives, for an axis, the entries along it in each array; one more at the end is the
    background or void. If the arrays differ along another axis, `array` is returned as it is.
    """
    fixed = [axis for axis in range(fresh.ndim) if axis not in moves]
    if array.ndim != fresh.ndim or any(array.shape[i] != fresh.shape[i] for i in fixed):
        return array
    places = [[(i, i) for i in range(size)] for size in fresh.shape]
    for axis, (before, after) in moves.items():
        places[axis] = [(before.index(x), i) for i, x in enumerate(after) if x in before]
        if (array.shape[axis], fresh.shape[axis]) == (len(before) + 1, len(after) + 1):
            places[axis].append((len(before), len(after)))
    sources, targets = (np.ix_(*[[pair[i] for pair in axis] for axis in places]) for i in (0, 1))
    result = np.array(fresh)
    result[targets] = np.asarray(array)[sources]
    return result


def swap_backbone(variables: Variables, fresh: Variables) -> Variables:
    """Moves a network to another ResNet.

    The ResNet and all that reads its features come from `fresh`: the attention refinement modules
    and the context rows of both fusion convolutions. Everything else is kept.

        fresh = HPANet(backbone="resnet50").init(key, images)
        variables = weights.swap_backbone(variables, fresh)

    Raises:
      ValueError: the networks differ in more than this; all mismatches are listed.
    """
    source, target = (flatten(tree, NETWORK) for tree in (variables, fresh))
    spatial = range(source["params/backbone/spatial_path3/conv/bias"].size)
    replaced = "backbone/context_path", "backbone/attention_*"
    result = {p: x for p, x in source.items() if not any(covers(r, p) for r in replaced)}
    for path, array in target.items():
        if any(covers(pattern, path) for pattern in replaced):
            result[path] = array
        elif covers("*/fusion_conv/kernel", path) and path in source:
            result[path] = _transplant(source[path], array, {2: (spatial, spatial)})
    return _checked(result, target)


def widen(variables: Variables, fresh: Variables) -> Variables:
    """Moves a network to a greater width, computing the same function.

    Every channel becomes several copies, and the kernels that read them divide their weights among
    them (Net2Net, Chen et al. 2016). To these weights is added the part of `fresh` that cancels out
    over the copies, so that training can tell the copies apart.

        fresh = HPANet(width=0.5).init(key, images)
        variables = weights.widen(variables, fresh)  # of HPANet(width=0.25)

    Args:
      variables: of the trained network.
      fresh: of the same network at the greater width, just initialised.

    Raises:
      ValueError: the network's parts do not grow by the same factor, as they do if the new width
        is a whole multiple of the old one and this a multiple of 0.125 (channels are rounded to
        eights); or the networks differ in more than the width, and all mismatches are listed.
    """
    source, target = (flatten(tree, NETWORK) for tree in (variables, fresh))
    # The fusion reads three concatenated parts, which keep their own rows only if all grow alike.
    parts = ("backbone/spatial_path3/conv/kernel", -1), ("semantic_network/fusion_conv/kernel", -2)
    growths = [
        target[f"params/{path}"].shape[axis] / source[f"params/{path}"].shape[axis]
        for path, axis in parts
    ]
    if growths[0] != growths[1]:
        raise ValueError(
            f"the spatial path grows by {growths[0]:.2f} and all features by {growths[1]:.2f}: "
            "take a whole multiple of the width, which must be a multiple of 0.125 (channels are "
            "rounded to eights)"
        )
    result = dict(source)  # an array that only it has is refused below
    for path in source.keys() & target.keys():
        of_characters, of_positions = _named_axes(path, source)
        fixed = of_characters + of_positions
        result[path] = _widen(source[path], np.asarray(target[path]), fixed)
    return _checked(result, target)


def _widen(array: np.ndarray, fresh: np.ndarray, fixed: Sequence[int]) -> np.ndarray:
    """Repeats the channels of `array` to the shape of `fresh`, except along the `fixed` axes.

    If that is impossible, returns `array` as it is.
    """
    if (
        array.ndim != fresh.ndim
        or any(np.less(fresh.shape, array.shape))
        or any(array.shape[axis] != fresh.shape[axis] for axis in fixed)
    ):
        return array
    origins = [
        np.arange(wide) * narrow // wide
        for narrow, wide in zip(array.shape, fresh.shape, strict=True)
    ]
    copied = np.asarray(array)[np.ix_(*origins)]
    if array.ndim < 2 or array.shape[-2] == fresh.shape[-2]:
        return copied
    # A kernel whose input channels are copies.
    starts, counts = np.unique(origins[-2], return_index=True, return_counts=True)[1:]
    counts = counts.astype(copied.dtype)  # keeps the dtype
    means = np.add.reduceat(fresh, starts, axis=-2) / counts[:, None]
    return copied / counts[origins[-2], None] + fresh - means.take(origins[-2], axis=-2)


def graft(target: Variables, source: Variables, path: str) -> Variables:
    """Returns `target` with the parameters and statistics of the module at `path` from `source`.

        variables = weights.graft(variables, imagenet, "backbone/context_path")

    Raises:
      ValueError: `path` names no module, or its arrays do not fit; all mismatches are listed.
    """
    flat, path = flatten(target), path.strip("/")
    scion = {name: array for name, array in flatten(source).items() if covers(path, name)}
    stock = {name: array for name, array in flat.items() if covers(path, name)}
    if not stock:
        raise ValueError(f"path {path!r}: names nothing; {nearby(flat, path)}")
    raise_on_mismatch(shapes(scion), shapes(stock))
    return unflatten(flat | scion)


def average(trees: Iterable[Variables], weights: Sequence[float] | None = None) -> Variables:
    """Returns the mean of a network's checkpoints, equal or by `weights` (of any positive sum).

        variables = weights.average([readers.load(run)[0] for run in runs])

    Raises:
      ValueError: there are no trees, not one weight for each, or the sum of weights is not
        positive; or the trees differ in shape, and all mismatches are listed.
    """
    trees = list(trees)
    shares = np.asarray([1.0] * len(trees) if weights is None else weights, np.float32)
    if not len(trees) or shares.shape != (len(trees),) or not 0 < shares.sum() < np.inf:
        raise ValueError(f"{len(trees)} trees and the weights {weights}: one for each is needed")
    for tree in trees[1:]:
        raise_on_mismatch(shapes(flatten(tree)), shapes(flatten(trees[0])))
    shares /= shares.sum()
    return jax.tree.map(lambda *xs: sum(w * x for w, x in zip(shares, xs, strict=True)), *trees)


def soften(variables: Variables, temperature: float) -> Variables:
    """Divides a network's logits by `temperature`: same texts, other confidences.

        variables = weights.soften(variables, 1.4)

    Raises:
      ValueError: the temperature is not more than 0 or not finite, or the tree has no classifier.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature {temperature}: must be more than 0, and finite")
    if "classifier" not in variables.get("params", {}):
        raise ValueError("no classifier below 'params': give the whole tree of variables")

    def scale(path: tuple, x: jax.Array) -> jax.Array:
        last = [key.key for key in path][:-1] == ["params", "classifier", "dense"]
        return x / temperature if last else x

    return jax.tree_util.tree_map_with_path(scale, variables)


def moving_average(
    averaged: Variables, variables: Variables, step: jax.Array, decay: float
) -> Variables:
    """One step of the exponential moving average that training keeps with `config.ema`.

    The decay is min(decay, (1 + step) / (10 + step)), lower in early steps, so that the random
    start is soon forgotten.
    """
    decay = jnp.minimum(decay, (1 + step) / (10 + step))
    # Written so that what is frozen stays as it is, to the last bit.
    return jax.tree.map(lambda a, x: a + (1 - decay) * (x - a), averaged, variables)


def intermediates(
    model: HPANet, variables: Variables, images: jax.Array, patterns: Iterable[str]
) -> dict[str, Any]:
    """Returns by path the outputs of all modules whose path matches a pattern (not those below).

        outputs = weights.intermediates(model, variables, images, ["backbone", "*_network"])
        semantic_BHWC = outputs["semantic_network"]

    Args:
      model: the network.
      variables: its whole tree.
      images: B×H×W×3 float, from 0 to 1.
      patterns: of module paths.

    Raises:
      ValueError: no module matches, the patterns are one string, or the tree is only a part.
    """
    patterns = listed(patterns)
    check_whole(variables)

    def wanted(module: nn.Module, _: str) -> bool:
        return any(fnmatch.fnmatchcase("/".join(module.path), p) for p in patterns)

    _, state = model.apply(
        variables, images, capture_intermediates=wanted, mutable=["intermediates"]
    )
    flat = traverse_util.flatten_dict(state.get("intermediates", {}), sep="/")
    flat = {name: values for name, values in flat.items() if name.endswith("/__call__")}
    if not flat:
        known = ", ".join(variables["params"])
        raise ValueError(f"no module's path fits {patterns}; those at the top are {known}")
    return {name.removesuffix("/__call__"): values[0] for name, values in flat.items()}


def _checked(result: Flat, target: Flat) -> Variables:
    raise_on_mismatch(shapes(result), shapes(target))
    return unflatten(result)


def _num_characters(flat: Flat) -> int:
    """Cp, read off the position network or, without one, the separate classifiers."""
    if "params/position_network/output/bias" in flat:
        return flat["params/position_network/output/bias"].size - 1
    return flat["params/classifier/dense/bias"].shape[0]

"""Freezes the parts of a network that patterns cover (see `tree_paths`), in any training loop."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn
import jax
import optax
from flax import traverse_util

from hpa_jax.models import norm
from hpa_jax.tree_paths import Variables, listed, matches, nearby


def frozen_mask(params: Variables, patterns: Iterable[str]) -> Variables:
    """Returns a tree of bools: which parameters the patterns cover.

        mask = freezing.frozen_mask(variables["params"], ["backbone", "*/fusion_bn"])

    Raises:
      ValueError: a pattern covers nothing, or the patterns are one string.
    """
    patterns = listed(patterns)
    flat = traverse_util.flatten_dict(params, sep="/")
    for pattern in patterns:
        if not any(matches(pattern, name) for name in flat):
            raise ValueError(f"freeze {pattern!r}: covers nothing; {nearby(flat, pattern)}")
    mask = {name: any(matches(pattern, name) for pattern in patterns) for name in flat}
    return traverse_util.unflatten_dict(mask, sep="/")


def freeze(
    optimizer: optax.GradientTransformation, patterns: Iterable[str]
) -> optax.GradientTransformation:
    """Returns the optimiser without updates and state for parameters that the patterns cover.

        tx = freezing.freeze(optax.sgd(0.1), ["backbone/context_path"])

    Batch statistics are not parameters: `frozen_statistics` freezes them.

    Raises:
      ValueError: the patterns are one string; or, from the optimiser's `init`, as `frozen_mask`.
    """

    patterns = listed(patterns)

    def labels(params: Variables) -> Variables:
        mask = frozen_mask(params, patterns)
        return jax.tree.map(lambda frozen: "frozen" if frozen else "trained", mask)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def stop_gradients(params: Variables, patterns: Iterable[str]) -> Variables:
    """Returns the parameters, with no gradient through those that the patterns cover.

    Raises:
      ValueError: as `frozen_mask`.
    """
    mask = frozen_mask(params, patterns)
    return jax.tree.map(lambda x, frozen: jax.lax.stop_gradient(x) if frozen else x, params, mask)


def frozen_statistics(patterns: Iterable[str]) -> AbstractContextManager:
    """A context in which batch norms that the patterns cover use and keep their running statistics.

    This includes those of `flax.linen.BatchNorm`. A pattern may cover no batch norm at all; only
    `frozen_mask` refuses patterns that cover nothing.

        with freezing.frozen_statistics(["backbone"]):
            model.apply(variables, images, train=True, mutable=["batch_stats"])

    Raises:
      ValueError: the patterns are one string.
    """
    patterns = listed(patterns)

    def intercept(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        module = context.module
        name = "/".join((*module.path, "mean"))
        kinds = norm.BatchNorm | nn.BatchNorm
        if isinstance(module, kinds) and any(matches(p, name) for p in patterns):
            if isinstance(module, nn.BatchNorm):  # Flax refuses both ways to set it at once
                object.__setattr__(module, "use_running_average", None)
            kwargs = kwargs | {"use_running_average": True}
        return call(*args, **kwargs)

    return nn.intercept_methods(intercept)

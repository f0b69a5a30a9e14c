"""Freezing the parts of a network that patterns cover (see `tree_paths`), in any training loop."""

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
    """A tree of bools: which parameters the patterns cover.

        mask = freezing.frozen_mask(variables["params"], ["backbone", "*/fusion_bn"])

    Raises:
      ValueError: a pattern covers nothing, or they are no list.
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
    """The optimiser, kept away from all parameters that the patterns cover; no state for them.

        tx = freezing.freeze(optax.sgd(0.1), ["backbone/context_path"])

    Batch statistics are no parameters: `frozen_statistics` holds theirs.

    Raises:
      ValueError: the patterns are one string; or from the optimiser's `init`, as `frozen_mask`.
    """

    patterns = listed(patterns)

    def labels(params: Variables) -> Variables:
        mask = frozen_mask(params, patterns)
        return jax.tree.map(lambda frozen: "frozen" if frozen else "trained", mask)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def stop_gradients(params: Variables, patterns: Iterable[str]) -> Variables:
    """The same parameters; through those that the patterns cover, no gradient is computed.

    Raises:
      ValueError: as `frozen_mask`.
    """
    mask = frozen_mask(params, patterns)
    return jax.tree.map(lambda x, frozen: jax.lax.stop_gradient(x) if frozen else x, params, mask)


def frozen_statistics(patterns: Iterable[str]) -> AbstractContextManager:
    """While active, batch norms that the patterns cover use and keep their running statistics.

    Those of Flax are covered as ours are. A pattern that covers none, for it may name layers
    without batch norms, changes nothing: `frozen_mask` refuses what is in no network.

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
            if isinstance(module, nn.BatchNorm):  # which refuses to be told twice
                object.__setattr__(module, "use_running_average", None)
            kwargs = kwargs | {"use_running_average": True}
        return call(*args, **kwargs)

    return nn.intercept_methods(intercept)

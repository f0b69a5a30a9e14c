"""Batch norm that is also fast on a CPU."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hpa_jax.models import layers

EPSILON = 1e-5
MOMENTUM = 0.9  # of the running statistics; 0.1 in PyTorch's terms


def _channel_means(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Returns the means of `function` of the arrays over all but the channels, float32."""
    return layers.sum_rows(function, *arrays) / (arrays[0].size // arrays[0].shape[-1])


@jax.custom_vjp
def normalise(
    x: jax.Array, scale_C: jax.Array, bias_C: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises by the batch's own statistics (Ioffe and Szegedy 2015).

    Its gradient in closed form takes two sums over the batch instead of five. First derivatives
    work only in reverse mode, further ones in either; the returned statistics have no gradient.

    Args:
      x: what to normalise, …×C.
      scale_C, bias_C: learned, float32.

    Returns:
      The normalised values, float32; their mean (C,) and variance (C,).
    """
    return _normalise_forward(x, scale_C, bias_C)[0]


def _standardise(
    x: jax.Array, mean_C: jax.Array, var_C: jax.Array, scale_C: jax.Array, bias_C: jax.Array
) -> jax.Array:
    factor = jax.lax.rsqrt(var_C + EPSILON) * scale_C
    return (x - mean_C) * factor + bias_C


def _normalise_forward(x, scale_C, bias_C):
    # In plain operations, so that second derivatives can be taken.
    mean, square = (_channel_means(f, x) for f in (jnp.positive, jnp.square))
    var = jnp.maximum(square - jnp.square(mean), 0)
    y = _standardise(x, mean, var, scale_C, bias_C)
    return (y, mean, var), (x, scale_C, mean, var)


def _normalise_backward(residuals, gradients):
    x, scale_C, mean, var = residuals
    gradient, factor = gradients[0], jax.lax.rsqrt(var + EPSILON)

    def product(gradient, x):
        return gradient * (x - mean)

    for_bias = _channel_means(jnp.positive, gradient)
    for_scale = factor * _channel_means(product, gradient, x)
    back = gradient - for_bias - (x - mean) * (factor * for_scale)
    back *= factor * scale_C
    count = x.size // scale_C.size
    return back.astype(x.dtype), for_scale * count, for_bias * count


normalise.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """Batch norm with the authors' numbers: epsilon 1e-5, PyTorch momentum 0.1 (Flax's 0.9).

    Variables and values are those of `flax.linen.BatchNorm`, so the running variance is the biased
    one (PyTorch's is n / (n - 1) times that, for n values of a channel in a batch).
    """

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, use_running_average: bool) -> jax.Array:
        channels = x.shape[-1]
        kind = (channels,), jnp.float32
        mean = self.variable("batch_stats", "mean", jnp.zeros, *kind)
        var = self.variable("batch_stats", "var", jnp.ones, *kind)
        scale = self.param("scale", nn.initializers.ones, *kind)
        bias = self.param("bias", nn.initializers.zeros, *kind)
        if use_running_average:
            y = _standardise(x, mean.value, var.value, scale, bias)
        else:
            y, *moments = normalise(x, scale, bias)
            if not self.is_initializing():
                for running, new in zip((mean, var), moments, strict=True):
                    running.value = MOMENTUM * running.value + (1 - MOMENTUM) * new
        return y.astype(self.dtype)


def batch_norm(train: bool, dtype: DTypeLike, name: str) -> Callable[[jax.Array], jax.Array]:
    """Returns a `BatchNorm`: by the batch's statistics in training, by running ones in reading."""
    # An argument of the call, which `freezing.frozen_statistics` can override.
    return functools.partial(BatchNorm(dtype, name=name), use_running_average=not train)

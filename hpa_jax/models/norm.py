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


def _channel_means(
    function: Callable[..., jax.Array], channels: int, *rows: jax.Array
) -> jax.Array:
    """Returns the means of `function` of the rows over all but the channels, float32."""
    length = rows[0].shape[-1]
    means = layers.sum_rows(function, *rows) / (rows[0].size // length)
    return means.reshape(-1, channels).mean(axis=0)


@jax.custom_vjp
def normalise(
    rows: jax.Array, scale_C: jax.Array, bias_C: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises by the batch's own statistics (Ioffe and Szegedy 2015).

    Its gradient in closed form takes two sums over the batch instead of five. First derivatives
    work only in reverse mode, further ones in either; the returned statistics have no gradient.

    Args:
      rows: what to normalise, in the shape that `layers.as_rows` returns.
      scale_C, bias_C: learned, float32.

    Returns:
      The normalised rows, float32; their mean (C,) and variance (C,).
    """
    return _normalise_forward(rows, scale_C, bias_C)[0]


def _standardise(
    rows: jax.Array, mean_C: jax.Array, var_C: jax.Array, scale_C: jax.Array, bias_C: jax.Array
) -> jax.Array:
    factor = jax.lax.rsqrt(var_C + EPSILON) * scale_C
    centred = rows - layers.tile(mean_C, rows)
    return centred * layers.tile(factor, rows) + layers.tile(bias_C, rows)


def _normalise_forward(rows, scale_C, bias_C):
    # In plain operations, so that second derivatives can be taken.
    mean, square = (_channel_means(f, scale_C.size, rows) for f in (jnp.positive, jnp.square))
    var = jnp.maximum(square - jnp.square(mean), 0)
    y = _standardise(rows, mean, var, scale_C, bias_C)
    return (y, mean, var), (rows, scale_C, mean, var)


def _normalise_backward(residuals, gradients):
    rows, scale_C, mean, var = residuals
    gradient, factor = gradients[0], jax.lax.rsqrt(var + EPSILON)

    def product(gradient, rows):
        return gradient * (rows - layers.tile(mean, rows))

    for_bias = _channel_means(jnp.positive, scale_C.size, gradient)
    for_scale = factor * _channel_means(product, scale_C.size, gradient, rows)
    back = gradient - layers.tile(for_bias, rows)
    back -= (rows - layers.tile(mean, rows)) * layers.tile(factor * for_scale, rows)
    back *= layers.tile(factor * scale_C, rows)
    count = rows.size // scale_C.size
    return back.astype(rows.dtype), for_scale * count, for_bias * count


normalise.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """Batch norm with the authors' numbers: epsilon 1e-5, PyTorch momentum 0.1 (Flax's 0.9).

    Variables and values are those of `flax.linen.BatchNorm`, so the running variance is the biased
    one (PyTorch's is n / (n - 1) times that, for n values of a channel in a batch). Both passes sum
    over `layers.as_rows`.
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
        rows = layers.as_rows(x)
        if use_running_average:
            y = _standardise(rows, mean.value, var.value, scale, bias)
        else:
            y, *moments = normalise(rows, scale, bias)
            if not self.is_initializing():
                for running, new in zip((mean, var), moments, strict=True):
                    running.value = MOMENTUM * running.value + (1 - MOMENTUM) * new
        return y.astype(self.dtype).reshape(x.shape)


def batch_norm(train: bool, dtype: DTypeLike, name: str) -> Callable[[jax.Array], jax.Array]:
    """Returns a `BatchNorm`: by the batch's statistics in training, by running ones in reading."""
    # An argument of the call, which `freezing.frozen_statistics` can override.
    return functools.partial(BatchNorm(dtype, name=name), use_running_average=not train)

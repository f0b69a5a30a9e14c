"""The small parts that every network of the paper is made of."""

import functools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

MOMENTUM = 0.9  # of batch norm's running statistics; PyTorch says 0.1


def scaled(channels: int, width: float) -> int:
    """Channel count times the width multiplier, in steps of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def as_rows(x: jax.Array) -> jax.Array:
    """On a CPU …×W×C as N×(W·C), over which sums run along memory: five times as fast.

    Elsewhere `x` itself: on a GPU the compiler chooses the layout of convolutions.
    """
    if x.ndim == 2 or jax.default_backend() != "cpu":
        return x
    return x.reshape(-1, math.prod(x.shape[-2:]))


def add_channels(x: jax.Array, bias_C: jax.Array) -> jax.Array:
    """x + bias, whose gradient is a sum over `as_rows`."""
    rows = as_rows(x)
    return (rows + jnp.tile(bias_C, rows.shape[-1] // bias_C.size)).reshape(x.shape)


class BatchNorm(nn.Module):
    """Batch norm as in the authors' PyTorch: epsilon 1e-5, PyTorch momentum 0.1 (Flax's 0.9).

    Variables and values are those of `flax.linen.BatchNorm`; all its sums, in the forward as in the
    backward pass, are over `as_rows`.
    """

    dtype: DTypeLike
    axis_name: str | None = None  # a vmapped axis over which to take statistics, too

    @nn.compact
    def __call__(self, x: jax.Array, use_running_average: bool) -> jax.Array:
        channels = x.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        rows = as_rows(x)
        repeats = rows.shape[-1] // channels
        if use_running_average:
            centre, spread = mean.value, var.value
        else:
            single, axes = rows.astype(jnp.float32), tuple(range(rows.ndim - 1))
            moments = jnp.stack([single.mean(axes), jnp.square(single).mean(axes)])
            moments = moments.reshape(2, repeats, channels).mean(axis=1)
            if self.axis_name and not self.is_initializing():
                moments = jax.lax.pmean(moments, self.axis_name)
            centre, spread = moments[0], jnp.maximum(moments[1] - jnp.square(moments[0]), 0)
            if not self.is_initializing():
                mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * centre
                var.value = MOMENTUM * var.value + (1 - MOMENTUM) * spread
        factor = jax.lax.rsqrt(spread + 1e-5) * scale
        centre, factor, bias = (jnp.tile(each, repeats) for each in (centre, factor, bias))
        return ((rows - centre) * factor + bias).astype(self.dtype).reshape(x.shape)


def batch_norm(
    train: bool, dtype: DTypeLike, name: str, axis_name: str | None = None
) -> Callable[[jax.Array], jax.Array]:
    """`BatchNorm` of this batch's statistics in training, of the running ones in reading."""
    norm = BatchNorm(dtype, axis_name if train else None, name=name)
    # Said in the call, where `weights.frozen_statistics` can overrule it.
    return functools.partial(norm, use_running_average=not train)


def symmetric_conv(
    features: int, size: int, stride: int, dtype: DTypeLike, name: str, use_bias: bool = True
) -> nn.Module:
    """A square convolution padded by `size // 2` on every side.

    PyTorch's padding; Flax's SAME aligns even sizes differently.
    """
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=((size // 2, size // 2),) * 2,
        use_bias=use_bias,
        kernel_init=nn.initializers.he_normal(),
        dtype=dtype,
        name=name,
    )


class ConvBlock(nn.Module):
    """Convolution with bias, batch norm, ReLU."""

    features: int
    size: int = 3
    stride: int = 2
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, train: bool) -> jax.Array:
        x = symmetric_conv(self.features, self.size, self.stride, self.dtype, "conv")(x_BHWC)
        return nn.relu(batch_norm(train, self.dtype, "bn")(x))


def interpolation_matrix(source: int, target: int) -> np.ndarray:
    """The (target, source) matrix of linear interpolation with aligned corners, float32."""
    matrix = np.zeros((target, source), np.float32)
    places = np.linspace(0, source - 1, target)
    lower = np.minimum(places.astype(int), max(source - 2, 0))
    rows = np.arange(target)
    matrix[rows, lower] = 1 - (places - lower)
    if source > 1:
        matrix[rows, lower + 1] = places - lower
    return matrix


def upsample(x_BHWC: jax.Array, size: Sequence[int]) -> jax.Array:
    """Bilinear resizing to `size` (height, width) with aligned corners; gives B×H×C×W.

    The channels come before the columns: both of its matrix products then run along memory.
    """
    batch, height, width, channels = x_BHWC.shape
    rows = jnp.asarray(interpolation_matrix(height, size[0]), x_BHWC.dtype)
    columns = jnp.asarray(interpolation_matrix(width, size[1]).T, x_BHWC.dtype)
    x_BHN = (x_BHWC.swapaxes(2, 3).reshape(-1, width) @ columns).reshape(batch, height, -1)
    x_BHN = jnp.matmul(jnp.broadcast_to(rows, (batch, *rows.shape)), x_BHN)
    return x_BHN.reshape(batch, size[0], channels, size[1])

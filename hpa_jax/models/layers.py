"""The small parts that every network of the paper is made of."""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def scaled(channels: int, width: float) -> int:
    """Channel count times the width multiplier, in steps of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def batch_norm(
    train: bool, dtype: DTypeLike, name: str, axis_name: str | None = None
) -> Callable[[jax.Array], jax.Array]:
    """Batch norm as in the authors' PyTorch: epsilon 1e-5, PyTorch momentum 0.1 (Flax's 0.9)."""
    norm = nn.BatchNorm(
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        axis_name=axis_name if train else None,
        name=name,
    )
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
    """Bilinear resizing to `size` (height, width) with aligned corners."""
    batch, height, width, channels = x_BHWC.shape
    matrix = np.kron(interpolation_matrix(height, size[0]), interpolation_matrix(width, size[1]))
    x_BCP = x_BHWC.reshape(batch, height * width, channels).swapaxes(1, 2)
    x_BCP = x_BCP.reshape(-1, height * width) @ jnp.asarray(matrix.T, x_BHWC.dtype)
    return jnp.moveaxis(x_BCP.reshape(batch, channels, *size), 1, -1)

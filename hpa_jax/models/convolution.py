"""Convolutions padded as in PyTorch, on a CPU in the fastest of two forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hpa_jax.models import layers, winograd


class Conv(nn.Module):
    """A square convolution padded by `size // 2` on every side.

    This is PyTorch's padding; Flax's SAME aligns even sizes differently.
    """

    features: int
    size: int
    stride: int
    dtype: DTypeLike
    use_bias: bool = True

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x_BHWC.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
        y = conv(x_BHWC.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return y + bias.astype(self.dtype)


def conv(x_BHWC: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves B×H×W×C with size×size×C×F, padded by `size // 2` on every side.

    On a CPU, Winograd's algorithm computes it where that is faster.
    """
    x_BHWC = layers.materialised(x_BHWC)
    if stride == 1 and layers.on_cpu() and winograd.pays(x_BHWC, kernel):
        return layers.materialised(winograd.convolve(x_BHWC, kernel))
    y = jax.lax.conv_general_dilated(
        x_BHWC,
        kernel,
        (stride, stride),
        [(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return layers.materialised(y)

"""ResNet-18/34/50/101 (He et al. 2016) as BiSeNet's context path uses it: stages 3 and 4."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hpa_jax.models import convolution, layers, norm

STAGES = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
BOTTLENECK = ("resnet50", "resnet101")


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, or torchvision's bottleneck (stride on its 3×3), and a shortcut."""

    features: int
    stride: int
    bottleneck: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, train: bool) -> jax.Array:
        expansion = 4 if self.bottleneck else 1
        convs = [(self.features, 3, self.stride), (self.features, 3, 1)]
        if self.bottleneck:
            convs = [
                (self.features, 1, 1),
                (self.features, 3, self.stride),
                (self.features * expansion, 1, 1),
            ]
        y = x_BHWC
        for i, (features, size, stride) in enumerate(convs, start=1):
            y = self._conv_bn(y, features, size, stride, train, f"conv{i}", f"bn{i}")
            if i < len(convs):
                y = nn.relu(y)
        shortcut = x_BHWC
        if self.stride != 1 or x_BHWC.shape[-1] != self.features * expansion:
            shortcut = self._conv_bn(
                x_BHWC,
                self.features * expansion,
                1,
                self.stride,
                train,
                "downsample_conv",
                "downsample_bn",
            )
        return nn.relu(y + shortcut)

    def _conv_bn(self, x, features, size, stride, train, conv, bn):
        x = convolution.Conv(features, size, stride, self.dtype, use_bias=False, name=conv)(x)
        return norm.batch_norm(train, self.dtype, bn)(x)


class ResNet(nn.Module):
    """Maps images B×H×W×3 to the outputs of stage 3 (1/16 of H and W) and stage 4 (1/32)."""

    depth: str = "resnet18"
    width: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images_BHWC: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        base = layers.scaled(64, self.width)
        x = convolution.Conv(base, 7, 2, self.dtype, use_bias=False, name="conv1")(images_BHWC)
        x = nn.relu(norm.batch_norm(train, self.dtype, "bn1")(x))
        x = _max_pool(_max_pool(x, axis=1), axis=2)
        outputs = []
        for stage, blocks in enumerate(STAGES[self.depth]):
            for block in range(blocks):
                x = ResidualBlock(
                    base * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    bottleneck=self.depth in BOTTLENECK,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train)
            outputs.append(x)
        return outputs[2], outputs[3]


def _max_pool(x: jax.Array, axis: int) -> jax.Array:
    """Max-pools along one axis, with window 3, stride 2 and padding 1.

    Its gradient is element-wise; that of a window reduction is several times slower on a CPU.
    """
    padding = [(0, 0)] * x.ndim
    padding[axis] = (1, 1)
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    last = padded.shape[axis] - 3
    taps = [jax.lax.slice_in_dim(padded, i, i + last + 1, 2, axis) for i in range(3)]
    return jnp.maximum(jnp.maximum(taps[0], taps[1]), taps[2])

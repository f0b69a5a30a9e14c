"""BiSeNet (Yu et al. 2018), divided as in the paper into a backbone and task heads.

The backbone (spatial and context path) computes the global features that the semantic and the
position network share; each of the two is a feature fusion module.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from hpa_jax.models import convolution, layers, norm, resnet


class GlobalFeatures(NamedTuple):
    """The backbone's output. Fusion reads all three at the size of `spatial`."""

    spatial: jax.Array  # B×h×w×C at 1/8 of the image
    stage3: jax.Array  # attention-refined, at 1/16
    stage4: jax.Array  # attention-refined, at 1/32


class ConvBlock(nn.Module):
    """3×3 convolution with bias, batch norm, ReLU."""

    features: int
    stride: int = 2
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, train: bool) -> jax.Array:
        x = convolution.Conv(self.features, 3, self.stride, self.dtype, name="conv")(x_BHWC)
        return nn.relu(norm.batch_norm(train, self.dtype, "bn")(x))


class AttentionRefinement(nn.Module):
    """Scales each channel by a gate computed from the channel means."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_BHWC: jax.Array, train: bool) -> jax.Array:
        mean_BC = x_BHWC.mean(axis=(1, 2))
        gate_BC = nn.Dense(x_BHWC.shape[-1], dtype=self.dtype, name="conv")(mean_BC)
        gate_BC = nn.sigmoid(norm.batch_norm(train, self.dtype, "bn")(gate_BC))
        return x_BHWC * gate_BC[:, None, None]


# Context paths by name: built with a width and a dtype, they return features at 1/16 and 1/32.
BACKBONES = {name: functools.partial(resnet.ResNet, name) for name in resnet.STAGES}


class Backbone(nn.Module):
    """Maps images B×H×W×3 to `GlobalFeatures`."""

    backbone: str
    width: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, images_BHWC: jax.Array, train: bool) -> GlobalFeatures:
        spatial = images_BHWC
        for i, channels in enumerate((64, 128, 256), start=1):
            features = layers.scaled(channels, self.width)
            block = ConvBlock(features, dtype=self.dtype, name=f"spatial_path{i}")
            spatial = block(spatial, train)
        make_context_path = BACKBONES[self.backbone]
        context_path = make_context_path(width=self.width, dtype=self.dtype, name="context_path")
        stage3, stage4 = context_path(images_BHWC, train)
        tail = stage4.mean(axis=(1, 2), keepdims=True)
        stage3 = AttentionRefinement(self.dtype, name="attention_refinement3")(stage3, train)
        stage4 = AttentionRefinement(self.dtype, name="attention_refinement4")(stage4, train)
        return GlobalFeatures(spatial, stage3, stage4 * tail)


class FusionConv(nn.Module):
    """3×3 convolution over [spatial, upsampled stage 3, upsampled stage 4].

    Upsampling and shifting act on positions, mixing acts on channels, and the two commute. So the
    context's channels are mixed at their own small size for all nine taps, then moved to their
    places. Parameters and, up to rounding, results are those of the plain form, which is written
    out in the test, but it takes a third of the multiply-adds or less.
    """

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: GlobalFeatures) -> jax.Array:
        channels = sum(x.shape[-1] for x in inputs)
        shape = (3, 3, channels, self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        inputs = [x.astype(self.dtype) for x in inputs]
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        size = inputs[0].shape[1:3]
        splits = np.cumsum([x.shape[-1] for x in inputs])[:-1]
        kernels = jnp.split(kernel, splits, axis=2)
        y = convolution.conv(inputs[0], kernels[0]) + bias
        for x, k in zip(inputs[1:], kernels[1:], strict=True):
            y += _upsampled_conv3x3(x, k, size)
        return y


def shifted_interpolation(source: int, target: int) -> np.ndarray:
    """Returns the interpolation matrix that each tap of a padded convolution sees: (3, t, s)."""
    padded = np.pad(layers.interpolation_matrix(source, target), ((1, 1), (0, 0)))
    return np.stack([padded[tap : tap + target] for tap in range(3)])


def _upsampled_conv3x3(x_BHWC: jax.Array, kernel: jax.Array, size: tuple[int, int]) -> jax.Array:
    """`convolution.conv(upsample(x, size), kernel)`, with channels mixed before the upsampling."""
    batch, height, width, _ = x_BHWC.shape
    rows = shifted_interpolation(height, size[0]).transpose(1, 2, 0).reshape(size[0], -1)
    columns = shifted_interpolation(width, size[1]).transpose(1, 0, 2).reshape(size[1], -1)
    mixed = layers.materialised(jnp.einsum("bijc,uvco->bijuvo", x_BHWC, kernel))
    mixed = mixed.transpose(0, 1, 3, 4, 2, 5)
    mixed = layers.apply_matrix(columns, mixed.reshape(batch, height * 3, 3 * width, -1))
    mixed = layers.apply_matrix(rows, mixed.reshape(batch, height * 3, -1))
    return mixed.reshape(batch, *size, -1)


class FeatureFusion(nn.Module):
    """BiSeNet's feature fusion module and the 1×1 convolution after it.

    `hidden` lists the channels of convolution blocks before the last one; the semantic network
    has one of 512, the position network none.
    """

    channels: int
    hidden: tuple[int, ...]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs: GlobalFeatures, train: bool) -> jax.Array:
        first, *rest = (*self.hidden, self.channels)
        x = FusionConv(first, self.dtype, name="fusion_conv")(inputs)
        x = nn.relu(norm.batch_norm(train, self.dtype, "fusion_bn")(x))
        for i, channels in enumerate(rest, start=1):
            block = ConvBlock(channels, stride=1, dtype=self.dtype, name=f"block{i}")
            x = block(x, train)
        gate = nn.Dense(self.channels, dtype=self.dtype, name="gate1")(x.mean(axis=(1, 2)))
        gate = nn.Dense(self.channels, dtype=self.dtype, name="gate2")(nn.relu(gate))
        x = x * nn.sigmoid(gate)[:, None, None] + x
        return nn.Dense(self.channels, dtype=self.dtype, name="output")(x)

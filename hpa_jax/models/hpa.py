"""Holistic position attention: semantic network, position network, classifiers, HPANet."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hpa_jax.models import bisenet, layers, norm

KERNEL, STRIDE = 5, 4  # of the classifier's convolution
GREY_WEIGHTS = (19595, 38470, 7471)  # Pillow's, of red, green and blue, in 1 / 65536


@flax.struct.dataclass
class HPAOutput:
    """The output of a forward pass.

    Attributes:
      logits: B×Cp×outputs float32; outputs are the classes, then void if the network has it.
      maps: B×h×w×Cp, the HPA maps (softmax over positions, background dropped), or None
        without attention; in the network's compute type, like the next two.
      semantic: B×h×w×(classes+1) semantic logits before batch norm, background last.
      position: B×h×w×(Cp+1) position logits before the softmax, background last, or None.
    """

    logits: jax.Array
    maps: jax.Array | None
    semantic: jax.Array
    position: jax.Array | None


class ModulatedConv(nn.Module):
    """5×5 convolution, stride 4, of features multiplied by each of P attention maps.

    Each tap's product with the kernel is taken before a map is applied, once for all maps. This
    needs a fifth of the multiply-adds; parameters and, up to rounding, results are the same.
    """

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, features_BHWC: jax.Array, maps_BHWP: jax.Array | None) -> jax.Array:
        """Returns B×h×w×P×features; P is 1 without maps."""
        taps = KERNEL**2
        shape = (KERNEL, KERNEL, features_BHWC.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        patches_TBHWC = self._patches(features_BHWC)
        size = patches_TBHWC.shape[1:4]
        products_TNO = jnp.matmul(
            patches_TBHWC.reshape(taps, -1, shape[2]), kernel.reshape(taps, *shape[2:])
        )
        if maps_BHWP is None:
            y = products_TNO.sum(axis=0)
        else:
            products_NTO = products_TNO.swapaxes(0, 1)

            def modulate(weights_TN: jax.Array) -> jax.Array:
                return jnp.einsum("tn,nto->no", weights_TN, products_NTO)

            weights_TNP = self._patches(maps_BHWP).reshape(taps, -1, maps_BHWP.shape[-1])
            y = jax.vmap(modulate, in_axes=-1, out_axes=1)(weights_TNP)
        return y.reshape(*size, -1, self.features) + bias

    def _patches(self, x_BHWC: jax.Array) -> jax.Array:
        """Returns what each tap sees at each place of the output: taps×B×h×w×C."""
        margin = KERNEL // 2
        x_BHWC = jnp.pad(x_BHWC, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        ends = [n - KERNEL + 1 for n in x_BHWC.shape[1:3]]
        return jnp.stack(
            [
                x_BHWC[:, i : i + ends[0] : STRIDE, j : j + ends[1] : STRIDE]
                for i in range(KERNEL)
                for j in range(KERNEL)
            ]
        )


class CharacterClassifier(nn.Module):
    """Maps semantic features, modulated by each of P attention maps, to P characters' logits.

    A 5×5 convolution block, a global mean and a dense layer (paper, "Shared Classifier").
    """

    outputs: int
    hidden: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, features_BHWC: jax.Array, maps_BHWP: jax.Array | None, train: bool
    ) -> jax.Array:
        """Returns B×P×outputs; P is 1 without maps."""
        x = ModulatedConv(self.hidden, self.dtype, name="conv")(features_BHWC, maps_BHWP)
        x = nn.relu(norm.batch_norm(train, self.dtype, "bn")(x))
        return nn.Dense(self.outputs, dtype=self.dtype, name="dense")(x.mean(axis=(1, 2)))


class HPANet(nn.Module):
    """The paper's network, from images to all characters at once (paper, figure 3).

    Attributes:
      backbone: 'resnet18', 'resnet34', 'resnet50', 'resnet101', or another of `bisenet.BACKBONES`.
      num_characters: Cp, the most characters on a plate.
      num_classes: Cs, how many different characters can be read, not counting void.
      void: adds the void output, for plates shorter than Cp.
      classifier: 'shared', or 'separate' for one classifier per position (table 4, "MC").
      attention: False drops the position network (table 4, "w/o HPA").
      width: multiplies every hidden channel count; 1 is the paper's network.
      grey: turns plates into 8-bit grey first, as the authors' released weights need.
      dtype: compute type; parameters stay float32.

    Raises, when it is initialised or applied:
      ValueError: an attribute has another value, or the images are not float B×H×W×3.
    """

    backbone: str = "resnet18"
    num_characters: int = 6
    num_classes: int = 34
    void: bool = False
    classifier: str = "shared"
    attention: bool = True
    width: float = 1.0
    grey: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> HPAOutput:
        """Maps float images B×H×W×3 in [0, 1] to `HPAOutput`; the paper's H×W is 50×160."""
        self._check(images)
        if self.grey:
            images = _to_grey(images)
        features = bisenet.Backbone(self.backbone, self.width, self.dtype, name="backbone")(
            images.astype(self.dtype), train
        )
        semantic = bisenet.FeatureFusion(
            self.num_classes + 1,
            hidden=(layers.scaled(512, self.width),),
            dtype=self.dtype,
            name="semantic_network",
        )(features, train)
        position, maps = None, None
        if self.attention:
            position = bisenet.FeatureFusion(
                self.num_characters + 1, hidden=(), dtype=self.dtype, name="position_network"
            )(features, train)
            maps = nn.softmax(position.astype(jnp.float32))[..., :-1].astype(self.dtype)
        normalised = norm.batch_norm(train, self.dtype, "semantic_bn")(semantic)
        logits = self._classify(normalised[..., :-1], maps, train)
        return HPAOutput(logits.astype(jnp.float32), maps, semantic, position)

    def _classify(
        self, features_BHWC: jax.Array, maps_BHWC: jax.Array | None, train: bool
    ) -> jax.Array:
        """Returns B×Cp×outputs: one classifier reads all maps, or each reads its own."""
        sizes = (self.num_classes + self.void, layers.scaled(1000, self.width), self.dtype)
        if self.classifier == "shared":
            return CharacterClassifier(*sizes, name="classifier")(features_BHWC, maps_BHWC, train)
        separate = nn.vmap(
            CharacterClassifier,
            in_axes=(None, -2 if self.attention else None, None),
            out_axes=1,
            axis_size=self.num_characters,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
        )(*sizes, name="classifier")
        each = maps_BHWC[..., None] if self.attention else None
        return separate(features_BHWC, each, train).squeeze(2)

    def _check(self, images: jax.Array) -> None:
        if self.backbone not in bisenet.BACKBONES:
            known = ", ".join(bisenet.BACKBONES)
            raise ValueError(f"backbone {self.backbone!r}: must be one of {known}")
        if self.classifier not in ("shared", "separate"):
            raise ValueError(f"classifier {self.classifier!r}: must be 'shared' or 'separate'")
        for name in ("void", "attention", "grey"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} {getattr(self, name)!r}: must be True or False")
        if min(self.num_characters, self.num_classes) < 1:
            counts = f"num_characters {self.num_characters} and num_classes {self.num_classes}"
            raise ValueError(f"{counts}: must be at least 1")
        if self.width <= 0:
            raise ValueError(f"width {self.width}: must be more than 0")
        if not self.attention and self.classifier == "shared":
            raise ValueError(
                "attention=False needs classifier='separate': without maps a shared classifier "
                "gives every position the same character"
            )
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images have shape {images.shape}: must be B×H×W×3")
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(f"images are {images.dtype}: must be float in [0, 1]")


def _to_grey(images_BHWC: jax.Array) -> jax.Array:
    """Luminance (ITU-R 601), rounded to 8 bits with Pillow's integer weights, on all channels.

    The gradient is that of the luminance before rounding.
    """
    weights = jnp.array(GREY_WEIGHTS, jnp.float32)
    levels = jnp.round(images_BHWC.astype(jnp.float32) * 255) * weights
    grey = jnp.floor((levels.sum(axis=-1, keepdims=True) + 32768) / 65536) / 255
    smooth = (images_BHWC * (weights / 65536)).sum(axis=-1, keepdims=True)
    grey += smooth - jax.lax.stop_gradient(smooth)  # adds 0, but carries the gradient
    return jnp.broadcast_to(grey, images_BHWC.shape)

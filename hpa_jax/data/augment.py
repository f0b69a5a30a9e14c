"""Augmentation on the device: the paper's list, on a batch of pictures and their maps.

Noising, blurring, colour jittering, rotation, projection and cropping (paper, "Implementation
Details"), by the same effects as in the renderer. The paper does not publish their strengths; ours
also include uneven light, compression and sharpening. One homography moves a picture and its maps.
"""

import jax
import jax.numpy as jnp

from hpa_jax.data import effects, warp
from hpa_jax.data.draws import Draws

# Strength of light, tone and noise relative to rendered plates: photographs have their own.
EFFECTS = 0.6


def augment(
    key: jax.Array,
    batch: dict[str, jax.Array],
    num_classes: int,
    strength: float = 1.0,
    cut: float = 0.0,
) -> dict[str, jax.Array]:
    """Returns an augmented batch; pure, may be jitted.

    Args:
      key: a random key.
      batch: the batch layout: `image` (B, H, W, 3) uint8, `semantic` and `position` (B, H, W)
        uint8, `characters` (B, Cp), and others, which are returned unchanged.
      num_classes: the id of the semantic map's background and of the void class.
      strength: scales every effect; 0 changes nothing except by rounding.
      cut: share of plates, times strength, with up to a quarter cut off at one side.

    Returns:
      The batch with new `image`, `semantic` and `position`. Maps that are all background (rows
      whose `has_maps` is False) stay so.

    Raises:
      ValueError: the images are not uint8.
    """
    if batch["image"].dtype != jnp.uint8:
        raise ValueError(f"images are {batch['image'].dtype}: must be uint8")
    num_characters = batch["characters"].shape[-1]

    @jax.default_matmul_precision("float32")  # TPUs and GPUs default to less
    def one(
        key: jax.Array, image: jax.Array, semantic: jax.Array, position: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        parameters, noise = jax.random.split(key)
        draws = Draws(parameters, 256, strength)
        height, width = semantic.shape
        aspect = width / height
        homography = warp.random_view(
            draws, aspect / 2, 0.5, tilt=0.35, loose=0.12, tight=0.0144, cut=cut
        )
        x, y = warp.transform(homography, *warp.pixel_grid((height, width)))
        x, y = x / aspect + 0.5, y + 0.5

        planar = warp.sample(image.transpose(2, 0, 1).astype(jnp.float32) / 255, x, y)
        draws.strength *= EFFECTS
        return (
            effects.take_picture(draws, noise, planar),
            warp.sample_nearest(semantic, x, y, outside=num_classes),
            warp.sample_nearest(position, x, y, outside=num_characters),
        )

    keys = jax.random.split(key, len(batch["image"]))
    moved = jax.vmap(one)(keys, batch["image"], batch["semantic"], batch["position"])
    return batch | dict(zip(("image", "semantic", "position"), moved, strict=True))

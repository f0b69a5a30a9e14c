"""The effects of light, lens, sensor and compression on a picture of a plate.

Used on rendered plates and, as augmentation, on photographs. Pictures here are planar: float32
(3, height, width), 0 to 1. All functions are pure and may be jitted and vmapped.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hpa_jax.data.draws import Draws
from hpa_jax.data.warp import pixel_grid

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in brightness


def smooth_noise(draws: Draws, grid: tuple[int, int], size: tuple[int, int]) -> jax.Array:
    """Returns a smooth random field of `size` (height, width), -1 to 1, from a coarse grid."""
    rows, columns = (_spread_matrix(fine, coarse) for fine, coarse in zip(size, grid, strict=True))
    return rows @ draws.uniform(-1.0, 1.0, grid) @ columns.T


def _spread_matrix(fine: int, coarse: int) -> np.ndarray:
    """Returns the matrix that interpolates `coarse` values to `fine` ones bilinearly."""
    place = (np.arange(fine) + 0.5) / fine * (coarse - 1)
    return np.maximum(0, 1 - abs(place[:, None] - np.arange(coarse))).astype(np.float32)


def take_picture(draws: Draws, key: jax.Array, scene: jax.Array) -> jax.Array:
    """Returns a scene as a camera would store it in random light: all effects, in order.

    Args:
      draws: gives the effects' parameters.
      key: a random key for the noise.
      scene: (3, height, width) float32, 0 or more.

    Returns:
      (height, width, 3) uint8.
    """
    image = tone(draws, light(draws, scene))
    image = photograph(draws, key, image)
    return jnp.round(255 * image.transpose(1, 2, 0)).astype(jnp.uint8)


def light(draws: Draws, image: jax.Array) -> jax.Array:
    """Adds uneven, coloured light: a gradient, soft patches, the edge of a shadow, a glare."""
    size = image.shape[1:]
    x, y = pixel_grid(size)
    slope = draws.spread(0.5) * (x - 0.5) + draws.spread(0.4) * (y - 0.5)
    patches = draws.up_to(0.2) * smooth_noise(draws, (3, 6), size)
    cast = draws.spread(0.06, (3, 1, 1)) + draws.chance(0.15) * draws.spread(0.3, (3, 1, 1))
    image = image * (1 + cast) * (1 + slope + patches)

    direction = draws.uniform(0, 2 * np.pi)
    dx, dy = x - draws.uniform(), y - draws.uniform()
    across = dx * jnp.cos(direction) * 3 + dy * jnp.sin(direction)
    edge = jax.nn.sigmoid(across * draws.uniform(4, 60))
    image = image * (1 - draws.chance(0.25) * draws.uniform(0.2, 0.65) * edge)

    reach = draws.uniform(0.5, 4, (2,))
    dx, dy = x - draws.uniform(), y - draws.uniform()
    spot = jnp.square(dx * 3 * reach[0]) + jnp.square(dy * reach[1])
    return image + draws.chance(0.15) * draws.uniform(0.15, 0.7) * jnp.exp(-spot)


def tone(draws: Draws, image: jax.Array) -> jax.Array:
    """Applies a curve for each colour, then exposure, contrast, haze and saturation (0 is grey).

    The result may exceed 1: `photograph` blurs overexposed parts before it clips them.
    """
    gamma = jnp.exp2(draws.spread(0.5) + draws.spread(0.3, (3, 1, 1)))
    image = jnp.maximum(image, 1e-4) ** gamma
    stops = draws.chance(0.1) * draws.uniform(0, 1) - draws.chance(0.12) * draws.uniform(0, 1.3)
    exposure = jnp.exp2(draws.spread(0.7) + stops)
    contrast = 1 + draws.spread(0.3)
    haze = draws.chance(0.1) * draws.uniform(0, 0.35)
    veil = draws.uniform(0.3, 1, (3, 1))
    saturation = (1 + draws.spread(0.4)) * (1 - draws.chance(0.08))
    grey = jnp.ones((3, 1)) * jnp.array(LUMA)
    mixing = grey + saturation * (jnp.eye(3) - grey)
    offset = (1 - haze) * ((1 - contrast) * 0.5 + draws.spread(0.1)) + haze * veil
    mixed = (mixing * exposure * contrast * (1 - haze)) @ image.reshape(3, -1)
    return jnp.maximum(mixed + offset, 0).reshape(image.shape)


def photograph(draws: Draws, key: jax.Array, image: jax.Array) -> jax.Array:
    """Adds focus and motion blur, a sensor's low resolution and noise, JPEG blocks and sharpening.

    The lens blurs before the sensor clips at 1, so overexposed light spreads over dark parts.

    Args:
      draws: gives the effects' parameters.
      key: a random key for the noise.
      image: (3, height, width), 0 or more.
    """
    _, height, width = image.shape
    scale = 1 - draws.chance(0.5) * draws.uniform(0, 0.58) * jnp.ones(2)
    scale = jnp.clip(scale * (1 + draws.spread(0.2, (2,))), 0.34, 1.0)
    focus = draws.chance(0.5) * draws.uniform(0, 1.4)
    motion = draws.chance(0.1) * draws.uniform(0, 1.8) * jnp.eye(2)[draws.index(2)]
    blur = jnp.sqrt(jnp.square(focus) + jnp.square(motion))

    small = _resample(image, _reduce(height, scale[0], blur[0]), _reduce(width, scale[1], blur[1]))
    grain = draws.up_to(0.06) * jnp.square(draws.uniform())
    small = jnp.minimum(small, 1) + sensor_noise(key, image.shape[1:], grain, draws.up_to(0.7))
    small = jpeg(small, draws.chance(0.7) * draws.uniform(0, 1.6))
    sharpness = draws.chance(0.4) * draws.uniform(0, 0.5)
    rows, columns = enlarge(height, scale[0], sharpness), enlarge(width, scale[1], sharpness)
    return jnp.clip(_resample(small, rows, columns), 0, 1)


def _resample(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    channels, height, width = image.shape
    image = (rows @ image).reshape(channels * height, width) @ columns.T
    return image.reshape(channels, height, width)


def _reduce(length: int, scale: jax.Array, blur: jax.Array) -> jax.Array:
    """Returns the matrix that blurs (Gaussian) and reduces by `scale`, into the first pixels."""
    pixels = jnp.arange(length)
    centre = jnp.minimum((pixels + 0.5) / scale - 0.5, length - 1)
    variance = jnp.square(blur) + 0.2 * (1 / jnp.square(scale) - 1) + 0.01
    weights = jnp.exp(-0.5 * jnp.square(pixels - centre[:, None]) / variance)
    return weights / weights.sum(axis=1, keepdims=True)


def enlarge(length: int, scale: jax.Array, sharpness: jax.Array) -> jax.Array:
    """Returns the matrix that enlarges what `_reduce` reduced, bilinearly, and sharpens.

    Sharpening subtracts `sharpness` of each neighbour of a reduced pixel, which gives halos.
    """
    pixels = jnp.arange(length)
    place = jnp.clip((pixels + 0.5) * scale - 0.5, 0, jnp.maximum(length * scale - 1, 0))
    before, here, after = (
        jnp.maximum(0, 1 - jnp.abs(place[:, None] - pixels + shift)) for shift in (-1, 0, 1)
    )
    weights = here + sharpness * (2 * here - before - after)
    return weights / weights.sum(axis=1, keepdims=True)


def sensor_noise(
    key: jax.Array, size: tuple[int, int], amplitude: jax.Array, colour: jax.Array
) -> jax.Array:
    """Returns noise (3, height, width): grey of deviation `amplitude`, and coloured.

    The coloured noise is `colour` times as strong. One random word per pixel gives both: the sum of
    its four bytes is nearly normal, and their differences are uncorrelated with the sum.
    """
    word = jax.random.bits(key, size)
    levels = [((word >> shift) & 255).astype(jnp.float32) for shift in (0, 8, 16, 24)]
    a, b, c, d = (level / 147.8 - 0.8626 for level in levels)
    grey = a + b + c + d
    red, blue = a - b, c - d
    return amplitude * (grey + colour * jnp.stack([red, -0.5 * (red + blue), blue]))


def jpeg(image: jax.Array, coarseness: jax.Array) -> jax.Array:
    """Imitates JPEG: rounds the cosine transform of brightness in 8×8 blocks.

    The resolution of colour is halved. A coarseness of 1 is about quality 50; 0 changes nothing.
    """
    _, height, width = image.shape
    image = jnp.pad(image, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    _, rows, columns = image.shape
    grey = jnp.tensordot(jnp.array(LUMA), image, 1)
    blocks = grey.reshape(rows // 8, 8, columns // 8, 8)
    cosines = _cosine_transform()
    spectrum = jnp.einsum("iy,aybx,jx->aibj", cosines, blocks, cosines)
    order = np.arange(8)[:, None, None] + np.arange(8)
    step = jnp.maximum((10 + 7 * order) / 255 * coarseness, 1e-5)
    spectrum = jnp.round(spectrum / step) * step
    rounded = jnp.einsum("iy,aibj,jx->aybx", cosines, spectrum, cosines).reshape(rows, columns)

    colour = image - grey
    coarse = _resample(colour, _pair_means(rows), _pair_means(columns))
    return (rounded + jnp.where(coarseness > 0, coarse, colour))[:, :height, :width]


def _pair_means(length: int) -> np.ndarray:
    """Returns the matrix that replaces each pair of neighbours by its mean."""
    return np.kron(np.eye(length // 2), np.full((2, 2), 0.5)).astype(np.float32)


def _cosine_transform() -> np.ndarray:
    """Returns the matrix of the orthonormal 8-point cosine transform (DCT-II)."""
    order, place = np.arange(8)[:, None], np.arange(8)
    matrix = np.cos(np.pi * order * (place + 0.5) / 8) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)

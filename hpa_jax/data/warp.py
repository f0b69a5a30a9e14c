"""Homographies: a camera's view of a plane, and the warping of images."""

import jax
import jax.numpy as jnp

from hpa_jax.data.draws import Draws

MOST_CUT = 0.25  # two characters of eight


def rotation(yaw: jax.Array, pitch: jax.Array, roll: jax.Array) -> jax.Array:
    """Returns the 3×3 rotation about the vertical, then the horizontal, then the viewing axis."""
    zero, one = jnp.zeros(()), jnp.ones(())
    sin_y, cos_y = jnp.sin(yaw), jnp.cos(yaw)
    sin_p, cos_p = jnp.sin(pitch), jnp.cos(pitch)
    sin_r, cos_r = jnp.sin(roll), jnp.cos(roll)
    about_y = jnp.array([[cos_y, zero, sin_y], [zero, one, zero], [-sin_y, zero, cos_y]])
    about_x = jnp.array([[one, zero, zero], [zero, cos_p, -sin_p], [zero, sin_p, cos_p]])
    about_z = jnp.array([[cos_r, -sin_r, zero], [sin_r, cos_r, zero], [zero, zero, one]])
    return about_z @ about_x @ about_y


def inverse(matrix: jax.Array) -> jax.Array:
    """Returns the inverse of a 3×3 matrix, by cross products (cheaper under vmap than LU)."""
    a, b, c = matrix.T
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
    return columns / jnp.dot(a, columns[0])


def transform(homography: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns points mapped by a 3×3 homography."""
    h = homography
    depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    u = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / depth
    v = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / depth
    return u, v


def view(
    half_width: jax.Array | float,
    half_height: float,
    angles: jax.Array,
    shear: jax.Array,
    distance: jax.Array,
    margins: jax.Array,
) -> jax.Array:
    """Returns a tilted camera's view of a rectangle, cropped to its bounding box plus margins.

    Args:
      half_width, half_height: of the rectangle, which is centred on the plane's origin.
      angles: (3,) yaw, pitch and roll in radians.
      shear: how far x moves with y.
      distance: of the camera, in half widths; a near one gives a strong perspective.
      margins: (4,) left, top, right, bottom, as shares of the bounding box; negative ones crop.

    Returns:
      (3, 3) homography from the picture, where x and y run from 0 to 1, to the plane.
    """
    turned = rotation(angles[0], angles[1], angles[2])
    turned = turned @ jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    turned = turned.at[:, 1].add(shear * turned[:, 0])
    far = distance * half_width
    camera = jnp.stack([turned[0], turned[1], turned[2] / far])
    camera = jnp.concatenate([camera, jnp.array([[0.0], [0.0], [1.0]])], axis=1)
    signs_x, signs_y = jnp.array([-1.0, 1.0, 1.0, -1.0]), jnp.array([-1.0, -1.0, 1.0, 1.0])
    x, y = transform(camera, half_width * signs_x, half_height * signs_y)
    low, high = jnp.stack([x.min(), y.min()]), jnp.stack([x.max(), y.max()])
    start = low - margins[:2] * (high - low)
    extent = (high - low) * (1 + margins[:2] + margins[2:])
    window = jnp.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]])
    window = window.at[0, 0].set(extent[0]).at[1, 1].set(extent[1])
    window = window.at[0, 2].set(start[0]).at[1, 2].set(start[1])
    return inverse(camera) @ window


def random_view(
    draws: Draws,
    half_width: jax.Array | float,
    half_height: float,
    tilt: float,
    loose: float,
    tight: float,
    cut: float = 0.0,
) -> jax.Array:
    """Returns a random `view`; `tilt` scales the angles and the shear.

    Margins are up to `loose` outwards and up to `tight` inwards, as shares of the bounding box.
    Wide ones are rare: half are under `loose` / 30, nine tenths under `loose` / 4. A share `cut` of
    the views has up to `MOST_CUT` of the bounding box cut off at one side.
    """
    angles = draws.spread(tilt, (3,)) * jnp.array([0.6, 0.5, 0.4])
    shear = draws.spread(0.35 * tilt)
    distance = draws.uniform(3.0, 9.0)
    outwards = draws.up_to(1.0) * jnp.square(draws.uniform()) * draws.uniform(0, loose, (4,))
    margins = outwards - draws.up_to(tight, (4,))
    if cut:
        chosen = draws.chance(cut) * jax.nn.one_hot(draws.index(4), 4)
        margins -= chosen * (margins + draws.uniform(0, MOST_CUT))
    return view(half_width, half_height, angles, shear, distance, margins)


def pixel_grid(image_size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Returns x and y of the pixels' centres, (height, width) each, 0 to 1 over the picture."""
    height, width = image_size
    x = (jnp.arange(width) + 0.5) / width
    y = (jnp.arange(height) + 0.5) / height
    return jnp.meshgrid(x, y)


def sample(image: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns bilinear values of an image (C, height, width) at x and y (0..1); edges repeat."""
    _, height, width = image.shape
    column = jnp.clip(x * width - 0.5, 0, width - 1)
    row = jnp.clip(y * height - 0.5, 0, height - 1)
    left = jnp.minimum(jnp.floor(column), width - 2).astype(jnp.int32)
    top = jnp.minimum(jnp.floor(row), height - 2).astype(jnp.int32)
    right_share, bottom_share = column - left, row - top
    upper = image[:, top, left] * (1 - right_share) + image[:, top, left + 1] * right_share
    lower = image[:, top + 1, left] * (1 - right_share) + image[:, top + 1, left + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


def sample_nearest(labels: jax.Array, x: jax.Array, y: jax.Array, outside: int) -> jax.Array:
    """Returns values of a label map (height, width) at x and y (0..1); `outside` beyond it."""
    height, width = labels.shape
    column, row = jnp.floor(x * width).astype(jnp.int32), jnp.floor(y * height).astype(jnp.int32)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    values = labels[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(within, values, jnp.asarray(outside, labels.dtype))

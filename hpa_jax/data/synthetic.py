"""Plates rendered on the device: a pure function of a random key.

Everything is painted by inverse perspective warping: the place of each pixel on the plate is
computed, and from it the pixel's colour and its values in the two maps, so the maps are exact.
Places on a plate are in plate heights from the plate's middle.
"""

import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hpa_jax.charset import Charset
from hpa_jax.data import effects, glyphs, paint, warp
from hpa_jax.data.draws import Draws
from hpa_jax.data.layouts import Layout, compile_layouts
from hpa_jax.data.places import Places
from hpa_jax.data.plate_style import PlateStyle


def make_renderer(
    styles: Sequence[PlateStyle],
    charset: Charset,
    num_characters: int,
    *,
    fonts: Sequence[str | pathlib.Path] = (),
    image_size: tuple[int, int] = (50, 160),
    weights: Sequence[float] | None = None,
    realism: float = 1.0,
    loose: float = 0.4,
    tilt: float = 1.0,
    cut: float = 0.0,
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """Returns a function that renders random plates.

    Args:
      styles: the kinds of plates.
      charset: the characters; gives the class ids in maps and labels.
      num_characters: Cp, the most characters a plate may have; shorter ones are padded with void.
      fonts: as in `glyphs.make_atlas`; each plate is written in a random one.
      image_size: height and width of the pictures.
      weights: how often each style is drawn; None: equally often.
      realism: scales tilt, crop, dirt, light, blur and noise; 0 gives clean plates from the front.
      loose: the largest margin around the plate on each side, as a share of the plate's size; most
        margins are far smaller.
      tilt: scales how far plates are rotated and sheared; 1.0 rotates up to 34 degrees about the
        vertical, 29 about the horizontal and 23 about the viewing axis, mostly far less.
      cut: share of plates, times realism, with up to a quarter cut off at one side: from these a
        network learns low confidence in characters that it cannot see.

    Returns:
      A pure function of one random key, to be vmapped and jitted, that returns one plate in the
      batch layout without its batch axis: image (H, W, 3) uint8, characters (Cp,) int32, semantic
      and position (H, W) uint8, has_maps True and weight 1.0.

    Raises:
      ValueError: there are no styles, or one does not fit the charset or num_characters; weights
        do not fit the styles; the fonts lack a character; realism, loose or tilt is negative, or
        cut is not from 0 to 1.
    """
    _check_options(realism, loose, tilt, cut)
    atlas = glyphs.make_atlas(charset.characters, fonts)
    layouts, odds = compile_layouts(styles, charset, num_characters, atlas.names, weights)
    cumulative = np.cumsum(odds)  # NumPy, as compiling would fetch a JAX constant

    @jax.default_matmul_precision("float32")  # TPUs and GPUs default to less
    def render(key: jax.Array) -> dict[str, jax.Array]:
        scene_key, noise_key = jax.random.split(key)
        draws = Draws(scene_key, 2900, realism)
        layout = _draw_layout(draws, layouts, cumulative)
        characters = _draw_characters(draws, layout)
        view = warp.random_view(draws, layout.half_width, 0.5, tilt, loose, tight=0.048, cut=cut)
        x, y = map(paint.settle, warp.transform(view, *warp.pixel_grid(image_size)))

        text = _loosen(draws, x, y)
        slots = Places(layout.boxes, *text)
        depth = _ink_depth(draws, atlas.distance, layout, characters, slots, text)
        pixel = paint.pixel_size(view, image_size)
        ink = paint.settle(paint.coverage(depth, pixel))
        scene = paint.plate(draws, layout, ink, x, y, pixel)

        inside = slots.inside()
        semantic = jnp.where(inside, slots.pick(characters), len(charset))
        position = jnp.where(inside, slots.index, num_characters)
        return {
            "image": effects.take_picture(draws, noise_key, scene),
            "characters": characters,
            "semantic": semantic.astype(jnp.uint8),
            "position": position.astype(jnp.uint8),
            "has_maps": jnp.array(True),
            "weight": jnp.float32(1),
        }

    return render


def _check_options(realism: float, loose: float, tilt: float, cut: float) -> None:
    for name, value in (("realism", realism), ("loose", loose), ("tilt", tilt)):
        if value < 0:
            raise ValueError(f"{name} {value}: must not be negative")
    if not 0 <= cut <= 1:
        raise ValueError(f"cut {cut}: is a share, from 0 to 1")


def _draw_layout(draws: Draws, layouts: Layout, cumulative: np.ndarray) -> Layout:
    """Returns a random one of the stacked layouts, by their cumulative weights."""
    chosen = jnp.searchsorted(cumulative, draws.uniform() * cumulative[-1], side="right")
    return jax.tree.map(lambda table: jnp.asarray(table)[chosen], layouts)


def _draw_characters(draws: Draws, layout: Layout) -> jax.Array:
    """Returns random class ids (Cp,), void where the pattern has no character."""
    choice = draws.index(layout.counts, layout.counts.shape)[layout.drawn_with]
    return jnp.take_along_axis(layout.choices, choice[:, None], axis=1)[:, 0]


def _loosen(draws: Draws, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns x and y with the writing slightly moved, stretched and bent on its plate."""
    text_x = x * (1 + draws.spread(0.06)) + draws.spread(0.06) + draws.spread(0.05) * y
    text_y = y * (1 + draws.spread(0.12)) + draws.spread(0.06)
    bend = draws.up_to(0.03)
    text_x += bend * effects.smooth_noise(draws, (4, 12), x.shape)
    return text_x, text_y + bend * effects.smooth_noise(draws, (4, 12), x.shape)


def _ink_depth(
    draws: Draws,
    distance: np.ndarray,
    layout: Layout,
    characters: jax.Array,
    slots: Places,
    text: tuple[jax.Array, jax.Array],
) -> jax.Array:
    """Returns how deep each pixel is inside a stroke or separator, (H, W), in plate heights."""
    _, glyphs_per_font, rows, columns = distance.shape
    choice = draws.index(layout.font_counts)  # one draw: a row's characters share their font
    font = jnp.take_along_axis(layout.fonts, choice[:, None], axis=1)[:, 0]
    glyph = font * glyphs_per_font + jnp.minimum(characters, glyphs_per_font - 1)
    u, v = slots.place()
    row = jnp.floor(glyphs.PAD + v * glyphs.BOX[0]).astype(jnp.int32)
    column = jnp.floor(glyphs.PAD + u * glyphs.BOX[1]).astype(jnp.int32)
    near = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    place = (slots.pick(glyph * rows) + row) * columns + column
    depth = jnp.asarray(distance.reshape(-1))[jnp.where(near, place, 0)]
    depth = jnp.where(near, depth, -1.0) * slots.pick(layout.boxes[:, 3] - layout.boxes[:, 1])
    for left, top, right, bottom in layout.separators:
        outside = paint.box_distance(*text, left, top, right, bottom, corner=0.02)
        depth = jnp.maximum(depth, -outside)
    uneven = draws.up_to(0.012) * effects.smooth_noise(draws, (8, 24), depth.shape)
    return depth + draws.spread(0.014) + draws.up_to(0.005) + uneven

"""Paints a plate and its surroundings, layer by layer, in plate coordinates."""

import jax
import jax.numpy as jnp

from hpa_jax.data import effects
from hpa_jax.data.draws import Draws
from hpa_jax.data.layouts import AWAY, Layout
from hpa_jax.data.places import Places, pick

Layer = tuple[jax.Array, jax.Array]  # opacity (H, W); colour (3,), or one per box (N, 3)
STICKERS = 3  # random stickers on any plate, besides its style's decals


def pixel_size(homography: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """Returns the mean width of a pixel at the picture's middle, in plate heights."""
    h = homography
    middle = h @ jnp.array([0.5, 0.5, 1.0])
    slope = (h[:2, :2] - jnp.outer(middle[:2] / middle[2], h[2, :2])) / middle[2]
    area = jnp.abs(slope[0, 0] * slope[1, 1] - slope[0, 1] * slope[1, 0])
    return jnp.sqrt(area / (image_size[0] * image_size[1]))


def coverage(depth: jax.Array, pixel: jax.Array) -> jax.Array:
    """Returns how much of a pixel is covered if its centre is `depth` inside an edge."""
    return jnp.clip(0.5 + depth / pixel, 0, 1)


def box_distance(
    x: jax.Array,
    y: jax.Array,
    left: jax.Array,
    top: jax.Array,
    right: jax.Array,
    bottom: jax.Array,
    corner: jax.Array | float,
) -> jax.Array:
    """Returns the signed distance to a box with rounded corners, negative inside."""
    dx = jnp.abs(x - (left + right) / 2) - (right - left) / 2 + corner
    dy = jnp.abs(y - (top + bottom) / 2) - (bottom - top) / 2 + corner
    outside = jnp.sqrt(jnp.square(jnp.maximum(dx, 0)) + jnp.square(jnp.maximum(dy, 0)))
    return outside + jnp.minimum(jnp.maximum(dx, dy), 0) - corner


def settle(plane: jax.Array) -> jax.Array:
    """Returns a plane (H, W) unchanged, and makes XLA compute it only once.

    XLA's CPU compiler fuses cheap operations into each use of their result, and so may repeat them
    many times. It never fuses a matrix product, so multiplying by the identity prevents this.
    """
    return jnp.matmul(plane, jnp.eye(plane.shape[1]), precision=jax.lax.Precision.HIGHEST)


def plate(
    draws: Draws, layout: Layout, ink: jax.Array, x: jax.Array, y: jax.Array, pixel: jax.Array
) -> jax.Array:
    """Returns the scene (3, H, W), from the surroundings to the dirt on the plate.

    Args:
      draws: gives the random numbers.
      layout: the chosen layout.
      ink: (H, W), the share of each pixel that characters cover.
      x, y: (H, W), the place of each pixel on the plate.
      pixel: width of a pixel on the plate.
    """
    edge = box_distance(x, y, -layout.half_width, -0.5, layout.half_width, 0.5, layout.corner)
    face = coverage(-edge, pixel)
    palette = jnp.sum(draws.uniform() >= layout.palette_odds)
    ink_colour = jnp.clip(layout.inks[palette] + draws.spread(0.08, (3,)), 0, 1)
    background, layers, backlight = _surroundings(draws, x, y, edge)
    layers += _face(draws, layout.grounds[palette], face, y)
    layers += [_border(layout, edge, pixel, ink_colour)]
    box, stuck = _stick(draws, layout, x, y, ink_colour)
    layers += stuck
    layers += [(ink * _wear(draws, ink), ink_colour), _gloss(draws, ink)]
    layers += [_frame(draws, edge, pixel)]
    layers += _bolts(draws, layout, x, y, pixel)
    layers += [_dirt(draws, ink.shape)]
    rim = draws.spread(0.5) * jnp.exp(-jnp.square((edge + 0.025) / 0.015))
    light = backlight + face * (1 + rim - backlight)
    light = light * (1 + _relief(draws, ink))

    image = background[:, None, None]
    for alpha, colour in layers:
        planes = colour[:, None, None] if colour.ndim == 1 else pick(box, colour)
        image = image + alpha * (planes - image)
    return jnp.clip(image * light, 0, 1.2)


def _surroundings(
    draws: Draws, x: jax.Array, y: jax.Array, edge: jax.Array
) -> tuple[jax.Array, list[Layer], jax.Array]:
    """Returns a bumper, grille or wall: one tone, a layer of a second, and a factor of light."""
    tones = draws.uniform(0.02, 0.35, (2, 1))
    tones += (draws.uniform(shape=(2, 1)) < 0.25) * draws.uniform(0, 0.55, (2, 1))
    tones *= 1 + (draws.uniform(shape=(2, 1)) < 0.25) * draws.uniform(-0.9, 0.9, (2, 3))
    slant = draws.uniform(-0.3, 0.3)
    meet = jax.nn.sigmoid((y + slant * x - draws.uniform(-0.8, 0.8)) * draws.uniform(5, 60))
    turn = draws.uniform(-0.3, 1.6)
    wave = jnp.sin((y * jnp.cos(turn) + x * jnp.sin(turn)) * draws.uniform(15, 60))
    grille = draws.chance(0.1) * draws.uniform(0.2, 0.8) * jnp.clip(2 * wave, -1, 1)
    texture = draws.up_to(0.4) * effects.smooth_noise(draws, (12, 40), x.shape)
    shadow = draws.up_to(0.7) * jnp.exp(-jnp.maximum(edge, 0) / 0.06)
    light = (1 + grille) * (1 + texture) * (1 - shadow)
    tones = jnp.clip(tones, 0, 1)
    return tones[0], [(meet, tones[1])], light


def _face(draws: Draws, grounds: jax.Array, face: jax.Array, y: jax.Array) -> list[Layer]:
    """Returns the plate's face, faded and tinted, from its upper to its lower colour."""
    fade = draws.chance(0.25) * draws.uniform(0, 0.3)
    grounds = grounds + fade * (draws.uniform(0.4, 0.9) - grounds)
    grounds += draws.spread(0.03, (3,)) + draws.spread(0.08)
    grounds = jnp.clip(grounds, 0, 1)
    return [(face, grounds[0]), (face * jnp.clip(y + 0.5, 0, 1), grounds[1])]


def _border(layout: Layout, edge: jax.Array, pixel: jax.Array, ink_colour: jax.Array) -> Layer:
    inset, line = layout.border
    return coverage(line / 2 - jnp.abs(edge + inset), pixel) * (line > 0), ink_colour


def _stick(
    draws: Draws, layout: Layout, x: jax.Array, y: jax.Array, ink_colour: jax.Array
) -> tuple[jax.Array, list[Layer]]:
    """Returns the style's decals and random stickers, which lie under the characters.

    The results are each pixel's box, (H, W), and the layers of grounds and of signs, with colours
    by box, (N, 3).
    """
    count = len(layout.decal_boxes)
    own_ink = layout.decal_shows[:, 1:]
    inks = layout.decal_colours[:, 1] * own_ink + ink_colour * (1 - own_ink)
    seen = draws.uniform(shape=(count,)) < layout.decal_odds
    opaque = seen * layout.decal_shows[:, 0]
    decals = layout.decal_boxes, layout.decal_colours[:, 0], inks, layout.decal_signs, opaque
    pairs = zip(decals, _stickers(draws, layout), strict=True)
    boxes, grounds, inks, signs, opaque = map(jnp.concatenate, pairs)
    printed = jnp.concatenate([seen * draws.uniform(0.4, 1, (count,)), opaque[count:]])

    boxes = jnp.where(jnp.maximum(opaque, printed)[:, None] > 0, boxes, jnp.array(AWAY))
    places = Places(boxes, x, y)
    inside = places.inside()
    print_alpha = _signs(*places.place(), places.pick(signs), draws.uniform())
    print_alpha = print_alpha * inside * places.pick(printed)
    return places.index, [(inside * places.pick(opaque), grounds), (print_alpha, inks)]


def _stickers(draws: Draws, layout: Layout) -> tuple[jax.Array, ...]:
    """Returns boxes, grounds, inks, numbers of signs and opacities of stickers at the edges."""
    many = (STICKERS,)
    width, height = draws.uniform(0.08, 0.35, many), draws.uniform(0.05, 0.1, many)
    across = draws.uniform(-1, 1, many) * (layout.half_width - width)
    down = jnp.where(draws.uniform(shape=many) < 0.6, -0.38, 0.41)
    down += draws.uniform(-0.03, 0.03, many)
    boxes = jnp.stack([across - width, down - height, across + width, down + height], axis=1)
    grounds = draws.uniform(0, 1, (STICKERS, 3))
    grey = draws.uniform(shape=(STICKERS, 1)) < 0.5
    grounds = jnp.where(grey, jnp.round(grounds[:, :1]) * 0.8 + 0.05, grounds)
    inks = jnp.where(grounds.sum(axis=1, keepdims=True) > 1.5, 0.1, 0.9) * jnp.ones(3)
    seen = draws.uniform(shape=many) < draws.strength * layout.stickers
    opaque = seen * jnp.minimum(draws.uniform(0.2, 1.5, many), 1)
    return boxes, grounds, inks, jnp.floor(draws.uniform(2, 12, many)), opaque


def _signs(u: jax.Array, v: jax.Array, count: jax.Array, seed: jax.Array) -> jax.Array:
    """Returns small, unreadable print: `count` signs, each a random pattern of 4×4 spots."""
    column, row = (u * count * 5).astype(jnp.uint32), (v * 4).astype(jnp.uint32)
    word = column * 4 + row + 1 + (seed * 65536).astype(jnp.uint32)
    word = word * jnp.uint32(2654435761)
    word = (word ^ (word >> 15)) * jnp.uint32(2246822519)
    return (((word >> 16) & 7) < 5) & (column % 5 < 4) & (count > 0)


def _wear(draws: Draws, ink: jax.Array) -> jax.Array:
    """Returns how much of the paint is left on the characters, 0 to 1."""
    left = 1 - draws.chance(0.4) * draws.uniform(0, 0.5)
    patches = effects.smooth_noise(draws, (6, 24), ink.shape) + draws.uniform(-0.6, 0.4)
    peeled = draws.chance(0.15) * draws.uniform(0.1, 0.6) * jax.nn.sigmoid(8 * patches)
    return left * (1 - peeled)


def _gloss(draws: Draws, ink: jax.Array) -> Layer:
    """Returns the sky's reflection on raised characters, where ink looks as bright as the plate."""
    coarse = effects.smooth_noise(draws, (3, 6), ink.shape)
    fine = effects.smooth_noise(draws, (5, 20), ink.shape)
    field = coarse + draws.uniform(0, 0.8) * fine - draws.uniform(-0.2, 0.6)
    share = jax.nn.sigmoid(draws.uniform(6, 40) * field)
    bright = draws.uniform(0.5, 1) * jnp.array([0.97, 1.0, 1.03])
    return draws.chance(0.12) * draws.uniform(0.3, 0.8) * ink * share, bright


def _frame(draws: Draws, edge: jax.Array, pixel: jax.Array) -> Layer:
    """Returns a holder around the plate, which may cover its edge."""
    inner, outer = -draws.uniform(0.0, 0.03), draws.uniform(0.02, 0.09)
    ring = coverage(edge - inner, pixel) * coverage(outer - edge, pixel)
    grey = draws.uniform(0, 1) ** 2 * jnp.ones(3)
    colour = jnp.where(draws.uniform() < 0.3, draws.uniform(0, 1, (3,)), grey)
    return draws.chance(0.25) * ring, colour


def _bolts(
    draws: Draws, layout: Layout, x: jax.Array, y: jax.Array, pixel: jax.Array
) -> list[Layer]:
    """Returns bolts with slots and a glint, as an upper and a lower mirrored pair."""
    across = jnp.abs(x - draws.spread(0.04)) - layout.bolts[0]
    lower = y > 0
    seen = draws.chance(0.65), draws.chance(0.5)
    middle = layout.bolts[1:] + draws.spread(0.03, (2,))
    down = y - jnp.where(lower, middle[1], middle[0])
    seen = jnp.where(lower, seen[1], seen[0])
    radius = draws.uniform(0.03, 0.055)
    slot = jnp.hypot(jnp.maximum(jnp.abs(across) - draws.uniform(0, 0.09), 0), down)
    hole = coverage(0.75 * radius - slot, pixel) * draws.chance(0.6) * draws.uniform(0.3, 1)
    head = coverage(radius - jnp.hypot(across, down), pixel) * seen
    glint = coverage(0.5 * radius - jnp.hypot(across, down + 0.4 * radius), pixel) * seen
    metal = draws.uniform(0.1, 0.8) * (1 + draws.uniform(-0.3, 0.3) * jnp.array([1.0, 0.1, -1.0]))
    return [(hole, jnp.full(3, 0.12)), (head, metal), (0.5 * glint, jnp.full(3, 0.9))]


def _relief(draws: Draws, raised: jax.Array) -> jax.Array:
    """Returns light and shade on the edges of embossed characters, to be added to 1."""
    right = jnp.diff(raised, axis=1, append=raised[:, -1:])
    down = jnp.diff(raised, axis=0, append=raised[-1:])
    return draws.chance(0.6) * (draws.spread(0.35) * right + draws.spread(0.5) * down)


def _dirt(draws: Draws, size: tuple[int, int]) -> Layer:
    """Returns a layer of stains and splashes."""
    coarse = effects.smooth_noise(draws, (4, 10), size)
    fine = effects.smooth_noise(draws, (20, 56), size)
    share = draws.uniform(0, 1)
    stained = jax.nn.sigmoid((share * coarse + (1 - share) * fine - draws.uniform(0.1, 0.7)) * 12)
    colour = draws.uniform(0.1, 0.6) * jnp.array([1.0, 0.9, 0.75])
    return draws.chance(0.25) * draws.uniform(0.1, 0.5) * stained, colour

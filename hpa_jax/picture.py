"""Pictures of what a network sees, what it read and where it looked (paper, figures 4 and 5)."""

from __future__ import annotations

import functools
import importlib.util
import math
import pathlib
import typing
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpa_jax.charset import Charset, spell_out
from hpa_jax.models.layers import interpolation_matrix

if typing.TYPE_CHECKING:
    from hpa_jax.recognize import Reading

INK, RIGHT, WRONG, PAPER = (32, 32, 32), (0, 120, 60), (190, 30, 30), (255, 255, 255)
CAPTION = 20  # height in pixels of a line of text below a tile
LONGEST = 80  # characters shown of a label: in a broken table it may be very long
SHEET = 32  # plates on a contact sheet
HEADER = 20  # pixels for the names of a contact sheet's columns


def overlay(image_HWC: np.ndarray, map_hw: np.ndarray) -> np.ndarray:
    """Draws an attention map over its plate: H×W×3 uint8, brightest where the map is highest."""
    heat = map_hw / max(map_hw.max(), 1e-6)
    for axis, size in enumerate(image_HWC.shape[:2]):  # with aligned corners, as the network does
        matrix = interpolation_matrix(map_hw.shape[axis], size)
        heat = np.moveaxis(np.tensordot(matrix, heat, (1, axis)), 0, axis)
    grey = image_HWC.mean(axis=-1, keepdims=True)
    glow = np.stack([heat, heat**2 * 0.75, 0.35 * (1 - heat)], axis=-1) * 255
    return (0.45 * grey + 0.55 * glow).astype(np.uint8)


def painted(image_HWC: np.ndarray, classes_hw: np.ndarray, background: int) -> np.ndarray:
    """Draws a class map over its plate: H×W×3 uint8, a colour per class but the background."""
    sizes = zip(np.shape(classes_hw), image_HWC.shape[:2], strict=True)
    nearest = [np.linspace(0, source - 1, target).round().astype(int) for source, target in sizes]
    classes_HW = np.asarray(classes_hw)[np.ix_(*nearest)]  # with aligned corners too
    hues = [Image.new("HSV", (1, 1), (i * 97 % 256, 220, 255)) for i in range(background)]
    colours = np.array([hue.convert("RGB").getpixel((0, 0)) for hue in hues] + [(0, 0, 0)])
    share = np.where(classes_HW == background, 0.0, 0.5)[..., None]
    return (image_HWC * (1 - share) + colours[classes_HW] * share).astype(np.uint8)


def maps_row(
    image_HWC: np.ndarray,
    reading: Reading,
    truth: str | None = None,
    semantic: tuple[np.ndarray, int] | None = None,
) -> Image.Image:
    """Draws the plate with its reading, then each character's map over it, in reading order.

    Args:
      image_HWC: uint8, the plate at any size, in the orientation in which it was read.
      reading: read with `maps=True`; without maps the plate stands alone.
      truth: the label, shown and compared if it is known.
      semantic: the semantic network's classes, h×w, and its background class; drawn second.
    """
    height, width, _ = image_HWC.shape
    wrong = truth not in (None, reading.text)
    colour = INK if truth is None else RIGHT
    caption = f"{spell_out(reading.text)}  {reading.confidence:.2f}"
    if wrong:
        colour = WRONG
        caption += f"\nlabel {spell_out(truth)[:LONGEST]}"
    tiles = [(image_HWC, caption, colour)]
    if semantic is not None:
        tiles.append((painted(image_HWC, *semantic), "semantic map", INK))
    maps = () if reading.maps is None else reading.maps
    for map_hw, (character, confidence) in zip(maps, reading.characters, strict=False):
        caption = f"{spell_out(character)}  {confidence:.2f}"
        tiles.append((overlay(image_HWC, map_hw), caption, INK))
    widths = [max(width, _width(caption)) + 4 for _, caption, _ in tiles]
    row = Image.new("RGB", (sum(widths), height + CAPTION * (1 + wrong)), PAPER)
    draw, left = ImageDraw.Draw(row), 0
    for (pixels, caption, colour), step in zip(tiles, widths, strict=True):
        row.paste(Image.fromarray(pixels), (left, 0))
        font = _font(caption.isascii())
        draw.text((left + 2, height + 2), caption, fill=colour, font=font)
        left += step
    return row


def _width(caption: str) -> int:
    """Returns the width of a caption in pixels, from the left of its tile."""
    font = _font(caption.isascii())
    return 2 + math.ceil(max(font.getlength(line) for line in caption.split("\n")))


@functools.cache
def _font(ascii_only: bool) -> ImageFont.FreeTypeFont:
    """Returns Pillow's font, which has only ASCII, or Matplotlib's."""
    if ascii_only:
        return ImageFont.load_default(13)
    matplotlib = pathlib.Path(importlib.util.find_spec("matplotlib").origin).parent
    return ImageFont.truetype(str(matplotlib / "mpl-data/fonts/ttf/DejaVuSans.ttf"), 12)


def page(rows: Sequence[Image.Image]) -> Image.Image:
    """Stacks rows on one page."""
    width = max(row.width for row in rows) + 8
    sheet = Image.new("RGB", (width, sum(row.height + 4 for row in rows) + 8), PAPER)
    top = 8
    for row in rows:
        sheet.paste(row, (8, top))
        top += row.height + 4
    return sheet


def contact_sheet(
    batch: Mapping[str, np.ndarray],
    augmented: Mapping[str, np.ndarray],
    charset: Charset,
    columns: int = 2,
) -> Image.Image:
    """Draws each plate as it is, augmented, and with its position and semantic maps and its label.

    The maps are left out if no plate has any.

    Args:
      batch, augmented: the same plates in the batch layout.
      charset: to write the labels.
      columns: plates in a row of the sheet.
    """
    count, height, width, _ = batch["image"].shape
    num_characters = batch["characters"].shape[-1]
    pictures = {"as it is": batch["image"], "in training": augmented["image"]}
    if batch["has_maps"].any():
        for name, background in (("position", num_characters), ("semantic", len(charset))):
            maps = zip(np.asarray(augmented["image"]), np.asarray(augmented[name]), strict=True)
            pictures[name] = [painted(image, classes, background) for image, classes in maps]
    labels = []
    for ids, has_maps in zip(batch["characters"], batch["has_maps"], strict=True):
        readable = (ids >= 0).all()
        text = spell_out(charset.decode(ids)) if readable else "cannot be written in this charset"
        labels.append(text if has_maps else f"{text}   (no maps)")
    tile_width = max(len(pictures) * (width + 4), *map(_width, labels)) + 8
    tile_height = height + 24
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * tile_width, HEADER + rows * tile_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, label in enumerate(labels):
        left, top = i % columns * tile_width + 4, HEADER + i // columns * tile_height + 4
        for j, (name, picture) in enumerate(pictures.items()):
            if i < columns:
                draw.text((left + j * (width + 4) + 2, 2), name, fill=INK, font=_font(True))
            sheet.paste(Image.fromarray(np.asarray(picture[i])), (left + j * (width + 4), top))
        draw.text((left + 2, top + height + 1), label, fill=INK, font=_font(label.isascii()))
    return sheet

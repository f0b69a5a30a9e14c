"""Character boxes of a plate whose corners are known, from the geometry of its style.

For data sets without character boxes that are to be trained with LS and LP (paper, equation 1). On
rendered plates, whose characters are set as loosely as on real ones, estimated and true boxes have
a mean intersection over union of 0.77 to 0.79, and of 0.61 to 0.65 at the worst tenth (taiwan_old,
china_blue, china_green, china_yellow_two_row; measured by tests/data/test_boxes.py).
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hpa_jax.data import crops, images
from hpa_jax.data.plate import Corners, DataError, Plate, box_corners
from hpa_jax.data.plate_style import SEPARATORS, PlateStyle


def estimate_characters(
    style: PlateStyle, text: str, corners: Corners
) -> tuple[Corners, ...] | None:
    """Returns each character's corners in the photograph, or None if the style has no such text.

    Args:
      style: the kind of plate.
      text: its characters in reading order.
      corners: the plate's corners in the photograph, clockwise from left-top.
    """
    pattern = match_pattern(style, text)
    if pattern is None:
        return None
    boxes = style.place(pattern).boxes
    plate = crops.homography(box_corners((0, 0, *style.size)), corners)
    moved = crops.transform(plate, np.array([box_corners(box) for box in boxes], np.float64))
    return tuple(tuple(map(tuple, character)) for character in moved.tolist())


def match_pattern(style: PlateStyle, text: str) -> str | None:
    """Returns the most frequent pattern of a style that can write a text, or None."""

    def writes(pattern: str) -> bool:
        symbols = [s for s in pattern if s not in SEPARATORS + "/"]
        return len(symbols) == len(text) and all(
            character in style.alphabets[symbol]
            for symbol, character in zip(symbols, text, strict=True)
        )

    return max(filter(writes, style.patterns), key=style.patterns.get, default=None)


def add_characters(plates: Iterable[Plate], styles: Sequence[PlateStyle]) -> Iterator[Plate]:
    """Estimates the character boxes that plates lack.

    Of the styles that can write a plate's text, the one whose aspect ratio is nearest to the
    plate's is used, because the same text may be written in one row or in two.
    If a plate's corners are unknown, its upright box or else its whole image is used instead; the
    error grows with the plate's tilt. Plates that have character boxes already, that fit no style,
    or whose image cannot be read are yielded unchanged.
    """
    for plate in plates:
        wanted = styles and plate.text and not plate.characters
        if not wanted or (corners := _corners(plate)) is None:
            yield plate
            continue
        nearest = sorted(styles, key=functools.partial(_unlikeness, corners))
        found = (estimate_characters(style, plate.text, corners) for style in nearest)
        yield dataclasses.replace(plate, characters=next(filter(None, found), ()))


def _corners(plate: Plate) -> Corners | None:
    """Returns the corners of a plate, its box or its image; None if its image is unreadable."""
    if plate.corners or plate.box:
        return plate.corners or box_corners(plate.box)
    try:
        return box_corners((0.0, 0.0, *map(float, images.size(plate.image))))
    except DataError:  # is reported later, where its pixels are needed
        return None


def _unlikeness(corners: Corners, style: PlateStyle) -> float:
    """Returns how far apart the aspect ratios of a style and a plate are, as a log ratio."""
    points = np.array(corners)
    sides = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    ratio = (sides[0] + sides[2] + 1e-6) / (sides[1] + sides[3] + 1e-6)
    return abs(math.log(ratio / (style.size[0] / style.size[1])))

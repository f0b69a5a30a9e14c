"""Cuts a plate out of its photograph, with a margin, upright or rectified."""

import dataclasses
import math

import numpy as np
from PIL import Image

from hpa_jax.data.plate import Box, Corners, DataError, Plate, box_corners, hull

# A crop is shrunk until its plate is this wide or this high, whichever comes first: 1.5 times the
# network's input, so that augmentation can zoom in, and no more, so that prepared sets stay small.
MAX_WIDTH, MAX_HEIGHT = 240, 75
MIN_WIDTH, MIN_HEIGHT = 4, 2  # of a plate; smaller boxes are mistakes, such as shares of the image


@dataclasses.dataclass(frozen=True)
class Crop:
    """A plate and its surroundings.

    Attributes:
      image: RGB.
      box: the plate's box in it, in pixels.
      characters: float32 (n, 4, 2), the characters' corners in it; n is 0 where they are unknown.
    """

    image: Image.Image
    box: Box
    characters: np.ndarray


def crop_plate(photograph: Image.Image, plate: Plate, rectify: bool, margin: float) -> Crop:
    """Returns the crop of a plate from its photograph, shrunk to the size of prepared sets.

    Args:
      photograph: RGB.
      plate: gives the box, the corners and the characters' corners.
      rectify: whether to warp the plate's corners to a rectangle, or cut out its upright box.
      margin: surroundings to keep on each side, as a share of the plate's size.

    Raises:
      DataError: the box lies outside the image or is tiny, the characters' boxes lie outside it, or
        there are no corners to rectify by.
    """
    width, height = photograph.size
    whole = (0.0, 0.0, float(width), float(height))
    box = plate.box or whole
    inside = _clip(box, whole)
    if inside is not None and (box[2] - box[0] < MIN_WIDTH or box[3] - box[1] < MIN_HEIGHT):
        raise DataError(
            plate.name,
            f"its box {tuple(box)} is less than {MIN_WIDTH}×{MIN_HEIGHT} pixels: boxes are x1, y1, "
            "x2, y2 in pixels",
        )
    if not _is_mostly(box, inside):
        raise DataError(
            plate.name, f"its box {tuple(box)} lies outside its image of {width}×{height} pixels"
        )
    _check_characters(plate, box)
    characters = np.array(plate.characters, np.float32).reshape(-1, 4, 2)
    if not rectify:
        return _upright(photograph, inside, characters, margin)
    if plate.corners is None:
        raise DataError(plate.name, "cannot be rectified: its corners are unknown")
    return _rectified(photograph, plate.corners, characters, margin)


def _check_characters(plate: Plate, box: Box) -> None:
    """Refuses characters that are not on their plate: their maps would be wrong."""
    if not plate.characters:
        return
    around = hull([point for corners in plate.characters for point in corners])
    if not _is_mostly(around, _clip(around, box)):
        raise DataError(
            plate.name,
            f"its character boxes, within {around}, lie outside its box {tuple(box)}: all are in "
            "pixels of the photograph",
        )


def _upright(image: Image.Image, box: Box, characters: np.ndarray, margin: float) -> Crop:
    x1, y1, x2, y2 = box
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    region = _clip((x1 - dx, y1 - dy, x2 + dx, y2 + dy), (0.0, 0.0, *image.size))
    left, top = math.floor(region[0]), math.floor(region[1])
    right, bottom = math.ceil(region[2]), math.ceil(region[3])
    cut, scales = _shrink(image.crop((left, top, right, bottom)), x2 - x1, y2 - y1)
    moved = (np.array(box, np.float32).reshape(2, 2) - (left, top)) * scales
    return Crop(cut, tuple(map(float, moved.ravel())), (characters - (left, top)) * scales)


def _rectified(image: Image.Image, corners: Corners, characters: np.ndarray, margin: float) -> Crop:
    left_top, right_top, right_bottom, left_bottom = corners
    # Slanted sides make the height too large. This does no harm, because the crop is resized to
    # the network's input.
    width = max(math.dist(left_top, right_top), math.dist(left_bottom, right_bottom))
    height = max(math.dist(left_top, left_bottom), math.dist(right_top, right_bottom))
    dx, dy = round(margin * width), round(margin * height)
    box = (dx, dy, dx + max(2, round(width)), dy + max(2, round(height)))
    to_photograph = homography(box_corners(box), corners)
    # Pillow transforms pixel centres: it adds the half pixel itself.
    cut = image.transform(
        (box[2] + dx, box[3] + dy),
        Image.Transform.PERSPECTIVE,
        (to_photograph / to_photograph[2, 2]).ravel()[:8],
        Image.Resampling.BICUBIC,
    )
    cut, scales = _shrink(cut, width, height)
    moved = (np.array(box, np.float32).reshape(2, 2) * scales).ravel()
    moved_characters = transform(np.linalg.inv(to_photograph), characters) * scales
    return Crop(cut, tuple(map(float, moved)), moved_characters.astype(np.float32))


def _shrink(cut: Image.Image, width: float, height: float) -> tuple[Image.Image, np.ndarray]:
    """Shrinks a crop until its plate of width×height fits MAX_WIDTH or MAX_HEIGHT.

    Returns the crop and its x and y scales, float32 (2,), which differ by rounding.
    """
    scale = min(1.0, max(MAX_WIDTH / width, MAX_HEIGHT / height))
    size = tuple(max(1, round(scale * extent)) for extent in cut.size)
    scales = np.divide(size, cut.size).astype(np.float32)
    return cut if cut.size == size else cut.resize(size, Image.Resampling.BICUBIC), scales


def homography(source: Corners, target: Corners) -> np.ndarray:
    """Returns the 3×3 homography that maps four points to four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solution = np.linalg.solve(np.array(rows, np.float64), np.array(values, np.float64))
    return np.append(solution, 1.0).reshape(3, 3)


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns points (..., 2) mapped by a 3×3 homography."""
    moved = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ matrix.T
    return moved[..., :2] / moved[..., 2:]


def _clip(box: Box, bounds: Box) -> Box | None:
    x1, x2 = max(box[0], bounds[0]), min(box[2], bounds[2])
    y1, y2 = max(box[1], bounds[1]), min(box[3], bounds[3])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _is_mostly(box: Box, inside: Box | None) -> bool:
    """Returns whether at least half of a box is left after `_clip`."""
    return inside is not None and _area(inside) >= 0.5 * _area(box)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])

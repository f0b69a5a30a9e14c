"""The record that every format module yields: a licence plate in an image.

A format module has a function `read(root, on_bad=stop)`, an iterator over `Plate`s that opens no
image and yields the same plates at every call. It passes each row or file that it cannot use to
`on_bad`, as a `DataError` that names it, and continues; for a wrong `root` it raises one. It may
have `EXPECTED = {"train": (1000,)}`, the published numbers of plates, and `UNUSED`, the splits that
no protocol uses, whose labels the network need not be able to write. Add it to `datasets.READERS`,
and name it in a config (`configs/files.py`).
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, x1 < x2 and y1 < y2
Point = tuple[float, float]  # x, y in pixels
Corners = tuple[Point, Point, Point, Point]  # left-top, right-top, right-bottom, left-bottom


class DataError(ValueError):
    """A file or record that cannot be used. Its message is "source: problem"."""

    def __init__(self, source: object, problem: str) -> None:
        super().__init__(str(source), problem)  # plain, so that workers can pickle it

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


def stop(error: DataError) -> NoReturn:
    """Raises the error: what format modules do with a bad file by default."""
    raise error


OnBad = Callable[[DataError], object]


@dataclasses.dataclass(frozen=True)
class Plate:
    """A plate in an image. All geometry is in pixels of the decoded image.

    Attributes:
      image: path of the image, or its encoded bytes.
      name: identifies the plate for people; plates of one image may share it.
      split: the split that it belongs to, a word other than "all".
      text: the characters in reading order; "" if there is no plate or its text is unknown.
      box: the plate's upright box; None if the plate fills the image.
      corners: the plate's corners, clockwise from the left-top of its text; None if unknown.
      characters: each character's corners, in reading order; empty if unknown.
      missed: whether the detector missed it: in a test it then counts as wrong.
    """

    image: pathlib.Path | bytes
    name: str
    split: str
    text: str
    box: Box | None = None
    corners: Corners | None = None
    characters: tuple[Corners, ...] = ()
    missed: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Za-z0-9_]+", self.split) or self.split == "all":
            raise DataError(
                self.name,
                f"split {self.split!r} should be a word of letters, digits and _, and not all, "
                "which means every split",
            )
        if self.characters and len(self.characters) != len(self.text):
            raise DataError(
                self.name,
                f"{len(self.characters)} character boxes for the {len(self.text)} characters "
                f"of {self.text!r}; give one for each, or none",
            )

    @property
    def source(self) -> pathlib.Path | str:
        """What errors call the plate: its file, or its name if it has no file."""
        return self.image if isinstance(self.image, pathlib.Path) else self.name


def make_box(numbers: Sequence[float], source: object) -> Box:
    """Returns the upright box of x1, y1, x2, y2.

    Raises:
      DataError: not four finite numbers, or x2 is not right of x1, or y2 not below y1.
    """
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise DataError(source, f"a box is four numbers x1, y1, x2, y2, not {list(numbers)}")
    x1, y1, x2, y2 = map(float, numbers)
    if x1 >= x2 or y1 >= y2:
        raise DataError(
            source,
            f"the box {x1:g}, {y1:g}, {x2:g}, {y2:g} has no area: a box is x1, y1, x2, y2, its "
            "left, top, right and bottom, and no width or height",
        )
    return x1, y1, x2, y2


def make_corners(points: Sequence[Point], source: object) -> Corners:
    """Returns four corners, given clockwise from left-top, as `Corners` after checking them.

    Raises:
      DataError: not four finite points, or not a convex, clockwise quadrilateral.
    """
    if len(points) != 4 or not all(len(p) == 2 and all(map(math.isfinite, p)) for p in points):
        raise DataError(source, f"corners are four points x, y, not {list(points)}")
    corners = tuple((float(x), float(y)) for x, y in points)
    for (ax, ay), (bx, by), (cx, cy) in zip(
        corners, corners[1:] + corners[:1], corners[2:] + corners[:2], strict=True
    ):
        if (bx - ax) * (cy - by) - (by - ay) * (cx - bx) <= 0:  # y points down: clockwise turns > 0
            raise DataError(
                source,
                f"corners {corners} are not a plate's: they go clockwise around it, as one reads "
                "it left-top, right-top, right-bottom, left-bottom",
            )
    return corners


def from_left_top(points: Sequence[Point]) -> list[Point]:
    """Returns points rotated so that the one nearest their box's left-top comes first."""
    start = min(range(len(points)), key=lambda i: sum(points[i]))
    return [*points[start:], *points[:start]]


def box_corners(box: Box) -> Corners:
    """Returns the corners of an upright box."""
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def hull(corners: Sequence[Point]) -> Box:
    """Returns the smallest upright box around points."""
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def overlap(a: Box, b: Box) -> float:
    """Returns the intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total > 0 else 0.0

"""CLPD, Chinese License Plate Dataset (Zhang et al. 2020): 1,200 photographs, 31 provinces.

Layout: CLPD.csv (GBK or UTF-8) with the header path,x1,y1,x2,y2,x3,y3,x4,y4,label, beside the
folder CLPD_1200/ that its paths begin with. The points are left-top, right-top, right-bottom,
left-bottom; of points in another order only the upright box is kept. New-energy plates have eight
characters; partly hidden ones show fewer than seven.

One split, `test`: the paper trains on CCPD base only and tests on all of CLPD.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from hpa_jax.charset import normalise_text
from hpa_jax.data import files
from hpa_jax.data.plate import (
    DataError,
    OnBad,
    Plate,
    from_left_top,
    hull,
    make_box,
    make_corners,
    stop,
)

EXPECTED = {"test": (1200,)}
POINTS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
COLUMNS = ("path", *POINTS, "label")


def read(root: str | os.PathLike, on_bad: OnBad = stop) -> Iterator[Plate]:
    """Yields the plates of CLPD.

    Args:
      root: the folder with CLPD.csv and CLPD_1200/, or one nearby.
      on_bad: called with the error for each row that cannot be used; by default raises it.

    Raises:
      DataError: no CLPD.csv there.
    """
    root = files.locate(root, lambda folder: _table(folder) is not None, "file CLPD.csv")
    for where, row in files.read_table(_table(root), COLUMNS, on_bad):
        try:
            yield parse_row(row, root, where)
        except DataError as error:
            on_bad(error)


def parse_row(row: dict[str, str], root: pathlib.Path, where: str) -> Plate:
    """Returns the plate that a row of CLPD.csv describes.

    Raises:
      DataError: a cell cannot be read, or the points have no area.
    """
    values = files.cells({name: row[name] for name in POINTS}, where)
    points = list(zip(values[::2], values[1::2], strict=True))
    corners = None  # unless in the right order; the paper's protocol needs only the box
    if points == from_left_top(points):
        with contextlib.suppress(DataError):
            corners = make_corners(points, where)
    text = normalise_text(row["label"])
    if not row["path"]:
        raise DataError(where, "path must not be empty")
    if not 1 <= len(text) <= 8:
        problem = f"label {row['label']!r} should be a plate's one to eight characters, as 皖A12345"
        raise DataError(where, problem)
    path = root / row["path"]
    return Plate(path, row["path"], "test", text, make_box(hull(points), where), corners)


def _table(folder: pathlib.Path) -> pathlib.Path | None:
    named = (table for table in files.tables(folder) if "clpd" in table.name.lower())
    return min(named, key=lambda table: len(table.name), default=None)  # CLPD (1).csv is a copy

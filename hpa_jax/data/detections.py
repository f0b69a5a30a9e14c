"""Plates where a detector found them, instead of their labelled boxes (paper, "Experiments").

The paper's detector is a YOLOv4, trained on CCPD's training set, whose boxes are unpublished. The
boxes of yours are a CSV with the header file,x1,y1,x2,y2 and one line per box: the photograph's
path in the data set's folder, and the box in pixels of the photograph. Further columns, such as a
score, are ignored. A photograph may have several lines, or none.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

from hpa_jax.data import files, folder
from hpa_jax.data.plate import Box, DataError, OnBad, Plate, make_box, overlap, stop

COLUMNS = ("file", *folder.BOX)
MIN_OVERLAP = 0.7  # IoU; a plate without such a box counts as wrong, whatever is read


def read(table: str | os.PathLike, root: str | os.PathLike) -> dict[pathlib.Path, list[Box]]:
    """Returns the detected boxes of each photograph.

    Args:
      table: the CSV.
      root: the folder that its paths are relative to.

    Raises:
      DataError: the CSV cannot be read, names a missing photograph, or has boxes not in pixels.
    """
    found = collections.defaultdict(list)
    for where, row in files.read_table(pathlib.Path(table), COLUMNS):
        path = _real(pathlib.Path(root, row["file"]))
        if not os.path.isfile(path):  # noqa: PTH113, pathlib's raises over a name that is too long
            raise DataError(
                where, f"names {row['file']}, which is not in {root}: paths start from there"
            )
        cells = files.cells({name: row[name] for name in folder.BOX}, where)
        found[path].append(make_box(cells, where))
    if all(max(box) <= 1 for boxes in found.values() for box in boxes):
        raise DataError(table, "has boxes in shares of the photograph: they must be in its pixels")
    return found


def place(
    plates: Iterable[Plate], found: dict[pathlib.Path, list[Box]], on_bad: OnBad = stop
) -> Iterator[Plate]:
    """Replaces each plate's box by the detected one with the highest IoU, or marks it as missed.

    A missed plate keeps its labelled box: it can be trained on, and counts as wrong in a test.
    Photographs that show no plate (text "") are yielded unchanged.

    Args:
      plates: with their labelled boxes.
      found: the result of `read`.
      on_bad: called with the error for each plate without a labelled box; by default raises it.
    """
    for plate in plates:
        if not plate.text:
            yield plate
            continue
        if plate.box is None:
            problem = "has no labelled box to compare with the detected ones"
            on_bad(DataError(plate.name, problem))
            continue
        boxes = found.get(_real(plate.image), [])
        best = max(boxes, key=lambda box: overlap(box, plate.box), default=None)
        if best is None or overlap(best, plate.box) < MIN_OVERLAP:
            yield dataclasses.replace(plate, missed=True)
        else:
            yield dataclasses.replace(plate, box=best)


def _real(path: pathlib.Path) -> pathlib.Path:
    """Resolves links; unlike pathlib's, os's does not raise where they form a circle."""
    return pathlib.Path(os.path.realpath(path))

"""Plates where a detector found them, in place of their labelled boxes (paper, "Experiments").

The detector is the user's; the paper's is a YOLOv4, trained on CCPD's training set, whose boxes are
unpublished. What it found is a CSV with the header file,x1,y1,x2,y2, one line a box:
the photograph's path in the data set's folder, and the box in the photograph's pixels. Further
columns, such as a score, are ignored; a photograph may have several lines, or none.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator

from hpa_jax.data import files, folder
from hpa_jax.data.plate import Box, DataError, OnBad, Plate, make_box, overlap, stop

COLUMNS = ("file", *folder.BOX)
MIN_OVERLAP = 0.7  # a plate that no box covers so well is wrong, whatever is read


def read(table: str | os.PathLike, root: str | os.PathLike) -> dict[pathlib.Path, list[Box]]:
    """Returns the boxes that were found in each photograph.

    Args:
      table: the CSV.
      root: the folder that its paths start from.

    Raises:
      DataError: it cannot be read, names a photograph that is not there, or is not in pixels.
    """
    found = collections.defaultdict(list)
    for where, row in files.read_table(pathlib.Path(table), COLUMNS):
        path = _real(pathlib.Path(root, row["file"]))
        if not os.path.isfile(path):  # noqa: PTH113, pathlib's raises over a name that is too long
            raise DataError(
                where, f"names {row['file']}, which is not in {root}, from where files are seen"
            )
        cells = files.cells({name: row[name] for name in folder.BOX}, where)
        found[path].append(make_box(cells, where))
    if all(max(box) <= 1 for boxes in found.values() for box in boxes):
        raise DataError(table, "has boxes in shares of the photograph: they must be in its pixels")
    return found


def place(
    plates: Iterable[Plate], found: dict[pathlib.Path, list[Box]], on_bad: OnBad = stop
) -> Iterator[Plate]:
    """Moves each plate's box to the detected one that covers it best; marks those that none covers.

    A missed plate keeps its labelled box: it can be trained on, and counts as wrong in a test.
    Photographs that show no plate (text "") pass unchanged.

    Args:
      plates: as they are labelled.
      found: what `read` gave.
      on_bad: hears of plates without a labelled box to compare with; raises unless told otherwise.
    """
    for plate in plates:
        if not plate.text:
            yield plate
            continue
        if plate.box is None:
            problem = "has no labelled box, by which a detected one is judged"
            on_bad(DataError(plate.name, problem))
            continue
        boxes = found.get(_real(plate.image), [])
        best = max(boxes, key=lambda box: overlap(box, plate.box), default=None)
        if best is None or overlap(best, plate.box) < MIN_OVERLAP:
            yield dataclasses.replace(plate, missed=True)
        else:
            yield dataclasses.replace(plate, box=best)


def _real(path: pathlib.Path) -> pathlib.Path:
    """A path without links; one that a link in a circle is in as it is, where pathlib raises."""
    return pathlib.Path(os.path.realpath(path))

"""Media Lab (NTUA; Anagnostopoulos et al. 2008): 706 Greek photographs, 427 normal, 279 difficult.

The data set has no labels for recognition, so write them to a file annotations.csv at its root, in
the form of `folder.py` (file,text and, if the photograph shows more than the plate, x1,y1,x2,y2 or
corners), with one more column, subset, which is normal or difficult:

    file,text,subset,x1,y1,x2,y2
    day_color/IMG_0378.jpg,YBB7799,normal,210,305,402,351

Splits: `difficult`, and `fold0` to `fold3`, the normal photographs divided evenly at random. The
paper trains on three folds and the difficult photographs and tests on the fourth, four times.
"""

import os
import random
from collections.abc import Iterator

from hpa_jax.data import files, folder
from hpa_jax.data.plate import DataError, OnBad, Plate, stop

EXPECTED = {name: (107,) for name in ("fold0", "fold1", "fold2")}
EXPECTED |= {"fold3": (106,), "difficult": (279,)}
FOLDS = 4
TABLE = "annotations.csv"


def read(root: str | os.PathLike, on_bad: OnBad = stop, *, seed: int = 0) -> Iterator[Plate]:
    """Yields the plates of Media Lab.

    Args:
      root: the folder with annotations.csv, or one nearby.
      on_bad: called with the error for each row that cannot be used; by default raises it.
      seed: decides which photograph is in which fold; the paper's folds are unpublished.

    Raises:
      DataError: no annotations.csv there, its columns are wrong, or a photograph is both normal
        and difficult.
    """
    root = files.locate(root, lambda f: (f / TABLE).is_file(), f"file {TABLE}")
    rows = list(files.read_table(root / TABLE, (*folder.COLUMNS, "subset"), on_bad))
    for _, row in rows:
        folder.check_columns(row, root / TABLE)
    # By file, so that two plates of one photograph are in the same fold, in any order of rows.
    normal = sorted({row["file"] for _, row in rows if row["subset"].lower() == "normal"})
    random.Random(seed).shuffle(normal)
    both = set(normal) & {row["file"] for _, row in rows if row["subset"].lower() == "difficult"}
    if both:
        raise DataError(root / TABLE, f"{min(both)} is both normal and difficult: must be one")
    split_of = {file: f"fold{i % FOLDS}" for i, file in enumerate(normal)}
    for where, row in rows:
        try:
            subset = row["subset"].lower()
            if subset not in ("normal", "difficult"):
                raise DataError(where, f"subset {subset!r} should be normal or difficult")
            split = "difficult" if subset == "difficult" else split_of[row["file"]]
            yield folder.parse_row({**row, "split": split}, root, where)
        except DataError as error:
            on_bad(error)

"""Any folder of photographs, labelled by a CSV or by the names of the files.

The CSV has a header and at least the columns file and text; of a plate with two rows, the upper
row's text comes first. Case and separators are ignored (ABC-1234, ABC/1D23). Optional columns:
    split               a word, in any case; without the column, about a tenth of the texts are
                        "dev", chosen by a fixed hash, and the others "train" (plates of different
                        texts in one photograph may then be in both)
    x1, y1, x2, y2      the plate's box in pixels
    corners             the plate's corners "x,y;x,y;x,y;x,y", clockwise from any of them
    character_boxes     one "x1,y1,x2,y2" for each character, joined by ";"
Empty cells mean unknown; a plate without box or corners fills its image.

Without a CSV, a file's name up to the first underscore is its text (AB-1234_3.jpg), and the name of
the root's subfolder that it is in, at any depth, is its split, with letters beyond a to z replaced
by their codes. Files in the root itself are split as without the column. Links are followed, but
each folder is read once: if two names lead to it, the first in the alphabet is its split.
"""

import collections
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator

from hpa_jax.charset import normalise_text
from hpa_jax.data import files
from hpa_jax.data.plate import (
    Corners,
    DataError,
    OnBad,
    Plate,
    box_corners,
    from_left_top,
    hull,
    make_box,
    make_corners,
    overlap,
    stop,
)

TABLE = "labels.csv"
COLUMNS = ("file", "text")
BOX = ("x1", "y1", "x2", "y2")
# Other names for a box. If they were ignored, the whole photograph would be read as the plate.
OTHER_BOXES = {"xmin", "ymin", "x_min", "y_min", "left", "top", "x", "y", "bbox", "box"}
MIN_OVERLAP = 0.1  # IoU of a box and its corners' hull; boxes may be loose, but not elsewhere


def read(root: str | os.PathLike, on_bad: OnBad = stop) -> Iterator[Plate]:
    """Yields the plates of a folder: those of labels.csv, of the only CSV, or of the file names.

    Args:
      root: the folder.
      on_bad: called with the error for each unusable row or file; by default raises it.

    Raises:
      DataError: no such folder, it has no CSV and no images, or labels.csv is one level below.
    """
    root = files.locate(
        root,
        lambda f: bool(files.tables(f) or files.image_names(f)) or _has_split_folders(f),
        "CSV with the columns file,text or images",
        above=0,
    )
    tables = files.tables(root)
    if not tables:
        for child in files.subfolders(root):
            if any(table.name.lower() == TABLE for table in files.tables(child)):
                raise DataError(root, f"has no CSV, but its folder {child.name} has: give that one")
        return _read_names(root, on_bad)
    chosen = [t for t in tables if t.name.lower() == TABLE] if len(tables) > 1 else tables
    if len(chosen) != 1:
        names = ", ".join(t.name for t in tables)
        raise DataError(root, f"has several CSVs: {names}. Rename the right one to {TABLE}")
    return read_table(chosen[0], on_bad)


def read_table(path: pathlib.Path, on_bad: OnBad = stop) -> Iterator[Plate]:
    """Yields the plates of a CSV; `file` is relative to the CSV's folder.

    Raises:
      DataError: as `files.read_table`, or its boxes are in columns of other names.
    """
    for where, row in files.read_table(path, COLUMNS, on_bad):
        check_columns(row, path)
        try:
            yield parse_row(row, path.parent, where)
        except DataError as error:
            on_bad(error)


def check_columns(row: dict[str, str], path: pathlib.Path) -> None:
    """Refuses a CSV whose boxes are in columns of other names, or in too few columns.

    Raises:
      DataError: as above.
    """
    lacking = [name for name in BOX if name not in row]
    if 0 < len(lacking) < len(BOX):
        raise DataError(path, f"has no column {', '.join(lacking)}: a box is {', '.join(BOX)}")
    others = [name for name in row if name in OTHER_BOXES and row[name]]
    if others and lacking and not row.get("corners"):
        raise DataError(
            path,
            f"has columns {', '.join(others)}, but boxes are read from x1, y1, x2, y2 (left, "
            "top, right, bottom): rename them; without, the whole image is the plate",
        )


def parse_row(row: dict[str, str], folder: pathlib.Path, where: str) -> Plate:
    """Returns the plate that a CSV row describes.

    Raises:
      DataError: a cell cannot be parsed or contradicts another.
    """
    text = normalise_text(row["text"])
    for name, value in (("file", row["file"]), ("text", text)):
        if not value:
            raise DataError(where, f"{name} must not be empty")
    split = (row["split"].lower() or "train") if "split" in row else split_by_hash(text)
    cells = {name: row.get(name, "") for name in BOX}
    box = make_box(files.cells(cells, where), where) if any(cells.values()) else None
    corners = parse_corners(row["corners"], where) if row.get("corners") else None
    if corners and box is None:
        box = hull(corners)
    elif corners and overlap(hull(corners), box) < MIN_OVERLAP:
        raise DataError(where, f"the box {box} is not around the corners {row['corners']!r}")
    characters = ()
    if row.get("character_boxes"):
        boxes = row["character_boxes"].rstrip(";").split(";")
        characters = tuple(box_corners(make_box(files.numbers(b, where), where)) for b in boxes)
    if characters and len(characters) != len(text):
        raise DataError(
            where, f"{len(characters)} character_boxes for the {len(text)} characters of {text!r}"
        )
    return Plate(folder / row["file"], row["file"], split, text, box, corners, characters)


def split_by_hash(text: str) -> str:
    """Returns "dev" for about one text in ten and "train" for the others, by a fixed hash."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).digest()
    return "dev" if digest[0] < 26 else "train"


def parse_corners(text: str, where: object) -> Corners:
    """Parses four corners; returns them clockwise from the one nearest their box's left-top."""
    points = [tuple(files.numbers(point, where)) for point in text.rstrip(";").split(";")]
    if len(points) != 4 or any(len(point) != 2 for point in points):
        raise DataError(where, f"corners {text!r} should be four points x,y joined by ;")
    return make_corners(from_left_top(points), where)


def _has_split_folders(folder: pathlib.Path) -> bool:
    return any(files.image_names(child) for child in files.subfolders(folder))


def _spelt(other: re.Match) -> str:
    """Returns what replaces a character that is not allowed in a split's name."""
    return "_" if other[0].isascii() else f"u{ord(other[0]):x}"


def _read_names(root: pathlib.Path, on_bad: OnBad) -> Iterator[Plate]:
    waiting, seen, texts = [root], set(), collections.Counter()
    while waiting:
        folder = waiting.pop(0)
        if (real := os.path.realpath(folder)) in seen:
            continue  # a link in a circle, or to a folder already read
        seen.add(real)
        waiting[:0] = files.subfolders(folder)
        below = folder.relative_to(root).parts
        named = re.sub("[^a-z0-9_]", _spelt, below[0].lower()) if below else None
        for name in files.image_names(folder):
            text = normalise_text(pathlib.PurePath(name).stem.partition("_")[0])
            if not text:
                problem = "its name should begin with the plate's text, as in AB-1234_3.jpg"
                on_bad(DataError(folder / name, problem))
                continue
            texts[text] += 1
            path = "/".join((*(below or (root.name,)), name))
            try:
                yield Plate(folder / name, path, named or split_by_hash(text), text)
            except DataError as error:
                on_bad(error)
    text = next(iter(texts), "")
    if len(texts) == 1 and texts[text] > 1 and text.isalpha():  # such as IMG_0001.jpg
        raise DataError(
            root,
            f"all file names begin with {text!r}: they should begin with the plate's text, as in "
            "AB-1234_3.jpg, or write a labels.csv",
        )

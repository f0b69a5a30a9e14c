"""CCPD, Chinese City Parking Dataset (Xu et al. 2018): about 290,000 parked cars, 720×1160.

Reads the releases of 2018, 2019 and 2020 (green), as unpacked:
    ccpd_base/*.jpg  ccpd_blur/*.jpg  …  splits/train.txt  splits/val.txt  splits/test.txt
    ccpd_green/train/*.jpg  ccpd_green/val/*.jpg  ccpd_green/test/*.jpg
All labels of a photograph are in its name (`parse_name`).

Splits: `base_train` and `base_test` follow the official lists (in the 2019 release val.txt lists
the test images); each other subset is a split of its name (`blur`, `db`, `fn`, …), and green has
`green_train`, `green_val` and `green_test`. Subsets share images, so their counts do not add up.
Photographs in ccpd_np show no plate: their text is "". In a folder outside such a tree,
photographs with official names form one split, `loose`.
"""

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from hpa_jax.data import files
from hpa_jax.data.plate import (
    Box,
    Corners,
    DataError,
    OnBad,
    Plate,
    hull,
    make_box,
    make_corners,
    overlap,
    stop,
)

EXPECTED = {  # plates in the releases of 2018 and 2019; green: in that of 2020
    "base_train": (100_000,),
    "base_test": (100_000, 99_996),
    "blur": (5_000, 20_611),
    "challenge": (10_000, 50_003),
    "db": (20_000, 10_132),
    "fn": (20_000, 20_967),
    "rotate": (10_000, 10_053),
    "tilt": (10_000, 30_216),
    "weather": (10_000, 9_999),
    "green_train": (5_769,),
    "green_val": (1_001,),
    "green_test": (5_006,),
}

# The tables in the data set's README. The last entry of each, "O", means "no character", not O.
PROVINCES = "皖沪津渝冀晋蒙辽吉黑苏浙京闽赣鲁豫鄂湘粤桂琼川贵云藏陕甘青宁新警学O"
ALPHABETS = "ABCDEFGHJKLMNPQRSTUVWXYZO"
ADS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789O"

PARTS = ("train", "val", "test")

_POINT = r"[0-9]{1,5}&[0-9]{1,5}"
NAME = re.compile(
    rf"[0-9]{{1,20}}-[0-9]{{1,3}}_[0-9]{{1,3}}-({_POINT}_{_POINT})-"
    rf"({_POINT}_{_POINT}_{_POINT}_{_POINT})-([0-9]{{1,2}}(?:_[0-9]{{1,2}}){{6,7}})-"
    r"[0-9]{1,3}-[0-9]{1,3}"
)
# In most subsets the box is the hull of the corners. In others it was drawn separately, and its
# overlap with the hull is lower.
MIN_OVERLAP = 0.3
FORMAT = "area-tilt-x1&y1_x2&y2-RB_LB_LT_RT-plate-brightness-blurriness"


class Name(NamedTuple):
    """The labels in a photograph's name.

    The name also has the plate's share of the picture, its tilt, brightness and blurriness, in
    units that differ between releases; these are not read.

    Attributes:
      box: the plate's box in pixels.
      corners: the plate's corners in pixels, clockwise from left-top.
      text: the plate's seven characters (eight on green plates).
    """

    box: Box
    corners: Corners
    text: str


def parse_name(name: str) -> Name:
    """Parses a photograph's name, with or without folder and suffix.

    Raises:
      DataError: not a CCPD name, or its box and corners contradict each other.
    """
    fields = NAME.fullmatch(name.rpartition("/")[2].removesuffix(".jpg"))
    if not fields:
        raise DataError(name, f"is not a CCPD file name, which has seven fields: {FORMAT}")
    box, vertices, plate = fields.groups()
    bounds = make_box([int(n) for n in re.split("[&_]", box)], name)
    right_bottom, left_bottom, left_top, right_top = (
        tuple(int(n) for n in point.split("&")) for point in vertices.split("_")
    )
    corners = make_corners((left_top, right_top, right_bottom, left_bottom), name)
    if overlap(hull(corners), bounds) < MIN_OVERLAP:
        raise DataError(name, f"its box {box} is not around its corners {vertices}")
    return Name(bounds, corners, decode_indices([int(n) for n in plate.split("_")], name))


def decode_indices(indices: list[int], source: object) -> str:
    """Returns a plate's text from indices into PROVINCES, ALPHABETS and, for all others, ADS.

    Raises:
      DataError: an index is past the end of its table, or means "no character".
    """
    tables = [PROVINCES, ALPHABETS] + [ADS] * (len(indices) - 2)
    for position, (index, table) in enumerate(zip(indices, tables, strict=True), 1):
        if index >= len(table) - 1:
            problem = f"plate index {index} at place {position} means no character"
            raise DataError(source, f"{problem}: must be from 0 to {len(table) - 2}")
    return "".join(table[index] for index, table in zip(indices, tables, strict=True))


def read(root: str | os.PathLike, on_bad: OnBad = stop) -> Iterator[Plate]:
    """Yields the plates of a CCPD tree, subset by subset, in the order of their names.

    Args:
      root: the folder with ccpd_base and the others, or one nearby.
      on_bad: called with the error for each file that cannot be used; by default raises it.

    Raises:
      DataError: no CCPD tree there, or ccpd_base without its lists.
    """
    root = files.locate(
        root,
        lambda folder: _has_subsets(folder) or _is_loose(folder),
        "CCPD folders (ccpd_base, ccpd_blur, …, splits, or ccpd_green) or photographs so named",
    )
    if _is_loose(root):
        yield from _plates(root, "loose", on_bad)
    for folder in filter(_is_subset, files.subfolders(root)):
        subset = folder.name.lower().removeprefix("ccpd_")
        folder = _undoubled(folder)
        if subset == "base":
            yield from _base(root, folder, on_bad)
            continue
        yield from _plates(folder, subset, on_bad)
        for part in files.subfolders(folder):  # only green has these
            if part.name.lower() in PARTS:
                yield from _plates(part, f"{subset}_{part.name.lower()}", on_bad)


def _undoubled(folder: pathlib.Path) -> pathlib.Path:
    """Returns the inner folder where unpacking has doubled one (X/X), otherwise the folder."""
    inner = folder / folder.name
    return inner if inner.is_dir() else folder


def _is_subset(folder: pathlib.Path) -> bool:
    return re.fullmatch("ccpd_[a-z]+", folder.name.lower()) is not None


def _has_subsets(folder: pathlib.Path) -> bool:
    below = files.subfolders(folder)
    return any(_is_subset(child) and child.name != folder.name for child in below)  # X/X: doubled


def _is_loose(folder: pathlib.Path) -> bool:
    if _is_subset(folder) or _is_subset(folder.parent):
        return False  # part of a CCPD tree, whose root is above
    return any(NAME.fullmatch(entry.stem) for entry in folder.glob("*.jpg"))


def _plates(folder: pathlib.Path, split: str, on_bad: OnBad) -> Iterator[Plate]:
    for name in files.image_names(folder):
        yield from _plate(folder, name, split, on_bad)


def _plate(folder: pathlib.Path, name: str, split: str, on_bad: OnBad) -> Iterator[Plate]:
    title = f"{folder.name}/{name}"
    if split == "np":
        yield Plate(folder / name, title, split, "")
        return
    try:
        about = parse_name(name)
        yield Plate(folder / name, title, split, about.text, about.box, about.corners)
    except DataError as error:
        on_bad(DataError(folder / name, error.args[1]))


def _base(root: pathlib.Path, folder: pathlib.Path, on_bad: OnBad) -> Iterator[Plate]:
    """Yields the plates of base; those in none of the lists are in the split `base_other`."""
    split_of = _base_lists(root)
    for name in files.image_names(folder):
        yield from _plate(folder, name, split_of.pop(name, "base_other"), on_bad)
    for name, split in split_of.items():
        on_bad(DataError(folder / name, f"is listed as {split} but is not there"))


def _base_lists(root: pathlib.Path) -> dict[str, str]:
    """Returns the split of each base image from the official lists.

    Raises:
      DataError: no lists, or an image in two of them.
    """
    folder = next((root / n for n in ("splits", "split") if (root / n).is_dir()), None)
    if folder is None or not (folder / "train.txt").is_file():
        raise DataError(
            root,
            "has ccpd_base but no splits/train.txt: copy the folder splits of the data set's "
            "archive here, for they say which half is for training",
        )
    lists = {"train": "base_train", "val": "base_test", "test": "base_test"}
    split_of: dict[str, str] = {}
    for stem, split in lists.items():
        path = folder / f"{stem}.txt"
        if not path.is_file():
            continue
        for line in files.read_text(path).split():
            subset, _, name = line.replace("\\", "/").rpartition("/")
            if subset.rpartition("/")[2].lower() != "ccpd_base":
                continue
            if split_of.setdefault(name, split) != split:
                raise DataError(path, f"lists {line}, which is listed for training too")
    for split, where in (("base_train", "train.txt"), ("base_test", "val.txt or test.txt")):
        if split not in split_of.values():
            raise DataError(folder, f"lists no image as ccpd_base/NAME.jpg in {where}: no {split}")
    return split_of

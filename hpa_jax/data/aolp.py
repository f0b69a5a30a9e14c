"""AOLP, Application-Oriented License Plate (Hsu, Chen and Chung 2013): 2,049 Taiwanese plates.

Two layouts are read. The official one, with each archive unpacked and its folder often doubled:
    Subset_AC/[Subset_AC/]Image/1.jpg
    Subset_AC/[Subset_AC/]groundtruth_localization/1.txt    x1, y1, x2, y2, one per line
    Subset_AC/[Subset_AC/]groundtruth_recognition/1.txt     one character per line
and that of the HPA authors' release (VIM-LPR), crops with class ids:
    AC/image/AC_1.png   AC/char/AC_1.txt

Splits: `ac`, `rp`, `le582` and `le175`. The official LE has 757 images. The paper tests on 582 of
them (as do Zhuang et al. 2018), and nobody has published which. `le582` is a fixed random choice,
`le175` the rest: test on `le582` for a test set of the paper's size, and on both for the whole
subset. Second plates of an image (`1_2.txt`) are in splits of their own, `ac_second` and so on.
"""

import hashlib
import os
import pathlib
from collections.abc import Iterator

from hpa_jax import charset
from hpa_jax.data import files
from hpa_jax.data.plate import Box, DataError, OnBad, Plate, make_box, stop

EXPECTED = {"ac": (681,), "le582": (582,), "le175": (175,), "rp": (611,)}
SUBSETS = ("ac", "le", "rp")
UNUSED = tuple(f"{subset}_second" for subset in SUBSETS)
PAPER_LE = 582
CLASSES = charset.TAIWAN.characters  # class ids in VIM-LPR's files


def read(root: str | os.PathLike, on_bad: OnBad = stop) -> Iterator[Plate]:
    """Yields the plates of an AOLP tree, subset by subset.

    Args:
      root: the folder with Subset_AC, Subset_LE and Subset_RP (or AC, LE and RP), or one nearby.
      on_bad: called with the error for each file that cannot be used; by default raises it.

    Raises:
      DataError: no AOLP tree there.
    """
    root = files.locate(
        root,
        lambda folder: (
            _subset_name(folder) not in SUBSETS  # would be a doubled folder, AC in AC
            and any(_subset(child) for child in files.subfolders(folder))
        ),
        "AOLP folders Subset_AC, Subset_LE, Subset_RP (the inner archives unpacked too) or AC, LE, "
        "RP with image/ and char/",
    )
    for outer in files.subfolders(root):
        found = _subset(outer)
        if found:
            subset, inner = found
            read_subset = _official if _part(inner, "groundtruth_recognition") else _vim_lpr
            yield from read_subset(inner, subset, on_bad)
        elif _subset_name(outer) in SUBSETS:
            problem = "has no Image beside groundtruth_recognition, nor image beside char"
            on_bad(DataError(outer, f"{problem}: unpack all of its archive"))


def _subset_name(folder: pathlib.Path) -> str:
    return folder.name.lower().removeprefix("subset_")


def _subset(folder: pathlib.Path) -> tuple[str, pathlib.Path] | None:
    """Returns a subset's name and the folder with its images; None if `folder` is no subset."""
    name = _subset_name(folder)
    if name not in SUBSETS:
        return None
    for _ in range(3):  # Subset_AC/Subset_AC/Subset_AC has been seen
        if _part(folder, "image") and (
            _part(folder, "groundtruth_recognition") or _part(folder, "char")
        ):
            return name, folder
        doubled = [c for c in files.subfolders(folder) if c.name.lower() == folder.name.lower()]
        if not doubled:
            return None
        folder = doubled[0]
    return None


def _part(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the subfolder of this name in upper or lower case, or None."""
    parts = {child.name.lower(): child for child in files.subfolders(folder)}
    return parts.get(name)


def _official(folder: pathlib.Path, subset: str, on_bad: OnBad) -> Iterator[Plate]:
    image_folder = _part(folder, "image")
    images = _images(image_folder, on_bad)
    texts = _part(folder, "groundtruth_recognition")
    boxes = _part(folder, "groundtruth_localization")
    if boxes is None:
        raise DataError(folder, "has no groundtruth_localization folder beside Image")
    splits = _splits(subset, list(images))
    for stem, name in images.items():
        labels, second = {stem: splits[stem]}, f"{stem}_2"
        if second not in images and _labelled(second, boxes, texts):
            labels[second] = f"{subset}_second"
        for label, split in labels.items():
            try:
                box, path = _box(boxes / f"{label}.txt"), texts / f"{label}.txt"
                # A second plate may lack its text; the first must have one.
                text = _text(path) if label == stem or path.exists() else ""
                yield Plate(image_folder / name, f"{subset.upper()}/{label}", split, text, box)
            except DataError as error:
                on_bad(error)
    _check_orphans(texts, images, on_bad)


def _labelled(label: str, *folders: pathlib.Path) -> bool:
    return any((folder / f"{label}.txt").exists() for folder in folders)


def _box(path: pathlib.Path) -> Box:
    numbers = files.numbers(files.read_text(path), path)
    if len(numbers) == 4:  # in some of AOLP's boxes left and right or top and bottom are swapped
        (x1, x2), (y1, y2) = sorted(numbers[::2]), sorted(numbers[1::2])
        numbers = [x1, y1, x2, y2]
    return make_box(numbers, path)


def _text(path: pathlib.Path) -> str:
    lines = files.read_text(path).split()
    text = charset.normalise_text("".join(lines))
    if not 1 <= len(text) <= 8:
        raise DataError(path, f"{text[:40]!r} is not a plate's text: one character per line")
    return text


def _vim_lpr(folder: pathlib.Path, subset: str, on_bad: OnBad) -> Iterator[Plate]:
    image_folder, labels = _part(folder, "image"), _part(folder, "char")
    images = _images(image_folder, on_bad)
    splits = _splits(subset, list(images))
    for stem, name in images.items():
        try:
            text = decode_ids(files.read_text(labels / f"{stem}.txt"), labels / f"{stem}.txt")
            yield Plate(image_folder / name, f"{subset.upper()}/{stem}", splits[stem], text)
        except DataError as error:
            on_bad(error)
    _check_orphans(labels, images, on_bad)


def decode_ids(label: str, source: object) -> str:
    """Returns the text of a VIM-LPR label, which has one class id per line.

    Raises:
      DataError: not one to eight whole numbers from 0 to 33.
    """
    words = label.split()
    valid = all(
        w.isascii() and w.isdigit() and len(w) <= 4 and int(w) < len(CLASSES) for w in words
    )
    if not valid or not 1 <= len(words) <= 8:
        raise DataError(
            source, f"{label[:40]!r} should be class ids from 0 to {len(CLASSES) - 1}, one per line"
        )
    return "".join(CLASSES[int(word)] for word in words)


def _splits(subset: str, stems: list[str]) -> dict[str, str]:
    """Returns each image's split; LE is divided into 582 images, as in the paper, and the rest."""
    if subset != "le":
        return dict.fromkeys(stems, subset)
    # Chosen by the hash of each name, so that a missing file moves at most one other image.
    chosen = set(sorted(stems, key=_hash)[:PAPER_LE])
    return {stem: "le582" if stem in chosen else "le175" for stem in stems}


def _hash(stem: str) -> bytes:
    return hashlib.sha256(stem.rpartition("_")[2].encode()).digest()  # LE_1 and 1: the same image


def _images(folder: pathlib.Path, on_bad: OnBad) -> dict[str, str]:
    """Returns stem -> file name of the images; labels are named by the stem."""
    images: dict[str, str] = {}
    for name in files.image_names(folder):
        stem = pathlib.PurePath(name).stem
        if stem in images:
            on_bad(DataError(folder / name, f"has the same label as {images[stem]}: remove one"))
        else:
            images[stem] = name
    return images


def _check_orphans(labels: pathlib.Path, images: dict[str, str], on_bad: OnBad) -> None:
    for name in sorted(files.visible((entry.name for entry in labels.iterdir()), {".txt"})):
        stem = pathlib.PurePath(name).stem
        if stem not in images and stem.removesuffix("_2") not in images:
            on_bad(DataError(labels / name, "labels an image that is not there"))

"""Draws small copies of the data sets' trees, in exactly their layouts, for the tests."""

import collections
import io
import pathlib

import numpy as np
from PIL import Image


def jpeg(seed: int = 0, width: int = 96, height: int = 64) -> bytes:
    """Returns a small smooth image, another for each seed, as JPEG."""
    colours = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((width, height), Image.BILINEAR).save(buffer, "JPEG")
    return buffer.getvalue()


def write(path: pathlib.Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def taiwan_text(number: int) -> str:
    return f"{number % 10000:04d}" + "ABCDEFGHJK"[number // 10000 % 10] + "T"


def aolp_subset(folder: pathlib.Path, count: int, image: bytes = b"x") -> None:
    """Writes the official layout; the first image has a second plate and a swapped, float box."""
    for i in range(1, count + 1):
        write(folder / f"Image/{i}.jpg", image)
        box = "60.5\n40\n10\n20.25\n" if i == 1 else "10\n20\n60\n40\n"
        write(folder / f"groundtruth_localization/{i}.txt", box)
        text = "\n".join(taiwan_text(i)) + "\n"
        write(folder / f"groundtruth_recognition/{i}.txt", text)
    write(folder / "Image/Thumbs.db", b"\0")
    write(folder / "groundtruth_localization/1_2.txt", "61\n41\n90\n60\n")
    write(folder / "groundtruth_recognition/1_2.txt", "\n".join("9999ZZ") + "\n")


def ccpd_name(number: int) -> str:
    """Returns a CCPD name with its own plate for each number below 24 * 33**4."""
    digits = [number // 34**i % 34 for i in range(5)]
    plate = "_".join(map(str, [number % 31, number // 7 % 24, *digits]))
    return f"025-95_113-10&20_80&50-78&50_10&45_12&20_80&25-{plate}-37-{15 + number // 34**5}.jpg"


def ccpd_base(root: pathlib.Path, train: int, test: int, image: bytes = b"") -> None:
    """Writes ccpd_base with its lists as the release of 2019 has them."""
    names = [ccpd_name(i) for i in range(train + test)]
    (root / "ccpd_base").mkdir(parents=True)
    for name in names:
        (root / "ccpd_base" / name).write_bytes(image)
    lines = [f"ccpd_base/{name}\n" for name in names]
    write(root / "splits/train.txt", "".join(lines[:train]))
    write(root / "splits/val.txt", "".join(lines[train:]))


CLPD_HEADER = "path,x1,y1,x2,y2,x3,y3,x4,y4,label\n"


def clpd(root: pathlib.Path, labels: list[str], encoding: str, image: bytes = b"x") -> None:
    rows = [f"CLPD_1200/{i}.jpg,10,20,60,22,61,40,11,38,{t}\n" for i, t in enumerate(labels)]
    write(root / "CLPD.csv", (CLPD_HEADER + "".join(rows)).encode(encoding))
    for i in range(len(labels)):
        write(root / f"CLPD_1200/{i}.jpg", image)


def media_lab(root: pathlib.Path, normal: int = 427, difficult: int = 279) -> None:
    rows = ["file,text,subset,x1,y1,x2,y2"]
    rows += [f"day/{i}.jpg,YBB{i:04d},normal,10,20,60,40" for i in range(normal)]
    rows += [f"hard/{i}.jpg,NE{i:03d},difficult,,,," for i in range(difficult)]
    write(root / "annotations.csv", "\n".join(rows) + "\n")


def published(reader) -> dict[str, int]:
    """The numbers of plates of a data set that has had one release."""
    return {split: count for split, (count,) in reader.EXPECTED.items()}


def counts(plates) -> dict[str, int]:
    return dict(collections.Counter(p.split for p in plates))

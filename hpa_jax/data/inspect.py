"""Pictures and statistics of a prepared data set, to look at before training on it."""

import collections
import itertools
import os
import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpa_jax.charset import PROVINCES, Charset, latin
from hpa_jax.data import pipeline, records
from hpa_jax.data.report import Report
from hpa_jax.picture import INK, PAPER, contact_sheet

PLATES = 32  # on a contact sheet


def inspect(
    directory: str | os.PathLike,
    out: str | os.PathLike,
    charset: Charset,
    num_characters: int,
    *,
    image_size: tuple[int, int] = (50, 160),
    augment: Callable[[pipeline.Batch], pipeline.Batch] | None = None,
) -> list[pathlib.Path]:
    """Writes contact sheets and the character distribution of each split of a prepared set.

    Args:
      directory: of the prepared set.
      out: where the pictures go: SPLIT.png, SPLIT_positions.png and, of all, positions.png.
      charset, num_characters, image_size: the network's.
      augment: what training does to a batch; its results are shown beside the originals.

    Returns:
      The pictures' paths.

    Raises:
      DataError: no prepared set in `directory`.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    by_split = read_report(directory).positions
    places = itertools.zip_longest(*by_split.values(), fillvalue={})
    everywhere = [sum(map(collections.Counter, place), collections.Counter()) for place in places]
    pictures = {"positions.png": position_chart(everywhere)}
    for split, positions in by_split.items():
        batch = sample(directory, split, charset, num_characters, image_size)
        augmented = augment(batch) if augment else batch
        pictures[f"{split}.png"] = contact_sheet(batch, augmented, charset)
        pictures[f"{split}_positions.png"] = position_chart(positions)
    for name, picture in pictures.items():
        picture.save(out / name)
    return [out / name for name in pictures]


def read_report(directory: str | os.PathLike) -> Report:
    """Returns the report that was made when the set was prepared."""
    report = Report(**records.read_report(directory))
    report.lengths = {  # JSON has no numbers for keys
        split: {int(n): count for n, count in lengths.items()}
        for split, lengths in report.lengths.items()
    }
    return report


def sample(
    directory: str | os.PathLike,
    split: str,
    charset: Charset,
    num_characters: int,
    image_size: tuple[int, int],
) -> pipeline.Batch:
    """Returns PLATES plates, evenly spaced over a split (all of a smaller one), as one batch."""
    source = records.Source(directory, split)
    load = pipeline.LoadPlate(charset, num_characters, image_size, jitter=0.0)
    chosen = np.unique(np.linspace(0, len(source) - 1, min(PLATES, len(source))).astype(int))
    rows = [load.random_map(source[int(i)], np.random.default_rng(0)) for i in chosen]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def position_chart(positions: list[dict[str, int]]) -> Image.Image:
    """Draws how often each character stands at each position (paper, figure 2).

    Args:
      positions: for each position, the characters there and their counts.
    """
    characters = sorted(set(itertools.chain(*positions)), key=lambda c: (PROVINCES.find(c), c))
    font = ImageFont.load_default(12)
    labels = {character: latin(character).strip("[]") for character in characters}
    bar = max(22, 4 + round(max(map(font.getlength, labels.values()))))
    height, left, top = 90, 60, 8
    row = height + 26
    size = (left + bar * len(characters) + 20, top + row * len(positions) + 4)
    chart = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(chart)
    for i, counts in enumerate(positions):
        total, most = sum(counts.values()), max(counts.values())
        base = top + i * row + height
        draw.text((4, base - height), f"place {i + 1}", fill=INK, font=font)
        draw.text((4, base - height + 16), f"top {most / total:.0%}", fill=INK, font=font)
        draw.line((left - 4, base, size[0] - 10, base), fill=INK)
        for j, character in enumerate(characters):
            x, tall = left + j * bar, height * counts.get(character, 0) / most
            if tall:
                draw.rectangle((x, base - tall, x + bar - 6, base), fill=(40, 90, 180))
            draw.text((x, base + 3), labels[character], fill=INK, font=font)
    return chart

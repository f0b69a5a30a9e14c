"""Pictures and statistics of a prepared data set, to check before training on it."""

import collections
import itertools
import os
import pathlib
from collections.abc import Callable, Collection

import numpy as np

from hpa_jax import charts
from hpa_jax.charset import Charset
from hpa_jax.data import pipeline, records
from hpa_jax.picture import SHEET, contact_sheet


def inspect(
    directory: str | os.PathLike,
    out: str | os.PathLike,
    charset: Charset,
    num_characters: int,
    *,
    image_size: tuple[int, int] = (50, 160),
    jitter: float = 0.0,
    augment: Callable[[pipeline.Batch], pipeline.Batch] | None = None,
    unused: Collection[str] = (),
) -> list[pathlib.Path]:
    """Writes contact sheets and the character distribution of each split of a prepared set.

    Args:
      directory: the prepared set.
      out: folder for SPLIT.png and SPLIT_positions.png of each split, and positions.png of all.
      charset, num_characters, image_size: the network's.
      jitter: as in `pipeline.train_batches`.
      augment: training's augmentation; its results are shown beside the originals.
      unused: splits that no protocol uses; positions.png leaves them out.

    Returns:
      The pictures' paths.

    Raises:
      DataError: there is no prepared set in `directory`.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    by_split = records.read_report(directory).positions
    used = [by_split[split] for split in by_split if split not in unused]
    places = itertools.zip_longest(*(used or by_split.values()), fillvalue={})
    everywhere = [sum(map(collections.Counter, place), collections.Counter()) for place in places]
    paths = [out / "positions.png"]
    charts.positions(everywhere).savefig(paths[0])
    network = charset, num_characters, image_size
    for split, positions in by_split.items():
        batch, trained = (sample(directory, split, *network, move) for move in (0.0, jitter))
        augmented = augment(trained) if augment else trained
        paths += [out / f"{split}.png", out / f"{split}_positions.png"]
        contact_sheet(batch, augmented, charset).save(paths[-2])
        charts.positions(positions).savefig(paths[-1])
    return paths


def sample(
    directory: str | os.PathLike,
    split: str,
    charset: Charset,
    num_characters: int,
    image_size: tuple[int, int],
    jitter: float = 0.0,
) -> pipeline.Batch:
    """Returns SHEET plates, evenly spaced over a split (all of a smaller one), as one batch."""
    source = records.Source(directory, split)
    load = pipeline.LoadPlate(charset, num_characters, image_size, jitter)
    chosen = np.linspace(0, len(source) - 1, min(SHEET, len(source))).astype(int)
    rows = [load.random_map(source[int(i)], np.random.default_rng(i)) for i in chosen]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

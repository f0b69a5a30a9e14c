"""Turns prepared records into fixed-shape batches with Grain. Batch k depends only on k."""

import io
import os
from collections.abc import Iterator

import grain
import numpy as np
from PIL import Image

from hpa_jax.charset import Charset
from hpa_jax.data import records
from hpa_jax.data.plate import Box, DataError
from hpa_jax.data.read_ahead import Batch, read_ahead

FEW = 4096  # plates: this process reads them sooner than others would start
# A class id that no network predicts, for texts that it cannot write and plates that a detector
# missed: these always count as wrong.
UNREADABLE = -1


def train_batches(
    directory: str | os.PathLike,
    split: str,
    charset: Charset,
    num_characters: int,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    image_size: tuple[int, int] = (50, 160),
    jitter: float = 0.0,
    void: bool = True,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields shuffled batches without end, in another order in each epoch.

    Batch k of all processes together is the same for any number of processes, so a run can resume
    from the number of its step: `start_step=k`.

    Args:
      directory: a prepared set.
      split: as TFDS writes splits: "ac+rp", "train[:90%]".
      charset: gives the class ids.
      num_characters: Cp; shorter texts are padded with void.
      batch_size: plates in a batch of all processes together.
      seed: for the order and the crops.
      start_step: number of the first batch.
      image_size: height and width.
      jitter: each side of the crop moves at random, outwards by up to this share of the plate's
        size (as far as the prepared margin goes), inwards by up to a quarter of that.
      void: whether the network has the void class, without which texts fill all Cp places.
      workers: processes that decode and resize; 0: only this one. They import the main module, so
        a script must keep its code under `if __name__ == "__main__"`.
      process_index, process_count: which part of each batch this process gets.

    Returns:
      An iterator over batches in the layout of the README (NumPy arrays).

    Raises:
      DataError: no such set or split, or a split has texts that the network cannot write.
    """
    source = records.Source(directory, split)
    _check_labels(directory, split, charset, num_characters, void)
    rows = _rows(batch_size, process_count)
    load = LoadPlate(charset, num_characters, image_size, jitter)
    # Sliced after all random steps, so that processes agree on every plate.
    dataset = grain.MapDataset.source(source).seed(seed).shuffle().repeat(None).random_map(load)
    dataset = dataset[process_index::process_count].batch(rows, drop_remainder=True)
    return read_ahead(dataset[start_step:], workers)


def eval_batches(
    directory: str | os.PathLike,
    split: str,
    charset: Charset,
    num_characters: int,
    batch_size: int,
    *,
    image_size: tuple[int, int] = (50, 160),
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields every plate of a split once, in order; the last batch is filled up with weight 0.

    All processes get the same number of batches. Texts that the network cannot write, and plates
    that a detector missed, have class ids of -1 and count as wrong. The arguments are those of
    `train_batches`; for few plates no `workers` are started.

    Raises:
      DataError: no such set or split.
    """
    source = records.Source(directory, split)
    rows = _rows(batch_size, process_count)
    load = LoadPlate(charset, num_characters, image_size, jitter=0.0, testing=True)
    total = -(-len(source) // batch_size) * batch_size
    dataset = grain.MapDataset.range(total).map(_LoadOrPad(source, load))
    batches = dataset[process_index::process_count].batch(rows)
    return read_ahead(batches, workers if len(source) > FEW else 0)


class LoadPlate(grain.transforms.RandomMap):
    """Turns a stored record into one row of a batch: decodes, crops and resizes it."""

    def __init__(
        self,
        charset: Charset,
        num_characters: int,
        image_size: tuple[int, int],
        jitter: float,
        testing: bool = False,
    ) -> None:
        self._charset, self._num_characters = charset, num_characters
        self._image_size, self._jitter, self._testing = image_size, jitter, testing

    def random_map(self, element: bytes, rng: np.random.Generator) -> Batch:
        record = records.parse(element)
        with Image.open(io.BytesIO(record.image), formats=("JPEG",)) as image:
            box = move_sides(record.box, image.size, self._jitter, rng)
            height, width = self._image_size
            resized = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
        scale = np.array([width / (box[2] - box[0]), height / (box[3] - box[1])], np.float32)
        ids = self._encode(record)
        corners = record.characters
        if ids[0] == UNREADABLE:
            corners = corners[:0]
        semantic, position = draw_maps(
            (corners - np.float32(box[:2])) * scale,
            ids,
            self._image_size,
            len(self._charset),
            self._num_characters,
        )
        return {
            "image": np.asarray(resized),
            "characters": ids,
            "semantic": semantic,
            "position": position,
            "has_maps": np.bool_(len(corners)),
            "weight": np.float32(1),
        }

    def _encode(self, record: records.Record) -> np.ndarray:
        unreadable = np.full(self._num_characters, UNREADABLE, np.int32)
        if self._testing and record.missed:
            return unreadable
        try:
            return self._charset.encode(record.text, self._num_characters)
        except ValueError:
            return unreadable


class _LoadOrPad(grain.transforms.Map):
    """Turns an index into a row of a batch; past the end, the last plate with weight 0."""

    def __init__(self, source: records.Source, load: LoadPlate) -> None:
        self._source, self._load = source, load

    def map(self, element: int) -> Batch:
        data = self._source[min(element, len(self._source) - 1)]
        row = self._load.random_map(data, np.random.default_rng(0))  # no jitter: nothing is drawn
        return row | {"weight": np.float32(element < len(self._source))}


def move_sides(
    box: Box, size: tuple[int, int], jitter: float, rng: np.random.Generator
) -> tuple[float, ...]:
    """Returns a box with each side moved at random, inside an image of `size` (width, height)."""
    x1, y1, x2, y2 = box
    moves = np.zeros(4)
    if jitter:
        moves = rng.uniform(-jitter / 4, jitter, 4) * ([x2 - x1, y2 - y1] * 2) * [-1, -1, 1, 1]
    moved = np.clip(box + moves, 0, [*size, *size])
    return tuple(map(float, moved))


def draw_maps(
    corners: np.ndarray,
    ids: np.ndarray,
    image_size: tuple[int, int],
    num_classes: int,
    num_characters: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the semantic and the position map (paper, "Semantic and Position Network").

    Args:
      corners: (n, 4, 2) x, y in pixels of each character's corners, clockwise.
      ids: class ids of the characters.
      image_size: height and width.
      num_classes: the id of the semantic map's background.
      num_characters: the id of the position map's background.

    Returns:
      Two uint8 arrays of `image_size`. A pixel belongs to a character if its centre does.
    """
    height, width = image_size
    semantic = np.full(image_size, num_classes, np.uint8)
    position = np.full(image_size, num_characters, np.uint8)
    if not len(corners):
        return semantic, position
    # A point p is on the inner side of the edge from a to b if (b - a) × (p - a) ≥ 0, which is the
    # sum of a term for its column and a term for its row.
    edges = np.roll(corners, -1, axis=1) - corners
    offset = edges[..., 1] * corners[..., 0] - edges[..., 0] * corners[..., 1]
    by_column = offset[..., None] - edges[..., 1, None] * (np.arange(width) + 0.5)
    by_row = edges[..., 0, None] * (np.arange(height) + 0.5)
    low = np.clip(np.floor(corners.min(axis=1)), 0, (width, height)).astype(int).tolist()
    high = np.clip(np.ceil(corners.max(axis=1)), 0, (width, height)).astype(int).tolist()
    for place, ((x1, y1), (x2, y2)) in enumerate(zip(low, high, strict=True)):
        sides = by_column[place, :, None, x1:x2] + by_row[place, :, y1:y2, None]
        inside = (sides >= 0).all(axis=0)
        semantic[y1:y2, x1:x2][inside] = ids[place]
        position[y1:y2, x1:x2][inside] = place
    return semantic, position


def _check_labels(
    directory: str | os.PathLike, split: str, charset: Charset, num_characters: int, void: bool
) -> None:
    """Refuses a split with texts that the network cannot write, before training."""
    report = records.read_report(directory)
    for name in records.split_names(split, report.counts):
        lengths = report.lengths.get(name, {})
        wrong = [n for n in lengths if n > num_characters or (n < num_characters and not void)]
        characters = set().union(*report.positions.get(name, []))
        unknown = "".join(sorted(characters - set(charset.characters)))
        if wrong or unknown:
            what = f"plates of {max(wrong)} characters" if wrong else f"characters {unknown}"
            raise DataError(
                directory,
                f"split {name} has {what}, which a network with num_characters={num_characters}, "
                f"{'a' if void else 'no'} void class (model.void) and charset "
                f"{charset.characters!r} cannot write: change those, or leave the plates out with "
                "--mode=prepare --config.data.skip_bad=True --config.data.any_text=False",
            )


def _rows(batch_size: int, process_count: int) -> int:
    if batch_size % process_count:
        raise ValueError(f"batch_size={batch_size} must be divisible by {process_count} processes")
    return batch_size // process_count

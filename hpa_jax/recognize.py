"""The reader that users call: images in, text, confidences and attention maps out.

`python -m hpa_jax.recognize --checkpoint=DIR FILES OR FOLDERS…` reads from the shell.
"""

import csv
import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from PIL import Image

from hpa_jax import checkpoint, command, picture
from hpa_jax.charset import Charset
from hpa_jax.data import images
from hpa_jax.data.plate import DataError
from hpa_jax.models.hpa import HPANet

ImageLike = str | pathlib.Path | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read from one image of a plate.

    Attributes:
      text: the characters in reading order, voids dropped.
      confidence: probability of the whole plate, voids included, in [0, 1].
      characters: each character of `text` with its probability.
      maps: len(text)×h×w float32, each character's HPA map, if asked for.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]
    maps: np.ndarray | None = None


class Recognizer:
    """Reads plates with a trained network; made by `load_recognizer`."""

    def __init__(
        self, model: HPANet, variables: Any, charset: Charset, image_size: tuple[int, int]
    ) -> None:
        self.model = model
        self.variables = variables
        self.charset = charset
        self.image_size = image_size
        self._forward = jax.jit(make_forward(model))

    def read(
        self, plates: Iterable[ImageLike], *, maps: bool = False, batch_size: int = 64
    ) -> list[Reading]:
        """Reads images of one plate each, cropped loosely or tightly around it.

        Args:
          plates: paths, PIL images, or uint8 arrays H×W×3 (RGB) or H×W (grey), of any size.
          maps: also returns each character's HPA map.
          batch_size: images read at once; memory is bounded by it.

        Raises:
          ValueError: a file is missing or is no readable image and is named (`DataError`), or an
            array is not an image.
        """
        plates = iter([plates]) if isinstance(plates, ImageLike) else iter(plates)
        readings = []
        while chunk := list(itertools.islice(plates, batch_size)):
            pixels = np.stack([to_pixels(image, self.image_size) for image in chunk])
            readings += self._read_batch(pixels, maps)
        return readings

    def _read_batch(self, pixels_BHWC: np.ndarray, with_maps: bool) -> list[Reading]:
        count = len(pixels_BHWC)
        # Batches are padded to powers of two: a handful of compilations serve all sizes.
        padding = [(0, (1 << (count - 1).bit_length()) - count)] + [(0, 0)] * 3
        ids, confidences, maps = jax.device_get(
            self._forward(self.variables, np.pad(pixels_BHWC, padding))
        )
        return [
            self._reading(
                ids[i], confidences[i], maps[i] if with_maps and maps is not None else None
            )
            for i in range(count)
        ]

    def _reading(
        self, ids_C: np.ndarray, confidences_C: np.ndarray, maps_hwC: np.ndarray | None
    ) -> Reading:
        kept = ids_C != self.charset.void
        text = self.charset.decode(ids_C)
        characters = tuple(zip(text, confidences_C[kept].tolist(), strict=True))
        maps = None if maps_hwC is None else np.moveaxis(maps_hwC[..., kept], -1, 0)
        return Reading(text, float(confidences_C.prod()), characters, maps)


def make_forward(model: HPANet) -> Callable[[Any, jax.Array], tuple[jax.Array, ...]]:
    """Returns (variables, uint8 images B×H×W×3) -> (ids B×Cp, confidences B×Cp, maps or None)."""

    def forward(variables: Any, images_BHWC: jax.Array) -> tuple[jax.Array, ...]:
        output = model.apply(variables, images_BHWC / 255.0)
        probabilities = jax.nn.softmax(output.logits)
        maps = None if output.maps is None else output.maps.astype(jnp.float32)
        return probabilities.argmax(axis=-1), probabilities.max(axis=-1), maps

    return forward


def load_recognizer(path: str | pathlib.Path) -> Recognizer:
    """Loads the reader of a training run: its most accurate checkpoint.

    Args:
      path: the run's --workdir.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: the checkpoint is damaged or of another format.
    """
    variables, metadata = checkpoint.load_reader(path)
    model = HPANet(**metadata["network"])
    return Recognizer(model, variables, Charset(metadata["charset"]), tuple(metadata["image_size"]))


def to_pixels(image: ImageLike, size: tuple[int, int]) -> np.ndarray:
    """Decodes and resizes one image bilinearly: H×W×3 uint8, RGB.

    Raises:
      ValueError: a file is missing or is no readable image and is named (`DataError`), or an
        array is not an image.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
            raise ValueError(
                f"array of shape {image.shape} and type {image.dtype}: must be H×W×3 or H×W uint8"
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        image = images.open_rgb(pathlib.Path(image))
    height, width = size
    resized = images.to_rgb(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def find_images(paths: Sequence[str]) -> Iterator[pathlib.Path]:
    """Files as they are given, and the images below folders in the order of their names."""
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in images.SUFFIXES)
        else:
            yield path


def _write(file: pathlib.Path, reading: Reading, style: str) -> None:
    if style == "json":
        record = {
            "file": str(file),
            "text": reading.text,
            "confidence": round(reading.confidence, 4),
            "characters": [[c, round(p, 4)] for c, p in reading.characters],
        }
        print(json.dumps(record, ensure_ascii=False), flush=True)
    elif style == "csv":
        csv.writer(sys.stdout).writerow([file, reading.text, f"{reading.confidence:.4f}"])
    else:
        print(f"{file}\t{reading.text}\t{reading.confidence:.4f}", flush=True)


def _main(argv: Sequence[str]) -> int:
    command.set_up()
    if len(argv) < 2:
        raise app.UsageError("name at least one image file or folder")
    try:
        reader = load_recognizer(_CHECKPOINT.value)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if _FORMAT.value == "csv":
        csv.writer(sys.stdout).writerow(["file", "text", "confidence"])
    failed, files = 0, find_images(argv[1:])
    while chunk := list(itertools.islice(files, _BATCH_SIZE.value)):
        readable = []
        for file in chunk:
            try:
                readable.append((file, to_pixels(file, reader.image_size)))
            except DataError as error:
                failed += 1
                print(f"error: {error}", file=sys.stderr)
        readings = reader.read((pixels for _, pixels in readable), maps=bool(_MAPS.value))
        for (file, pixels), reading in zip(readable, readings, strict=True):
            _write(file, reading, _FORMAT.value)
            if _MAPS.value:
                folder = pathlib.Path(_MAPS.value)
                folder.mkdir(parents=True, exist_ok=True)
                # The whole path, for files of one name in two folders.
                name = "_".join(part for part in file.parts if part != file.anchor)
                picture.maps_row(pixels, reading).save(folder / f"{name}.maps.png")
    return 1 if failed else 0


if __name__ == "__main__":
    _CHECKPOINT = flags.DEFINE_string(
        "checkpoint", None, "the --workdir of a training run", required=True
    )
    _FORMAT = flags.DEFINE_enum("format", "text", ["text", "json", "csv"], "one line a plate")
    _MAPS = flags.DEFINE_string("maps", None, "writes each plate's HPA maps to this folder as PNG")
    _BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images read at once", lower_bound=1)
    app.run(_main)

"""Reads images of plates, and returns text, confidences and attention maps.

`python -m hpa_jax.recognize [--checkpoint=READER] FILES OR FOLDERS…` reads from the shell.
"""

import contextlib
import csv
import dataclasses
import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags
from flax import traverse_util

from hpa_jax import calibration, command, picture, readers, rebuild
from hpa_jax.charset import Charset
from hpa_jax.data.plate import OnBad
from hpa_jax.models.hpa import HPANet
from hpa_jax.pixels import Decoded, Images, decode_ahead, find_images, to_pixels
from hpa_jax.runtime import all_probabilities, make_forward

ESCAPES = str.maketrans({"\n": r"\n", "\r": r"\r", "\t": r"\t"})  # one line a plate, three fields
MAPS = ".maps.png"  # ends the names of drawn maps
NO_PLATE = 0.01  # below this confidence, an image most likely shows no plate, or much besides it


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read from one image of a plate.

    Attributes:
      text: the characters in reading order, voids dropped.
      confidence: probability of the whole plate, voids included, in [0, 1]; 0 if nothing was read.
      characters: each character of `text` with its probability.
      maps: len(text)×h×w float32, each character's HPA map, if asked for and if the network has
        attention, else None; `==` ignores them.
    """

    text: str
    confidence: float
    characters: tuple[tuple[str, float], ...]
    maps: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)


class Recognizer:
    """Reads plates with a trained network; made by `load_recognizer` or `make_recognizer`.

    Its attributes are read-only, because the forward pass is built once: `model`, `variables`,
    `charset` and `image_size` (height, width).
    """

    def __init__(
        self,
        model: HPANet,
        variables: Any,
        charset: Charset,
        image_size: tuple[int, int],
        runtime: str = "auto",
    ) -> None:
        self.model = model
        self.variables = variables
        self.charset = charset
        self.image_size = image_size
        self._runtime = runtime
        self._forward = make_forward(model, variables, image_size, runtime)

    def __reduce__(self) -> tuple:
        """Pickles a reader for other processes, which build their own forward pass."""
        variables = jax.device_get(self.variables)
        return Recognizer, (self.model, variables, self.charset, self.image_size, self._runtime)

    def read(self, plates: Images, *, maps: bool = False, batch_size: int = 64) -> list[Reading]:
        """Reads images that each show one plate, with a margin of up to a fifth of its size.

        Args:
          plates: one or many paths, encoded images (bytes), PIL images, or uint8 arrays H×W×3
            (RGB, not OpenCV's BGR) or H×W (grey), of any size.
          maps: also returns each character's HPA map.
          batch_size: images read at once.

        Raises:
          ValueError: a file is missing or is no readable image (a `DataError`, which names it), or
            another input is no image; a note gives its index. Or batch_size is less than 1.
        """
        readings = []
        for reading in self.read_each(plates, maps=maps, batch_size=batch_size):
            if isinstance(reading, ValueError):
                raise reading
            readings.append(reading)
        return readings

    def read_each(
        self, plates: Images, *, maps: bool = False, batch_size: int = 64
    ) -> Iterator[Reading | ValueError]:
        """Reads as `read` does, but yields each reading, or in its place the error of an image.

        Memory is bounded by `batch_size`: images are decoded and resized on all cores while the
        batch before them is read. Up to two batches are taken from `plates` before the first
        reading comes; for a camera that delivers a plate now and then, call `read` for each plate.

        Raises:
          ValueError: batch_size is less than 1.
        """
        return read_with_all([self], plates, maps=maps, batch_size=batch_size)

    def probabilities(self, plates: Images, *, batch_size: int = 64) -> np.ndarray:
        """Returns the probabilities of all classes at each position, as for language priors.

        Returns:
          B×Cp×outputs float32: for each position, the probability of each class id of the charset
          and, last, of the void class if the network has it. Always computed by XLA.

        Raises:
          ValueError: as `read`.
        """
        shape = 0, self.model.num_characters, self.model.num_classes + self.model.void
        batches = [np.zeros(shape, np.float32)]
        for decoded in decode_ahead(plates, [self.image_size], batch_size):
            for sizes in decoded:
                if isinstance(sizes, ValueError):
                    raise sizes
            pixels = np.stack([sizes[self.image_size] for sizes in decoded])
            batches.append(all_probabilities(self.model, self._on_device, pixels))
        return np.concatenate(batches)

    @functools.cached_property
    def _on_device(self) -> Any:
        return jax.device_put(self.variables)

    def _read_decoded(
        self, decoded: Sequence[Decoded], with_maps: bool
    ) -> Iterator[Reading | ValueError]:
        pixels = [sizes[self.image_size] for sizes in decoded if isinstance(sizes, dict)]
        if pixels:
            ids, confidences, maps = self._forward(np.stack(pixels), with_maps)
            maps = [None] * len(pixels) if maps is None else maps
            rows = zip(ids, confidences, maps, strict=True)
        for sizes in decoded:
            yield self._reading(*next(rows)) if isinstance(sizes, dict) else sizes

    def _reading(
        self, ids_C: np.ndarray, confidences_C: np.ndarray, maps_hwC: np.ndarray | None
    ) -> Reading:
        kept = ids_C != self.charset.void
        text = self.charset.decode(ids_C)
        characters = tuple(zip(text, confidences_C[kept].tolist(), strict=True))
        maps = None if maps_hwC is None else np.moveaxis(maps_hwC[..., kept], -1, 0)
        confidence = float(confidences_C.prod()) if text else 0.0  # voids alone mean no plate
        return Reading(text, confidence, characters, maps)


def read_with_all(
    recognizers: Iterable[Recognizer],
    plates: Images,
    *,
    maps: bool = False,
    batch_size: int = 64,
) -> Iterator[Reading | ValueError]:
    """Reads as `Recognizer.read_each` does, but yields the most confident of several readings.

    Raises:
      ValueError: there are no readers, or batch_size is less than 1.
    """
    recognizers = list(recognizers)  # iterated more than once
    if not recognizers:
        raise ValueError("no readers to read with")
    batches = decode_ahead(plates, {reader.image_size for reader in recognizers}, batch_size)
    return (reading for decoded in batches for reading in _surest(recognizers, decoded, maps))


def _surest(
    recognizers: Sequence[Recognizer], decoded: Sequence[Decoded], maps: bool
) -> Iterator[Reading | ValueError]:
    streams = [reader._read_decoded(decoded, maps) for reader in recognizers]
    for readings in zip(*streams, strict=True):
        failed = isinstance(readings[0], ValueError)  # then for all readers
        yield readings[0] if failed else max(readings, key=lambda r: r.confidence)


def load_recognizer(path: str | pathlib.Path, runtime: str = "auto") -> Recognizer:
    """Loads a reader.

    Args:
      path: a shipped reader's name ("cn", "tw"); a small file (.npz) written by `hpa_jax.export`;
        the --workdir of a training run, whose most accurate checkpoint is loaded; or
        RUN/checkpoints/STEP.
      runtime: what it runs on; see `runtime.make_forward`.

    Raises:
      FileNotFoundError: there is no such reader.
      ModuleNotFoundError: the runtime is 'onnx', and the extra is not installed.
      ValueError: the checkpoint is damaged or of another format; it is named.
    """
    variables, metadata = readers.load(path)
    try:
        return make_recognizer(variables, metadata, runtime)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load_recognizers(paths: Sequence[str | pathlib.Path] | None = None) -> list[Recognizer]:
    """Loads the readers at `paths` or, by default, each country's best shipped reader.

    Raises:
      ValueError: `paths` is a single path or empty; or it is not given, and no reader is installed
        with the package; or as `load_recognizer`.
      FileNotFoundError: there is no such reader.
    """
    if isinstance(paths, str | pathlib.Path):
        raise ValueError(f"readers {str(paths)!r}: must be a list, [{str(paths)!r}]")
    if paths is not None and not (paths and all(paths)):
        raise ValueError("--checkpoint is empty: name a reader, or leave it out")
    paths = paths or readers.shipped_default()
    if not paths:
        raise ValueError("no reader is installed with the package: name one with --checkpoint")
    return [load_recognizer(path) for path in paths]


def make_recognizer(variables: Any, metadata: dict[str, Any], runtime: str = "auto") -> Recognizer:
    """Makes a reader from a network in memory; the arguments are those that `readers.load` returns.

    Raises:
      ValueError: the metadata describe no network of this version, or not that of the variables;
        or an array is not finite.
    """
    model, charset, image_size = rebuild.network(metadata)
    readers.check_finite(traverse_util.flatten_dict(variables, sep="/"))
    try:
        rebuild.check(model, charset, variables)
        return Recognizer(model, variables, charset, image_size, runtime)
    except (ValueError, ImportError, OSError, MemoryError, jax.errors.JaxRuntimeError):
        raise
    except Exception as error:  # Flax and ONNX Runtime raise almost anything over misshapen arrays
        raise ValueError(f"variables or metadata: no whole network ({error!r})") from error


def _write(file: pathlib.Path, reading: Reading, style: str) -> None:
    confidence = calibration.printed(reading.confidence)
    if style == "json":
        record = {
            "file": str(file),
            "text": reading.text,
            "confidence": float(confidence),
            "characters": [[c, round(p, 4)] for c, p in reading.characters],
        }
        print(json.dumps(record, ensure_ascii=False))
    elif style == "csv":
        _write_row(file, reading.text, f"{confidence:.4f}")
    else:
        print(f"{str(file).translate(ESCAPES)}\t{reading.text}\t{confidence:.4f}")


def _write_row(*fields: object) -> None:
    # The text stream itself translates line ends to the system's.
    csv.writer(sys.stdout, lineterminator="\n").writerow(fields)


def list_shipped() -> None:
    """Prints the readers that come with the package."""
    for name in readers.shipped():
        variables, metadata = readers.load(name)
        parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
        size = (readers.SHIPPED / f"{name}.npz").stat().st_size / 2**20
        height, width = metadata["image_size"]
        print(
            f"{name}  {parameters / 1e6:.1f} M parameters (width {metadata['network']['width']}), "
            f"{height}×{width} pixels, {size:.1f} MiB. {metadata['about']}"
        )


def _photographs(
    paths: Sequence[str], drawn: pathlib.Path | None, on_bad: OnBad
) -> list[pathlib.Path]:
    """Returns the images that are named or lie in named folders, without maps drawn before."""
    found = []
    for path in paths:
        for file in find_images(path, on_bad):
            may_be_map = file.name.endswith(MAPS) and str(file) != path
            if not may_be_map or drawn not in pathlib.Path(os.path.realpath(file)).parents:
                found.append(file)
    return found


def _whole_pipe(file: pathlib.Path) -> pathlib.Path | bytes:
    """Returns the contents of a pipe; other files, and unreadable pipes, as they are."""
    with contextlib.suppress(OSError):  # the decoder names it
        if file.is_fifo():
            return file.read_bytes()
    return file


def _main(argv: Sequence[str]) -> int:
    command.set_up()
    command.end_by_signals()
    try:
        return _run(argv)
    except OSError as error:  # such as a full disk
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        return 2


def _run(argv: Sequence[str]) -> int:
    if _LIST.value:
        list_shipped()
        return 0
    if len(argv) < 2:
        raise app.UsageError("name at least one image file or folder")
    try:
        recognizers = load_recognizers(_CHECKPOINT.value)
        if _MAPS.value:
            command.make_folder("maps", _MAPS.value)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if _FORMAT.value != "text":  # other programs parse these, and file names may be no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    if _FORMAT.value == "csv":
        _write_row("file", "text", "confidence")
    failed, unsure = [], 0

    def tell(error: object) -> None:
        failed.append(error)
        print(f"error: {error}", file=sys.stderr)

    drawn = pathlib.Path(_MAPS.value).resolve() if _MAPS.value else None
    photographs = _photographs(argv[1:], drawn, tell)
    options = {"maps": bool(drawn), "batch_size": _BATCH_SIZE.value}
    # A pipe can be read only once, and maps are drawn on what was read.
    sources = [_whole_pipe(f) if drawn else f for f in photographs]
    results = zip(photographs, sources, read_with_all(recognizers, sources, **options), strict=True)
    for count, (file, source, reading) in enumerate(results, start=1):
        if isinstance(reading, ValueError):
            tell(reading)
            continue
        _write(file, reading, _FORMAT.value)
        unsure += reading.confidence < NO_PLATE
        if drawn:
            try:  # numbered, because files in two folders may have one name
                row = picture.maps_row(to_pixels(source, recognizers[0].image_size), reading)
                row.save(drawn / f"{count:05d}_{file.name}{MAPS}")
            except (OSError, ValueError) as error:
                tell(f"maps of {file}: {error}")
    if 2 * unsure > len(photographs):
        print(
            f"{unsure} of {len(photographs)} were read with a confidence below {NO_PLATE}: an "
            "image must be one plate, cut out",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    _CHECKPOINT = flags.DEFINE_list(
        "checkpoint",
        None,
        "a shipped reader's name, a .npz or the --workdir of a training run; or several, of which "
        "the most confident reading is kept; by default, each country's best shipped reader",
    )
    _LIST = flags.DEFINE_bool("list", False, "prints the shipped readers")
    _FORMAT = flags.DEFINE_enum("format", "text", ["text", "json", "csv"], "one line per plate")
    _MAPS = flags.DEFINE_string("maps", None, "writes each plate's HPA maps to this folder as PNG")
    _BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images read at once", lower_bound=1)
    app.run(_main)

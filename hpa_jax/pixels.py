"""Decodes what users give as images of plates to a reader's size, ahead of the device."""

import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator

import jax
import numpy as np
from PIL import Image

from hpa_jax import machine
from hpa_jax.data import files, images
from hpa_jax.data.plate import DataError, OnBad, stop

Encoded = bytes | bytearray | memoryview
ImageLike = str | os.PathLike | Encoded | Image.Image | np.ndarray | jax.Array
Maker = Callable[[], Image.Image]  # of an image, called on the threads that decode
Images = ImageLike | Iterable[ImageLike | Maker]
Decoded = dict[tuple[int, int], np.ndarray] | ValueError  # size -> pixels of an image, or its error
_LOADING = threading.Lock()  # Pillow decodes lazily, and two threads may be given one image


def find_images(path: str | pathlib.Path, on_bad: OnBad = stop) -> list[pathlib.Path]:
    """Returns a file as it is given, or the images below a folder, sorted, without hidden ones.

    Links to folders are followed, each folder once.

    Args:
      path: the file or folder.
      on_bad: called with an error for a folder that cannot be opened, and if `path` has no images.

    Raises:
      DataError: whatever `on_bad` raises; by default, the first error.
    """
    if not os.path.isdir(path):  # noqa: PTH112, pathlib's raises where a folder is closed
        return [pathlib.Path(path)]

    def closed(error: OSError) -> None:
        on_bad(DataError(error.filename, f"cannot be read: {error.strerror}"))

    found, seen = [], set()
    for folder, below, names in os.walk(path, followlinks=True, onerror=closed):
        below[:] = sorted(name for name in below if not name.startswith(files.HIDDEN))
        if (real := os.path.realpath(folder)) in seen:
            below.clear()  # a circular link, or one to a folder found already
            continue
        seen.add(real)
        found += [pathlib.Path(folder, name) for name in files.visible(names, images.SUFFIXES)]
    if not found:
        kinds = " ".join(sorted(images.SUFFIXES))
        on_bad(DataError(path, f"is a folder without images ({kinds})"))
    return sorted(found)


def to_pixels(image: ImageLike, size: tuple[int, int]) -> np.ndarray:
    """Decodes and resizes one image bilinearly: H×W×3 uint8, RGB.

    Raises:
      ValueError: a file is missing or is no readable image (a `DataError`, which names it), or
        another input is no image.
    """
    return _resized(_open(image), size)


def _open(image: ImageLike | Maker) -> Image.Image:
    """The whole picture, upright and in RGB; errors as `to_pixels`."""
    if callable(image):
        image = image()
    if isinstance(image, jax.Array):
        image = np.asarray(image)
    if isinstance(image, np.ndarray):
        shaped = image.ndim in (2, 3) and image.shape[2:] in ((), (3,)) and image.size
        if image.dtype != np.uint8 or not shaped:
            raise ValueError(
                f"array of shape {image.shape} and type {image.dtype}: must be H×W×3 or H×W uint8 "
                "(of several make a list)"
            )
        return images.to_rgb(Image.fromarray(image))
    if isinstance(image, Encoded):
        return images.open_rgb(bytes(image))
    if isinstance(image, str | os.PathLike):
        return images.open_rgb(pathlib.Path(os.fsdecode(image)))
    if not isinstance(image, Image.Image):
        raise ValueError(
            f"{type(image).__name__}: must be a path, an encoded image, a PIL image or an array "
            "(OpenCV returns None for an unreadable file; instead of an open file, give its bytes)"
        )
    try:
        if 0 in image.size:
            raise ValueError("it has no pixels")
        with _LOADING:
            image.load()
            upright = images.upright(image)
        return images.to_rgb(upright)
    except Exception as error:  # Pillow decodes only now, and may raise almost anything
        name = getattr(image, "filename", "") or "image"
        raise DataError(name, f"is damaged: {error}") from error


def _resized(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))


def decode_ahead(
    plates: Images, sizes: Collection[tuple[int, int]], batch_size: int
) -> Iterator[list[Decoded]]:
    """Returns batches of images, each at all sizes; the next is decoded while one is read.

    Raises:
      ValueError: batch_size is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: must be at least 1")
    return _decoded_batches(_each(plates), sizes, batch_size)


def _decoded_batches(
    plates: Iterator[ImageLike | Maker], sizes: Collection[tuple[int, int]], batch_size: int
) -> Iterator[list[Decoded]]:
    with concurrent.futures.ThreadPoolExecutor(machine.cores()) as pool:
        numbered = enumerate(plates)
        failures = []  # of the iterator of images: raised once the images before are read

        def start() -> list[concurrent.futures.Future]:
            started = []
            try:
                for place, image in itertools.islice(numbered, 0 if failures else batch_size):
                    started.append(pool.submit(_pixels_or_error, place, _kept(image), sizes))
            except Exception as error:
                failures.append(error)
            return started

        ahead = start()
        while ahead:
            decoded, ahead = [future.result() for future in ahead], start()
            yield decoded
        if failures:
            raise failures[0]


def _kept(image: ImageLike | Maker) -> ImageLike | Maker:
    """Copies an image that its source, such as a camera, may overwrite before it is decoded."""
    if isinstance(image, np.ndarray):
        return image.copy()
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, Image.Image):
        with contextlib.suppress(DataError):  # a damaged one is named where it is decoded
            return np.asarray(_open(image))  # in Pillow's own copies a removed tag is back
    return image


def _pixels_or_error(
    place: int, image: ImageLike | Maker, sizes: Collection[tuple[int, int]]
) -> Decoded:
    try:
        picture = _open(image)  # once, because a pipe cannot be read again
        return {size: _resized(picture, size) for size in sizes}
    except ValueError as error:
        error.add_note(f"number {place} of the images given, counted from 0")
        return error


def _each(plates: Images) -> Iterator[ImageLike | Maker]:
    """Returns an iterator over the images, also if there is a single one instead of a list."""
    one = isinstance(plates, ImageLike) or not isinstance(plates, Iterable)
    return iter([plates] if one or hasattr(plates, "read") else plates)

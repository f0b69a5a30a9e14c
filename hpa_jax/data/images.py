"""Image files to pixels: a decoded RGB image, or one error that names the file."""

import contextlib
import io
import pathlib
import stat
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose

from hpa_jax.data.plate import DataError

# Named, because Pillow also opens formats that run other programs or read other files.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm"}
SUFFIXES |= {".tif", ".tiff"}
RANGES = (255, 1023, 4095, 16383, 65535)  # of grey: 8 to 16 bits
MAX_PIXELS = 100_000_000  # a 100-megapixel photograph needs 300 MB; more is an attack or a mistake
MAX_BYTES = 2**30  # of a file: 100 megapixels of 16-bit colour, uncompressed, have 600 MB
TURNS = {  # EXIF's orientation -> what turns the picture upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]  # width and height change places


def load(source: pathlib.Path | bytes) -> bytes:
    """Returns the encoded bytes of an image.

    Raises:
      DataError: the file is missing, unreadable, empty or larger than MAX_BYTES.
    """
    try:
        data = source if isinstance(source, bytes) else _read(pathlib.Path(source))
    except OSError as error:
        raise DataError(source, f"cannot be read: {error.strerror or error}") from error
    except DataError:
        raise
    except ValueError as error:  # it holds a zero byte, or half a character
        raise DataError(ascii(str(source)), "is no name that a file can have") from error
    if not data:
        raise DataError(_name(source), "is empty (0 bytes)")
    return data


def _read(path: pathlib.Path) -> bytes:
    status = path.stat()
    if status.st_size > MAX_BYTES:
        raise DataError(path, f"is larger than {MAX_BYTES >> 20} MiB")
    if stat.S_ISCHR(status.st_mode):  # as a link to /dev/zero, which has no end
        raise DataError(path, "is a device, no image")
    if stat.S_ISDIR(status.st_mode):  # of which Windows says no more than: permission denied
        raise DataError(path, "is a folder, no image; hpa_jax.pixels.find_images lists a folder's")
    return path.read_bytes()


def open_rgb(source: pathlib.Path | bytes, name: object = None) -> Image.Image:
    """Decodes an image of any common format and mode to RGB, turned as its EXIF tag says.

    Args:
      source: path of the image, or its encoded bytes.
      name: what errors call it; the path, if not given.

    Raises:
      DataError: no such file, not an image, damaged, cut short or larger than MAX_PIXELS.
    """
    with _opened(source, name) as image:
        image.load()
        picture = to_rgb(upright(image))
    picture.info.clear()  # else the tag would turn it, and what is cut out of it, once more
    return picture


def size(source: pathlib.Path | bytes) -> tuple[int, int]:
    """Returns width and height of what `open_rgb` gives, mostly without decoding it.

    Raises:
      DataError: as `open_rgb`, but for damage further down the file.
    """
    with _opened(source) as image:
        if image.format == "TIFF":
            image.load()  # Pillow turns these itself, and their size by its version before or now
        width, height = image.size
        return (height, width) if _turn(image) in SIDEWAYS else (width, height)


@contextlib.contextmanager
def _opened(source: pathlib.Path | bytes, name: object = None) -> Iterator[Image.Image]:
    """An image whose pixels are not decoded yet; whatever goes wrong with it names it."""
    name = _name(source) if name is None else name
    data = load(source)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise DataError(name, f"is {width}×{height}, larger than {MAX_PIXELS} pixels")
        yield image
    except (DataError, MemoryError):  # what the machine lacks is no fault of the file
        raise
    except Image.UnidentifiedImageError as error:
        raise DataError(name, f"is not an image ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise DataError(name, f"is larger than {MAX_PIXELS} pixels") from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise DataError(name, f"is a damaged image: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """A decoded picture turned as its EXIF tag says."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged EXIF, which says nothing of the pixels
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to 8-bit RGB, what is transparent to white.

    Deeper grey keeps its range instead of being clipped.
    """
    if image.mode.startswith(("I", "F")):  # I;16, I, F: more than 8 bits a pixel
        values = np.nan_to_num(np.asarray(image, np.float32))
        # Files do not say how many bits are used: the fewest that hold the values.
        most = values.max(initial=0)
        top = next((top for top in RANGES if most <= top), RANGES[-1])
        if image.mode == "F" and most < 2:
            top = 1  # resizing may have overshot
        grey = np.clip(values * (255 / top), 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def _name(source: pathlib.Path | bytes) -> object:
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else source

"""Decodes image files to RGB, or raises one error that names the file."""

import contextlib
import io
import pathlib
import stat
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose

from hpa_jax.data.plate import DataError

# Only these, because Pillow also opens formats that run other programs or read other files.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm"}
SUFFIXES |= {".tif", ".tiff"}
RANGES = (255, 1023, 4095, 16383, 65535)  # highest values of grey images of 8 to 16 bits
MAX_PIXELS = 100_000_000  # a 100-megapixel photograph needs 300 MB; more is an attack or a mistake
MAX_BYTES = 2**30  # of a file: 100 megapixels of 16-bit colour, uncompressed, have 600 MB
TURNS = {  # EXIF orientation -> the operation that turns the picture upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]  # these swap width and height


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
    except ValueError as error:  # a zero byte, or half a character, in the path
        raise DataError(ascii(str(source)), "is not a valid file name") from error
    if not data:
        raise DataError(_name(source), "is empty (0 bytes)")
    return data


def _read(path: pathlib.Path) -> bytes:
    status = path.stat()
    if status.st_size > MAX_BYTES:
        raise DataError(path, f"is larger than {MAX_BYTES >> 20} MiB")
    if stat.S_ISCHR(status.st_mode):  # such as /dev/zero, which never ends
        raise DataError(path, "is a device, not an image")
    if stat.S_ISDIR(status.st_mode):  # for which Windows only says: permission denied
        raise DataError(path, "is a folder, not an image; hpa_jax.pixels.find_images lists images")
    return path.read_bytes()


def open_rgb(source: pathlib.Path | bytes, name: object = None) -> Image.Image:
    """Returns an image of any format in FORMATS as RGB, turned upright by its EXIF tag.

    Args:
      source: path of the image, or its encoded bytes.
      name: what errors call the image; by default the path.

    Raises:
      DataError: no such file, not an image, damaged, cut short or larger than MAX_PIXELS.
    """
    with _opened(source, name) as image:
        image.load()
        picture = to_rgb(upright(image))
    picture.info.clear()  # otherwise the tag would turn it, and crops of it, again
    return picture


def size(source: pathlib.Path | bytes) -> tuple[int, int]:
    """Returns width and height of the result of `open_rgb`, mostly without decoding it.

    Raises:
      DataError: as `open_rgb`, except for damage further down the file.
    """
    with _opened(source) as image:
        if image.format == "TIFF":
            image.load()  # Pillow turns these itself; when the size follows depends on its version
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
    except (DataError, MemoryError):  # lack of memory is not the file's fault
        raise
    except Image.UnidentifiedImageError as error:
        raise DataError(name, f"is not an image ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise DataError(name, f"is larger than {MAX_PIXELS} pixels") from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise DataError(name, f"is a damaged image: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """Returns a decoded picture turned upright by its EXIF tag."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged EXIF; the pixels may be sound
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of any mode as 8-bit RGB, on white where it is transparent.

    Grey of more than 8 bits is scaled to 8 bits, not clipped.
    """
    if image.mode.startswith(("I", "F")):  # I;16, I, F: more than 8 bits a pixel
        values = np.nan_to_num(np.asarray(image, np.float32))
        # Files do not say how many bits they use: assume the fewest that hold the values.
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

"""Image files of every kind that users have: the right pixels, or one error naming the file."""

import io
import pathlib
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from hpa_jax.data import images
from hpa_jax.data.plate import DataError
from tests.data import trees


def encode(image, **kwargs):
    buffer = io.BytesIO()
    image.save(buffer, **kwargs)
    return buffer.getvalue()


def decode(source):
    return np.asarray(images.open_rgb(source))


def gradient(height=20, width=30):
    x = np.linspace(0, 255, width)[None, :, None].repeat(height, 0)
    y = np.linspace(0, 255, height)[:, None, None].repeat(width, 1)
    return np.concatenate([x, y, 255 - x], axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA", "L", "1", "YCbCr"])
def test_modes_keep_their_colours(mode):
    rgb = Image.fromarray(gradient())
    if mode in ("L", "1"):
        rgb = rgb.convert("L").convert("RGB")
    suffix = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encode(rgb.convert(mode), format=suffix, quality=95)
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (20, 30, 3)
    tolerance = {"P": 40, "1": 128}.get(mode, 12)  # 256 colours; black and white, dithered
    difference = np.abs(pixels.astype(int) - np.asarray(rgb))
    assert difference.mean() < tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_common_formats_are_read(kind):
    pixels = decode(encode(Image.fromarray(gradient()), format=kind))
    assert np.abs(pixels.astype(int) - gradient()).mean() < 20


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode):
    """Not the colour that lies hidden below, often black as the ink."""
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 4, 8))
    pixels = decode(encode(picture.convert(mode), format="PNG"))
    assert (pixels[:, :4] == 0).all() and (pixels[:, 4:] == 255).all()


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(suffix):
    grey = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    pixels = decode(encode(Image.fromarray(grey), format=suffix))
    assert (pixels == np.arange(256).reshape(16, 16, 1)).all()


def test_deep_grey_takes_little_memory_beside_its_picture():
    """A file of 200 KB may hold 100 megapixels of it, and each core decodes one at once."""
    data = encode(Image.new("I;16", (1000, 1000)), format="PNG")
    tracemalloc.start()
    decode(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 * 1000 * 1000


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint16, 1023), (np.uint16, 4095), (np.float32, 1), (np.float32, 255)]
)
def test_other_ranges_of_grey_are_scaled(dtype, top):
    grey = (np.arange(256) / 255 * top).astype(dtype).reshape(16, 16)
    pixels = decode(encode(Image.fromarray(grey), format="TIFF")).astype(int)
    assert abs(pixels - np.arange(256).reshape(16, 16, 1)).max() <= 1


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    pixels = decode(encode(Image.fromarray(gradient()), format="PNG", exif=exif))
    assert (pixels == np.rot90(gradient(), -1)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(gradient()), format="PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (decode(data) == np.asarray(expected)).all()
    assert images.size(data) == expected.size


def test_what_was_turned_is_not_turned_again_by_a_tag_that_it_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = images.open_rgb(encode(Image.fromarray(gradient()), format="PNG", exif=exif))
    crop = photograph.crop((0, 0, 8, 4))
    assert images.upright(photograph).size == photograph.size
    assert images.upright(crop).size == crop.size


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_tiff_has_the_size_of_its_pixels(orientation):
    """Pillow turns these itself, and says their size as it will be."""
    picture = Image.fromarray(gradient())
    data = encode(picture, format="TIFF", tiffinfo={0x0112: orientation})
    height, width, _ = decode(data).shape
    assert images.size(data) == (width, height) == ((20, 30) if orientation == 6 else (30, 20))


def test_floats_that_resizing_took_past_one_are_not_black():
    grey = np.linspace(-0.03, 1.03, 256, dtype=np.float32).reshape(16, 16)
    pixels = decode(encode(Image.fromarray(grey), format="TIFF")).astype(int)
    assert abs(pixels[..., 0] - np.clip(grey * 255, 0, 255)).max() <= 1


def test_damaged_exif_does_not_hide_the_picture():
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    resolution = struct.pack(">HHII", 0x011A, 2, 12, 38)  # a text, where a number should be
    odd = b"MM\0*" + struct.pack(">IH", 8, 2) + orientation + resolution + b"\0\0\0\0seventy-two\0"
    for exif, shape in ((b"GARBAGE!", (20, 30, 3)), (odd, (30, 20, 3))):
        data = encode(Image.fromarray(gradient()), format="PNG", exif=exif)
        assert decode(data).shape == shape


def test_a_file_past_all_reason_is_refused_unread(tmp_path):
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(DataError, match="huge.tif: is larger than 1024 MiB"):
        decode(path)


@pytest.mark.skipif(not pathlib.Path("/dev/null").is_char_device(), reason="no such devices here")
def test_a_device_is_refused_unread(tmp_path):
    (tmp_path / "plate.jpg").symlink_to("/dev/null")  # /dev/zero would fill the memory
    with pytest.raises(DataError, match="plate.jpg: is a device, not an image"):
        decode(tmp_path / "plate.jpg")


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg"])
def test_what_cannot_be_a_files_name_is_named(name):
    with pytest.raises(DataError) as caught:
        images.load(pathlib.Path(name))
    assert str(caught.value) == f"{ascii(name)}: is not a valid file name"


def test_every_truncation_is_an_error_that_names_the_file(tmp_path):
    data = trees.jpeg()
    path = tmp_path / "cut.jpg"
    for size in [*range(0, len(data) // 2, 7), len(data) - 20]:
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match="cut.jpg: is "):
            decode(path)


def test_damaged_bytes_give_an_image_or_one_error(tmp_path):
    path, rng = tmp_path / "bad.png", np.random.default_rng(0)
    outcomes = set()
    for data in (trees.jpeg(), encode(Image.fromarray(gradient()), format="PNG")):
        for _ in range(150):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 4):
                broken[at] = rng.integers(256)
            path.write_bytes(broken)
            try:
                outcomes.add(decode(path).ndim)
            except DataError as error:
                assert "bad.png" in str(error)
                outcomes.add("error")
    assert outcomes == {3, "error"}


def test_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.pgm"
    path.write_bytes(b"P5 12000 12000 255\n")
    with pytest.raises(DataError, match="bomb.pgm: is 12000×12000, larger than"):
        decode(path)
    path.write_bytes(b"P5 20000 20000 255\n")
    with pytest.raises(DataError, match="bomb.pgm: is larger than"):
        decode(path)
    path.write_bytes(b"P5 11600 8600 255\n")  # the largest of cameras' photographs
    assert images.size(path) == (11600, 8600)


@pytest.mark.parametrize(
    "content", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 1000, b"<svg/>"]
)
def test_what_is_no_image_is_called_so(tmp_path, content):
    path = tmp_path / "text.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match="text.jpg: is not an image"):
        decode(path)
    with pytest.raises(DataError, match="^plate 7: is not an image"):
        images.open_rgb(content, "plate 7")


def test_a_folder_is_told_as_such_on_windows_too(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_bytes", denied)
    with pytest.raises(DataError, match="is a folder, not an image"):
        decode(tmp_path)


def test_missing_and_empty_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="none.jpg: cannot be read"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="is a folder, not an image; .*find_images"):
        decode(tmp_path)
    (tmp_path / "zero.jpg").touch()
    with pytest.raises(DataError, match="zero.jpg: is empty"):
        decode(tmp_path / "zero.jpg")


def test_black_of_sixteen_bits_stays_black():
    buffer = io.BytesIO()
    Image.fromarray(np.ones((9, 9), np.uint16)).save(buffer, "PNG")
    assert decode(buffer.getvalue()).max() <= 1


def test_what_is_no_number_hides_no_picture():
    values = np.linspace(0, 1, 81, dtype=np.float32).reshape(9, 9)
    values[0, 0] = np.nan
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    pixels = decode(buffer.getvalue())[..., 0]
    np.testing.assert_allclose(pixels, np.nan_to_num(values) * 255, atol=0.51)

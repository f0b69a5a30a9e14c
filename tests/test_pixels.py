"""Images are found wherever users keep them."""

import os
import pathlib
import threading

import numpy as np
import pytest
from PIL import Image

from hpa_jax import pixels
from tests.data import trees


def test_folders_are_searched_along_their_links(tmp_path):
    for name in (
        "plates/a.PNG",
        "plates/y.png",
        "plates/.b.png",
        "plates/c/notes.txt",
        "elsewhere/d/e.jpg",
        "plates/.trash/f.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    plates = tmp_path / "plates"
    (plates / "x").symlink_to(tmp_path / "elsewhere")
    (plates / "c/circle").symlink_to(plates)
    found = pixels.find_images(plates)
    assert [str(file.relative_to(plates)) for file in found] == ["a.PNG", "x/d/e.jpg", "y.png"]


def test_a_closed_folder_does_not_hide_the_others(tmp_path, monkeypatch):
    for name in ("a/0.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse_a(folder):  # the user root, who may run this, can open all
        if pathlib.Path(folder).name == "a":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse_a)
    told = []
    assert pixels.find_images(tmp_path, told.append) == [tmp_path / "b/1.png"]
    assert list(map(str, told)) == [f"{tmp_path / 'a'}: cannot be read: Permission denied"]
    with pytest.raises(ValueError, match="a: cannot be read"):
        pixels.find_images(tmp_path)


def test_a_name_that_no_file_can_have_is_left_to_the_decoder():
    name = pathlib.Path("a" * 300 + ".jpg")
    assert pixels.find_images(name) == [name]
    (error,) = next(pixels.decode_ahead([name], {(5, 8)}, 1))
    assert isinstance(error, ValueError) and "aaa.jpg" in str(error)


def test_an_empty_name_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    """As a shell's variable that was never set."""
    (tmp_path / "a.png").touch()
    monkeypatch.chdir(tmp_path)
    assert pixels.find_images("") == [pathlib.Path()]
    assert pixels.find_images(".") == [pathlib.Path("a.png")]


def test_names_in_bytes_are_names(tmp_path):
    (tmp_path / "a.jpg").write_bytes(trees.jpeg())
    (entry,) = os.scandir(os.fsencode(tmp_path))
    assert pixels.to_pixels(entry, (5, 8)).shape == (5, 8, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_read_once_for_readers_of_several_sizes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(trees.jpeg(),))
    writer.start()
    ((decoded,),) = pixels.decode_ahead(tmp_path / "pipe", {(5, 8), (6, 9)}, 1)
    writer.join()
    assert {size: array.shape for size, array in decoded.items()} == {
        (5, 8): (5, 8, 3),
        (6, 9): (6, 9, 3),
    }


def test_what_is_no_collection_of_images_is_one_wrong_image(tmp_path):
    with pytest.raises(ValueError, match="NoneType: must be a path, .*OpenCV returns None"):
        raise next(pixels.decode_ahead(None, [(4, 9)], 2))[0]
    with (tmp_path / "a.png").open("w+b") as file, pytest.raises(ValueError, match=r"its bytes\)"):
        raise next(pixels.decode_ahead(file, [(4, 9)], 2))[0]
    with pytest.raises(ValueError, match=r"shape \(5, 9, 4\) and type uint8: must be H×W×3"):
        pixels.to_pixels(np.zeros((5, 9, 4), np.uint8), (4, 9))  # whose transparency nobody knows
    encoded = trees.jpeg()
    for kind in (bytes, bytearray, memoryview):
        ((decoded,),) = pixels.decode_ahead(kind(encoded), [(4, 9)], 2)
        assert decoded[4, 9].shape == (4, 9, 3)


def test_images_that_came_before_an_error_of_their_source_are_given():
    def source():
        yield from [trees.jpeg()] * 5
        raise ConnectionError("the camera is gone")

    sizes = []
    with pytest.raises(ConnectionError, match="the camera is gone"):
        for batch in pixels.decode_ahead(source(), [(4, 9)], 2):
            sizes.append(len(batch))
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_buffer_that_is_filled_anew_was_read_as_it_came(kind):
    encoded = [trees.jpeg(seed) for seed in range(16)]

    def source():
        buffer = bytearray(max(map(len, encoded)))
        for data in encoded:
            buffer[:] = data + bytes(len(buffer) - len(data))
            yield buffer if kind is bytearray else memoryview(buffer)

    (batch,) = pixels.decode_ahead(source(), [(4, 9)], 16)
    for decoded, data in zip(batch, encoded, strict=True):
        np.testing.assert_array_equal(decoded[4, 9], pixels.to_pixels(data, (4, 9)))


def test_a_picture_whose_tag_was_taken_away_is_not_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 5), "red").save(tmp_path / "lying.png", exif=exif)
    picture = Image.open(tmp_path / "lying.png")
    picture.putpixel((8, 0), (0, 0, 255))
    del picture.getexif()[0x0112]
    ((decoded,),) = pixels.decode_ahead([picture], [(5, 9)], 1)
    assert np.array_equal(decoded[5, 9], np.asarray(picture))

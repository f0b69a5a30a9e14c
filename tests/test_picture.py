"""Pictures of readings show what they say they show."""

import itertools

import numpy as np
from PIL import Image, ImageDraw

from hpa_jax import picture
from hpa_jax.charset import TAIWAN
from hpa_jax.recognize import Reading


def test_a_failure_shows_plate_semantic_map_and_attention():
    image = np.full((50, 160, 3), 100, np.uint8)
    classes = np.full((7, 20), 34)
    classes[:, 10:] = 3  # the right half shows a character
    reading = Reading("AB", 0.5, (("A", 0.7), ("B", 0.7)), np.ones((2, 7, 20), np.float32))
    row = np.asarray(picture.maps_row(image, reading, "AC", (classes, 34)))
    assert row.shape[1] == 4 * 164
    tiles = [row[:50, 164 * i : 164 * i + 160] for i in range(4)]
    assert (tiles[0] == image).all()
    assert (tiles[1][:, :80] == image[:, :80]).all()
    assert (tiles[1][:, 80:] != image[:, 80:]).any(axis=-1).all()
    assert (tiles[2] == tiles[3]).all()
    assert picture.maps_row(image, reading, "AC").width == 3 * 164
    other = np.asarray(picture.maps_row(image, reading, "AD", (classes, 34)))
    assert (other != row).any() and (other[:50] == row[:50]).all()  # the label is in the picture


def test_maps_lie_where_the_network_looked():
    """Corner on corner, as the network's features lie on the image (paper, "Overview")."""
    looked = np.zeros((3, 5))
    for row, column in ((0, 0), (0, 4), (1, 2), (2, 4)):
        looked[:] = 0
        looked[row, column] = 1
        glow = picture.overlay(np.zeros((51, 161, 3), np.uint8), looked)[..., 0]
        brightest = np.unravel_index(glow.argmax(), glow.shape)
        assert brightest == (row * 25, column * 40)
        faint = picture.overlay(np.zeros((51, 161, 3), np.uint8), looked / 100)[..., 0]
        assert np.abs(faint.astype(int) - glow).max() <= 1
    white, black = (np.full((51, 161, 3), shade, np.uint8) for shade in (255, 0))
    assert (picture.overlay(white, looked) > picture.overlay(black, looked)).all()  # shines through
    classes = np.full((3, 5), 9)
    classes[1, 2] = 4
    shown = picture.painted(np.zeros((51, 161, 3), np.uint8), classes, 9).any(axis=-1)
    rows, columns = np.nonzero(shown)
    assert abs(rows.mean() - 25) < 0.6 and abs(columns.mean() - 80) < 0.6
    assert (np.ptp(rows), np.ptp(columns)) == (24, 40)
    plain = [picture.painted(white, np.full((3, 5), i), 9)[0, 0] for i in range(9)]
    assert len(np.unique(plain, axis=0)) == 9  # a colour for each class


def test_letters_beyond_ascii_are_drawn():
    image = np.full((50, 160, 3), 100, np.uint8)
    captions = [
        np.asarray(picture.maps_row(image, Reading(text, 0.5, ())))[50:]
        for text in ("Ö", "Ä", "가")
    ]
    assert not np.array_equal(captions[0], captions[1])  # as boxes of what the font lacks would be
    plain = np.asarray(picture.maps_row(image, Reading("[U+AC00]", 0.5, ())))[50:]
    assert np.array_equal(captions[2], plain)


def test_captions_say_what_was_read_and_what_it_is(monkeypatch):
    said, tiles_of = [], []

    def text(self, xy, text, fill, font):
        said.append((text, fill))
        tiles_of.append(xy[0] // 164)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    image, maps = np.zeros((50, 160, 3), np.uint8), np.ones((2, 7, 20), np.float32)
    reading = Reading("AB", 0.5, (("A", 0.9), ("B", 0.6)), maps)
    for truth in ("AC", "AB", None):
        picture.maps_row(image, reading, truth)
    tiles = [("A  0.90", picture.INK), ("B  0.60", picture.INK)]
    wrong, right = ("AB  0.50\nlabel AC", picture.WRONG), ("AB  0.50", picture.RIGHT)
    unknown = ("AB  0.50", picture.INK)
    assert said == [wrong, *tiles, right, *tiles, unknown, *tiles]
    assert tiles_of == [0, 1, 2] * 3  # each beneath its own
    said.clear()
    ids = np.stack([TAIWAN.encode(text, 4) for text in ("AB12", "CD34")])
    batch = {"image": np.stack([image] * 2), "characters": ids, "has_maps": np.zeros(2, bool)}
    picture.contact_sheet(batch, batch, TAIWAN)
    labels = [text for text, _ in said if "(no maps)" in text]
    assert labels == ["AB12   (no maps)", "CD34   (no maps)"]


def test_columns_of_narrow_plates_keep_their_names_apart():
    """Plates of two rows are read at some 48×64."""
    maps = {name: np.zeros((1, 48, 64), np.uint8) for name in ("position", "semantic")}
    batch = maps | {"image": np.zeros((1, 48, 64, 3), np.uint8), "has_maps": np.ones(1, bool)}
    batch["characters"] = TAIWAN.encode("AB12", 4)[None]
    sheet = np.asarray(picture.contact_sheet(batch, batch, TAIWAN, columns=1))
    gaps = [sheet[: picture.HEADER, 68 * i : 68 * i + 4] for i in range(5)]
    assert all((gap == 255).all() for gap in gaps)


def test_captions_wider_than_their_tiles_are_written_whole_and_over_no_other(monkeypatch):
    """Plates of two rows are narrow, and letters beyond Cyrillic are spelled out."""
    boxes, text_of = [], ImageDraw.ImageDraw.text

    def text(self, xy, text, fill, font, *others, **of_a_line):
        if others:  # Pillow before 12 draws each line of several by this method again
            return text_of(self, xy, text, fill, font, *others, **of_a_line)
        left, top, right, bottom = self.textbbox(xy, text, font=font)
        assert right <= self.im.size[0] and bottom <= self.im.size[1]
        boxes.append((left, right))
        return text_of(self, xy, text, fill, font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    classes, ids = (np.zeros((6, 8), int), 34), np.stack([TAIWAN.encode("ABC1234", 7)] * 3)
    ids[1] = -1
    for text, truth, width in (("ABC1234", "ABC1235", 64), ("กข12", "กข가나12", 160)):
        image = np.zeros((48, width, 3), np.uint8)
        reading = Reading(text, 0.5, ((text[0], 0.5),), np.ones((1, 6, 8), np.float32))
        picture.maps_row(image, reading, truth, classes)
    batch = {"image": np.zeros((3, 48, 64, 3), np.uint8), "characters": ids}
    batch["has_maps"] = np.zeros(3, bool)
    picture.contact_sheet(batch, batch, TAIWAN, columns=3)
    assert len(boxes) == 3 + 3 + 9
    captions = boxes[:3], boxes[3:6], [boxes[i] for i in (8, 11, 14)]
    for row in captions:
        assert all(right < left for (_, right), (left, _) in itertools.pairwise(row))
    assert picture.maps_row(image, reading, "A" * 100_000).width < 2_000


def test_rows_of_a_page_lie_whole_beneath_each_other():
    shades = {(40, 10): (255, 0, 0), (90, 20): (0, 255, 0), (60, 10): (0, 0, 255)}
    sheet = np.asarray(picture.page([Image.new("RGB", *row) for row in shades.items()]))
    tops = []
    for (width, height), shade in shades.items():
        rows, columns = np.nonzero((sheet == shade).all(axis=-1))
        assert len(rows) == width * height and np.ptp(columns) == width - 1
        tops.append(rows.min())
    assert tops == sorted(tops)


def test_a_contact_sheet_has_all_plates_in_order_with_names_and_labels(monkeypatch):
    said = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, fill, font: said.append((text, xy))
    )
    shades = np.array([10, 20, 30], np.uint8)
    images = np.broadcast_to(shades[:, None, None, None], (3, 50, 160, 3))
    ids = np.stack([TAIWAN.encode(text, 4) for text in ("AB12", "CD34", "EF56")])
    ids[2, 0] = -1
    maps = np.full((3, 50, 160), 4)
    batch = {"image": images, "characters": ids, "has_maps": np.array([True, False, False])}
    augmented = batch | {"image": images + 100, "position": maps, "semantic": maps + 30}
    sheet = np.asarray(picture.contact_sheet(batch, augmented, TAIWAN, columns=2)).astype(int)
    corners = [(xs.min(), ys.min()) for ys, xs in (np.nonzero(sheet[..., 0] == s) for s in shades)]
    (left, top), (right, beside), (below, bottom) = corners
    assert left == below < right and top == beside < bottom
    assert len(sheet) >= bottom + 50 + 20  # beneath the last plate its label
    for shade in shades:
        assert (sheet == shade).all(axis=-1).sum() == 50 * 160
        assert (sheet == shade + 100).all(axis=-1).sum() == 3 * 50 * 160  # no class but background
    names = ["as it is", "in training", "position", "semantic"]
    assert [text for text, (_, y) in said if y < top] == names * 2
    assert [text for text, (_, y) in said if y > top] == [
        "AB12",
        "CD34   (no maps)",
        "cannot be written in this charset   (no maps)",
    ]

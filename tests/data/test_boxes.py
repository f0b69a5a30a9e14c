"""Estimated character boxes against the renderer's exact maps."""

import dataclasses
import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from hpa_jax.charset import TAIWAN
from hpa_jax.data import boxes, pipeline, styles, synthetic, warp
from hpa_jax.data.plate import Plate, box_corners

SIZE = (50, 160)


def render_seen_from(style, count, monkeypatch):
    """Renders plates, their writing loose as always, from one known, slanted view."""
    num_characters = 8

    def view(draws, half_width, half_height, tilt, loose, tight, cut):
        angles = jnp.array([0.35, 0.2, 0.1])
        return warp.view(half_width, half_height, angles, 0.1, 4.0, jnp.full(4, 0.1))

    monkeypatch.setattr(synthetic.warp, "random_view", view)
    render = synthetic.make_renderer([style], TAIWAN, num_characters, image_size=SIZE)

    def drawn(key):  # without the picture, which would take most of the time
        plate = render(key)
        return {name: plate[name] for name in ("characters", "position")}

    plates = jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(0), count))
    half_width = style.size[0] / style.size[1] / 2
    to_picture = np.linalg.inv(np.asarray(view(None, half_width, 0.5, 1.0, 0.0, 0.0, 0.0)))
    plane = np.array(box_corners((-half_width, -0.5, half_width, 0.5)))
    seen = boxes.crops.transform(to_picture, plane) * SIZE[::-1]
    return jax.device_get(plates), tuple(map(tuple, seen.tolist()))


@pytest.mark.parametrize(
    "name", ["taiwan_old", "china_blue", "china_green", "china_yellow_two_row"]
)
def test_error_on_rendered_plates(name, monkeypatch):
    style = styles.STYLES[name]
    # The built-in fonts have no provinces, and geometry does not care what stands in a box.
    style = dataclasses.replace(style, alphabets={**style.alphabets, "P": "A"}, linked="")
    plates, corners = render_seen_from(style, 64, monkeypatch)
    overlaps = []
    for ids, true in zip(plates["characters"], plates["position"], strict=True):
        text = TAIWAN.decode(ids)
        estimate = boxes.estimate_characters(style, text, corners)
        assert len(estimate) == len(text)
        _, position = pipeline.draw_maps(np.array(estimate), ids, SIZE, len(TAIWAN), 8)
        for place in range(len(text)):
            both = ((position == place) & (true == place)).sum()
            overlaps.append(both / ((position == place) | (true == place)).sum())
    print(f"{name}: IoU {np.mean(overlaps):.3f}, worst tenth {np.quantile(overlaps, 0.1):.3f}")
    assert np.mean(overlaps) > 0.74
    assert np.quantile(overlaps, 0.1) > 0.56


def test_pattern_is_the_most_frequent_that_can_write_the_text():
    match = functools.partial(boxes.match_pattern, styles.STYLES["china_blue"])
    assert match("皖A12345") == "PC·99999"
    assert match("皖AB234C") == "PC·A999A"
    assert match("皖ABCD45") == "PA·XXXXX"
    assert match("A皖12345") is None
    assert match("皖A1234") is None


def test_only_plates_that_need_and_allow_it_get_boxes():
    corners = box_corners((0.0, 0.0, 440.0, 140.0))
    plain = Plate(b"", "plain", "train", "皖A12345", corners=corners)
    known = Plate(b"", "known", "train", "皖A", corners=corners, characters=(corners, corners))
    nowhere = Plate(b"", "nowhere", "train", "皖A12345")
    foreign = Plate(b"", "foreign", "train", "AB12", corners=corners)
    chinese = [styles.STYLES["china_green"], styles.STYLES["china_blue"]]
    upright = Plate(b"", "upright", "train", "皖A12345", box=(0.0, 0.0, 440.0, 140.0))
    first, second, *rest = boxes.add_characters([plain, upright, known, nowhere, foreign], chinese)
    assert second.characters == first.characters  # of a plate that is not tilted
    assert rest == [known, nowhere, foreign]
    assert len(first.characters) == 7
    left_edges = [character[0][0] for character in first.characters]
    assert left_edges == sorted(left_edges)
    widths = [character[1][0] - character[0][0] for character in first.characters]
    assert widths == pytest.approx([45] * 7)


def test_a_plate_that_fills_its_image_has_the_images_corners():
    file = io.BytesIO()
    Image.new("RGB", (220, 70)).save(file, "JPEG")
    (found,) = boxes.add_characters(
        [Plate(file.getvalue(), "crop", "train", "皖A12345")], [styles.STYLES["china_blue"]]
    )
    widths = [character[1][0] - character[0][0] for character in found.characters]
    assert widths == pytest.approx([22.5] * 7)


def test_boxes_come_from_the_style_of_the_plates_shape():
    """The same text in one row and in two; the order of the styles does not matter."""
    names = ["china_blue", "china_yellow_two_row"]
    for order in (names, names[::-1]):
        for shape, rows in (((440.0, 140.0), 1), ((440.0, 220.0), 2)):
            plate = Plate(b"", "plate", "train", "皖A12345", box=(0.0, 0.0, *shape))
            (found,) = boxes.add_characters([plate], [styles.STYLES[name] for name in order])
            assert len({character[0][1] for character in found.characters}) == rows

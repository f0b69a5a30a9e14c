"""The glyph atlas: shapes, distances, folders of glyph images, and what it refuses."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hpa_jax.charset import CHINA, TAIWAN
from hpa_jax.data import glyphs


def ink(distance: np.ndarray) -> np.ndarray:
    return distance[..., glyphs.PAD : -glyphs.PAD, glyphs.PAD : -glyphs.PAD] > 0


def test_every_built_in_font_has_distinct_letters_that_fill_their_box():
    atlas = glyphs.make_atlas(TAIWAN.characters + "IO")
    assert set(atlas.names) == set(glyphs.BUILT_IN)
    assert atlas.distance.shape[:2] == (len(atlas.names), 36)
    assert atlas.distance.shape[2:] == (glyphs.BOX[0] + 16, glyphs.BOX[1] + 16)
    for font in ink(atlas.distance):
        assert font.any(axis=2)[:, [1, -2]].all(), "a glyph does not reach from top to bottom"
        different = (font[:, None] != font[None]).mean(axis=(2, 3))
        assert (different + np.eye(36)).min() > 0.02, "two characters look the same"


def test_signed_distance_is_euclidean_on_both_sides():
    masks = np.zeros((1, 40, 20), bool)
    masks[0, 10:30, 5:15] = True
    distance = glyphs.signed_distance(masks)[0] * 40
    row, column = 20 + glyphs.PAD, 10 + glyphs.PAD
    assert distance[row, column] == pytest.approx(4.5)  # to the right edge, from a pixel's centre
    assert distance[row, column + 8] == pytest.approx(-3.5)
    assert distance[33 + glyphs.PAD, 18 + glyphs.PAD] == pytest.approx(0.5 - np.hypot(4, 4))


def test_missing_characters_are_named_with_what_to_pass():
    with pytest.raises(ValueError, match=r"皖.*pillow.*\.ttf.*140_X"):
        glyphs.make_atlas(CHINA.characters)
    with pytest.raises(ValueError, match="nowhere.ttf"):
        glyphs.make_atlas("AB", ["nowhere.ttf"])


def test_a_character_of_which_no_ink_is_left_counts_as_missing(monkeypatch):
    class Hairlines:
        def getmask(self, character, mode="L"):
            return Image.new("L", (40, 80), {"A": 100, "B": 200}.get(character, 0)).im

    monkeypatch.setattr(glyphs.ImageFont, "truetype", lambda *_: Hairlines())
    with pytest.raises(ValueError, match="no glyph for 'A' in thin.ttf"):
        glyphs.make_atlas("AB", ["thin.ttf"])


def draw_folder(folder, names):
    for i, name in enumerate(names):
        image = Image.new("L", (45, 90), 255)
        ImageDraw.Draw(image).rectangle((4, 4 + 9 * i, 40, 12 + 9 * i), fill=0)
        image.save(folder / f"{name}.png")


def test_folder_gives_a_font_a_row_and_the_others_fill_its_gaps(tmp_path):
    draw_folder(tmp_path, ["140_皖", "140_A", "220_皖", "220_up_A", "220_down_A"])
    with pytest.warns(UserWarning) as told:
        atlas = glyphs.make_atlas("皖A7", [tmp_path, "gothic"])
    said = [str(warning.message) for warning in told]
    alone = "and rows in 140 are written in no other"
    assert f"fonts: 140 lacks 7: taken from another font, {alone}" in said
    assert "fonts: gothic lacks 皖: taken from another font" in said
    assert atlas.names == ("140", "220_up", "220_down", "gothic")
    drawn = ink(atlas.distance)
    assert drawn[0, 0, 8].any() and not drawn[0, 0, 40:].any()
    assert not np.array_equal(drawn[1, 1], drawn[2, 1])
    np.testing.assert_array_equal(drawn[0, 2], drawn[3, 2])  # the folder has no 7
    np.testing.assert_array_equal(drawn[3, 0], drawn[0, 0])  # gothic has no 皖
    assert glyphs.fonts_for(atlas.names, "220_up") == [1]
    assert glyphs.fonts_for(atlas.names, "green") == [3]


def test_folder_without_glyphs_is_refused(tmp_path):
    (tmp_path / "font_model").mkdir()  # one level below
    with pytest.raises(ValueError, match="no glyph images.*; it holds font_model$"):
        glyphs.make_atlas("A", [tmp_path])
    draw_folder(tmp_path, ["150_A"])
    with pytest.raises(ValueError, match="no glyph images.*; it holds 150_A.png, font_model"):
        glyphs.make_atlas("A", [tmp_path])


def test_glyph_images_are_known_in_any_spelling_and_others_are_named(tmp_path):
    draw_folder(tmp_path, ["140_A\u0308", "140_b", "140_OE"])  # as macOS spells Ä
    with pytest.warns(UserWarning, match="left out: 140_OE.png"):
        atlas = glyphs.make_atlas("ÄB", [tmp_path])
    assert ink(atlas.distance)[0].any(axis=(1, 2)).all()


@pytest.mark.parametrize("shade", [0, 255])
def test_blank_glyphs_are_refused(tmp_path, shade):
    Image.new("L", (48, 96), shade).save(tmp_path / "140_A.png")
    with pytest.raises(ValueError, match="140_A.png is blank"):
        glyphs.make_atlas("A", [tmp_path])


def test_characters_that_a_font_draws_alike_are_named(tmp_path):
    draw_folder(tmp_path, ["140_皖", "140_A"])
    for twin in "0O":
        draw_folder(tmp_path, [f"140_{twin}"])
    with pytest.warns(UserWarning) as told:
        glyphs.make_atlas("皖A0O", [tmp_path])
    assert [str(warning.message) for warning in told] == ["fonts: 140 draws 皖, 0, O alike"]


def test_narrow_glyphs_stay_narrow():
    ink = glyphs.make_atlas("01BH", ["pillow"]).distance[0] > 0
    assert ink[1].any(axis=0).sum() < 0.8 * ink[3].any(axis=0).sum()

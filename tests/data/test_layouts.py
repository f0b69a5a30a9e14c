"""Styles as tables: what is drawn how often, and in which colours."""

import numpy as np
import pytest

from hpa_jax.charset import CHINA, GREECE, TAIWAN
from hpa_jax.data.layouts import compile_layouts
from hpa_jax.data.styles import STYLES


def test_styles_are_drawn_as_often_as_they_weigh_whatever_their_patterns():
    styles = [STYLES["taiwan_old"], STYLES["taiwan_new"]]
    _, odds = compile_layouts(styles, TAIWAN, 7, ["font"], [1, 3])
    first = len(styles[0].patterns)
    assert (odds[:first].sum(), odds[first:].sum()) == (pytest.approx(1), pytest.approx(3))
    patterns = np.array(list(styles[0].patterns.values()))
    np.testing.assert_allclose(odds[:first], patterns / patterns.sum(), rtol=1e-6)
    _, odds = compile_layouts(styles, TAIWAN, 7, ["font"], [1, 0])
    assert odds[:first].all() and not odds[first:].any()
    with pytest.raises(ValueError, match="weights: 2 numbers, none negative, are needed: .0, 0"):
        compile_layouts(styles, TAIWAN, 7, ["font"], [0, 0])


@pytest.mark.parametrize(("name", "charset"), [("china_green", CHINA), ("greece", GREECE)])
def test_colours_and_decals_are_those_of_the_style(name, charset):
    style = STYLES[name]
    layout, _ = compile_layouts([style], charset, 8, ["font"], None)
    weights = np.array([palette.weight for palette in style.palettes])
    np.testing.assert_allclose(layout.palette_odds[0], np.cumsum(weights / weights.sum()))
    tops = [palette.top or palette.ground for palette in style.palettes]
    np.testing.assert_allclose(layout.grounds[0, :, 0] * 255, tops, rtol=1e-6)
    grounds = [palette.ground for palette in style.palettes]
    np.testing.assert_allclose(layout.grounds[0, :, 1] * 255, grounds, rtol=1e-6)
    shown = [decal.probability for decal in style.decals]
    np.testing.assert_allclose(layout.decal_odds[0], [*shown, 0.0])
    kinds = {"china_green": [(1, 1)], "greece": [(1, 0), (1, 1)]}  # own colours of ground and ink
    np.testing.assert_array_equal(layout.decal_shows[0], [*kinds[name], (0, 0)])


def test_lengths_are_in_plate_heights_from_the_middle():
    """Of 320×150 mm, with bolts 82 mm from the middle and 20 and 14 from the edges."""
    layout, _ = compile_layouts([STYLES["taiwan_old"]], TAIWAN, 7, ["font"], None)
    assert layout.half_width[0] == pytest.approx(160 / 150)
    assert layout.corner[0] == pytest.approx(8 / 150)
    np.testing.assert_allclose(layout.bolts[0], [82 / 150, -55 / 150, 61 / 150], rtol=1e-6)
    (greek,) = compile_layouts([STYLES["greece"]], GREECE, 8, ["font"], None)[0].border[:1]
    np.testing.assert_allclose(greek, [3 / 112, 3 / 112], rtol=1e-6)

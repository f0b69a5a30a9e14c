"""Rendered plates: what they say, and that their maps lie on what is drawn."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from PIL import Image, ImageDraw

from hpa_jax.charset import CHINA, DIGITS, GREECE, LETTERS, TAIWAN, Charset
from hpa_jax.data import synthetic
from hpa_jax.data.plate_style import Decal, Palette, Row
from hpa_jax.data.styles import STYLES

TAIWANESE = [
    style for name, style in STYLES.items() if name.startswith("taiwan") and name[-2:] != "_i"
]
CHARSETS = {"china": CHINA, "greece": GREECE, "taiwan": Charset(TAIWAN.characters + "I")}

BLACK_ON_WHITE = (Palette((255, 255, 255), (0, 0, 0)),)


def render(styles, charset=TAIWAN, num_characters=7, count=48, only=None, **options):
    """A batch of plates, or one of its arrays (which leaves the rest uncompiled: much faster)."""
    plate = jax.vmap(synthetic.make_renderer(styles, charset, num_characters, **options))
    compiled = jax.jit(lambda keys: plate(keys)[only] if only else plate(keys))
    return jax.device_get(compiled(jax.random.split(jax.random.key(0), count)))


@pytest.fixture(scope="module")
def renderer():
    """A compiled renderer of 48 Taiwanese plates of all kinds, with all effects."""
    plate = jax.jit(jax.vmap(synthetic.make_renderer(TAIWANESE, TAIWAN, 7)))
    return lambda seed: jax.device_get(plate(jax.random.split(jax.random.key(seed), 48)))


@pytest.fixture(scope="module")
def real(renderer):
    return renderer(0)


def matches(style, text: str) -> bool:
    """Whether a text is one that a style's patterns allow."""
    for pattern in style.patterns:
        symbols = [symbol for symbol in pattern if symbol not in "-· /"]
        if re.fullmatch("".join(f"[{style.alphabets[symbol]}]" for symbol in symbols), text):
            return True
    return False


@pytest.mark.parametrize(
    ("name", "pattern", "edges"),
    [
        ("china_blue", "PC·99999", (15.5, 72.5, 151.5, 208.5, 265.5, 322.5, 379.5)),
        ("china_yellow", "PC·99999", (15.5, 72.5, 151.5, 208.5, 265.5, 322.5, 379.5)),
        ("china_green", "PC E99999", (16.5, 68.5, 160.5, 212.5, 264.5, 316.5, 368.5, 420.5)),
        ("china_yellow_two_row", "P·C/99999", (110, 250, 27.5, 107.5, 187.5, 267.5, 347.5)),
    ],
)
def test_characters_stand_where_the_standard_has_them(name, pattern, edges):
    """GA 36: on Chinese plates 34 mm between the second and the third, on green ones 49."""
    placed = STYLES[name].place(pattern)
    assert tuple(box[0] for box in placed.boxes) == edges
    margin = min(edges)
    assert placed.boxes[-1][2] == STYLES[name].size[0] - margin


@pytest.mark.parametrize(
    ("name", "pattern", "box"),
    [
        ("china_blue", "PC·99999", (129.5, 65, 139.5, 75)),
        ("taiwan_new", "AAA·9999", (160.1, 81, 170.1, 91)),
        ("greece", "AAA-9999", (228.265, 52.612, 236.735, 59.388)),
    ],
)
def test_dots_and_hyphens_are_between_their_neighbours(name, pattern, box):
    """Dots of 10 mm (GA 36), hyphens 0.11 of a character's height wide."""
    np.testing.assert_allclose(STYLES[name].place(pattern).separators, [box])


def test_rows_stand_where_the_standard_has_them():
    """GA 36: two rows from 15 to 75 and from 90 to 200 mm of 220."""
    rows = {box[1::2] for box in STYLES["china_yellow_two_row"].place("P·C/99999").boxes}
    assert rows == {(15, 75), (90, 200)}


def test_batch_layout(real):
    shapes = {key: (value.shape, value.dtype.name) for key, value in real.items()}
    assert shapes == {
        "image": ((48, 50, 160, 3), "uint8"),
        "characters": ((48, 7), "int32"),
        "semantic": ((48, 50, 160), "uint8"),
        "position": ((48, 50, 160), "uint8"),
        "has_maps": ((48,), "bool"),
        "weight": ((48,), "float32"),
    }
    assert real["has_maps"].all() and (real["weight"] == 1).all()


def test_a_key_decides_the_plate(real, renderer):
    jax.tree.map(np.testing.assert_array_equal, real, renderer(0))
    other = renderer(1)
    for i in range(48):
        assert not np.array_equal(real["image"][i], other["image"][i])


@pytest.mark.parametrize("name", STYLES)
def test_texts_follow_the_patterns_and_short_ones_end_in_void(name, glyph_folder):
    charset = CHARSETS[name.partition("_")[0]]
    fonts = [glyph_folder] if charset is CHINA else []
    characters = render([STYLES[name]], charset, 8, fonts=fonts, only="characters")
    texts = [charset.decode(ids) for ids in characters]
    assert all(matches(STYLES[name], text) for text in texts)
    assert len(set(texts)) > 40
    for text, ids in zip(texts, characters, strict=True):
        np.testing.assert_array_equal(charset.encode(text, 8), ids)


def test_linked_symbols_are_drawn_together():
    pairs = {"P": "AABBC", "Q": "12345"}
    style = dataclasses.replace(
        STYLES["taiwan_new"],
        patterns={"9P-Q": 1},
        alphabets={**pairs, "9": DIGITS},
        linked="PQ",
    )
    texts = [TAIWAN.decode(ids) for ids in render([style], only="characters")]
    assert {text[1:] for text in texts} == {"A1", "A2", "B3", "B4", "C5"}
    assert len({text[0] for text in texts}) > 5


def test_taiwanese_numbers_since_2012_skip_the_4():
    without = {style.name for style in TAIWANESE if "4" not in style.alphabets["9"]}
    assert without == {"taiwan_new", "taiwan_scooter"}


@pytest.mark.parametrize("name", [name for name in STYLES if name.startswith("china")])
def test_chinese_plates_are_those_that_are_issued(name, glyph_folder):
    """Cities belong to their provinces and serials have at most two letters, but for a few."""
    characters = render([STYLES[name]], CHINA, 8, 256, "characters", fonts=[glyph_folder])
    texts = [CHINA.decode(ids) for ids in characters]
    alphabets = STYLES[name].alphabets
    issued = {"".join(pair) for pair in zip(alphabets["P"], alphabets["C"], strict=True)}
    assert "冀T" in issued and "皖T" not in issued
    assert len(issued) < 31 * 24
    odd = [t for t in texts if t[:2] not in issued or sum(c in LETTERS for c in t[2:]) > 2]
    assert len(odd) < 0.12 * len(texts)


@pytest.fixture(scope="module")
def glyph_folder(tmp_path_factory):
    """A glyph folder in which every province is a bar with a hole."""
    folder = tmp_path_factory.mktemp("glyphs")
    for i, character in enumerate(CHINA.characters):
        image = Image.new("L", (20, 40), 255)
        ImageDraw.Draw(image).rectangle((2, 2, 17, 37), fill=0)
        image.putpixel((4 + i % 10, 4 + 2 * (i // 10)), 255)
        image.save(folder / f"140_{character}.png")
    return folder


def test_maps_agree_with_the_characters_and_each_other(real):
    for characters, semantic, position in zip(
        real["characters"], real["semantic"], real["position"], strict=True
    ):
        used = characters != TAIWAN.void
        assert set(np.unique(position)) - {7} <= set(np.flatnonzero(used))
        expected = np.append(characters, len(TAIWAN))[position]
        np.testing.assert_array_equal(semantic, expected)
    shown = [len(set(np.unique(p)) - {7}) for p in real["position"]]
    assert np.mean(np.equal(shown, (real["characters"] != TAIWAN.void).sum(axis=1))) > 0.9


@pytest.mark.parametrize(("name", "realism"), [("taiwan_new", 0.4), ("taiwan_two_row", 0.0)])
def test_ink_lies_in_the_boxes(name, realism):
    """All dark pixels of a plain plate are in boxes; each box has some."""
    style = dataclasses.replace(STYLES[name], palettes=BLACK_ON_WHITE)
    batch = render([style], count=16, realism=realism)
    for image, position in zip(batch["image"], batch["position"], strict=True):
        core = np.s_[8:-8, 8:-8] if realism else np.s_[3:-3, 3:-3]
        grey, position = image.mean(axis=2)[core], position[core]
        in_boxes = position < 7
        if realism == 0:
            assert grey[~in_boxes].min() > 90, "ink outside the boxes"
            for place in np.unique(position[in_boxes]):
                assert grey[position == place].min() < 90, "a box without ink"
        else:
            assert grey[in_boxes].mean() < grey[~in_boxes].mean()


def test_the_glyph_in_a_box_is_its_character():
    """With no warp, the picture in each box is the one that another plate has for the character."""
    style = dataclasses.replace(STYLES["taiwan_new"], palettes=BLACK_ON_WHITE)
    batch = render([style], count=64, realism=0.0, fonts=["gothic"])
    seen = {}
    for image, characters, position in zip(
        batch["image"], batch["characters"], batch["position"], strict=True
    ):
        rows, columns = np.nonzero(position == 1)
        if (characters == TAIWAN.void).any():
            continue
        ink = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].mean(axis=2)
        seen.setdefault(int(characters[1]), []).append(ink)
    repeated = {k: v for k, v in seen.items() if len(v) > 1}
    assert len(repeated) > 5
    for character, pictures in repeated.items():
        others = [v[0] for k, v in seen.items() if k != character]
        own = np.abs(pictures[0] - pictures[1]).mean()
        assert own < min(np.abs(pictures[0] - other).mean() for other in others)


def test_two_rows_are_in_reading_order():
    positions = render([STYLES["taiwan_two_row"]], count=16, realism=0.0, only="position")
    for position in positions:
        places = np.unique(position[position < 7])
        centres = [np.argwhere(position == i).mean(axis=0) for i in places]
        assert len(centres) >= 5
        order = sorted(range(len(centres)), key=lambda i: (centres[i][0] > 25, centres[i][1]))
        assert order == list(range(len(centres)))
        assert centres[0][0] < 25 < centres[-1][0]


def test_pictures_are_varied_and_mostly_readable_in_contrast(real):
    grey = real["image"].mean(axis=3)
    assert grey.mean(axis=(1, 2)).std() > 20
    contrast = [np.ptp(np.percentile(g, [3, 97])) for g in grey]
    assert np.mean(np.array(contrast) > 40) > 0.9


def test_weights_choose_the_styles():
    styles = [STYLES["taiwan_old"], STYLES["taiwan_new"]]
    characters = render(styles, weights=[1, 0], only="characters")
    assert all(len(TAIWAN.decode(ids)) == 6 for ids in characters)


@pytest.mark.parametrize(
    ("styles", "charset", "num_characters", "options", "message"),
    [
        (["taiwan_new"], TAIWAN, 6, {}, "'taiwan_new'.*'AAA·9999' has 7.*num_characters is 6"),
        (["greece"], TAIWAN, 7, {}, "'greece'.*'IO' are not in the charset"),
        ([], TAIWAN, 7, {}, "at least one"),
        (["greece"], GREECE, 7, {"weights": [1, 2]}, "weights: 1 numbers"),
        (["greece"], GREECE, 7, {"cut": 1.5}, "cut 1.5: is a share, from 0 to 1"),
        (["greece"], Charset(DIGITS + LETTERS + "IO皖"), 7, {}, "皖"),
    ],
)
def test_what_does_not_fit_is_refused(styles, charset, num_characters, options, message):
    with pytest.raises(ValueError, match=message):
        synthetic.make_renderer([STYLES[s] for s in styles], charset, num_characters, **options)


def test_what_is_compiled_lies_on_no_device():
    """Or an accelerator's tables would be fetched for it, which its transfer guard refuses."""
    render = synthetic.make_renderer([STYLES["taiwan_new"]], TAIWAN, 7)
    constants = jax.make_jaxpr(render)(jax.random.key(0)).consts
    assert constants and not [c for c in constants if isinstance(c, jax.Array)]


def test_a_tpu_renders_in_float32():
    render = jax.jit(synthetic.make_renderer(TAIWANESE, TAIWAN, 7))
    text = render.trace(jax.random.key(0)).lower(lowering_platforms=("tpu",)).as_text()
    assert set(re.findall(r"precision = \[(\w+)", text)) == {"HIGHEST"}


def test_clean_plates_have_the_decals_of_their_style():
    badge = Decal((150, 132, 230, 152), ground=(255, 0, 0))
    style = dataclasses.replace(STYLES["taiwan_new"], decals=(badge,), palettes=BLACK_ON_WHITE)
    images = render([style], count=8, realism=0.0, only="image").astype(int)
    red = (images[..., 0] - images[..., 1]) > 100
    assert (red.sum(axis=(1, 2)) > 50).all()


@pytest.mark.parametrize(
    ("little", "much"), [({"loose": 0.0}, {"loose": 1.5}), ({"tilt": 0.0}, {"tilt": 1.5})]
)
def test_loose_crops_and_tilted_plates_show_smaller_characters(little, much):
    plain = dataclasses.replace(STYLES["taiwan_new"], patterns={"AAA-9999": 1})
    sizes = []
    for options in (little, much):
        position = render([plain], count=32, only="position", **options)
        sizes.append((position < 7).mean())
    assert sizes[1] < 0.8 * sizes[0]


def test_a_row_may_stand_beside_the_middle():
    """As on European plates, beside the blue band."""
    style = STYLES["taiwan_new"]
    (row,) = style.rows
    moved = dataclasses.replace(style, rows=(dataclasses.replace(row, x=style.size[0] / 2 + 7),))
    for pattern in style.patterns:
        middle, beside = style.place(pattern).boxes, moved.place(pattern).boxes
        assert np.allclose(np.subtract(beside, middle), [7, 0, 7, 0])


def test_cut_plates_keep_the_text_that_they_no_longer_show():
    plain = dataclasses.replace(STYLES["taiwan_new"], patterns={"AAA-9999": 1})
    options = {"count": 32, "tilt": 0.0}
    whole, cut = (render([plain], only="position", cut=share, **options) for share in (0.0, 1.0))
    shown = [[len(np.unique(p[p < 7])) for p in batch] for batch in (whole, cut)]
    assert min(shown[0]) == 7 and 4 <= sum(n < 7 for n in shown[1]) < 32  # half at a short side
    assert (render([plain], only="characters", cut=1.0, **options) < TAIWAN.void).all()


@pytest.mark.parametrize("name", ["realism", "loose", "tilt"])
def test_options_below_nothing_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} -1: must not be negative"):
        synthetic.make_renderer(TAIWANESE, TAIWAN, 7, **{name: -1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patterns": {"AAA-99?": 1}}, r"'\?' in 'AAA-99\?' is none of 'A', '9'"),
        ({"patterns": {"AAA/999": 1}}, "'AAA/999' has 2 rows, but the style has 1"),
        ({"patterns": {"AAAA-99999": 1}}, "'AAAA-99999' is .* wide .* the plate's 380×160"),
        ({"size": (380, 90)}, "from 42.25 to 129.75 high, beyond the plate's 380×90"),
        ({"patterns": ("AAA-999",)}, "patterns must be a dict"),
        ({"rows": STYLES["greece"].rows[0]}, r"rows must be a tuple of Row, as \(Row\(…\),\)"),
        ({"palettes": ()}, "palettes: at least one"),
        ({"decals": [Decal((0, 0, 1, 1))]}, "decals must be a tuple of Decal"),
        ({"patterns": {"AAA-9999": 0}}, "weights of patterns and palettes must be numbers more"),
        ({"palettes": (Palette((1, 2, 3), (0, 0, 0), "1"),)}, "weights .* must be numbers more"),
        ({"size": ("380", 160)}, r"size must be 2 numbers, not \('380', 160\)"),
        ({"size": (-380, 160)}, "sizes of the plate .* must be numbers more than 0"),
        ({"border": 3}, "border must be 2 numbers, not 3"),
        ({"bolts": (10, 20)}, r"bolts must be 3 numbers, not \(10, 20\)"),
        ({"rows": (Row(80, 50, 5, 20),)}, "character of a row must be 2 numbers, not 50"),
        ({"rows": (Row("a", (45, 90), 5, 20),)}, "y, gap, separator and x of a row must be 4"),
        ({"decals": (Decal((0, 0, 1)),)}, r"box of a decal must be 4 numbers, not \(0, 0, 1\)"),
        ({"patterns": {"": 1}}, "pattern '' has no characters"),
        ({"linked": "Q"}, "linked: 'Q' has no alphabet"),
        ({"stickers": 5}, "stickers, .* must be numbers from 0 to 1"),
        ({"palettes": (Palette((300, 0, 0), (0, 0, 0)),)}, r"colour \(300, 0, 0\) must be red"),
        ({"decals": (Decal((90, 0, 10, 9)),)}, r"decal \(90, 0, 10, 9\) must be left, top"),
        ({"rows": (Row(80, (45, 90), 5, 20, "gothik"),)}, "'gothik'} of a row must be among"),
        ({"rows": (Row(80, (45, 90), 5, 20, x=40),)}, "beyond the plate's"),
        ({"rows": (Row(80, (45, 90), 5, 20, x=340),)}, "beyond the plate's"),
        ({"alphabets": {"A": "AB", "9": ""}}, "alphabets: '9' cannot stand for ''"),
        ({"alphabets": ("AB", "123")}, "alphabets must be a dict of characters"),
        ({"alphabets": {"A": "AB", "9": 123}}, "alphabets: '9' cannot stand for 123"),
        ({"palettes": (Palette(None, (0, 0, 0)),)}, "colour None must be red, green and blue"),
        ({"palettes": (Palette((9, 9, 9), (0, 0, 0), top=()),)}, r"colour \(\) must be red"),
        ({"decals": (Decal((0, 0, 9, 9), ground=255),)}, "colour 255 must be red"),
        ({"alphabets": {"A": "AB", "9": "123"}, "linked": "A9"}, "of 'A9' differ in length"),
    ],
)
def test_style_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^style 'taiwan_new': .*{message}"):
        dataclasses.replace(STYLES["taiwan_new"], **change)


def plain_style(**changes):
    bare = {"palettes": BLACK_ON_WHITE, "patterns": {"AAA 9999": 1}, "decals": (), "border": (4, 0)}
    return dataclasses.replace(STYLES["taiwan_new"], **bare | changes)


def test_palettes_are_painted_as_often_as_they_weigh_and_shaded_from_the_top():
    palettes = (
        Palette((0, 0, 200), (0, 0, 0), 3, top=(200, 0, 0)),
        Palette((0, 200, 0), (0, 0, 0)),
    )
    style = plain_style(palettes=palettes)
    images = render([style], count=64, realism=0.0, only="image").astype(int)
    green = images[..., 1].mean(axis=(1, 2)) > 80
    assert 6 <= green.sum() <= 26  # a quarter
    red = images[~green, ..., 0]
    assert red[:, :12].mean() > 2 * red[:, -12:].mean()


def test_hyphens_and_borders_are_painted():
    changes = {"A": {}, "B": {"patterns": {"AAA-9999": 1}}, "C": {"border": (8, 6)}}
    styles = [plain_style(alphabets={"A": a, "9": DIGITS}, **changes[a]) for a in changes]
    batch = render(styles, count=12, realism=0.0, loose=0.0)
    within = np.s_[:, 3:-3, 3:-3]
    dark = (batch["image"].mean(axis=-1) < 90)[within] & (batch["position"] == 7)[within]
    written = np.array([TAIWAN.decode(ids)[0] for ids in batch["characters"]])
    bare, hyphen, border = (dark[written == a].sum(axis=(1, 2)).mean() for a in changes)
    assert hyphen > bare + 2 and border > bare + 20


def test_plates_are_written_in_every_font():
    style = plain_style(alphabets={"A": "A", "9": "5"})
    batch = render([style], count=16, realism=0.0, fonts=["gothic", "pillow"])
    inked = [
        (image.mean(axis=-1) < 128)[position < 7].mean()
        for image, position in zip(batch["image"], batch["position"], strict=True)
    ]
    assert np.ptp(inked) > 0.02

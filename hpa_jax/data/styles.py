"""Plate styles as data: what is written on a plate, where, and in which colours.

Lengths are in millimetres from the plate's top left corner. To add a style, add an entry to
`STYLES`; the renderer needs no change.
"""

import dataclasses
import itertools

from hpa_jax.charset import DIGITS, GREEK_LETTERS, LETTERS, PROVINCES
from hpa_jax.data.plate_style import Box, Decal, Palette, PlateStyle, Row

WHITE, BLACK, RED, BLUE = (236, 236, 232), (22, 22, 24), (196, 30, 36), (10, 50, 165)
GREEN, YELLOW = (14, 128, 78), (240, 172, 16)

_LATIN = {"A": LETTERS, "9": DIGITS}
_TAIWAN = {**_LATIN, "M": "MN", "E": "E", "X": DIGITS + LETTERS}
_TAIWAN_NEW = _TAIWAN | {"9": DIGITS.replace("4", "")}  # plates since 2012 have no digit 4

# The second character of a Chinese plate stands for its city: those in use (lists of 2007 to 2024).
_CITIES = {
    "京": "ABCDEFGHJKLMNPQRVY",
    "沪": "ABCDEFGHJKLMNR",
    "津": "ABCDEFGHJKLMNPQR",
    "渝": "ABCDFGH",
    "冀": "ABCDEFGHJRST",
    "晋": "ABCDEFHJKLM",
    "蒙": "ABCDEFGHJKLM",
    "辽": "ABCDEFGHJKLMNPV",
    "吉": "ABCDEFGHJK",
    "黑": "ABCDEFGHJKLMNPR",
    "苏": "ABCDEFGHJKLMNU",
    "浙": "ABCDEFGHJKL",
    "皖": "ABCDEFGHJKLMNPQRS",
    "闽": "ABCDEFGHJK",
    "赣": "ABCDEFGHJKLMS",
    "鲁": "ABCDEFGHJKLMNPQRSUVWY",
    "豫": "ABCDEFGHJKLMNPQRSUV",
    "鄂": "ABCDEFGHJKLMNPQRSW",
    "湘": "ABCDEFGHJKLMNSU",
    "粤": "ABCDEFGHJKLMNPQRSTUVWXYZ",
    "桂": "ABCDEFGHJKLMNPR",
    "琼": "ABCDEF",
    "川": "ABCDEFGHJKLMQRSTUVWXYZ",
    "贵": "ABCDEFGHJ",
    "云": "ACDEFGHJKLMNPQRSV",
    "藏": "ABCDEFGHJ",
    "陕": "ABCDEFGHJKUV",
    "甘": "ABCDEFGHJKLMNP",
    "青": "ABCDEFGH",
    "宁": "ABCDE",
    "新": "ABCDEFGHJKLMNPQRS",
}
# Provinces are equally frequent. So are the cities of a province, apart from the first ones.
_AREAS = [(p, c) for p in PROVINCES for c in itertools.islice(itertools.cycle(_CITIES[p]), 24)]
_CHINA = {
    "P": "".join(province for province, _ in _AREAS),
    "C": "".join(city for _, city in _AREAS),
    "A": LETTERS,
    "9": DIGITS,
    "X": DIGITS + LETTERS,
    "E": "DF" * 5 + "ABCEGHJK",  # electric, and hybrid or fuel cells
}
# At most two of the five characters after it are letters (GA 36-2018).
_SERIALS = ["".join(s) for s in itertools.product("A9", repeat=5) if s.count("A") <= 2]
_CHINA_PATTERNS = {f"PC·{serial}": 1 for serial in _SERIALS} | {"PA·XXXXX": 0.4, "PAXXXXX": 0.4}

_TAIWAN_PALETTES = (
    Palette(WHITE, BLACK, 20),
    Palette(WHITE, RED, 0.7),
    Palette(WHITE, GREEN, 0.5),
    Palette((214, 232, 222), (20, 46, 40), 1),
    Palette(GREEN, WHITE, 1.5),
    Palette(YELLOW, BLACK, 0.5),
    Palette(RED, WHITE, 0.5),
)
_BLOSSOMS = Decal((62, 128, 258, 140), 3, ink=(176, 190, 206), probability=0.5)
_DEALER = Decal((70, 130, 250, 146), 14, ink=(60, 70, 110), probability=0.25)


def _region(box: Box, probability: float = 0.25) -> Decal:
    """The small line above the number: a province, a city, a class of vehicle."""
    return Decal(box, 3, probability=probability)


_TAIWAN_OLD = PlateStyle(
    name="taiwan_old",
    size=(320, 150),
    patterns={"9999·AA": 3, "AA·9999": 4, "A9·9999": 2, "9A·9999": 2, "9999·A9": 1.5}
    | {"9999·9A": 1, "XX·9999": 0.5, "9999·XX": 0.5}
    | {"A1·9999": 1.5, "1A·9999": 0.5},  # between two slots a 1 looks like an I: to be learned
    rows=(Row(81.5, (44.5, 89.5), 5.6, 9.4, "gothic_old"),),
    palettes=_TAIWAN_PALETTES,
    alphabets=_TAIWAN | {"1": "1"},
    stickers=0.22,
    bolts=(82, 20, 14),
    decals=(_region((105, 10, 215, 32), 0.6), _DEALER),
)

_MOTORCYCLE = PlateStyle(
    name="taiwan_motorcycle",
    size=(300, 150),
    patterns={"999·AAA": 6, "AAA·999": 3, "A9A·999": 1, "AA9·999": 0.6, "A99·999": 0.6}
    | {"9AA·999": 0.4, "999·AA9": 0.4, "XXX·999": 0.5, "999·XXX": 0.5, "999·AA": 0.2},
    rows=(Row(88.5, (38.5, 70), 5.7, 12.7, "gothic_old"),),
    palettes=_TAIWAN_PALETTES,
    alphabets=_TAIWAN,
    stickers=0.22,
    bolts=(68, 22, 14),
    decals=(
        _region((95, 12, 205, 36)),
        dataclasses.replace(_DEALER, box=(50, 126, 250, 142)),
    ),
)

STYLES = {
    "taiwan_old": _TAIWAN_OLD,
    "taiwan_new": PlateStyle(
        name="taiwan_new",
        size=(380, 160),
        patterns={"AAA·9999": 1, "AAA·999": 0.1},
        rows=(Row(86, (44.5, 87.5), 5.3, 10, "gothic_flat"),),
        palettes=_TAIWAN_PALETTES,
        alphabets=_TAIWAN_NEW,
        stickers=0.22,
        bolts=(96, 20, 14),
        decals=(_BLOSSOMS, _DEALER),
    ),
    "taiwan_scooter": PlateStyle(
        name="taiwan_scooter",
        size=(300, 150),
        patterns={"MAA·9999": 3, "AAA·9999": 2, "EAA·9999": 0.6},
        rows=(Row(77.6, (32.8, 69.5), 5.2, 8.5, "gothic_flat"),),
        palettes=_TAIWAN_PALETTES,
        alphabets=_TAIWAN_NEW,
        stickers=0.22,
        bolts=(68, 22, 14),
        decals=(
            dataclasses.replace(_BLOSSOMS, box=(50, 122, 250, 134)),
            _region((105, 12, 195, 33)),
            dataclasses.replace(_DEALER, box=(50, 124, 250, 140)),
        ),
    ),
    "taiwan_old_five": dataclasses.replace(  # lorries and the like
        _TAIWAN_OLD,
        name="taiwan_old_five",
        patterns={"AA·999": 3, "999·AA": 3, "999·A9": 1, "A9·999": 1, "9A·999": 0.5, "999·9A": 0.5},
        rows=(Row(80, (47, 88), 6, 22, "gothic_old"),),
        palettes=(Palette(GREEN, WHITE, 3), Palette(WHITE, BLACK, 2), Palette(RED, WHITE, 1)),
    ),
    "taiwan_motorcycle": _MOTORCYCLE,
    "taiwan_motorcycle_i": dataclasses.replace(  # their first series: I among the letters
        _MOTORCYCLE,
        name="taiwan_motorcycle_i",
        patterns={"AAA·999": 1},
        alphabets={"A": LETTERS + 6 * "I", "9": DIGITS},  # rare on the road, and to be learned
    ),
    "taiwan_two_row": PlateStyle(
        name="taiwan_two_row",
        size=(260, 150),
        patterns={"AAA/9999": 2, "AA/9999": 0.5, "AAA/999": 0.5, "999/AAA": 0.5},
        rows=(Row(44, (32, 50), 10, 16), Row(104, (42, 64), 10, 16)),
        palettes=_TAIWAN_PALETTES,
        alphabets=_TAIWAN,
        stickers=0.22,
        bolts=(88, 18, 14),
    ),
    "greece": PlateStyle(
        name="greece",
        size=(520, 112),
        patterns={"AAA-9999": 1, "AAA-999": 0.1},
        rows=(Row(56, (46, 77), 9, 26),),
        palettes=(Palette(WHITE, BLACK, 12), Palette(YELLOW, BLACK, 1), Palette(WHITE, BLUE, 0.5)),
        alphabets={"A": GREEK_LETTERS, "9": DIGITS},
        border=(3, 3),
        bolts=(150, 56, 56),
        decals=(
            Decal((6, 6, 38, 106), ground=(20, 60, 160), probability=0.75),
            Decal((12, 72, 34, 96), 2, ground=(20, 60, 160), ink=(235, 235, 235), probability=0.75),
        ),
    ),
    "china_blue": PlateStyle(
        name="china_blue",
        size=(440, 140),
        patterns=_CHINA_PATTERNS,
        rows=(Row(70, (45, 90), 12, 10),),
        palettes=(
            Palette((12, 66, 190), WHITE, 12),
            Palette((20, 110, 215), WHITE, 4),
            Palette((24, 36, 120), WHITE, 3),
            Palette((20, 104, 140), WHITE, 2),
            Palette(BLACK, WHITE, 0.6),
        ),
        alphabets=_CHINA,
        linked="PC",
        border=(5, 3),
        bolts=(105, 11, 11),
    ),
    "china_yellow": PlateStyle(
        name="china_yellow",
        size=(440, 140),
        patterns=_CHINA_PATTERNS | {"PC·99999": 6},
        rows=(Row(70, (45, 90), 12, 10),),
        palettes=(Palette(YELLOW, BLACK),),
        alphabets=_CHINA,
        linked="PC",
        border=(5, 3),
        bolts=(105, 11, 11),
    ),
    "china_yellow_two_row": PlateStyle(
        name="china_yellow_two_row",
        size=(440, 220),
        patterns={f"P·C/{serial}": 1 for serial in _SERIALS} | {"P·C/99999": 6, "P·A/XXXXX": 0.4},
        rows=(Row(45, (80, 60), 22, 16, "220_up"), Row(145, (65, 110), 15, 20, "220_down")),
        palettes=(Palette(YELLOW, BLACK),),
        alphabets=_CHINA,
        linked="PC",
        border=(5, 3),
        bolts=(150, 16, 12),
    ),
    "china_green": PlateStyle(
        name="china_green",
        size=(480, 140),
        patterns={"PC EX9999": 3, "PC E99999": 2, "PC 99999E": 1},
        rows=(Row(70, (43, 90), 9, 31, "green"),),
        palettes=(
            Palette((40, 200, 120), BLACK, 4, top=(230, 244, 236)),
            Palette((60, 205, 120), BLACK),
        ),
        alphabets=_CHINA,
        linked="PC",
        border=(4, 2.5),
        bolts=(120, 11, 11),
        decals=(Decal((122, 55, 150, 85), 1, ground=(225, 235, 225), ink=(40, 90, 170)),),
    ),
}

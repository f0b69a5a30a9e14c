"""Plate styles as data: what is written on a plate, where, and in which colours.

Lengths are in millimetres from the plate's top left corner. To add a style, add an entry to
`STYLES`; the renderer needs no change.
"""

import dataclasses
import itertools
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hpa_jax.charset import DIGITS, GREEK_LETTERS, LETTERS, PROVINCES
from hpa_jax.data.glyphs import SPECIAL

Colour = tuple[int, int, int]  # red, green, blue: 0..255
Box = tuple[float, float, float, float]  # left, top, right, bottom
SEPARATORS = "-· "

WHITE, BLACK, RED, BLUE = (236, 236, 232), (22, 22, 24), (196, 30, 36), (10, 50, 165)
GREEN, YELLOW = (14, 128, 78), (240, 172, 16)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of characters.

    Attributes:
      y: height of the row's middle.
      character: width and height of a character's box.
      gap: space between two boxes.
      separator: width that each of the pattern's "-", "·" and " " takes, between two gaps.
      glyphs: the special font that the row is written in, where there is it (`glyphs.SPECIAL`).
      x: where the row's middle is, as beside a blue band; None: in the plate's.
    """

    y: float
    character: tuple[float, float]
    gap: float
    separator: float
    glyphs: str = "140"
    x: float | None = None


@dataclasses.dataclass(frozen=True)
class Palette:
    """Colours of the ground and the ink; `top` is the ground's colour at the top, if it shades."""

    ground: Colour
    ink: Colour
    weight: float = 1.0
    top: Colour | None = None


@dataclasses.dataclass(frozen=True)
class Decal:
    """A line of small signs, a badge or a sticker that belongs to the style.

    Attributes:
      box: left, top, right, bottom.
      signs: how many small unreadable signs stand side by side in it; 0 for a plain patch.
      ground: its colour; None shows the plate.
      ink: the colour of the signs; None takes the plate's.
      probability: how often it is there.
    """

    box: Box
    signs: int = 0
    ground: Colour | None = None
    ink: Colour | None = None
    probability: float = 1.0


class Placed(NamedTuple):
    """Where a pattern's parts stand: one symbol, box and row a character, in reading order."""

    symbols: list[str]
    boxes: list[Box]
    rows: list[Row]
    separators: list[Box]


@dataclasses.dataclass(frozen=True)
class PlateStyle:
    """A kind of plate. A ValueError says what is wrong with one that makes no sense.

    Attributes:
      name: its name, for messages.
      size: width and height.
      patterns: what is written, with how often it is: a key of `alphabets` stands for one of its
        characters; "-", "·" and " " separate; "/" begins the second row.
      rows: one or two rows.
      palettes: the colours it comes in.
      alphabets: symbol of a pattern -> the characters it stands for.
      linked: symbols of a pattern that are drawn together: the one character at the same place of
        each one's alphabet, which are equally long.
      border: how far in the painted border runs and how wide it is; width 0 for none.
      corner: radius of the corners.
      bolts: distance of the bolts from the plate's middle, and from its upper and lower edge.
      decals: region line, badges and the like.
      stickers: how often each of a few random stickers is on the plate.
    """

    name: str
    size: tuple[float, float]
    patterns: Mapping[str, float]
    rows: tuple[Row, ...]
    palettes: tuple[Palette, ...]
    alphabets: Mapping[str, str]
    linked: str = ""
    border: tuple[float, float] = (4.0, 0.0)
    corner: float = 8.0
    bolts: tuple[float, float, float] = (70.0, 14.0, 14.0)
    decals: tuple[Decal, ...] = ()
    stickers: float = 0.05

    def __post_init__(self) -> None:
        for field, kind in (("rows", Row), ("palettes", Palette), ("decals", Decal)):
            entries = getattr(self, field)
            if not isinstance(entries, tuple) or not all(isinstance(e, kind) for e in entries):
                example = f"({kind.__name__}(…),)"
                raise self._error(f"{field} must be a tuple of {kind.__name__}, as {example}")
        if not self.palettes:
            raise self._error("palettes: at least one is needed")
        if not isinstance(self.patterns, Mapping) or not self.patterns:
            raise self._error("patterns must be a dict of how often each is, as {'AA-999': 1}")
        self._check_counts()
        self._check_numbers()
        for symbol, characters in self.alphabets.items():
            if not characters or len(symbol) != 1 or symbol in SEPARATORS + "/":
                raise self._error(f"alphabets: {symbol!r} cannot stand for {characters!r}")
        if unknown := set(self.linked) - set(self.alphabets):
            raise self._error(f"linked: {''.join(sorted(unknown))!r} has no alphabet")
        if len({len(self.alphabets[symbol]) for symbol in self.linked}) > 1:
            raise self._error(f"the alphabets of {self.linked!r} differ in length")
        for pattern in self.patterns:
            if not self.place(pattern).symbols:
                raise self._error(f"pattern {pattern!r} has no characters")
        for left, top, right, bottom in (decal.box for decal in self.decals):
            if not (0 <= left < right <= self.size[0] and 0 <= top < bottom <= self.size[1]):
                box = left, top, right, bottom
                raise self._error(f"decal {box} must be left, top, right, bottom on the plate")

    def _check_counts(self) -> None:
        geometry = [("size", self.size, 2), ("border", self.border, 2), ("bolts", self.bolts, 3)]
        for row in self.rows:
            places = row.y, row.gap, row.separator, 0 if row.x is None else row.x
            geometry += [("character of a row", row.character, 2)]
            geometry += [("y, gap, separator and x of a row", places, 4)]
        geometry += [("box of a decal", decal.box, 4) for decal in self.decals]
        for what, values, count in geometry:
            right = isinstance(values, Sequence) and len(values) == count
            if not right or not all(isinstance(n, numbers.Real) for n in values):
                raise self._error(f"{what} must be {count} numbers, not {values!r}")

    def _check_numbers(self) -> None:
        lengths = [*self.size, *(n for row in self.rows for n in row.character)]
        weights = [*self.patterns.values(), *(palette.weight for palette in self.palettes)]
        shares = [self.stickers, *(decal.probability for decal in self.decals)]
        for what, values, low, high in (
            ("sizes of the plate and of characters", lengths, 1e-9, math.inf),
            ("weights of patterns and palettes", weights, 1e-9, math.inf),
            ("stickers, and probability of decals", shares, 0, 1),
        ):
            if not all(isinstance(n, numbers.Real) and low <= n <= high for n in values):
                wanted = "from 0 to 1" if high == 1 else "more than 0"
                raise self._error(f"{what} must be numbers {wanted}, not {values}")
        painted = [*self.palettes, *self.decals]
        colours = [c for p in painted for c in (p.ground, p.ink, getattr(p, "top", None)) if c]
        for colour in colours:
            if len(colour) != 3 or not all(n in range(256) for n in colour):
                raise self._error(f"colour {colour!r} must be red, green and blue from 0 to 255")
        unknown = {row.glyphs for row in self.rows} - set(SPECIAL)
        if unknown:
            raise self._error(f"glyphs {unknown} of a row must be among {', '.join(SPECIAL)}")

    def _error(self, problem: str) -> ValueError:
        return ValueError(f"style {self.name!r}: {problem}")

    def place(self, pattern: str) -> Placed:
        """Sets a pattern's characters on the plate.

        Raises:
          ValueError: the pattern has other rows than the style, a symbol that stands for nothing,
            or leaves the plate.
        """
        placed = Placed([], [], [], [])
        lines = pattern.split("/")
        if len(lines) != len(self.rows):
            raise self._error(
                f"pattern {pattern!r} has {len(lines)} rows, but the style has {len(self.rows)}"
            )
        for line, row in zip(lines, self.rows, strict=True):
            self._place_row(pattern, line, row, placed)
        return placed

    def _place_row(self, pattern: str, line: str, row: Row, placed: Placed) -> None:
        width, height = row.character
        widths = [row.separator if symbol in SEPARATORS else width for symbol in line]
        total = sum(widths) + row.gap * (len(line) - 1)
        top, bottom = row.y - height / 2, row.y + height / 2
        x = (self.size[0] / 2 if row.x is None else row.x) - total / 2
        if x < 0 or x + total > self.size[0] or top < 0 or bottom > self.size[1]:
            raise self._error(
                f"a row of {pattern!r} is {total:g} wide and from {top:g} to {bottom:g} high, "
                f"beyond the plate's {self.size[0]:g}×{self.size[1]:g}"
            )
        for symbol, wide in zip(line, widths, strict=True):
            if symbol not in SEPARATORS:
                if symbol not in self.alphabets:
                    known = ", ".join(map(repr, self.alphabets))
                    raise self._error(f"{symbol!r} in {pattern!r} is none of {known}")
                placed.symbols.append(symbol)
                placed.boxes.append((x, top, x + wide, bottom))
                placed.rows.append(row)
            elif symbol != " ":
                # A dot is 10 mm wide and high on China's plates (GA 36) as on Taiwan's.
                half, flat = (5, 5) if symbol == "·" else (0.055 * height, 0.044 * height)
                centre = x + wide / 2
                placed.separators.append((centre - half, row.y - flat, centre + half, row.y + flat))
            x += wide + row.gap


_LATIN = {"A": LETTERS, "9": DIGITS}
_TAIWAN = {**_LATIN, "M": "MN", "E": "E", "X": DIGITS + LETTERS}
_TAIWAN_NEW = _TAIWAN | {"9": DIGITS.replace("4", "")}  # numbers since 2012 skip the 4

# The second character of a Chinese plate is its city's: those in use (lists of 2007 to 2024).
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
# Provinces are equally frequent, and so are the cities of one, but for the first ones.
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
        Decal((50, 126, 250, 142), 14, ink=(60, 70, 110), probability=0.25),
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
            Decal((50, 122, 250, 134), 3, ink=(176, 190, 206), probability=0.5),
            _region((105, 12, 195, 33)),
            Decal((50, 124, 250, 140), 14, ink=(60, 70, 110), probability=0.25),
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
            Decal((12, 72, 34, 96), 2, ink=(235, 235, 235), probability=0.75),
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

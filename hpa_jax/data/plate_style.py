"""Describes a kind of plate: its size, rows of characters, patterns, colours and decals.

Lengths are in millimetres from the plate's top left corner. `styles.STYLES` has the styles.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hpa_jax.data.glyphs import SPECIAL

Colour = tuple[int, int, int]  # red, green, blue: 0..255
Box = tuple[float, float, float, float]  # left, top, right, bottom
SEPARATORS = "-· "


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of characters.

    Attributes:
      y: height of the row's middle.
      character: width and height of a character's box.
      gap: space between two boxes.
      separator: width of each "-", "·" and " " in the pattern, between two gaps; the hyphen itself
        is 0.11 of a character's height wide.
      glyphs: the row's font, a name in `glyphs.SPECIAL`; without that font, a common one is used.
      x: the row's middle, e.g. beside a blue band; None: the plate's middle.
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

    Decals are not painted over each other: where two overlap, a pixel shows the one whose middle
    is nearer, relative to its size. So give signs on a band the band's colour as their ground.

    Attributes:
      box: left, top, right, bottom.
      signs: how many small unreadable signs stand side by side in it; 0 for a plain patch.
      ground: its colour; None: transparent.
      ink: the colour of the signs; None: the plate's ink.
      probability: how often plates have it.
    """

    box: Box
    signs: int = 0
    ground: Colour | None = None
    ink: Colour | None = None
    probability: float = 1.0


class Placed(NamedTuple):
    """Where a pattern's parts are: a symbol, box and row per character, in reading order."""

    symbols: list[str]
    boxes: list[Box]
    rows: list[Row]
    separators: list[Box]


@dataclasses.dataclass(frozen=True)
class PlateStyle:
    """A kind of plate; raises a ValueError if its fields make no sense.

    Attributes:
      name: its name, for messages.
      size: width and height.
      patterns: what is written -> its weight. A key of `alphabets` stands for one of its
        characters; "-", "·" and " " are separators; "/" begins the second row.
      rows: one or two rows.
      palettes: its possible colours.
      alphabets: symbol of a pattern -> the characters it stands for.
      linked: symbols that are drawn together: each is the character at the same, random index of
        its alphabet. These alphabets are equally long.
      border: distance of the painted border from the edge, and its width; width 0 for none.
      bolts: distance of the bolts from the plate's middle, and from its upper and lower edge.
      decals: region line, badges and the like.
      stickers: the probability of each of a few random stickers.
    """

    name: str
    size: tuple[float, float]
    patterns: Mapping[str, float]
    rows: tuple[Row, ...]
    palettes: tuple[Palette, ...]
    alphabets: Mapping[str, str]
    linked: str = ""
    border: tuple[float, float] = (4.0, 0.0)
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
        if not isinstance(self.alphabets, Mapping):
            raise self._error("alphabets must be a dict of characters, as {'A': 'ABC', '9': '123'}")
        for symbol, characters in self.alphabets.items():
            is_text = isinstance(characters, str) and characters
            if not is_text or len(symbol) != 1 or symbol in SEPARATORS + "/":
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
        colours = [colour for palette in self.palettes for colour in (palette.ground, palette.ink)]
        optional = [palette.top for palette in self.palettes]
        optional += [colour for decal in self.decals for colour in (decal.ground, decal.ink)]
        for colour in [*colours, *(c for c in optional if c is not None)]:
            right = isinstance(colour, Sequence) and len(colour) == 3
            if not right or not all(n in range(256) for n in colour):
                raise self._error(f"colour {colour!r} must be red, green and blue from 0 to 255")
        unknown = {row.glyphs for row in self.rows} - set(SPECIAL)
        if unknown:
            raise self._error(f"glyphs {unknown} of a row must be among {', '.join(SPECIAL)}")

    def _error(self, problem: str) -> ValueError:
        return ValueError(f"style {self.name!r}: {problem}")

    def place(self, pattern: str) -> Placed:
        """Returns where a pattern's characters and separators are on the plate.

        Raises:
          ValueError: the pattern has another number of rows than the style, a symbol without an
            alphabet, or does not fit on the plate.
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

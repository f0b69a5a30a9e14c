"""Compiles plate styles to arrays: one layout for each pattern of each style."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hpa_jax.charset import Charset
from hpa_jax.data import glyphs
from hpa_jax.data.plate_style import Decal, PlateStyle

AWAY = (98.0, 98.0, 99.0, 99.0)  # a box far from the plate, for parts that a layout does not have
CORNER = 8.0  # radius of a plate's corners, in millimetres
_NO_DECAL = Decal((0, 0, 1, 1), probability=0.0)


class Layout(NamedTuple):
    """The geometry and colours of a pattern of a style, in plate heights from the plate's middle.

    In a stack of layouts every field has a leading axis; in a single layout it has not.
    """

    half_width: np.ndarray  # ()
    boxes: np.ndarray  # (Cp, 4) left, top, right, bottom of each character's box
    choices: np.ndarray  # (Cp, K) class ids that may be drawn there
    counts: np.ndarray  # (Cp,) how many of K
    drawn_with: np.ndarray  # (Cp,) the position whose draw is used: its own, unless linked
    fonts: np.ndarray  # (Cp, F) fonts of the atlas that may be used there
    font_counts: np.ndarray  # (Cp,) how many of F
    separators: np.ndarray  # (S, 4) boxes of dashes and dots; S is at least 2
    grounds: np.ndarray  # (N, 2, 3) colours at the top and at the bottom, 0..1
    inks: np.ndarray  # (N, 3)
    palette_odds: np.ndarray  # (N,) cumulative, from 0 to 1
    border: np.ndarray  # (2,) inset and width
    corner: np.ndarray  # ()
    bolts: np.ndarray  # (3,) x from the middle, y of the upper and of the lower pair
    decal_boxes: np.ndarray  # (D, 4)
    decal_signs: np.ndarray  # (D,)
    decal_colours: np.ndarray  # (D, 2, 3) ground and ink
    decal_shows: np.ndarray  # (D, 2) whether the ground is painted, whether the ink has a colour
    decal_odds: np.ndarray  # (D,)
    stickers: np.ndarray  # () probability of each random sticker


def compile_layouts(
    styles: Sequence[PlateStyle],
    charset: Charset,
    num_characters: int,
    font_names: Sequence[str],
    weights: Sequence[float] | None,
) -> tuple[Layout, np.ndarray]:
    """Returns all patterns of all styles as one stacked `Layout`, and their weights.

    Raises:
      ValueError: no styles, weights that do not fit them, or a style whose text can be longer
        than `num_characters` or has characters outside the charset.
    """
    if not styles:
        raise ValueError("styles: at least one plate style is needed")
    weights = [1.0] * len(styles) if weights is None else list(weights)
    if len(weights) != len(styles) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights: {len(styles)} numbers, none negative, are needed: {weights}")
    layouts, odds = [], []
    for style, weight in zip(styles, weights, strict=True):
        total = sum(style.patterns.values())
        for pattern, share in style.patterns.items():
            layouts.append(_layout(style, pattern, charset, num_characters, font_names))
            odds.append(weight * share / total)
    fields = (_stack(tables) for tables in zip(*layouts, strict=True))
    return Layout(*fields), np.asarray(odds, np.float32)


def _stack(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks tables of different lengths; shorter ones are padded with their last entry."""
    shape = [max(extents) for extents in zip(*(table.shape for table in tables), strict=True)]
    padded = []
    for table in tables:
        missing = [(0, n - have) for n, have in zip(shape, table.shape, strict=True)]
        padded.append(np.pad(table, missing, mode="edge") if shape else table)
    return np.stack(padded)


def _layout(
    style: PlateStyle,
    pattern: str,
    charset: Charset,
    num_characters: int,
    font_names: Sequence[str],
) -> Layout:
    """Returns the layout of one pattern."""
    symbols, boxes, rows, separators = style.place(pattern)
    if len(symbols) > num_characters:
        raise ValueError(
            f"style {style.name!r}: pattern {pattern!r} has {len(symbols)} characters, but "
            f"num_characters is {num_characters}"
        )
    choices = [_classes(style, symbol, charset) for symbol in symbols]
    linked = [i for i, symbol in enumerate(symbols) if symbol in style.linked]
    fonts = [glyphs.fonts_for(font_names, row.glyphs) for row in rows]
    empty = num_characters - len(symbols)
    width, height = style.size
    middle = np.array([width / 2, height / 2] * 2)

    def to_plate(box: Sequence[float]) -> np.ndarray:
        return (np.asarray(box) - middle) / height

    separators = [to_plate(box) for box in separators]
    palettes, decals = style.palettes, (*style.decals, _NO_DECAL)
    shown = [(decal.ground is not None, decal.ink is not None) for decal in decals]
    colours = [(decal.ground or (0, 0, 0), decal.ink or (0, 0, 0)) for decal in decals]
    odds = np.cumsum([palette.weight for palette in palettes])
    inset, line = style.border
    return Layout(
        half_width=np.float32(width / height / 2),
        boxes=_table([to_plate(box) for box in boxes] + [AWAY] * empty),
        choices=_ragged(choices + [[charset.void]] * empty),
        counts=np.array([len(ids) for ids in choices] + [1] * empty, np.int32),
        drawn_with=np.array([linked[0] if i in linked else i for i in range(num_characters)]),
        fonts=_ragged(fonts + [[0]] * empty),
        font_counts=np.array([len(ids) for ids in fonts] + [1] * empty, np.int32),
        separators=_table(separators + [AWAY] * (2 - len(separators))),
        grounds=_table([(p.top or p.ground, p.ground) for p in palettes]) / 255,
        inks=_table([p.ink for p in palettes]) / 255,
        palette_odds=_table(odds / odds[-1]),
        border=_table([inset / height, line / height]),
        corner=np.float32(CORNER / height),
        bolts=_table([style.bolts[0], style.bolts[1] - height / 2, height / 2 - style.bolts[2]])
        / np.float32(height),
        decal_boxes=_table([to_plate(decal.box) for decal in decals]),
        decal_signs=_table([decal.signs for decal in decals]),
        decal_colours=_table(colours) / 255,
        decal_shows=_table(shown),
        decal_odds=_table([decal.probability for decal in decals]),
        stickers=np.float32(style.stickers),
    )


def _table(values: Sequence) -> np.ndarray:
    return np.asarray(values, np.float32)


def _ragged(lists: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns lists of different lengths as an int32 table; shorter ones are repeated."""
    longest = max(len(ids) for ids in lists)
    return np.array([np.resize(ids, longest) for ids in lists], np.int32)


def _classes(style: PlateStyle, symbol: str, charset: Charset) -> list[int]:
    """Returns the class ids that a symbol of a pattern stands for."""
    unknown = sorted(set(style.alphabets[symbol]) - set(charset.characters))
    if unknown:
        raise ValueError(
            f"style {style.name!r}: its characters {''.join(unknown)!r} are not in the charset "
            f"{charset.characters!r}"
        )
    return [charset.characters.index(c) for c in style.alphabets[symbol]]

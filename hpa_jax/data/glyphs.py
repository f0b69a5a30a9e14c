"""The glyph atlas: a signed-distance field of each character in each font, made on the host."""

import collections
import dataclasses
import pathlib
import re
import unicodedata
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFont
from scipy import ndimage

from hpa_jax.data import gothic, images

BOX = (96, 48)  # rows and columns of a character's box in the atlas
PAD = 8  # rows and columns around the box, for strokes that are made thicker
GOTHIC = {  # name -> strokes, thickness, corner radii (one font each); see `gothic.draw`
    "gothic": (gothic.STROKES, 0.13, (0.5,)),
    "gothic_old": (gothic.OLD, 0.14, (0.5,)),
    "gothic_flat": (gothic.FLAT, 0.13, (0.5, 0.3)),
    "gothic_square": (gothic.STROKES, 0.105, (0.3,)),
}
BUILT_IN = (*GOTHIC, "pillow")
FOLDER_FONTS = ("140", "220_up", "220_down", "green")
SPECIAL = (*FOLDER_FONTS, "gothic_old", "gothic_flat")  # used only by plate rows that name them
_MISSING = "\U0010ffff"  # a code point that no font has, to see how a font draws missing glyphs


@dataclasses.dataclass(frozen=True)
class Atlas:
    """Signed distances to the outlines of glyphs.

    Attributes:
      distance: float32 (fonts, characters, BOX[0] + 2 PAD, BOX[1] + 2 PAD), positive inside the
        strokes, in heights of the character's box.
      names: one name per font; variants of a font share a name. Fonts in `SPECIAL` are used only
        by plate rows that name them.
    """

    distance: np.ndarray
    names: tuple[str, ...]


def make_atlas(characters: str, fonts: Sequence[str | pathlib.Path] = ()) -> Atlas:
    """Returns an atlas of `characters`, rasterised from fonts.

    A character that one font lacks is taken from the first that has it. Warnings list these, and
    the characters that a font draws alike, which a network can tell apart only by their position.

    Args:
      characters: the characters, in the order of their class ids.
      fonts: names in `BUILT_IN` (which need no file), paths of .ttf or .otf files, and folders of
        glyph images, dark on light, whose names are `140_X`, `green_X` (one row), `220_X`,
        `220_up_X`, `220_down_X` (two rows), X being the character. Empty: all built-in fonts.

    Raises:
      ValueError: a font cannot be read, or a character is in none of them.
    """
    found = [font for entry in (fonts or BUILT_IN) for font in _read(entry, characters)]
    everything = {}
    for _, masks in reversed(found):
        everything |= masks
    missing = [c for c in characters if c not in everything]
    if missing:
        raise ValueError(
            f"fonts: no glyph for {''.join(missing)!r} in {', '.join(map(str, fonts or BUILT_IN))}."
            " Add a .ttf or .otf file that has them, or a folder of images named 140_X.jpg, X being"
            """ the character: --config.data.fonts="('gothic','FONT.ttf')", or for hpa_jax.assess"""
            " --fonts=gothic,FONT.ttf"
        )
    for name, masks in found:
        _warn(name, masks, characters)
    complete = [[(everything | masks)[c] for c in characters] for _, masks in found]
    return Atlas(
        distance=np.stack([signed_distance(np.stack(masks)) for masks in complete]),
        names=tuple(name for name, _ in found),
    )


def _warn(name: str, masks: dict[str, np.ndarray], characters: str) -> None:
    """Warns of characters that a font lacks, and of those that it draws alike."""
    lacking = "".join(c for c in characters if c not in masks)
    if lacking:
        alone = f", and rows in {name} are written in no other" if name in FOLDER_FONTS else ""
        warnings.warn(
            f"fonts: {name} lacks {lacking}: taken from another font{alone}", stacklevel=3
        )
    alike = collections.defaultdict(str)
    for character in characters:
        if character in masks:
            alike[masks[character].tobytes()] += character
    for same in alike.values():
        if len(same) > 1:
            warnings.warn(f"fonts: {name} draws {', '.join(same)} alike", stacklevel=3)


def _read(entry: str | pathlib.Path, characters: str) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Returns (name, character -> bool mask of shape BOX) for each font in an entry of `fonts`."""
    if entry in GOTHIC:
        strokes, thickness, corners = GOTHIC[entry]
        known = [c for c in characters if c in strokes]

        def draw(c: str, corner: float) -> np.ndarray:
            drawn = gothic.draw(strokes[c], (BOX[1], BOX[0]), corner, thickness)
            return np.asarray(drawn) > 127

        return [(entry, {c: draw(c, corner) for c in known}) for corner in corners]
    if entry == "pillow":
        return [("pillow", _read_font(ImageFont.load_default(2 * BOX[0]), characters))]
    path = pathlib.Path(entry)
    if path.is_dir():
        return _read_folder(path, characters)
    try:
        font = ImageFont.truetype(str(path), 2 * BOX[0])
    except OSError as error:
        raise ValueError(
            f"fonts: {str(entry)!r} is not a font file, a folder or one of {', '.join(BUILT_IN)}"
        ) from error
    return [(path.stem, _read_font(font, characters))]


def _read_font(font: ImageFont.FreeTypeFont, characters: str) -> dict[str, np.ndarray]:
    """Rasterises the characters that a font has; each fills its box, except narrow ones."""
    lacking = bytes(font.getmask(_MISSING))
    inks = {}
    for character in characters:
        mask = font.getmask(character, mode="L")
        if mask.getbbox() is None or bytes(mask) == lacking:
            continue
        image = Image.frombytes("L", mask.size, bytes(mask))
        inks[character] = image.crop(image.getbbox())
    if not inks:
        return {}
    usual = np.median([image.width / image.height for image in inks.values()])
    masks = {}
    for character, image in inks.items():
        share = image.width / image.height / usual
        width = BOX[1] if share > 0.7 else max(1, round(BOX[1] * share / 0.8))
        box = Image.new("L", (BOX[1], BOX[0]))
        box.paste(image.resize((width, BOX[0]), Image.Resampling.BOX), ((BOX[1] - width) // 2, 0))
        mask = np.asarray(box) > 127
        if mask.any():  # hairlines may vanish
            masks[character] = mask
    return masks


def _read_folder(folder: pathlib.Path, characters: str) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Reads a folder of glyph images as up to four fonts, named as in `FOLDER_FONTS`."""
    fonts, unknown = {name: {} for name in FOLDER_FONTS}, []
    for path in sorted(folder.iterdir()):
        stem = unicodedata.normalize("NFC", path.stem)  # macOS decomposes Ä into A and its dots
        match = re.fullmatch(r"(140|220|220_up|220_down|green)_(.)", stem)
        if not match:
            if path.suffix.lower() in images.SUFFIXES:
                unknown.append(path.name)
            continue
        character = match[2].upper()
        if character not in characters:
            continue
        names = ("220_up", "220_down") if match[1] == "220" else (match[1],)
        try:
            image = Image.open(path).convert("L").resize((BOX[1], BOX[0]), Image.Resampling.BOX)
        except OSError as error:
            raise ValueError(f"fonts: cannot read the glyph image {path}") from error
        mask = np.asarray(image) < 128
        if not 0.02 < mask.mean() < 0.98:
            raise ValueError(f"fonts: the glyph image {path} is blank: must be dark on light")
        for name in names:
            fonts[name][character] = mask
    if not any(fonts.values()):
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
        raise ValueError(
            f"fonts: no glyph images named 140_X, 220_X or green_X in {str(folder)!r}, X being a "
            f"character of the charset; it holds {found or 'nothing'}"
        )
    if unknown:
        found = ", ".join(unknown[:8])
        warnings.warn(f"fonts: not named as glyphs in {folder}, left out: {found}", stacklevel=4)
    return [(name, masks) for name, masks in fonts.items() if masks]


def signed_distance(masks: np.ndarray) -> np.ndarray:
    """Returns exact signed distances to the edges of bool masks (N, rows, columns).

    They are float32 (N, rows + 2 PAD, columns + 2 PAD), positive inside, in units of `rows`.
    """
    padded = np.pad(masks, ((0, 0), (PAD, PAD), (PAD, PAD)))
    inside, outside = (
        np.array([ndimage.distance_transform_edt(mask) for mask in side], np.float32)
        for side in (padded, ~padded)
    )
    return ((inside - outside) - np.sign(inside - outside) * 0.5) / np.float32(masks.shape[1])


def fonts_for(names: Sequence[str], wanted: str) -> list[int]:
    """Returns indices of the fonts for a row of a plate: the one it names, or else common ones."""
    asked_for = [i for i, name in enumerate(names) if name == wanted]
    common = [i for i, name in enumerate(names) if name not in SPECIAL]
    return asked_for or common or list(range(len(names)))

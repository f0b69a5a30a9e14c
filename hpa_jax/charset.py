"""Characters, labels and class ids. A class id is a character's index in its charset."""

import dataclasses
import unicodedata
from collections.abc import Iterable

import numpy as np

DIGITS = "0123456789"
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # no I and no O: plates avoid them
GREEK_LETTERS = "ABEHIKMNOPTXYZ"  # the letters that Greek and Latin share
PROVINCES = "京沪津渝冀晋蒙辽吉黑苏浙皖闽赣鲁豫鄂湘粤桂琼川贵云藏陕甘青宁新"
_CODES = (
    "BJ SH TJ CQ HE SX NM LN JL HL JS ZJ AH FJ JX SD HA HB HN GD GX HI SC GZ YN XZ SN GS QH NX XJ"
)
PROVINCE_CODES = dict(zip(PROVINCES, _CODES.split(), strict=True))  # of ISO 3166-2
_SEPARATORS = "-‐‑–—_.,:;/|·•・∙⋅"
_LOOK_ALIKES = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX")


@dataclasses.dataclass(frozen=True)
class Charset:
    """The characters a network can read, in the order of their class ids.

    The void class, which pads short plates (paper, "Shared Classifier"), is one past the last
    character: `void == len(characters)`.

    Raises:
      ValueError: there are no characters, more than 255, or one is listed twice.
    """

    characters: str

    def __post_init__(self) -> None:
        if not self.characters:
            raise ValueError("charset: is empty")
        repeated = sorted({c for c in self.characters if self.characters.count(c) > 1})
        if repeated:
            raise ValueError(f"charset: characters listed twice: {''.join(repeated)}")
        if len(self.characters) > 255:
            raise ValueError(f"charset: has {len(self)} characters, at most 255 fit maps of uint8")

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def void(self) -> int:
        """Class id of the void class."""
        return len(self.characters)

    def encode(self, text: str, length: int) -> np.ndarray:
        """Returns the class ids of `text`, padded with void: int32 of shape (length,).

        Raises:
          ValueError: `text` is longer than `length` or has a character outside the charset.
        """
        unknown = sorted(set(text) - set(self.characters))
        if unknown:
            raise ValueError(
                f"text {text!r}: {', '.join(map(repr, unknown))} not in charset {self.characters!r}"
            )
        if len(text) > length:
            raise ValueError(f"text {text!r} has {len(text)} characters, at most {length} fit")
        ids = np.full(length, self.void, np.int32)
        ids[: len(text)] = [self.characters.index(c) for c in text]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of class ids; void is dropped (paper, "Shared Classifier").

        Raises:
          ValueError: an id is neither a character's nor void.
        """
        ids = list(ids)
        if wrong := [i for i in ids if not 0 <= i <= self.void]:
            raise ValueError(f"class ids {wrong}: must be from 0 to {self.void}")
        return "".join(self.characters[i] for i in ids if i != self.void)


TAIWAN = Charset(DIGITS + LETTERS)  # the 34 classes of the authors' release, in its order
GREECE = Charset(DIGITS + GREEK_LETTERS)
CHINA = Charset(PROVINCES + DIGITS + LETTERS)

CHARSETS = {"taiwan": TAIWAN, "greece": GREECE, "china": CHINA}


def find_charset(name: str) -> Charset:
    """Returns the charset of that name in `CHARSETS`, else a charset of the characters in `name`.

    Raises:
      ValueError: `name` is neither.
    """
    if name in CHARSETS:
        return CHARSETS[name]
    try:
        if name != name.upper():  # labels are read in upper case
            raise ValueError(
                f"charset {name!r}: is neither a known name nor a list of upper-case characters"
            )
        if never := [c for c in name if normalise_text(c) != c]:
            signs = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in never)
            raise ValueError(
                f"charset {name!r}: no label has {signs}: separators are left out of labels, and "
                "Greek capitals that look like Latin ones are read as these"
            )
        return Charset(name)
    except ValueError as error:
        raise ValueError(f"{error}; the names known are {', '.join(CHARSETS)}") from error


def normalise_text(text: str) -> str:
    """Returns a label as networks read it: in upper case, without spaces and separators.

    Greek capitals that look like Latin ones become Latin. Any other symbol stays, so that labels
    with a masked character (A12*45) are rejected later.
    """
    text = unicodedata.normalize("NFKC", text).upper().translate(_LOOK_ALIKES)
    return "".join(c for c in text if not (c.isspace() or c in _SEPARATORS))


def spell_out(text: str) -> str:
    """Spells out what Latin, Greek and Cyrillic fonts lack: 皖A as [AH]A, 가 as [U+AC00]."""

    def spell(character: str) -> str:
        code = PROVINCE_CODES.get(character, f"U+{ord(character):04X}")
        return character if character < "\u0530" else f"[{code}]"

    return "".join(map(spell, text))

"""Finds a data set's folder, and reads its text files."""

import codecs
import contextlib
import csv
import io
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from hpa_jax.charset import PROVINCES
from hpa_jax.data.images import SUFFIXES
from hpa_jax.data.plate import DataError, OnBad, stop

CHINESE = ("gbk", "gb18030")  # strictest first; spreadsheets in China write GBK
DELIMITERS = ",;\t"  # spreadsheets write semicolons where numbers have a decimal comma
PATHS = {"file", "path"}  # columns that contain file names
MAX_LABEL_BYTES = 2**30  # five million plates with their corners and characters
HIDDEN = (".", "__")  # beginnings of folder names that are not the user's own, as __MACOSX


def locate(
    root: str | os.PathLike,
    is_root: Callable[[pathlib.Path], bool],
    expected: str,
    above: int = 2,
) -> pathlib.Path:
    """Returns the folder that holds a data set: `root`, or nearby if `root` is a little off.

    Looks up to three levels below `root` (archives often unpack into doubled folders), then some
    levels above.

    Args:
      root: the folder that the user named.
      is_root: returns whether a folder is the one wanted.
      expected: what that folder looks like, for the error message.
      above: how many levels above to look; 0 if any folder might fit.

    Raises:
      DataError: there is no such folder, it is empty, or none or several nearby fit.
    """
    root = pathlib.Path(root).absolute()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(root, f"{what}; expected a folder with {expected}")
    level = [root]
    for _ in range(4):
        found = [folder for folder in level if is_root(folder)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(folder.relative_to(root)) for folder in found[:5])
            raise DataError(root, f"several folders could be meant: {names}. Name one of them")
        below = [child for folder in level for child in subfolders(folder)]
        level = [child for child in below if os.access(child, os.R_OK | os.X_OK)]
    for folder in list(root.parents)[:above]:
        if is_root(folder):
            return folder
    entries = sorted(entry.name[:40] for entry in root.iterdir())
    listing = ", ".join(entries[:8]) + (", …" if len(entries) > 8 else "")
    raise DataError(root, f"has no {expected}; it holds {listing or 'nothing'}")


def subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(HIDDEN) and _is_folder(e)]
    return [folder / name for name in sorted(names)]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def image_names(folder: pathlib.Path) -> list[str]:
    """Returns the names of the images in a folder, sorted, with numbers by value.

    Everything else (Thumbs.db, .DS_Store, text files, folders) is left out.
    """
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not _is_folder(e)]
    return sorted(visible(names, SUFFIXES), key=natural_key)


def tables(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the CSVs in a folder, sorted, without hidden ones."""
    names = visible((entry.name for entry in folder.iterdir()), {".csv"})
    return [folder / name for name in sorted(names)]


def visible(names: Iterable[str], suffixes: Collection[str]) -> list[str]:
    """Returns the names with one of the suffixes (in any case), without hidden ones."""
    return [
        name
        for name in names
        if pathlib.PurePath(name).suffix.lower() in suffixes and not name.startswith(".")
    ]


def natural_key(name: str) -> tuple:
    """Returns a sort key that puts 2.jpg before 10.jpg."""
    stem = pathlib.PurePath(name).stem
    plain = stem.isascii() and stem.isdigit()
    return (0, int(stem[:18]), name) if plain else (1, 0, name)


def read_text(path: pathlib.Path) -> str:
    """Returns the text of a file in UTF-8, UTF-16, GBK or GB 18030.

    The last two only if it contains a Chinese province, and with a warning, because almost any
    bytes can be decoded as Chinese.

    Raises:
      DataError: the file is missing, binary or in another encoding.
    """
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            problem = f"is larger than {MAX_LABEL_BYTES >> 20} MiB, too large for a label file"
            raise DataError(path, problem)
        data = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-16")
    if b"\0" in data:
        raise DataError(path, "is not a text file (it holds zero bytes); save it as UTF-8")
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    for encoding in CHINESE:
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            if set(PROVINCES) & set(text):
                warnings.warn(
                    f"{path} is no UTF-8 and was read as {encoding.upper()}: save it as UTF-8 if "
                    "it is not Chinese",
                    stacklevel=2,
                )
                return text
    raise DataError(path, "is neither UTF-8 nor GBK text with a Chinese province; save it as UTF-8")


def read_table(
    path: pathlib.Path, columns: tuple[str, ...], on_bad: OnBad = stop
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (where, row) for each row of a CSV with a header; `where` is "file, line N".

    The separator is a comma, semicolon or tab, whichever is most frequent in the header, or what a
    first line "sep=;" says. Column names are in lower case. `on_bad` is called for rows with more
    or fewer fields than the header, not counting empty ones at the end. Paths in the columns
    `PATHS` have slashes, whatever system wrote them.

    Raises:
      DataError: the file cannot be read or is no CSV; its header lacks one of `columns` or repeats
        a name; or there are no rows.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    told = re.fullmatch(r"sep=(.)\r?", first, re.IGNORECASE)  # for spreadsheets
    delimiter = told[1] if told else max(DELIMITERS, key=first.count)
    # Not StringIO, which takes four bytes per character.
    lines = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline="")
    del text
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        if told:
            next(reader)
        header = [name.strip().lower() for name in _filled(next(reader, []))]
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise DataError(path, f"has several columns called {', '.join(repeated)}")
        missing = [name for name in columns if name not in header]
        if missing:
            found = delimiter.join(header)[:200]
            raise DataError(path, f"has no column {', '.join(missing)}; its header is {found!r}")
        empty = True
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(map(str.strip, row)):
                continue  # an empty line
            empty = False
            row = _filled(row, len(header))
            if len(row) != len(header):
                problem = f"has {len(row)} fields, the header {len(header)}; quote {delimiter!r}"
                on_bad(DataError(where, problem))
                continue
            values = dict(zip(header, map(str.strip, row), strict=True))
            for name in values.keys() & PATHS:
                values[name] = values[name].replace("\\", "/")
            yield where, values
        if empty:
            raise DataError(path, "has a header and no rows")
    except csv.Error as error:
        raise DataError(path, f"is not a CSV file: {error} in line {reader.line_num}") from error


def write_table(
    path: pathlib.Path, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Writes a CSV in UTF-8; undecodable bytes of file names are escaped."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


def _filled(row: list[str], least: int = 0) -> list[str]:
    """Drops empty cells at the end of a row, down to a length: lines may end in separators."""
    while len(row) > least and not row[-1].strip():
        row = row[:-1]
    return row


def numbers(text: str, source: object) -> list[float]:
    """Returns the numbers in a text, separated by spaces, commas or line ends.

    Raises:
      DataError: something in it is not a number.
    """
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise DataError(source, f"{text[:60]!r} should be numbers") from error


def cells(row: dict[str, str], source: object) -> list[float]:
    """Returns the numbers of a CSV row's cells, one in each.

    Raises:
      DataError: a cell is no number; its column is named.
    """
    for name, text in row.items():
        if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text):
            raise DataError(
                source, f"{name} is {text[:60]!r}, should be a number with a point, as 12.5"
            )
    return [float(text) for text in row.values()]

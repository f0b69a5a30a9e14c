"""Measures how well a reader reads labelled photographs, and how reliable its confidence is.

    python -m hpa_jax.assess [--checkpoint=READER] [--split=dev] [--to=DIR] FOLDER
    python -m hpa_jax.assess --checkpoint=READER --rendered=1000 --fit_temperature

Without --checkpoint, the default readers of `recognize` read together. FOLDER has a labels.csv or
the texts in its file names (`data/folder.py`). Files that cannot be read are named on stderr and
left out, and the exit status is then 1. Prints the share of whole plates read right by set (the
folders below FOLDER), the expected calibration error, and the lowest confidence from which 99.5 %
of the accepted plates are right. With --to, writes `reliability.png`, `failures.png` and
`failures.csv`. With --margin=0.2, the crops include a fifth of the plate's size on each side of its
box, as with a loose detector. With --rendered, new plates are rendered in the reader's own styles.
"""

import collections
import functools
import io
import pathlib
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags
from PIL import Image
from tqdm import tqdm

from hpa_jax import calibration, command, picture, pixels, progress, readers, recognize
from hpa_jax.charset import Charset
from hpa_jax.data import crops, files, folder, images, synthetic
from hpa_jax.data.plate import DataError, OnBad, Plate, stop
from hpa_jax.data.styles import STYLES

PAGE = 60  # failures on the sheet
SHOWN = (0.5, 0.9)  # thresholds of confidence at which the summary counts plates
MOSTLY = 0.9  # with more than this share right, confident errors suggest wrong labels
RENDERED = (96, 320)  # height and width of rendered plates, which readers resize like photographs


class Assessed(NamedTuple):
    """A plate, its reading, and the margin around its box (see `crop`)."""

    plate: Plate
    reading: recognize.Reading
    margin: float = 0.0

    @property
    def right(self) -> bool:
        """Whether the whole text was read right."""
        return self.reading.text == self.plate.text


def render_plates(
    styles: Sequence[str],
    charset: Charset,
    num_characters: int,
    count: int,
    fonts: Sequence[str] = (),
) -> list[Plate]:
    """Renders `count` plates, as PNG images in the set "rendered".

    Raises:
      ValueError: as `synthetic.make_renderer`; or there are no styles, or some are unknown.
    """
    unknown = [name for name in styles if name not in STYLES]
    if unknown or not styles:
        problem = f"unknown plate styles {unknown}" if unknown else "no plate styles to render"
        raise ValueError(f"the reader has {problem}: name a folder of photographs")
    chosen = [STYLES[name] for name in styles]
    options = {"fonts": fonts, "image_size": RENDERED}
    render = jax.jit(synthetic.make_renderer(chosen, charset, num_characters, **options))
    plates = []
    for i, key in enumerate(jax.random.split(jax.random.key(0), count)):
        rendered, file = render(key), io.BytesIO()
        Image.fromarray(np.asarray(rendered["image"])).save(file, "PNG")
        text = charset.decode(np.asarray(rendered["characters"]))
        plates.append(Plate(file.getvalue(), f"rendered/{i}", "dev", text))
    return plates


def assess(
    recognizers: Sequence[recognize.Recognizer],
    plates: Iterable[Plate],
    on_bad: OnBad = stop,
    margin: float = 0.0,
) -> list[Assessed]:
    """Cuts plates out of their photographs along their boxes, and reads them.

    Args:
      recognizers: one, or several that read together as in `recognize.read_with_all`.
      plates: the plates.
      on_bad: called with an error for each image that cannot be read, and for each box outside its
        image; these plates are left out.
      margin: the margin around the boxes, as in `crop`.

    Raises:
      DataError: whatever `on_bad` raises; by default, the first error.
    """
    given, assessed = [], []

    def cut() -> Iterator[pixels.Maker]:
        for plate in plates:
            given.append(plate)
            yield functools.partial(crop, plate, margin)

    for place, reading in enumerate(recognize.read_with_all(recognizers, cut())):
        if isinstance(reading, ValueError):
            on_bad(reading)
        else:
            assessed.append(Assessed(given[place], reading, margin))
    return assessed


def crop(plate: Plate, margin: float = 0.0) -> Image.Image:
    """Cuts out the plate's upright bounding box; without a box, returns the whole image.

    `margin` adds surroundings on each side, as a share of the plate's size, as far as the image
    reaches.

    Raises:
      DataError: the image cannot be read, or its box lies outside it.
    """
    photograph = images.open_rgb(plate.image, plate.name)
    if plate.box is None:
        return photograph
    return crops.crop_plate(photograph, plate, rectify=False, margin=margin).image


def counts(assessed: Sequence[Assessed]) -> dict[str, tuple[int, int]]:
    """Returns (plates right, plates) by set; a set is the first folder of a plate's name.

    Plates in no folder form the set "all" if there are no others, else the set ".".
    """
    rights = collections.defaultdict(list)
    for each in assessed:
        parts = pathlib.PurePosixPath(each.plate.name).parts
        rights[parts[0] if len(parts) > 1 else "."].append(each.right)
    if rights.keys() == {"."}:
        rights["all"] = rights.pop(".")
    return {name: (sum(right), len(right)) for name, right in sorted(rights.items())}


def outcomes(assessed: Sequence[Assessed]) -> tuple[np.ndarray, np.ndarray]:
    """Returns each plate's confidence (n float) and whether it was read right (n bool)."""
    confidence = np.array([each.reading.confidence for each in assessed])
    return confidence, np.array([each.right for each in assessed])


def fit_temperature(reader: recognize.Recognizer, assessed: Sequence[Assessed]) -> float:
    """Returns the temperature that calibrates a reader on plates that it has read.

    Plates in which it read nothing are left out: their confidence is 0 at every temperature.

    Raises:
      ValueError: as `calibration.fit_temperature`.
    """
    read = [each for each in assessed if each.reading.text]
    plates = (functools.partial(crop, each.plate, each.margin) for each in read)
    return calibration.fit_temperature(reader.probabilities(plates), outcomes(read)[1])


def surest_failures(assessed: Sequence[Assessed]) -> list[Assessed]:
    """Returns the misread plates, most confident first; the labels of the first may be wrong."""
    return sorted((a for a in assessed if not a.right), key=lambda a: -a.reading.confidence)


def failures_sheet(
    recognizers: Sequence[recognize.Recognizer], assessed: Sequence[Assessed]
) -> Image.Image:
    """Draws the most confident misreadings, with each character's map (paper, figure 5)."""
    wrong = surest_failures(assessed)[:PAGE]
    cut = [crop(each.plate, each.margin) for each in wrong]
    readings = recognize.read_with_all(recognizers, cut, maps=True)
    rows = zip(cut, readings, wrong, strict=True)
    size = recognizers[0].image_size
    return picture.page(
        [
            picture.maps_row(pixels.to_pixels(image, size), reading, each.plate.text)
            for image, reading, each in rows
        ]
    )


def summary(assessed: Sequence[Assessed], known: Collection[str], places: int) -> list[str]:
    """Returns a summary as lines of text: plates right by set, calibration, what can be accepted.

    Args:
      assessed: at least one plate.
      known: the readers' characters; plates with others count as wrong and are reported.
      places: the most characters that the readers write; longer plates are reported likewise.
    """
    confidence, right = outcomes(assessed)
    rows = list(counts(assessed).items())
    if len(rows) > 1:
        rows.append(("together", (right.sum(), len(right))))
    lines = [f"{name:<16} {good}/{total}  {good / total:.1%}" for name, (good, total) in rows]
    foreign = [set(each.plate.text) - set(known) for each in assessed]
    if any(foreign):
        characters = "".join(sorted(set().union(*foreign)))
        count = sum(map(bool, foreign))
        lines.append(f"{count} of them have {characters}: this reader cannot write it")
    longer = sum(len(each.plate.text) > places for each in assessed)
    if longer:
        lines.append(f"{longer} of them are longer than the {places} characters that it writes")
    error = calibration.expected_calibration_error(confidence, right)
    lines.append(f"expected calibration error {error:.1%}")
    value, correct, accepted = calibration.threshold(calibration.printed(confidence), right)
    if accepted:
        lines.append(
            f"from confidence {value:.4f} on: {accepted}/{len(right)} "
            f"accepted, {correct}/{accepted} of them right"
        )
    else:
        lines.append(f"at no confidence are {calibration.WANTED:.1%} right")
    for least in SHOWN:
        sure = confidence >= least
        lines.append(
            f"from {least} on: {sure.sum()}/{len(right)}, {right[sure].sum()} of them right"
        )
    if right.mean() > MOSTLY and 2 * accepted < right.sum():
        lines.append("a few confident readings count as wrong: are they labelled right?")
    return lines


def save_pictures(
    recognizers: Sequence[recognize.Recognizer], assessed: Sequence[Assessed], to: pathlib.Path
) -> list[pathlib.Path]:
    """Writes `reliability.png` and, of misread plates, `failures.png` and .csv; returns the paths.

    The table lists all misread plates and the picture shows the first ones, both in the order of
    `surest_failures`.
    """
    from hpa_jax import charts  # Matplotlib, which needs a writable folder when it is imported

    confidence, right = outcomes(assessed)
    paths = [to / "reliability.png"]
    charts.reliability(confidence, right).savefig(paths[0])
    if right.all():
        for name in ("failures.png", "failures.csv"):
            (to / name).unlink(missing_ok=True)  # of an earlier assessment
    else:
        paths.append(to / "failures.png")
        failures_sheet(recognizers, assessed).save(paths[-1])
        paths.append(to / "failures.csv")
        rows = (
            (plate.name, plate.text, reading.text, f"{calibration.printed(reading.confidence):.4f}")
            for plate, reading, _ in surest_failures(assessed)
        )
        files.write_table(paths[-1], ("file", "label", "read", "confidence"), rows)
    return paths


def _plates(argv: Sequence[str], readers_named: Sequence[str], on_bad: OnBad) -> list[Plate]:
    """Returns the plates that the command line asks for: rendered ones, or those of a folder."""
    if _RENDERED.value:
        metadata = readers.load(readers_named[0])[1]
        charset, count = Charset(metadata["charset"]), metadata["network"]["num_characters"]
        return render_plates(metadata["styles"], charset, count, _RENDERED.value, _FONTS.value)
    plates = labelled = list(folder.read(argv[1], on_bad))
    if _SPLIT.value:
        plates = [plate for plate in labelled if plate.split == _SPLIT.value.lower()]
        print(f"{len(plates)} of {len(labelled)} plates are of the split {_SPLIT.value!r}")
        if labelled and not plates:
            splits = ", ".join(sorted({plate.split for plate in labelled}))
            raise ValueError(f"{argv[1]}: has no split {_SPLIT.value!r}, but {splits}")
    if not plates:
        raise ValueError(f"{argv[1]}: has no plates to read")
    return plates


def _main(argv: Sequence[str]) -> int:
    command.set_up()
    command.end_by_signals()
    if len(argv) + bool(_RENDERED.value) != 2:
        raise app.UsageError("name one folder of labelled photographs, or give --rendered=N")
    names = _CHECKPOINT.value
    ignored = (_SPLIT.value or _MARGIN.value) if _RENDERED.value else _FONTS.value
    if ignored:
        raise app.UsageError("--split and --margin are for photographs, --fonts is for --rendered")
    if (_RENDERED.value or _FIT.value) and len(names or ()) != 1:
        raise app.UsageError("--rendered and --fit_temperature are for one --checkpoint=READER")
    bad = []

    def tell(error: DataError) -> None:
        bad.append(error)
        tqdm.write(f"error: {error}", file=sys.stderr)  # above the bar

    try:
        if _TO.value:
            command.make_folder("to", _TO.value)
        recognizers = recognize.load_recognizers(names)
        plates = _plates(argv, names, tell)
        with progress.plate_bar("reading", len(plates), leave=False, iterable=plates) as bar:
            assessed = assess(recognizers, bar, tell, _MARGIN.value)
        if not assessed:
            raise ValueError(f"{argv[1]}: none of its plates can be read")
        known = set().union(*(reader.charset.characters for reader in recognizers))
        places = max(reader.model.num_characters for reader in recognizers)
        print(*summary(assessed, known, places), sep="\n")
        if _TO.value:
            pictures = save_pictures(recognizers, assessed, pathlib.Path(_TO.value))
            print(*pictures, sep="\n")
        if _FIT.value:  # last: it fails if all plates are right, or all wrong
            print(f"best temperature {fit_temperature(recognizers[0], assessed):.2f}")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if bad:
        print(f"{len(bad)} left out, named above", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    _CHECKPOINT = flags.DEFINE_list(
        "checkpoint",
        None,
        "a shipped reader's name, a .npz or a run's --workdir, or several that read together; by "
        "default, each country's best shipped reader",
    )
    _SPLIT = flags.DEFINE_string("split", None, "reads only the plates of this split")
    _MARGIN = flags.DEFINE_float(
        "margin",
        0.0,
        "surroundings to read around boxes, as a share of their size on each side",
        lower_bound=0.0,
    )
    _RENDERED = flags.DEFINE_integer(
        "rendered", 0, "reads this many rendered plates instead of a folder", lower_bound=0
    )
    _FONTS = flags.DEFINE_list("fonts", [], "fonts of rendered plates, as in config.data.fonts")
    _FIT = flags.DEFINE_bool("fit_temperature", False, "prints the temperature that calibrates it")
    _TO = flags.DEFINE_string("to", None, "the folder for pictures and failures.csv")
    app.run(_main)

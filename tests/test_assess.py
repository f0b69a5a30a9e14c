"""Reading labelled photographs."""

import csv
import dataclasses
import io
import subprocess
import sys
import threading
import types

import jax
import numpy as np
import pytest
from PIL import Image

from hpa_jax import assess, checkpoint, machine, pixels, recognize, weights
from hpa_jax.charset import TAIWAN
from hpa_jax.data import folder
from hpa_jax.data.plate import DataError, Plate
from hpa_jax.models.hpa import HPANet
from tests.networks import random_variables, smooth_images


def test_a_folder_is_read_along_its_boxes_and_counted_by_set(tmp_path):
    size = (25, 80)
    model = HPANet(width=0.125, num_characters=4, void=True)
    metadata = checkpoint.make_metadata(model, TAIWAN, size, ())
    reader = recognize.make_recognizer(random_variables(model, size), metadata, "xla")
    plates = smooth_images(4, size)
    texts = [reading.text or "0" for reading in reader.read(list(plates))]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "text", "split", "x1", "y1", "x2", "y2"])
        for i, plate in enumerate(plates):
            scene = np.zeros((60, 120, 3), np.uint8)
            scene[10:35, 20:100] = plate
            name = f"{'ab'[i % 2]}/{i}.png"
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(scene).save(tmp_path / name)
            rows.writerow([name, texts[i] if i else "AAAAAA", "dev", 20, 10, 100, 35])
    assessed = assess.assess([reader], folder.read(tmp_path))
    assert assess.counts(assessed) == {"a": (1, 2), "b": (2, 2)}
    lines = "\n".join(assess.summary(assessed, TAIWAN.characters, 6))  # as long as the longest
    assert "together         3/4  75.0%" in lines
    assert "cannot write" not in lines and "longer" not in lines
    lines = assess.summary(assessed, "0123456789", 5)
    assert any(line.startswith("4 of them have ") for line in lines)
    longer = sum(len(each.plate.text) > 5 for each in assessed)
    assert f"{longer} of them are longer than the 5 characters that it writes" in lines and longer
    pictures = assess.save_pictures([reader], assessed, tmp_path)
    assert [p.name for p in pictures] == ["reliability.png", "failures.png", "failures.csv"]
    assert all(Image.open(picture).width > 80 for picture in pictures[:2])
    (row,) = csv.DictReader(pictures[2].open())
    assert (row["file"], row["label"]) == ("a/0.png", "AAAAAA") and row["read"] != "AAAAAA"
    with pytest.raises(ValueError, match="2 of 2 plates were read right"):
        assess.fit_temperature(reader, [each for each in assessed if each.right][:2])
    fitted = assess.fit_temperature(reader, assessed)
    blank = assess.Assessed(assessed[0].plate, recognize.Reading("", 0.0, ()))  # always unsure
    assert assess.fit_temperature(reader, [*assessed, blank]) == fitted
    sharper = recognize.make_recognizer(weights.soften(reader.variables, 0.5), metadata, "xla")
    assert assess.fit_temperature(sharper, assessed) == pytest.approx(2 * fitted, rel=0.05)


def read_surely(right: int, wrong: int) -> list[assess.Assessed]:
    readings = [recognize.Reading("A", 0.99995, ())] * right
    readings += [recognize.Reading("B", 0.99991, ())] * wrong
    return [assess.Assessed(Plate(b"", "name", "dev", "A"), reading) for reading in readings]


def test_the_printed_threshold_is_the_one_that_was_tried():
    assessed = read_surely(right=100, wrong=2)  # which four digits do not tell apart
    lines = assess.summary(assessed, "AB", 8)
    assert "at no confidence are 99.5% right" in lines
    assert "from 0.9 on: 102/102, 100 of them right" in lines
    assert "expected calibration error 2.0%" in lines
    assert lines[-1] == "a few confident readings count as wrong: are they labelled right?"
    lines = assess.summary(assessed[:100], "AB", 8)
    assert "from confidence 0.9999 on: 100/100 accepted, 100/100 of them right" in lines
    assert not any("labelled" in line for line in lines)
    half = assessed[0]._replace(reading=recognize.Reading("A", 0.5, ()))
    assert "from 0.5 on: 1/1, 1 of them right" in assess.summary([half], "AB", 8)


def test_the_table_of_failures_prints_no_more_than_the_confidence(tmp_path, monkeypatch):
    monkeypatch.setattr(assess, "failures_sheet", lambda *_: Image.new("RGB", (9, 9)))
    odd = Plate(b"", "p\udcff.jpg", "dev", "A")  # as Python gives the byte 0xff of a file's name
    wrong = assess.Assessed(odd, recognize.Reading("B", 0.99996, ()))
    assess.save_pictures([], [wrong], tmp_path)
    assert (tmp_path / "failures.csv").read_text().splitlines()[1] == r"p\udcff.jpg,A,B,0.9999"
    pictures = assess.save_pictures([], read_surely(right=2, wrong=0), tmp_path)
    assert pictures == [tmp_path / "reliability.png"] == list(tmp_path.iterdir())
    assert assess.counts([*read_surely(right=2, wrong=0), wrong]) == {"all": (2, 3)}


def test_plates_beside_folders_are_not_called_all():
    right, wrong = read_surely(right=1, wrong=1)
    below = right._replace(plate=Plate(b"", "sub/day/name", "dev", "A"))
    counted = [(".", (1, 2)), ("sub", (1, 1))]
    assert list(assess.counts([below, right, wrong]).items()) == counted
    assert assess.summary([right, wrong, below], "AB", 8)[2].split() == ["together", "2/3", "66.7%"]


def test_what_cannot_be_read_is_left_out(monkeypatch):
    several, asked = [object(), object()], []

    def read_with_all(recognizers, images):
        asked.append(recognizers)
        for (decoded,) in pixels.decode_ahead(images, [(9, 9)], 1):
            failed = isinstance(decoded, DataError)
            yield decoded if failed else recognize.Reading(str(decoded[9, 9][0, 0, 0]), 0.5, ())

    monkeypatch.setattr(recognize, "read_with_all", read_with_all)
    plates = []
    for grey in ("8", "80", "160"):
        Image.new("L", (80, 40), int(grey)).save(file := io.BytesIO(), "PNG")
        plates.append(Plate(file.getvalue(), grey, "dev", "A"))
    outside = dataclasses.replace(plates[0], name="outside", box=(900, 900, 950, 950))
    bad = []
    assessed = assess.assess(several, iter([plates[0], outside, *plates[1:]]), bad.append)
    assert [(each.plate, each.reading.text) for each in assessed] == [(p, p.name) for p in plates]
    assert len(bad) == 1 and "outside" in str(bad[0])
    assert asked == [several]
    with pytest.raises(DataError, match="outside"):
        assess.assess(several, [outside])


def test_photographs_are_decoded_ahead_on_all_cores(monkeypatch):
    """As the files are that `recognize` is given: of slow disks several are awaited together."""
    together = threading.Barrier(4, timeout=20)
    monkeypatch.setattr(machine, "cores", lambda: 4)
    plate = Image.new("L", (9, 9))
    monkeypatch.setattr(assess, "crop", lambda *_: (together.wait(), plate)[1])
    reader = types.SimpleNamespace(image_size=(9, 9))
    reader._read_decoded = lambda decoded, maps: (recognize.Reading("A", 0.5, ()) for _ in decoded)
    assert len(assess.assess([reader], [Plate(b"", "p", "dev", "A")] * 8)) == 8


def test_matplotlib_is_needed_for_pictures_alone():
    """It ends in an error where it can write neither a home nor a temporary folder."""
    program = "import sys; sys.modules['matplotlib'] = None; import hpa_jax.assess"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_margin_shows_a_share_of_the_plates_size_around_it():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    plate = Plate(file.getvalue(), "p", "dev", "AB12", box=(10.0, 20.0, 60.0, 40.0))
    np.testing.assert_array_equal(assess.crop(plate), pixels[20:40, 10:60])
    np.testing.assert_array_equal(assess.crop(plate, 0.1), pixels[18:42, 5:65])
    between = dataclasses.replace(plate, box=(10.9, 20.9, 59.1, 39.1))
    np.testing.assert_array_equal(assess.crop(between), pixels[20:40, 10:60])  # of pixels, all
    everything = dataclasses.replace(plate, box=(0.0, 0.0, 70.0, 50.0))
    np.testing.assert_array_equal(assess.crop(everything, 1.0), pixels)  # there is no more of it
    whole = dataclasses.replace(plate, box=None)
    np.testing.assert_array_equal(assess.crop(whole, 0.1), pixels)


def test_rendered_plates_differ(monkeypatch):
    def render(key):
        characters = jax.random.randint(key, (6,), 0, 34)
        return {"image": np.zeros((4, 9, 3), np.uint8), "characters": characters}

    def make_renderer(*_, fonts, image_size):
        assert fonts == ["gothic"] and image_size > (48, 160)  # to be made smaller, as photographs
        return render

    monkeypatch.setattr(assess.synthetic, "make_renderer", make_renderer)
    plates = assess.render_plates(["taiwan_old"], TAIWAN, 6, 3, ["gothic"])
    assert len({p.text for p in plates}) == 3 and {len(p.text) for p in plates} == {6}
    for styles, says in (([], "no plate styles to"), (["mars"], r"unknown plate styles .'mars'")):
        with pytest.raises(ValueError, match=f"the reader has {says}.*: name a folder of photo"):
            assess.render_plates(styles, TAIWAN, 6, 3)


def test_failures_and_temperature_are_of_the_crops_that_were_read(monkeypatch):
    file, sizes, truths = io.BytesIO(), [], []
    Image.new("RGB", (60, 40)).save(file, "PNG")

    def read_with_all(recognizers, images, maps):
        sizes.extend(image.size for image in images)
        return [recognize.Reading("A", 0.5, ())] * len(sizes)

    monkeypatch.setattr(recognize, "read_with_all", read_with_all)
    monkeypatch.setattr(assess.picture, "maps_row", lambda *row: truths.append(row[2]))
    monkeypatch.setattr(assess.picture, "page", list)
    box = (10.0, 10.0, 50.0, 30.0)
    plates = [Plate(file.getvalue(), text, "dev", text, box) for text in ("A", "B1", "C1")]
    readings = [recognize.Reading("A", confidence, ()) for confidence in (0.9, 0.4, 0.7)]
    assessed = [assess.Assessed(*pair, 0.1) for pair in zip(plates, readings, strict=True)]
    reader = types.SimpleNamespace(
        image_size=(25, 80),
        probabilities=lambda images: sizes.extend(make().size for make in images),
    )
    assess.failures_sheet([reader], assessed)
    assert truths == ["C1", "B1"]  # the surest first
    monkeypatch.setattr(assess.calibration, "fit_temperature", lambda *_: 1.0)
    assess.fit_temperature(reader, assessed)
    assert sizes == [(48, 24)] * 5
    monkeypatch.setattr(assess, "PAGE", 1)
    sizes.clear()
    assess.failures_sheet([reader], assessed)
    assert truths[2:] == ["C1"]


def test_wrong_labels_are_suspected_only_where_most_plates_are_read():
    assert "labelled right?" in assess.summary(read_surely(right=100, wrong=2), "AB", 8)[-1]
    assert "labelled right?" not in assess.summary(read_surely(right=60, wrong=40), "AB", 8)[-1]
    sure = read_surely(right=100, wrong=0)
    others = [("B", 0.9)] * 2 + [("A", 0.8)] * 40
    unsure = [sure[0]._replace(reading=recognize.Reading(*other, ())) for other in others]
    lines = assess.summary(sure + unsure, "AB", 8)
    assert "from confidence 0.9999 on: 100/142 accepted, 100/100 of them right" in lines
    assert "labelled right?" not in lines[-1]  # the wrong ones were read less surely than most


def test_plates_that_cannot_be_written_are_counted():
    right, other = read_surely(right=2, wrong=0)
    foreign = other._replace(plate=Plate(b"", "name", "dev", "ÄA"))
    lines = assess.summary([right, foreign], "AB", 8)
    assert "1 of them have Ä: this reader cannot write it" in lines

"""Preparing: crops with the right geometry, in a set that TFDS opens, resumable, and its report."""

import collections
import dataclasses
import functools
import io
import json
import multiprocessing
import os
import pathlib
import re
import runpy
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from hpa_jax import progress
from hpa_jax.charset import TAIWAN
from hpa_jax.data import aolp, ccpd, crops, prepare, records, report, shards
from hpa_jax.data.plate import DataError, Plate, box_corners
from tests.data import trees

GROUND, PLATE, FIRST, LAST = (200, 60, 60), (30, 30, 220), (250, 250, 250), (20, 160, 20)


def test_windows_which_has_no_array_record_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record", None)
    with pytest.raises(ImportError, match="^array_record is missing.*not on Windows"):
        runpy.run_path(records.__file__)


def photograph(scale=1):
    """A plate of four characters at (40, 30)–(200, 80); its first and last are painted."""
    pixels = np.full((120 * scale, 260 * scale, 3), GROUND, np.uint8)
    for (x1, y1, x2, y2), colour in (
        ((40, 30, 200, 80), PLATE),
        ((40, 30, 80, 80), FIRST),
        ((160, 30, 200, 80), LAST),
    ):
        pixels[y1 * scale : y2 * scale, x1 * scale : x2 * scale] = colour
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def plate(name="p", split="train", text="AB12", scale=1, **kwargs):
    box = tuple(scale * x for x in (40, 30, 200, 80))
    boxes = [(40 + 40 * i, 30, 80 + 40 * i, 80) for i in range(4)]
    fields = {
        "box": box,
        "corners": box_corners(box),
        "characters": tuple(box_corners(tuple(scale * x for x in b)) for b in boxes),
    }
    return Plate(photograph(scale), name, split, text, **(fields | kwargs))


def reader(plates):
    return lambda on_bad: iter(plates)


def read_back(directory, split="train"):
    source = tfds.builder_from_directory(directory).as_data_source(split)
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("scale", [1, 4])
def test_crops_keep_box_and_characters_in_place(tmp_path, rectify, scale):
    prepare.prepare("set", reader([plate(scale=scale)]), tmp_path, rectify=rectify, workers=1)
    (example,) = read_back(tmp_path)
    x1, y1, x2, y2 = example["box"]
    assert x2 - x1 == pytest.approx(min(160 * scale, 240), abs=1)
    height, width, _ = example["image"].shape
    assert width == pytest.approx(1.3 * (x2 - x1), abs=2)  # a margin of 0.15 on each side
    assert height == pytest.approx(1.3 * (y2 - y1), abs=2)
    for corners, colour in zip(example["characters"][[0, 3]], (FIRST, LAST), strict=True):
        left, top = np.ceil(corners[0] + 1).astype(int)
        right, bottom = np.floor(corners[2] - 1).astype(int)
        assert np.abs(example["image"][top:bottom, left:right].astype(int) - colour).max() < 60
    outside = example["image"][:, : int(x1) - 2]
    assert np.abs(outside.astype(int) - GROUND).mean() < 10
    assert example["text"].decode() == "AB12"


def test_rectified_plate_is_upright_again(tmp_path):
    corners = ((40.0, 30.0), (200.0, 50.0), (190.0, 100.0), (30.0, 80.0))
    image = Image.open(io.BytesIO(photograph()))
    to_source = crops.homography(corners, box_corners((40, 30, 200, 80)))
    slanted = image.transform(
        image.size, Image.Transform.PERSPECTIVE, to_source.ravel()[:8], Image.Resampling.BILINEAR
    )
    buffer = io.BytesIO()
    slanted.save(buffer, "PNG")
    first = crops.transform(
        np.linalg.inv(to_source), np.array(box_corners((40, 30, 80, 80)), float)
    )
    characters = (tuple(map(tuple, first.tolist())),)
    item = Plate(buffer.getvalue(), "p", "train", "A", (30, 30, 200, 100), corners, characters)
    prepare.prepare("set", reader([item]), tmp_path, rectify=True, workers=1)
    (example,) = read_back(tmp_path)
    x1, y1, x2, y2 = example["box"]
    found = example["characters"][0]
    expected = box_corners((x1, y1, x1 + (x2 - x1) / 4, y2))
    np.testing.assert_allclose(found, expected, atol=0.01)
    inner = example["image"][int(y1) + 3 : int(y2) - 3, int(x1) + 3 : int(x1 + (x2 - x1) / 4) - 3]
    assert np.abs(inner.astype(int) - FIRST).mean() < 10


def test_box_partly_outside_is_cut_and_box_outside_is_refused(tmp_path):
    partly = plate(box=(-10.0, 30.0, 80.0, 80.0), corners=None, characters=())
    prepare.prepare("set", reader([partly]), tmp_path / "a", workers=1)
    assert read_back(tmp_path / "a")[0]["box"][0] == 0
    for left in (250.0, 190.0):  # 7 and 47 % inside
        outside = plate("far", box=(left, 30.0, left + 150, 80.0))
        with pytest.raises(DataError, match="far: its box .* outside its image of 260×120"):
            prepare.prepare("set", reader([outside]), tmp_path / "b", workers=1)


def test_real_layout_on_several_processes_equals_one(tmp_path):
    trees.aolp_subset(tmp_path / "data/Subset_AC", 40, trees.jpeg())
    read = functools.partial(aolp.read, tmp_path / "data")
    for workers in (1, 2):
        report = prepare.prepare(
            "aolp", lambda b: read(on_bad=b), tmp_path / f"{workers}", workers=workers,
            plates_a_shard=16, expected={"ac": (681, 600), "rp": (611,)},
        )  # fmt: skip
    assert report.counts == {"ac": 40, "ac_second": 1}
    assert "(published: 681 or 600)" in str(report)
    assert "published and not there: rp" in str(report)
    shards = [sorted(p.name for p in (tmp_path / w).glob("aolp-*")) for w in "12"]
    assert shards[0] == shards[1]
    assert len(shards[0]) == 4
    for one, two in zip(*(read_back(tmp_path / w, "ac") for w in "12"), strict=True):
        assert one["name"] == two["name"]
        np.testing.assert_array_equal(one["image"], two["image"])
    texts = [example["text"].decode() for example in read_back(tmp_path / "2", "ac")]
    assert texts == [trees.taiwan_text(i) for i in range(1, 41)]


def test_stopped_run_goes_on_where_it_was(tmp_path):
    trees.aolp_subset(tmp_path / "data/Subset_AC", 30, trees.jpeg())
    bad_image = tmp_path / "data/Subset_AC/Image/25.jpg"
    bad_image.write_bytes(trees.jpeg()[:300])

    def run():
        return prepare.prepare(
            "aolp", lambda b: aolp.read(tmp_path / "data", b), tmp_path / "set", workers=1,
            plates_a_shard=10,
        )  # fmt: skip

    with pytest.raises(DataError, match="25.jpg"):
        run()
    with pytest.raises(DataError, match="holds no prepared data set"):
        records.Source(tmp_path / "set", "ac")
    first = tmp_path / "set/aolp-ac.array_record-00000-of-00003"
    last = tmp_path / "set/aolp-ac.array_record-00002-of-00003"
    before = first.stat().st_mtime_ns
    assert not last.exists()
    bad_image.write_bytes(trees.jpeg(3))
    assert run().counts["ac"] == 30
    assert first.stat().st_mtime_ns == before
    remade = last.stat().st_mtime_ns
    run()
    assert last.stat().st_mtime_ns == remade
    for changed in (trees.jpeg(4, width=100), trees.jpeg(4, width=100)):  # cut anew, of any size
        bad_image.write_bytes(changed)
        os.utime(bad_image, ns=(remade, remade + len(changed)))
        remade += 1
        made = last.stat().st_mtime_ns
        run()
        assert last.stat().st_mtime_ns != made
        assert first.stat().st_mtime_ns == before


def test_files_are_few_enough_to_be_open_together_and_many_enough_to_share_the_work():
    for plates, least in ((5_000, 75), (100_000, 190), (350_000, 190), (10_000_000, 190)):
        totals = collections.Counter(train=plates * 9 // 10, dev=plates // 10)
        assert least < sum(prepare._count_shards(totals).values()) < 230
    assert prepare._count_shards(collections.Counter(ac=60)) == {"ac": 1}


def test_both_passes_show_how_far_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "plate_bar", functools.partial(progress.plate_bar, mininterval=0))
    prepare.prepare("set", reader([plate("a"), plate("b")]), tmp_path, workers=1)
    assert re.search("reading labels: 2.*cutting: 100%.* 2.00/2.00 ", capsys.readouterr().err, re.S)


def test_report_of_a_messy_set(tmp_path):
    good = plate("a1")
    plates = [
        good,
        plate("t1", "test", "AB13"),  # the same image and box as a1, in another split
        plate("t2", "test", "AB12", box=(40.0, 31.0, 200.0, 80.0)),  # the same text
        plate("wrong", text="AI12"),
        plate("cut", text="CD34", box=(40.0, 30.0, 200.0, 79.0)),
        plate("none", text="", characters=()),
        plate("a9"),  # a1 once more
    ]
    plates[4] = Plate(b"\xff\xd8\xff\xe0 cut", "cut", "train", "CD34")
    report = prepare.prepare(
        "set", reader(plates), tmp_path, labels=prepare.Labels(TAIWAN, 6), skip_bad=True, workers=1
    )
    assert report.counts == {"train": 2, "test": 2}
    assert report.duplicates == [
        "t1 of test is a1 of train is a9 of train, labelled AB12 and AB13",
    ]
    assert report.shared_texts == 1
    assert report.without_text == 1
    assert "I" not in report.unseen
    assert set(report.unseen) == set(TAIWAN.characters) - set("AB123")
    assert [line.partition(":")[0] for line in report.bad] == ["cut", "wrong"]
    assert report.positions["test"][3] == {"3": 1, "2": 1}
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["counts"] == report.counts
    assert saved["bad"] == report.bad
    phrases = ["cut: is ", "'I' not in charset", "duplicates: 1", "text, left out: 1"]
    for phrase in (*phrases, f"characters never seen: {report.unseen}"):
        assert phrase in str(report)


def test_a_refused_command_leaves_a_finished_set_as_it_was(tmp_path):
    prepare.prepare("set", reader([plate()]), tmp_path, workers=1)
    for plates, options in (([], {}), ([plate()], {"labels": prepare.Labels(TAIWAN, 3)})):
        with pytest.raises(DataError):
            prepare.prepare("set", reader(plates), tmp_path, workers=1, **options)
        assert len(read_back(tmp_path)) == 1


def test_a_set_that_is_prepared_anew_is_not_opened_before_it_is_whole(tmp_path):
    prepare.prepare("set", reader([plate()]), tmp_path, workers=1)
    with pytest.raises(DataError, match="b: is "):
        prepare.prepare(
            "set", reader([plate(), Plate(b"none", "b", "train", "A")]), tmp_path, workers=1
        )
    with pytest.raises(DataError, match="holds no prepared data set"):
        records.Source(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "says"),
    [("AI12", "'I' not in charset .*: give one with it"), ("AAA12345", "num_characters is 7")],
)
def test_wrong_label_stops_before_any_image_is_read(tmp_path, text, says):
    plates = [Plate(b"not an image", "p", "train", text)]
    with pytest.raises(DataError, match=says):
        prepare.prepare(
            "set", reader(plates), tmp_path, labels=prepare.Labels(TAIWAN, 7), workers=1
        )


def test_nothing_to_prepare_and_foreign_directories(tmp_path):
    with pytest.raises(DataError, match="no plates with a text"):
        prepare.prepare("set", reader([]), tmp_path, workers=1)
    with pytest.raises(DataError, match="none of its photographs can be used; the first: nowhere"):
        absent = dataclasses.replace(plate(), image=pathlib.Path("nowhere.jpg"))
        prepare.prepare("set", reader([absent]), tmp_path / "bad", workers=1, skip_bad=True)
    with pytest.raises(DataError, match="1 bad ones, the first: nowhere.jpg: its text .AB12."):
        short = prepare.Labels(TAIWAN, 3)
        prepare.prepare("set", reader([absent]), tmp_path / "bad", labels=short, skip_bad=True)
    prepare.prepare("one", reader([plate()]), tmp_path, workers=1)
    with pytest.raises(DataError, match="holds another data set, one"):
        prepare.prepare("two", reader([plate()]), tmp_path, workers=1)
    (tmp_path / records.INFO).write_text("[]")
    with pytest.raises(DataError, match="is damaged: remove it and prepare again"):
        prepare.prepare("one", reader([plate()]), tmp_path, workers=1)


@pytest.mark.parametrize("later", [4, 0, 6])
def test_files_that_come_or_go_meanwhile_stop_it(tmp_path, later):
    counts = iter([5, later])
    read = lambda on_bad: iter([plate(f"p{i}") for i in range(next(counts))])  # noqa: E731
    with pytest.raises(DataError, match="its files changed while they were read"):
        prepare.prepare("set", read, tmp_path, workers=1, plates_a_shard=2)
    assert not (tmp_path / "dataset_info.json").exists()


def test_scenes_without_a_plate_are_counted_not_prepared(tmp_path):
    trees.write(tmp_path / "data/ccpd_np/1.jpg", trees.jpeg())
    trees.write(tmp_path / "data/ccpd_blur" / trees.ccpd_name(5), trees.jpeg())
    report = prepare.prepare(
        "ccpd", lambda b: ccpd.read(tmp_path / "data", b), tmp_path / "set", workers=1
    )
    assert (report.counts, report.without_text) == ({"blur": 1}, 1)


def test_tensorflow_is_not_needed():
    code = "import sys, hpa_jax.data.prepare; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shards_that_left_plates_out_are_not_taken_by_a_strict_run(tmp_path):
    trees.aolp_subset(tmp_path / "data/Subset_AC", 4, trees.jpeg())
    (tmp_path / "data/Subset_AC/Image/3.jpg").write_bytes(b"no image")

    def run(skip_bad):
        read = functools.partial(aolp.read, tmp_path / "data")
        return prepare.prepare(
            "aolp", lambda b: read(on_bad=b), tmp_path / "set", workers=1, skip_bad=skip_bad
        )

    assert run(skip_bad=True).counts["ac"] == 3
    assert "whole image is the plate" not in str(run(skip_bad=True))
    with pytest.raises(DataError, match="3.jpg: is not an image"):
        run(skip_bad=False)


def test_what_could_not_be_read_is_tried_again(tmp_path, monkeypatch):
    photo = tmp_path / "p.jpg"
    photo.write_bytes(trees.jpeg())
    plates = [plate("a"), Plate(photo, "p", "train", "AB12")]
    fails = {photo: OSError("disk")}

    def read_bytes(path, read=pathlib.Path.read_bytes):
        if path in fails:
            raise fails[path]
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", read_bytes)
    run = functools.partial(prepare.prepare, "set", reader(plates), tmp_path / "set", workers=1)
    assert run(skip_bad=True).bad == [f"{photo}: cannot be read: disk"]
    fails.clear()
    report = run(skip_bad=True)
    assert (report.counts, report.bad, report.whole_images) == ({"train": 2}, [], 1)
    assert "the whole image is the plate: 1" in str(report)


def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    def load(image):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(MemoryError):
        prepare.prepare("set", reader([plate()]), tmp_path, workers=1, skip_bad=True)


def test_the_same_photographs_make_the_same_files(tmp_path):
    read = reader([plate(f"p{i}", text=f"AB{i:02}") for i in range(12)])
    for run in "ab":
        prepare.prepare("set", read, tmp_path / run, workers=1, plates_a_shard=4)
    files = [
        {p.name: p.read_bytes() for p in (tmp_path / run).iterdir() if p.is_file()} for run in "ab"
    ]
    assert len(files[0]) > 4 and files[0] == files[1]


KILLED = """
import multiprocessing, os, pathlib, signal, sys, time
from hpa_jax.data import aolp, prepare

passes = []

def read(on_bad):
    yield from aolp.read(sys.argv[1], on_bad)
    passes.append(1)
    if len(passes) == 2 and sys.argv[3:]:  # of photographs, which workers cut by now
        while not list(pathlib.Path(sys.argv[2]).glob("*.partial")):
            time.sleep(0.005)
        print(*[worker.pid for worker in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    prepare.prepare("aolp", read, sys.argv[2], workers=2, plates_a_shard=60)
"""


def test_a_killed_run_leaves_no_workers(tmp_path):
    """Nor does what it left half written disturb the next one."""
    # Large, so that a shard stays half written for long enough to be seen.
    trees.aolp_subset(tmp_path / "data/Subset_AC", 61, trees.jpeg(width=2000, height=1500))
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, tmp_path / "killed.py", tmp_path / "data", tmp_path / "set"]
    # What still runs would hold the pipe open.
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "timeout": 60}
    printed = subprocess.run([*command, "kill"], check=False, **options).stdout
    workers = [int(pid) for pid in printed.split()]
    assert workers
    assert ended(workers)
    subprocess.run(command, check=True, **options)
    assert len(read_back(tmp_path / "set", "ac")) == 61
    assert not list((tmp_path / "set").glob("*.partial"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes to wait for")
def test_a_bad_file_does_not_wait_for_what_others_are_at(tmp_path):
    os.mkfifo(tmp_path / "slow.jpg")  # for ever
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    plates = [Plate(tmp_path / name, name, "train", "AB12") for name in ("slow.jpg", "bad.jpg")]
    before = set(multiprocessing.active_children())
    waiting = threading.Timer(30, lambda: (tmp_path / "slow.jpg").write_bytes(b"end"))
    waiting.start()
    with pytest.raises(DataError, match="bad.jpg: is not an image"):
        prepare.prepare("set", reader(plates), tmp_path / "set", workers=2, plates_a_shard=1)
    assert waiting.is_alive() and set(multiprocessing.active_children()) == before
    waiting.cancel()


def ended(workers):
    """Whether processes end, which are given ten seconds."""
    for _ in range(100):
        workers = [pid for pid in workers if _runs(pid)]
        time.sleep(0.1 if workers else 0)
    return not workers


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_only_what_is_trained_on_must_be_writable(tmp_path):
    def run(**options):
        plates = [plate("a", text="AB12", split="train"), plate("b", text="警AB1", split="dev")]
        labels = prepare.Labels(TAIWAN, 5, **options)
        return prepare.prepare("set", reader(plates), tmp_path / "set", labels=labels, workers=1)

    with pytest.raises(DataError, match="'警' not in charset"):
        run()
    assert run(checked=lambda split: split == "train").counts == {"train": 1, "dev": 1}
    with pytest.raises(DataError, match="fewer than 5 characters: that needs model.void=True"):
        run(checked=lambda split: split == "train", void=False)
    exact = prepare.Labels(TAIWAN, 4, void=False)  # as many characters as the network has
    prepare.prepare("set", reader([plate()]), tmp_path / "exact", labels=exact, workers=1)


def test_another_margin_cuts_the_plates_anew(tmp_path):
    widths = []
    for margin in (0.1, 0.2):
        prepare.prepare("set", reader([plate()]), tmp_path, margin=margin, workers=1)
        widths.append(read_back(tmp_path)[0]["image"].shape[1])
    assert widths == [192, 224]


def test_a_shard_that_was_cut_short_is_written_anew(tmp_path):
    for _ in range(2):
        prepare.prepare("set", reader([plate()]), tmp_path, workers=1)
        (shard,) = tmp_path.glob("set-train.*")
        whole = shard.stat().st_size
        shard.write_bytes(shard.read_bytes()[:99])
    prepare.prepare("set", reader([plate()]), tmp_path, workers=1)
    assert shard.stat().st_size == whole and len(read_back(tmp_path)) == 1


def test_shards_of_an_earlier_run_are_removed(tmp_path):
    for count in (1, 2):
        plates = [plate("a"), plate("b")]
        prepare.prepare("set", reader(plates), tmp_path, workers=1, plates_a_shard=count)
    assert len(list(tmp_path.glob("set-train.*"))) == 1


def test_two_plates_of_one_photograph_are_no_duplicates():
    digests = [shards.make_record(plate(box=(40, y, 200, 80)), False, 0.0)[1] for y in (30, 31)]
    assert digests[0] != digests[1]


def test_boxes_that_are_no_pixels_are_refused():
    for box in ((0.1, 0.2, 0.9, 0.8), (0.1, 0.2, 0.9, 80.0), (0.1, 0.2, 80.0, 0.8)):  # shares
        with pytest.raises(DataError, match=r"than 4×2 pixels: boxes are x1, y1, x2, y2 in pix"):
            shards.make_record(plate(box=box), False, 0.0)


def test_a_plate_without_corners_cannot_be_rectified():
    with pytest.raises(DataError, match="p: cannot be rectified: its corners are unknown"):
        shards.make_record(plate(corners=None), True, 0.0)


@pytest.mark.parametrize("shift", [(500, 0), (-40, -30), (0, 1e200)])
def test_characters_elsewhere_than_on_their_plate_are_refused(shift):
    """As those of a crop beside the box of its photograph; or in numbers past float32."""
    one = plate()
    moved = tuple(
        tuple((x + shift[0], y + shift[1]) for x, y in corners) for corners in one.characters
    )
    small = dataclasses.replace(one, characters=moved, box=(140.0, 60.0, 200.0, 80.0))
    with pytest.raises(DataError, match="p: its character boxes, within .* lie outside its box"):
        shards.make_record(small, rectify=False, margin=0.1)


def test_a_name_that_no_file_can_have_does_not_end_the_work(tmp_path):
    plates = [plate(), dataclasses.replace(plate(), image=tmp_path / ("a" * 300 + ".jpg"))]
    report = prepare.prepare("x", reader(plates), tmp_path / "x", skip_bad=True, workers=1)
    assert report.counts == {"train": 1}
    assert "aaa.jpg: cannot be read: File name too long" in str(report)


@pytest.mark.parametrize("rectify", [False, True])
def test_a_tall_plate_keeps_its_width(tmp_path, rectify):
    box = (160.0, 40.0, 800.0, 440.0)
    tall = plate(scale=4, box=box, corners=box_corners(box), characters=())
    prepare.prepare("set", reader([tall]), tmp_path, rectify=rectify, margin=0.0, workers=1)
    assert read_back(tmp_path)[0]["image"].shape[:2] == (150, 240)


def test_names_that_are_no_utf8_are_kept_readable(tmp_path):
    odd = plate("AB12_\udcff.jpg")  # as Python gives the byte 0xff of a file's name
    prepare.prepare("set", reader([odd]), tmp_path / "set", workers=1)
    (row,) = read_back(tmp_path / "set")
    assert row["name"].decode() == "AB12_\\udcff.jpg"


def test_corrected_labels_are_prepared_anew(tmp_path):
    for text in ("AB12", "AB13"):
        prepare.prepare("set", reader([plate(text=text)]), tmp_path, workers=1)
        assert read_back(tmp_path)[0]["text"].decode() == text


def test_rectified_plates_are_prepared_anew(tmp_path):
    corners = ((40.0, 30.0), (200.0, 50.0), (190.0, 100.0), (30.0, 80.0))
    images = []
    for rectify in (False, True):
        slanted = reader([plate(corners=corners, characters=())])
        prepare.prepare("set", slanted, tmp_path, rectify=rectify, workers=1)
        images.append(read_back(tmp_path)[0]["image"])
    assert images[0].shape != images[1].shape or (images[0] != images[1]).any()


def test_colours_keep_their_places(tmp_path):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, ::2, 0], pixels[:, 1::2, 1] = 255, 130  # equally bright
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    striped = Plate(buffer.getvalue(), "p", "train", "A")
    prepare.prepare("set", reader([striped]), tmp_path, workers=1)
    assert np.abs(read_back(tmp_path)[0]["image"].astype(int) - pixels).mean() < 20


def test_a_report_counts_boxes_and_tells_how_many_bad_files_it_leaves_out(tmp_path):
    plates = reader([plate("a"), plate("b", characters=(), text="AB13")])
    report = prepare.prepare("set", plates, tmp_path, workers=1)
    assert report.duplicates == ["a of train is b of train, labelled AB12 and AB13"]
    assert report.with_boxes == {"train": 1} and "with character boxes: 1 of train" in str(report)
    report.bad = [f"{i}" for i in range(23)]
    assert "… and 3 more in report.json" in str(report)


def test_any_of_several_published_numbers_is_the_right_one():
    published = {"le": (757, 582)}
    for count, says in ((582, False), (757, False), (581, True)):
        found = report.Report("x", published, {"le": count}, lengths={"le": {6: count}})
        assert ("(published: 757 or 582)" in str(found)) == says

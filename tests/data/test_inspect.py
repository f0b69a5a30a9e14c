"""Contact sheets and the character distribution: the pictures show what the data holds."""

import types

import numpy as np
from PIL import Image

from hpa_jax import picture
from hpa_jax.charset import CHINA, TAIWAN
from hpa_jax.data import inspect, prepare, records
from tests.data.test_prepare import plate, reader


def test_pictures_of_every_split(tmp_path):
    plates = [plate(f"p{i}", text=f"AB{i:02d}") for i in range(40)]
    plates += [plate("t", "test", "皖A12", characters=())]
    prepare.prepare("set", reader(plates), tmp_path / "set", workers=1)
    darker = []

    def augment(batch):
        darker.append(len(batch["image"]))
        return batch | {"image": batch["image"] // 2}

    paths = inspect.inspect(tmp_path / "set", tmp_path / "out", CHINA, 8, augment=augment)
    names = ["positions.png", "test.png", "test_positions.png", "train.png", "train_positions.png"]
    assert sorted(path.name for path in paths) == names
    assert all(Image.open(path).width > 100 for path in paths)
    assert sorted(darker) == [1, 32]


def test_sheet_shows_plate_augmented_plate_and_maps(tmp_path):
    prepare.prepare("set", reader([plate()]), tmp_path, workers=1)
    batch = inspect.sample(tmp_path, "train", TAIWAN, 6, (50, 160))
    darker = batch | {"image": batch["image"] // 2}
    sheet = np.asarray(picture.contact_sheet(batch, darker, TAIWAN, columns=1)).astype(int)
    top = picture.HEADER + 4
    tiles = [sheet[top : top + 50, 4 + 164 * i : 164 + 164 * i] for i in range(4)]
    assert (tiles[0] == batch["image"][0]).all()
    assert (tiles[1] == darker["image"][0]).all()
    for tile, name, background in ((tiles[2], "position", 6), (tiles[3], "semantic", 34)):
        painted = (tile != tiles[1]).any(axis=-1)
        assert (painted == (batch[name][0] != background)).mean() > 0.99
    assert (sheet[top + 50 :] < 100).any()  # a label beneath
    assert (sheet[: picture.HEADER] < 100).any()  # and the columns' names above
    plain = picture.contact_sheet(batch | {"has_maps": np.array([False])}, darker, TAIWAN, 1)
    assert plain.width == 2 * 164 + 8


def test_report_reads_as_it_was_written(tmp_path):
    report = prepare.prepare(
        "set", reader([plate()]), tmp_path, labels=prepare.Labels(TAIWAN), workers=1
    )
    assert records.read_report(tmp_path) == report
    assert "characters a plate: 1 of 4" in str(report)


def test_the_sheet_shows_the_whole_split(tmp_path):
    plates = [plate(f"p{i}", text=f"AB{i:02d}") for i in range(40)]
    prepare.prepare("set", reader(plates), tmp_path, workers=1)
    batch = inspect.sample(tmp_path, "train", TAIWAN, 4, (20, 40))
    texts = [TAIWAN.decode(ids) for ids in batch["characters"]]
    assert (texts[0], texts[-1]) == ("AB00", "AB39")


def test_the_chart_of_all_is_of_what_a_protocol_uses(tmp_path, monkeypatch):
    plates = [plate("a"), plate("t", "ac_second", "CD34567", characters=())]
    prepare.prepare("set", reader(plates), tmp_path / "set", workers=1)
    lengths, last = [], []

    def drawn(places):
        lengths.append(len(places))
        last.append(dict(places[-1]))
        return types.SimpleNamespace(savefig=lambda path: None)

    monkeypatch.setattr(inspect.charts, "positions", drawn)
    monkeypatch.setattr(inspect, "contact_sheet", lambda *_: Image.new("RGB", (9, 9)))
    for unused in ((), ("ac_second", "le_second"), ("ac_second", "train")):
        inspect.inspect(tmp_path / "set", tmp_path / "to", TAIWAN, 7, unused=unused)
    assert lengths[::3] == [7, 4, 7]  # of all; where no split is used, of every one
    assert last[::3] == [{"7": 1}, {"2": 1}, {"7": 1}]


def test_charts_are_of_each_split_and_the_first_column_as_it_was_prepared(tmp_path, monkeypatch):
    plates = [plate("a"), plate("t", "test", "CD34")]
    prepare.prepare("set", reader(plates), tmp_path / "set", workers=1)
    first_places, sheets, blank = [], [], Image.new("RGB", (9, 9))

    def drawn(places):
        first_places.append(dict(places[0]))
        return types.SimpleNamespace(savefig=lambda path: None)

    monkeypatch.setattr(inspect.charts, "positions", drawn)
    monkeypatch.setattr(inspect, "contact_sheet", lambda *two: sheets.append(two[:2]) or blank)
    inspect.inspect(tmp_path / "set", tmp_path / "to", TAIWAN, 4, jitter=0.1)
    assert sorted(map(sorted, first_places)) == [["A"], ["A", "C"], ["C"]]
    for plain, trained in sheets:
        split = {"AB12": "train", "CD34": "test"}[TAIWAN.decode(plain["characters"][0])]
        prepared = inspect.sample(tmp_path / "set", split, TAIWAN, 4, (50, 160))
        assert (plain["image"] == prepared["image"]).all()
        assert (trained["image"] != plain["image"]).any()

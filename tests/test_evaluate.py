"""Evaluation: what is counted, and what is said of it."""

import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import hpa_jax
from configs import files, quickstart
from hpa_jax import evaluate, inputs, picture, progress
from hpa_jax.data import prepare
from hpa_jax.recognize import Reading
from tests.data.test_prepare import plate, reader


def test_chinese_plates_are_also_counted_but_for_the_province_and_by_it():
    pairs = [("皖A1", "皖A1"), ("皖A2", "苏A2"), ("苏A3", "苏A4"), ("?", "皖A5"), ("?", "皖")]
    assert evaluate.summary(pairs) == [
        "1/5 plates right (20.00%)",
        "  ignoring the province 2/5 (40.00%)",
        "  by province: 皖 1/2, 苏 0/1; besides them 2 missed by the detector or not writable, all "
        "wrong",
    ]
    assert evaluate.summary([("AB12", "AB12"), ("?", "")]) == ["1/2 plates right (50.00%)"]


def test_a_run_is_evaluated_at_its_size_and_its_limits_are_said(tmp_path, monkeypatch, capsys):
    sizes = []

    def make_inputs(config, _, key):
        sizes.append(config.image_size)
        assert key != jax.random.key(config.seed)  # of which training's plates come
        assert not config.data.get("rendered")
        return inputs.Inputs(None, None, {})

    monkeypatch.setattr(inputs, "make_inputs", make_inputs)
    reader = types.SimpleNamespace(
        image_size=(25, 80),
        charset=hpa_jax.TAIWAN,
        model=hpa_jax.HPANet(num_characters=6),
    )
    config = quickstart.get_config()
    evaluate._evaluate(config, tmp_path, reader)
    assert sizes == [reader.image_size]
    assert config.image_size == quickstart.get_config().image_size  # the caller's is as it was
    said = capsys.readouterr().out
    assert "wrong" not in said and "Nothing tested: this config has no data.test" in said
    config = files.get_config()
    config.data.rendered = 0.5  # in training; what is tested is all from files
    config.charset, config.num_characters = "皖A1Ä", 8
    evaluate._evaluate(config, tmp_path, reader)
    said = capsys.readouterr().out
    assert "does not know 皖Ä: plates with these count as wrong" in said
    assert "reads up to 6 characters: longer plates count as wrong" in said


def test_all_that_a_reader_writes_can_be_right_whatever_the_config_does(tmp_path, capsys):
    config, texts = files.get_config("charset=AB12"), ["A1", "AB1212", "B12C", "AB12D"]
    config.num_characters, config.data.workers = 4, 0
    config.data.prepared = str(tmp_path / "set")
    plates = [plate(text, "dev", text, characters=()) for text in texts]
    prepare.prepare("folder", reader(plates), config.data.prepared, workers=1)
    trained = types.SimpleNamespace(
        image_size=(25, 80),
        charset=hpa_jax.Charset("12ABC"),
        model=hpa_jax.HPANet(num_characters=6, attention=False),
        read=lambda images, maps: [Reading(text, 0.5, ()) for text in texts],
    )
    evaluate._evaluate(config, tmp_path, trained)
    assert "dev 3/4 plates right" in capsys.readouterr().out
    assert (tmp_path / "failures_dev.csv").read_text().splitlines()[1:] == ["AB12D,AB12D,AB12D,"]


def test_semantic_maps_are_shown_where_plates_taught_them(tmp_path):
    config = files.get_config()
    for name, plates in (("with", [plate()]), ("without", [plate(characters=())])):
        config.data.prepared = str(tmp_path / name)
        prepare.prepare("folder", reader(plates), config.data.prepared, workers=1)
        assert evaluate._are_maps_taught(config) is (name == "with")
    config.data.rendered = 0.5
    assert evaluate._are_maps_taught(config)
    assert evaluate._are_maps_taught(quickstart.get_config())


def test_failures_are_listed_by_name_with_their_labels(tmp_path, capsys):
    config = files.get_config()
    config.data.prepared, config.data.test = str(tmp_path / "set"), {"mine": "dev"}
    plates = [plate(f"{i}.jpg", "dev", f"AB{i:02d}") for i in range(3)]
    plates += [plate("long.jpg", "dev", "AB123456789", characters=())]  # which nothing can write
    plates += [plate("missed.jpg", "dev", "XY12", missed=True)]
    prepare.prepare("folder", reader(plates), config.data.prepared, workers=1)
    pairs = [("AB00", "AB00"), ("AB01", "AB07"), ("AB02", "AB02"), ("?", "AB12"), ("?", "XY12")]
    evaluate._list_failures(config, "mine", pairs, tmp_path / "failures_mine.csv")
    assert (tmp_path / "failures_mine.csv").read_text().splitlines() == [
        "file,label,read,missed",
        "1.jpg,AB01,AB07,",
        "long.jpg,AB123456789,AB12,",
        "missed.jpg,XY12,XY12,missed by the detector",
    ]
    assert "failures_mine.csv" in capsys.readouterr().out


def test_results_go_to_the_run_by_the_name_of_their_test_set(tmp_path, monkeypatch, capsys):
    listed, semantic = [], []

    def read_all(reader, batches, charset, maps):
        semantic.append(maps)
        return [("皖A1", "皖A1"), ("皖A2", "苏A2")], {"readings": [], "failures": [row]}

    def evaluated(config, tests, workdir, **network):
        monkeypatch.setattr(inputs, "make_inputs", lambda *_: inputs.Inputs(None, None, tests))
        model = hpa_jax.HPANet(num_characters=8, **network)
        reader = types.SimpleNamespace(image_size=(25, 80), charset=hpa_jax.CHINA, model=model)
        evaluate._evaluate(config, workdir, reader)
        return capsys.readouterr().out

    row = Image.new("RGB", (9, 9))
    monkeypatch.setattr(evaluate, "read_all", read_all)
    monkeypatch.setattr(evaluate, "_list_failures", lambda *found: listed.append(found[1::2]))
    config = files.get_config("charset=china")
    config.loss.semantic = 0.0  # nobody taught the maps
    step = tmp_path / "checkpoints/4"
    (tmp_path / "readings_a.png").touch()  # an earlier evaluation's: now none is right
    said = evaluated(config, {"a": None, "b": None}, step, attention=False)
    assert listed == [(name, tmp_path / f"failures_{name}.csv") for name in "ab"]
    names = ["checkpoints", "failures_a.png", "failures_b.png"]
    assert {path.name for path in tmp_path.iterdir()} <= set(names)
    assert all((tmp_path / name).exists() for name in names[1:])
    assert "b 1/2 plates right (50.00%)\n  ignoring the province 2/2" in said
    assert "never seen" not in said and "HPA map" not in said
    rendered = quickstart.get_config()
    rendered.loss.semantic = 1.0
    said = evaluated(rendered, {"": None}, tmp_path / "new")  # which is made
    assert "1/2 plates right (50.00%), never seen in training" in said and "HPA map" in said
    assert (tmp_path / "new/failures.png").exists() and len(listed) == 2
    assert semantic[:2] == [None, None] and semantic[2]
    monkeypatch.chdir(tmp_path)
    evaluated(rendered, {"": None}, pathlib.Path("cn"))  # the shipped reader, trained without maps
    assert semantic[3] is None


def test_pictures_are_of_the_first_readings_and_failures(monkeypatch):
    def read(images, maps):
        return [Reading("AB", 0.5, ())] * len(images)

    reader = types.SimpleNamespace(read=read, charset=hpa_jax.TAIWAN)
    monkeypatch.setattr(picture, "maps_row", lambda image, reading, *shown: shown)
    ids = np.stack([hpa_jax.CHINA.encode(text, 3) for text in ("AB", "皖B", "AB", "AB")])
    ids[2, 0] = -1  # what nobody can write
    images, weight = np.zeros((4, 5, 9, 3), np.uint8), np.array([1, 1, 1, 0])
    batches = [{"image": images, "characters": ids, "weight": weight}] * 17
    pairs, pages = evaluate.read_all(reader, batches, hpa_jax.CHINA, lambda image: "classes")
    assert pairs == [("AB", "AB"), ("皖B", "AB"), ("?", "AB")] * 17
    assert pages["readings"] == [("AB", None)] * 16
    semantic = ("classes", len(hpa_jax.TAIWAN))  # of the reader
    assert pages["failures"] == [("皖B", semantic), ("?", semantic)] * 8


def test_the_bar_counts_plates_and_not_the_rows_that_fill_the_last_batch(monkeypatch):
    bars, plate_bar = [], progress.plate_bar

    def kept(*about, **options):
        bars.append(plate_bar(*about, **options))
        return bars[-1]

    monkeypatch.setattr(progress, "plate_bar", kept)
    test = inputs.TestSet(6, lambda: iter([{"weight": np.ones(4)}] * 2))
    assert len(list(evaluate.with_progress("dev", test))) == 2
    assert bars[0].n == 6


def test_a_single_file_is_no_run(tmp_path):
    (tmp_path / "reader.npz").write_bytes(b"x")
    with pytest.raises(ValueError, match="reader.npz: is a file: hpa_jax.assess reads with"):
        evaluate.evaluate_run(quickstart.get_config(), tmp_path / "reader.npz")


def test_a_semantic_map_has_the_class_at_each_place_of_pixels_from_0_to_1():
    def apply(variables, images):
        red = images[..., 0]
        return types.SimpleNamespace(semantic=jnp.stack([red, 0 * red + 0.5], axis=-1))

    reader = types.SimpleNamespace(model=types.SimpleNamespace(apply=apply), variables=None)
    image = np.full((2, 3, 3), 100, np.uint8)
    image[1, 2] = 200
    assert evaluate.semantic_map(reader)(image).tolist() == [[1, 1, 1], [1, 1, 0]]

"""Evaluation: what is counted, and what is said of it."""

import types

import hpa_jax
from configs import files, quickstart
from hpa_jax import evaluate, inputs
from hpa_jax.data import prepare
from tests.data.test_prepare import plate, reader


def test_chinese_plates_are_also_counted_but_for_the_province_and_by_it():
    pairs = [("皖A1", "皖A1"), ("皖A2", "苏A2"), ("苏A3", "苏A4"), ("?", "皖A5"), ("?", "皖")]
    assert evaluate.summary(pairs, hpa_jax.CHINA) == [
        "1/5 plates right (20.00%)",
        "  but for the province 2/5 (40.00%)",
        "  by province: 皖 1/2, 苏 0/1; besides them 2 missed by the detector or not writable, all "
        "wrong",
    ]
    assert evaluate.summary(pairs, hpa_jax.TAIWAN) == ["1/5 plates right (20.00%)"]


def test_a_run_is_evaluated_at_its_size_and_its_limits_are_said(tmp_path, monkeypatch, capsys):
    sizes = []

    def make_inputs(config, *_):
        sizes.append(config.image_size)
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
    assert "wrong" not in capsys.readouterr().out
    config = files.get_config()
    config.data.rendered = 0.5  # in training; what is tested is all from files
    config.charset, config.num_characters = "皖A1Ä", 8
    evaluate._evaluate(config, tmp_path, reader)
    said = capsys.readouterr().out
    assert "does not know 皖Ä: plates with these count as wrong" in said
    assert "reads up to 6 characters: longer plates count as wrong" in said


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
    config.data.prepared = str(tmp_path / "set")
    plates = [plate(f"{i}.jpg", "dev", f"AB{i:02d}") for i in range(3)]
    plates += [plate("long.jpg", "dev", "AB123456789", characters=())]  # which nothing can write
    plates += [plate("missed.jpg", "dev", "XY12", missed=True)]
    prepare.prepare("folder", reader(plates), config.data.prepared, workers=1)
    pairs = [("AB00", "AB00"), ("AB01", "AB07"), ("AB02", "AB02"), ("?", "AB12"), ("?", "XY12")]
    evaluate._list_failures(config, "dev", pairs, tmp_path / "failures_dev.csv")
    assert (tmp_path / "failures_dev.csv").read_text().splitlines() == [
        "file,label,read,missed",
        "1.jpg,AB01,AB07,",
        "long.jpg,AB123456789,AB12,",
        "missed.jpg,XY12,XY12,missed by the detector",
    ]
    assert "failures_dev.csv" in capsys.readouterr().out

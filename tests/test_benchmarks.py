"""Each benchmark runs as its users run it, at a tiny size, and leaves the figures it promises."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from hpa_jax.charset import CHINA
from hpa_jax.data import records
from tests.data import trees

pytest.importorskip("torch", reason="benchmarks compare with it: pip install 'hpa_jax[torch]'")
from benchmarks import data  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache"),
    "OMP_NUM_THREADS": "1",  # PyTorch's threads wait long for each other on a busy machine
}
AGAINST_PYTORCH = {"eager_over_ours", "fastest_pytorch_over_ours"}


@pytest.mark.parametrize(
    ("command", "ratios", "others"),
    [
        (
            ["forward", "--backbones=small", "--batch_sizes=1", "--rounds=1", "--nocompiled"],
            AGAINST_PYTORCH,
            {"candidates", "peak_flops_per_s"},
        ),
        (
            ["train_step", "--backbone=small", "--batch_size=2", "--rounds=1", "--nocompiled"],
            AGAINST_PYTORCH,
            {"candidates", "peak_flops_per_s", "share_of_step"},
        ),
        (
            ["reading", "--backbone=small", "--batch_size=2", "--rounds=1", "--count=4"],
            {"end_to_end_over_forward", "end_to_end_over_decoding", "end_to_end_over_limit"},
            {"plates_per_s", "limit"},
        ),
    ],
    ids=["forward", "train_step", "reading"],
)
def test_a_benchmark_writes_its_figures(command, ratios, others, tmp_path):
    name, *arguments = command
    printed = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments, f"--json={tmp_path / 'it.json'}"],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    record = json.loads((tmp_path / "it.json").read_text())
    assert record["machine"]["cpu"] and record["machine"]["cores"] >= 1
    (figures,) = record["results"]
    assert figures["network"] == "small" and others <= set(figures)
    values = [figures["ratios"][ratio] for ratio in ratios]
    assert min(values) > 0
    if ratios == AGAINST_PYTORCH:
        assert all(f"{value:.2f}" in printed for value in values)
        assert "PyTorch, eager, channels-last" in figures["candidates"]


def test_the_way_of_photographs_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "STEPS", 2)
    small = {"width": 0.125, "image_size": (16, 48), "batch_size": 2}
    monkeypatch.setattr(data, "SMALL", small)
    for i in range(4):
        trees.write(tmp_path / f"photographs/皖A1234{i}_0.jpg", trees.jpeg(i))
    prepared = data.time_preparing(str(tmp_path / "photographs"), 2, tmp_path / "sets")
    fed = data.time_feeding(tmp_path / "sets/preparing_all_cores", CHINA, workers=0)
    waiting = fed.pop("share of a fed step spent waiting")
    assert 0 < waiting < 1
    assert set(fed) == {"pipeline alone", "step on a ready batch", "step on fed batches"}
    assert min(*fed.values(), *prepared["plates_per_s"].values()) > 0
    assert len(records.Source(tmp_path / "sets/preparing_one_core", "train")) == 8

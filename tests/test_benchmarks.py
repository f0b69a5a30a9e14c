"""Each benchmark runs as its users run it, at a tiny size, and leaves the figures it promises."""

import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hpa_jax import onnx_model
from hpa_jax.charset import CHINA
from hpa_jax.data import records
from tests.data import trees

torch = pytest.importorskip(
    "torch", reason="benchmarks compare with it: pip install 'hpa_jax[torch]'"
)
from benchmarks import data, forward, networks, report, timing  # noqa: E402

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
            ["train_step", "--backbones=small", "--batch_sizes=2", "--rounds=1", "--nocompiled"],
            AGAINST_PYTORCH,
            {"candidates", "peak_flops_per_s", "share_of_step"},
        ),
        (
            ["reading", "--backbones=small", "--batch_sizes=2", "--rounds=1", "--nocompiled"]
            + ["--count=3"],
            AGAINST_PYTORCH
            | {"end_to_end_over_forward", "end_to_end_over_decoding", "end_to_end_over_limit"},
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
    assert all(f"{figures['ratios'][ratio]:.2f}" in printed for ratio in AGAINST_PYTORCH)
    assert figures["ratios"]["fastest_pytorch"] in printed
    if "candidates" in others:
        assert "PyTorch, eager, channels-last" in figures["candidates"]
    for candidate in figures.get("candidates", {}).values():
        assert candidate["flops"] == pytest.approx(candidate["flops_per_s"] * candidate["median_s"])


def test_help_names_the_flags_that_comparisons_share():
    command = [sys.executable, "-m", "benchmarks.train_step", "--help"]
    environment = os.environ | ENVIRONMENT
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert b"--backbones: " in done.stdout


def test_the_way_of_photographs_is_timed(shallow, tmp_path, monkeypatch):
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


def test_the_papers_average_of_passes_is_given_beside_the_median(capsys):
    timings = {"ours": timing._summary([0.001, 0.002, 0.006])}
    (figures,) = report.summarise(timings, {"ours": 1e9}, plates=1, peak=1e12).values()
    assert figures["mean_s"] == pytest.approx(0.003)
    report.print_candidates({"ours": figures})
    header, _, row = (
        [x.strip() for x in x.split("|")] for x in capsys.readouterr().out.split("\n")[:3]
    )
    assert row[header.index("mean")] == "3.00" and row[header.index("median ms")] == "2.00"


def test_what_the_machine_cannot_run_is_left_out(capsys):
    def out_of_memory():
        raise torch.OutOfMemoryError("CUDA out of memory\nand much more")

    makers = {"ours": lambda: lambda: 1, "PyTorch, eager": lambda: out_of_memory}
    makers["PyTorch, compiled"] = lambda: lambda: 2
    runs, results = timing.start(makers)
    assert results == {"ours": 1, "PyTorch, compiled": 2}
    assert capsys.readouterr().err == "PyTorch, eager: not measured: CUDA out of memory\n"
    ratios = report.make_ratios(timing.measure(runs, rounds=1, passes=3), ["ours"])
    assert ratios["fastest_pytorch"] == "PyTorch, compiled" and ratios["ours"] == "ours"
    assert math.isnan(ratios["eager_over_ours"]) and ratios["fastest_pytorch_over_ours"] > 0


def test_a_changed_network_is_timed_without_onnx_runtime(capsys, monkeypatch):
    monkeypatch.setattr(onnx_model, "STATED", "of another network")
    pair = networks.make_pair("small", "float32")
    makers = forward.our_makers(pair, networks.make_pixels(1, pair.image_size), "cpu")
    runs, _ = timing.start({"hpa_jax, ONNX Runtime": makers["hpa_jax, ONNX Runtime"]})
    assert not runs
    assert "not measured: runtime 'onnx': hpa_jax/models has changed" in capsys.readouterr().err


def test_candidates_that_read_otherwise_are_not_compared():
    logits = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 3.0, 2.999]]])
    ids = np.array([[0, 1]])
    sure = logits.softmax(-1).amax(-1).numpy()
    eager = {"PyTorch, eager": logits}
    forward.check_equal(eager | {"ours": (ids, sure), "close": (np.array([[0, 2]]), sure)}, 0.01)
    with pytest.raises(
        ValueError, match="ours: confidences differ from those of PyTorch, eager by 0.4"
    ):
        forward.check_equal(eager | {"ours": (np.array([[2, 1]]), sure)}, 0.01)
    with pytest.raises(ValueError, match="ours: confidences differ"):
        forward.check_equal(eager | {"ours": (ids, sure - 0.1)}, 0.01)
    with pytest.raises(ValueError, match="PyTorch, compiled: "):
        forward.check_equal(eager | {"PyTorch, compiled": logits.flip(-1)}, 0.01)


def test_arithmetic_is_counted_for_each_form_of_the_network():
    """XLA on a CPU computes wide convolutions of a batch with fewer products, ONNX Runtime not."""
    pair = networks.make_pair("resnet34", "float32")
    pixels = networks.make_pixels(16, pair.image_size)
    xla, onnx = forward.our_flops(pair, pixels, ["hpa_jax, XLA", "hpa_jax, ONNX Runtime"]).values()
    assert onnx == pytest.approx(2 * 16 * 0.887e9, rel=0.01)  # as benchmarks/README.md
    assert xla < 0.8 * onnx

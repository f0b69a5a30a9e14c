"""An exported reader stands alone and reads as the network does."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import hpa_jax
from hpa_jax import checkpoint, export, recognize

pytest.importorskip("flatbuffers", reason="StableHLO needs it: pip install 'hpa_jax[export]'")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's directory: a small grey reader with random weights that tells images apart."""
    model = hpa_jax.HPANet(width=0.125, num_characters=3, void=True, grey=True)
    tree = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 25, 80, 3), np.float32))
    rng = np.random.default_rng(0)

    def draw(path, x):
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
        fan = np.prod(x.shape[:-1]) if path[-1].key == "kernel" else 4
        return rng.normal(0, 1 / np.sqrt(fan), x.shape).astype(np.float32)

    workdir = tmp_path_factory.mktemp("run")
    manager = checkpoint.open_manager(workdir)
    metadata = checkpoint.make_metadata(model, hpa_jax.TAIWAN, (25, 80), ())
    checkpoint.save(manager, 1, jax.tree_util.tree_map_with_path(draw, tree), None, metadata)
    manager.close()
    return workdir


@pytest.fixture(scope="module")
def file(run):
    export.export(run, "stablehlo", run / "reader.stablehlo", maps=True)
    return run / "reader.stablehlo"


ALONE = """
import json, sys
import jax, numpy as np
from jax import export
exported = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
metadata = json.loads(exported.fun_name)
images = np.load(sys.argv[2])
out = exported.call(images)
texts = ["".join(metadata["charset"][i] for i in row if i < len(metadata["charset"]))
         for row in np.asarray(out["ids"])]
assert "hpa_jax" not in sys.modules
print(json.dumps([metadata, texts, [list(x.shape) for x in jax.tree.leaves(out)]]))
"""


def test_jax_alone_reads_with_the_file(run, file, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (5, 25, 80, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    printed = subprocess.run(
        [sys.executable, "-c", ALONE, file, tmp_path / "images.npy"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    metadata, texts, shapes = json.loads(printed)
    assert texts == [reading.text for reading in hpa_jax.load_recognizer(run).read(list(images))]
    assert metadata == {
        "charset": hpa_jax.TAIWAN.characters,
        "image_size": [25, 80],
        "version": hpa_jax.__version__,
    }
    assert shapes == [[5, 3], [5, 3], [5, 4, 10, 3]]  # confidences, ids, maps


def test_a_file_that_reads_otherwise_is_not_kept(run, tmp_path, monkeypatch):
    make_forward = recognize.make_forward

    def wrong(model):
        forward = make_forward(model)
        return lambda variables, images: forward(variables, images[:, ::-1])

    def broken(reader, maps):
        monkeypatch.setattr(recognize, "make_forward", wrong)
        file = export_stablehlo(reader, maps)
        monkeypatch.setattr(recognize, "make_forward", make_forward)
        return file

    export_stablehlo = export.export_stablehlo
    monkeypatch.setattr(export, "export_stablehlo", broken)
    with pytest.raises(ValueError, match="differ from the network's.*nothing kept"):
        export.export(run, "stablehlo", tmp_path / "reader.stablehlo")
    assert not (tmp_path / "reader.stablehlo").exists()


def test_onnx_runs_in_onnx_runtime_with_equal_strings(run, tmp_path):
    pytest.importorskip("jax2onnx", reason="ONNX needs an environment of its own: see the README")
    export.export(run, "onnx", tmp_path / "reader.onnx", maps=True)  # which compares them
    assert (tmp_path / "reader.onnx").stat().st_size > 10**6

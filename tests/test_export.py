"""An exported reader stands alone and reads as the network does."""

import json
import pathlib
import re
import subprocess
import sys
import types

import jax
import jax.export
import numpy as np
import onnxruntime
import pytest

import hpa_jax
from hpa_jax import checkpoint, export, readers, whole
from tests.networks import random_variables, smooth_images

pytest.importorskip("flatbuffers", reason="StableHLO needs it: pip install 'hpa_jax[export]'")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's directory: a small grey reader with random weights that tells images apart."""
    model = hpa_jax.HPANet(width=0.125, num_characters=3, void=True, grey=True)
    workdir = tmp_path_factory.mktemp("run")
    manager = checkpoint.open_manager(workdir)
    metadata = checkpoint.make_metadata(model, hpa_jax.TAIWAN, (25, 80), ("taiwan_old",))
    checkpoint.save(manager, 1, random_variables(model, (25, 80)), None, metadata)
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
    images = smooth_images(5, (25, 80))
    np.save(tmp_path / "images.npy", images)
    printed = subprocess.run(
        [sys.executable, "-c", ALONE, file, tmp_path / "images.npy"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    metadata, texts, shapes = json.loads(printed)
    assert texts == [
        reading.text for reading in hpa_jax.load_recognizer(run, "xla").read(list(images))
    ]
    assert metadata == {
        "charset": hpa_jax.TAIWAN.characters,
        "image_size": [25, 80],
        "usage": export.USAGE,
        "version": hpa_jax.__version__,
    }
    assert shapes == [[5, 3], [5, 3], [5, 4, 10, 3]]  # confidences, ids, maps


def test_a_file_for_any_device_holds_no_tricks_for_this_cpu(file):
    program = jax.export.deserialize(bytearray(file.read_bytes())).mlir_module()
    assert "stablehlo.convolution" in program
    assert "optimization_barrier" not in program  # GPUs and TPUs would write to memory at each
    assert re.search(r"tensor<\?x13x40x8xf32>", program)
    assert not re.search(r"tensor<\?x320xf32>", program)  # 40·8 as rows, which a TPU would copy


def test_onnx_computes_in_float32_whatever_the_run_did(run, tmp_path):
    variables, metadata = readers.load(run)
    half = metadata | {"network": metadata["network"] | {"dtype": "bfloat16"}}
    manager = checkpoint.open_manager(tmp_path)
    checkpoint.save(manager, 1, variables, None, half)
    manager.close()
    plates = smooth_images(70, (25, 80))
    compared = export.export(tmp_path, "onnx", tmp_path / "half.onnx", plates=plates)
    assert compared == 73  # these, and three random ones
    export.export(run, "onnx", tmp_path / "single.onnx")
    images = smooth_images(5, (25, 80))
    files = [(tmp_path / f"{name}.onnx").read_bytes() for name in ("half", "single")]
    half, single = (export.run_onnx(file)(images) for file in files)
    np.testing.assert_array_equal(half["confidences"], single["confidences"])


def unchecked(*_, **__):
    """In the place of a check, which would compile for long."""
    return 3


def test_an_npz_of_a_network_that_reads_nothing_yet_is_kept_and_told(run, tmp_path, monkeypatch):
    with pytest.warns(UserWarning, match="none of 3 images with a confidence of 0.5 or more, so n"):
        assert export.export(run, "npz", tmp_path / "early.npz", about="early") == 0
    assert hpa_jax.load_recognizer(tmp_path / "early.npz").charset == hpa_jax.TAIWAN
    monkeypatch.setattr(export, "check", unchecked)
    export.export(tmp_path / "early.npz", "npz", tmp_path / "again.npz", bits=8)
    again = readers.load(tmp_path / "again.npz")[1]
    assert again["about"] == "early"
    assert again["styles"] == readers.load(run)[1]["styles"] != []
    sizes = [(tmp_path / f"{name}.npz").stat().st_size for name in ("again", "early")]
    assert sizes[0] < 0.65 * sizes[1]


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such run"):
        export.export("nowhere", "onnx", tmp_path / "no" / "reader.onnx")
    with pytest.raises(ValueError, match="no is no folder: say with --to"):
        export.export(run, "onnx", tmp_path / "no" / "reader.onnx")
    with pytest.raises(ValueError, match="is a folder, must be a file"):
        export.export(run, "onnx", tmp_path)


def test_what_was_there_stays_where_the_disk_is_full(run, tmp_path, monkeypatch):
    def full(path, data):
        path.touch()
        raise OSError(28, "No space left on device")

    file = tmp_path / "reader.npz"
    file.write_bytes(b"before")
    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    monkeypatch.setattr(export, "check", unchecked)
    with pytest.raises(OSError, match="reader.npz: cannot be written .No space"):
        export.export(run, "npz", file)
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("reader.npz", b"before")]


def test_a_place_where_no_file_can_be_is_named_as_it_was_given(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file/reader.npz", f"{'r' * 245}.npz"):
        with pytest.raises(OSError, match=rf"{name}: cannot be written"):
            whole.write_whole(tmp_path / name, b"")


@pytest.mark.parametrize(
    ("style", "options", "says"),
    [
        ("npz", {"maps": True}, "maps are for"),
        ("tflite", {}, "format 'tflite': must be among"),
        ("npz", {}, "reader: must end in .npz, or say --format"),
        ("onnx", {"about": "x"}, "about is only for an"),
        ("onnx", {"bits": 8}, "bits are only for an .npz"),
    ],
)
def test_what_a_format_has_not_is_refused(run, tmp_path, style, options, says):
    with pytest.raises(ValueError, match=says):
        export.export(run, style, tmp_path / "reader", **options)


def test_there_are_no_maps_without_attention(tmp_path):
    options = {"attention": False, "classifier": "separate"}
    model = hpa_jax.HPANet(width=0.125, num_characters=3, void=True, **options)
    metadata = checkpoint.make_metadata(model, hpa_jax.TAIWAN, (25, 80), ())
    file = tmp_path / "plain.npz"
    file.write_bytes(readers.to_bytes(random_variables(model, (25, 80)), metadata))
    with pytest.raises(ValueError, match="plain.npz has no attention, so there are no maps"):
        export.export(file, "stablehlo", tmp_path / "reader", maps=True)


def test_another_formats_suffix_is_refused(run, tmp_path):
    for name in ("reader.onnx", "reader.ONNX"):
        with pytest.raises(ValueError, match=f"{name}: must end in .stablehlo, or say --format"):
            export.export(run, "stablehlo", tmp_path / name)


@pytest.mark.parametrize("style", ["stablehlo", "onnx"])
def test_a_file_that_reads_otherwise_is_not_kept(run, tmp_path, monkeypatch, style):
    runners = {"stablehlo": "run_stablehlo", "onnx": "run_onnx"}
    run_file = getattr(export, runners[style])
    wrong = lambda file: lambda images: run_file(file)(images[:, ::-1])  # noqa: E731
    monkeypatch.setattr(export, runners[style], wrong)
    with pytest.raises(ValueError, match="differ from the network's.*nothing kept"):
        export.export(run, style, tmp_path / "reader")
    assert not (tmp_path / "reader").exists()


def test_onnx_runtime_reads_with_the_file(run, tmp_path):
    export.export(run, "onnx", tmp_path / "reader.onnx", maps=True)  # which compares them
    session = onnxruntime.InferenceSession(tmp_path / "reader.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    charset = json.loads(properties["charset"])
    images = smooth_images(5, (25, 80))
    ids, confidences, maps = session.run(None, {"images": images})
    texts = ["".join(charset[i] for i in row if i < len(charset)) for row in ids]
    assert texts == [r.text for r in hpa_jax.load_recognizer(run, "xla").read(list(images))]
    assert json.loads(properties["image_size"]) == [25, 80]
    assert "RGB" in properties["usage"]
    assert "one past its end for no character" in properties["usage"]
    assert (confidences.shape, maps.shape) == ((5, 3), (5, 4, 10, 3))


def test_a_temperature_is_built_in(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "check", unchecked)
    for name, temperature in (("a", 1.0), ("b", 2.0)):
        export.export(run, "npz", tmp_path / f"{name}.npz", temperature=temperature)
    trees = [readers.load(tmp_path / f"{name}.npz")[0]["params"] for name in "ab"]
    biases = [tree["classifier"]["dense"]["bias"] for tree in trees]
    np.testing.assert_allclose(biases[1], biases[0] / 2, rtol=1e-3)


def test_only_plates_that_are_read_surely_are_compared(monkeypatch):
    def read(images):
        return {"ids": np.zeros((2, 4), int), "confidences": np.full((2, 4), 0.9)}

    def otherwise(images):
        return read(images) | {"ids": np.ones((2, 4), int)}

    monkeypatch.setattr(export, "_make_function", lambda reader, maps: read)
    monkeypatch.setattr(export.jax, "jit", lambda function: function)
    reader = types.SimpleNamespace(model=types.SimpleNamespace(attention=False))
    images = np.zeros((2, 9, 9, 3), np.uint8)
    export.check(reader, read, images, doubt=0.6)
    with pytest.raises(ValueError, match="exported ids differ"):
        export.check(reader, otherwise, images, doubt=0.6)
    with pytest.warns(UserWarning, match="none of 2 images with a confidence of 0.7"):
        export.check(reader, otherwise, images, doubt=0.7)
    broken = lambda images: read(images) | {"confidences": np.full((2, 4), np.nan)}  # noqa: E731
    with pytest.raises(ValueError, match="exported confidences differ"):
        export.check(reader, broken, images)


def test_the_file_runs_on_every_platform(file):
    exported = jax.export.deserialize(bytearray(file.read_bytes()))
    assert set(exported.platforms) == {"cpu", "cuda", "rocm", "tpu"}

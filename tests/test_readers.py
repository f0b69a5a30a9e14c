"""Small files of readers, and readers by name."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import traverse_util

import hpa_jax
from hpa_jax import checkpoint, export, readers, recognize
from tests.networks import random_variables, smooth_images
from tests.trap import Trap

SIZE = (25, 80)


@pytest.fixture(scope="module")
def reader():
    model = hpa_jax.HPANet(width=0.125, num_characters=3, void=True, grey=True)
    metadata = checkpoint.make_metadata(model, hpa_jax.TAIWAN, SIZE, ("taiwan_old",))
    return recognize.make_recognizer(random_variables(model, SIZE), metadata, "xla")


@pytest.fixture
def shipped(reader, tmp_path, monkeypatch):
    """A package that ships this reader as 'xx'."""
    data = export.export_npz(reader, ("taiwan_old",), "Plates of nowhere.")
    (tmp_path / "xx.npz").write_bytes(data)
    monkeypatch.setattr(readers, "SHIPPED", tmp_path)
    return tmp_path / "xx.npz"


def test_a_small_file_reads_as_the_network(reader, shipped):
    images = list(smooth_images(8, SIZE))
    ids = export.run_npz(shipped.read_bytes())(np.stack(images))["ids"]  # as a check runs it
    readings = hpa_jax.load_recognizer("xx").read(images)
    for small, full, row in zip(readings, reader.read(images), np.asarray(ids), strict=True):
        assert small.text == full.text == reader.charset.decode(row)
        assert small.confidence == pytest.approx(full.confidence, abs=0.02)
    variables, metadata = readers.load("xx")
    assert readers.load(shipped)[1] == metadata
    assert {x.dtype for x in _leaves(variables)} == {np.dtype("float32")}
    assert metadata["styles"] == ["taiwan_old"]
    assert metadata["about"] == "Plates of nowhere."


def test_8_bit_kernels_take_half_the_bytes_again(reader, shipped, tmp_path):
    (tmp_path / "8.npz").write_bytes(export.export_npz(reader, bits=8))
    assert (tmp_path / "8.npz").stat().st_size < 0.65 * shipped.stat().st_size
    kernels, quantised = (
        traverse_util.flatten_dict(variables["params"], sep="/")
        for variables in (reader.variables, readers.load(tmp_path / "8.npz")[0])
    )
    assert kernels.keys() == quantised.keys()
    for name, kernel in kernels.items():  # within half a step of each output channel's own scale
        largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
        off = np.abs(kernel - quantised[name]).max(axis=tuple(range(kernel.ndim - 1)))
        assert (off <= (largest / 253 if name.endswith("/kernel") else 0)).all(), name
    with pytest.raises(ValueError, match="bits 4: must be 8 or 16"):
        export.export_npz(reader, bits=4)


def test_kernels_of_nothing_but_zeros_stay_so_in_8_bits(reader):
    zeros = jax.tree.map(np.zeros_like, reader.variables)
    metadata = checkpoint.make_metadata(reader.model, reader.charset, SIZE, ())
    with np.errstate(all="raise"):  # of 0 / 0 each machine makes another integer, and it warns
        loaded, _ = readers.from_bytes(readers.to_bytes(zeros, metadata, bits=8))
    assert not any(x.any() for x in _leaves(loaded))


def test_a_run_comes_before_a_shipped_reader_of_its_name(shipped, tmp_path, monkeypatch):
    (tmp_path / "xx/checkpoints").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint below"):
        readers.load("xx")


def test_it_takes_half_the_bytes(reader, shipped):
    parameters = sum(x.size for x in map(np.asarray, _leaves(reader.variables)))
    assert shipped.stat().st_size < 2.3 * parameters


def _leaves(tree):
    return (
        [x for child in tree.values() for x in _leaves(child)] if isinstance(tree, dict) else [tree]
    )


def test_half_a_reader_is_not_written(reader):
    metadata = {"network": {}, "charset": "AB", "image_size": (50, 160)}
    with pytest.raises(ValueError, match="no whole reader: batch_stats, styles is missing"):
        readers.to_bytes({"params": reader.variables["params"]}, metadata)


def test_damaged_and_foreign_files_are_named(shipped, tmp_path):
    short = tmp_path / "short.npz"
    short.write_bytes(shipped.read_bytes()[:1000])
    np.savez(tmp_path / "foreign.npz", kernel=np.zeros(3))
    for name in ("short.npz", "foreign.npz"):
        with pytest.raises(ValueError, match=f"{name}: no reader, or damaged"):
            readers.load(tmp_path / name)
    (tmp_path / "foreign.npz").write_bytes(b"PKxxx")
    with pytest.raises(ValueError, match="foreign.npz: no reader, or damaged .*is no .npz file"):
        readers.load(tmp_path / "foreign.npz")
    twice = {"params": np.zeros(3), "params/kernel": np.zeros(3)}  # an array, and a folder of them
    np.savez(tmp_path / "twice.npz", metadata=np.array("{}"), **twice)
    with pytest.raises(ValueError, match="twice.npz: no reader, or damaged"):
        readers.load(tmp_path / "twice.npz")
    np.savez(tmp_path / "bare.npz", metadata=np.array('{"format": 1}'))
    with pytest.raises(ValueError, match="bare.npz: no reader: its metadata lack charset, "):
        readers.load(tmp_path / "bare.npz")
    np.savez(tmp_path / "number.npz", metadata=np.array("3"))
    with pytest.raises(ValueError, match="number.npz: no reader, or damaged"):
        readers.load(tmp_path / "number.npz")
    (tmp_path / "weights.pth").touch()
    with pytest.raises(ValueError, match="weights.pth: is no reader: give a .npz"):
        readers.load(tmp_path / "weights.pth")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        readers.load(tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match=r"xy: no such run or file, .* reader \(.*'xx'\)"):
        readers.load("xy")
    variables, metadata = readers.load("xx")
    (tmp_path / "new.npz").write_bytes(_with_format(readers.to_bytes(variables, metadata)))
    with pytest.raises(ValueError, match=r"new.npz: has format 99, .* reads formats 1 and 2"):
        readers.load(tmp_path / "new.npz")
    newer = metadata | {"network": metadata["network"] | {"depth": 3}}
    with pytest.raises(ValueError, match="no network of this version of hpa_jax: .*'depth'"):
        recognize.make_recognizer(variables, newer)


def _with_format(data):
    variables, metadata = readers.from_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "FORMAT", 99)
        return readers.to_bytes(variables, metadata)


def test_of_several_readers_the_surest_is_taken(reader):
    size = SIZE[0] + 16, SIZE[1] + 16
    metadata = checkpoint.make_metadata(reader.model, reader.charset, size, ())
    other = recognize.make_recognizer(random_variables(reader.model, size, seed=1), metadata, "xla")
    images = list(smooth_images(4, SIZE))
    taken = list(recognize.read_with_all([reader, other], images))
    both = zip(reader.read(images), other.read(images), strict=True)
    assert taken == [max(pair, key=lambda reading: reading.confidence) for pair in both]
    assert all(reading.maps is None for reading in taken)  # for nobody asked for them


def test_reading_needs_little(shipped):
    program = f"""
import sys
from hpa_jax import readers
import pathlib
readers.SHIPPED = pathlib.Path({str(shipped.parent)!r})
import hpa_jax, numpy as np
hpa_jax.load_recognizer("xx", "xla").read([np.zeros({(*SIZE, 3)}, np.uint8)])
print([m for m in ("orbax", "optax", "grain", "tensorboardX", "tensorflow_datasets", "tqdm",
                   "ml_collections", "matplotlib") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_small_file_that_would_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "trap.npz", metadata=np.array(Trap(tmp_path / "sprung"), object))
    with pytest.raises(ValueError, match="trap.npz: no reader, or damaged"):
        readers.load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


def test_weights_past_float16_are_not_stored(reader):
    large = jax.tree.map(lambda x: x * 1e6, reader.variables)
    metadata = checkpoint.make_metadata(reader.model, reader.charset, SIZE, ())
    with pytest.raises(ValueError, match="kernel: has values that are .* too large for float16"):
        readers.to_bytes(large, metadata)
    broken = jax.tree.map(np.array, reader.variables)
    broken["params"]["classifier"]["dense"]["kernel"][0, 0] = np.nan
    with pytest.raises(ValueError, match="dense/kernel: has values that are .* not numbers"):
        readers.to_bytes(broken, metadata, bits=8)  # which has no number for it

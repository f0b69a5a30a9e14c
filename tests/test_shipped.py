"""The readers that come with the package."""

import dataclasses
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import hpa_jax
from hpa_jax import assess, readers, recognize
from hpa_jax.data import aolp, folder
from hpa_jax.data.styles import STYLES
from hpa_jax.data.synthetic import make_renderer

MIB = 2**20
AOLP = pathlib.Path(__file__).resolve().parents[2] / "shared/aolp"
REAL = pathlib.Path(__file__).resolve().parents[2] / "shared/plates/cn"


def test_they_are_small_and_described():
    sizes = [file.stat().st_size for file in readers.SHIPPED.glob("*.npz")]
    assert max(sizes) < 16 * MIB and sum(sizes) < 80 * MIB
    for name in readers.shipped():
        _, metadata = readers.load(name)
        assert "plates" in metadata["about"]


def test_reading_takes_the_middle_one_of_each_country():
    assert readers.shipped_default() == ["cn", "tw"]
    for name in readers.shipped_default():
        names = f"{name}_small", name, f"{name}_full"
        small, middle, full = (readers.load(each)[1]["network"]["width"] for each in names)
        assert small < middle < full == 1.0


@pytest.fixture(scope="module")
def plates():
    """Rendered plates, clean ones, with their texts."""
    render = make_renderer(
        [STYLES[name] for name in ("taiwan_old", "taiwan_new")],
        hpa_jax.TAIWAN, 7, image_size=(48, 160), realism=0.2,
    )  # fmt: skip
    batch = jax.device_get(jax.jit(jax.vmap(render))(jax.random.split(jax.random.key(1), 32)))
    return batch["image"], [hpa_jax.TAIWAN.decode(ids) for ids in batch["characters"]]


@pytest.mark.parametrize("name", ["tw", "tw_small", "tw_full"])
def test_rendered_plates_are_read(name, plates):
    images, texts = plates
    readings = hpa_jax.load_recognizer(name).read(list(images))
    right = sum(reading.text == text for reading, text in zip(readings, texts, strict=True))
    assert right >= 28


@pytest.mark.parametrize(("name", "right"), [("tw", 5), ("tw_small", 4), ("tw_full", 5)])
def test_plates_of_aolp_are_read(name, right):
    if not AOLP.is_dir():
        pytest.skip(f"no plates of AOLP in {AOLP}")
    assessed = assess.assess([hpa_jax.load_recognizer(name)], aolp.read(AOLP))
    assert len(assessed) == 5
    assert sum(each.right for each in assessed) >= right


def test_bfloat16_reads_the_same(plates):
    variables, metadata = readers.load("tw")
    half = metadata | {"network": metadata["network"] | {"dtype": "bfloat16"}}
    single, other = (recognize.make_recognizer(variables, m, "xla") for m in (metadata, half))
    pairs = zip(single.read(list(plates[0])), other.read(list(plates[0])), strict=True)
    sure = [(a, b) for a, b in pairs if a.confidence > 0.9]
    assert len(sure) > 16
    assert all(a.text == b.text for a, b in sure)
    assert any(a.confidence != b.confidence for a, b in sure)  # it did compute in another type


def test_commands_know_them(plates, tmp_path):
    images, texts = plates
    for i in range(4):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text(
        "file,text\n" + "".join(f"{i}.png,{texts[i]}\n" for i in range(4))
    )

    def run(module, *arguments):
        line = [sys.executable, "-m", f"hpa_jax.{module}", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    listed = run("recognize", "--list").splitlines()
    assert [line.split()[0] for line in listed] == readers.shipped()
    full = "tw_full  17.8 M parameters (width 1.0), 50×160 pixels, "
    assert any(line.startswith(full) for line in listed)
    read = [line.split("\t")[1] for line in run("recognize", tmp_path).splitlines()]
    assert sum(a == b for a, b in zip(read, texts[:4], strict=True)) >= 3
    assessed = run("assess", "--checkpoint=tw", f"--to={tmp_path / 'to'}", tmp_path)
    assert re.search(r"all +[34]/4", assessed)
    assert (tmp_path / "to" / "reliability.png").exists()


@pytest.fixture(scope="module")
def blank():
    """Rendered plates without a number: their ink is their ground."""
    style = STYLES["taiwan_new"]
    grounds = [dataclasses.replace(p, ink=p.ground, top=None) for p in style.palettes]
    style = dataclasses.replace(style, palettes=tuple(grounds))
    render = jax.jit(jax.vmap(make_renderer([style], hpa_jax.TAIWAN, 7, image_size=(48, 160))))
    return list(jax.device_get(render(jax.random.split(jax.random.key(2), 32))["image"]))


@pytest.mark.parametrize("name", ["cn", "cn_small", "cn_full", "tw", "tw_small", "tw_full"])
def test_what_is_no_plate_is_not_trusted(name, plates, blank):
    """Plates without a number, shuffled tiles of plates, and noise of several grains."""
    rng = np.random.default_rng(0)
    shuffled = []
    for image in plates[0]:
        tiles = image.reshape(6, 8, 20, 8, 3).swapaxes(1, 2).reshape(-1, 8, 8, 3)
        tiles = rng.permutation(tiles).reshape(6, 20, 8, 8, 3)
        shuffled.append(tiles.swapaxes(1, 2).reshape(48, 160, 3))
    noise = [
        np.kron(rng.integers(0, 256, (48 // n, 160 // n, 3)), np.ones((n, n, 1))).astype(np.uint8)
        for n in (1, 2, 4, 8, 16) * 6
    ]
    readings = hpa_jax.load_recognizer(name).read(blank + shuffled + noise)
    confidences = [reading.confidence for reading in readings]
    assert np.median(confidences) < 0.05
    assert np.mean([c > 0.5 for c in confidences]) < 0.05


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real plates in ../shared")
@pytest.mark.parametrize("name", ["cn", "cn_small", "cn_full"])
def test_whole_plates_are_read_and_cut_ones_doubted(name):
    dev = [plate for plate in folder.read(REAL) if plate.split == "dev"][::9]
    whole = [assess.crop(plate) for plate in dev]
    cut = [image.crop((0, 0, 3 * image.width // 4, image.height)) for image in whole]
    reader = hpa_jax.load_recognizer(name)
    read = [r.text == plate.text for r, plate in zip(reader.read(whole), dev, strict=True)]
    assert np.mean(read) > 0.9
    assert np.mean([reading.confidence > 0.5 for reading in reader.read(cut)]) < 0.05

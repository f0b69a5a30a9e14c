"""The reader and its command, on a network with random weights: texts are noise, but exact."""

import csv
import io
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageSequence

from hpa_jax import checkpoint, pixels, readers, recognize, weights
from hpa_jax.charset import TAIWAN
from hpa_jax.models.hpa import HPANet
from tests.networks import random_variables, smooth_images

FULL = pathlib.Path("/dev/full")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A checkpoint of random weights, spread so that different plates read differently."""
    model = HPANet(width=0.125, num_characters=6, num_classes=34, void=True)
    variables = random_variables(model, (50, 160))
    path = tmp_path_factory.mktemp("run")
    manager = checkpoint.open_manager(path)
    metadata = checkpoint.make_metadata(model, TAIWAN, (50, 160), styles=())
    checkpoint.save(manager, 1, variables, {"count": np.zeros(1)}, metadata, accuracy=0.5)
    manager.close()
    return path


@pytest.fixture(scope="module")
def reader(workdir):
    return recognize.load_recognizer(workdir)


@pytest.fixture
def metadata(reader):
    return checkpoint.make_metadata(reader.model, reader.charset, reader.image_size, styles=())


@pytest.fixture(scope="module")
def images():
    return list(smooth_images(9, (50, 160)))


def test_a_plate_reads_the_same_alone_and_in_any_batch(reader, images):
    together = reader.read(images)
    assert len({r.text for r in together}) > 1
    for size in (1, 2, 5):
        for one, other in zip(reader.read(images, batch_size=size), together, strict=True):
            assert one.text == other.text
            assert one.confidence == pytest.approx(other.confidence, rel=1e-4)


def test_paths_pictures_and_arrays_read_alike(reader, images, tmp_path):
    path = tmp_path / "plate.png"
    Image.fromarray(images[0]).save(path)
    kinds = [path, str(path), path.read_bytes(), Image.open(path), images[0]]
    readings = reader.read(kinds)
    assert len(set(readings)) == 1
    for one in kinds:
        assert reader.read(one) == list(reader.read_each(one)) == reader.read([path])
    assert len(reader.probabilities(path)) == 1


def test_a_reader_goes_to_other_processes_and_runs_there_on_what_it_was_told(
    workdir, reader, images, monkeypatch
):
    assert pickle.loads(pickle.dumps(reader)).read(images) == reader.read(images)
    told = []
    monkeypatch.setattr(recognize, "make_forward", lambda *arguments: told.append(arguments[3]))
    pickle.loads(pickle.dumps(recognize.load_recognizer(workdir, "xla")))
    assert told == ["xla", "xla"]


def test_pictures_on_the_accelerator_are_read(reader, images):
    assert reader.read([jnp.asarray(images[0])]) == reader.read([images[0]])
    assert reader.read(jnp.asarray(images[0])) == reader.read(images[0])
    for several in (np.stack(images), jnp.stack(images), [np.stack(images)]):
        with pytest.raises(ValueError, match="of several make a list"):
            reader.read(several)


def test_a_phone_s_pictures_are_turned_upright(reader, images, tmp_path):
    turned = Image.fromarray(images[0]).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the tag "orientation": turn it clockwise
    turned.save(tmp_path / "plate.png", exif=exif)
    path, picture = tmp_path / "plate.png", Image.open(tmp_path / "plate.png")
    assert reader.read([path, picture, images[0]]) == reader.read([images[0]] * 3)


def test_confidence_is_the_product_over_positions(reader, images):
    for reading in reader.read(images):
        assert reading.text == "".join(c for c, _ in reading.characters)
        product = np.prod([p for _, p in reading.characters])
        assert 0 <= reading.confidence <= product * (1 + 1e-5)
        if len(reading.text) == 6:  # no void that counts too
            assert reading.confidence == pytest.approx(product, rel=1e-4)


def test_maps_come_one_a_character(reader, images):
    for reading in reader.read(images[:2], maps=True):
        assert reading.maps.shape == (len(reading.text), 7, 20)
        assert reading.maps.dtype == np.float32
        assert 0 <= reading.maps.min() <= reading.maps.max() <= 1
    assert reader.read(images[:1])[0].maps is None


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_every_mode_of_image_is_read(reader, images, mode):
    image = Image.fromarray(images[0]).convert(mode)
    assert reader.read([image]) == reader.read([np.asarray(image.convert("RGB"))])


class Broken(Image.Image):
    """A picture whose decoder raises what Pillow's raise over damaged chunks."""

    size = (9, 9)

    def load(self):
        raise SyntaxError("broken PNG file")


def test_wrong_images_are_named(reader, tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for path, problem in ((empty, "is empty"), (tmp_path / "absent.jpg", "cannot be read")):
        with pytest.raises(ValueError, match=f"{path.name}: {problem}"):
            reader.read([path])
    with pytest.raises(ValueError, match="float64: must be H×W×3 or H×W uint8"):
        reader.read([np.zeros((50, 160, 3))])
    with pytest.raises(ValueError, match="NoneType: must be a path, .*OpenCV returns None"):
        reader.read([None])
    with pytest.raises(ValueError, match=r"shape \(0, 9, 3\) and type uint8: must be"):
        reader.read([np.zeros((0, 9, 3), np.uint8)])  # an empty crop
    Image.new("RGB", (99, 99)).save(tmp_path / "cut.png")
    cut = io.BytesIO((tmp_path / "cut.png").read_bytes()[:80])
    for image in (Image.open(cut), Broken(), Image.new("RGB", (0, 5))):
        with pytest.raises(ValueError, match="^image: is damaged"):
            reader.read([image])


def test_errors_say_which_image_is_wrong(reader, images):
    wrong = [*images[:3], None]
    for read in (reader.read, reader.probabilities):
        with pytest.raises(ValueError, match="NoneType") as raised:
            read(wrong, batch_size=2)
        assert raised.value.__notes__ == ["number 3 of the images given, counted from 0"]


def test_frames_in_one_buffer_are_read_as_they_came(reader, images, tmp_path):
    """As cameras and films give them: the next frame overwrites the last."""
    buffer = np.empty_like(images[0])

    def frames():
        for image in images:
            buffer[:] = image
            yield buffer

    expected = reader.read(images)
    assert len(set(expected)) > 1
    assert reader.read(frames()) == expected
    first, *others = [Image.fromarray(image) for image in images]
    first.save(tmp_path / "film.tif", save_all=True, append_images=others)
    assert reader.read(ImageSequence.Iterator(Image.open(tmp_path / "film.tif"))) == expected


def test_pictures_that_are_closed_or_painted_over_are_read_as_they_came(reader, images, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)

    def closed():
        for path in paths:
            with Image.open(path) as picture:
                yield picture

    def painted():
        canvas = Image.new("RGB", (160, 50))
        for image in images:
            canvas.paste(Image.fromarray(image))
            yield canvas

    expected = reader.read(images)
    assert reader.read(closed()) == expected
    assert reader.read(painted()) == expected


def test_one_opened_picture_may_come_often(reader, images, tmp_path, monkeypatch):
    monkeypatch.setattr(pixels.machine, "cores", lambda: 8)  # wherever this runs
    large = Image.fromarray(images[0]).resize((1600, 500))
    for i in range(20):  # Pillow decodes late: threads must not do so to one picture at once
        large.save(tmp_path / f"{i}.jpg")
        readings = reader.read([Image.open(tmp_path / f"{i}.jpg")] * 8)
        assert len(set(readings)) == 1


def test_no_checkpoint_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint below .*--workdir"):
        recognize.load_recognizer(tmp_path)


def test_a_damaged_checkpoint_is_explained(workdir, tmp_path):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    for file in (copy / "checkpoints" / "1" / "variables").rglob("*"):
        if file.is_file() and file.stat().st_size > 1000:
            file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be restored: it is damaged"):
        recognize.load_recognizer(copy)


def command(workdir, *arguments, stdout=subprocess.PIPE):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "hpa_jax.recognize",
            f"--checkpoint={workdir}",
            *map(str, arguments),
        ],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_command_reads_on_past_broken_files(workdir, reader, images, tmp_path):
    folder = tmp_path / "plates"
    folder.mkdir()
    for i, name in enumerate([b"0.png", b"1 \xe9.png"]):  # the second is no UTF-8
        Image.fromarray(images[i]).save(folder / os.fsdecode(name))
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "other").mkdir()
    Image.fromarray(images[2]).save(folder / "other/0.png")
    long = folder / f"{'z' * 245}.png"  # its maps' name would be longer than a name may be
    Image.fromarray(images[3]).save(long)
    maps = folder / "maps"
    done = command(workdir, "--format=json", f"--maps={maps}", folder)
    assert done.returncode == 1
    assert "broken.jpg: is not an image" in done.stderr
    assert f"error: maps of {long}: " in done.stderr
    assert len(done.stderr.splitlines()) == 2
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["text"] for record in records] == [r.text for r in reader.read(images[:4])]
    assert records[1]["file"] == str(folder / os.fsdecode(b"1 \xe9.png"))
    drawn = sorted(maps.iterdir())
    assert len(drawn) == 3  # though two files have one name
    assert drawn[0].name.endswith("_0.png.maps.png")
    again = command(workdir, "--format=json", f"--maps={maps}", folder)
    assert again.stdout == done.stdout  # the maps that lie there by now are no plates
    assert str(drawn[0]) in command(workdir, f"--maps={maps}", drawn[0]).stdout  # unless named


def test_command_says_when_images_are_no_plates(reader, metadata, images, tmp_path):
    unsure = weights.soften(reader.variables, 9.0)
    (tmp_path / "unsure.npz").write_bytes(readers.to_bytes(unsure, metadata | {"about": ""}))
    for i in range(2):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    done = command(tmp_path / "unsure.npz", tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        "2 of 2 were read with a confidence below 0.01: an image must be one plate, cut out\n"
    )


@pytest.mark.skipif(not FULL.exists(), reason="there is no full disk to write to")
def test_command_ends_in_a_line_where_the_disk_is_full(workdir, images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "0.png")
    for arguments in ((tmp_path,), (tmp_path, "--format=csv"), ("--list",)):
        with FULL.open("w") as full:
            done = command(workdir, *arguments, stdout=full)
        assert done.returncode == 2
        assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.parametrize("style", ["text", "json", "csv"])
def test_printed_confidence_never_passes_what_the_reading_does_not(style, capsys):
    recognize._write("file", recognize.Reading("A", 0.46578, (("A", 0.46578),)), style)
    printed = capsys.readouterr().out
    assert (
        "0.4657" in printed and '"confidence": 0.4658' not in printed and ",0.4658" not in printed
    )
    assert ('["A", 0.4658]' in printed) == (style == "json")  # of one character, rounded


def test_a_file_name_cannot_write_lines_of_its_own(capsys):
    recognize._write("a\tAB1\t0.99\n\rb.jpg", recognize.Reading("X", 0.5, (("X", 0.5),)), "text")
    assert capsys.readouterr().out == "a\\tAB1\\t0.99\\n\\rb.jpg\tX\t0.5000\n"


def test_a_link_in_a_circle_is_no_map(tmp_path):
    (tmp_path / "circle.png").symlink_to("circle.png")
    found = recognize._photographs([str(tmp_path)], tmp_path / "maps", pytest.fail)
    assert found == [tmp_path / "circle.png"]  # which the decoder names


def test_maps_may_be_drawn_into_the_folder_that_is_read(tmp_path):
    for name in ("0.png", "00001_0.png.maps.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    found = recognize._photographs([str(tmp_path)], tmp_path, pytest.fail)
    assert found == [tmp_path / "0.png"]


def test_command_writes_csv_and_text(workdir, reader, images, tmp_path):
    path = tmp_path / "0.png"
    Image.fromarray(images[0]).save(path)
    expected = reader.read(images[:1])[0]
    done = command(workdir, "--format=csv", path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 0
    assert [(row["file"], row["text"]) for row in rows] == [(str(path), expected.text)]
    (tmp_path / "empty").mkdir()
    done = command(workdir, tmp_path / "empty", path)
    assert done.stdout.split("\t")[1] == expected.text
    suffixes = ".bmp .gif .jfif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {tmp_path / 'empty'}: is a folder without images ({suffixes})\n",
    )


def test_voids_count_in_the_confidence_and_have_no_map(reader):
    maps = np.arange(2 * 3 * 4.0, dtype=np.float32).reshape(2, 3, 4)
    ids, confidences = np.array([34, 3, 34, 7]), np.array([0.5, 0.9, 1.0, 0.8])
    reading = reader._reading(ids, confidences, maps)
    assert (reading.text, reading.characters) == ("37", (("3", 0.9), ("7", 0.8)))
    assert reading.confidence == pytest.approx(0.5 * 0.9 * 0.8)
    np.testing.assert_array_equal(reading.maps, [maps[..., 1], maps[..., 3]])
    nothing = reader._reading(np.full(4, 34), confidences, None)
    assert (nothing.text, nothing.confidence) == ("", 0.0)


def test_the_surest_of_several_readers_is_taken_whichever_comes_first():
    def stub(text, confidence):
        reading = recognize.Reading(text, confidence, ())
        return types.SimpleNamespace(
            image_size=(5, 8), _read_decoded=lambda decoded, maps: iter([reading] * len(decoded))
        )

    readers = [stub("A", 0.3), stub("B", 0.7)]
    for order in (readers, readers[::-1]):
        (reading,) = recognize.read_with_all(order, [np.zeros((5, 8, 3), np.uint8)])
        assert reading.text == "B"


def test_readers_from_a_generator_read_and_readings_with_maps_compare(reader, images):
    read = list(recognize.read_with_all((r for r in [reader, reader]), images[:3], maps=True))
    assert read == reader.read(images[:3]) and len(set(read)) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_maps_are_drawn_of_what_a_pipe_gave(workdir, images, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    file = io.BytesIO()
    Image.fromarray(images[0]).save(file, "PNG")
    threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=[file.getvalue()]).start()
    done = command(workdir, f"--maps={tmp_path / 'maps'}", tmp_path / "pipe.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "maps").iterdir())) == 1


def test_wrong_calls_are_refused_at_once(reader, images, monkeypatch):
    with pytest.raises(ValueError, match="no readers to read with"):
        recognize.read_with_all([], images)
    for names in ([], [""], ["tw", ""]):
        with pytest.raises(ValueError, match="--checkpoint is empty"):
            recognize.load_recognizers(names)
    for read in (reader.read, reader.read_each, reader.probabilities):
        with pytest.raises(ValueError, match="batch_size 0: must be at least 1"):
            read(images, batch_size=0)
    monkeypatch.setattr(readers, "shipped", lambda: [])
    with pytest.raises(ValueError, match="no reader is installed with the package"):
        recognize.load_recognizers()


def test_probabilities_come_in_batches(reader, images):
    everything = reader.probabilities(images[:5], batch_size=2)
    np.testing.assert_allclose(everything, reader.probabilities(images[:5]), rtol=1e-4, atol=1e-6)
    assert reader.probabilities([]).shape == (0, *everything.shape[1:])


def test_probabilities_of_all_classes(reader, images):
    everything = reader.probabilities(list(images[:5]))
    outputs = len(reader.charset) + reader.model.void
    assert everything.shape == (5, reader.model.num_characters, outputs)
    np.testing.assert_allclose(everything.sum(axis=-1), 1, rtol=1e-5)
    for row, reading in zip(everything, reader.read(images[:5]), strict=True):
        kept = row.argmax(axis=-1) < len(reader.charset)
        best = row.max(axis=-1)[kept]
        np.testing.assert_allclose(best, [p for _, p in reading.characters], rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"backbone": "resnet34"}, "backbone resnet34 has 16 blocks, but the ResNet has 8"),
        ({"charset": "AB"}, "network.num_classes is 34, but the charset has 2"),
        ({"charset": "AB", "num_classes": 2}, "num_classes is 2, but the classifier has 34"),
        ({"num_characters": 5}, "network.num_characters is 5, but the position network has 6"),
        ({"width": 0.25}, "network.width 0.25 makes 248 channels, but the classifier has 128"),
        ({"dtype": "float33"}, "no network of this version of hpa_jax: data type 'float33'"),
        (
            {"backbone": "resnet19"},
            "network.backbone 'resnet19': must be among resnet18, .*; add one of your own to",
        ),
        ({"classifier": "separate"}, "is 'separate', but the tree has a shared classifier"),
        ({"attention": False}, "attention is False, but the tree has a position network"),
    ],
)
def test_metadata_of_another_network_are_refused(reader, metadata, change, says):
    network = metadata["network"]
    network |= {name: value for name, value in change.items() if name != "charset"}
    metadata |= {name: value for name, value in change.items() if name == "charset"}
    with pytest.raises(ValueError, match=says):
        recognize.make_recognizer(reader.variables, metadata)
    with pytest.raises(ValueError, match="metadata: 'charset' is missing"):
        recognize.make_recognizer(reader.variables, {"network": network})


def test_separate_classifiers_of_other_characters_are_refused():
    model = HPANet(width=0.125, num_characters=3, classifier="separate", attention=False)
    metadata = checkpoint.make_metadata(model, TAIWAN, (25, 80), styles=())
    metadata["network"]["num_characters"] = 2
    with pytest.raises(ValueError, match="characters is 2, but the tree of classifiers has 3"):
        recognize.make_recognizer(random_variables(model, (25, 80)), metadata)


def test_broken_weights_and_sizes_are_refused(reader, metadata):
    broken = jax.tree.map(np.copy, jax.device_get(reader.variables))
    broken["params"]["classifier"]["dense"]["bias"][3] = np.nan
    with pytest.raises(ValueError, match="params/classifier/dense/bias: has values that are"):
        recognize.make_recognizer(broken, metadata)
    for size in ("48x160", (50,), (0, 160), (48.0, 160)):
        with pytest.raises(ValueError, match="metadata: image_size .*must be height and width"):
            recognize.make_recognizer(reader.variables, metadata | {"image_size": size})


def test_a_part_of_a_network_is_no_reader(reader, metadata):
    part = {"params": {"backbone": reader.variables["params"]["backbone"]}}
    with pytest.raises(ValueError, match="no whole network .*'classifier'"):
        recognize.make_recognizer(part, metadata)
    part = {"params": reader.variables["params"]}
    with pytest.raises(ValueError, match="no whole network .*'batch_stats'"):
        recognize.make_recognizer(part, metadata)


@pytest.mark.parametrize("runtime", ["xla", "onnx"])
def test_missing_and_misshapen_arrays_are_refused_before_a_plate_is_read(reader, metadata, runtime):
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
    variables = jax.tree.map(lambda x: x, reader.variables)
    dense = variables["params"]["classifier"]["dense"]
    dense["kernel"] = np.concatenate([dense["kernel"]] * 2, axis=-1)
    with pytest.raises(ValueError, match="no whole network"):
        recognize.make_recognizer(variables, metadata, runtime)
    del variables["params"]["semantic_network"]["fusion_conv"]
    with pytest.raises(ValueError, match="no whole network .*fusion_conv"):
        recognize.make_recognizer(variables, metadata, runtime)


def test_a_file_of_another_network_is_named(reader, metadata, tmp_path):
    metadata |= {"charset": "AB", "about": ""}
    (tmp_path / "two.npz").write_bytes(readers.to_bytes(reader.variables, metadata))
    with pytest.raises(ValueError, match=r"two.npz: metadata: network.num_classes is 34, but"):
        recognize.load_recognizers(["tw", str(tmp_path / "two.npz")])


@pytest.mark.parametrize("name", ["tw", pathlib.Path("tw")])
def test_one_reader_in_a_lists_place_is_named(name):
    with pytest.raises(ValueError, match=r"'tw': must be a list, \['tw'\]"):
        recognize.load_recognizers(name)

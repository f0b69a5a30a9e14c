"""Configs of the paper's data sets, and the way from the user's files to batches through them."""

import importlib
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import common
from hpa_jax import charset, datasets, fields, inputs, machine, picture, readers, train
from hpa_jax.data import images, media_lab, records
from hpa_jax.data.layouts import compile_layouts
from hpa_jax.data.plate import DataError
from hpa_jax.data.styles import STYLES
from tests.data import trees


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """This process prepares, for others take seconds to start."""
    monkeypatch.setattr(machine, "cores", lambda: 1)


def get_config(name, arg=""):
    return importlib.import_module(f"configs.{name}").get_config(arg)


@pytest.mark.parametrize(
    ("name", "arg", "train", "test"),
    [
        ("aolp", "test=AC", "le582+rp", {"AC": "ac"}),
        ("aolp", "test=RP,le=757,backbone=resnet101", "ac+le582+le175", {"RP": "rp"}),
        ("aolp", "test=LE", "ac+rp", {"LE582": "le582", "LE757": "le582+le175"}),
        ("media_lab", "fold=2", "fold0+fold1+fold3+difficult", {"fold2": "fold2"}),
        ("ccpd", "", "base_train", {"base": "base_test"}),
        ("ccpd", "test=blur", "base_train", {"blur": "blur"}),
        ("clpd", "", "", {"clpd": "test"}),
        ("files", "charset=china", "train", {"dev": "dev"}),
    ],
)
def test_protocols(name, arg, train, test):
    config = get_config(name, arg)
    assert config.data.train == train
    assert config.data.test.to_dict() == test
    assert config.data.reader in datasets.READERS


def test_the_papers_hyperparameters():
    for name in ("aolp", "media_lab"):
        config = get_config(name)
        assert config.optimizer.learning_rate == 2e-5
        assert config.batch_size == 256
    for name, most, void in (("aolp", 6, False), ("ccpd", 7, False), ("media_lab", 7, True)):
        config = get_config(name)
        assert (config.num_characters, config.model.void) == (most, void)
    config = get_config("ccpd", "init=runs/x,backbone=resnet50")
    assert (config.optimizer.learning_rate, config.model.backbone) == (2e-5, "resnet50")
    assert config.loss.semantic == config.loss.position == 0


@pytest.mark.parametrize("name", ["aolp", "ccpd", "clpd", "files", "media_lab", "synthetic"])
def test_a_backbone_is_the_one_that_is_asked_for(name):
    arg = "resnet101" if name == "synthetic" else "backbone=resnet101"
    assert get_config(name, arg).model.backbone == "resnet101"


def test_data_sets_lie_apart_and_start_from_what_they_are_told():
    names = ["aolp", "ccpd", "clpd", "files", "media_lab"]
    data = [get_config(name).data for name in names]
    assert len({folder for c in data for folder in (c.root, c.prepared)}) == 2 * len(names)
    for name in ("aolp", "ccpd", "files", "media_lab"):
        told, fresh = get_config(name, "init=runs/x"), get_config(name, "init=")
        assert (told.init.checkpoint, fresh.init.checkpoint) == ("runs/x", "")
        assert told.optimizer.warmup_steps == 0 < fresh.optimizer.warmup_steps
    assert not get_config("ccpd").init.checkpoint


@pytest.mark.parametrize(
    ("name", "arg"),
    [
        *(("synthetic", backbone) for backbone in ("", "resnet101")),
        *(("finetune", country) for country in ("greece", "china", "taiwan")),
        *(
            (reader, size)
            for reader in ("reader_cn", "reader_tw")
            for size in ("small", "wide", "full")
        ),
    ],
)
def test_a_config_can_write_the_plates_that_it_renders(name, arg):
    config = get_config(name, arg)
    fields.check(config)
    styles, weights = [STYLES[name] for name in config.data.styles], config.data.weights or None
    known = charset.find_charset(config.charset)
    compile_layouts(styles, known, config.num_characters, ["font"], weights)


@pytest.mark.parametrize("name", ["reader_cn", "reader_tw"])
def test_a_wide_reader_goes_on_from_the_small_one(name):
    small, wide = get_config(name, "small"), get_config(name, "wide")
    assert wide.init.checkpoint == f"runs/{name}" != small.init.checkpoint
    assert wide.model.width == 2 * small.model.width
    for field in ("charset", "num_characters", "image_size"):
        assert wide[field] == small[field]


@pytest.mark.parametrize("country", ["cn", "tw"])
def test_a_full_reader_is_the_papers_network_and_goes_on_from_the_shipped_one(country):
    full = get_config(f"reader_{country}", "full")
    assert full.init.checkpoint in readers.shipped()
    assert (full.model.width, full.image_size) == (1.0, common.get_config().image_size)
    _, metadata = readers.load(full.init.checkpoint)
    assert metadata["charset"] == charset.find_charset(full.charset).characters
    assert metadata["network"]["num_characters"] == full.num_characters


@pytest.mark.parametrize(
    ("name", "arg", "says"),
    [
        ("aolp", "tset=LE", "known are test, le, backbone, init"),
        ("aolp", "test=XX", "should be one of AC, LE, RP"),
        ("aolp", "le=600", "582 plates in the paper"),
        ("aolp", "le=all", "should be an int"),
        ("media_lab", "fold=4", "should be one of 0, 1, 2, 3"),
        ("reader_cn", "large", "size 'large': must be small, wide or full"),
        ("reader_tw", "large", "size 'large': must be small, wide or full"),
    ],
)
def test_wrong_arguments_are_explained(name, arg, says):
    with pytest.raises(ValueError, match=says):
        get_config(name, arg)


def test_from_the_users_tree_to_batches(tmp_path, capsys):
    trees.ccpd_base(tmp_path / "CCPD", train=12, test=5, image=trees.jpeg())
    config = get_config("ccpd")
    config.data.root, config.data.prepared = str(tmp_path / "CCPD"), str(tmp_path / "set")
    config.data.estimate_boxes = ("china_blue",)
    config.data.workers = 0
    config.batch_size = 4
    datasets.prepare_run(config)
    printed = capsys.readouterr().out
    assert "base_train         12  characters a plate: 12 of 7  (published: 100000)" in printed
    (batch,) = itertools.islice(datasets.train_batches(config, 4, 3), 1)
    assert batch["image"].shape == (4, 50, 160, 3)
    assert batch["has_maps"].all()
    assert "neither trained" not in capsys.readouterr().out
    datasets.prepare_run(config)
    assert "replaces" not in capsys.readouterr().out
    trees.ccpd_base(tmp_path / "other", train=11, test=5, image=trees.jpeg())
    other = config.copy_and_resolve_references()
    other.data.root, other.data.estimate_boxes = str(tmp_path / "other"), ()
    other.loss.semantic = 1.0
    datasets.prepare_run(other)
    assert "replaces other plates that were prepared there: {'base_" in capsys.readouterr().out
    datasets.train_batches(other, 4, 0)
    assert "they train on their text alone" in capsys.readouterr().out
    other.loss.character = 0.0
    with pytest.raises(ValueError, match="loss.character 0: no plate of base_train has character"):
        datasets.train_batches(other, 4, 0)
    other.data.rendered = 0.5  # which have them
    datasets.train_batches(other, 4, 0)
    datasets.prepare_run(config)
    config.data.test = {}
    datasets.train_batches(config, 4, 0)
    assert "neither trained on nor tested: base_test (5 plates)" in capsys.readouterr().out
    config.data.test = {"base": "base_test"}
    assert (np.unique(batch["position"][0]) == np.arange(8)).all()
    tests = datasets.test_sets(config)
    assert [batch["weight"].sum() for batch in tests["base"][1]()] == [4, 1]
    datasets.inspect_prepared(config, tmp_path / "run")
    assert (tmp_path / "run/inspect/base_train_positions.png").exists()


def test_rendered_plates_among_those_of_files(tmp_path, monkeypatch):
    trees.ccpd_base(tmp_path / "CCPD", train=12, test=5, image=trees.jpeg())
    config = get_config("ccpd")
    config.data.root, config.data.prepared = str(tmp_path / "CCPD"), str(tmp_path / "set")
    config.data.workers, config.data.rendered = 0, 0.5
    config.batch_size = 4
    datasets.prepare_run(config)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with pytest.raises(ValueError, match=r"data.styles \[\]: what is rendered must be among"):
        inputs.make_inputs(config, sharding, jax.random.key(0))

    def make_render(config, sharding, testing=False):
        shapes = {"image": (*config.image_size, 3), "characters": (7,), "has_maps": ()}
        shapes |= dict.fromkeys(("semantic", "position"), config.image_size) | {"weight": ()}
        return lambda keys: {name: jnp.ones((len(keys), *shape)) for name, shape in shapes.items()}

    monkeypatch.setattr(inputs, "make_render", make_render)  # which would compile for long
    plates = inputs.make_inputs(config, sharding, jax.random.key(0))
    batch = plates.make_batch(jax.random.key(1), next(plates.feed(0)))
    assert batch["image"].shape == (4, 50, 160, 3)
    assert batch["has_maps"].tolist() == [False, False, True, True]
    config.data.rendered = 0.7  # as many on each of the two devices
    plates = inputs.make_inputs(config, sharding, jax.random.key(0))
    batch = plates.make_batch(jax.random.key(1), next(plates.feed(0)))
    assert batch["has_maps"].tolist() == [False, False, True, True]
    for share, rows in ((0.1, 0), (1.0, 4)):
        config.data.rendered = share
        with pytest.raises(ValueError, match=f"data.rendered {share}: is {rows} of 4 plates"):
            inputs.make_inputs(config, sharding, jax.random.key(0))


@pytest.mark.parametrize("field", ["reader", "estimate_boxes"])
def test_wrong_names_are_explained(field):
    config = get_config("files")
    config.data[field] = "cpcd" if field == "reader" else ("blue",)
    with pytest.raises(ValueError, match=f"data.{field}='.*' should be one of"):
        datasets.prepare_run(config)


def test_rendered_plates_are_not_prepared(tmp_path):
    with pytest.raises(ValueError, match="renders its plates.*configs/files.py"):
        datasets.prepare_run(get_config("synthetic"))


def test_rendered_plates_can_be_looked_at(tmp_path, monkeypatch, capsys):
    """Clean ones beside the same ones as training sees them, with both maps."""
    asked = []

    def make_render(config, sharding, testing=False):
        asked.append(config.data.realism)
        rows, shade = 32, round(100 * config.data.realism)
        plate = {"image": jnp.full((rows, *config.image_size, 3), shade, jnp.uint8)}
        plate |= {
            name: jnp.zeros((rows, *config.image_size), int) for name in ("position", "semantic")
        }
        plate |= {"characters": jnp.zeros((rows, 7), jnp.int32)}
        return lambda keys: plate | {"has_maps": jnp.ones(rows, bool)}

    monkeypatch.setattr(inputs, "make_render", make_render)  # which would compile for long
    inputs.inspect_run(get_config("synthetic"), tmp_path / "run")
    path = tmp_path / "run/inspect/rendered.png"
    assert capsys.readouterr().out.strip() == str(path)
    assert asked == [0.0, 1.0]
    sheet = np.asarray(Image.open(path))
    assert sheet.shape[1] == 2 * (4 * 164 + 8)
    top = picture.HEADER + 4
    assert (sheet[top : top + 50, 4:164] == 0).all()
    assert (sheet[top : top + 50, 168:328] == 100).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", -1),
        ("margin", -0.3),
        ("jitter", 3.0),
        ("loose", -1.0),
        ("cut", 1.5),
        ("augment", -1.0),
        ("realism", -1.0),
    ],
)
def test_wrong_numbers_are_explained(field, value, tmp_path):
    config = get_config("files")
    config.data[field] = value
    for run in (datasets.prepare_run, lambda config: inputs.inspect_run(config, tmp_path)):
        with pytest.raises(ValueError, match=f"data.{field} {value}: "):
            run(config)


def test_numbers_at_the_ends_of_their_ranges_are_allowed():
    config = get_config("files")
    config.data.jitter = config.data.cut = 1.0
    config.optimizer.decay = config.ema = config.data.augment = 0.0
    config.model.dtype, config.image_size = "bfloat16", (16, 16)
    fields.check(config)


def test_damaged_sets_are_named(tmp_path):
    trees.write(tmp_path / "data/AB12.jpg", trees.jpeg())
    config = get_config("files")
    config.data.root, config.data.prepared = str(tmp_path / "data"), str(tmp_path / "set")
    datasets.prepare_run(config)
    for file, run in (("dataset_info.json", datasets.prepare_run), ("report.json", open_test_sets)):
        (tmp_path / "set" / file).write_text('{"name": ')
        with pytest.raises(DataError, match=f"{file}: is damaged"):
            run(config)


def open_test_sets(config):
    config.data.test = {"": "train"}
    datasets.test_sets(config)


def test_missing_data_are_explained(tmp_path):
    config = get_config("aolp")
    config.data.root, config.data.prepared = str(tmp_path / "none"), str(tmp_path / "set")
    with pytest.raises(DataError, match="none: does not exist; expected a folder with AOLP"):
        datasets.prepare_run(config)
    for open_it in (
        lambda: datasets.train_batches(config, 4, 0),
        lambda: datasets.test_sets(config),
    ):
        with pytest.raises(DataError, match="--mode=prepare"):
            open_it()


def test_a_config_that_only_tests_is_not_trained_and_said_before_anything_compiles(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(train, "_train", None)
    with pytest.raises(ValueError, match="only tests.*--mode=evaluate"):
        train.train_and_evaluate(get_config("clpd"), tmp_path)


@pytest.mark.parametrize("name", ["cn_small", "tw"])
def test_a_shipped_reader_is_trained_on_as_it_is(name):
    config, metadata = get_config("files", f"init={name}"), readers.load(name)[1]
    assert config.model.width == metadata["network"]["width"]
    assert config.num_characters == metadata["network"]["num_characters"]
    assert list(config.image_size) == metadata["image_size"]
    assert config.charset == metadata["charset"]
    assert get_config("files", f"init={name},charset=greece").charset == "greece"
    assert get_config("files").charset == "taiwan"


def test_a_run_is_trained_on_as_it_is(tmp_path, monkeypatch):
    config = common.get_config()
    config.model.width, config.image_size, config.num_characters = 0.25, (48, 160), 9
    config.charset = "AB12"
    trees.write(tmp_path / "config.json", config.to_json_best_effort())
    for run in (tmp_path, tmp_path / "checkpoints/60"):
        found = get_config("files", f"init={run}")
        assert (found.model.width, found.image_size) == (0.25, (48, 160))
        assert (found.num_characters, found.charset) == (9, "AB12")
    assert get_config("files", f"init={tmp_path},charset=greece").charset == "greece"
    assert get_config("files", f"init={tmp_path / 'none'}").model.width == 1.0
    monkeypatch.chdir(tmp_path)  # where one is makes no start
    assert get_config("files").model.width == 1.0


def test_missing_test_sets_are_said_before_training(tmp_path, capsys):
    trees.write(tmp_path / "data/labels.csv", "file,text,split\n1.jpg,AB12,train\n2.jpg,CD34,rp\n")
    for name in ("1.jpg", "2.jpg"):
        trees.write(tmp_path / "data" / name, trees.jpeg())
    config = get_config("files")
    config.data.root, config.data.prepared = str(tmp_path / "data"), str(tmp_path / "set")
    datasets.prepare_run(config)
    missing = "Nothing to test on: no plate is of the split 'dev'; to add one, use the CSV's column"
    assert missing in capsys.readouterr().out
    with pytest.raises(
        DataError, match="no split 'dev'; .*'rp': 1.*--config.data.test.dev=SPLIT; to add one, use"
    ):
        datasets.test_sets(config)
    config.data.train = "training"
    with pytest.raises(
        DataError, match="no split 'training'; .*name one with --config.data.train="
    ):
        datasets.train_batches(config, 1, 0)
    config.data.train = "train"
    config.data.test = {"both": "dev+rp"}
    with pytest.raises(DataError, match=r"has no split 'dev\+rp'; it has"):
        datasets.test_sets(config)
    config.data.test = {"RP": "rp", "both": "rp+dev"}
    assert list(datasets.test_sets(config)) == ["RP"]
    assert "not tested: both" in capsys.readouterr().out


def folder_config(tmp_path, rows, broken=()):
    """A config of a folder with a labels.csv (and images, but for the broken ones), no workers."""
    trees.write(tmp_path / "data/labels.csv", "\n".join(["file,text,split,corners", *rows]))
    for i, name in enumerate(sorted({row.split(",")[0] for row in rows})):
        trees.write(tmp_path / "data" / name, b"no image" if name in broken else trees.jpeg(i))
    config = get_config("files")
    config.data.root, config.data.prepared = str(tmp_path / "data"), str(tmp_path / "set")
    config.data.workers = 0
    return config


def test_preparing_does_as_the_config_says(tmp_path):
    """Rectified, without margin; bad rows left out; texts that only a test has are kept."""
    rows = [
        '0.jpg,AB12,train,"10,10;90,20;80,60;5,50"',
        "1.jpg,AB13,train,",
        '2.jpg,警B13,dev,"0,0;96,0;96,64;0,64"',
        "2.jpg,警B14,train,",
    ]
    config = folder_config(tmp_path, rows, broken=["1.jpg"])
    config.data.rectify, config.data.margin = True, 0.0
    config.data.skip_bad = config.data.any_text = True
    datasets.prepare_run(config)
    report = records.read_report(config.data.prepared)
    assert report.counts == {"train": 1, "dev": 1}
    assert len(report.bad) == 2
    record = records.parse(records.Source(config.data.prepared, "train")[0])
    assert images.open_rgb(record.image).size == (81, 41)  # the slanted plate's longer sides


def test_where_all_splits_are_trained_on_texts_of_all_are_checked(tmp_path):
    config = folder_config(tmp_path, ["0.jpg,警B13,dev,"])
    config.data.any_text, config.data.train = True, "all"
    with pytest.raises(DataError, match="'警' not in charset"):
        datasets.prepare_run(config)


def test_second_plates_of_aolp_may_be_of_any_length(tmp_path):
    trees.aolp_subset(tmp_path / "data/Subset_LE", 3, trees.jpeg())
    second = tmp_path / "data/Subset_LE/groundtruth_recognition/1_2.txt"
    second.write_text("A\nB\n1\n2\n3\n")
    config = get_config("aolp")
    config.data.root, config.data.prepared = str(tmp_path / "data"), str(tmp_path / "set")
    datasets.prepare_run(config)
    assert records.read_report(config.data.prepared).counts["le_second"] == 1
    config.data.train = "le582[90%:20%]"
    with pytest.raises(DataError, match="has no split 'le582.90%:20%.'"):
        datasets.train_batches(config, 1, 0)


def test_green_plates_of_ccpd_have_one_character_more(tmp_path):
    parts = trees.ccpd_name(1).split("-")
    parts[-3] += "_1"
    trees.write(tmp_path / "data/ccpd_green/test" / "-".join(parts), trees.jpeg())
    config = get_config("ccpd")
    config.data.root, config.data.prepared = str(tmp_path / "data"), str(tmp_path / "set")
    datasets.prepare_run(config)
    assert records.read_report(tmp_path / "set").lengths == {"green_test": {8: 1}}


def test_the_seed_decides_the_folds(tmp_path):
    trees.media_lab(tmp_path / "data", 8, 1)
    for path in (plate.image for plate in media_lab.read(tmp_path / "data")):
        trees.write(path, trees.jpeg())
    folds = []
    for seed in (0, 1):
        config = get_config("media_lab")
        config.data.root, config.data.fold_seed = str(tmp_path / "data"), seed
        config.data.prepared = str(tmp_path / f"set{seed}")
        datasets.prepare_run(config)
        source = records.Source(config.data.prepared, "fold0")
        folds.append([records.parse(source[i]).name for i in range(len(source))])
    assert folds[0] != folds[1]


def test_a_part_of_a_split_is_tested_and_its_texts_are_checked(tmp_path):
    config = folder_config(tmp_path, [f"{i}.jpg,AB{i}2,rp," for i in range(4)])
    datasets.prepare_run(config)
    config.data.test = {"half": "rp[:50%]"}
    assert list(datasets.test_sets(config)) == ["half"]
    config.charset, config.data.train = "01AB", "rp[:50%]"
    with pytest.raises(DataError, match="characters 2"):
        datasets.train_batches(config, 2, 0)


def test_feeding_goes_on_from_a_step_and_does_as_the_config_says(tmp_path, monkeypatch):
    config = folder_config(tmp_path, [f"{i}.jpg,AB{i}2,train," for i in range(8)])
    config.data.augment, config.data.test, config.batch_size = 0.0, {"t": "train"}, 4
    datasets.prepare_run(config)
    batches = list(itertools.islice(datasets.train_batches(config, 4, 0), 4))
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    plates = inputs.make_inputs(config, sharding, jax.random.key(0))
    fed = next(plates.feed(3))
    np.testing.assert_array_equal(fed["image"], batches[3]["image"])
    assert plates.make_batch(jax.random.key(0), fed)["image"] is fed["image"]  # augment is 0
    config.data.jitter = 0.0
    assert (next(datasets.train_batches(config, 4, 3))["image"] != batches[3]["image"]).any()
    given = {}
    feed = lambda *_, **options: given.update(options)  # noqa: E731
    monkeypatch.setattr(datasets.pipeline, "train_batches", feed)
    monkeypatch.setattr(datasets.augment, "augment", lambda *batch, **options: feed(**options))
    config.seed, config.image_size, config.model.void, config.data.workers = 7, (48, 96), False, 3
    config.data.augment, config.data.cut = 0.5, 0.25
    datasets.train_batches(config, 4, 0)
    datasets.make_augment(config)(None, None)
    wanted = {"seed": 7, "image_size": (48, 96), "void": False, "workers": 3}
    assert (wanted | {"strength": 0.5, "cut": 0.25}).items() <= given.items()


def test_a_process_of_several_feeds_its_part(monkeypatch):
    parts = []
    monkeypatch.setattr(datasets, "test_sets", lambda config, part: parts.append(part) or {})
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    config = get_config("files")
    config.data.augment = 0.0
    for alone in (False, True):
        inputs.make_inputs(config, types.SimpleNamespace(is_fully_addressable=alone), None)
    assert parts == [(1, 2), (0, 1)]


def test_files_that_were_cut_short_are_told_before_a_run_is_at_work_on_them(tmp_path):
    config = folder_config(tmp_path, ["0.jpg,AB12,train,", "1.jpg,AB13,dev,"])
    datasets.prepare_run(config)
    (file,) = (tmp_path / "set").glob("folder-train.array_record-*")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        DataError, match="set: is damaged: the files of train have .* copy it again"
    ):
        datasets.train_batches(config, 1, 0)
    assert records.Source(config.data.prepared, "dev")[0]
    file.unlink()
    with pytest.raises((DataError, OSError), match="folder-train.array_record"):
        datasets.train_batches(config, 1, 0)


def test_a_set_that_was_prepared_anew_is_told_on_resuming(tmp_path):
    config = folder_config(tmp_path, ["0.jpg,AB12,train,", "1.jpg,AB13,dev,"])
    datasets.prepare_run(config)
    (tmp_path / "config.json").write_text(train.described(config))
    assert train.changes(config, tmp_path / "config.json") == []
    datasets.prepare_run(config)  # of the same photographs
    assert train.changes(config, tmp_path / "config.json") == []
    folder_config(tmp_path, ["0.jpg,AB14,train,", "1.jpg,AB13,dev,"])
    datasets.prepare_run(config)
    (change,) = train.changes(config, tmp_path / "config.json")
    assert change.startswith("data.contents was ")


def test_nothing_is_prepared_where_a_run_reads(tmp_path):
    config = folder_config(tmp_path, ["0.jpg,AB12,train,", "1.jpg,AB13,dev,"])
    datasets.prepare_run(config)

    def prepare_meanwhile(*_):
        with pytest.raises(ValueError, match="set: another run is using it"):
            datasets.prepare_run(config)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "_train", prepare_meanwhile)
        train.train_and_evaluate(config, tmp_path / "run")
    datasets.prepare_run(config)

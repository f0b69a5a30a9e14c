"""Training as a user meets it: resumed, interrupted, broken off, misconfigured."""

import itertools
import json
import math
import os
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import hpa_jax
from configs import quickstart
from hpa_jax import (
    checkpoint,
    evaluate,
    inputs,
    interrupt,
    optimizer,
    progress,
    recognize,
    train,
    train_state,
)
from hpa_jax.models import hpa
from tests.networks import random_variables, smooth_images

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def config():
    """The quick start, cut to what compiles fast and learns nothing."""
    c = quickstart.get_config()
    c.model.width = 0.125
    c.loss.semantic = 1.0
    c.image_size = (25, 80)
    c.batch_size, c.eval_size = 4, 6
    c.num_steps, c.log_every, c.eval_every = 4, 1, 2
    c.keep_checkpoints = 2
    c.optimizer.warmup_steps = 0
    return c


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """An uninterrupted run: its directory and its last state."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, train.train_and_evaluate(config, workdir)


def assert_equal_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_metrics_are_written(run, config):
    lines = [json.loads(line) for line in (run[0] / "metrics.jsonl").read_text().splitlines()]
    terms = {"loss", "character_loss", "semantic_loss", "position_loss"}
    assert terms | {"learning_rate", "gradient_norm"} <= set(lines[0])
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    schedule, _ = train.make_optimizer(config)
    assert rates == [float(schedule(count)) for count in range(4)]  # what the updates were made by
    assert [line["step"] for line in lines if "accuracy" in line] == [2, 4]
    assert json.loads((run[0] / "config.json").read_text())["batch_size"] == config.batch_size
    assert Image.open(run[0] / "curves.png").width > 300
    kept = [step.name for step in (run[0] / "checkpoints").iterdir() if step.name.isdecimal()]
    assert sorted(kept) == ["2", "4"]


def test_an_interrupted_run_goes_on_exactly(run, config, tmp_path, monkeypatch):
    """SIGTERM in the third step; the same command then ends where the straight run ended.

    A second SIGTERM, as clusters send it, comes while the state is saved.
    """
    make_train_step, made = train.make_train_step, []

    def kept(*arguments, **options):
        made.append(make_train_step(*arguments, **options))
        return made[-1]

    def interrupting(*arguments, **options):
        step_fn = kept(*arguments, **options)

        def train_step(*inputs):
            with jax.transfer_guard("disallow"):  # a step never waits for the host
                state, metrics = step_fn(*inputs)
            if int(jax.device_get(state.step)) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return state, metrics

        return train_step

    close = checkpoint.ocp.CheckpointManager.close

    def terminated(manager):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)
        close(manager)

    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "close", terminated)
    monkeypatch.setattr(train, "make_train_step", interrupting)
    guarded = jax.transfer_guard("disallow")(progress.TrainLog.add)
    monkeypatch.setattr(progress.TrainLog, "add", guarded)
    with pytest.raises(interrupt.Interrupted, match="after step 3 of 4"):
        train.train_and_evaluate(config, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(train, "make_train_step", kept)
    state = train.train_and_evaluate(config, tmp_path)
    assert_equal_trees(state, run[1])
    # One compilation serves a new run's steps, and one a resumed run's.
    assert [step._cache_size() for step in made] == [1, 1]


def test_what_ends_an_evaluation_loses_no_steps(config, tmp_path, monkeypatch):
    def failing(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(train, "count_right", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        train.train_and_evaluate(config, tmp_path)
    assert checkpoint.open_for_reading(tmp_path)[1] == 2
    monkeypatch.undo()

    def long(name, test):
        (batch,) = itertools.islice(test.batches(), 1)
        for _ in range(3):
            yield batch
            os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("read on after it was told to stop")

    monkeypatch.setattr(train, "with_progress", long)
    with pytest.raises(interrupt.Interrupted, match="after step 4 of 4, saved"):
        train.train_and_evaluate(config, tmp_path)
    assert checkpoint.open_for_reading(tmp_path)[1] == 4
    assert "accuracy" not in (tmp_path / "metrics.jsonl").read_text()


def test_a_resumed_run_tells_what_was_changed(run, config, capsys):
    other = config.copy_and_resolve_references()
    other.init.checkpoint, other.log_every = "tw_small", 7
    train.train_and_evaluate(other, run[0])
    told = capsys.readouterr().out
    assert "init.checkpoint was '' and is 'tw_small', which only a new run would take" in told
    assert f"log_every was {config.log_every} and is 7\n" in told
    assert "resumed at step 4 of 4\nnothing is left to train: raise num_steps to continue" in told
    # A finished run's record stays.
    train.train_and_evaluate(config, run[0])
    assert "another config" not in capsys.readouterr().out
    record = json.loads((run[0] / "config.json").read_text()) | {"devices": 8}
    (run[0] / "config.json").write_text(json.dumps(record))
    train.train_and_evaluate(config, run[0])
    assert "another config than before: devices was 8 and is 2\n" in capsys.readouterr().out
    (run[0] / "config.json").write_text('{"batch')  # cut off in an editor
    train.train_and_evaluate(config, run[0])
    assert "config.json is damaged, and is not compared" in capsys.readouterr().out


def test_a_broken_loss_stops_and_saves_nothing(config, tmp_path, monkeypatch):
    start = train.resume_or_start

    def nan(x):
        return jax.device_put(np.full(x.shape, np.nan, x.dtype), x.sharding)

    def broken(*arguments):  # weights that have diverged, and the step that is compiled already
        state = start(*arguments)
        return state.replace(variables=jax.tree.map(nan, state.variables))

    monkeypatch.setattr(train, "resume_or_start", broken)
    other = config.copy_and_resolve_references()
    other.eval_every = 1  # so that this step would be saved
    with pytest.raises(FloatingPointError, match="step 1, and"):
        train.train_and_evaluate(other, tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint below"):
        checkpoint.open_for_reading(tmp_path)


def test_another_network_in_the_workdir_is_refused_before_it_compiles(run, config, caplog):
    other = config.copy_and_resolve_references()
    other.num_characters, other.model.void = 7, True
    says = r"another network .num_characters: 6 .*; void: .* here."
    with pytest.raises(ValueError, match=says), jax.log_compiles():
        train.train_and_evaluate(other, run[0])
    assert "tracing init" in caplog.text and "Compiling" not in caplog.text


def test_the_reader_reads_what_was_trained(run, config):
    reader = hpa_jax.load_recognizer(run[0])
    assert reader.image_size == (25, 80)
    assert reader.charset == hpa_jax.TAIWAN
    readings = reader.read([np.zeros((30, 90, 3), np.uint8)] * 2, maps=True)
    assert [len(r.maps) for r in readings] == [len(r.text) for r in readings]


def test_evaluate_writes_pictures(run, config, capsys):
    evaluate.evaluate_run(config, run[0])
    printed = capsys.readouterr().out
    assert "/6 plates right" in printed
    assert f"--checkpoint={run[0]}" in printed
    pictures = [p for p in ("readings.png", "failures.png") if (run[0] / p).exists()]
    assert pictures
    assert all(Image.open(run[0] / p).width > 80 * 6 for p in pictures)
    latest = run[0] / "checkpoints" / "4"
    evaluate.evaluate_run(config, latest)
    assert f"--checkpoint={latest}" in capsys.readouterr().out
    assert not list(latest.glob("*.png"))


def test_batches_split_over_the_devices(run, config):
    """One step is one program over all devices: its rows are split, its state lies on both."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    plates = inputs.make_inputs(config, sharding, jax.random.key(0))
    batch = jax.jit(plates.make_batch)(jax.random.key(1), {})
    assert [shard.data.shape[0] for shard in batch["image"].addressable_shards] == [2, 2]
    leaf = jax.tree.leaves(run[1].variables)[0]
    assert len(leaf.sharding.device_set) == jax.device_count() == 2
    assert leaf.is_fully_replicated


def test_a_step_on_two_devices_is_that_on_one():
    """Means over the batch are over all devices: of batch norm, of losses, of plates with maps."""
    model, size = hpa.HPANet(width=0.125, num_characters=2, num_classes=3), (16, 48)
    rng = np.random.default_rng(0)
    batch = {
        "image": smooth_images(4, size),
        "characters": rng.integers(0, 3, (4, 2), np.int32),
        "semantic": rng.integers(0, 4, (4, *size), np.uint8),
        "position": rng.integers(0, 3, (4, *size), np.uint8),
        "has_maps": np.array([True, True, True, False]),  # two on one device, one on the other
    }
    tx, terms = optax.sgd(0.1), {"semantic": 1.0, "position": 1.0, "character": 1.0}
    step = train.make_train_step(model, tx, lambda key, fed: fed, terms)
    variables, results = random_variables(model, size), []
    for count in (1, 2):
        types = (jax.sharding.AxisType.Auto,)
        devices = jax.devices()[:count]
        mesh = jax.make_mesh((count,), ("data",), axis_types=types, devices=devices)
        rows, whole = (
            jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
            for axes in (["data"], [])
        )
        state = train_state.TrainState(jnp.int32(0), variables, tx.init(variables["params"]))
        state, key = jax.device_put((state, jax.random.key(0)), whole)
        results.append(jax.device_get(step(state, key, jax.device_put(batch, rows))))
    for one, two in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(two, one, rtol=2e-3, atol=1e-4)


def test_batch_must_divide_by_devices(config, tmp_path):
    other = config.copy_and_resolve_references()
    other.batch_size = 3
    with pytest.raises(ValueError, match="batch_size 3: must be divisible by the 2 devices"):
        train.train_and_evaluate(other, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("batch_size", 0, "batch_size 0: must be at least 1"),
        ("num_steps", 0, "num_steps 0: must be at least 1"),
        ("log_every", 0, "log_every 0: must be at least 1"),
        ("eval_every", 0, "eval_every 0: must be at least 1"),
        ("eval_size", 0, "eval_size 0: must be at least 1"),
        ("keep_checkpoints", 0, "keep_checkpoints 0: must be at least 1"),
        ("image_size", (50,), r"image_size \(50,\): must be height and width"),
        ("image_size", (15, 160), r"image_size \(15, 160\): must be height and width"),
        ("image_size", (50.0, 160), r"image_size \(50.0, 160\): must be height and width"),
        ("model.width", -1.0, "model.width -1.0: must be finite and more than 0"),
        ("model.width", math.nan, "model.width nan: must be finite and more than 0"),
        ("loss.character", -1.0, "loss.character -1.0: must be finite and not negative"),
        ("optimizer.learning_rate", -1.0, "rate -1.0: must be finite and not negative"),
        ("optimizer.learning_rate", math.nan, "rate nan: must be finite and not negative"),
        ("data.tilt", math.inf, "data.tilt inf: must be finite and not negative"),
        ("optimizer.decay", 1.0, "optimizer.decay 1.0: must be from 0 to less than 1"),
        ("optimizer.momentum", -1.0, "optimizer.momentum -1.0: must be from 0 to less than 1"),
        ("optimizer.warmup_steps", -1, "warmup_steps -1: must be finite and not negative"),
        ("optimizer.weight_decay", -1.0, "decay -1.0: must be finite and not negative"),
        ("optimizer.eps", 0.0, "optimizer.eps 0.0: must be finite and more than 0"),
        ("seed", 2**31, "seed 2147483648: must be from 0 to 2147483647"),
        ("seed", -1, "seed -1: must be from 0 to 2147483647"),
        ("data.styles", (1,), r"data.styles \(1,\): has an item of a wrong type"),
        ("data.fonts", (1,), r"data.fonts \(1,\): has an item of a wrong type"),
        ("data.weights", ("a",), r"data.weights \('a',\): has an item of a wrong type"),
        ("ema", 1.0, "ema 1.0: is a decay, from 0 to less than 1"),
    ],
)
def test_wrong_numbers_are_named_in_training_and_in_evaluation(
    run, config, tmp_path, field, value, says
):
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=says):
        train.train_and_evaluate(other, tmp_path)
    with pytest.raises(ValueError, match=says):
        evaluate.evaluate_run(other, run[0])


def test_unknown_types_are_refused(config, tmp_path):
    other = config.copy_and_resolve_references()
    other.model.dtype = "bf16"
    with pytest.raises(ValueError, match="model.dtype 'bf16': must be 'float32' or 'bfloat16'"):
        train.train_and_evaluate(other, tmp_path)


def test_truths_are_in_the_charset_of_the_config(run):
    """Whose order of characters may be another than that of the network that reads."""
    reader = recognize.load_recognizer(run[0])
    charset = hpa_jax.Charset(reader.charset.characters[::-1])
    images = smooth_images(4, reader.image_size)
    texts = [reading.text for reading in reader.read(list(images))]
    ids = np.stack([charset.encode(text, 6) for text in texts])
    batch = {"image": images, "characters": ids, "weight": np.ones(4, np.float32)}
    pairs, _ = evaluate.read_all(reader, [batch], charset)
    assert pairs == list(zip(texts, texts, strict=True))
    batch["characters"] = np.full_like(ids, -1)  # a detector missed them all
    pairs, pages = evaluate.read_all(reader, [batch], charset)
    assert pairs == [("?", text) for text in texts]
    assert len(pages["failures"]) == 4
    background = np.full((4, 10), len(reader.charset))
    few = hpa_jax.Charset("AB")  # the semantic map shown is of the network's classes
    _, pages = evaluate.read_all(reader, [batch], few, lambda image: background)
    assert len(pages["failures"]) == 4


def test_a_loss_of_nothing_is_refused(config, tmp_path):
    other = config.copy_and_resolve_references()
    other.loss.semantic = other.loss.position = other.loss.character = 0.0
    with pytest.raises(ValueError, match="loss: character, position, semantic are all 0"):
        train.train_and_evaluate(other, tmp_path)
    other.loss.position, other.model.attention = 1.0, False  # which trains no position network
    with pytest.raises(ValueError, match="loss: character, semantic are all 0"):
        train.train_and_evaluate(other, tmp_path)


def test_unknown_styles_are_refused(config, tmp_path):
    other = config.copy_and_resolve_references()
    other.data.styles = ("mars",)
    with pytest.raises(ValueError, match=r"data.styles \['mars'\]: what is rendered must be among"):
        train.train_and_evaluate(other, tmp_path)


def test_metadata_alone_rebuilds_the_network(run, config):
    manager, step = checkpoint.open_for_reading(run[0])
    metadata = checkpoint.read_metadata(manager, step)
    model = hpa.HPANet(**metadata["network"])
    assert (model.width, model.num_characters) == (0.125, config.num_characters)
    assert recognize.load_recognizer(run[0] / "checkpoints").image_size == (25, 80)


def test_runs_are_judged_by_the_average_on_the_first_test_set():
    sets = {
        name: inputs.TestSet(1, lambda read=read: [{"weight": np.ones(1), "read by": read}])
        for name, read in (("a", "averaged"), ("b", ""))
    }
    plates = inputs.Inputs(None, None, sets)
    state = train_state.TrainState(0, "trained", None, "averaged")
    log = types.SimpleNamespace(evaluated=lambda *about: None)

    def step(variables, batch):
        return variables == batch["read by"], 1

    assert train.evaluate_all(plates, step, state, 1, log, lambda step: False) == 1.0


def test_evaluation_has_a_key_of_its_own():
    train_key, eval_key, _ = train.make_keys(0)
    assert (jax.random.key_data(train_key) != jax.random.key_data(eval_key)).any()


def test_the_fields_of_the_optimizer_go_where_they_belong():
    fields = {"decay": 0.8, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.01}
    c = quickstart.get_config()
    c.optimizer.update(fields)
    schedule, tx = train.make_optimizer(c)
    expected, others = (optimizer.make_rmsprop(schedule, **f) for f in (fields, {}))
    params = jnp.ones(3)
    update, same, other = (
        t.update(params, t.init(params), params)[0] for t in (tx, expected, others)
    )
    np.testing.assert_array_equal(update, same)
    assert (update != other).all()


def test_a_file_as_workdir_is_refused(config, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ValueError, match="file: is a file, must be a folder"):
        train.train_and_evaluate(config, tmp_path / "file")


class Mean:
    """A network that knows an image's mean alone."""

    num_classes = 1

    def apply(self, variables, images, train=False, mutable=()):
        mean = images.mean(axis=(1, 2, 3))[:, None, None]
        logits = jnp.concatenate([2 * variables["params"]["w"] - mean, 0 * mean], axis=-1)
        output = hpa.HPAOutput(logits, None, logits[:, None], None)
        return (output, {}) if mutable else output


def test_a_step_sees_pixels_from_0_to_1_and_other_plates_each_time():
    def make_batch(key, fed):
        image = jax.random.randint(key, (4, 9, 9, 3), 0, 256, jnp.uint8)
        return {"image": image, "characters": jnp.zeros((4, 1), jnp.int32)}

    tx = optax.sgd(0.0)
    step = train.make_train_step(Mean(), tx, make_batch, {"character": 1.0})
    params = {"w": jnp.ones(1)}
    state = train_state.TrainState(jnp.int32(0), {"params": params}, tx.init(params))
    seen, norms = [], []
    for _ in range(2):
        state, terms = step(state, jax.random.key(0), {})
        seen.append(float(terms["loss"]))
        norms.append(float(terms["gradient_norm"]))
    assert seen[0] != seen[1]
    np.testing.assert_allclose(seen, np.log1p(np.exp(-1.5)), rtol=0.1)
    np.testing.assert_allclose(norms, 2 / (1 + np.exp(1.5)), rtol=0.1)


def test_an_eval_step_sees_pixels_from_0_to_1_and_counts_by_weight():
    batch = {
        "image": np.full((2, 9, 9, 3), 255, np.uint8),
        "characters": np.zeros((2, 1), np.int32),
        "weight": np.array([1, 0], np.float32),
    }
    step = evaluate.make_eval_step(Mean())
    assert evaluate.count_right(step, {"params": {"w": 1.0}}, [batch]) == (1, 1)

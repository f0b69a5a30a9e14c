"""Training that starts from other weights: a reader, a backbone; frozen parts; averages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hpa_jax
from configs import aolp, finetune, quickstart
from hpa_jax import checkpoint, readers, train, train_state
from hpa_jax.data import synthetic
from tests.networks import noise_renderer, random_variables

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module", autouse=True)
def noise_for_plates():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "make_renderer", noise_renderer)
        yield


@pytest.fixture(scope="module")
def config(noise_for_plates):
    """The fine-tuning config, cut to what compiles fast and learns nothing."""
    c = finetune.get_config("greece")
    c.model.width = 0.125
    c.image_size = (25, 80)
    c.batch_size, c.eval_size = 4, 4
    c.num_steps, c.log_every, c.eval_every = 2, 1, 2
    c.optimizer.warmup_steps, c.optimizer.schedule = 0, "constant"
    c.loss.semantic = c.loss.position = 0.0
    return c


def save(variables, network, charset, workdir):
    """A run's checkpoint without the run."""
    model = hpa_jax.HPANet(**network)
    metadata = checkpoint.make_metadata(model, charset, (25, 80), ())
    manager = checkpoint.open_manager(workdir)
    checkpoint.save(manager, 1, variables, None, metadata)
    manager.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A Taiwanese reader with random weights: its directory and its variables."""
    network = {"width": 0.125, "num_characters": 6, "num_classes": 34}
    model = hpa_jax.HPANet(**network)
    variables = random_variables(model, (25, 80))
    workdir = tmp_path_factory.mktemp("reader")
    save(variables, network, hpa_jax.TAIWAN, workdir)
    return workdir, variables


@pytest.fixture(scope="module")
def tuned(config, reader, tmp_path_factory):
    """The reader, trained on for two steps on Greek plates: its directory and its last state."""
    config.init.checkpoint = str(reader[0])
    workdir = tmp_path_factory.mktemp("tuned")
    return workdir, train.train_and_evaluate(config, workdir)


def test_a_frozen_module_stays_as_it_was_and_the_others_learn(tuned, reader):
    old, new = reader[1], jax.device_get(tuned[1].variables)
    for name in ("params", "batch_stats"):
        parts = [tree[name]["backbone"] for tree in (old, new)]
        jax.tree.map(np.testing.assert_array_equal, *(part["context_path"] for part in parts))
        learned = [part["spatial_path1"]["bn"] for part in parts]
        for leaf in learned[0]:
            assert (learned[0][leaf] != learned[1][leaf]).any()
    # The average starts from the reader too.
    averaged = jax.device_get(tuned[1].averaged)["params"]["backbone"]["context_path"]
    jax.tree.map(np.testing.assert_array_equal, averaged, old["params"]["backbone"]["context_path"])


def test_what_is_read_with_is_the_average(tuned):
    averaged, variables = jax.device_get((tuned[1].averaged, tuned[1].variables))
    saved, metadata = checkpoint.load(tuned[0])
    jax.tree.map(np.testing.assert_array_equal, saved, averaged)
    assert (
        averaged["params"]["semantic_bn"]["bias"] != variables["params"]["semantic_bn"]["bias"]
    ).any()
    assert metadata["charset"] == hpa_jax.GREECE.characters
    assert metadata["styles"] == ["greece"]
    assert hpa_jax.load_recognizer(tuned[0]).charset == hpa_jax.GREECE


def test_resuming_with_an_average_is_exact(tuned, config, tmp_path):
    other = config.copy_and_resolve_references()
    other.num_steps = 1
    train.train_and_evaluate(other, tmp_path)
    assert checkpoint.open_for_reading(tmp_path)[1] == 1  # the last step's, whatever eval_every is
    other.num_steps = 2
    resumed = train.train_and_evaluate(other, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, resumed, tuned[1])
    other.ema = 0.0
    with pytest.raises(ValueError, match="another optimizer, freeze or ema"):
        train.train_and_evaluate(other, tmp_path)


def test_a_backbone_is_grafted(config, reader, tmp_path):
    other = config.copy_and_resolve_references()
    other.init.checkpoint, other.init.backbone = "", str(reader[0])
    state = train.train_and_evaluate(other, tmp_path)
    new = jax.device_get(state.variables)["params"]
    jax.tree.map(
        np.testing.assert_array_equal,
        new["backbone"]["context_path"],
        reader[1]["params"]["backbone"]["context_path"],
    )
    assert not np.allclose(
        new["backbone"]["spatial_path1"]["conv"]["kernel"],
        reader[1]["params"]["backbone"]["spatial_path1"]["conv"]["kernel"],
    )


def test_a_backbone_of_another_network_is_refused_before_anything_compiles(
    config, reader, tmp_path, monkeypatch
):
    other = config.copy_and_resolve_references()
    other.init.checkpoint, other.init.backbone = "", str(reader[0])
    other.model.backbone, other.model.width = "resnet34", 0.25
    monkeypatch.setattr(train, "make_init", lambda *_: pytest.fail)
    says = "init.backbone .*: is of another network: --config.model.backbone=resnet18 .*width=0.125"
    with pytest.raises(ValueError, match=says):
        train.train_and_evaluate(other, tmp_path)


def test_training_starts_from_a_narrower_reader(config, reader, tmp_path, capsys, monkeypatch):
    def make_train_step(*_, **__):  # which would compile for long
        return lambda state, key, fed: (state, {"loss": np.ones(())})

    monkeypatch.setattr(train, "make_train_step", make_train_step)
    monkeypatch.setattr(train, "make_eval_step", lambda model: lambda variables, batch: (1, 1))
    other = config.copy_and_resolve_references()
    other.init.checkpoint, other.model.width, other.num_steps = str(reader[0]), 0.25, 1
    state = train.train_and_evaluate(other, tmp_path)
    printed = capsys.readouterr().out
    assert f"{reader[0]}: is widened to 0.25 of the paper's channels" in printed
    assert "--config.model.width=0.125 leaves it as it is" in printed
    wide, narrow = (
        tree["params"]["backbone"]["context_path"]["conv1"]["kernel"]
        for tree in (jax.device_get(state.variables), reader[1])
    )
    np.testing.assert_array_equal(wide, np.repeat(narrow, 2, axis=-1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.width": 0.0625}, "of another network: --config.model.width=0.125"),
        ({"model.width": 0.1875}, "init.checkpoint .*: model.width 0.1875: .*whole multiple"),
        (
            {"model.backbone": "resnet34", "model.classifier": "separate", "model.grey": True}
            | {"model.attention": False},
            "of another network: --config.model.backbone=resnet18 --config.model.classifier=shared "
            "--config.model.attention=True --config.model.grey=False",
        ),
        ({"freeze": ("bakcbone",)}, "freeze 'bakcbone': covers nothing"),
        ({"init.checkpoint": "/nowhere"}, "init.checkpoint /nowhere: no such run or file"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message, config, reader, tmp_path):
    other = config.copy_and_resolve_references()
    other.init.checkpoint = str(reader[0])
    other.update_from_flattened_dict(changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train.train_and_evaluate(other, tmp_path)


def test_a_missing_start_is_told_the_way_that_sets_the_rate_of_random_weights_too(reader):
    _, metadata = readers.load(reader[0])
    with pytest.raises(FileNotFoundError, match=r"random weights: init= in the config's argument"):
        train_state.load_start("/nowhere", metadata)
    told, flag = aolp.get_config("test=RP,init=").optimizer, aolp.get_config().optimizer
    assert told.learning_rate > 10 * flag.learning_rate and told.warmup_steps


def test_another_number_of_characters_is_said(reader, capsys):
    _, metadata = readers.load(reader[0])
    longer = metadata | {"network": metadata["network"] | {"num_characters": 8}}
    train_state.load_start(str(reader[0]), longer)
    assert "--config.num_characters=6" in capsys.readouterr().out
    shorter = metadata | {"network": metadata["network"] | {"num_characters": 5}}
    train_state.load_start(str(reader[0]), shorter)
    says = "learned up to 6 characters, of which the first 5 places are kept"
    assert capsys.readouterr().out == f"{reader[0]}: {says}\n"
    train_state.load_start(str(reader[0]), metadata | {"image_size": [50, 160]})
    assert '--config.image_size="(25,80)"' in capsys.readouterr().out
    train_state.load_start(str(reader[0]), metadata)
    assert not capsys.readouterr().out


def test_characters_that_a_charset_leaves_out_are_said(reader, capsys):
    _, metadata = readers.load(reader[0])
    train_state.load_start(str(reader[0]), metadata | {"charset": metadata["charset"][:-2] + "皖"})
    said = capsys.readouterr().out
    assert "never learned 皖" in said
    assert f"knows {metadata['charset'][-2:]} too, which the new charset leaves out" in said


def test_every_country_is_a_config():
    for country, (charset, _, _) in finetune.COUNTRIES.items():
        assert finetune.get_config(country).charset == charset
    with pytest.raises(ValueError, match="country 'mars'"):
        finetune.get_config("mars")
    assert quickstart.get_config().init.checkpoint == ""


def test_a_first_state_made_without_jit_can_be_donated():
    init = train_state.make_init(nn.Dense(1), optax.sgd(0.1), (2, 2), averaging=True)
    step = jax.jit(lambda state: jax.tree.map(jnp.negative, state), donate_argnums=0)
    state = jax.block_until_ready(step(init(jax.random.key(0))))
    assert state.averaged.keys() == state.variables.keys()

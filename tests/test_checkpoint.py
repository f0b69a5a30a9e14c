"""Checkpoints: which are kept, and which a run does not go on from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hpa_jax
from hpa_jax import checkpoint, train_state
from hpa_jax.models import hpa


def test_checkpoints_are_kept_by_age_and_accuracy(tmp_path):
    manager = checkpoint.open_manager(tmp_path)
    tree = {"params": np.zeros(2, np.float32)}
    for step, accuracy in [(1, 0.1), (2, 0.9), (3, 0.5), (4, None)]:
        checkpoint.save(manager, step, tree, tree, {}, accuracy)
    manager.wait_until_finished()
    assert sorted(manager.all_steps()) == [2, 4]
    assert checkpoint.open_for_reading(tmp_path)[1] == 2
    assert checkpoint.open_for_reading(tmp_path / "checkpoints")[1] == 2
    assert checkpoint.split_step(tmp_path / "checkpoints") == (tmp_path, None)  # pictures go there
    assert checkpoint.open_for_reading(tmp_path / "checkpoints" / "4")[1] == 4
    with pytest.raises(FileNotFoundError, match="checkpoints/3"):
        checkpoint.open_for_reading(tmp_path / "checkpoints" / "3")
    with pytest.raises(FileNotFoundError, match="checkpoints/best"):
        checkpoint.open_for_reading(tmp_path / "checkpoints" / "best")


def test_another_charset_or_size_in_the_workdir_is_refused(tmp_path):
    manager = checkpoint.open_manager(tmp_path)
    metadata = checkpoint.make_metadata(hpa.HPANet(), hpa_jax.TAIWAN, (50, 160), ())
    checkpoint.save(manager, 1, {"params": np.zeros(1)}, None, metadata)
    manager.wait_until_finished()
    for field, value in (("charset", hpa_jax.TAIWAN.characters[::-1]), ("image_size", [9, 9])):
        with pytest.raises(ValueError, match=f"another network .{field}: "):
            train_state.resume(manager, 1, None, metadata | {field: value})


def test_a_folder_that_orbax_would_take_for_a_pattern_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\[1\]/checkpoints: must have no \["):
        checkpoint.open_manager(tmp_path / "a[1]")
    assert not (tmp_path / "a[1]").exists()


def test_a_cut_accuracy_is_named(tmp_path):
    """Orbax reads that of every checkpoint, whichever is wanted."""
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, {"params": np.zeros(1)}, None, {}, accuracy=0.5)
    (tmp_path / "checkpoints/1/metrics/metrics").write_text("")
    for opens in (checkpoint.open_manager, checkpoint.open_for_reading):
        with pytest.raises(ValueError, match=f"{tmp_path}/checkpoints: a checkpoint in it is dama"):
            opens(tmp_path)


def test_a_run_whose_arrays_are_cut_is_told_what_to_remove(tmp_path):
    weights = jax.random.uniform(jax.random.key(0), 10_000)  # too many to stand in an index
    variables, tx = {"params": weights}, optax.sgd(0.1, momentum=0.9)
    state = train_state.TrainState(jnp.int32(1), variables, tx.init(variables["params"]))
    metadata = {"network": {}, "charset": "AB", "image_size": [25, 80]}
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, variables, state.optimizer, metadata)
    for file in (tmp_path / "checkpoints/1/variables/ocdbt.process_0/d").iterdir():
        file.write_bytes(b"")
    manager = checkpoint.open_manager(tmp_path)
    with pytest.raises(ValueError, match="or 1 is damaged: remove it to go on from the one before"):
        train_state.resume(manager, 1, state, metadata)


def test_metadata_of_another_kind_are_no_traceback(tmp_path):
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, {"params": np.zeros(1)}, None, {})
    (tmp_path / "checkpoints/1/metadata/metadata").write_text("[]")
    with pytest.raises(ValueError, match=f"{tmp_path}/checkpoints/1 has format None"):
        checkpoint.load(tmp_path)


def test_opening_for_reading_warns_of_nothing(tmp_path, caplog):
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, {"params": np.zeros(1)}, None, {})
    caplog.clear()
    assert checkpoint.open_for_reading(tmp_path)[1] == 1
    assert not caplog.records


def test_as_many_checkpoints_are_kept_as_wanted(tmp_path):
    manager = checkpoint.open_manager(tmp_path, keep=2)
    tree = {"params": np.zeros(2, np.float32)}
    for step in (1, 2, 3):
        checkpoint.save(manager, step, tree, tree, {})
    manager.wait_until_finished()
    assert sorted(manager.all_steps()) == [2, 3]


def test_what_several_devices_wrote_is_read_on_one(tmp_path):
    """A reader goes to machines that have fewer."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    tree = {"params": jax.device_put(np.arange(2.0), whole)}
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, tree, None, {})
    variables, _ = checkpoint.load(tmp_path)
    assert variables["params"].devices() == {jax.local_devices()[0]}

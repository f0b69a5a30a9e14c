import json

import jax.numpy as jnp
import numpy as np

from hpa_jax import metrics

VOID = 3


def right(read, truth):
    logits = jnp.eye(VOID + 1)[np.array([read])]
    return bool(metrics.plates_right(logits, jnp.array([truth]), VOID)[0])


def test_one_wrong_character_is_a_wrong_plate():
    assert right([0, 1, 2], [0, 1, 2])
    assert not right([0, 1, 1], [0, 1, 2])


def test_voids_are_discarded_before_comparing():
    assert right([0, VOID, 1], [0, 1, VOID])
    assert not right([0, VOID, VOID], [0, 1, VOID])
    assert not right([1, VOID, 0], [0, 1, VOID])


def test_writer_appends_lines(tmp_path):
    for step in (1, 2):
        writer = metrics.MetricWriter(tmp_path, first_step=step - 1)
        writer.write(step, {"loss": 0.5 / step})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == step, "a line can be read while the run goes on"
        writer.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 0.25},
    ]
    assert any((tmp_path / "tensorboard").iterdir())


def test_steps_that_are_run_again_stand_once(tmp_path, monkeypatch):
    writer = metrics.MetricWriter(tmp_path)
    for step in (10, 20, 30):
        writer.write(step, {"loss": 1.0})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # the run was killed here
    purged = []
    board = metrics.SummaryWriter
    monkeypatch.setattr(
        metrics,
        "SummaryWriter",
        lambda *args, purge_step: purged.append(purge_step) or board(*args, purge_step=purge_step),
    )
    writer = metrics.MetricWriter(tmp_path, first_step=20)
    assert purged == [21]
    writer.write(30, {"loss": 2.0})
    writer.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 1.0},
        {"step": 30, "loss": 2.0},
    ]

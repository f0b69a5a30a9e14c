"""What a run writes of its metrics, and when."""

import contextlib
import json

import numpy as np

from hpa_jax import progress


def make_log(workdir, log_every=20):
    return progress.TrainLog(workdir, np.full(100, 0.1), 0, batch_size=16, log_every=log_every)


def test_metrics_are_means_over_the_steps(tmp_path):
    log = make_log(tmp_path)
    for step in (1, 2):
        log.add(step, {"loss": np.float32(step)})
    log.flush()
    log.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] == 1.5


def test_lines_stand_at_the_steps_that_are_asked_for(tmp_path):
    with contextlib.closing(make_log(tmp_path, log_every=3)) as log:
        for step in range(1, 8):
            log.add(step, {"loss": np.float32(step)})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(3, 2.0), (6, 5.0)]


def test_few_steps_are_under_way_at_once(tmp_path):
    """So that the bar shows what is done, and a stop need not wait for a long queue."""
    waited = []

    class Metric(float):
        def block_until_ready(self):
            waited.append(int(self))

    with contextlib.closing(make_log(tmp_path)) as log:
        for step in range(1, 6):
            log.add(step, {"loss": Metric(step)})
            assert max(waited, default=0) == max(step - progress.QUEUE, 0)


def test_writer_appends_lines(tmp_path):
    for step in (1, 2):
        writer = progress.MetricWriter(tmp_path, first_step=step - 1)
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
    writer = progress.MetricWriter(tmp_path)
    for step in (10, 20, 30):
        writer.write(step, {"loss": 1.0})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # the run was killed here
    purged = []
    board = progress.SummaryWriter
    monkeypatch.setattr(
        progress,
        "SummaryWriter",
        lambda *args, purge_step: purged.append(purge_step) or board(*args, purge_step=purge_step),
    )
    writer = progress.MetricWriter(tmp_path, first_step=20)
    assert purged == [21]
    writer.write(30, {"loss": 2.0})
    writer.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 1.0},
        {"step": 30, "loss": 2.0},
    ]

"""What a run writes of its metrics, and when."""

import contextlib
import errno
import json
import pathlib
import struct
import sys

import jax
import numpy as np
import pytest
import tensorboardX
from tensorboardX.proto import event_pb2

from hpa_jax import progress


def make_log(workdir, log_every=20, first_step=0):
    rates = np.arange(1, 101) / 100
    return progress.TrainLog(workdir, rates, first_step, batch_size=16, log_every=log_every)


def board(workdir):
    """(step, name, value) of each scalar that TensorBoard would show, as far as it is written."""
    shown = []
    for file in sorted((workdir / "tensorboard").iterdir()):
        data = file.read_bytes()
        while data:  # each event with its length before it, and checksums around it
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            shown += [(event.step, x.tag, x.simple_value) for x in event.summary.value]
            data = data[16 + length :]
    return shown


def test_metrics_are_means_over_the_steps(tmp_path):
    log = make_log(tmp_path)
    for step in (1, 2):
        log.add(step, {"loss": np.float32(step)})
    log.flush()
    log.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    line = json.loads(line)
    assert (line["loss"], line["learning_rate"]) == (1.5, 0.02)  # the rate is the last step's


def test_a_full_disk_takes_no_metrics_when_a_run_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    before = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (1, 2, 3))
    path.write_text(before)

    def write_bytes(file, data):
        file.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left"):
        progress.MetricWriter(tmp_path, first_step=2)
    assert [(f, f.read_text()) for f in tmp_path.iterdir()] == [(path, before)]


def test_a_last_line_without_its_end_is_kept_apart_from_the_next(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}')  # as a killed run leaves it
    with contextlib.closing(progress.MetricWriter(tmp_path, first_step=1)) as writer:
        writer.write(2, {"loss": 0.5})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_bar_that_nobody_sees_keeps_no_file_open(tmp_path, monkeypatch):
    log = make_log(tmp_path)

    def close():
        raise BrokenPipeError  # `| tee` was ended

    monkeypatch.setattr(log._progress, "close", close)
    with pytest.raises(BrokenPipeError):
        log.close()
    assert log._writer._file.closed


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
    assert board(tmp_path)[-1] == (2, "loss", 0.25)


def test_shared_memory_that_is_missing_is_named(tmp_path, monkeypatch):
    def without_semaphores(*_, **__):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(tensorboardX, "SummaryWriter", without_semaphores)
    with pytest.raises(OSError, match="tensorboard: .*/dev/shm .*: No such file"):
        progress.MetricWriter(tmp_path)


def test_steps_that_are_run_again_stand_once(tmp_path, monkeypatch):
    writer = progress.MetricWriter(tmp_path)
    for step in (10, 20, 30):
        writer.write(step, {"loss": 1.0})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # the run was killed here
    purged = []
    writer_of_board = tensorboardX.SummaryWriter
    monkeypatch.setattr(
        tensorboardX,
        "SummaryWriter",
        lambda *args, purge_step: (
            purged.append(purge_step) or writer_of_board(*args, purge_step=purge_step)
        ),
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


def test_the_bar_counts_plates_from_where_the_run_goes_on(tmp_path, capsys, monkeypatch):
    with contextlib.closing(make_log(tmp_path, log_every=2, first_step=4)) as log:
        for step in range(5, 9):
            log.add(step, {"loss": np.float32(step)})
    first, *_, last = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert first.startswith("compiling:") and " 64.0/1.60k " in first
    assert "compiling" not in last and " 128/1.60k " in last and "loss=5.500" in last
    make_log(tmp_path, first_step=100).close()
    assert not capsys.readouterr().err  # nothing is left to train
    with progress.plate_bar("", 1) as bar:
        assert bar.mininterval == 60  # in a file each state is a line
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.plate_bar("", 1) as bar:
        assert bar.mininterval < 1


def test_accuracies_are_shares_by_the_name_of_their_test_set(tmp_path, capsys):
    with contextlib.closing(make_log(tmp_path)) as log:
        log.evaluated(4, "LE582", 3, 4)
        log.evaluated(4, "", 1, 4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 4, "accuracy_LE582": 0.75}, {"step": 4, "accuracy": 0.25}]
    said = capsys.readouterr().out
    assert "step 4: LE582 3/4 plates right" in said and "step 4: 1/4 plates right" in said


@pytest.mark.parametrize("broken", [np.inf, np.nan])
def test_the_step_whose_metric_broke_is_named(tmp_path, broken):
    with contextlib.closing(make_log(tmp_path)) as log:
        for step, loss in ((1, 1.0), (2, broken), (3, 1.0)):
            log.add(step, {"loss": np.float32(loss)})
        with pytest.raises(FloatingPointError, match="loss became .* at step 2, and nothing"):
            log.flush()


def test_the_time_of_compiling_is_no_steps(tmp_path, monkeypatch):
    with contextlib.closing(make_log(tmp_path)) as log:
        restarts = []
        monkeypatch.setattr(log._progress, "unpause", lambda: restarts.append(log._progress.n))
        for step in range(1, 4):
            log.add(step, {"loss": np.float32(step)})
    assert restarts == [0]


def test_one_process_of_several_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with contextlib.closing(make_log(tmp_path)) as log:
        log.add(1, {"loss": np.float32(1)})
        log.flush()
        log.evaluated(1, "", 1, 4)
        log.draw()
    assert not list(tmp_path.iterdir()) and capsys.readouterr() == ("", "")
    assert progress.plate_bar("", 1).disable

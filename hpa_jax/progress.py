"""Reports the progress of a run: metrics on disk, their curves, and progress bars."""

import json
import math
import pathlib
import sys
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from hpa_jax.whole import write_whole

QUEUE = 2  # steps under way: the device computes one while the host sends the next


class TrainLog:
    """Writes the metrics of training steps, and shows a bar with plates/s and time left."""

    def __init__(
        self,
        workdir: pathlib.Path,
        learning_rates: np.ndarray,
        first_step: int,
        batch_size: int,
        log_every: int,
    ) -> None:
        """Continues after `first_step`.

        Args:
          workdir: the run's folder.
          learning_rates: (num_steps,), those of all steps of the run.
          first_step: how many steps are done already.
          batch_size: plates per step.
          log_every: steps between two lines.
        """
        num_steps = len(learning_rates)
        self._every, self._batch_size, self._rates = log_every, batch_size, learning_rates
        self._workdir, self._writer = workdir, MetricWriter(workdir, first_step)
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._compiling = True
        self._progress = plate_bar(
            "compiling",
            num_steps * batch_size,
            initial=first_step * batch_size,
            disable=jax.process_index() != 0 or first_step >= num_steps,
            smoothing=0.05,  # steps are queued in bursts
        )

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of a step that may still be running.

        The steps before it are written while it runs, so that the device never waits. At most
        `QUEUE` steps are under way, so that the bar is accurate and a stop takes effect soon.
        """
        if (step - 1) % self._every == 0:
            self.flush()
        self._pending.append((step, metrics))
        jax.block_until_ready(self._pending[-QUEUE - 1 : -QUEUE])  # older ones are ready
        if self._compiling:  # done now, and its time must not count as a step's
            self._compiling = False
            self._progress.set_description(refresh=False)
            self._progress.unpause()
        self._progress.update(self._batch_size)

    def flush(self) -> None:
        """Writes the means over the steps that are not written yet.

        Raises:
          FloatingPointError: one of them has a metric that is not finite; the step is named.
        """
        if self._pending:
            step, scalars = self._pending[-1][0], self._means()
            rate = float(self._rates[step - 1])
            self._writer.write(step, scalars | {"learning_rate": rate})
            self._progress.set_postfix(loss=f"{scalars['loss']:.3f}", refresh=False)
            self._pending = []

    def _means(self) -> dict[str, float]:
        history = [(step, jax.device_get(metrics)) for step, metrics in self._pending]
        for step, metrics in history:
            broken = [name for name, value in metrics.items() if not np.isfinite(value)]
            if broken:
                raise FloatingPointError(
                    f"{', '.join(broken)} became infinite or not a number at step {step}, and "
                    "nothing has been saved since: lower optimizer.learning_rate or raise "
                    "optimizer.warmup_steps"
                )
        return {name: float(np.mean([m[name] for _, m in history])) for name in history[0][1]}

    def evaluated(self, step: int, name: str, right: int, total: int) -> None:
        """Writes the accuracy on a test set."""
        self._writer.write(step, {f"accuracy{name and '_' + name}": right / total})
        if not self._progress.disable:
            where = f"step {step}: {name}".rstrip()
            self._progress.write(f"{where} {right}/{total} plates right")

    def draw(self) -> None:
        """Draws the metrics written so far as `curves.png`."""
        if jax.process_index() == 0:
            from hpa_jax import charts  # Matplotlib, which a bar alone does not need

            figure = charts.curves(self._workdir / "metrics.jsonl")
            figure.savefig(self._workdir / "curves.png")

    def close(self) -> None:
        """Closes the files and the bar."""
        self._writer.close()  # first: TensorBoard's thread must end even if the bar fails
        self._progress.close()


class MetricWriter:
    """Writes scalars to `metrics.jsonl` and to TensorBoard, in process 0 only.

    Drops what an earlier run wrote about steps after `first_step`, because these are run again.
    """

    def __init__(self, workdir: pathlib.Path, first_step: int = 0) -> None:
        self._active = jax.process_index() == 0
        if self._active:
            from tensorboardX import SummaryWriter  # slow: it imports PyTorch if that is installed

            path = workdir / "metrics.jsonl"
            _drop_after(path, first_step)
            self._file = path.open("a", encoding="utf-8")
            board = workdir / "tensorboard"
            try:
                self._board = SummaryWriter(str(board), purge_step=first_step + 1)
            except OSError as error:  # its queue needs semaphores, and their error names no file
                problem = f"cannot be written, or /dev/shm cannot: {error.strerror}"
                raise OSError(f"{board}: {problem}") from error

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Appends one line, `{"step": …, name: value, …}`, and flushes it."""
        if not self._active:
            return
        self._file.write(json.dumps({"step": step} | scalars) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes the files."""
        if self._active:
            self._file.close()
            self._board.close()


def _drop_after(path: pathlib.Path, step: int) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = "".join(f"{line}\n" for line in text.splitlines() if _step(line) <= step)
    if kept != text:
        write_whole(path, kept.encode())  # the disk may be full


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # a line cut off when the run was killed
        return math.inf


def plate_bar(desc: str, total: int | None, **options: Any) -> tqdm:
    """Returns a bar of plates, shown by the first process alone; `options` are tqdm's."""
    shown = {
        "disable": jax.process_index() != 0,
        "dynamic_ncols": True,
        "mininterval": 0.1 if sys.stderr.isatty() else 60,  # log files keep every update
    }
    return tqdm(desc=desc, total=total, unit="plate", unit_scale=True, **(shown | options))

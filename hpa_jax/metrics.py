"""The paper's metric, the whole plate right or wrong; its record on disk, and progress."""

import json
import math
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
from tensorboardX import SummaryWriter
from tqdm import tqdm


def plates_right(logits: jax.Array, characters: jax.Array, void_id: int) -> jax.Array:
    """Whether each plate is read without one wrong character (paper, "Experiments").

    Predicted voids are discarded before the comparison, as when reading.

    Args:
      logits: B×Cp×outputs.
      characters: B×Cp int32 class ids, padded with void.
      void_id: the void class id, `Charset.void`.

    Returns:
      B bool.
    """

    def voids_last(ids_BC: jax.Array) -> jax.Array:
        order = jnp.argsort(ids_BC == void_id, axis=-1, stable=True)
        return jnp.take_along_axis(ids_BC, order, axis=-1)

    read = voids_last(logits.argmax(axis=-1).astype(characters.dtype))
    return (read == voids_last(characters)).all(axis=-1)


class MetricWriter:
    """Writes scalars to `metrics.jsonl` and to TensorBoard, in process 0 only.

    What an earlier run wrote of steps after `first_step`, which are run again, is dropped.
    """

    def __init__(self, workdir: pathlib.Path, first_step: int = 0) -> None:
        self._active = jax.process_index() == 0
        if self._active:
            path = workdir / "metrics.jsonl"
            _drop_after(path, first_step)
            self._file = path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Appends one line, `{"step": …, name: value, …}`, and flushes it."""
        if not self._active:
            return
        self._file.write(json.dumps({"step": step} | scalars) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends the files."""
        if self._active:
            self._file.close()
            self._board.close()


def _drop_after(path: pathlib.Path, step: int) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if _step(line) <= step]
    if kept != lines:
        path.write_text("".join(kept), encoding="utf-8")


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # cut off by whatever ended the run
        return math.inf


def plate_bar(desc: str, total: int, **options: Any) -> tqdm:
    """A bar of plates, plates/s and time left, on the first process; `options` are tqdm's."""
    shown = {
        "disable": jax.process_index() != 0,
        "dynamic_ncols": True,
        "mininterval": 0.1 if sys.stderr.isatty() else 60,  # log files hold every state of it
    }
    return tqdm(desc=desc, total=total, unit="plate", unit_scale=True, **(shown | options))

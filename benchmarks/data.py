"""Times the pipeline for photographs: decoding, preparing, and feeding a training step.

    python -m benchmarks.data --copies=12 FOLDER

FOLDER holds whole photographs, as `hpa_jax/data/folder.py` reads them. They are copied to get a
data set of any size.
"""

import dataclasses
import itertools
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from absl import app, flags

from benchmarks import report
from hpa_jax import command, optimizer, train, train_state
from hpa_jax.charset import CHINA, Charset
from hpa_jax.data import folder, images, pipeline, prepare, read_ahead
from hpa_jax.data.plate import DataError, OnBad, Plate, stop
from hpa_jax.models.hpa import HPANet

CHARACTERS = 8  # Cp
SMALL = {"width": 0.25, "image_size": (48, 160), "batch_size": 32}  # the network that is fed
STEPS = 40


def copies(root: str, count: int) -> Callable[[OnBad], Iterator[Plate]]:
    """Returns a format module's `read` that yields each plate `count` times, under other names."""

    def read(on_bad: OnBad) -> Iterator[Plate]:
        plates = list(folder.read(root, on_bad=on_bad))
        for copy in range(count):
            for plate in plates:
                yield dataclasses.replace(plate, name=f"{copy}/{plate.name}", split="train")

    return read


def time_preparing(root: str, count: int, to: pathlib.Path) -> dict[str, Any]:
    """Returns plates/s of decoding and of preparing on one core and on all, and peak memory."""
    plates = list(copies(root, 1)(stop))
    seconds = _time(lambda: [images.open_rgb(plate.image) for plate in plates])
    figures: dict[str, Any] = {"decoding alone, one core": len(plates) / seconds}
    for name, workers in (("preparing, one core", 1), ("preparing, all cores", None)):
        seconds = _time(
            lambda name=name, workers=workers: prepare.prepare(
                "copies",
                copies(root, count),
                to / name.replace(", ", "_").replace(" ", "_"),
                labels=prepare.Labels(CHINA, CHARACTERS),
                workers=workers,
                plates_a_shard=256,
            )
        )
        figures[name] = count * len(plates) / seconds
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"plates_per_s": figures, "peak_memory_mib": peak / 1024}


def time_feeding(prepared: pathlib.Path, charset: Charset, workers: int) -> dict[str, float]:
    """Returns plates/s of the pipeline alone and of training steps on ready and on fed batches.

    Also returns the share of a fed step in which the host waits for its batch.
    """
    size = SMALL["batch_size"]
    options = {"image_size": SMALL["image_size"], "seed": 0, "jitter": 0.1, "workers": workers}

    def batches() -> Iterator[pipeline.Batch]:
        return pipeline.train_batches(prepared, "train", charset, CHARACTERS, size, **options)

    alone = batches()
    first = next(alone)
    seconds = _time(lambda: [next(alone) for _ in range(STEPS)])
    figures = {"pipeline alone": STEPS * size / seconds}
    step, state = _small_step(charset)
    state, _ = step(state, jax.random.key(0), first)  # compiles
    for name, source in (
        ("step on a ready batch", itertools.repeat(first)),
        ("step on fed batches", batches()),
    ):
        waited = 0.0
        # Batches that were queued before the first step do not count.
        for count in range(-2 * read_ahead.AHEAD, STEPS):
            if count == 0:
                begin, waited = time.perf_counter(), 0.0
            asked = time.perf_counter()
            batch = next(source)
            waited += time.perf_counter() - asked
            state, _ = jax.block_until_ready(step(state, jax.random.key(0), batch))
        taken = time.perf_counter() - begin
        figures[name] = STEPS * size / taken
    return figures | {"share of a fed step spent waiting": waited / taken}


def _small_step(charset: Charset) -> tuple[Callable, train_state.TrainState]:
    model = HPANet(
        width=SMALL["width"], num_characters=CHARACTERS, num_classes=len(charset), void=True
    )
    tx = optimizer.make_rmsprop(1e-4)
    init = jax.jit(train_state.make_init(model, tx, SMALL["image_size"]))
    state = init(jax.random.key(0, impl="rbg"))
    return train.make_train_step(model, tx, lambda key, fed: fed, {"character": 1.0}), state


def _time(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _main(argv: Sequence[str]) -> None:
    if len(argv) != 2:
        raise app.UsageError("name one folder of labelled photographs")
    command.set_up()
    report.check_writable(_JSON.value)
    machine = report.describe_machine()
    report.print_machine(machine)
    with tempfile.TemporaryDirectory() as scratch:
        to = pathlib.Path(scratch)
        try:
            prepared = time_preparing(argv[1], _COPIES.value, to)
        except DataError as error:
            sys.exit(f"error: {error}")
        fed = time_feeding(to / "preparing_all_cores", CHINA, _WORKERS.value)
    waiting = fed.pop("share of a fed step spent waiting")
    rates = prepared["plates_per_s"] | fed
    report.print_table(("", "plates/s"), [(name, f"{rate:.0f}") for name, rate in rates.items()])
    print(f"Peak memory of a process {prepared['peak_memory_mib']:.0f} MiB.")
    print(f"A fed step waits {waiting:.1%} of its time for its batch.")
    results = [prepared | {"plates_per_s": rates, "waiting": waiting}]
    report.write_json(_JSON.value, machine, results)


if __name__ == "__main__":
    _COPIES = flags.DEFINE_integer("copies", 12, "copies of each photograph", lower_bound=1)
    _WORKERS = flags.DEFINE_integer("workers", 1, "processes that feed the step", lower_bound=0)
    _JSON = flags.DEFINE_string("json", None, "also writes the figures to this file")
    app.run(_main)

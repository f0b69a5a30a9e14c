"""Times reading a folder of JPEG files from end to end, and the two limits on it.

    python -m benchmarks.reading --backbone=resnet18 --count=10000

The limits are the bare forward on pixels that lie ready, and decoding and resizing alone. The
files are rendered plates in the sizes that detectors cut out.
"""

import concurrent.futures
import functools
import math
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import networks, report, timing
from hpa_jax import command, machine, recognize, runtime
from hpa_jax.charset import TAIWAN
from hpa_jax.data import styles, synthetic

DISTINCT = 100  # rendered plates, each written in many sizes
SMALLEST, LARGEST = (94, 24), (220, 80)  # width, height
END_TO_END, FORWARD = "end to end", "forward alone"
DECODING, DECODING_ALL = "decoding alone, one thread", "decoding alone, all cores"


def write_plates(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Writes plates of random sizes as JPEG files; returns their paths."""
    style = styles.STYLES["taiwan_old"]
    render = jax.jit(synthetic.make_renderer([style], TAIWAN, 6, image_size=LARGEST[::-1]))
    keys = jax.random.split(jax.random.key(0), min(count, DISTINCT))
    plates = [Image.fromarray(np.asarray(render(key)["image"])) for key in keys]
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:05}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        size = rng.integers(SMALLEST, LARGEST, endpoint=True).tolist()
        plates[i % len(plates)].resize(size).save(path, quality=90)
    return paths


def compare(name: str, count: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Times reading `count` files; prints a table and returns the figures.

    Args:
      name: of the network, among `networks.NETWORKS`.
      count: files.
      batch_size: plates read at once.
      rounds: how often the files are read, and each part run.
    """
    pair = networks.make_pair(name, "float32")
    reader = recognize.Recognizer(pair.model, pair.variables, TAIWAN, pair.image_size)
    passes = math.ceil(count / batch_size)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_plates(pathlib.Path(folder), count)
        makers = {
            END_TO_END: lambda: lambda: reader.read(paths, batch_size=batch_size),
            FORWARD: lambda: make_forward(reader, batch_size, passes),
            DECODING: lambda: lambda: decode(paths, reader.image_size, threads=1),
            DECODING_ALL: lambda: lambda: decode(paths, reader.image_size, machine.cores()),
        }
        runs, _ = timing.start(makers)
        timings = timing.measure(runs, rounds, passes=1)
    plates = dict.fromkeys(runs, count) | {FORWARD: passes * batch_size}
    rates = {key: plates[key] / value.median_s for key, value in timings.items()}
    decoding = max(DECODING, DECODING_ALL, key=rates.get)
    limit = min(FORWARD, decoding, key=rates.get)
    report.print_table(("", "plates/s"), [(key, f"{rate:.0f}") for key, rate in rates.items()])
    share = rates[END_TO_END] / rates[limit]
    print(f"End to end runs at {share:.0%} of the slower limit, {limit}.")
    return {
        "network": name,
        "count": count,
        "batch_size": batch_size,
        "plates_per_s": rates,
        "limit": limit,
        "ratios": {
            "end_to_end_over_forward": rates[END_TO_END] / rates[FORWARD],
            "end_to_end_over_decoding": rates[END_TO_END] / rates[decoding],
            "end_to_end_over_limit": share,
        },
    }


def make_forward(reader: recognize.Recognizer, batch_size: int, passes: int) -> timing.Run:
    """Passes of the network over one batch of pixels that lies ready."""
    shape = (batch_size, *reader.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    forward = runtime.make_forward(reader.model, reader.variables, reader.image_size)
    return lambda: [forward(pixels, False) for _ in range(passes)]


def decode(paths: Sequence[pathlib.Path], size: tuple[int, int], threads: int) -> None:
    """Decodes and resizes the files, and drops them."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(functools.partial(recognize.to_pixels, size=size), paths):
            pass


def _main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    command.set_up()
    machine = report.describe_machine()
    report.print_machine(machine)
    print(f"\nReading {_COUNT.value} files with {_BACKBONE.value}, batch {_BATCH_SIZE.value}")
    figures = compare(_BACKBONE.value, _COUNT.value, _BATCH_SIZE.value, _ROUNDS.value)
    report.write_json(_JSON.value, machine, [figures])


if __name__ == "__main__":
    _BACKBONE = flags.DEFINE_enum("backbone", "resnet18", networks.NETWORKS, "the network")
    _COUNT = flags.DEFINE_integer("count", 2000, "files", lower_bound=1)
    _BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "plates read at once", lower_bound=1)
    _ROUNDS = flags.DEFINE_integer("rounds", 3, "how often they are read", lower_bound=1)
    _JSON = flags.DEFINE_string("json", None, "also writes the figures to this file")
    app.run(_main)

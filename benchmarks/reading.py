"""Times reading a folder of JPEG files end to end, its two limits, and PyTorch.

    python -m benchmarks.reading --backbones=resnet18 --count=10000

The limits are the forward pass alone, on pixels in memory, and decoding and resizing alone. The
files are rendered plates of the sizes that detectors cut out. For PyTorch the same decoder reads
ahead on all cores.
"""

import concurrent.futures
import functools
import itertools
import math
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import torch
from absl import app, flags
from PIL import Image

from benchmarks import networks, report, sweep, timing
from hpa_jax import machine, pixels, recognize, runtime
from hpa_jax.charset import TAIWAN
from hpa_jax.data import styles, synthetic

DISTINCT = 100  # rendered plates; each is written in several sizes
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


def compare(
    name: str, batch_size: int, dtype: str, *, count: int, rounds: int, compiled: bool
) -> dict[str, Any]:
    """Times reading `count` files; prints a table and returns the figures.

    Args:
      name: of the network, one of `networks.NETWORKS`.
      batch_size: plates read at once.
      dtype: 'float32' or 'bfloat16', for both frameworks.
      count: number of files.
      rounds: turns of each candidate.
      compiled: whether to time compiled PyTorch too.
    """
    device = timing.set_up()
    pair = networks.make_pair(name, dtype)
    on = "auto" if dtype == "float32" else "xla"  # ONNX Runtime computes only in float32
    reader = recognize.Recognizer(pair.model, pair.variables, pair.charset, pair.image_size, on)
    passes = math.ceil(count / batch_size)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_plates(pathlib.Path(folder), count)
        makers = {
            END_TO_END: lambda: lambda: reader.read(paths, batch_size=batch_size),
            FORWARD: lambda: make_forward(reader, batch_size, passes, on),
            DECODING: lambda: lambda: decode(paths, reader.image_size, threads=1),
            DECODING_ALL: lambda: lambda: decode(paths, reader.image_size, machine.cores()),
        }
        theirs = torch_makers(pair.reference, paths, batch_size, device, dtype, compiled)
        runs, _ = timing.start(makers | theirs)
        timings = timing.measure(runs, rounds, passes=1)
    plates = dict.fromkeys(runs, count) | {FORWARD: passes * batch_size}
    rates = {key: plates[key] / value.median_s for key, value in timings.items()}
    decoding = max(DECODING, DECODING_ALL, key=rates.get)
    limit = min(FORWARD, decoding, key=rates.get)
    report.print_table(("", "plates/s"), [(key, f"{rate:.0f}") for key, rate in rates.items()])
    share = rates[END_TO_END] / rates[limit]
    print(f"End to end runs at {share:.0%} of the slower limit, {limit}.")
    ratios = report.make_ratios(timings, [END_TO_END])
    report.print_ratios(ratios)
    return {
        "count": count,
        "plates_per_s": rates,
        "limit": limit,
        "ratios": ratios
        | {
            "end_to_end_over_forward": rates[END_TO_END] / rates[FORWARD],
            "end_to_end_over_decoding": rates[END_TO_END] / rates[decoding],
            "end_to_end_over_limit": share,
        },
    }


def make_forward(reader: recognize.Recognizer, batch_size: int, passes: int, on: str) -> timing.Run:
    """Returns a run of the network alone: passes over one batch of pixels in memory."""
    shape = (batch_size, *reader.image_size, 3)
    ready = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    forward = runtime.make_forward(reader.model, reader.variables, reader.image_size, on)
    return lambda: [forward(ready, False) for _ in range(passes)]


def decode(paths: Sequence[pathlib.Path], size: tuple[int, int], threads: int) -> None:
    """Decodes and resizes the files, and discards the pixels."""
    for _ in decoded(paths, size, threads):
        pass


def decoded(
    paths: Sequence[pathlib.Path], size: tuple[int, int], threads: int
) -> Iterator[np.ndarray]:
    """Yields the files' pixels in order, as H×W×3 uint8 arrays, decoded ahead."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        yield from pool.map(functools.partial(pixels.to_pixels, size=size), paths)


def torch_makers(
    network: torch.nn.Module,
    paths: Sequence[pathlib.Path],
    batch_size: int,
    device: str,
    dtype: str,
    compiled: bool,
) -> dict[str, Callable[[], timing.Run]]:
    """Returns PyTorch's candidates: name -> a function that prepares the run."""

    def make(layout: str, way: str) -> timing.Run:
        blank = np.zeros((batch_size, *networks.PAPER_SIZE, 3), np.uint8)
        placed, images = (
            x.to(getattr(torch, dtype))
            for x in (
                networks.placed(network, layout, device),
                networks.placed_images(blank, layout, device),
            )
        )
        placed = networks.made_to_read(placed, way, images)

        def run() -> list[torch.Tensor]:
            stream = decoded(paths, networks.PAPER_SIZE, machine.cores())
            ids = []
            while batch := list(itertools.islice(stream, batch_size)):
                short = batch_size - len(batch)  # fills up the last batch: each shape would compile
                images = np.stack(batch + batch[-1:] * short)
                images = networks.placed_images(images, layout, device).to(getattr(torch, dtype))
                with torch.inference_mode():
                    ids.append(placed(images).logits.argmax(-1).cpu())
            return ids

        return run

    return networks.torch_ways(make, networks.reading_ways(compiled))


def _main(argv: Sequence[str]) -> None:
    listed = flags.FLAGS
    options = {"count": _COUNT.value, "rounds": listed.rounds, "compiled": listed.compiled}
    sweep.run(argv, functools.partial(compare, **options))


if __name__ == "__main__":
    sweep.define_flags(["resnet18"], ["64"], rounds=3)
    _COUNT = flags.DEFINE_integer("count", 2000, "files", lower_bound=1)
    app.run(_main)

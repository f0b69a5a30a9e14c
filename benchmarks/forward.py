"""Times reading a batch: this package's forward against PyTorch's, in one run.

    python -m benchmarks.forward --backbones=resnet18,resnet101 --batch_sizes=1,16
    python -m benchmarks.forward --protocol=paper

PyTorch is given float images in the layout that it computes in, and stops at the logits. This
package starts from uint8 images and ends with class ids and confidences.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import torch
from absl import app, flags

from benchmarks import networks, report, timing
from hpa_jax import command, machine, runtime

PROTOCOLS = {"quick": (10, 5), "paper": (50, 100)}  # rounds, passes a round


def compare(
    name: str, batch_size: int, dtype: str, rounds: int, passes: int, compiled: bool, peak: float
) -> dict[str, Any]:
    """Times one network at one batch size; prints a table and returns its figures.

    Args:
      name: among `networks.NETWORKS`.
      batch_size: plates a pass.
      dtype: 'float32' or 'bfloat16', for both frameworks.
      rounds: how often each candidate has its turn.
      passes: timed passes a turn.
      compiled: whether PyTorch is also compiled.
      peak: FLOP/s of the machine.
    """
    device = timing.set_up()
    pair = networks.make_pair(name, dtype)
    pixels, their_pixels = (
        np.random.default_rng(0).integers(0, 256, (batch_size, *size, 3), np.uint8)
        for size in (pair.image_size, networks.PAPER_SIZE)
    )
    ours = our_makers(pair, pixels, device)
    theirs = torch_makers(pair, their_pixels, device, dtype, compiled)
    runs, results = timing.start(ours | theirs)
    if pair.same:
        _check_equal(results, ours, tolerance=0.01 if dtype == "float32" else 0.2)
    timings = timing.measure(runs, rounds, passes)
    read_batch = jax.jit(functools.partial(runtime.read_batch, pair.model))
    flops = timing.count_flops(read_batch, pair.variables, pixels)
    flops = dict.fromkeys(ours, flops) | dict.fromkeys(theirs, pair.reference_flops * batch_size)
    figures = {
        "network": name,
        "batch_size": batch_size,
        "dtype": dtype,
        "image_size": pair.image_size,
        "peak_flops_per_s": peak,
        "candidates": report.summarise(timings, flops, batch_size, peak),
        "ratios": report.make_ratios(timings, list(ours)),
    }
    print(f"\nReading with {name}, batch {batch_size}, {dtype}")
    report.print_candidates(figures["candidates"])
    report.print_ratios(figures["ratios"])
    return figures


def our_makers(
    pair: networks.Pair, pixels: np.ndarray, device: str
) -> dict[str, Callable[[], timing.Run]]:
    """This package's ways to read, each a function that prepares it."""

    def make_xla() -> timing.Run:
        forward = jax.jit(
            functools.partial(runtime.read_batch, pair.model),
            compiler_options=machine.compiler_options(),
        )
        variables, images = jax.device_put((pair.variables, pixels))
        return lambda: jax.block_until_ready(forward(variables, images))

    def make_onnx() -> timing.Run:
        forward = runtime.make_forward(pair.model, pair.variables, pair.image_size, "onnx")
        return lambda: forward(pixels, False)

    makers = {"hpa_jax, XLA": make_xla}
    if device == "cpu" and pair.model.dtype == "float32":
        makers["hpa_jax, ONNX Runtime"] = make_onnx
    return makers


def torch_makers(
    pair: networks.Pair, pixels: np.ndarray, device: str, dtype: str, compiled: bool
) -> dict[str, Callable[[], timing.Run]]:
    """PyTorch's ways to read, each a function that prepares it."""

    def make(layout: str, compiled: bool) -> timing.Run:
        network, images = networks.placed(pair.reference, pixels, layout, device)
        # The whole network in bfloat16 is faster than autocast, which converts at every layer.
        network, images = (x.to(getattr(torch, dtype)) for x in (network, images))
        network = torch.compile(network, dynamic=False) if compiled else network

        def run() -> torch.Tensor:
            with torch.inference_mode():
                return timing.synchronised(network(images).logits)

        return run

    return networks.torch_ways(make, compiled)


def _check_equal(results: dict[str, Any], ours: Sequence[str], tolerance: float) -> None:
    """All candidates must read the same: what is fast and wrong is not compared."""
    expected = results["PyTorch, eager"].float().softmax(-1).amax(-1).cpu().numpy()
    for name in set(ours) & set(results):
        error = np.abs(np.asarray(results[name][1]) - expected).max()
        if not error < tolerance:
            raise ValueError(f"{name}: confidences differ from PyTorch's by {error:.2g}")


def _main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    command.set_up()
    device = timing.set_up()
    rounds, passes = PROTOCOLS[_PROTOCOL.value]
    batch_sizes = ["1"] if _PROTOCOL.value == "paper" else _BATCH_SIZES.value
    machine, results = report.describe_machine(), []
    report.print_machine(machine)
    for dtype in _DTYPES.value:
        peak = timing.measure_peak(device, dtype)
        report.print_peak(dtype, peak)
        for name in _BACKBONES.value:
            for batch_size in map(int, batch_sizes):
                figures = compare(
                    name, batch_size, dtype, _ROUNDS.value or rounds, passes, _COMPILED.value, peak
                )
                results.append(figures)
    report.write_json(_JSON.value, machine, results)


if __name__ == "__main__":
    _BACKBONES = flags.DEFINE_list(
        "backbones",
        ["resnet18", "resnet101", *networks.WIDTHS],
        f"among {', '.join(networks.NETWORKS)}; small and half against PyTorch's resnet18",
    )
    _BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "16"], "plates read at once")
    _DTYPES = flags.DEFINE_list(
        "dtypes", ["float32"], "among float32, bfloat16; the latter on a GPU"
    )
    _PROTOCOL = flags.DEFINE_enum(
        "protocol", "quick", list(PROTOCOLS), "paper: batch 1, 5,000 synchronised passes"
    )
    _ROUNDS = flags.DEFINE_integer("rounds", None, "turns of each candidate", lower_bound=1)
    _COMPILED = flags.DEFINE_bool("compiled", True, "also compiled PyTorch, which takes minutes")
    _JSON = flags.DEFINE_string("json", None, "also writes the figures to this file")
    for flag, known in (("backbones", networks.NETWORKS), ("dtypes", ("float32", "bfloat16"))):
        flags.register_validator(
            flag, lambda values, known=known: set(values) <= set(known), f"must be among {known}"
        )
    flags.register_validator(
        "batch_sizes", lambda values: all(v.isdigit() and int(v) for v in values), "whole numbers"
    )
    app.run(_main)

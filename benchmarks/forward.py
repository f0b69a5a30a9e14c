"""Times reading a batch: the forward pass of this package against PyTorch's, in one run.

    python -m benchmarks.forward --backbones=resnet18,resnet101 --batch_sizes=1,16
    python -m benchmarks.forward --protocol=paper

PyTorch gets float images in the memory layout that it computes in, and returns the logits. This
package starts from uint8 images and returns class ids and confidences.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
import torch
from absl import app, flags

from benchmarks import networks, report, sweep, timing
from hpa_jax import machine, runtime
from hpa_jax.models import layers

PROTOCOLS = {"quick": (10, 5), "paper": (50, 100)}  # rounds, passes per round


def compare(
    name: str, batch_size: int, dtype: str, *, rounds: int, passes: int, compiled: bool
) -> dict[str, Any]:
    """Times one network at one batch size; prints a table and returns its figures.

    Args:
      name: of the network, one of `networks.NETWORKS`.
      batch_size: plates per pass.
      dtype: 'float32' or 'bfloat16', for both frameworks.
      rounds: turns of each candidate.
      passes: timed passes per turn.
      compiled: whether to time compiled PyTorch too.
    """
    device = timing.set_up()
    peak = timing.measure_peak(device, dtype)
    pair = networks.make_pair(name, dtype)
    pixels, their_pixels = (
        networks.make_pixels(batch_size, size) for size in (pair.image_size, networks.PAPER_SIZE)
    )
    ours = our_makers(pair, pixels, device)
    theirs = torch_makers(pair, their_pixels, device, dtype, compiled)
    runs, results = timing.start(ours | theirs)
    if pair.same:
        # On a GPU float32 is TensorFloat-32, to which the frameworks round in different places.
        check_equal(results, {"float32": 0.01 if device == "cpu" else 0.05, "bfloat16": 0.3}[dtype])
    timings = timing.measure(runs, rounds, passes)
    flops = our_flops(pair, pixels, ours)
    flops |= dict.fromkeys(theirs, pair.reference_flops * batch_size)
    figures = report.compare_passes(timings, flops, batch_size, list(ours), dtype, peak)
    return {"image_size": pair.image_size} | figures


def our_makers(
    pair: networks.Pair, pixels: np.ndarray, device: str
) -> dict[str, Callable[[], timing.Run]]:
    """Returns this package's candidates: name -> a function that prepares the run."""

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


def our_flops(pair: networks.Pair, pixels: np.ndarray, names: Iterable[str]) -> dict[str, float]:
    """Returns the arithmetic of this package's candidates in a pass, in FLOPs."""
    flops = {}
    for name in names:
        read_batch = jax.jit(functools.partial(runtime.read_batch, pair.model))
        # The ONNX model has none of the forms that are for XLA on a CPU.
        with layers.for_any_device() if "ONNX" in name else contextlib.nullcontext():
            flops[name] = timing.count_flops(read_batch, pair.variables, pixels)
    return flops


def torch_makers(
    pair: networks.Pair, pixels: np.ndarray, device: str, dtype: str, compiled: bool
) -> dict[str, Callable[[], timing.Run]]:
    """Returns PyTorch's candidates: name -> a function that prepares the run."""

    def make(layout: str, way: str) -> timing.Run:
        network = networks.placed(pair.reference, layout, device)
        images = networks.placed_images(pixels, layout, device)
        # A network in bfloat16 is faster than autocast, which converts at every layer.
        network, images = (x.to(getattr(torch, dtype)) for x in (network, images))
        network = networks.made_to_read(network, way, images)

        def run() -> torch.Tensor:
            with torch.inference_mode():
                return timing.synchronised(network(images).logits)

        return run

    return networks.torch_ways(make, networks.reading_ways(compiled))


def check_equal(results: dict[str, Any], tolerance: float) -> None:
    """Refuses candidates that do not read the same as PyTorch: their speed would mean nothing.

    Args:
      results: candidate -> logits (B, Cp, classes) of PyTorch, or ids and confidences (B, Cp, ...).
      tolerance: of the confidences. Ids may differ where two classes are as close as that.

    Raises:
      ValueError: a candidate, which it names, differs from the first one of PyTorch.
    """
    first = next((name for name in results if name.startswith("PyTorch")), None)
    if first is None:  # PyTorch could not run here
        return
    expected = results[first].float().softmax(-1).cpu().numpy()
    for name, result in results.items():
        if name.startswith("PyTorch"):
            probabilities = result.float().softmax(-1).cpu().numpy()
            ids, confidences = probabilities.argmax(-1), probabilities.max(-1)
        else:
            ids, confidences = (np.asarray(x) for x in result[:2])
        theirs = np.take_along_axis(expected, ids[..., None], axis=-1)[..., 0]
        error = max(np.abs(confidences - theirs).max(), (expected.max(-1) - theirs).max())
        if not error < tolerance:
            raise ValueError(f"{name}: confidences differ from those of {first} by {error:.2g}")


def _main(argv: Sequence[str]) -> None:
    rounds, passes = PROTOCOLS[_PROTOCOL.value]
    if _PROTOCOL.value == "paper":
        if flags.FLAGS["batch_sizes"].present:
            raise app.UsageError("--protocol=paper reads plates one by one: drop --batch_sizes")
        flags.FLAGS.batch_sizes = ["1"]
    options = {"rounds": flags.FLAGS.rounds or rounds, "passes": passes}
    sweep.run(argv, functools.partial(compare, **options, compiled=flags.FLAGS.compiled))


if __name__ == "__main__":
    sweep.define_flags(["resnet18", "resnet101", *networks.SHIPPED], ["1", "16"], rounds=None)
    _PROTOCOL = flags.DEFINE_enum(
        "protocol", "quick", list(PROTOCOLS), "paper: batch 1, 5,000 synchronised passes"
    )
    app.run(_main)

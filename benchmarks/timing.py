"""Candidates timed side by side, and the machine's peak that they are measured against."""

import functools
import gc
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from hpa_jax import machine

SETTLE_S = 0.05  # runtimes' idle threads go on spinning for some 20 ms after their last pass

Run = Callable[[], Any]  # one pass: returns when its result is complete


class Timing(NamedTuple):
    """Seconds of one candidate's passes."""

    median_s: float
    mean_s: float
    fastest_s: float
    spread: float  # interquartile range as a share of the median
    passes: int


def set_up(keep_memory: bool = False) -> str:
    """Makes the two frameworks' terms equal; returns PyTorch's name of the device that both use.

    Both run on as many threads as they choose, which is all cores, but no more. Memory is kept as
    training here keeps it, by which PyTorch gains as well, or as commands that read leave it.
    """
    # Else JAX takes most of a GPU's memory, and PyTorch finds none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # JAX multiplies float32 matrices in TensorFloat-32 where a GPU has it: so must PyTorch.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    # PyTorch knows no container's quota, and threads beyond it wait for each other.
    torch.set_num_threads(min(torch.get_num_threads(), machine.cores()))
    torch.compiler.reset()  # after some networks the compiler would give up, silently
    gc.collect()  # what the comparison before took of a GPU
    torch.cuda.empty_cache()
    if keep_memory:
        machine.keep_memory()
    device = {"cpu": "cpu", "gpu": "cuda"}.get(jax.default_backend())
    if device is None or (device == "cuda" and not torch.cuda.is_available()):
        sys.exit(
            f"error: JAX runs on {jax.default_backend()} and PyTorch cannot: there is nothing to "
            "compare; JAX_PLATFORMS=cpu compares both on the CPU"
        )
    return device


def start(makers: Mapping[str, Callable[[], Run]]) -> tuple[dict[str, Run], dict[str, Any]]:
    """Makes each candidate and runs it once, which compiles it.

    What this machine cannot run is left out, and the reason goes to stderr.

    Returns:
      The candidates by name, and the result of each one's pass.
    """
    runs, results = {}, {}
    for name, make in makers.items():
        try:
            run = make()
            result = run()
            # Else a CUDA graph's next run, also another network's, takes the memory of this result.
            results[name] = result.clone() if isinstance(result, torch.Tensor) else result
            runs[name] = run
        except (ImportError, RuntimeError, ValueError) as error:  # no compiler, memory, ONNX model
            reason = str(error).partition("\n")[0] or type(error).__name__
            print(f"{name}: not measured: {reason}", file=sys.stderr)
    return runs, results


def measure(runs: Mapping[str, Run], rounds: int, passes: int) -> dict[str, Timing]:
    """Times candidates in turn, round by round, so that a busy moment of the machine meets all."""
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(SETTLE_S)
            for _ in range(passes):
                begin = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - begin)
    return {name: _summary(values) for name, values in seconds.items()}


def _summary(seconds: Sequence[float]) -> Timing:
    low, median, high = np.percentile(seconds, (25, 50, 75)).tolist()
    mean, spread = float(np.mean(seconds)), (high - low) / median
    return Timing(median, mean, min(seconds), spread, len(seconds))


def count_flops(jitted: Callable, *args: Any) -> float:
    """FLOPs of a jitted function as XLA counts them in the unoptimised program; it is not run.

    They are counted for a CPU, since GPUs' plug-ins count none; NaN where JAX has no CPU.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    try:
        with jax.default_device(jax.devices("cpu")[0]):
            return jitted.lower(*shapes).cost_analysis()["flops"]
    except RuntimeError:
        return math.nan


@functools.cache
def measure_peak(device: str, dtype: str) -> float:
    """FLOP/s of a large square matrix product: the fastest of JAX's and PyTorch's."""
    size = 2048 if device == "cpu" else 8192
    # Not ones: a GPU that multiplies these needs less power and runs faster than it ever does.
    numbers = np.random.default_rng(0).standard_normal((size, size), np.float32)
    ours = jnp.asarray(numbers, dtype)
    theirs = torch.tensor(numbers, dtype=getattr(torch, dtype), device=device)
    dot = jax.jit(jnp.dot)
    runs = {
        "jax": lambda: jax.block_until_ready(dot(ours, ours)),
        "torch": lambda: synchronised(theirs @ theirs),
    }
    measure(runs, rounds=1, passes=1)  # compiles
    timings = measure(runs, rounds=3, passes=1)
    return 2 * size**3 / min(timing.fastest_s for timing in timings.values())


def synchronised(result: torch.Tensor) -> torch.Tensor:
    """`result`, once PyTorch has computed it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result

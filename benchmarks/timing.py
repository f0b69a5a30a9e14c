"""Times candidates side by side, and measures the machine's peak to compare them with."""

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

SETTLE_S = 0.05  # idle threads of a runtime spin for some 20 ms after its last pass

Run = Callable[[], Any]  # one pass: returns when its result is complete


class Timing(NamedTuple):
    """Seconds of one candidate's passes."""

    median_s: float
    mean_s: float
    fastest_s: float
    spread: float  # interquartile range as a share of the median
    passes: int


def set_up(keep_memory: bool = False) -> str:
    """Sets equal conditions for both frameworks; returns PyTorch's name of the device they use.

    Both use as many threads as they choose, but at most one per core. `keep_memory` keeps freed
    memory for reuse, as training here does (PyTorch gains too); commands that read do not.
    """
    # Otherwise JAX takes most of a GPU's memory, and PyTorch finds none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # JAX multiplies float32 matrices in TensorFloat-32 if the GPU has it, so PyTorch must too.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    # PyTorch does not know a container's quota, and threads beyond it wait for each other.
    torch.set_num_threads(min(torch.get_num_threads(), machine.cores()))
    torch.compiler.reset()  # after some networks the compiler would silently give up
    gc.collect()  # frees the GPU memory of the previous comparison
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

    Candidates that this machine cannot run are left out, with the reason on stderr.

    Returns:
      The candidates' runs by name, and the result of one pass of each.
    """
    runs, results = {}, {}
    for name, make in makers.items():
        try:
            run = make()
            result = run()
            # Otherwise the next run of any CUDA graph reuses the memory of this result.
            results[name] = result.clone() if isinstance(result, torch.Tensor) else result
            runs[name] = run
        except (ImportError, RuntimeError, ValueError) as error:  # no compiler, memory, ONNX model
            reason = str(error).partition("\n")[0] or type(error).__name__
            print(f"{name}: not measured: {reason}", file=sys.stderr)
    return runs, results


def measure(runs: Mapping[str, Run], rounds: int, passes: int) -> dict[str, Timing]:
    """Times candidates in turn, round by round, so that other load on the machine affects all."""
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
    """Returns the FLOPs that XLA counts in a jitted function's unoptimised program, without a run.

    They are counted for a CPU, because GPU plug-ins count none; NaN if JAX has no CPU device.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    try:
        with jax.default_device(jax.devices("cpu")[0]):
            return jitted.lower(*shapes).cost_analysis()["flops"]
    except RuntimeError:
        return math.nan


@functools.cache
def measure_peak(device: str, dtype: str) -> float:
    """Returns the FLOP/s of a large square matrix product, by the faster of JAX and PyTorch."""
    size = 2048 if device == "cpu" else 8192
    # Not ones: with these a GPU uses less power and runs faster than on real data.
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
    """Returns `result` once PyTorch has computed it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result

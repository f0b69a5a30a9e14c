"""The machine that runs this process."""

import ctypes
import functools
import math
import os
import pathlib
import platform

import jax

# On a CPU: XLA's older convolutions, for its YNNPACK ones take three times as long for the
# gradients of kernels; and barriers, which `layers.materialised` sets, kept (benchmarks/README.md).
CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_disable_hlo_passes": "cse_barrier_expander",
}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
CPU_QUOTA = pathlib.Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds a period


def cores() -> int:
    """How many cores this process may use: those it was allotted, not all that are there."""
    if hasattr(os, "sched_getaffinity"):
        allotted = len(os.sched_getaffinity(0))
    else:
        allotted = os.cpu_count() or 1
    try:
        quota, period = map(int, CPU_QUOTA.read_text().split())
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        return allotted
    return min(allotted, math.ceil(quota / period))


def backend() -> str:
    """What JAX runs on: 'cpu', 'gpu' or 'tpu'.

    Raises:
      OSError: JAX finds none of the devices that it was told to use.
    """
    try:
        return jax.default_backend()
    except (AssertionError, RuntimeError) as error:  # the former without a word
        why = str(error) or "is what drives it installed, as by pip install 'hpa_jax[cuda12]'?"
        raise OSError(
            f"JAX_PLATFORMS={jax.config.jax_platforms}: JAX finds no such device: {why}"
        ) from error


@functools.cache
def compiler_options() -> dict[str, str]:
    """What to give `jax.jit` as `compiler_options` for a whole network to run fast here."""
    if backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=CPU_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:  # an XLA that has no such option
        return {}
    return CPU_OPTIONS


def keep_memory() -> None:
    """Has this process keep the memory that it frees, where JAX runs on a CPU under glibc.

    XLA frees a step's memory and asks for it anew in the next, and the kernel clears its pages: a
    quarter of a training step (benchmarks/README.md). Call it in the main thread, before anything
    else starts JAX; elsewhere it changes nothing.
    """
    # Else a thread of JAX's own asks for the memory, and it lies in no heap that lasts.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if backend() == "cpu" and platform.libc_ver()[0] == "glibc":
        malloc = ctypes.CDLL(None)
        malloc.mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap too,
        malloc.mallopt(M_TRIM_THRESHOLD, -1)  # which never shrinks

"""What this process runs on: cores, backend, compiler options and memory."""

import ctypes
import functools
import math
import os
import pathlib
import platform

import jax

# On a CPU: use XLA's older convolutions, since its YNNPACK ones take three times as long for the
# gradients of kernels; and keep the barriers of `layers.materialised` (benchmarks/README.md).
CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_disable_hlo_passes": "cse_barrier_expander",
}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
CPU_QUOTA = pathlib.Path("/sys/fs/cgroup/cpu.max")  # of a container, in microseconds


def cores() -> int:
    """Returns how many cores this process may use, which can be fewer than the machine has."""
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
    """Returns what JAX runs on: 'cpu', 'gpu' or 'tpu'.

    Raises:
      OSError: JAX finds none of the devices that it was told to use.
    """
    try:
        return jax.default_backend()
    except (AssertionError, RuntimeError) as error:  # an AssertionError is empty
        why = str(error) or "is its plugin installed, as by pip install 'hpa_jax[cuda12]'?"
        raise OSError(
            f"JAX_PLATFORMS={jax.config.jax_platforms}: JAX finds no such device: {why}"
        ) from error


@functools.cache
def compiler_options() -> dict[str, str]:
    """Returns the `compiler_options` of `jax.jit` that make whole networks fast on this backend."""
    if backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=CPU_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:  # this XLA lacks one of the options
        return {}
    return CPU_OPTIONS


def keep_memory() -> None:
    """Makes this process reuse the memory that it frees, where JAX runs on a CPU under glibc.

    XLA frees a step's memory and allocates it again in the next, and the kernel then clears its
    pages, which takes a quarter of a training step (benchmarks/README.md). Call it in the main
    thread, before anything else starts JAX. On other systems it changes nothing.
    """
    # Else JAX allocates in a thread of its own, whose heap does not last.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if backend() == "cpu" and platform.libc_ver()[0] == "glibc":
        malloc = ctypes.CDLL(None)
        malloc.mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap too,
        malloc.mallopt(M_TRIM_THRESHOLD, -1)  # which never shrinks

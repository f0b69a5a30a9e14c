"""The machine that runs this process."""

import contextlib
import functools
import math
import os
import pathlib
import secrets
from collections.abc import Iterator

import jax
import numpy as np

# On a CPU: XLA's older convolutions, for its YNNPACK ones take three times as long for the
# gradients of kernels; and barriers, which `layers.materialised` sets, kept (benchmarks/README.md).
CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_disable_hlo_passes": "cse_barrier_expander",
}
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


@contextlib.contextmanager
def claim(folder: pathlib.Path, *, shared: bool = False) -> Iterator[None]:
    """Keeps other processes that claim the same folder out of it, on any host that shares it.

    Those that share it, for they only read, may do so together.

    Raises:
      ValueError: one has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        lock = (folder / ".lock").open("w")
    except OSError:
        if not shared:
            raise
        yield  # nobody writes there
        return
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{folder}: another run is at work in it: give another one") from error
        except OSError:  # a file system without locks
            pass
        yield


@contextlib.contextmanager
def claim_together(folder: pathlib.Path) -> Iterator[None]:
    """`claim` for all processes of a job, which wait for each other here.

    Raises:
      ValueError: another run has it, or it is not one folder that all of them share.
    """
    if jax.process_count() == 1:
        with claim(folder):
            yield
        return
    from jax.experimental import multihost_utils

    with contextlib.ExitStack() as claimed:
        number, refusal = 0, None
        if jax.process_index() == 0:
            try:
                claimed.enter_context(claim(folder))
                number = 1 + secrets.randbelow(2**30)
                (folder / f".job-{number}").touch()
                claimed.callback((folder / f".job-{number}").unlink, missing_ok=True)
            except (OSError, ValueError) as error:
                number, refusal = 0, error
        # Told to all, who would else wait for this one in vain.
        number = int(multihost_utils.broadcast_one_to_all(np.int32(number)))
        if not number:
            raise refusal or ValueError(f"{folder}: the first process was refused it, and says why")
        agree(
            int((folder / f".job-{number}").is_file()),
            f"workdir {folder}: must be one folder that all processes share",
        )
        yield


def agree(value: int, problem: str) -> None:
    """Compares a number of up to 31 bits over all processes, which wait for each other here.

    Raises:
      ValueError: `problem`, on all of them; not all have the same number.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils  # half a second, which readers do not wait

        if np.ptp(multihost_utils.process_allgather(np.int32(value))):
            raise ValueError(problem)


@functools.cache
def compiler_options() -> dict[str, str]:
    """What to give `jax.jit` as `compiler_options` for a whole network to run fast here."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=CPU_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:  # an XLA that has no such option
        return {}
    return CPU_OPTIONS

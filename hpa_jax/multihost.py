"""Keeps runs out of each other's folders, and the processes of one run in agreement."""

import contextlib
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


@contextlib.contextmanager
def claim(folder: pathlib.Path, *, shared: bool = False) -> Iterator[None]:
    """Locks a folder against other processes that claim it, on any host that shares the folder.

    Processes that only read claim it with `shared`, and do not exclude each other.

    Raises:
      ValueError: another process has claimed it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        lock = (folder / ".lock").open("w+")  # NFS grants shared locks only on readable files
    except OSError:
        if not shared:
            raise
        yield  # read-only: no lock is needed
        return
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{folder}: another run is using it: give another one") from error
        except OSError:  # a file system without locks
            pass
        yield


@contextlib.contextmanager
def claim_together(folder: pathlib.Path) -> Iterator[None]:
    """Claims a folder for all processes of a job, which must all call this.

    Raises:
      ValueError: another run has claimed it, or the processes do not share one folder.
    """
    if jax.process_count() == 1:
        with claim(folder):
            yield
        return
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
        # All processes learn of a refusal, and do not wait for this one in vain.
        number = int(of_the_first(np.int32(number)))
        if not number:
            raise refusal or ValueError(f"{folder}: the first process was refused it, and says why")
        agree(
            int((folder / f".job-{number}").is_file()),
            f"workdir {folder}: must be one folder that all processes share",
        )
        yield


def agree(value: int, problem: str) -> None:
    """Checks that all processes, which must all call this, have the same number of up to 31 bits.

    Raises:
      ValueError: the numbers differ; its message is `problem`, and all processes raise it.
    """
    if jax.process_count() > 1 and np.ptp(multihost_utils.process_allgather(np.int32(value))):
        raise ValueError(problem)


def of_the_first(tree: Any) -> Any:
    """Returns the first process's tree of host arrays; all processes must call this."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)

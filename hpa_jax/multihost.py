"""Runs that meet in a folder, and the processes of one run: who has it, and whether all agree."""

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
        lock = (folder / ".lock").open("w+")  # NFS has shared locks only of what can be read
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
        number = int(of_the_first(np.int32(number)))
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
    if jax.process_count() > 1 and np.ptp(multihost_utils.process_allgather(np.int32(value))):
        raise ValueError(problem)


def of_the_first(tree: Any) -> Any:
    """A tree of the host's arrays, as the first process has it; all processes call this."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)

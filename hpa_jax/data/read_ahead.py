"""Batches of a Grain data set, made ahead by processes that end with the run and not earlier."""

import atexit
import contextlib
import gc
import itertools
import signal
import weakref
from collections.abc import Iterator
from multiprocessing import resource_tracker

import grain
import numpy as np
from absl import flags

from hpa_jax.data.workers import end_with_parent

Batch = dict[str, np.ndarray]
AHEAD = 2  # batches that each process makes ahead
_OPEN: weakref.WeakSet[Iterator] = weakref.WeakSet()  # iterators that are not closed yet


def read_ahead(dataset: grain.MapDataset, workers: int) -> Iterator[Batch]:
    """Returns a data set's batches, made ahead in `workers` processes; 0: in this one."""
    if workers and not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's workers read a flag, even in notebooks and tests
    # By default Grain reads 500 batches ahead in 16 threads, which takes gigabytes.
    read = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
    processes = grain.multiprocessing.MultiprocessingOptions(workers, per_worker_buffer_size=AHEAD)
    iterator = iter(dataset.to_iter_dataset(read).mp_prefetch(processes, _end_with_the_run))
    batches = _until_closed(held := [iterator])
    weakref.finalize(batches, _close, held)  # ends the workers, even if no batch was read
    _OPEN.add(batches)
    return batches


@atexit.register
def _close_all() -> None:
    """Closes all iterators at exit, while the modules that this needs are still there."""
    for batches in list(_OPEN):
        batches.close()


def _until_closed(held: list[grain.DatasetIterator]) -> Iterator[Batch]:
    try:
        with _signals_waiting():  # the first batch starts the workers
            first = list(map(_copied, itertools.islice(held[0], 1)))
        yield from first
        yield from map(_copied, held[0])
    finally:
        _close(held)


@contextlib.contextmanager
def _signals_waiting() -> Iterator[None]:
    """Blocks SIGINT and SIGTERM; workers that start meanwhile inherit this until they ignore both.

    Otherwise a signal would end workers that are still importing, before the run has saved.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _copied(batch: Batch) -> Batch:
    """Copies a batch out of shared memory, which JAX might still hold when the program ends."""
    return {name: np.array(rows) for name, rows in batch.items()}


def _close(held: list[grain.DatasetIterator]) -> None:
    if held:  # not closed yet
        held.pop().close()
        gc.collect()  # what Grain's threads and errors still hold would leak shared memory


def _end_with_the_run(worker: int, count: int) -> None:
    """Makes a worker ignore SIGINT and SIGTERM, and end when its run has ended.

    Terminals and SLURM signal workers too, but the run needs batches until it has saved.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()

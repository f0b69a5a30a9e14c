"""Batches of a Grain data set, made ahead by processes that end when they should, no sooner."""

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
AHEAD = 2  # batches that are ready before they are asked for, in each process
_OPEN: weakref.WeakSet[Iterator] = weakref.WeakSet()  # batches that nobody has closed yet


def read_ahead(dataset: grain.MapDataset, workers: int) -> Iterator[Batch]:
    """The batches of a data set, made ahead in `workers` processes; 0 for none but this one."""
    if workers and not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's workers read a flag, also in notebooks and tests
    # Grain would read 500 batches ahead in 16 threads, which is gigabytes.
    read = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
    processes = grain.multiprocessing.MultiprocessingOptions(workers, per_worker_buffer_size=AHEAD)
    iterator = iter(dataset.to_iter_dataset(read).mp_prefetch(processes, _end_with_the_run))
    batches = _until_closed(held := [iterator])
    weakref.finalize(batches, _close, held)  # ends the workers, also of batches never begun
    _OPEN.add(batches)
    return batches


@atexit.register
def _close_all() -> None:
    """While there still is something to close them with."""
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
    """Holds back what stops a run; workers that start meanwhile do so until they ignore it.

    Else it would end those that still import, and with them a run that has yet to save.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its own start would let them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _copied(batch: Batch) -> Batch:
    """Out of the workers' shared memory, which JAX might hold when the program ends."""
    return {name: np.array(rows) for name, rows in batch.items()}


def _close(held: list[grain.DatasetIterator]) -> None:
    while held:
        held.pop().close()
    gc.collect()  # of what Grain's threads and errors hold: else its shared memory leaks


def _end_with_the_run(worker: int, count: int) -> None:
    """Makes a worker end when its iterator is closed or the run is gone, and at no signal before.

    Terminals and SLURM signal workers too, while the run wants batches until it has saved.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()

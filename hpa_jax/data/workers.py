"""Worker processes that end with the run that started them."""

import multiprocessing
import multiprocessing.process
import os
import threading


def end_with_parent() -> None:
    """Called in a worker: ends it once its parent is gone, also when that was killed."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)

"""Worker processes that end with the run that started them."""

import multiprocessing
import multiprocessing.process
import os
import threading


def end_with_parent() -> None:
    """Makes the calling worker process end when its parent ends, even if that is killed."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)

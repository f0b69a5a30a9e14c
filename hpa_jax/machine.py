"""The machine that runs this process."""

import os


def cores() -> int:
    """How many cores this process may use: those it was allotted, not all that are there."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Handles SIGTERM and Ctrl-C, so that a run stops between two steps with its state saved."""

import contextlib
import os
import signal
import types
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
    """A run stopped on request, saved and ready to go on."""


@contextlib.contextmanager
def catch_interrupts(first_step: int = 0) -> Iterator[Callable[[int | None], bool]]:
    """Yields `interrupted(step)`, true once a stop is requested; a second Ctrl-C stops at once.

    Between two steps, as in a long evaluation, pass None.

    Several processes agree on the step through JAX's preemption service, which knows only SIGTERM:
    Ctrl-C then stops at once, and for None the answer is always false. `first_step` is the step
    that was resumed.
    """
    if jax.process_count() > 1:
        # The service stops all at the step after the last one reported: without this report, a
        # SIGTERM while the first step compiles means step 1, which a resumed run never reaches.
        multihost_utils.reached_preemption_sync_point(first_step)
        reached = multihost_utils.reached_preemption_sync_point
        yield lambda step: step is not None and reached(step)
        return
    received = []

    def handle(number: int, _: types.FrameType | None) -> None:
        received.append(number)
        with contextlib.suppress(OSError):  # Ctrl-C may have ended a `| tee` too
            # Not print: the signal may interrupt a print.
            os.write(2, b"\nstopping after this step, saved; Ctrl-C again stops at once, unsaved\n")
        if number == signal.SIGINT:  # not SIGTERM, which clusters may send twice
            signal.signal(number, previous[number])

    previous = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda step: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

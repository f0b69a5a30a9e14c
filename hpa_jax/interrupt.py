"""SIGTERM and Ctrl-C, so that a run stops between two steps with its state saved."""

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
    """Yields `interrupted(step)`, true once a stop was asked for; a second Ctrl-C stops at once.

    Between two steps, as in a long evaluation, ask with None.

    On several processes all of them agree on the step, through JAX's preemption service, which
    hears SIGTERM alone: there Ctrl-C stops at once, and between two steps the answer is false.
    `first_step` is the one that was resumed.
    """
    if jax.process_count() > 1:
        # The service stops all at the step after the last that it was told: a SIGTERM while the
        # first step compiles would else mean step 1, which a resumed run never meets.
        multihost_utils.reached_preemption_sync_point(first_step)
        reached = multihost_utils.reached_preemption_sync_point
        yield lambda step: step is not None and reached(step)
        return
    received = []

    def handle(number: int, _: types.FrameType | None) -> None:
        received.append(number)
        with contextlib.suppress(OSError):  # Ctrl-C ended `| tee` too: nobody reads on
            # Not print: a handler may come in the middle of one.
            os.write(2, b"\nstopping after this step, saved; Ctrl-C again stops at once, unsaved\n")
        if number == signal.SIGINT:  # clusters send SIGTERM twice and mean one
            signal.signal(number, previous[number])

    previous = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda step: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

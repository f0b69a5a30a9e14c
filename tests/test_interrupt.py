"""Stopping on request."""

import signal

import pytest

from hpa_jax import interrupt


def test_a_second_ctrl_c_stops_at_once_and_the_handlers_come_back():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # of `pytest &` ignores it
    try:
        with interrupt.catch_interrupts() as interrupted:
            assert not interrupted(1)
            signal.raise_signal(signal.SIGINT)
            assert interrupted(1)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with interrupt.catch_interrupts():
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)

"""Stopping on request."""

import os
import signal

import jax
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


def test_sigterm_may_come_twice_and_each_is_answered(capfd):
    with interrupt.catch_interrupts() as interrupted:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interrupted(1)
    assert capfd.readouterr().err.count("\nstopping after this step, saved; Ctrl-C again") == 2


def test_a_closed_pipe_does_not_keep_a_run_from_saving(monkeypatch):
    def write(*_):
        raise BrokenPipeError

    with interrupt.catch_interrupts() as interrupted:
        monkeypatch.setattr(os, "write", write)  # as when Ctrl-C ended `| tee` too
        signal.raise_signal(signal.SIGTERM)
        assert interrupted(1)


def test_the_preemption_service_hears_of_the_step_that_was_resumed(monkeypatch):
    heard = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        interrupt.multihost_utils, "reached_preemption_sync_point", lambda step: heard.append(step)
    )
    with interrupt.catch_interrupts(5000) as interrupted:
        assert heard == [5000]
        interrupted(5001)
    assert heard == [5000, 5001]

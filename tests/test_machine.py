"""What a process may use, and what it keeps to itself."""

import os

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from hpa_jax import machine


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_a_container_s_quota_limits_the_cores(quota, cores, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    if quota:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert machine.cores() == cores


def test_a_folder_is_claimed_by_one_at_a_time(tmp_path):
    with machine.claim(tmp_path), pytest.raises(ValueError, match="another run is at work in it"):
        machine.claim(tmp_path).__enter__()
    with machine.claim(tmp_path):
        pass


def test_a_folder_is_read_by_many_and_written_by_one(tmp_path):
    with (
        machine.claim(tmp_path, shared=True),
        machine.claim(tmp_path, shared=True),
        pytest.raises(ValueError, match="another run is at work in it"),
    ):
        machine.claim(tmp_path).__enter__()
    with machine.claim(tmp_path), pytest.raises(ValueError, match="another run is at work in it"):
        machine.claim(tmp_path, shared=True).__enter__()
    with machine.claim(tmp_path / "missing", shared=True):  # whoever reads it says so
        pass
    with pytest.raises(FileNotFoundError):
        machine.claim(tmp_path / "missing").__enter__()


def test_processes_that_differ_are_told(monkeypatch):
    machine.agree(1, "they differ")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.array([own, 2]))
    with pytest.raises(ValueError, match="they differ"):
        machine.agree(1, "they differ")
    machine.agree(2, "they differ")

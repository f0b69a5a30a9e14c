"""What a process may use."""

import os
import platform
import subprocess
import sys

import pytest

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


def test_all_cores_are_used_where_none_are_allotted(monkeypatch, tmp_path):
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "none")
    assert machine.cores() == 6


@pytest.mark.parametrize("argument", ["tw_small", "run"])
def test_a_device_that_is_not_there_is_no_fault_of_the_reader(argument, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    program = f"""
import hpa_jax
try:
    hpa_jax.load_recognizer({argument!r})
except OSError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "abacus"},
    )
    assert run.stdout.startswith("JAX_PLATFORMS=abacus: JAX finds no such device: ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc alone")
def test_memory_is_kept_from_step_to_step():
    program = """
import resource
import numpy as np
from hpa_jax import machine

def faults():  # of filling 128 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(2**27, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults() and faults()
machine.keep_memory()
print(given_back, faults() and faults())
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    given_back, kept = map(int, run.stdout.split())
    assert kept < given_back / 10

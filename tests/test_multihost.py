"""What runs and processes keep to themselves, and what they agree on."""

import errno
import fcntl
import os

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from hpa_jax import multihost


def test_a_folder_is_claimed_by_one_at_a_time(tmp_path):
    for claim in (multihost.claim, multihost.claim_together):
        with claim(tmp_path), pytest.raises(ValueError, match="another run is using it"):
            claim(tmp_path).__enter__()
        with claim(tmp_path):
            pass


def test_a_folder_is_read_by_many_and_written_by_one(tmp_path):
    with (
        multihost.claim(tmp_path, shared=True),
        multihost.claim(tmp_path, shared=True),
        pytest.raises(ValueError, match="another run is using it"),
    ):
        multihost.claim(tmp_path).__enter__()
    with multihost.claim(tmp_path), pytest.raises(ValueError, match="another run is using it"):
        multihost.claim(tmp_path, shared=True).__enter__()
    with multihost.claim(tmp_path / "missing", shared=True):  # whoever reads it says so
        pass
    with pytest.raises(FileNotFoundError):
        multihost.claim(tmp_path / "missing").__enter__()


def test_a_file_system_without_locks_stops_no_run(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with multihost.claim(tmp_path), multihost.claim(tmp_path):
        pass


def test_nfs_locks_a_folder_that_is_read(tmp_path, monkeypatch):
    """Its locks are of bytes: shared ones want a file that is open for reading."""
    flock = fcntl.flock

    def of_nfs(file, operation):
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == (os.O_WRONLY if operation & fcntl.LOCK_SH else os.O_RDONLY):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", of_nfs)
    with (
        multihost.claim(tmp_path, shared=True),
        pytest.raises(ValueError, match="another run is using it"),
    ):
        multihost.claim(tmp_path).__enter__()


def test_processes_that_differ_are_told(monkeypatch):
    multihost.agree(1, "they differ")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.array([own, 2]))
    with pytest.raises(ValueError, match="they differ"):
        multihost.agree(1, "they differ")
    multihost.agree(2, "they differ")

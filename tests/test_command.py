"""What all commands do first."""

import pathlib

import jax
import pytest

from hpa_jax import command


@pytest.fixture
def no_cache_folder():
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_a_user_without_a_home_keeps_no_programs(no_cache_folder, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(command.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    command.set_up()
    assert jax.config.jax_compilation_cache_dir is None

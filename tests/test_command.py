"""What all commands do first."""

import pathlib
import signal
import types

import jax
import pytest

from hpa_jax import command, main


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


def test_a_file_in_a_folders_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match=f"--to={tmp_path}/file: is a file, must be a folder"):
        command.make_folder("to", str(tmp_path / "file"))
    command.make_folder("to", str(tmp_path / "a/b"))
    assert (tmp_path / "a/b").is_dir()


def test_sigterm_ends_what_is_no_training_in_order(monkeypatch):
    """So that worker processes, which another would leave behind with their memory, end too."""
    before = signal.getsignal(signal.SIGTERM)
    told = {"_WORKDIR": "w", "_CONFIG": None, "_MODE": "evaluate", "_DISTRIBUTED": False}
    for name, value in told.items():
        monkeypatch.setattr(main, name, types.SimpleNamespace(value=value))
    monkeypatch.setattr(main.command, "set_up", lambda: None)
    monkeypatch.setattr(
        main.evaluate, "evaluate_run", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    try:
        with pytest.raises(SystemExit, match="143"):
            main.main(["main"])
    finally:
        signal.signal(signal.SIGTERM, before)

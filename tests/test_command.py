"""What all commands do first."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import warnings

import jax
import pytest
from PIL import Image

from hpa_jax import command
from hpa_jax.data import images


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


def test_plates_in_any_script_go_to_any_pipe_line_by_line(no_cache_folder, monkeypatch):
    pipe = io.BytesIO()
    monkeypatch.setattr(command.sys, "stdout", io.TextIOWrapper(pipe, encoding="ascii"))
    command.set_up()
    print("皖\udcff")  # as Python gives the byte 0xff of a file's name
    assert pipe.getvalue() == "皖".encode() + b"\xff\n"


def test_a_home_that_cannot_be_written_keeps_no_programs(no_cache_folder, monkeypatch, tmp_path):
    """As of a container's user: JAX would warn of a cache that nobody asked for."""
    (tmp_path / "home").write_text("")  # in which not even root can make a folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    command.set_up()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_closed_standard_output_stops_no_command(monkeypatch):
    monkeypatch.setattr(command.sys, "stdout", None)  # as Python has it where a service closed it
    command.set_up()
    with command.sys.stdout as nowhere:  # `csv` and `main._end_now` use it without a question
        nowhere.flush()


def test_errors_do_not_go_to_standard_output_where_theirs_is_closed(monkeypatch, capsys):
    monkeypatch.setattr(command.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setattr(command.sys, "stderr", None)
    command.set_up()
    print("error: of one file", file=command.sys.stderr)
    command.sys.stderr.close()
    assert capsys.readouterr().out == ""


def test_pillow_does_not_warn_of_files_without_their_names(monkeypatch):
    monkeypatch.setattr(command.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    file = io.BytesIO()
    damaged = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\0\0\0\0"  # of five tags, none is there
    Image.new("RGB", (9, 9)).save(file, "JPEG", exif=damaged)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        command.set_up()
        assert images.open_rgb(file.getvalue()).size == (9, 9)
    assert told == []
    assert warnings.formatwarning("of ours", UserWarning, "a.py", 1) == "UserWarning: of ours\n"


def test_a_file_in_a_folders_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match=f"--to={tmp_path}/file: is a file, must be a folder"):
        command.make_folder("to", str(tmp_path / "file"))
    with pytest.raises(OSError, match=f"--to={tmp_path}/file/below: Not a directory"):
        command.make_folder("to", str(tmp_path / "file/below"))
    command.make_folder("to", str(tmp_path / "a/b"))
    assert (tmp_path / "a/b").is_dir()


def test_ctrl_c_ends_a_reading_without_a_traceback():
    script = "import signal; from hpa_jax import command; command.end_by_signals(); "
    script += "signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


STOPPED = """
import atexit, signal, sys, threading
import jax
import jax.numpy as jnp
from absl import app
from hpa_jax import main

def slow(x):
    for _ in range(1500):  # seconds to compile
        x = jnp.sort(jnp.sin(x) @ x, axis=0)
    threading.Timer(0.3, signal.pthread_kill, [threading.get_ident(), int(sys.argv[1])]).start()
    return x

signal.signal(signal.SIGINT, signal.default_int_handler)  # of `pytest &` ignores it
atexit.register(print, "cleaned up")
main.train.train_and_evaluate = lambda *_: jax.jit(slow)(jnp.ones((64, 64)))
arguments = ["main", "--config=configs/quickstart.py", "--workdir=unused"]
app.run(main.main, argv=arguments, flags_parser=main.parse_flags)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_xla_compiles_ends_it_in_order(number, status):
    """Else JAX 0.10 crashes; and worker processes, and their memory, would be left behind."""
    command = [sys.executable, "-c", STOPPED, str(int(number))]
    uncached = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=uncached, check=False)
    assert done.returncode == status, done.stderr
    assert done.stdout == "cleaned up\n"
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_a_reading_without_a_traceback():
    script = "import signal; from hpa_jax import command; command.end_by_signals(); "
    script += "signal.raise_signal(signal.SIGPIPE)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_programs_are_kept_where_the_user_says(no_cache_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(command.sys.stdout, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of-mine"))
    for given, kept in (("/named", "/named"), (None, str(tmp_path / "of-mine/hpa_jax"))):
        jax.config.update("jax_compilation_cache_dir", given)
        command.set_up()
        assert jax.config.jax_compilation_cache_dir == kept

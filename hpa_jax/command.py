"""What the commands of the package share: set-up, signals, folders for output."""

import contextlib
import logging as std_logging
import os
import pathlib
import signal
import sys
import warnings

import jax
from absl import flags, logging


def set_up() -> None:
    """Quietens the libraries, and keeps compiled programs on disk for the next command.

    Orbax tells much: `--verbosity=0` shows it. Programs lie below the user's cache folder, unless
    `JAX_COMPILATION_CACHE_DIR` names another; `JAX_ENABLE_COMPILATION_CACHE=false` keeps none.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by some services
            setattr(sys, name, pathlib.Path(os.devnull).open("w"))  # noqa: SIM115  while we run
    # Plates and file names in any script go to any pipe, also where the locale has no UTF-8.
    # Line by line: a log shows what was said when it was said.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)
    # Pillow's warnings name no file; `data.images` tells what keeps a picture from being read.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.formatwarning = lambda message, kind, *_: f"{kind.__name__}: {message}\n"  # no code
    if not flags.FLAGS["verbosity"].present:
        # What goes wrong in threads is raised here too, and told in one line.
        logging.set_verbosity(logging.FATAL)
        std_logging.getLogger("asyncio").setLevel(std_logging.CRITICAL)
    if jax.config.jax_compilation_cache_dir is None:
        # Some containers' users have no home, or one that they cannot write: they keep none.
        with contextlib.suppress(RuntimeError, OSError):
            home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
            folder = pathlib.Path(home) / "hpa_jax"
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))


def end_by_signals() -> None:
    """For commands that go on from nothing: Ctrl-C and `| head` end them without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def make_folder(flag: str, path: str) -> None:
    """Makes the folder that a flag names, if there is none.

    Raises:
      OSError: it cannot be made; the flag is named.
    """
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FileExistsError(f"--{flag}={path}: is a file, must be a folder") from error
    except OSError as error:
        raise OSError(f"--{flag}={path}: {error.strerror}") from error

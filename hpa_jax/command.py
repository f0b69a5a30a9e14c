"""What the package's commands share: set-up, signals, output folders."""

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
    """Silences the libraries' logs, and caches compiled programs on disk for later commands.

    `--verbosity=0` shows the logs. The cache lies in the user's cache folder or in
    `JAX_COMPILATION_CACHE_DIR`; `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by some services
            setattr(sys, name, pathlib.Path(os.devnull).open("w"))  # noqa: SIM115  while we run
    # UTF-8 in any locale, because plates and file names have characters of any script.
    # Line by line, so that a log file is always up to date.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)
    # Pillow's warnings name no file; the errors of `data.images` do.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.formatwarning = lambda message, kind, *_: f"{kind.__name__}: {message}\n"  # no source
    if not flags.FLAGS["verbosity"].present:
        # Errors in the libraries' threads are raised in ours too, and reported in one line.
        logging.set_verbosity(logging.FATAL)
        std_logging.getLogger("asyncio").setLevel(std_logging.CRITICAL)
    if jax.config.jax_compilation_cache_dir is None:
        # Without a writable home folder, as in some containers, nothing is cached.
        with contextlib.suppress(RuntimeError, OSError):
            home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
            folder = pathlib.Path(home) / "hpa_jax"
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))


def end_by_signals() -> None:
    """Lets Ctrl-C and `| head` end a command without a traceback, if it has nothing to save."""
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

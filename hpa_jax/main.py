"""The launcher: `python -m hpa_jax.main --config=configs/quickstart.py --workdir=DIR`.

It handles flags, modes, signals and exit statuses; all else is in modules that can be imported.
"""

import atexit
import os
import pathlib
import re
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

import jax
from absl import app, flags
from ml_collections import config_flags

from hpa_jax import command, evaluate, inputs, interrupt, machine, train

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "A file with get_config(), as those in configs/; --config.field=value sets a field of it.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where checkpoints, metrics and pictures go.")
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "prepare", "inspect"],
    "train: trains, then evaluates; evaluate: reads test plates and draws the readings; prepare: "
    "cuts plates out of photographs, once; inspect: draws what the network will see.",
)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Joins the processes of a cluster job.")


def main(argv: Sequence[str]) -> int:
    """Runs the mode; returns the exit status: 0; 1 for an error; 130 or 143 when stopped."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if _DISTRIBUTED.value and jax.config.jax_compilation_cache_dir is None:
        # One cache for all processes: those that compile a program share the GPUs' autotuning, and
        # would wait there for those that load it from a cache.
        cache = str(pathlib.Path(_WORKDIR.value, ".cache").absolute())
        jax.config.update("jax_compilation_cache_dir", cache)
    command.set_up()
    _end_at_sigterm()
    try:
        _start_jax()
        _run_mode()
    except interrupt.Interrupted as stop:
        print(stop, file=sys.stderr)
        return 143
    except SystemExit as stop:  # by SIGTERM
        _end_now(stop.code)
    except KeyboardInterrupt:
        print("stopped; the same command resumes from what is saved", file=sys.stderr)
        _end_now(130)
    except (ImportError, OSError, ValueError, RuntimeError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        if _DISTRIBUTED.value:  # the others may be waiting for this process
            _end_now(1)
        return 1
    except Exception:
        if not _DISTRIBUTED.value:
            raise
        traceback.print_exc()  # a bug, but the others must not wait for this process either
        _end_now(1)
    return 0


def _start_jax() -> None:
    if "://" in (_WORKDIR.value or ""):
        raise ValueError(
            f"workdir {_WORKDIR.value}: must be a folder; mount a bucket as one (gcsfuse: with "
            "--rename-dir-limit=10000)"
        )
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    machine.keep_memory()
    if _DISTRIBUTED.value and jax.process_count() == 1:
        _end_at_sigterm()  # again: JAX's service took it over, but a single process never asks it
    print(f"{jax.device_count()} devices: {jax.devices()[0].device_kind}", file=sys.stderr)


def _run_mode() -> None:
    if _MODE.value == "prepare":
        from hpa_jax import datasets  # Grain and TFDS are imported only where needed

        datasets.prepare_run(_CONFIG.value)
    elif _MODE.value == "inspect":
        inputs.inspect_run(_CONFIG.value, _WORKDIR.value)
    else:
        if _MODE.value == "train":
            train.train_and_evaluate(_CONFIG.value, _WORKDIR.value)
        _end_at_sigterm()  # again: JAX's service, by which processes stop together, took it over
        evaluate.evaluate_run(_CONFIG.value, _WORKDIR.value)


def _end_at_sigterm() -> None:
    # An orderly exit, so that the processes that read ahead end too; training has its own handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _end_now(status: int) -> NoReturn:
    """Ends this process wherever it was interrupted, without the interpreter's own shutdown.

    In that shutdown, JAX 0.10 crashes with another status if XLA was compiling, and takes minutes
    if other processes wait for this one.
    """
    limit = threading.Timer(10, os._exit, [status])
    limit.daemon = True
    limit.start()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses flags as Absl does, but reports a wrong config in one line, without a traceback."""
    try:
        rest = flags.FLAGS(argv)
        _CONFIG.value.lock()  # raises what was wrong with the config's file
        return rest
    except ImportError as error:
        sys.exit(f"error: the config's file: {error}; run from the folder that holds configs/")
    except (OSError, flags.Error) as error:  # the last line is the cause
        cause = str(error).strip().splitlines()[-1].strip()
        if "get_config() takes 0 positional arguments" in cause:
            cause = "--config: this file takes no argument after a colon"
        sys.exit(f"error: {cause.removeprefix('ValueError: ')}")
    except (AttributeError, KeyError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith("ml_collections."):
            raise  # a bug in the config's file
        detail = error.args[0]
        detail = detail.args[0] if isinstance(detail, KeyError) else detail
        # If the file sets the field, ml_collections lists all existing fields.
        name = re.sub(r'^Key "(.*?)" does not exist.*}"', r"'\1'.", " ".join(str(detail).split()))
        sys.exit(f"error: the config has no field {name}")


if __name__ == "__main__":
    flags.register_validator(
        "config",
        lambda config: config is not None,
        "--config=FILE says what to do: configs/quickstart.py is the shortest",
    )
    flags.register_multi_flags_validator(
        ["mode", "workdir"],
        lambda values: values["mode"] == "prepare" or values["workdir"],
        "--workdir=DIR says where the run lives",
    )
    flags.register_multi_flags_validator(
        ["mode", "distributed"],
        lambda values: values["mode"] in ("train", "evaluate") or not values["distributed"],
        "--mode=prepare and --mode=inspect work on one machine, without --distributed",
    )
    app.run(main, flags_parser=parse_flags)

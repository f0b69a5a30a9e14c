"""The flags that comparisons with PyTorch share, and the loop over the values they list."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
from absl import app, flags

from benchmarks import networks, report, timing
from hpa_jax import command

DTYPES = ("float32", "bfloat16")
Compare = Callable[[str, int, str], dict[str, Any]]  # network, batch size, dtype -> figures


def define_flags(
    backbones: Sequence[str], batch_sizes: Sequence[str], rounds: int | None, *, smallest: int = 1
) -> None:
    """Defines --backbones, --batch_sizes, --dtypes, --rounds, --compiled, --json and --profile.

    The arguments are defaults; by default only float32 is timed, and compiled PyTorch too. Batches
    must have at least `smallest` plates.
    """
    flags.DEFINE_list(
        "backbones",
        backbones,
        f"among {', '.join(networks.NETWORKS)}; small and half against PyTorch's resnet18",
    )
    flags.DEFINE_list("batch_sizes", batch_sizes, "plates per batch")
    flags.DEFINE_list("dtypes", ["float32"], f"among {', '.join(DTYPES)}; the latter on a GPU")
    flags.DEFINE_integer("rounds", rounds, "turns of each candidate", lower_bound=1)
    flags.DEFINE_bool("compiled", True, "times compiled PyTorch too, which takes minutes")
    flags.DEFINE_string("json", None, "also writes the figures to this file")
    flags.DEFINE_string(
        "profile", None, "writes a trace for TensorBoard to this folder; slows the runs"
    )
    for flag, known in (("backbones", networks.NETWORKS), ("dtypes", DTYPES)):
        flags.register_validator(
            flag,
            lambda values, known=known: values and set(values) <= set(known),
            f"must be among {known}",
        )
    flags.register_validator(
        "batch_sizes",
        lambda values: values and all(v.isdigit() and int(v) >= smallest for v in values),
        f"must be whole numbers of at least {smallest}",
    )
    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # so that --help lists it


def run(argv: Sequence[str], compare: Compare, keep_memory: bool = False) -> None:
    """Runs `compare` for all values that the flags list; writes the figures if --json is given."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    command.set_up()
    timing.set_up(keep_memory)
    listed, machine, results = flags.FLAGS, report.describe_machine(), []
    report.print_machine(machine)
    report.check_writable(listed.json)
    wanted = itertools.product(listed.dtypes, listed.backbones, map(int, listed.batch_sizes))
    trace = jax.profiler.trace(listed.profile) if listed.profile else contextlib.nullcontext()
    with trace:
        for dtype, name, batch_size in wanted:
            print(f"\n{name}, batch {batch_size}, {dtype}")
            about = {"network": name, "batch_size": batch_size, "dtype": dtype}
            results.append(about | compare(name, batch_size, dtype))
            report.write_json(listed.json, machine, results)  # each time: the next may fail

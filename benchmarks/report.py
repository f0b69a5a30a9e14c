"""Reports figures and ratios, as tables and as JSON with a description of the machine."""

import collections
import importlib.metadata
import json
import math
import pathlib
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import torch
from tabulate import tabulate

from benchmarks.timing import Timing
from hpa_jax import machine as this_machine

LIBRARIES = ("jax", "jaxlib", "flax", "torch", "onnxruntime")
COLUMNS = ("median ms", "mean", "fastest", "spread", "plates/s", "GFLOP", "GFLOP/s", "of peak")


def compare_passes(
    timings: dict[str, Timing],
    flops: dict[str, float],
    plates: int,
    ours: Sequence[str],
    dtype: str,
    peak: float,
) -> dict[str, Any]:
    """Prints the figures of passes over `plates` plates, and ratios; returns both for the JSON.

    `flops` are per pass, `peak` is the result of `timing.measure_peak` for `dtype`.
    """
    candidates = summarise(timings, flops, plates, peak)
    ratios = make_ratios(timings, ours)
    print(f"matrix products in {dtype} reach {peak / 1e9:.0f} GFLOP/s")
    print_candidates(candidates)
    print_ratios(ratios)
    return {"peak_flops_per_s": peak, "candidates": candidates, "ratios": ratios}


def summarise(
    timings: dict[str, Timing], flops: dict[str, float], plates: int, peak: float
) -> dict[str, dict[str, float] | None]:
    """Returns each candidate's figures, None if it was not measured; `flops` are per pass."""
    figures: dict[str, dict[str, float] | None] = dict.fromkeys(flops)
    for name, count in flops.items():
        if name in timings:
            rate = count / timings[name].median_s
            figures[name] = timings[name]._asdict() | {
                "flops": count,
                "plates_per_s": plates / timings[name].median_s,
                "flops_per_s": rate,
                "share_of_peak": rate / peak,
            }
    return figures


def make_ratios(timings: dict[str, Timing], ours: Sequence[str]) -> dict[str, Any]:
    """Returns the time of PyTorch, eager and at its fastest, divided by that of our fastest.

    NaN if the machine could not run one of the two.
    """
    seconds = medians(timings)
    mine = min((name for name in ours if name in timings), key=seconds.get, default="none")
    pytorch = (name for name in timings if name.startswith("PyTorch"))
    theirs = min(pytorch, key=seconds.get, default="none")
    return {
        "ours": mine,
        "fastest_pytorch": theirs,
        "eager_over_ours": seconds["PyTorch, eager"] / seconds[mine],
        "fastest_pytorch_over_ours": seconds[theirs] / seconds[mine],
    }


def medians(timings: dict[str, Timing]) -> dict[str, float]:
    """Returns each candidate's median in seconds; NaN for any that was not measured."""
    seconds = {name: timing.median_s for name, timing in timings.items()}
    return collections.defaultdict(lambda: math.nan, seconds)


def print_candidates(candidates: dict[str, dict[str, float] | None]) -> None:
    """Prints a line for each candidate; dashes for those that were not measured."""
    rows = []
    for name, c in candidates.items():
        if c is None:
            rows.append((name, *["–"] * len(COLUMNS)))
            continue
        work, rate, share = c["flops"] / 1e9, c["flops_per_s"] / 1e9, c["share_of_peak"]
        times = [f"{c[name] * 1e3:.2f}" for name in ("median_s", "mean_s", "fastest_s")]
        shares = f"{work:.2f}", f"{rate:.1f}", f"{share:.0%}"
        rows.append((name, *times, f"{c['spread']:.0%}", f"{c['plates_per_s']:.0f}", *shares))
    print_table(("", *COLUMNS), rows)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table with left-aligned names and right-aligned figures."""
    aligned = ["left", *["right"] * (len(header) - 1)]
    print(tabulate(rows, header, "github", colalign=aligned, disable_numparse=True))


def print_ratios(ratios: dict[str, Any]) -> None:
    """Prints one sentence with both ratios."""
    print(
        f"PyTorch's time over ours ({ratios['ours']}): {ratios['eager_over_ours']:.2f} eager, "
        f"{ratios['fastest_pytorch_over_ours']:.2f} fastest ({ratios['fastest_pytorch']})"
    )


def describe_machine() -> dict[str, Any]:
    """Returns what the figures depend on: processor, accelerator, versions, command."""
    info = pathlib.Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = None
    return {
        "cpu": named[1] if named else platform.processor() or platform.machine(),
        "cores": this_machine.cores(),
        "torch threads": torch.get_num_threads(),
        "device": jax.devices()[0].device_kind,
        "platform": " ".join(jax.devices()[0].client.platform_version.split()),
        "torch's CUDA": torch.version.cuda,
        "torch's cuDNN": torch.backends.cudnn.version(),
        "system": platform.platform(),
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        **versions,
    }


def print_machine(machine: dict[str, Any]) -> None:
    """Prints one line with everything that is known of the machine."""
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))


def check_writable(path: str | None) -> None:
    """Exits with an error if `write_json` would fail, before minutes are spent."""
    if path:
        try:
            with pathlib.Path(path).open("a"):
                pass
        except OSError as error:
            sys.exit(f"error: --json={path}: {error.strerror}")


def write_json(path: str | None, machine: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Writes the results as JSON if a path is given, with null for NaN."""
    if path:
        record = {"machine": machine, "results": results}
        record = json.loads(json.dumps(record), parse_constant=lambda _: None)
        pathlib.Path(path).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

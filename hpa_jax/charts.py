"""Charts of character positions, of confidence and of training.

Each function returns a Matplotlib `Figure`, made without pyplot and its global state.
"""

import itertools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hpa_jax import calibration
from hpa_jax.charset import PROVINCES, spell_out


def positions(places: Sequence[Mapping[str, int]]) -> Figure:
    """Draws how often each character occurs at each position (paper, figure 2).

    Args:
      places: for each position, the characters there and their counts.
    """
    characters = sorted(set(itertools.chain(*places)), key=lambda c: (PROVINCES.find(c), c))
    labels = [spell_out(character).strip("[]") for character in characters]
    size = 1.5 + 0.25 * len(characters), 0.6 + 1.1 * len(places)  # inches
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(len(places), squeeze=False, sharex=True)[:, 0]
    for i, (axis, counts) in enumerate(zip(axes, places, strict=True), start=1):
        axis.bar(range(len(characters)), [counts.get(character, 0) for character in characters])
        most = max(counts.values()) / sum(counts.values())
        axis.set_ylabel(f"place {i}\ntop {most:.0%}", rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.margins(x=0.01)
    upright = max(map(len, labels)) <= 2
    axes[-1].set_xticks(range(len(characters)), labels, rotation=0 if upright else 90)
    return figure


def reliability(confidence: np.ndarray, right: np.ndarray) -> Figure:
    """Draws the share of plates right in each bin of confidence, with its number of plates.

    Args:
      confidence: n float in [0, 1].
      right: n bool.
    """
    bins = calibration.reliability(confidence, right)
    figure = Figure((4.5, 4.5), layout="constrained")
    axis = figure.subplots()
    starts = np.arange(len(bins)) / len(bins)
    shares = [share for _, _, share in bins]
    bars = axis.bar(starts, shares, width=0.9 / len(bins), align="edge", color="lightsteelblue")
    bars.set_label("measured, and on how many plates")
    axis.bar_label(bars, [count or "" for count, _, _ in bins], fontsize=8)
    axis.plot([0, 1], [0, 1], color="firebrick", label="perfect")
    axis.set(xlim=(0, 1), ylim=(0, 1.08), xlabel="confidence", ylabel="share of plates right")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)  # above the axes
    return figure


def curves(metrics: str | os.PathLike) -> Figure:
    """Draws the losses of a run, and its accuracies if there are any, over the steps.

    Args:
      metrics: the run's metrics.jsonl, with at least one line.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for line in pathlib.Path(metrics).read_text(encoding="utf-8").splitlines():
        scalars = json.loads(line)
        step = scalars.pop("step")
        for name, value in scalars.items():
            series.setdefault(name, []).append((step, value))
    panels = {
        "loss": _losses(series),
        "share of plates right": [name for name in series if name.startswith("accuracy")],
    }
    panels = {title: names for title, names in panels.items() if names}
    figure = Figure((7, 3 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            axis.plot(*zip(*series[name], strict=True), label=name, marker=".", markersize=3)
        axis.set_ylabel(title)
        # Above the axes, where no curve is hidden.
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
        axis.grid(alpha=0.3)
        if title != "loss":
            axis.set_ylim(-0.02, 1.02)
        elif all(value >= 0 for name in names for _, value in series[name]):
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("step")
    axes[-1].set_xlim(left=0)  # or the axis of a single step shows no whole number
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _losses(series: Mapping[str, Sequence[tuple[int, float]]]) -> list[str]:
    """Returns the names of the loss and, where several terms are trained, of these."""
    terms = [name for name, points in series.items() if name.endswith("_loss")]
    taught = [name for name in terms if any(value for _, value in series[name])]
    names = ["loss", *taught] if len(taught) > 1 else ["loss"]
    return [name for name in names if name in series]

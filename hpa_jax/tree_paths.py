"""Paths and patterns, by which surgery and freezing name the parts of a tree of variables.

A tree is what `HPANet.init` gives: {'params': …, 'batch_stats': …}. A path names a module, or an
array without its collection, with slashes: 'backbone/context_path', 'semantic_bn/scale'. A pattern
is a path with the wildcards `*`, `?` and `[…]`, and covers all that lies below it.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flax import traverse_util

Variables = dict[str, Any]
Flat = dict[str, Any]  # arrays by path, the collection first
Shapes = Mapping[str, tuple[int, ...]]


def flatten(variables: Variables, modules: Sequence[str] = ()) -> Flat:
    """Flattens a whole tree to arrays by path.

    Raises:
      ValueError: it is only a part of a tree, or lacks one of the `modules`.
    """
    check_whole(variables, modules)
    return traverse_util.flatten_dict(variables, sep="/")


def unflatten(flat: Flat) -> Variables:
    """Undoes `flatten`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def check_whole(variables: Variables, modules: Sequence[str] = ()) -> None:
    """Raises a ValueError if parameters, batch statistics or one of the modules are missing."""
    lacking = [name for name in ("params", "batch_stats") if name not in variables]
    if not lacking:
        lacking = [name for name in modules if name not in variables["params"]]
    if lacking:
        raise ValueError(f"no whole tree of variables: {', '.join(lacking)} is missing")


def shapes(flat: Flat) -> dict[str, tuple[int, ...]]:
    """Returns the arrays' shapes, as `raise_on_mismatch` compares them."""
    return {name: tuple(array.shape) for name, array in flat.items()}


def raise_on_mismatch(given: Shapes, expected: Shapes, problems: Sequence[str] = ()) -> None:
    """Raises a ValueError that lists all arrays that are missing, unknown or misshapen.

    `problems` already found are listed with them.
    """
    problems = list(problems)
    problems += [f"{name}: missing" for name in expected if name not in given]
    problems += [f"{name}: unknown" for name in given if name not in expected]
    problems += [
        f"{name}: has shape {given[name]}, must be {shape}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    if problems:
        raise ValueError(f"{len(problems)} arrays do not fit:\n  " + "\n  ".join(problems))


def listed(patterns: Iterable[str]) -> list[str]:
    """Returns patterns as a list, which can be iterated more than once.

    Raises:
      ValueError: they are one string.
    """
    if isinstance(patterns, str):
        raise ValueError(f"patterns {patterns!r}: must be a list, [{patterns!r}]")
    return list(patterns)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern covers an array, both with their collection or both without."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}/*")


def covers(pattern: str, path: str) -> bool:
    """Whether a pattern covers an array of a whole tree, whatever its collection."""
    return matches(pattern, path.partition("/")[2])


def nearby(flat: Flat, path: str) -> str:
    """Says what the nearest module above an unknown path has: "backbone has …".

    The names in `flat` may all start with their collection, or none.
    """
    paths = [name.removeprefix("params/").removeprefix("batch_stats/") for name in flat]
    above = path.rpartition("/")[0]
    while above and not any(known.startswith(f"{above}/") for known in paths):
        above = above.rpartition("/")[0]
    start = f"{above}/" if above else ""
    names = {known.removeprefix(start).split("/")[0] for known in paths if known.startswith(start)}
    return f"{above or 'the network'} has {', '.join(sorted(names))}"

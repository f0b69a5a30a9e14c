"""Makes a TFDS data set of plate crops from photographs, once, on all cores.

All format modules share this builder. The work is divided into shards; each is written by one
process to its own file. Existing shards that were made from the same files in the same way are
kept, so an interrupted run can be resumed. Only a few shards are in memory at a time.
"""

import collections
import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from hpa_jax import machine, progress
from hpa_jax.charset import Charset
from hpa_jax.data import records
from hpa_jax.data.plate import DataError, OnBad, Plate, stop
from hpa_jax.data.records import tfds
from hpa_jax.data.report import Report, Statistics
from hpa_jax.data.shards import WORK, Shard, notes_path, write_shard
from hpa_jax.data.workers import end_with_parent

# Few enough for training to hold all files open (macOS allows 256), and many enough to occupy all
# cores and to lose little when stopped.
MOST_SHARDS, FEWEST_PLATES = 200, 64


class Labels(NamedTuple):
    """Says which labels can be used, because the network can write them.

    Attributes:
      charset: labels with other characters are bad.
      num_characters: Cp; longer labels are bad.
      void: whether the network has the void class; without it, shorter labels are bad too.
      checked: whether a split's labels are checked; in other splits a plate that the network
        cannot write counts as wrong.
    """

    charset: Charset | None = None
    num_characters: int | None = None
    void: bool = True
    checked: Callable[[str], bool] = lambda split: True

    def usable(self, plate: Plate, on_bad: OnBad) -> bool:
        """Returns whether a plate's label can be used; if not, calls `on_bad` with an error."""
        problem = self._problem(plate.text) if self.checked(plate.split) else ""
        if problem:
            on_bad(DataError(plate.source, f"its text {plate.text!r} has {problem}"))
        return not problem

    def _problem(self, text: str) -> str:
        """Returns what in a text the network cannot write; empty if there is nothing."""
        unknown = sorted(set(text) - set(self.charset.characters)) if self.charset else []
        if unknown:
            return (
                f"{', '.join(map(repr, unknown))} not in charset {self.charset.characters!r}: give "
                "one with it, in training too, or data.skip_bad=True to leave such plates out"
            )
        most = self.num_characters
        if most is not None and len(text) > most:
            return (
                f"{len(text)} characters, and num_characters is {most}: give a higher one, in "
                "training too"
            )
        if most is not None and len(text) < most and not self.void:
            return f"fewer than {most} characters: that needs model.void=True"
        return ""


ALL_LABELS = Labels()


def prepare(
    name: str,
    read: Callable[[OnBad], Iterator[Plate]],
    directory: str | os.PathLike,
    *,
    rectify: bool = False,
    margin: float = 0.15,
    labels: Labels = ALL_LABELS,
    skip_bad: bool = False,
    expected: dict[str, tuple[int, ...]] | None = None,
    workers: int | None = None,
    plates_a_shard: int | None = None,
) -> Report:
    """Makes a TFDS data set of plate crops in `directory` and returns a report.

    Args:
      name: the data set's name, a single word.
      read: yields the plates and calls its argument with an error for each bad file; called twice.
      directory: where to write the set; `tfds.builder_from_directory(directory)` opens it.
      rectify: warps the plates' corners to a rectangle, instead of cutting out upright boxes.
      margin: surroundings to keep on each side, as a share of the plate's size.
      labels: which labels can be used; by default all.
      skip_bad: counts and lists bad files and labels, instead of stopping at the first.
      expected: published numbers of plates by split, one per release, for the report.
      workers: number of processes; by default one per core. With 1, this process does the work.
      plates_a_shard: plates in a file; by default a 200th of all plates, but at least 64.

    Returns:
      The report, which is also in `directory`/report.json.

    Raises:
      DataError: a file or label that cannot be used (unless `skip_bad`), no plates at all, or
        another data set in `directory`.
    """
    directory = pathlib.Path(directory)
    _check_directory(directory, name)
    (directory / WORK).mkdir(parents=True, exist_ok=True)
    bad: list[DataError] = []

    # --- First pass: names and labels only, so that a wrong one stops the work at once.
    totals, without_text, whole_images = _count(read, labels, bad.append if skip_bad else stop)
    if not totals:
        found = f"; {len(bad)} bad ones, the first: {bad[0]}" if bad else ""
        raise DataError(name, f"no plates with a text were found{found}")

    # --- Second pass: the photographs. Until it is finished, nobody should open the set.
    (directory / records.INFO).unlink(missing_ok=True)
    chosen = (plate for plate in read(_ignore) if plate.text and labels.usable(plate, _ignore))
    shards_of = _count_shards(totals, plates_a_shard)
    work = (
        Shard(path, split, plates, rectify, margin, strict=not skip_bad)
        for split, path, plates in _cut(chosen, totals, shards_of, directory, name)
    )
    workers = workers or machine.cores()
    workers = min(workers, sum(shards_of.values()))  # a process takes seconds to start
    written = _write_all(work, workers, totals.total())
    bad += written.bad
    if not any(n for files in written.lengths.values() for n in files.values()):
        raise DataError(name, f"none of its photographs can be used; the first: {bad[0]}")

    report = Report(
        name,
        dict(expected or {}),
        without_text=without_text,
        whole_images=whole_images,
        bad=sorted(map(str, bad)),
    )
    written.statistics.fill(report, labels.charset)
    _finish(directory, written, report)
    return report


class Written(NamedTuple):
    """What the shards contain.

    Attributes:
      statistics: counts over the plates.
      lengths: by split, the number of plates in each file, by its name.
      sizes: bytes by split.
      bad: an error for each plate that could not be used.
    """

    statistics: Statistics
    lengths: dict[str, dict[str, int]]
    sizes: dict[str, int]
    bad: list[DataError]


def _write_all(work: Iterable[Shard], workers: int, total: int) -> Written:
    """Writes all shards, with `total` plates, and shows the progress."""
    statistics, lengths = Statistics(), collections.defaultdict(dict)
    sizes, bad = collections.Counter(), []
    with progress.plate_bar("cutting", total) as bar:
        for shard, notes in _run(work, workers):
            for plate in notes["plates"]:
                statistics.add(shard.split, *plate)
            bad += [DataError(*problem) for problem in notes["bad"]]
            lengths[shard.split][shard.path.name] = len(notes["plates"])
            sizes[shard.split] += notes["bytes"]
            bar.update(len(shard.plates))
    return Written(statistics, lengths, sizes, bad)


def _count(
    read: Callable[[OnBad], Iterator[Plate]], labels: Labels, on_bad: OnBad
) -> tuple[collections.Counter[str], int, int]:
    """Counts usable plates by split, plates without a text, and usable plates without a box."""
    totals, without_text, whole_images = collections.Counter(), 0, 0
    with progress.plate_bar("reading labels", None, leave=False) as bar:
        for plate in read(on_bad):
            bar.update()
            if not plate.text:
                without_text += 1
            elif labels.usable(plate, on_bad):
                totals[plate.split] += 1
                whole_images += plate.box is None
    return totals, without_text, whole_images


def _count_shards(
    totals: collections.Counter[str], plates_a_shard: int | None = None
) -> dict[str, int]:
    """Returns the number of shards by split; `totals` are the numbers of plates."""
    size = plates_a_shard or max(FEWEST_PLATES, -(-totals.total() // MOST_SHARDS))
    return {split: -(-total // size) for split, total in totals.items()}


def _ignore(error: DataError) -> None:
    """Ignores an error that the first pass has reported already."""


def _check_directory(directory: pathlib.Path, name: str) -> None:
    info = directory / records.INFO
    if not info.is_file():
        return
    try:
        other = json.loads(info.read_text(encoding="utf-8"))["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(info, "is damaged: remove it and prepare again") from error
    if other != name:
        raise DataError(directory, f"holds another data set, {other}: choose another directory")


def _cut(
    plates: Iterable[Plate],
    totals: collections.Counter[str],
    shards_of: dict[str, int],
    directory: pathlib.Path,
    name: str,
) -> Iterator[tuple[str, pathlib.Path, list[Plate]]]:
    """Yields (split, path, plates) for each shard; in a split, all but the last are equally long.

    `totals` and `shards_of` are the numbers of plates and of shards by split.

    Raises:
      DataError: the plates are not those counted in the first pass.
    """
    size_of = {split: -(-totals[split] // count) for split, count in shards_of.items()}
    waiting, done = collections.defaultdict(list), collections.Counter()
    seen = collections.Counter()
    for plate in plates:
        split = plate.split
        seen[split] += 1
        if seen[split] > totals[split]:
            break
        waiting[split].append(plate)
        if len(waiting[split]) == size_of[split] or seen[split] == totals[split]:
            number = f"{done[split]:05d}-of-{shards_of[split]:05d}"
            yield split, directory / f"{name}-{split}.array_record-{number}", waiting.pop(split)
            done[split] += 1
    if seen != totals:
        raise DataError(name, "its files changed while they were read: prepare again")


def _run(work: Iterable[Shard], workers: int) -> Iterator[tuple[Shard, dict]]:
    """Writes the shards in `workers` processes and yields each with its notes when finished."""
    if workers == 1:
        yield from ((shard, write_shard(shard)) for shard in work)
        return
    # Spawned, because forking a process that runs JAX may deadlock.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=end_with_parent)
    running: dict[concurrent.futures.Future, Shard] = {}
    try:
        for shard in work:
            running[pool.submit(write_shard, shard)] = shard
            if len(running) >= 2 * workers:  # limits the memory taken by waiting shards
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BaseException:  # unfinished shards may take minutes, and are of no use now
        for worker in list(pool._processes.values()):
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict) -> Iterator[tuple[Shard, dict]]:
    done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()


def _finish(directory: pathlib.Path, written: Written, report: Report) -> None:
    """Removes leftovers of an earlier run, and writes the report and TFDS's metadata."""
    keep = {file for files in written.lengths.values() for file in files}
    for path in directory.glob(f"{report.name}-*.array_record-*"):
        if path.name not in keep:
            path.unlink()
            notes_path(path).unlink(missing_ok=True)
    # Sorted, because shards finish in any order and hosts compare their copies.
    text = json.dumps(dataclasses.asdict(report), indent=1, sort_keys=True)
    (directory / records.REPORT).write_text(text, encoding="utf-8")
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[files[file] for file in sorted(files)],
            num_bytes=written.sizes[split],
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=directory,
                dataset_name=report.name,
                split=split,
                filetype_suffix="array_record",
            ),
        )
        for split, files in sorted(written.lengths.items())
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=directory, features=records.FEATURES, split_infos=splits, check_data=False
    )

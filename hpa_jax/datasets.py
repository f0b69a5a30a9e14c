"""Prepares and inspects the data sets that a config names, and feeds them to training and tests."""

import functools
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import ml_collections

from hpa_jax import fields, multihost
from hpa_jax.charset import find_charset
from hpa_jax.data import (
    aolp,
    augment,
    boxes,
    ccpd,
    clpd,
    detections,
    folder,
    inspect,
    media_lab,
    pipeline,
    prepare,
    records,
)
from hpa_jax.data.plate import DataError, OnBad, Plate
from hpa_jax.data.report import Report
from hpa_jax.data.styles import STYLES

READERS = {"aolp": aolp, "ccpd": ccpd, "clpd": clpd, "folder": folder, "media_lab": media_lab}
Part = tuple[int, int]  # this process's index, and the number of processes that share the reading


def prepare_run(config: ml_collections.ConfigDict) -> None:
    """Makes the prepared data set that a config asks for, and prints the report.

    Raises:
      ValueError: a field of the config is wrong, or the config renders its plates.
      DataError: as `prepare.prepare`.
    """
    data = config.data
    if not data.get("prepared"):
        raise ValueError(
            "this config renders its plates, and --mode=prepare is for plates from files: take one "
            "like configs/files.py"
        )
    fields.check(config)
    reader = _named(READERS, data.reader, "data.reader")
    styles = [_named(STYLES, name, "data.estimate_boxes") for name in data.estimate_boxes]
    options = {"seed": data.fold_seed} if data.reader == "media_lab" else {}
    if data.detections and data.rectify:
        raise ValueError(
            "data.detections: gives upright boxes, but data.rectify cuts plates out by labelled "
            "corners: --config.data.rectify=False"
        )
    found = detections.read(data.detections, data.root) if data.detections else None

    def read(on_bad: OnBad) -> Iterator[Plate]:
        plates = boxes.add_characters(reader.read(data.root, on_bad=on_bad, **options), styles)
        return plates if found is None else detections.place(plates, found, on_bad)

    labels = _labels(config, getattr(reader, "UNUSED", ()))
    directory = pathlib.Path(data.prepared)
    directory.mkdir(parents=True, exist_ok=True)
    before = _report_or_none(directory)
    with multihost.claim(directory):
        report = prepare.prepare(
            data.reader,
            read,
            directory,
            rectify=data.rectify,
            margin=data.margin,
            labels=labels,
            skip_bad=data.skip_bad,
            expected=getattr(reader, "EXPECTED", {}),
        )
    print(report)
    if before and before.positions != report.positions:
        print(f"This replaces other plates that were prepared there: {before.counts}")
    for split in _missing_tests(config).values():
        print(f"Nothing to test on: no plate is of the split {split!r}{_hint(config)}")
    print(f"Prepared in {data.prepared}")


def _labels(config: ml_collections.ConfigDict, unused: Collection[str]) -> prepare.Labels:
    """Returns the rules for labels; `unused` lists the splits that no protocol uses."""

    def is_checked(split: str) -> bool:
        if config.data.any_text:  # tests may have any text, training may not
            return split in records.split_names(config.data.train, [split])
        return split not in unused

    charset = find_charset(config.charset)
    return prepare.Labels(charset, config.num_characters, config.model.void, is_checked)


def _report_or_none(directory: pathlib.Path) -> Report | None:
    try:
        return records.read_report(directory)
    except DataError:  # missing or damaged, and written anew
        return None


def inspect_prepared(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> None:
    """Writes contact sheets and statistics of a prepared set to `workdir`/inspect.

    Raises:
      DataError: nothing is prepared there.
    """
    data, key = config.data, jax.random.key(config.seed)
    augment_batch = make_augment(config)
    paths = inspect.inspect(
        data.prepared,
        pathlib.Path(workdir) / "inspect",
        find_charset(config.charset),
        config.num_characters,
        image_size=config.image_size,
        jitter=data.jitter,
        augment=lambda batch: jax.device_get(augment_batch(key, batch)),
        unused=getattr(READERS.get(data.reader), "UNUSED", ()),
    )
    print(records.read_report(data.prepared))
    for path in paths:
        print(path)


def make_augment(
    config: ml_collections.ConfigDict,
) -> Callable[[jax.Array, dict[str, jax.Array]], dict[str, jax.Array]]:
    """Returns the augmentation of training batches from files: (key, batch) -> batch, jitted."""
    if not config.data.augment:
        return lambda key, batch: batch
    return jax.jit(
        functools.partial(
            augment.augment,
            num_classes=len(find_charset(config.charset)),
            strength=config.data.augment,
            cut=config.data.cut,
        )
    )


def train_batches(
    config: ml_collections.ConfigDict, rows: int, first_step: int, part: Part = (0, 1)
) -> Iterator[pipeline.Batch]:
    """Returns this process's part of batches of `rows` plates, from the step after `first_step`.

    Raises:
      ValueError: the processes have different sets, or no loss can learn from these plates.
      DataError: as `pipeline.train_batches`.
    """
    digest = records.digest(config.data.prepared)
    multihost.agree(
        digest,
        f"data.prepared {config.data.prepared}: the processes have different sets there: prepare "
        "once, in a folder that all processes share, or copy it to each",
    )
    if digest and not _has(config, config.data.train):
        raise _no_split(config, repr(config.data.train), "--config.data.train=SPLIT")
    batches = pipeline.train_batches(
        config.data.prepared,
        config.data.train,
        find_charset(config.charset),
        config.num_characters,
        rows,
        seed=config.seed,
        start_step=first_step,
        image_size=config.image_size,
        jitter=config.data.jitter,
        void=config.model.void,
        workers=config.data.workers,
        process_index=part[0],
        process_count=part[1],
    )
    _check_maps(config)
    if jax.process_index() == 0:
        _tell_of_unused_splits(config)
    return batches


def has_maps(config: ml_collections.ConfigDict) -> bool:
    """Whether any training plate from files has character boxes."""
    counts = records.read_report(config.data.prepared).with_boxes
    return any(counts.get(name) for name in records.split_names(config.data.train, counts))


def _check_maps(config: ml_collections.ConfigDict) -> None:
    """Reports if LS or LP is asked for but no training plate has the character boxes it needs.

    Raises:
      ValueError: nothing else is left to train with: no character loss, and no rendered plates.
    """
    if has_maps(config):
        return
    lacking = f"no plate of {config.data.train} has character boxes"
    estimated = "preparing with data.estimate_boxes makes boxes for plates whose text fits a style"
    if not config.loss.character and not config.data.rendered:
        raise ValueError(
            f"loss.character 0: {lacking}, and loss.semantic and loss.position learn from nothing "
            f"else ({estimated})"
        )
    if (config.loss.semantic or config.loss.position) and jax.process_index() == 0:
        print(f"{lacking}: they train on their text alone, without LS and LP ({estimated})")


def _tell_of_unused_splits(config: ml_collections.ConfigDict) -> None:
    """Prints which splits are used in neither training nor tests: a name may be misspelt."""
    splits = (config.data.train, *config.data.test.values())
    counts = records.read_report(config.data.prepared).counts
    used = {name for split in splits for name in records.split_names(split, counts)}
    unused = ", ".join(f"{name} ({n} plates)" for name, n in counts.items() if name not in used)
    if unused:
        print(f"neither trained on nor tested: {unused}")


def test_sets(
    config: ml_collections.ConfigDict, part: Part = (0, 1)
) -> dict[str, tuple[int, Callable[[], Iterator[pipeline.Batch]]]]:
    """Returns, by test set, its number of plates and a function that yields its batches."""
    missing = _missing_tests(config)
    if missing and len(missing) == len(config.data.test):
        splits = ", ".join(map(repr, missing.values()))
        flags = " ".join(f"--config.data.test.{name}=SPLIT" for name in missing)
        raise _no_split(config, splits, flags)
    if jax.process_index() == 0:
        for name, split in missing.items():
            print(f"not tested: {name}, for {config.data.prepared} lacks {split}")
    tests = {}
    for name, split in config.data.test.items():
        if name not in missing:
            batches = functools.partial(
                pipeline.eval_batches,
                config.data.prepared,
                split,
                find_charset(config.charset),
                config.num_characters,
                config.batch_size,
                image_size=config.image_size,
                workers=config.data.workers,
                process_index=part[0],
                process_count=part[1],
            )
            tests[name] = len(records.Source(config.data.prepared, split)), batches
    return tests


def _missing_tests(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Returns the entries of `config.data.test` whose split the prepared set lacks."""
    return {name: split for name, split in config.data.test.items() if not _has(config, split)}


def _has(config: ml_collections.ConfigDict, split: str) -> bool:
    """Whether the prepared set has all splits that a split expression names."""
    counts = records.read_report(config.data.prepared).counts
    return all(name in counts for name in records.split_names(split, counts))


def _no_split(config: ml_collections.ConfigDict, splits: str, flags: str) -> DataError:
    counts = records.read_report(config.data.prepared).counts
    return DataError(
        config.data.prepared,
        f"has no split {splits}; it has {counts}: name one with {flags}{_hint(config)}",
    )


def _hint(config: ml_collections.ConfigDict) -> str:
    """Returns how to add a split to a user's own plates; empty for other data sets."""
    if config.data.reader != "folder":
        return ""
    return "; to add one, use the CSV's column split or a folder of that name, and prepare again"


def _named(table: dict[str, Any], name: str, field: str) -> Any:
    if name not in table:
        raise ValueError(f"{field}={name!r} should be one of {', '.join(sorted(table))}")
    return table[name]

"""Accuracy over the whole plate, as the paper counts it, and pictures of readings."""

import collections
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from PIL import Image

from hpa_jax import checkpoint, fields, inputs, machine, metrics, picture, progress, readers
from hpa_jax.charset import PROVINCES, Charset, find_charset
from hpa_jax.data import files
from hpa_jax.inputs import Batch
from hpa_jax.models.hpa import HPANet
from hpa_jax.recognize import Recognizer, load_recognizer

PAGE = 16  # plates on a page of pictures
UNKNOWN = "?"  # stands for a label that no reader can write


def make_eval_step(model: HPANet) -> Callable[[Any, Batch], tuple[jax.Array, jax.Array]]:
    """Returns a jitted (variables, batch) -> (plates right, plates), float32 scalars.

    Rows of weight 0 count in neither.
    """

    @functools.partial(jax.jit, compiler_options=machine.compiler_options())
    def eval_step(variables: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        logits = model.apply(variables, batch["image"] / 255.0).logits
        right = metrics.plates_right(logits, batch["characters"], model.num_classes)
        return (right * batch["weight"]).sum(), batch["weight"].sum()

    return eval_step


def count_right(
    eval_step: Callable[[Any, Batch], tuple[jax.Array, jax.Array]],
    variables: Any,
    batches: Iterable[Batch],
) -> tuple[int, int]:
    """Returns (plates right, plates) over all batches; each batch may be sharded."""
    counts = []
    for batch in batches:
        counts.append(eval_step(variables, batch))
        jax.block_until_ready(counts[-2:-1])  # batches must not pile up on the device
    right, total = np.reshape(jax.device_get(counts), (-1, 2)).sum(0, dtype=np.float64)
    return int(right), int(total)


def with_progress(name: str, test: inputs.TestSet) -> Iterator[Batch]:
    """Yields the batches of a test set, with a progress bar of plates, plates/s and time left."""
    with progress.plate_bar(f"testing {name}".strip(), test.plates, leave=False) as bar:
        for batch in test.batches():
            yield batch
            bar.update(min(len(batch["weight"]), test.plates - bar.n))


def evaluate_run(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> None:
    """Reads `config.eval_size` new rendered plates, or the config's test sets, as a user would.

    Prints the accuracy and writes `readings.png` and `failures.png` (paper, figures 4 and 5) to
    `workdir`; for plates from files also `failures.csv`, which lists all failures. `workdir` is a
    run, of which the most accurate checkpoint reads; RUN/checkpoints/STEP, whose pictures go to
    RUN; or a shipped reader's name.

    Raises:
      OSError, ValueError: there is no such run, or a field of the config is wrong.
    """
    fields.check(config)
    workdir = pathlib.Path(workdir)
    if workdir.is_file():
        raise ValueError(f"workdir {workdir}: is a file: hpa_jax.assess reads with a single file")
    reader = load_recognizer(workdir)  # on every process: Orbax makes all wait for each other
    if jax.process_count() > 1:  # early, because the first such call soon times out
        multihost_utils.sync_global_devices("evaluating")
    try:
        if jax.process_index() == 0:
            _evaluate(config, workdir, reader)
    finally:
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("evaluated")


def _evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path, reader: Recognizer) -> None:
    folder, _ = checkpoint.split_step(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    config = config.copy_and_resolve_references()
    config.image_size = reader.image_size  # as it was trained
    shipped = readers.compact_file(workdir)  # trained without semantic maps
    taught = not shipped and config.loss.semantic and _are_maps_taught(config)
    if config.data.get("rendered"):
        config.data.rendered = 0.0  # the tests of file data need no renderer, nor its fonts
    charset = find_charset(config.charset)
    _tell_of_limits(workdir, reader, charset, config.num_characters)
    if config.data.get("prepared"):  # plates that only the reader can write count too
        more = [c for c in reader.charset.characters if c not in charset.characters]
        charset = Charset(charset.characters + "".join(more))
        config.charset = charset.characters
        config.num_characters = max(config.num_characters, reader.model.num_characters)
    key = jax.random.key(config.seed + 1)  # training uses no key derived from it
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    tests = inputs.make_inputs(config, sharding, key).tests
    if not tests:
        print("Nothing tested: this config has no data.test; see python -m hpa_jax.assess --help")
    semantic = semantic_map(reader) if taught else None
    for name, test in tests.items():
        pairs, pages = read_all(reader, with_progress(name, test), charset, semantic)
        first, *others = summary(pairs)
        print(f"{name} {first}" if name else f"{first}, never seen in training")
        for line in others:
            print(line)
        suffix = name and f"_{name}"
        for kind, rows in pages.items():
            path = folder / f"{kind}{suffix}.png"
            path.unlink(missing_ok=True)  # an earlier evaluation's
            if rows:
                picture.page(rows).save(path)
                maps = ", and each character's HPA map" if reader.model.attention else ""
                print(f"{path}: what was read{maps}")
        if config.data.get("prepared"):
            _list_failures(config, name, pairs, folder / f"failures{suffix}.csv")
    print(f"Read your own: python -m hpa_jax.recognize --checkpoint={workdir} IMAGES OR FOLDERS")


def _list_failures(
    config: ml_collections.ConfigDict,
    test: str,
    pairs: Sequence[tuple[str, str]],
    path: pathlib.Path,
) -> None:
    """Writes a CSV of the plates of a test set that count as wrong: name, label and reading.

    Args:
      config: of the prepared set.
      test: name of the test set.
      pairs: (truth, reading) of each plate, in order, as `read_all` gives them.
      path: of the CSV.
    """
    from hpa_jax.data import records  # TFDS is imported only where file data is used

    source = records.Source(config.data.prepared, config.data.test[test])
    rows = []
    for i, (truth, text) in zip(range(len(source)), pairs, strict=True):
        if text != truth:
            record = records.parse(source[i])
            missed = "missed by the detector" if record.missed else ""
            rows.append((record.name, record.text, text, missed))
    files.write_table(path, ("file", "label", "read", "missed"), rows)
    print(f"{path}: all that count as wrong, by name")


def _are_maps_taught(config: ml_collections.ConfigDict) -> bool:
    if not config.data.get("prepared") or config.data.rendered:
        return True
    from hpa_jax import datasets  # as in `inputs`

    return datasets.has_maps(config)


def _tell_of_limits(
    name: pathlib.Path, reader: Recognizer, charset: Charset, num_characters: int
) -> None:
    """Prints which of the config's characters and lengths a reader cannot read."""
    unknown = "".join(c for c in charset.characters if c not in reader.charset.characters)
    if unknown:
        print(f"{name} does not know {unknown}: plates with these count as wrong")
    most = reader.model.num_characters
    if most < num_characters:
        print(f"{name} reads up to {most} characters: longer plates count as wrong")


def semantic_map(reader: Recognizer) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a jitted function, H×W×3 uint8 -> h×w int32: the semantic network's classes."""

    @jax.jit
    def classes(image_HWC: jax.Array) -> jax.Array:
        return reader.model.apply(reader.variables, image_HWC[None] / 255.0).semantic[0].argmax(-1)

    return classes


def summary(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a summary as lines of text; for Chinese plates also without, and by, the province.

    Args:
      pairs: (truth, reading) of each plate, at least one.
    """
    total = len(pairs)
    right = sum(truth == text for truth, text in pairs)
    lines = [f"{right}/{total} plates right ({right / total:.2%})"]
    provinces = collections.Counter(truth[0] for truth, _ in pairs if truth[0] in PROVINCES)
    if provinces:
        rest = sum(truth != UNKNOWN and truth[1:] == text[1:] for truth, text in pairs)
        lines.append(f"  ignoring the province {rest}/{total} ({rest / total:.2%})")
        rights = collections.Counter(truth[0] for truth, text in pairs if truth == text)
        each = ", ".join(f"{p} {rights[p]}/{n}" for p, n in provinces.most_common())
        lines.append(f"  by province: {each}")
        if lost := sum(truth == UNKNOWN for truth, _ in pairs):
            lines[-1] += f"; besides them {lost} missed by the detector or not writable, all wrong"
    return lines


def read_all(
    reader: Recognizer,
    batches: Iterable[Batch],
    charset: Charset,
    semantic: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[list[tuple[str, str]], dict[str, list[Image.Image]]]:
    """Reads all plates; returns (truth, reading) of each, and pictures of the first of each kind.

    Args:
      reader: the reader to test.
      batches: in the layout of the README.
      charset: that of the batches.
      semantic: from `semantic_map`; failures then show the semantic map too.

    Returns:
      The pairs, with the truth "?", which is never read, if the charset cannot write it or the
      detector missed the plate; and pictures from `picture.maps_row`, at most `PAGE` each under
      "readings" (right ones) and "failures".
    """
    pairs, pages = [], {"readings": [], "failures": []}
    for batch in map(jax.device_get, batches):
        kept = batch["weight"] > 0
        images, ids = list(batch["image"][kept]), batch["characters"][kept]
        for image, reading, row in zip(images, reader.read(images, maps=True), ids, strict=True):
            truth = charset.decode(row) if (row >= 0).all() else UNKNOWN
            pairs.append((truth, reading.text))
            right = reading.text == truth
            rows = pages["readings" if right else "failures"]
            if len(rows) < PAGE:
                shown = semantic and not right
                classes = (semantic(image), len(reader.charset)) if shown else None
                rows.append(picture.maps_row(image, reading, truth, classes))
    return pairs, pages

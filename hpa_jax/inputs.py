"""From a config to batches: the one place that knows where plates come from."""

import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from PIL import Image

from hpa_jax import fields, picture
from hpa_jax.charset import find_charset
from hpa_jax.data import styles, synthetic

Batch = dict[str, jax.Array]  # in the layout of the README, or what the host feeds a step


class TestSet(NamedTuple):
    """Plates to test on: how many, and a function that yields the same batches at every call."""

    plates: int
    batches: Callable[[], Iterator[Batch]]


class Inputs(NamedTuple):
    """Where a run's plates come from.

    Attributes:
      make_batch: (key, what `feed` gave) -> the batch to train on; runs inside the jitted step.
      feed: first step -> an iterator over what the host gives each step, already on the devices.
      tests: the test sets by name.
    """

    make_batch: Callable[[jax.Array, Batch], Batch]
    feed: Callable[[int], Iterator[Batch]]
    tests: dict[str, TestSet]


def make_inputs(
    config: ml_collections.ConfigDict, sharding: jax.sharding.Sharding, eval_key: jax.Array
) -> Inputs:
    """Returns inputs of rendered plates, of the prepared set `config.data.prepared`, or of both.

    Raises:
      ValueError: a field is wrong; it is named.
    """
    if config.data.get("prepared"):
        return _from_files(config, sharding)
    render = whole = make_render(config, sharding)
    if config.data.cut:
        whole = make_render(config, sharding, testing=True)
    test = make_eval_batches(whole, eval_key, config.eval_size, config.batch_size)
    return Inputs(
        lambda key, fed: render(jax.random.split(key, config.batch_size)),
        lambda step: itertools.repeat({}),
        {"": TestSet(config.eval_size, test)},
    )


def _from_files(config: ml_collections.ConfigDict, sharding: jax.sharding.Sharding) -> Inputs:
    """Returns inputs of the prepared set, with the config's share of rendered plates."""
    from hpa_jax import datasets  # Grain and TFDS are imported only where file data is used

    # If the sharding spans several hosts, each of them reads its part of every batch.
    alone = sharding.is_fully_addressable
    part = (0, 1) if alone else (jax.process_index(), jax.process_count())
    make_batch, rendered = datasets.make_augment(config), _rendered_rows(config)
    if rendered:
        make_batch = _mix(make_batch, make_render(config, sharding), rendered)

    def to_devices(batches: Iterator[dict]) -> Iterator[Batch]:
        put = functools.partial(jax.make_array_from_process_local_data, sharding)
        return (jax.tree.map(put, batch) for batch in batches)

    return Inputs(
        make_batch,
        lambda step: to_devices(
            datasets.train_batches(config, config.batch_size - rendered, step, part)
        ),
        {
            name: TestSet(plates, lambda batches=batches: to_devices(batches()))
            for name, (plates, batches) in datasets.test_sets(config, part).items()
        },
    )


def _rendered_rows(config: ml_collections.ConfigDict) -> int:
    """Returns how many plates of a training batch are rendered, equally many on each device.

    Raises:
      ValueError: `data.rendered` leaves no rendered plates, or none from files.
    """
    share, devices = config.data.rendered, jax.device_count()
    rows = devices * round(config.batch_size * share / devices)
    if share and not 0 < rows < config.batch_size:
        raise ValueError(
            f"data.rendered {share}: is {rows} of {config.batch_size} plates on {devices} devices, "
            "should be some but not all"
        )
    return rows


def _mix(
    augment_files: Callable[[jax.Array, Batch], Batch],
    render: Callable[[jax.Array], Batch],
    rows: int,
) -> Callable[[jax.Array, Batch], Batch]:
    """Returns a function that joins augmented plates from files and `rows` rendered ones."""

    def make_batch(key: jax.Array, fed: Batch) -> Batch:
        files_key, render_key = jax.random.split(key)
        files = augment_files(files_key, fed)
        rendered = render(jax.random.split(render_key, rows))
        return {name: jnp.concatenate([files[name], rendered[name]]) for name in files}

    return make_batch


def inspect_run(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> None:
    """Draws what the network will see into `workdir`/inspect, and prints the pictures' paths.

    Raises:
      ValueError: a field of the config is wrong.
      DataError: the config names a prepared set that does not exist.
    """
    fields.check(config)
    if config.data.get("prepared"):
        from hpa_jax import datasets  # as in `_from_files`

        datasets.inspect_prepared(config, workdir)
    if not config.data.get("prepared") or config.data.rendered:
        path = pathlib.Path(workdir) / "inspect/rendered.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rendered_sheet(config).save(path)
        print(path)


def rendered_sheet(config: ml_collections.ConfigDict) -> Image.Image:
    """Draws a contact sheet of rendered plates: each clean, as in training, and with its maps.

    Raises:
      ValueError: a field is wrong; it is named.
    """
    clean = config.copy_and_resolve_references()
    clean.data.realism = 0.0
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    keys = jax.random.split(jax.random.key(config.seed), picture.SHEET)
    batches = [jax.jit(make_render(c, sharding))(keys) for c in (clean, config)]
    return picture.contact_sheet(*jax.device_get(batches), find_charset(config.charset))


def make_render(
    config: ml_collections.ConfigDict, sharding: jax.sharding.Sharding, *, testing: bool = False
) -> Callable[[jax.Array], Batch]:
    """Returns a pure function from random keys, one per plate, to a batch in the README's layout.

    Args:
      config: its `data`, `model.void`, `image_size`, `charset` and `num_characters` are read.
      sharding: of the batch.
      testing: renders whole plates, whatever `data.cut` is.

    Raises:
      ValueError: a field is wrong; it is named.
    """
    unknown = [name for name in config.data.styles if name not in styles.STYLES]
    if unknown or not config.data.styles:
        raise ValueError(
            f"data.styles {list(config.data.styles)}: what is rendered must be among "
            f"{', '.join(sorted(styles.STYLES))}"
        )
    chosen = [styles.STYLES[name] for name in config.data.styles]
    texts = [(style, pattern) for style in chosen for pattern in style.patterns]
    length, shortest = min((len(style.place(p).symbols), p) for style, p in texts)
    if not config.model.void and length < config.num_characters:
        raise ValueError(
            f"num_characters {config.num_characters}: {shortest!r} has {length}, and shorter "
            "plates need --config.model.void=True"
        )
    charset = find_charset(config.charset)
    render = synthetic.make_renderer(
        chosen,
        charset,
        config.num_characters,
        fonts=config.data.fonts,
        weights=config.data.weights or None,
        image_size=config.image_size,
        realism=config.data.realism,
        loose=config.data.loose,
        tilt=config.data.tilt,
        cut=0.0 if testing else config.data.cut,
    )

    return lambda keys: jax.vmap(render)(jax.lax.with_sharding_constraint(keys, sharding))


def make_eval_batches(
    render: Callable[[jax.Array], Batch], key: jax.Array, size: int, batch_size: int
) -> Callable[[], Iterator[Batch]]:
    """Returns a function that yields the same `size` plates at every call and batch size.

    Rows that fill up the last batch have weight 0.
    """

    @jax.jit
    def batch_of(key: jax.Array, start: jax.Array) -> Batch:
        plates = start + jnp.arange(batch_size)
        batch = render(jax.vmap(jax.random.fold_in, (None, 0))(key, plates))
        return batch | {"weight": (plates < size).astype(jnp.float32)}

    return lambda: (batch_of(key, start) for start in range(0, size, batch_size))

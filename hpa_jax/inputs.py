"""From a config to batches: the one place that knows where plates come from."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from hpa_jax.charset import CHARSETS, Charset
from hpa_jax.data import augment, styles, synthetic

Batch = dict[str, jax.Array]


class Inputs(NamedTuple):
    """Where a run's plates come from.

    Attributes:
      make_batch: (key, what `feed` gave) -> the batch to train on; runs inside the jitted step.
      feed: first step -> an iterator over what each step needs from the host, on the devices.
      tests: name -> a function that yields a test set's batches, the same at every call.
    """

    make_batch: Callable[[jax.Array, Batch], Batch]
    feed: Callable[[int], Iterator[Batch]]
    tests: dict[str, Callable[[], Iterator[Batch]]]


def make_inputs(
    config: ml_collections.ConfigDict, sharding: jax.sharding.Sharding, eval_key: jax.Array
) -> Inputs:
    """Rendered plates, or those of the prepared data set that `config.data.prepared` names."""
    if not config.data.get("prepared"):
        render_batch = make_render(config, sharding)
        test = make_eval_batches(render_batch, eval_key, config.eval_size, config.batch_size)
        return Inputs(
            lambda key, fed: render_batch(key), lambda step: itertools.repeat({}), {"": test}
        )
    from hpa_jax import datasets  # Grain and TFDS are imported only where file data is used

    def to_devices(batches: Iterator[dict]) -> Iterator[Batch]:
        put = functools.partial(jax.make_array_from_process_local_data, sharding)
        return (jax.tree.map(put, batch) for batch in batches)

    return Inputs(
        datasets.augment_batch(config),
        lambda step: to_devices(datasets.train_batches(config, step)),
        {
            name: lambda batches=batches: to_devices(batches())
            for name, batches in datasets.test_sets(config).items()
        },
    )


def make_charset(config: ml_collections.ConfigDict) -> Charset:
    """The charset that a config names or spells."""
    return CHARSETS.get(config.charset) or Charset(config.charset)


def make_render(
    config: ml_collections.ConfigDict, sharding: jax.sharding.Sharding
) -> Callable[[jax.Array], Batch]:
    """A pure function from a random key to a batch of rendered plates, in the README's layout.

    Args:
      config: its `data`, `batch_size`, `image_size`, `charset` and `num_characters` are read.
      sharding: of the batch.

    Raises:
      ValueError: a field is wrong; it is named.
    """
    unknown = [name for name in config.data.styles if name not in styles.STYLES]
    if unknown or not config.data.styles:
        raise ValueError(
            f"data.styles {list(config.data.styles)}: must be among {sorted(styles.STYLES)}"
        )
    charset = make_charset(config)
    render = synthetic.make_renderer(
        [styles.STYLES[name] for name in config.data.styles],
        charset,
        config.num_characters,
        fonts=config.data.fonts,
        weights=config.data.weights or None,
        image_size=config.image_size,
        realism=config.data.realism,
    )

    def render_batch(key: jax.Array) -> Batch:
        render_key, augment_key = jax.random.split(key)
        keys = jax.random.split(render_key, config.batch_size)
        keys = jax.lax.with_sharding_constraint(keys, sharding)
        batch = jax.vmap(render)(keys)
        if config.data.augment:
            batch = augment.augment(augment_key, batch, len(charset), config.data.augment)
        return batch

    return render_batch


def make_eval_batches(
    render_batch: Callable[[jax.Array], Batch], key: jax.Array, size: int, batch_size: int
) -> Callable[[], Iterator[Batch]]:
    """A function that yields `size` plates, the same at every call; rows beyond weigh 0."""

    @jax.jit
    def batch_of(key: jax.Array, start: jax.Array) -> Batch:
        batch = render_batch(jax.random.fold_in(key, start))
        return batch | {"weight": (start + jnp.arange(batch_size) < size).astype(jnp.float32)}

    return lambda: (batch_of(key, start) for start in range(0, size, batch_size))

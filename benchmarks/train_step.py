"""Times one training step with the paper's full loss against PyTorch's, in one run.

    python -m benchmarks.train_step --backbones=resnet18 --batch_sizes=32

All candidates start from the same weights and train on one batch of rendered plates in memory. The
cost of rendering or augmenting such a batch is measured too.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import networks, report, sweep, timing, torch_training
from hpa_jax import optimizer, train, train_state
from hpa_jax.charset import TAIWAN
from hpa_jax.data import augment, styles, synthetic

LEARNING_RATE = 2e-5  # the paper's
LOSSES = {"semantic": 1.0, "position": 1.0, "character": 1.0}
PASSES = 3
Batch = dict[str, Any]


def compare(
    name: str, batch_size: int, dtype: str, *, rounds: int, compiled: bool
) -> dict[str, Any]:
    """Times one network's training; prints tables and returns the figures.

    Args:
      name: of the network, one of `networks.NETWORKS`.
      batch_size: plates per step.
      dtype: 'float32' or 'bfloat16' (in PyTorch by autocast).
      rounds: turns of each candidate.
      compiled: whether to time compiled PyTorch too.
    """
    device = timing.set_up()
    peak = timing.measure_peak(device, dtype)
    pair = networks.make_pair(name, dtype)
    render = make_render(pair.model.num_characters, pair.image_size, batch_size)
    batch = jax.jit(render)(jax.random.key(0))
    their_batch = batch if pair.same else random_batch(batch_size)
    makers = {
        "hpa_jax": lambda: make_jax_run(pair, lambda key, fed: fed, batch),
        "hpa_jax, rendering": lambda: make_jax_run(pair, lambda key, fed: render(key), {}),
        "rendering alone": lambda: make_part(lambda key, fed: render(key), {}),
        "augmentation alone": lambda: make_part(
            lambda key, fed: augment.augment(key, fed, len(TAIWAN)), batch
        ),
    }
    theirs = torch_training.makers(
        pair, jax.device_get(their_batch), LEARNING_RATE, device, dtype, compiled
    )
    runs, results = timing.start(makers | theirs)
    if pair.same:
        losses = [results[name] for name in ("hpa_jax", *theirs) if name in results]
        np.testing.assert_allclose(losses, losses[0], rtol=0.01 if dtype == "float32" else 0.1)
    step, state = make_jax_step(pair, lambda key, fed: fed)
    flops = {"hpa_jax": timing.count_flops(step, state, jax.random.key(0), batch)}
    timings = timing.measure(runs, rounds, PASSES)
    # The backward pass takes twice the forward's FLOPs: for the inputs and for the weights.
    flops |= dict.fromkeys(theirs, 3 * pair.reference_flops * batch_size)
    figures = report.compare_passes(timings, flops, batch_size, ["hpa_jax"], dtype, peak)
    return {"image_size": pair.image_size} | figures | _parts_of_a_step(report.medians(timings))


def _parts_of_a_step(medians: dict[str, float]) -> dict[str, dict[str, float]]:
    """Prints and returns the cost of making a batch: seconds, and shares of a whole step."""
    names = ("hpa_jax, rendering", "rendering alone", "augmentation alone")
    rendering, rendered, augmented = (medians[name] for name in names)
    shares = {
        "rendering": rendered / rendering,
        "augmentation": augmented / (augmented + medians["hpa_jax"]),
    }
    print(f"A step that renders its batch takes {rendering * 1e3:.1f} ms.")
    print(f"Rendering is {shares['rendering']:.0%} of it ({rendered * 1e3:.1f} ms alone);")
    print(
        f"augmentation {shares['augmentation']:.0%} of a step on files ({augmented * 1e3:.1f} ms)."
    )
    return {"parts_s": {name: medians[name] for name in names}, "share_of_step": shares}


def make_render(
    num_characters: int, image_size: tuple[int, int], batch_size: int
) -> Callable[[jax.Array], Batch]:
    """Returns a renderer of batches of plates of six characters, which built-in fonts have."""
    style = styles.STYLES["taiwan_old"]
    render = synthetic.make_renderer([style], TAIWAN, num_characters, image_size=image_size)
    return lambda key: jax.vmap(render)(jax.random.split(key, batch_size))


def random_batch(batch_size: int) -> Batch:
    """Returns a random batch for PyTorch where our network sees another size."""
    rng, maps = np.random.default_rng(0), (batch_size, *networks.PAPER_SIZE)
    return {
        "image": rng.integers(0, 256, (*maps, 3), np.uint8),
        "characters": rng.integers(0, len(TAIWAN), (batch_size, 6)),
        "semantic": rng.integers(0, len(TAIWAN) + 1, maps),
        "position": rng.integers(0, 7, maps),
    }


def make_jax_step(
    pair: networks.Pair, make_batch: Callable[[jax.Array, Batch], Batch]
) -> tuple[Callable, train_state.TrainState]:
    """Returns this package's jitted step and its initial state."""
    tx = optimizer.make_rmsprop(LEARNING_RATE)
    variables = jax.tree.map(jnp.array, pair.variables)  # a copy: the step donates its state
    state = train_state.TrainState(jnp.int32(0), variables, tx.init(variables["params"]))
    return train.make_train_step(pair.model, tx, make_batch, LOSSES), state


def make_jax_run(
    pair: networks.Pair, make_batch: Callable[[jax.Array, Batch], Batch], fed: Batch
) -> timing.Run:
    """Returns a run that trains one step per call."""
    step, state = make_jax_step(pair, make_batch)
    key = jax.random.key(1)

    def run() -> float:
        nonlocal state
        state, metrics = jax.block_until_ready(step(state, key, fed))
        return float(metrics["loss"])

    return run


def make_part(make_batch: Callable[[jax.Array, Batch], Batch], fed: Batch) -> timing.Run:
    """Returns a run of one part of the step, jitted alone."""
    jitted, key = jax.jit(make_batch), jax.random.key(1)
    return lambda: jax.block_until_ready(jitted(key, fed))


def _main(argv: Sequence[str]) -> None:
    options = {"rounds": flags.FLAGS.rounds, "compiled": flags.FLAGS.compiled}
    sweep.run(argv, functools.partial(compare, **options), keep_memory=True)


if __name__ == "__main__":
    sweep.define_flags(["resnet18"], ["32"], rounds=5, smallest=2)  # batch norm needs two
    app.run(_main)

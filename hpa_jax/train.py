"""Training, top to bottom: network, data, state, checkpoints, loop."""

import contextlib
import itertools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import traverse_util
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hpa_jax import (
    checkpoint,
    fields,
    freezing,
    inputs,
    losses,
    machine,
    multihost,
    optimizer,
    weights,
)
from hpa_jax.charset import find_charset
from hpa_jax.evaluate import count_right, make_eval_step, with_progress
from hpa_jax.inputs import Batch
from hpa_jax.interrupt import Interrupted, catch_interrupts
from hpa_jax.models import layers
from hpa_jax.models.hpa import HPANet
from hpa_jax.progress import TrainLog
from hpa_jax.train_state import (
    TrainState,
    load_backbone,
    load_start,
    make_init,
    resumable,
    resume,
    start_from,
)
from hpa_jax.whole import write_whole


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: str | pathlib.Path
) -> TrainState:
    """Trains as `config` says, and resumes from the latest checkpoint in `workdir` if there is one.

    Raises:
      OSError: what `config.init` names is missing.
      ValueError: a field of the config is wrong, or `workdir` holds another network.
      FloatingPointError: the loss became infinite or not a number; nothing was saved after it.
      Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
    """
    workdir = pathlib.Path(workdir)
    if workdir.is_file():
        raise ValueError(f"workdir {workdir}: is a file, must be a folder")
    workdir.mkdir(parents=True, exist_ok=True)
    fields.check(config)
    if config.batch_size % jax.device_count():
        raise ValueError(
            f"batch_size {config.batch_size}: must be divisible by the {jax.device_count()} devices"
        )
    reading = contextlib.nullcontext()
    if config.data.get("prepared"):
        if not config.data.train:
            raise ValueError("this config only tests, and data.train is empty: --mode=evaluate")
        # Nobody may prepare these plates anew meanwhile.
        reading = multihost.claim(pathlib.Path(config.data.prepared), shared=True)
    with multihost.claim_together(workdir), reading:
        return _train(config, workdir)


def _train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> TrainState:
    """Trains in a folder that no other run uses."""
    # --- Devices: one data axis; parameters on all, rows of a batch split over them.
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    sharded = NamedSharding(mesh, PartitionSpec("data"))

    # --- Network, data and optimiser.
    charset = find_charset(config.charset)
    model = HPANet(num_characters=config.num_characters, num_classes=len(charset), **config.model)
    schedule, tx = make_optimizer(config)
    train_key, eval_key, init_key = jax.jit(make_keys, out_shardings=replicated)(config.seed)
    plates = inputs.make_inputs(config, sharded, eval_key)

    # --- State: this run's latest checkpoint, else what config.init names, else random weights.
    manager = checkpoint.open_manager(workdir, config.keep_checkpoints)
    metadata = checkpoint.make_metadata(model, charset, config.image_size, config.data.styles)
    init = make_init(model, tx, config.image_size, bool(config.ema))
    init = jax.jit(init, out_shardings=replicated)
    state = resume_or_start(config, workdir, manager, metadata, init, init_key)
    first_step = int(state.step)

    # --- Steps.
    train_step = make_train_step(
        model, tx, plates.make_batch, dict(config.loss), freeze=config.freeze, ema=config.ema
    )
    eval_step = make_eval_step(model)
    feed = plates.feed(first_step)
    # All at once, because a rate computed between two steps would wait for the first of them.
    rates = np.broadcast_to(schedule(np.arange(config.num_steps)), config.num_steps)

    def save(step: int, state: TrainState, accuracy: float | None = None) -> None:
        checkpoint.save(manager, step, state.readable, resumable(state), metadata, accuracy)

    # --- Loop: step, log, evaluate, save, in this order.
    # Closing the manager waits for the last save, whatever ends the loop; the handlers go last, so
    # that a second SIGTERM does not end that wait.
    with (
        catch_interrupts(first_step) as interrupted,
        contextlib.closing(manager),
        contextlib.closing(
            TrainLog(workdir, rates, first_step, config.batch_size, config.log_every)
        ) as log,
    ):
        # Only now, and only if steps are left, so that no other command changes a run's record.
        if jax.process_index() == 0 and first_step < config.num_steps:
            write_whole(workdir / "config.json", described(config).encode())
        for step in range(first_step + 1, config.num_steps + 1):
            state, metrics = train_step(state, train_key, next(feed))
            log.add(step, metrics)
            manager.check_for_errors()  # of a save in the background
            stop = interrupted(step)
            if stop or step % config.eval_every == 0 or step == config.num_steps:
                log.flush()  # before a broken state can be saved over a good one
                accuracy = None
                try:
                    if not stop:
                        accuracy = evaluate_all(plates, eval_step, state, step, log, interrupted)
                except BaseException:  # no step is lost, but one of several hosts cannot save alone
                    if jax.process_count() == 1:
                        save(step, state)
                    raise
                save(step, state, accuracy)
                log.draw()
                stop = stop or interrupted(None)
            if stop:
                raise Interrupted(
                    f"stopped after step {step} of {config.num_steps}, saved: the same command "
                    "goes on from there"
                )
    return state


def resume_or_start(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    manager: ocp.CheckpointManager,
    metadata: dict[str, Any],
    init: jax.stages.Wrapped,
    init_key: jax.Array,
) -> TrainState:
    """Returns the state to train from, and prints where it comes from.

    Raises:
      OSError: what `config.init` names is missing.
      ValueError: the latest checkpoint, or what `config.init` names, does not fit.
    """
    first_process = jax.process_index() == 0
    latest = checkpoint.latest_step(manager)
    fresh = latest is None
    start, backbone = None, None
    if fresh and config.init.checkpoint:  # a misfit is refused before anything compiles
        start = load_start(config.init.checkpoint, metadata)
    if fresh and config.init.backbone:
        backbone = load_backbone(config.init.backbone, metadata)
    state = init(init_key) if fresh else init.eval_shape(init_key)  # which compiles nothing
    if first_process:
        count = sum(x.size for x in jax.tree.leaves(state.variables["params"]))
        print(f"{config.model.backbone}: {count:,} parameters")
    if fresh:
        return start_from(state, start, backbone, metadata) if start or backbone else state
    state = resume(manager, latest, state, metadata)
    if first_process:
        print(f"resumed at step {state.step} of {config.num_steps}")
        if state.step >= config.num_steps:
            print("nothing is left to train: raise num_steps to continue")
        for change in changes(config, workdir / "config.json"):
            print(f"another config than before: {change}")
    return state


def described(config: ml_collections.ConfigDict) -> str:
    """Returns a config as JSON, with the number of devices and a digest of the prepared plates."""
    record = json.loads(config.to_json_best_effort()) | {"devices": jax.device_count()}
    if config.data.get("prepared"):
        from hpa_jax.data import records  # TFDS is imported only where file data is used

        record["data"]["contents"] = f"{records.digest(config.data.prepared):08x}"
    return json.dumps(record, indent=2)


def changes(config: ml_collections.ConfigDict, saved: pathlib.Path) -> list[str]:
    """Returns the fields in which a config differs from the run's saved one, one line each."""
    if not saved.is_file():
        return []
    texts = saved.read_text(encoding="utf-8"), described(config)
    try:
        before, now = (traverse_util.flatten_dict(json.loads(text), sep=".") for text in texts)
    except ValueError:  # an editor may have damaged it
        return [f"{saved} is damaged, and is not compared"]
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        + (", which only a new run would take" if name.startswith("init.") else "")
        for name in sorted(before | now)
        if before.get(name) != now.get(name)
    ]


def make_keys(seed: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the keys of training, of evaluation and of random weights."""
    train_key, eval_key = jax.random.split(jax.random.key(seed))
    # With "rbg", the many draws of initialisation compile in a quarter of the time.
    return train_key, eval_key, jax.random.key(seed, impl="rbg")


def evaluate_all(
    plates: inputs.Inputs,
    eval_step: Callable,
    state: TrainState,
    step: int,
    log: TrainLog,
    interrupted: Callable[[int | None], bool],
) -> float | None:
    """Logs the accuracy on each test set; returns the first, by which checkpoints are ranked.

    Returns None if there are no test sets, or if the run is to stop.
    """
    accuracies = []
    for name, test in plates.tests.items():
        batches = itertools.takewhile(lambda _: not interrupted(None), with_progress(name, test))
        right, total = count_right(eval_step, state.readable, batches)
        if interrupted(None):
            return None
        accuracies.append(right / total)
        log.evaluated(step, name, right, total)
    return accuracies[0] if accuracies else None


def make_optimizer(
    config: ml_collections.ConfigDict,
) -> tuple[optax.Schedule, optax.GradientTransformation]:
    """Returns the learning-rate schedule and the optimiser that a config asks for."""
    o = config.optimizer
    schedule = optimizer.make_schedule(
        o.schedule, o.learning_rate, config.num_steps, o.warmup_steps
    )
    tx = optimizer.make_rmsprop(schedule, o.decay, o.eps, o.momentum, o.weight_decay)
    return schedule, freezing.freeze(tx, config.freeze) if config.freeze else tx


def make_train_step(
    model: HPANet,
    tx: optax.GradientTransformation,
    make_batch: Callable[[jax.Array, Batch], Batch],
    loss_weights: Mapping[str, float],
    *,
    freeze: Sequence[str] = (),
    ema: float = 0.0,
) -> Callable[[TrainState, jax.Array, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Returns the jitted step (state, key, fed) -> (state, metrics), which donates its state.

    The batch depends only on `fold_in(key, state.step)` and on what the host feeds this step, so a
    resumed run sees the same plates. `loss_weights` are those of `losses.total_loss`. Parts that
    `freeze` covers (see `freezing`) run as in reading and have no gradient. `ema` is the decay of
    the moving average `state.averaged`, where there is one.
    """

    def train_step(
        state: TrainState, key: jax.Array, fed: Batch
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        batch = make_batch(jax.random.fold_in(key, state.step), fed)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            with freezing.frozen_statistics(freeze):
                output, statistics = model.apply(
                    state.variables | {"params": freezing.stop_gradients(params, freeze)},
                    batch["image"] / 255.0,
                    train=True,
                    mutable=["batch_stats"],
                )
            loss, terms = losses.total_loss(output, batch, loss_weights)
            return loss, (terms, statistics)

        params = state.variables["params"]
        grads, (terms, statistics) = jax.grad(loss_fn, has_aux=True)(params)
        updates, opt_state = tx.update(grads, state.optimizer, params)
        variables = {"params": optax.apply_updates(params, updates)} | statistics
        # optax.global_norm would store the squares first, which takes four times as long on a CPU.
        squares = [layers.sum_rows(jnp.square, x).sum() for x in jax.tree.leaves(grads)]
        terms["gradient_norm"] = jnp.sqrt(sum(squares))
        averaged = state.averaged
        if averaged is not None:
            averaged = weights.moving_average(averaged, variables, state.step, ema)
        return TrainState(state.step + 1, variables, opt_state, averaged), terms

    return jax.jit(train_step, donate_argnums=0, compiler_options=machine.compiler_options())

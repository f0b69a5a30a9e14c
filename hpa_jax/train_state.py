"""The training state, and how it starts: from a checkpoint, or from other runs' weights."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hpa_jax import checkpoint, multihost, readers, weights
from hpa_jax.charset import Charset
from hpa_jax.models.hpa import HPANet


@flax.struct.dataclass
class TrainState:
    """All that changes from step to step; `step` counts the steps done, and names checkpoints.

    With `config.ema`, `averaged` is the moving average of `variables`; it is what is evaluated, and
    what checkpoints hold for reading.
    """

    step: jax.Array
    variables: dict[str, Any]  # {'params': …, 'batch_stats': …}
    optimizer: optax.OptState
    averaged: dict[str, Any] | None = None

    @property
    def readable(self) -> dict[str, Any]:
        """The variables to read with."""
        return self.variables if self.averaged is None else self.averaged


def make_init(
    model: HPANet,
    tx: optax.GradientTransformation,
    image_size: tuple[int, int],
    averaging: bool = False,
) -> Callable[[jax.Array], TrainState]:
    """Returns a function from a random key to the state before the first step."""

    def init(key: jax.Array) -> TrainState:
        variables = model.init(key, jnp.zeros((1, *image_size, 3)))
        opt_state = tx.init(variables["params"])
        averaged = jax.tree.map(jnp.copy, variables) if averaging else None
        return TrainState(jnp.int32(0), variables, opt_state, averaged)

    return init


def resume(manager: Any, step: int, state: TrainState, metadata: dict[str, Any]) -> TrainState:
    """Restores the state of a checkpoint, in the shapes and shardings of `state`.

    Raises:
      ValueError: the checkpoint is of another network, whose differing fields are named, or of
        another optimiser.
    """
    theirs = checkpoint.read_metadata(manager, step)
    there, here = theirs | theirs["network"], metadata | metadata["network"]
    names = ("charset", "image_size", *metadata["network"])
    differing = [name for name in names if there.get(name) != here[name]]
    if differing:
        changes = "; ".join(f"{n}: {there.get(n)} there, {here[n]} here" for n in differing)
        raise ValueError(
            f"{manager.directory} holds another network ({changes}): give another --workdir"
        )
    try:
        readable, saved = checkpoint.restore(manager, step, state.readable, resumable(state))
    except Exception as error:  # Orbax raises various errors if arrays do not fit
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{manager.directory} was trained with another optimizer, freeze or ema: give these "
            "as they were, or another --workdir and this run as --config.init.checkpoint; or "
            f"{step} is damaged: remove it to go on from the one before ({reason})"
        ) from error
    count = jax.device_put(np.int32(step), state.step.sharding)
    if state.averaged is None:
        return TrainState(count, readable, saved)
    return TrainState(count, saved["variables"], saved["optimizer"], readable)


def resumable(state: TrainState) -> Any:
    """Returns what a checkpoint holds only for training."""
    if state.averaged is None:
        return state.optimizer
    return {"optimizer": state.optimizer, "variables": state.variables}


def load_start(reader: str, metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads variables and metadata of a reader to start from, before the step compiles.

    Args:
      reader: a run or a shipped reader's name; its charset, Cp and void may differ, and a narrower
        reader (by a whole multiple) is widened.
      metadata: of the new network.

    Raises:
      OSError, ValueError: it is missing or damaged, or does not fit; all that differs is named.
    """
    try:
        trained, theirs = readers.load(reader)
    except FileNotFoundError as error:
        hint = (
            "train that first, or start from random weights: init= in the config's argument, where "
            "it has one (as configs/aolp.py:test=RP,init=), which sets their learning rate too; "
            "else --config.init.checkpoint="
        )
        raise FileNotFoundError(f"init.checkpoint {error}; {hint}") from error
    old, new = theirs["network"], metadata["network"]
    flags = _differing(old, new, ("backbone", "classifier", "attention", "grey"))
    if old["width"] > new["width"]:
        flags.append(f"--config.model.width={old['width']}")
    if flags:
        raise ValueError(f"init.checkpoint {reader}: is of another network: {' '.join(flags)}")
    if jax.process_index() == 0:
        _tell_of_differences(reader, theirs, metadata)
    if old["width"] < new["width"]:
        try:
            trained = _widened(trained, theirs, new["width"])
        except ValueError as error:
            raise ValueError(
                f"init.checkpoint {reader}: model.width {new['width']}: {error}; "
                f"--config.model.width={old['width']} leaves it as it is"
            ) from error
    return trained, theirs


def _tell_of_differences(reader: str, theirs: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Prints how a reader to start from differs from the new network."""
    old, new = theirs["network"], metadata["network"]
    if old["width"] < new["width"]:
        print(
            f"{reader}: is widened to {new['width']} of the paper's channels; "
            f"--config.model.width={old['width']} leaves it as it is"
        )
    if old["num_characters"] < new["num_characters"]:
        print(
            f"{reader}: learned at most {old['num_characters']} characters, and places beyond "
            f"start untrained: --config.num_characters={old['num_characters']} if no plate has more"
        )
    if old["num_characters"] > new["num_characters"]:
        print(
            f"{reader}: learned up to {old['num_characters']} characters, of which the first "
            f"{new['num_characters']} places are kept"
        )
    unknown = "".join(c for c in metadata["charset"] if c not in theirs["charset"])
    if unknown:
        print(f"{reader}: never learned {unknown}, which start untrained")
    lost = "".join(c for c in theirs["charset"] if c not in metadata["charset"])
    if lost:
        print(f"{reader}: knows {lost} too, which the new charset leaves out")
    if tuple(theirs["image_size"]) != tuple(metadata["image_size"]):
        height, width = theirs["image_size"]
        print(f'{reader}: learned at another size: --config.image_size="({height},{width})"')


def load_backbone(path: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Loads variables of a run or a converted ResNet for its backbone, before anything compiles.

    Raises:
      OSError, ValueError: it is missing or damaged, or does not fit; all that differs is named.
    """
    try:
        variables, theirs = checkpoint.load(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"init.backbone: {error}") from error
    old, new = {"width": 1.0} | theirs["network"], metadata["network"]
    flags = _differing(old, new, ("backbone", "width"))
    if flags:
        raise ValueError(f"init.backbone {path}: is of another network: {' '.join(flags)}")
    return variables


def _differing(old: dict[str, Any], new: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Returns the flags that would set a new network's differing fields to an old one's."""
    return [f"--config.model.{name}={old[name]}" for name in names if old[name] != new[name]]


def start_from(
    state: TrainState,
    start: tuple[dict[str, Any], dict[str, Any]] | None,
    backbone: dict[str, Any] | None,
    metadata: dict[str, Any],
) -> TrainState:
    """Returns the first state with the weights of other runs, in the shardings of `state`.

    All processes take the first one's weights.

    Args:
      state: of the new network, just initialised.
      start: from `load_start`, or None.
      backbone: from `load_backbone`, of which `backbone/context_path` is taken; or None.
      metadata: of the new network.

    Raises:
      ValueError: one of them does not fit; all that differs is named.
    """
    variables = jax.device_get(state.variables)
    if start:
        trained, theirs = start
        charsets = Charset(theirs["charset"]), Charset(metadata["charset"])
        variables = weights.adapt(trained, variables, *charsets)
    if backbone:
        variables = weights.graft(variables, backbone, "backbone/context_path")
    # From the host, as a process cannot move its device's arrays to others' devices. From the first
    # process, as others may have another file, or random weights with other rounding errors.
    variables = multihost.of_the_first(jax.device_get(variables))
    variables = jax.tree.map(
        lambda x, fresh: jax.make_array_from_callback(x.shape, fresh.sharding, lambda i: x[i]),
        variables,
        state.variables,
    )
    averaged = None if state.averaged is None else jax.tree.map(jnp.copy, variables)
    return state.replace(variables=variables, averaged=averaged)


def _widened(variables: dict[str, Any], metadata: dict[str, Any], width: float) -> dict[str, Any]:
    """Widens the variables of a reader."""
    init = jax.jit(HPANet(**metadata["network"] | {"width": width}).init)
    fresh = init(jax.random.key(0, impl="rbg"), jnp.zeros((1, *metadata["image_size"], 3)))
    return weights.widen(variables, fresh)

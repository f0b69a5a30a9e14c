"""Orbax checkpoints: everything that training and reading need, in one directory per step.

A checkpoint holds three items: `variables` (parameters and batch statistics), `optimizer`, and
`metadata` (JSON: network arguments, charset, image size, plate styles). Reading needs `variables`
and `metadata`; only training writes `optimizer`.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from hpa_jax import machine, multihost
from hpa_jax.charset import Charset
from hpa_jax.models.hpa import HPANet

FORMAT = 1  # of the metadata; readers refuse any other


def open_manager(workdir: str | pathlib.Path, keep: int = 1) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run for writing; keeps the `keep` latest and the most accurate.

    Raises:
      ValueError: a checkpoint's accuracy cannot be read, or the path has a `[`.
    """
    directory = _directory(workdir)
    if "[" in str(directory):  # which Orbax takes for a pattern
        raise ValueError(f"{directory}: must have no [ in its path: Orbax would save no weights")
    policy = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(
                get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(preservation_policy=policy, best_fn=_accuracy)
    return _manager(directory, options=options)


def _manager(directory: pathlib.Path, **options: Any) -> ocp.CheckpointManager:
    try:
        return ocp.CheckpointManager(directory, **options)
    except ValueError as error:  # Orbax reads all accuracies, and does not name the damaged one
        raise ValueError(
            f"{directory}: a checkpoint in it is damaged, most likely by a truncated file "
            f"STEP/metrics/metrics ({error}): remove that STEP"
        ) from error


def latest_step(manager: ocp.CheckpointManager) -> int | None:
    """Returns the latest checkpoint's step, or None; all processes of a run call this together.

    Raises:
      ValueError: they see different latest steps.
    """
    step = manager.latest_step()
    multihost.agree(
        -1 if step is None else step,
        f"{manager.directory}: the processes see different latest checkpoints, this one {step}: "
        "the workdir must be one folder that all processes share",
    )
    return step


def _accuracy(metrics: dict[str, float]) -> float:
    return metrics["accuracy"]


def _directory(workdir: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(workdir).absolute() / "checkpoints"


def save(
    manager: ocp.CheckpointManager,
    step: int,
    variables: Any,
    optimizer: Any | None,
    metadata: dict[str, Any],
    accuracy: float | None = None,
) -> None:
    """Saves a checkpoint in the background; `manager.wait_until_finished()` waits for it.

    Args:
      manager: from `open_manager`.
      step: names the checkpoint.
      variables: {'params': …, 'batch_stats': …}.
      optimizer: the optimiser's state, or None where nothing was trained.
      metadata: what `hpa_jax.recognize` needs to rebuild the network; JSON types.
      accuracy: on the evaluation plates, in [0, 1], if it was measured at this step.
    """
    items = {
        "variables": ocp.args.StandardSave(variables),
        "metadata": ocp.args.JsonSave({"format": FORMAT} | metadata),
    }
    if optimizer is not None:
        items["optimizer"] = ocp.args.StandardSave(optimizer)
    manager.save(
        step,
        args=ocp.args.Composite(**items),
        metrics=None if accuracy is None else {"accuracy": accuracy},
        force=True,
    )


def restore(
    manager: ocp.CheckpointManager, step: int, variables: Any, optimizer: Any
) -> tuple[Any, Any]:
    """Restores variables and optimiser in the shapes, types and shardings of the given trees."""
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, (variables, optimizer))
    restored = manager.restore(
        step,
        args=ocp.args.Composite(
            variables=ocp.args.StandardRestore(abstract[0]),
            optimizer=ocp.args.StandardRestore(abstract[1]),
        ),
    )
    return restored["variables"], restored["optimizer"]


def read_metadata(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Returns the metadata of one checkpoint.

    Raises:
      ValueError: it is damaged, or has another format than this version reads.
    """
    with _explained(manager, step):
        args = ocp.args.Composite(metadata=ocp.args.JsonRestore())
        metadata = dict(manager.restore(step, args=args)["metadata"])
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint {manager.directory}/{step} has format {metadata.get('format')!r}: this "
            f"version of hpa_jax reads format {FORMAT}; read it with the version that wrote it"
        )
    return metadata


def split_step(path: pathlib.Path) -> tuple[pathlib.Path, int | None]:
    """Splits RUN/checkpoints/STEP into the run and the step; the step is None if not given."""
    if path.parent.name == "checkpoints" and path.name.isdecimal():
        return path.parents[1], int(path.name)
    return path.parent if path.name == "checkpoints" else path, None


def open_for_reading(path: str | pathlib.Path) -> tuple[ocp.CheckpointManager, int]:
    """Opens a run's directory; returns its manager and its most accurate (else latest) step.

    If `path` is RUN/checkpoints/STEP, returns that step.

    Raises:
      FileNotFoundError: there is no checkpoint at or below `path`.
      OSError: as `machine.backend`.
      ValueError: a checkpoint's accuracy cannot be read.
    """
    run, wanted = split_step(pathlib.Path(path).absolute())
    directory = _directory(run)
    step = None
    if directory.is_dir():
        machine.backend()  # Orbax needs it too, but its own error explains nothing
        with _without_warnings():  # that the directory is read-only, as intended
            manager = _manager(
                directory,
                options=ocp.CheckpointManagerOptions(read_only=True, best_fn=_accuracy),
                item_handlers={
                    "variables": ocp.StandardCheckpointHandler(),
                    "optimizer": ocp.StandardCheckpointHandler(),
                    "metadata": ocp.JsonCheckpointHandler(),
                },
            )
        choices = (manager.best_step(), manager.latest_step()) if wanted is None else (wanted,)
        step = next((choice for choice in choices if choice in manager.all_steps()), None)
    if step is None:
        raise FileNotFoundError(
            f"no checkpoint below {path}: give the --workdir of a training run, which holds a "
            "folder 'checkpoints'"
        )
    return manager, step


def load(path: str | pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads variables and metadata of a run's most accurate (else latest) checkpoint, or a step's.

    The variables are on the first local device.

    Raises:
      FileNotFoundError: there is no checkpoint below `path`.
      ValueError: the checkpoint is damaged or of another format.
    """
    manager, step = open_for_reading(path)
    metadata = read_metadata(manager, step)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with _explained(manager, step):
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
            manager.item_metadata(step)["variables"],
        )
        args = ocp.args.Composite(variables=ocp.args.StandardRestore(abstract))
        return manager.restore(step, args=args)["variables"], metadata


def make_metadata(
    model: HPANet, charset: Charset, image_size: tuple[int, int], styles: Sequence[str]
) -> dict[str, Any]:
    """Returns what a reader needs to rebuild the network around its variables; JSON types."""
    network = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("parent", "name")
    }
    return {
        "network": network | {"dtype": jnp.dtype(model.dtype).name},
        "charset": charset.characters,
        "image_size": list(image_size),
        "styles": list(styles),
    }


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity(min(before, logging.ERROR))
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def _explained(manager: ocp.CheckpointManager, step: int) -> Iterator[None]:
    """Turns whatever the libraries raise on a damaged checkpoint into one error that names it."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"checkpoint {manager.directory}/{step} cannot be restored: it is damaged or "
            f"incomplete ({type(error).__name__}: {str(error).partition(chr(10))[0]}); remove that "
            "folder to use the checkpoint before it"
        ) from error

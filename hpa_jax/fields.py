"""Checks the fields of a config, so that a wrong one is named before any work starts."""

import math
from collections.abc import Callable

import ml_collections
from flax import traverse_util

# What numbers must be; some fields of `data` exist only in configs that render or that read files.
NUMBERS: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    (
        "batch_size num_steps log_every eval_every eval_size keep_checkpoints",
        lambda x: x >= 1,
        "must be at least 1",
    ),
    ("model.width optimizer.eps", lambda x: 0 < x < math.inf, "must be finite and more than 0"),
    (
        "loss.semantic loss.position loss.character optimizer.learning_rate "
        "optimizer.warmup_steps optimizer.weight_decay "
        "data.workers data.margin data.augment data.realism data.loose data.tilt",
        lambda x: 0 <= x < math.inf,
        "must be finite and not negative",
    ),
    ("optimizer.decay optimizer.momentum", lambda x: 0 <= x < 1, "must be from 0 to less than 1"),
    ("ema", lambda x: 0 <= x < 1, "is a decay, from 0 to less than 1"),
    ("data.jitter data.cut", lambda x: 0 <= x <= 1, "is a share, from 0 to 1"),
    ("seed", lambda x: 0 <= x < 2**31, f"must be from 0 to {2**31 - 1}"),
)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses wrong fields that would otherwise fail later, without being named.

    Raises:
      ValueError: a field is wrong; it is named.
    """
    if config.model.dtype not in ("float32", "bfloat16"):
        raise ValueError(f"model.dtype {config.model.dtype!r}: must be 'float32' or 'bfloat16'")
    fields = traverse_util.flatten_dict(config.to_dict(), sep=".")
    for names, right, says in NUMBERS:
        for name in names.split():
            if name in fields and not right(fields[name]):
                raise ValueError(f"{name} {fields[name]}: {says}")
    size = config.image_size
    if (
        not isinstance(size, tuple | list)
        or len(size) != 2
        or not all(isinstance(n, int) and n >= 16 for n in size)
    ):
        raise ValueError(
            f"image_size {size}: must be height and width in pixels, at least 16, as (50,160)"
        )
    # Without attention there is no position network for LP to train.
    terms = [name for name in config.loss if name != "position" or config.model.attention]
    if not any(config.loss[term] for term in terms):
        raise ValueError(f"loss: {', '.join(terms)} are all 0: nothing to train for")
    for name, kind in (("styles", str), ("fonts", str), ("weights", int | float)):
        if not all(isinstance(item, kind) for item in config.data[name]):
            raise ValueError(f"data.{name} {tuple(config.data[name])}: has an item of a wrong type")

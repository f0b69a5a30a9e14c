"""RMSProp as PyTorch computes it, and learning-rate schedules by name."""

import optax

SCHEDULES = ("constant", "cosine")


def make_schedule(
    name: str, learning_rate: float, num_steps: int, warmup_steps: int = 0
) -> optax.Schedule:
    """A learning-rate schedule: 'constant', or 'cosine' down to 0; both after linear warm-up.

    Raises:
      ValueError: the name is unknown, or the warm-up is not shorter than the run.
    """
    if name not in SCHEDULES:
        raise ValueError(f"optimizer.schedule {name!r}: must be one of {', '.join(SCHEDULES)}")
    if not 0 <= warmup_steps < num_steps:
        raise ValueError(
            f"optimizer.warmup_steps {warmup_steps}: must be at least 0 and below the run's "
            f"{num_steps} steps"
        )
    if name == "constant":
        schedule = optax.constant_schedule(learning_rate)
    else:
        schedule = optax.cosine_decay_schedule(learning_rate, num_steps - warmup_steps)
    warmup = optax.linear_schedule(learning_rate / (warmup_steps + 1), learning_rate, warmup_steps)
    return optax.join_schedules([warmup, schedule], [warmup_steps])


def make_rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    decay: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """RMSProp with the arithmetic and the defaults of `torch.optim.RMSprop` (the paper's choice).

    `optax.rmsprop` differs twice: its epsilon is inside the square root, and it applies the
    learning rate before the momentum. `weight_decay` is PyTorch's, an L2 term in the gradient.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay) if weight_decay else optax.identity(),
        optax.scale_by_rms(decay, eps, eps_in_sqrt=False),
        optax.trace(momentum) if momentum else optax.identity(),
        optax.scale_by_learning_rate(learning_rate),
    )

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hpa_jax import optimizer

START = np.array([1.0, -2.0, 0.5, 3.0, 0.0], np.float32)

# Parameters after 20 steps of torch.optim.RMSprop (PyTorch 2.13, float32, lr=0.01, alpha=0.99,
# eps=1e-8) with the gradients below: weight decay, momentum, decaying rate -> parameters.
RECORDED = [
    (0.0, 0.0, False, [0.941551208, -2.07783294, 0.428574741, 2.95107961, 0.0773956776]),
    (0.0, 0.9, True, [0.693991065, -2.38175082, 0.128746018, 2.67047787, 0.383957535]),
    (0.01, 0.9, True, [-0.336207867, 0.0613527, 0.0752902478, 2.5649085, 0.383210272]),
]


def gradient(step):
    """From 1e-3 to 10 in size, so that epsilon and the running square both matter."""
    return np.array([np.sin(3 * step + i) * 10.0 ** (i - 3) for i in range(5)], np.float32)


def run(tx):
    params, state = jnp.asarray(START), tx.init(jnp.asarray(START))
    for step in range(20):
        updates, state = tx.update(jnp.asarray(gradient(step)), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(("weight_decay", "momentum", "decaying", "expected"), RECORDED)
def test_rmsprop_follows_torch(weight_decay, momentum, decaying, expected):
    rate = optax.linear_schedule(0.01, 0.0, 20) if decaying else 0.01
    tx = optimizer.make_rmsprop(rate, momentum=momentum, weight_decay=weight_decay)
    np.testing.assert_allclose(run(tx), expected, atol=1e-6, rtol=0)


def test_schedules():
    constant = optimizer.make_schedule("constant", 0.1, num_steps=100, warmup_steps=9)
    cosine = optimizer.make_schedule("cosine", 0.1, num_steps=100, warmup_steps=10)
    rates = jax.vmap(cosine)(jnp.arange(101))
    np.testing.assert_allclose(constant(0), 0.01, rtol=1e-6)
    np.testing.assert_allclose([constant(9), constant(99)], 0.1, rtol=1e-6)
    assert rates.argmax() == 10
    np.testing.assert_allclose([rates[55], rates[100]], [0.05, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("step", 0.1, 10), "constant, cosine"), (("cosine", 0.1, 10, 10), "warmup_steps 10")],
)
def test_wrong_schedules_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizer.make_schedule(*arguments)

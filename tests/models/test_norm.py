"""Batch norm, held against Flax's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax.models import norm


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # two ways to compute the same
# Eight rows at a time, or not.
@pytest.mark.parametrize("shape", [(8, 5, 7, 3), (6, 5, 7, 3), (6, 3)])
def test_batch_norm_is_that_of_flax(shape, backend, monkeypatch):
    """Values, gradients and running statistics, in training as in reading."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    rng = np.random.default_rng(0)
    x, weights = rng.normal(3, 2, (2, *shape)).astype(np.float32)
    ours = norm.BatchNorm(jnp.float32)
    theirs = nn.BatchNorm(momentum=0.9, epsilon=1e-5)
    fresh = theirs.init(jax.random.key(0), x, use_running_average=False)
    jax.tree.map(np.testing.assert_array_equal, ours.init(jax.random.key(0), x, False), fresh)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), fresh
    )

    def run(module, reading):
        def total(params, x):
            y, updates = module.apply(
                variables | {"params": params}, x, use_running_average=reading, mutable=True
            )
            return (y * weights).sum(), (y, updates["batch_stats"])

        graded = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
        return jax.jit(graded)(variables["params"], x)

    for reading in (False, True):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
            run(ours, reading),
            run(theirs, reading),
        )


def test_second_derivatives_are_those_of_flax():
    """As gradient penalties take them, and products with a Hessian."""
    x, weights, along = np.random.default_rng(0).normal(1, 2, (3, 8, 5, 7, 3)).astype(np.float32)
    modules = norm.BatchNorm(jnp.float32), nn.BatchNorm(momentum=0.9, epsilon=1e-5)
    variables = modules[1].init(jax.random.key(0), x, use_running_average=False)

    def products(module):
        def total(x):
            y, _ = module.apply(variables, x, use_running_average=False, mutable=True)
            return (jnp.sin(y) * weights).sum()

        slope = jax.grad(total)
        return jax.grad(lambda x: (slope(x) * along).sum())(x), jax.jvp(slope, (x,), (along,))[1]

    ours, theirs = jax.jit(lambda: [*map(products, modules)])()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)

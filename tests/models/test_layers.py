"""What the layers ask of the compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax import machine
from hpa_jax.models import layers


def test_widths_are_rounded_to_eights():
    """Or runs of other widths would no longer fit the network that they are read into."""
    widths = [layers.scaled(1000, width) for width in (0.75, 0.25, 0.125, 0.001)]
    assert widths == [752, 248, 128, 8]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere nothing is asked")
def test_what_is_materialised_stays_apart():
    """Not fused with what follows: a training step on a CPU is faster for it."""
    function = jax.jit(
        lambda x: layers.materialised(x * 2) + 1, compiler_options=machine.compiler_options()
    )
    assert "opt-barrier" in function.lower(jnp.ones((64, 64))).compile().as_text()


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # two ways to compute the same
@pytest.mark.parametrize("shape", [(4, 6, 5), (3, 5), (5,)])  # eight rows at a time, or not
def test_sum_rows_is_the_sum_of_the_rows(shape, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    a, b = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    total = layers.sum_rows(jnp.multiply, a, b)
    np.testing.assert_allclose(total, (a * b).reshape(-1, 5).sum(axis=0), rtol=1e-5)

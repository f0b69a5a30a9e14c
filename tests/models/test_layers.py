"""What the layers ask of the compiler."""

import jax
import jax.numpy as jnp
import pytest

from hpa_jax import machine
from hpa_jax.models import layers


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere nothing is asked")
def test_what_is_materialised_stays_apart():
    """Not fused with what follows: a training step on a CPU is faster for it."""
    function = jax.jit(
        lambda x: layers.materialised(x * 2) + 1, compiler_options=machine.compiler_options()
    )
    assert "opt-barrier" in function.lower(jnp.ones((64, 64))).compile().as_text()

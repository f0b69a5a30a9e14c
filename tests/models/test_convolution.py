"""Convolutions on a CPU equal plain ones, and take the fast form where it pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax.models import convolution, layers, winograd

ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="only CPUs take another form")


def plain(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize("size", [(7, 20), (6, 10), (13, 3), (1, 2)])
def test_winograd_is_the_plain_convolution(size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 16)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 16, 12)).astype(np.float32)
    weights = rng.normal(size=(2, *size, 12)).astype(np.float32)

    def value_and_gradients(convolve):
        def total(x, kernel):
            y = convolve(x, kernel)
            return (y * weights).sum(), y

        gradients, y = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(x, kernel)
        return y, *gradients

    results = value_and_gradients(winograd.convolve), value_and_gradients(plain)
    for a, b in zip(*results, strict=True):
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def is_plain(x, kernel, stride=1):
    """Whether a convolution is traced as one."""
    return "conv_general_dilated" in str(
        jax.make_jaxpr(lambda *arrays: convolution.conv(*arrays, stride))(x, kernel)
    )


@ON_CPU
def test_only_wide_convolutions_of_many_places_take_the_fast_form():
    x, kernel = jnp.ones((32, 7, 20, 128)), jnp.ones((3, 3, 128, 128))
    assert not is_plain(x, kernel)
    assert is_plain(x[:1], kernel)
    assert is_plain(x, kernel[..., :8])
    assert is_plain(x, kernel, stride=2)
    assert is_plain(x, kernel[:1, :1])


@ON_CPU
def test_the_fast_form_is_left_out_where_it_costs_accuracy_or_time():
    """Its differences are too coarse for bfloat16, and other devices have fast convolutions."""
    x, kernel = jnp.ones((32, 7, 20, 128)), jnp.ones((3, 3, 128, 128))
    assert is_plain(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    with layers.for_any_device():
        assert is_plain(x, kernel)

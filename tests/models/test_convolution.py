"""Convolutions on a CPU equal plain ones, and take the fast form where it pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax.models import convolution, layers, winograd


def plain(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def value_and_gradients(convolve, x, kernel, weights):
    def total(x, kernel):
        y = convolve(x, kernel)
        return (y * weights).sum(), y

    gradients, y = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(x, kernel)
    return y, *gradients


def assert_equal_plain(convolve, size, channels, tolerance):
    rng = np.random.default_rng(0)
    shapes = (8, *size, channels[0]), (3, 3, *channels), (8, *size, channels[1])
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    results = (value_and_gradients(form, *arrays) for form in (convolve, plain))
    for a, b in zip(*results, strict=True):
        assert np.abs(a - b).max() < tolerance * np.abs(b).max()


@pytest.mark.parametrize("size", [(7, 20), (6, 10), (13, 3), (1, 2)])
def test_winograd_is_the_plain_convolution(size):
    assert_equal_plain(winograd.convolve, size, (16, 12), 1e-5)


def test_the_fast_form_of_the_paper_s_fusion_is_exact():
    """To 4e-6, for which the points are chosen: the usual ones would give 1e-5."""
    assert not is_plain((8, 7, 20, 256), (3, 3, 256, 128))
    assert_equal_plain(convolution.conv, (7, 20), (256, 128), 4e-6)


def is_plain(x, kernel, stride=1, dtype=jnp.float32):
    """Whether a convolution of these shapes is traced as one."""
    arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape in (x, kernel)]
    traced = jax.make_jaxpr(lambda *arrays: convolution.conv(*arrays, stride))(*arrays)
    return "conv_general_dilated" in str(traced)


@pytest.mark.parametrize(
    ("x", "channels", "expected"),
    [
        ((32, 4, 10), (256, 256), False),  # the third stage of a ResNet, in a training step
        ((32, 2, 5), (512, 512), True),  # the fourth
        ((32, 13, 40), (64, 64), True),  # the first
        ((32, 7, 20), (512, 35), False),  # the semantic network's second convolution
        ((32, 7, 20), (256, 7), True),  # the position network's
        ((1, 7, 20), (256, 512), True),  # one plate
    ],
)
def test_the_fast_form_is_taken_where_it_was_measured_to_pay(x, channels, expected):
    assert is_plain((*x, channels[0]), (3, 3, *channels)) == expected


def test_the_fast_form_is_for_square_kernels_of_three_with_stride_one():
    x = (32, 7, 20, 128)
    assert is_plain(x, (3, 3, 128, 128), stride=2)
    assert is_plain(x, (1, 1, 128, 128))


def test_the_fast_form_is_left_out_where_it_costs_accuracy_or_time():
    """Its differences are too coarse for bfloat16, and other devices have fast convolutions."""
    shapes = (32, 7, 20, 128), (3, 3, 128, 128)
    assert is_plain(*shapes, dtype=jnp.bfloat16)
    with layers.for_any_device():
        assert is_plain(*shapes)


def test_types_that_do_not_fit_are_refused_in_batches_of_any_size():
    kernel = jnp.ones((3, 3, 128, 128))
    for batch in (1, 32):
        with pytest.raises(TypeError):
            convolution.conv(jnp.ones((batch, 7, 20, 128), jnp.int32), kernel)


def test_a_network_of_ones_own_can_be_exported_for_any_batch():
    shape = jax.export.symbolic_shape("b, 7, 20, 128")
    kernel = jnp.ones((3, 3, 128, 128))
    exported = jax.export.export(jax.jit(lambda x: convolution.conv(x, kernel)))(
        jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    assert exported.call(jnp.ones((2, 7, 20, 128))).shape == (2, 7, 20, 128)

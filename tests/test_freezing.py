"""Freezing by pattern: gradients, optimiser and batch statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hpa_jax import HPANet, freezing
from hpa_jax.models import bisenet
from tests import networks

IMAGES = np.random.default_rng(0).random((2, 16, 48, 3), np.float32)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_freeze_is_an_optax_mask_by_pattern():
    params = networks.random_variables(HPANet(width=0.125), (50, 160))["params"]
    patterns = ("backbone", "semantic_network/gate?", "*/fusion_bn")
    mask = freezing.frozen_mask(params, (pattern for pattern in patterns))
    assert mask["backbone"]["context_path"]["conv1"]["kernel"]
    assert (
        mask["semantic_network"]["gate1"]["bias"] and mask["position_network"]["fusion_bn"]["bias"]
    )
    assert (
        not mask["semantic_network"]["output"]["bias"] and not mask["classifier"]["dense"]["bias"]
    )
    tx = freezing.freeze(optax.chain(optax.add_decayed_weights(0.1), optax.sgd(1.0)), patterns)
    ones = jax.tree.map(np.ones_like, params)
    updates, _ = jax.device_get(jax.jit(tx.update)(ones, tx.init(params), params))
    moved = jax.tree.map(np.all, updates)
    assert moved == jax.tree.map(lambda frozen: not frozen, mask)
    with pytest.raises(ValueError, match="freeze 'backbnoe': covers nothing.*backbone"):
        freezing.frozen_mask(params, ["backbnoe"])
    with pytest.raises(ValueError, match="covers nothing; backbone has .*, context_path, "):
        freezing.frozen_mask(params, ["backbone/contextpath"])
    with pytest.raises(ValueError, match="covers nothing; the network has backbone, "):
        freezing.frozen_mask(params, ["*/contextpath"])


class TwoBlocks(nn.Module):
    """A small stand-in for the network: what is frozen goes by a module's path alone."""

    @nn.compact
    def __call__(self, x, train):
        first = bisenet.ConvBlock(4, name="first")(x, train)
        return first, bisenet.ConvBlock(4, name="second")(first, train)


def test_frozen_statistics_are_used_and_kept():
    model = TwoBlocks()
    variables = jax.jit(model.init, static_argnums=2)(jax.random.key(0), IMAGES, False)
    old = variables["batch_stats"]
    read = model.apply(variables, IMAGES, False)
    with freezing.frozen_statistics(name for name in ["first"]):
        (first, second), state = model.apply(variables, IMAGES, True, mutable=["batch_stats"])
    np.testing.assert_array_equal(first, read[0])
    assert_equal(state["batch_stats"]["first"], old["first"])
    assert np.abs(second - read[1]).max() > 0.01
    assert (state["batch_stats"]["second"]["bn"]["mean"] != old["second"]["bn"]["mean"]).all()


def test_statistics_of_flax_batch_norms_are_frozen_too():
    norm = nn.BatchNorm(use_running_average=False)
    images = np.random.default_rng(0).normal(3, 2, (8, 4)).astype(np.float32)
    variables = norm.init(jax.random.key(0), images)
    with freezing.frozen_statistics(["mean"]):  # the module itself is the root
        _, updates = norm.apply(variables, images, mutable=["batch_stats"])
    assert_equal(updates["batch_stats"], variables["batch_stats"])


def test_patterns_are_lists():
    params = {"backbone": {"kernel": np.zeros(1)}}
    for call in (freezing.frozen_mask, freezing.stop_gradients):
        with pytest.raises(ValueError, match=r"must be a list, \['backbone'\]"):
            call(params, "backbone")
    with pytest.raises(ValueError, match=r"must be a list, \['backbone'\]"):
        freezing.frozen_statistics("backbone")


def test_no_gradient_goes_through_what_is_frozen():
    def loss(params):
        return sum(x.sum() for x in jax.tree.leaves(freezing.stop_gradients(params, ["first"])))

    gradient = jax.grad(loss)({"first": jnp.ones(2), "second": jnp.ones(2)})
    assert_equal(gradient, {"first": np.zeros(2), "second": np.ones(2)})

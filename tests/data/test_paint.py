"""What is painted on a plate and around it: each part is seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax.charset import GREECE
from hpa_jax.data import paint, synthetic, warp
from hpa_jax.data.draws import Draws
from hpa_jax.data.layouts import compile_layouts
from hpa_jax.data.styles import STYLES

X, Y = warp.pixel_grid((40, 128))
X, Y = 5 * X - 2.5, 1.2 * Y - 0.6  # the plate and some of what is around it
KEYS = jax.random.split(jax.random.key(0), 32)


def scenes():
    style = dataclasses.replace(STYLES["greece"], stickers=0.5)
    layouts, _ = compile_layouts([style], GREECE, 7, ["font"], None)
    layout = jax.tree.map(lambda table: jnp.asarray(table[0]), layouts)
    ink = (jnp.abs(X) < 1) & (jnp.abs(Y) < 0.25)

    def one(key):
        return paint.plate(Draws(key, 2900), layout, 1.0 * ink, X, Y, jnp.float32(0.03))

    return jax.device_get(jax.jit(jax.vmap(one))(KEYS))


@pytest.fixture(scope="module")
def whole():
    return scenes()


@pytest.mark.parametrize(
    "part",
    ["_border", "_signs", "_stickers", "_wear", "_gloss", "_frame", "_bolts", "_relief", "_dirt"],
)
def test_every_part_is_seen_on_some_plates(monkeypatch, whole, part):
    original = getattr(paint, part)
    nothing = jnp.ones_like if part == "_wear" else jnp.zeros_like  # _wear says what is left
    monkeypatch.setattr(paint, part, lambda *args: jax.tree.map(nothing, original(*args)))
    assert np.abs(whole - scenes()).max() > 0.05


def test_writing_stands_a_little_elsewhere_on_each_plate():
    def moved(strength):
        def one(key):
            x, y = synthetic._loosen(Draws(key, 256, strength), X, Y)
            return x - X, y - Y

        return jax.device_get(jax.vmap(one)(KEYS))

    for along in moved(1.0):
        assert along.std(axis=0).max() > 0.01 and np.abs(along).max() < 0.5
    assert not np.any(moved(0.0))

"""Random numbers: how they spread, and what strength does to them."""

import jax
import numpy as np
import pytest

from hpa_jax.data.draws import Draws


def test_numbers_spread_as_they_say():
    draws, many = Draws(jax.random.key(0), 20_000), (4_000,)
    low, spread, high = np.quantile(draws.spread(2.0, many), [0.0, 0.25, 1.0])
    assert (low, high) == (pytest.approx(-2, abs=0.1), pytest.approx(2, abs=0.1))
    assert spread == pytest.approx(np.sqrt(2) - 2, abs=0.05)  # a quarter of a triangle
    assert np.mean(draws.up_to(3.0, many)) == pytest.approx(1.5, abs=0.1)
    assert np.bincount(draws.index(4, many)).min() > 900


@pytest.mark.parametrize(("strength", "happens"), [(0.0, 0.0), (0.5, 0.2), (1.0, 0.4)])
def test_strength_scales_all_but_uniform(strength, happens):
    def deal(key):
        draws = Draws(key, 8, strength)
        return draws.chance(0.4), draws.spread(1.0), draws.up_to(1.0), draws.uniform()

    dealt = jax.vmap(deal)(jax.random.split(jax.random.key(0), 2_000))
    assert np.mean(dealt[0]) == pytest.approx(happens, abs=0.05)
    assert [np.max(numbers) for numbers in dealt[1:]] == pytest.approx(
        [strength, strength, 1.0], abs=0.05
    )


def test_more_numbers_than_were_drawn_are_refused():
    with pytest.raises(ValueError, match="only 3 numbers were drawn"):
        Draws(jax.random.key(0), 3).uniform(shape=(2, 2))

"""Random numbers for many small decisions: one draw from a key, dealt out number by number."""

import math

import jax
import jax.numpy as jnp


class Draws:
    """Deals out `count` uniform numbers that are drawn at once, because many small draws are slow.

    Which number goes where is fixed when a function is traced, so a function that makes its own
    `Draws` from a key is pure. `strength` scales how far results depart from a plain plate: at 0,
    `spread`, `up_to` and `chance` return 0; `uniform` and `index` are not scaled.
    """

    def __init__(self, key: jax.Array, count: int, strength: float = 1.0) -> None:
        self._numbers = jax.random.uniform(key, (count,))
        self._dealt = 0
        self.strength = strength

    def uniform(
        self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()
    ) -> jax.Array:
        """Returns uniform numbers in [low, high)."""
        size = math.prod(shape)
        if self._dealt + size > len(self._numbers):
            raise ValueError(f"Draws: only {len(self._numbers)} numbers were drawn, ask for more")
        dealt = self._numbers[self._dealt : self._dealt + size].reshape(shape)
        self._dealt += size
        return low + (high - low) * dealt

    def up_to(self, amount: float, shape: tuple[int, ...] = ()) -> jax.Array:
        """Returns uniform numbers from 0 to strength × `amount`."""
        return self.strength * self.uniform(0.0, amount, shape)

    def spread(self, amount: float, shape: tuple[int, ...] = ()) -> jax.Array:
        """Returns numbers from -amount to amount, times strength (triangular distribution)."""
        two = self.uniform(-0.5, 0.5, (2, *shape))
        return self.strength * amount * (two[0] + two[1])

    def chance(self, probability: float) -> jax.Array:
        """Returns 1.0 with this probability, times strength, otherwise 0.0."""
        return (self.uniform() < probability * self.strength).astype(jnp.float32)

    def index(self, count: jax.Array | int, shape: tuple[int, ...] = ()) -> jax.Array:
        """Returns whole numbers from 0 to count - 1."""
        return jnp.floor(self.uniform(shape=shape) * count).astype(jnp.int32)

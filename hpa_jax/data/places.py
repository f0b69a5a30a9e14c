"""Which of a few boxes each pixel belongs to, and its place in that box."""

import jax
import jax.numpy as jnp


def pick(index: jax.Array, values: jax.Array) -> jax.Array:
    """Returns `values` (N,) or (N, C) at `index` (H, W), as (H, W) or (C, H, W); unrolled."""
    values = values[..., None, None]
    picked = values[0] * jnp.ones(index.shape, values.dtype)
    for i in range(1, len(values)):
        picked = jnp.where(index == i, values[i], picked)
    return picked


class Places:
    """For each pixel the box that it is in, or else the nearest (in units of each box's size).

    The loops over boxes are unrolled into elementwise operations, which XLA fuses: far cheaper on
    a CPU than gathers or an axis of boxes.

    Attributes:
      index: (H, W) int32, the number of the pixel's box.
    """

    def __init__(self, boxes: jax.Array, x: jax.Array, y: jax.Array) -> None:
        """Takes boxes (N, 4: left, top, right, bottom) and the pixels' coordinates (H, W)."""
        self._boxes, self._x, self._y = boxes, x, y
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        scale = 1 / (boxes[:, 2:] - boxes[:, :2])
        index = jnp.zeros(x.shape, jnp.int32)
        least = jnp.full(x.shape, jnp.inf)
        for i in range(len(boxes)):
            across = jnp.abs((x - middle[i, 0]) * scale[i, 0])
            down = jnp.abs((y - middle[i, 1]) * scale[i, 1])
            beyond = jnp.maximum(across, down)
            index = jnp.where(beyond < least, i, index)
            least = jnp.minimum(beyond, least)
        self.index, self._least = index, least

    def inside(self) -> jax.Array:
        """Returns whether each pixel lies inside its box, (H, W) bool."""
        return self._least < 0.5

    def pick(self, values: jax.Array) -> jax.Array:
        """Returns the entry of `values` (N,) for each pixel's box, (H, W)."""
        return pick(self.index, values)

    def place(self) -> tuple[jax.Array, jax.Array]:
        """Returns each pixel's place in its box, x and y from 0 (left, top) to 1, (H, W) each."""
        start, scale = self._boxes[:, :2], 1 / (self._boxes[:, 2:] - self._boxes[:, :2])
        u = (self._x - self.pick(start[:, 0])) * self.pick(scale[:, 0])
        v = (self._y - self.pick(start[:, 1])) * self.pick(scale[:, 1])
        return u, v

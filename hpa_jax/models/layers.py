"""The basic layers of the paper's networks."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

_FOR_ANY_DEVICE = contextvars.ContextVar("for_any_device", default=False)


@contextlib.contextmanager
def for_any_device() -> Iterator[None]:
    """A context that traces code without CPU-only optimisations, because it may run elsewhere."""
    token = _FOR_ANY_DEVICE.set(True)
    try:
        yield
    finally:
        _FOR_ANY_DEVICE.reset(token)


def on_cpu() -> bool:
    """Whether the code traced now is optimised for a CPU."""
    return jax.default_backend() == "cpu" and not _FOR_ANY_DEVICE.get()


def scaled(channels: int, width: float) -> int:
    """Channel count times the width multiplier, in steps of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def materialised(x: jax.Array) -> jax.Array:
    """Returns `x`, on a CPU computed once and stored if `machine.compiler_options` are used.

    Else XLA computes the input of a convolution again in each loop that transposes it for the
    gradients, and there against the order of memory.
    """
    return jax.lax.optimization_barrier(x) if on_cpu() else x


def sum_rows(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Sums an element-wise `function` of arrays …×L over all but the last axis: (L,) float32."""
    rows = [x.reshape(-1, x.shape[-1]).astype(jnp.float32) for x in arrays]
    count, length = rows[0].shape
    if on_cpu() and count % 8 == 0:
        # Eight rows at a time in one fused loop: XLA's own sums would first store their terms.
        eights = [x.reshape(-1, 8, length) for x in rows]
        total = materialised(sum(function(*(x[:, i] for x in eights)) for i in range(8)))
    else:
        total = function(*rows)
    return total.sum(axis=0)


def interpolation_matrix(source: int, target: int) -> np.ndarray:
    """The (target, source) matrix of linear interpolation with aligned corners, float32."""
    matrix = np.zeros((target, source), np.float32)
    places = np.linspace(0, source - 1, target)
    lower = np.minimum(places.astype(int), max(source - 2, 0))
    rows = np.arange(target)
    matrix[rows, lower] = 1 - (places - lower)
    if source > 1:
        matrix[rows, lower + 1] = places - lower
    return matrix


def apply_matrix(matrix: np.ndarray, x: jax.Array) -> jax.Array:
    """Multiplies a constant matrix (t, s) by x (…, s, n), along memory; returns (…, t, n)."""
    matrix = jnp.asarray(matrix, x.dtype)
    return jnp.matmul(jnp.broadcast_to(matrix, (*x.shape[:-2], *matrix.shape)), x)


def upsample(x_BHWC: jax.Array, size: Sequence[int]) -> jax.Array:
    """Resizes bilinearly to `size` (height, width) with aligned corners; returns B×H×C×W.

    The channels come before the columns so that both matrix products run along memory.
    """
    batch, height, width, channels = x_BHWC.shape
    columns = jnp.asarray(interpolation_matrix(width, size[1]).T, x_BHWC.dtype)
    x_BHN = (x_BHWC.swapaxes(2, 3).reshape(-1, width) @ columns).reshape(batch, height, -1)
    x_BHN = apply_matrix(interpolation_matrix(height, size[0]), x_BHN)
    return x_BHN.reshape(batch, size[0], channels, size[1])

"""Winograd's minimal filtering: 3×3 convolutions with a quarter of the multiplications, for CPUs.

Outputs are computed in tiles. Along one axis, m outputs are a sum of the products of m + 2 inputs
and the kernel, both transformed: as polynomials are multiplied by their values at m + 2 points
(Winograd 1980; Lavin and Gray 2016). A plain convolution takes 3·m products.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from hpa_jax.models import layers

# By the outputs of a tile; infinity is one more. With these four, results differ from those of a
# plain convolution by 4e-6 of the largest, with the usual 0, ±1, ±2 by 1e-5.
POINTS = {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}


def pays(x_BHWC: jax.Array, kernel: jax.Array) -> bool:
    """Whether `convolve` is faster than a plain convolution on a CPU (benchmarks/README.md).

    It saves products of input with output channels, but transforms each of them, and the kernel
    however few places there are.
    """
    *size, inputs, outputs = kernel.shape
    if size != [3, 3] or kernel.dtype != jnp.float32:
        return False
    many_channels = inputs * outputs > 32 * (inputs + outputs)
    return many_channels and x_BHWC.size >= 600 * inputs


def convolve(x_BHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with a 3×3 kernel, stride 1, padded by 1 on every side: B×H×W×outputs."""
    batch, height, width, channels = x_BHWC.shape
    rows_in, rows_kernel, rows_out = matrices(height)
    columns_in, columns_kernel, columns_out = matrices(width)
    points = len(rows_kernel), len(columns_kernel)
    x = layers.apply_matrix(rows_in, x_BHWC.reshape(batch, height, -1))
    x = layers.apply_matrix(columns_in, x.reshape(batch, -1, width, channels))
    x = x.reshape(batch, points[0], -1, points[1], x.shape[2] // points[1], channels)
    tiles = x.shape[2], x.shape[4]
    x = x.transpose(1, 3, 0, 2, 4, 5).reshape(math.prod(points), -1, channels)
    kernel_matrix = jnp.asarray(np.kron(rows_kernel, columns_kernel), kernel.dtype)
    products = x @ (kernel_matrix @ kernel.reshape(9, -1)).reshape(len(x), channels, -1)
    y = products.reshape(*points, batch, *tiles, -1).transpose(2, 0, 3, 1, 4, 5)
    y = y.reshape(batch, points[0] * tiles[0], points[1] * tiles[1], -1)
    y = layers.apply_matrix(columns_out, y).reshape(batch, y.shape[1], -1)
    return layers.apply_matrix(rows_out, y).reshape(batch, height, width, -1)


def matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the transformations of one axis of `size` places, float32.

    Returns:
      Of the inputs, (points · tiles)×size; of the kernel, points×3; of the products,
      size×(points · tiles), which gives the outputs.
    """
    outputs = 4 if -size % 4 < 2 else 2  # four where at most one is beyond the end
    tiles, points = -(-size // outputs), outputs + 2

    def evaluate(coefficients: int) -> np.ndarray:
        """The matrix from a polynomial's coefficients to its values, at infinity the highest."""
        values = np.vander(POINTS[outputs], coefficients, increasing=True)
        return np.vstack([values, np.eye(coefficients)[-1]])

    padded = np.zeros((points, tiles, tiles * outputs + 2))
    of_products = np.zeros((tiles * outputs, points, tiles))
    for tile in range(tiles):
        start = tile * outputs
        padded[:, tile, start : start + points] = np.linalg.inv(evaluate(points)).T
        of_products[start : start + outputs, :, tile] = evaluate(outputs).T
    of_inputs = padded[:, :, 1 : size + 1].reshape(-1, size)
    parts = of_inputs, evaluate(3), of_products[:size].reshape(size, -1)
    of_inputs, of_kernel, of_products = (part.astype(np.float32) for part in parts)
    return of_inputs, of_kernel, of_products

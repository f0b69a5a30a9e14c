"""Winograd's minimal filtering: 3×3 convolutions with fewer products, for CPUs.

Outputs are computed in tiles. Along one axis, m outputs take products of m + 2 transformed inputs
with the transformed kernel, where a plain convolution takes 3·m: as polynomials are multiplied by
multiplying their values at m + 2 points (Winograd 1980; Lavin and Gray 2016, F(4×4, 3×3) and
F(2×2, 3×3)).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from hpa_jax.models import layers

# For tiles of 2 and of 4 outputs; infinity is one more. With 0, ±3/4 and ±3/2, results differ from
# those of a plain convolution by up to 4e-6 of the largest, with the usual 0, ±1 and ±2 by 1e-5.
POINTS = {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}
# As measured (benchmarks/README.md). Products are saved in proportion to inputs × outputs, and
# transformations paid in proportion to inputs + outputs; the kernel's is paid once a pass.
CHANNELS, PLACES = 32, 600  # it pays with more


def pays(x_BHWC: jax.Array, kernel: jax.Array) -> bool:
    """Whether `convolve` takes these arrays and is faster than a plain convolution on a CPU.

    Under data parallelism the batch is the global one, under `jax.vmap` a single example.
    """
    *size, inputs, outputs = kernel.shape
    if size != [3, 3] or any(map(jax.export.is_symbolic_dim, x_BHWC.shape)):
        return False
    if not x_BHWC.dtype == kernel.dtype == jnp.float32:
        return False
    many_channels = inputs * outputs > CHANNELS * (inputs + outputs)
    return many_channels and math.prod(x_BHWC.shape[:3]) > PLACES


def convolve(x_BHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with a kernel 3×3×C×F, stride 1, padded by 1 on every side: B×H×W×F, float32."""
    batch, height, width, channels = x_BHWC.shape
    features = kernel.shape[-1]
    (rows_in, rows_kernel, rows_out), (columns_in, columns_kernel, columns_out) = (
        transformations(size) for size in (height, width)
    )
    points = len(rows_kernel), len(columns_kernel)
    tiles = len(rows_in) // points[0], len(columns_in) // points[1]
    # The inputs of each tile, transformed: P×N×C, for P points and N tiles of the batch.
    x = layers.apply_matrix(rows_in, x_BHWC.reshape(batch, height, width * channels))
    x = layers.apply_matrix(columns_in, x.reshape(batch, len(rows_in), width, channels))
    x = x.reshape(batch, points[0], tiles[0], points[1], tiles[1], channels)
    x_PNC = x.transpose(1, 3, 0, 2, 4, 5).reshape(-1, batch * math.prod(tiles), channels)
    both = jnp.asarray(np.kron(rows_kernel, columns_kernel), kernel.dtype)
    kernel_PCF = (both @ kernel.reshape(9, -1)).reshape(-1, channels, features)
    y = (x_PNC @ kernel_PCF).reshape(*points, batch, *tiles, features)
    # From points of tiles to places.
    y = y.transpose(2, 0, 3, 1, 4, 5).reshape(batch, len(rows_in), len(columns_in), features)
    y = layers.apply_matrix(columns_out, y).reshape(batch, len(rows_in), width * features)
    return layers.apply_matrix(rows_out, y).reshape(batch, height, width, features)


def transformations(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the transformations of one axis of `size` places, float32.

    Returns:
      Of the inputs, (points · tiles)×size; of the kernel, points×3; and of the products to the
      outputs, size×(points · tiles).
    """
    outputs = 4 if -size % 4 < 2 else 2  # four where at most one is beyond the end
    tiles, points = -(-size // outputs), outputs + 2

    def evaluate(coefficients: int) -> np.ndarray:
        """The matrix from a polynomial's coefficients to its values, at infinity the highest."""
        values = np.vander(POINTS[outputs], coefficients, increasing=True)
        return np.vstack([values, np.eye(coefficients)[-1]])

    # A convolution is the transpose of the product of two polynomials in one of them: hence inputs
    # are interpolated and outputs evaluated, both transposed.
    interpolate = np.linalg.inv(evaluate(points))
    of_inputs = np.zeros((points, tiles, tiles * outputs + 2))
    of_products = np.zeros((tiles * outputs, points, tiles))
    for tile in range(tiles):
        start = tile * outputs
        of_inputs[:, tile, start : start + points] = interpolate.T
        of_products[start : start + outputs, :, tile] = evaluate(outputs).T
    # Padding and what is beyond the end are cut off.
    of_inputs = of_inputs[:, :, 1 : size + 1].reshape(-1, size)
    of_products = of_products[:size].reshape(size, -1)
    return tuple(x.astype(np.float32) for x in (of_inputs, evaluate(3), of_products))

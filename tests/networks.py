"""Networks with random weights, and images that they read differently."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image


def random_variables(model, size, seed=0):
    """Weights and batch statistics far from initialisation's that keep the size of activations."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *size, 3)))
    rng = np.random.default_rng(seed)

    def draw(path, x):
        if path[-1].key == "kernel":
            scale = np.prod(x.shape[-4:-1]) ** -0.5
            return rng.normal(0, scale, x.shape).astype(np.float32)
        values = rng.normal(1, 0.5, x.shape).astype(np.float32)
        return np.abs(values) + np.float32(0.1) if path[-1].key == "var" else values

    return jax.tree_util.tree_map_with_path(draw, shapes)


def smooth_images(count, size, seed=0):
    """Coarse noise, count×H×W×3 uint8: noise of single pixels all reads alike."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 5, 16, 3), np.uint8)
    return np.stack([Image.fromarray(s).resize(size[::-1], 2) for s in small])

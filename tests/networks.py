"""Networks with random weights, images that they read differently, and noise to train on."""

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


def noise_renderer(styles, charset, num_characters, *, image_size, **options):
    """In the place of `synthetic.make_renderer`, which compiles for longer than a training step."""

    def render(key):
        maps = jax.random.randint(key, image_size, 0, num_characters + 1).astype(jnp.uint8)
        return {
            "image": jax.random.randint(key, (*image_size, 3), 0, 256).astype(jnp.uint8),
            "characters": jax.random.randint(key, (num_characters,), 0, len(charset)),
            "semantic": maps,
            "position": maps,
            "has_maps": jnp.array(True),
            "weight": jnp.float32(1),
        }

    return render

"""The paper's metric: the whole plate right or wrong."""

import jax
import jax.numpy as jnp


def plates_right(logits: jax.Array, characters: jax.Array, void_id: int) -> jax.Array:
    """Whether each plate is read without one wrong character (paper, "Experiments").

    Predicted voids are discarded before the comparison, as when reading.

    Args:
      logits: B×Cp×outputs.
      characters: B×Cp int32 class ids, padded with void.
      void_id: the void class id, `Charset.void`.

    Returns:
      B bool.
    """

    def voids_last(ids_BC: jax.Array) -> jax.Array:
        order = jnp.argsort(ids_BC == void_id, axis=-1, stable=True)
        return jnp.take_along_axis(ids_BC, order, axis=-1)

    read = voids_last(logits.argmax(axis=-1).astype(characters.dtype))
    return (read == voids_last(characters)).all(axis=-1)

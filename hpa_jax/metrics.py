"""The paper's metric: the whole plate right or wrong."""

import jax
import jax.numpy as jnp


def plates_right(logits: jax.Array, characters: jax.Array, void_id: int) -> jax.Array:
    """Returns whether each plate is read without a single wrong character (paper, "Experiments").

    Predicted voids are discarded before the comparison, as when reading.

    Args:
      logits: B×Cp×outputs.
      characters: B×Cp int32 class ids, with void after the last character.
      void_id: the void class id, `Charset.void`.

    Returns:
      B bool.
    """
    ids_BC = logits.argmax(axis=-1).astype(characters.dtype)
    voids_last = jnp.argsort(ids_BC == void_id, axis=-1, stable=True)
    read = jnp.take_along_axis(ids_BC, voids_last, axis=-1)
    return (read == characters).all(axis=-1)

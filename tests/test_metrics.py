import jax.numpy as jnp
import numpy as np

from hpa_jax import metrics

VOID = 3


def right(read, truth):
    logits = jnp.eye(VOID + 1)[np.array([read])]
    return bool(metrics.plates_right(logits, jnp.array([truth]), VOID)[0])


def test_one_wrong_character_is_a_wrong_plate():
    assert right([0, 1, 2], [0, 1, 2])
    assert not right([0, 1, 1], [0, 1, 2])


def test_voids_are_discarded_before_comparing():
    assert right([0, VOID, 1], [0, 1, VOID])
    assert not right([0, VOID, VOID], [0, 1, VOID])
    assert not right([1, VOID, 0], [0, 1, VOID])

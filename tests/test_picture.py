"""Pictures of readings show what they say they show."""

import numpy as np

from hpa_jax import picture
from hpa_jax.recognize import Reading


def test_a_failure_shows_plate_semantic_map_and_attention():
    image = np.full((50, 160, 3), 100, np.uint8)
    classes = np.full((7, 20), 34)
    classes[:, 10:] = 3  # the right half shows a character
    reading = Reading("AB", 0.5, (("A", 0.7), ("B", 0.7)), np.ones((2, 7, 20), np.float32))
    row = np.asarray(picture.maps_row(image, reading, "AC", (classes, 34)))
    assert row.shape[1] == 4 * 164
    tiles = [row[:50, 164 * i : 164 * i + 160] for i in range(4)]
    assert (tiles[0] == image).all()
    assert (tiles[1][:, :80] == image[:, :80]).all()
    assert (tiles[1][:, 80:] != image[:, 80:]).any(axis=-1).all()
    assert (tiles[2] == tiles[3]).all()
    assert picture.maps_row(image, reading, "AC").width == 3 * 164

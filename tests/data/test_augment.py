"""Augmentation: picture and maps move together, and each effect does what it says."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax.data import effects, warp
from hpa_jax.data.augment import augment
from hpa_jax.data.draws import Draws

CLASSES, POSITIONS = 34, 6


def run(key, batch, strength=1.0):
    return jax.device_get(jax.jit(lambda k, b: augment(k, b, CLASSES, strength))(key, batch))


def striped_batch(count=8):
    """Plates whose picture shows the position map: each position in a grey of its own."""
    position = np.full((count, 50, 160), POSITIONS, np.uint8)
    for place in range(POSITIONS):
        position[:, 12:40, 10 + 24 * place : 28 + 24 * place] = place
    semantic = np.where(position < POSITIONS, position * 3 + 1, CLASSES).astype(np.uint8)
    return {
        "image": np.repeat((position * 40)[..., None], 3, axis=3),
        "characters": np.tile(np.arange(POSITIONS, dtype=np.int32) * 3 + 1, (count, 1)),
        "semantic": semantic,
        "position": position,
        "has_maps": np.ones(count, bool),
        "weight": np.ones(count, np.float32),
    }


def test_picture_and_maps_move_by_one_homography(monkeypatch):
    monkeypatch.setattr("hpa_jax.data.augment.EFFECTS", 0.0)  # only the geometry
    batch = striped_batch()
    moved = run(jax.random.key(0), batch)
    assert (moved["position"] != batch["position"]).mean() > 0.05
    within = np.abs(moved["image"][..., 0].astype(int) - 40 * moved["position"].astype(int)) < 10
    # Bilinear edges may differ from the nearest neighbour's, insides may not; beyond the picture
    # its edge repeats, which is background here.
    assert within.mean() > 0.9
    expected = np.append(np.arange(POSITIONS) * 3 + 1, CLASSES)[moved["position"]]
    np.testing.assert_array_equal(moved["semantic"], expected)
    shifted = np.roll(moved["image"][..., 0].astype(int), 6, axis=2)
    assert (np.abs(shifted - 40 * moved["position"].astype(int)) < 10).mean() < within.mean() - 0.1


def test_of_some_plates_a_side_is_cut_off():
    batch = striped_batch(64)
    for cut, least, most in ((0.0, 0, 0), (0.3, 2, 15), (1.0, 16, 64)):
        position = jax.device_get(
            jax.jit(lambda b, cut=cut: augment(jax.random.key(0), b, CLASSES, cut=cut)["position"])(
                batch
            )
        )
        reached = (position[:, :, [0, -1]] < POSITIONS).any(axis=(1, 2))  # by a character
        assert least <= reached.sum() <= most


def test_rows_without_maps_keep_background_and_the_rest_is_untouched():
    batch = striped_batch(2)
    batch["semantic"][1], batch["position"][1] = CLASSES, POSITIONS
    batch["has_maps"][1] = False
    out = run(jax.random.key(1), batch)
    assert (out["semantic"][1] == CLASSES).all() and (out["position"][1] == POSITIONS).all()
    again = run(jax.random.key(1), batch)
    jax.tree.map(np.testing.assert_array_equal, out, again)
    assert not np.array_equal(out["image"][0], out["image"][1])
    for key in ("characters", "has_maps", "weight"):
        np.testing.assert_array_equal(out[key], batch[key])
    assert {k: (v.shape, v.dtype) for k, v in out.items()} == {
        k: (v.shape, v.dtype) for k, v in batch.items()
    }


def test_images_from_0_to_1_are_refused():
    batch = striped_batch(2)
    with pytest.raises(ValueError, match="images are float32: must be uint8"):
        run(jax.random.key(0), batch | {"image": batch["image"] / np.float32(255)})


def test_strength_nought_changes_nothing():
    batch = striped_batch(2)
    out = run(jax.random.key(2), batch, strength=0.0)
    np.testing.assert_array_equal(out["position"], batch["position"])
    assert np.abs(out["image"].astype(int) - batch["image"].astype(int)).max() <= 1


def test_a_tpu_augments_in_float32():
    step = jax.jit(lambda key, batch: augment(key, batch, CLASSES))
    lowered = step.trace(jax.random.key(0), striped_batch()).lower(lowering_platforms=("tpu",))
    # In its own bfloat16 pictures would change by up to 19 levels of 255 at strength 0.
    assert set(re.findall(r"precision = \[(\w+)", lowered.as_text())) == {"HIGHEST"}


def test_homography_inverse_and_points():
    h = jnp.array([[1.0, 0.2, 0.1], [-0.1, 0.9, 0.3], [0.05, -0.02, 1.0]])
    np.testing.assert_allclose(warp.inverse(h) @ h, np.eye(3), atol=1e-6)
    x, y = warp.transform(h, jnp.array(0.5), jnp.array(-0.25))
    there = h @ jnp.array([0.5, -0.25, 1.0])
    np.testing.assert_allclose([x, y], there[:2] / there[2], rtol=1e-6)


def test_random_views_are_as_wide_and_as_tilted_as_they_say(monkeypatch):
    monkeypatch.setattr(warp, "view", lambda *args: args[2:])

    def views(cut):
        def one(key):
            return warp.random_view(Draws(key, 64), 1.6, 0.5, 0.5, loose=2.0, tight=0.0, cut=cut)

        return map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 4000)))

    angles, shear, distance, margins = views(0.0)
    np.testing.assert_allclose(np.abs(angles).max(axis=0), [0.3, 0.25, 0.2], rtol=0.1)
    assert np.abs(shear).max() == pytest.approx(0.175, rel=0.1)
    assert (distance.min(), distance.max()) == (pytest.approx(3, 0.1), pytest.approx(9, 0.1))
    assert np.quantile(margins, [0.5, 0.9]) == pytest.approx([2 / 30, 2 / 4], rel=0.2)
    *_, margins = views(1.0)
    assert ((margins < 0).sum(axis=1) == 1).all()
    assert margins.min() == pytest.approx(-0.25, abs=0.01)


def test_the_nearer_end_of_a_turned_rectangle_is_higher():
    heights = []
    for distance in (3.0, 1e6):
        angles = jnp.array([0.5, 0.0, 0.0])
        h = warp.view(1.5, 0.5, angles, jnp.zeros(()), jnp.array(distance), jnp.zeros(4))
        ends = jnp.array([-1.5, 1.5, -1.5, 1.5]), jnp.array([-0.5, -0.5, 0.5, 0.5])
        _, y = warp.transform(warp.inverse(h), *ends)
        heights.append((y[3] - y[1]) / (y[2] - y[0]))
    # Its right end is 1.5 sin 0.5 nearer to the camera, which is 3 half widths away.
    assert heights == pytest.approx([(3 + np.sin(0.5)) / (3 - np.sin(0.5)), 1.0], rel=1e-3)


def test_view_shows_the_whole_rectangle_and_its_margins():
    margins = jnp.array([0.1, 0.2, 0.1, 0.2])
    h = warp.view(1.5, 0.5, jnp.zeros(3), jnp.zeros(()), jnp.array(5.0), margins)
    x, y = warp.transform(h, jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(x, [-1.8, 1.8], rtol=1e-5)
    np.testing.assert_allclose(y, [-0.7, 0.7], rtol=1e-5)


def test_sampling_at_the_pixels_gives_them_back():
    image = jax.random.uniform(jax.random.key(0), (3, 5, 8))
    x, y = warp.pixel_grid((5, 8))
    np.testing.assert_allclose(warp.sample(image, x, y), image, atol=1e-5)
    labels = jnp.arange(40).reshape(5, 8)
    np.testing.assert_array_equal(warp.sample_nearest(labels, x, y, outside=99), labels)
    assert (warp.sample_nearest(labels, x + 1, y, outside=99) == 99).all()


def test_jpeg_rounds_blocks_and_leaves_fine_pictures_alone():
    image = jax.random.uniform(jax.random.key(0), (3, 50, 160))
    np.testing.assert_allclose(effects.jpeg(image, 0.0), image, atol=1e-3)
    coarse = effects.jpeg(image, 50.0)
    grey = np.tensordot(effects.LUMA, coarse, 1)[:48].reshape(6, 8, 20, 8)
    assert grey.std(axis=(1, 3)).max() < 0.02, "at the coarsest, each block is one grey"


def test_jpeg_keeps_brightness_and_shares_colour_between_neighbours():
    image = jax.random.uniform(jax.random.key(0), (3, 50, 160))
    saved = np.asarray(effects.jpeg(image, 1e-3))
    grey, saved_grey = (np.tensordot(effects.LUMA, x, 1) for x in (image, saved))
    np.testing.assert_allclose(saved_grey, grey, atol=2e-2)
    red = (saved[0] - saved_grey).reshape(25, 2, 80, 2)
    assert red.std(axis=(1, 3)).max() < 2e-2
    assert red.std() > 0.1


def test_sensor_noise_has_the_asked_deviation_and_independent_colours():
    noise = effects.sensor_noise(jax.random.key(0), (200, 200), 0.1, 0.0)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=0.002)
    coloured = effects.sensor_noise(jax.random.key(0), (200, 200), 0.1, 1.0)
    assert float((coloured - noise).std()) > 0.03


def test_enlarging_keeps_flat_pictures_and_sharpening_gives_edges_halos():
    step = np.repeat([0.3, 0.6], 20)
    for scale in (0.5, 1.0):
        small = np.full(40, 0.6)  # a small picture repeats its edge
        small[: round(40 * scale)] = step[:: round(1 / scale)]
        plain, sharp = (
            np.asarray(effects.enlarge(40, scale, sharpness)) @ small for sharpness in (0.0, 0.5)
        )
        flat = [x for x in range(40) if abs(x - 19.5) > 3 / scale]
        np.testing.assert_allclose(plain[flat], step[flat], atol=1e-6)
        np.testing.assert_allclose(sharp[flat], step[flat], atol=1e-6)
        assert plain.min() >= 0.3 - 1e-6 and plain.max() <= 0.6 + 1e-6
        assert sharp.min() < 0.2 and sharp.max() > 0.7


def test_plates_are_turned(monkeypatch):
    monkeypatch.setattr("hpa_jax.data.augment.EFFECTS", 0.0)
    position = run(jax.random.key(0), striped_batch(32))["position"]
    tops = [(position == place).any(axis=2).argmax(axis=1) for place in (0, POSITIONS - 1)]
    assert np.abs(np.subtract(*tops)).max() >= 3


@pytest.fixture(scope="module")
def whole():
    return run(jax.random.key(0), striped_batch(4))["image"].astype(int)


@pytest.mark.parametrize("effect", ["light", "tone", "photograph"])
def test_every_effect_is_part_of_it(monkeypatch, whole, effect):
    at, original = 2 if effect == "photograph" else 1, getattr(effects, effect)

    def without(*args):
        original(*args)  # what comes after has the same random numbers
        return args[at]

    monkeypatch.setattr(effects, effect, without)
    assert np.abs(whole - run(jax.random.key(0), striped_batch(4))["image"]).mean() > 1


@pytest.mark.parametrize("part", ["sensor_noise", "jpeg"])
def test_a_sensor_has_noise_and_its_pictures_are_compressed(monkeypatch, part):
    image = jnp.full((3, 48, 160), 0.5).at[:, 20:30, 110:130].set(0.2)

    def photographs():
        def one(key):
            return effects.photograph(Draws(key, 64), key, image)

        return jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 16)))

    whole = photographs()
    without = {"sensor_noise": lambda *_: 0.0, "jpeg": lambda image, _: image}[part]
    monkeypatch.setattr(effects, part, without)
    changed = np.abs(whole - photographs()).max(axis=(1, 2, 3))
    assert (changed > 1e-3).sum() >= 8
    # However few pixels it has, not as many across as down: things stay where they are.
    dark = np.maximum(0.3 - whole.mean(axis=1), 0)
    dark /= dark.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(dark.sum(axis=2) @ np.arange(48), 24.5, atol=1.5)
    np.testing.assert_allclose(dark.sum(axis=1) @ np.arange(160), 119.5, atol=1.5)


def test_blur_spreads_a_pixel_as_wide_as_asked():
    place = np.arange(41) - 20
    sharp, blurred = (np.asarray(effects._reduce(41, 1.0, blur))[20] for blur in (0.0, 2.0))
    variances = [(row * place**2).sum() / row.sum() for row in (sharp, blurred)]
    assert variances[1] - variances[0] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(("roll", "shear"), [(0.1, 0.0), (0.0, 0.2)])
def test_view_turns_and_shears(roll, shear):
    far = jnp.array(1e6)  # no perspective
    h = warp.view(1.5, 0.5, jnp.array([0, 0, roll]), jnp.array(shear), far, jnp.zeros(4))
    x, y = warp.transform(
        warp.inverse(h), jnp.array([-1.5, 1.5, -1.5]), jnp.array([-0.5, -0.5, 0.5])
    )
    width, height = 3 * np.cos(roll) + np.sin(roll) + shear, 3 * np.sin(roll) + np.cos(roll)
    slope = (y[1] - y[0]) * height / ((x[1] - x[0]) * width)
    assert abs(slope) == pytest.approx(np.tan(roll), abs=1e-3)
    lean = (x[2] - x[0]) * width / ((y[2] - y[0]) * height)
    assert abs(lean) == pytest.approx(np.tan(roll) + shear, abs=1e-3)

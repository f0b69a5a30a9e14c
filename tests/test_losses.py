import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hpa_jax import losses
from hpa_jax.models import layers
from hpa_jax.models.hpa import HPAOutput

RNG = np.random.default_rng(0)


def cross_entropy(logits, label):
    return np.log(np.exp(logits).sum()) - logits[label]


ALL = {"semantic": 1.0, "position": 1.0, "character": 1.0}


def make(batch=3, characters=2, classes=4, size=(8, 16)):
    output = HPAOutput(
        logits=jnp.asarray(RNG.normal(size=(batch, characters, classes)), jnp.float32),
        maps=None,
        semantic=jnp.asarray(RNG.normal(size=(batch, 2, 4, classes + 1)), jnp.float32),
        position=jnp.asarray(RNG.normal(size=(batch, 2, 4, characters + 1)), jnp.float32),
    )
    labels = {
        "characters": jnp.asarray(RNG.integers(0, classes, (batch, characters)), jnp.int32),
        "semantic": jnp.asarray(RNG.integers(0, classes + 1, (batch, *size)), jnp.uint8),
        "position": jnp.asarray(RNG.integers(0, characters + 1, (batch, *size)), jnp.uint8),
        "has_maps": jnp.ones(batch, bool),
    }
    return output, labels


def test_character_loss_sums_over_positions():
    output, batch = make()
    logits, ids = np.asarray(output.logits), np.asarray(batch["characters"])
    sums = [sum(map(cross_entropy, *plate)) for plate in zip(logits, ids, strict=True)]
    expected = np.mean(sums)
    np.testing.assert_allclose(losses.character_loss(logits, ids), expected, rtol=1e-5)


def test_map_loss_at_the_corners():
    """Aligned corners: an image's corner pixels see exactly the logits of the map's corners."""
    logits = jnp.asarray(RNG.normal(size=(1, 2, 4, 5)), jnp.float32)
    labels = jnp.zeros((1, 2, 4), jnp.uint8).at[0, 1, 3].set(3)
    expected = np.mean(
        [cross_entropy(np.asarray(logits)[0, y, x], labels[0, y, x]) for y, x in np.ndindex(2, 4)]
    )
    value = losses.map_loss(logits, labels, jnp.ones(1, bool))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # Three times as fine: the new pixels lie on straight lines between the old ones.
    fine = np.asarray(layers.upsample(logits, (4, 10))).swapaxes(2, 3)
    np.testing.assert_allclose(fine[0, ::3, ::3], logits[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        fine[0, 0, 1], (2 * logits[0, 0, 0] + logits[0, 0, 1]) / 3, rtol=1e-5
    )


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # two ways to compute the same
def test_map_loss_and_its_gradient_are_those_of_optax(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    output, batch = make()
    weights_B = jnp.array([0.5, 0.0, 0.5])

    def ours(logits):
        return losses.map_loss(logits, batch["semantic"], weights_B > 0)

    def theirs(logits):
        logits = layers.upsample(logits, batch["semantic"].shape[1:]).swapaxes(2, 3)
        pixels = optax.softmax_cross_entropy_with_integer_labels(logits, batch["semantic"])
        return (pixels.mean(axis=(1, 2)) * weights_B).sum()

    logits = output.semantic * 60  # so that no sum of exponentials is safe
    for a, b in zip(*(jax.jit(jax.value_and_grad(f))(logits) for f in (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_plates_without_maps_add_nothing():
    output, batch = make()
    some = batch | {"has_maps": jnp.array([True, False, True])}
    rows = np.array([0, 2])
    known = jax.tree.map(lambda x: x[rows], (output.semantic, batch["semantic"]))
    expected = losses.map_loss(*known, jnp.ones(2, bool))
    terms = losses.total_loss(output, some, ALL)[1]
    np.testing.assert_allclose(terms["semantic_loss"], expected, rtol=1e-5)

    def map_terms(semantic):
        none = batch | {"has_maps": jnp.zeros(3, bool)}
        return losses.total_loss(output.replace(semantic=semantic), none, ALL)[0]

    gradient = jax.grad(map_terms)(output.semantic)
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize(("alpha1", "alpha2"), [(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (0.0, 0.0)])
def test_total_loss_is_equation_1(alpha1, alpha2):
    output, batch = make()
    given = {"semantic": alpha1, "position": alpha2}
    loss, terms = losses.total_loss(output, batch, given | {"character": 1.0})
    assert ("semantic_loss" in terms, "position_loss" in terms) == (alpha1 > 0, alpha2 > 0)
    expected = (
        terms["character_loss"]
        + alpha1 * terms.get("semantic_loss", 0)
        + alpha2 * terms.get("position_loss", 0)
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    loss, terms = losses.total_loss(output, batch, given)
    assert "character_loss" not in terms
    expected = sum(
        alpha * terms.get(name, 0)
        for name, alpha in (("semantic_loss", alpha1), ("position_loss", alpha2))
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_a_weight_of_no_term_is_refused():
    output, batch = make()
    with pytest.raises(ValueError, match="loss_weights: charcter: must be among character, sem"):
        losses.total_loss(output, batch, {"charcter": 1.0})


def test_a_term_of_ones_own(monkeypatch):
    """By its entry alone: its weight is taken, and it is told by name with the others."""
    output, batch = make()
    monkeypatch.setitem(losses.TERMS, "own", lambda output, batch: output.logits.mean())
    plain = losses.total_loss(output, batch, {"character": 1.0})
    loss, terms = losses.total_loss(output, batch, {"character": 1.0, "own": -2.0})
    np.testing.assert_allclose(terms["own_loss"], output.logits.mean(), rtol=1e-6)
    np.testing.assert_allclose(loss, plain[0] - 2 * terms["own_loss"], rtol=1e-6)
    assert terms.keys() - plain[1].keys() == {"own_loss"}


def test_each_map_is_held_against_its_own_labels():
    output, batch = make()
    terms = losses.total_loss(output, batch, ALL)[1]
    for name in ("semantic", "position"):
        expected = losses.map_loss(getattr(output, name), batch[name], batch["has_maps"])
        np.testing.assert_allclose(terms[f"{name}_loss"], expected, rtol=1e-6)


def test_maps_of_half_precision_are_summed_in_full():
    output, batch = make()
    half = output.semantic.astype(jnp.bfloat16)
    ours, full = (
        losses.map_loss(logits, batch["semantic"], batch["has_maps"])
        for logits in (half, half.astype(jnp.float32))
    )
    assert ours.dtype == jnp.float32
    np.testing.assert_array_equal(ours, full)

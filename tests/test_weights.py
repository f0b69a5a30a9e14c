"""Surgery on variable trees. The networks are tiny; nearly nothing here is compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpa_jax import GREECE, TAIWAN, Charset, HPANet, weights
from tests import networks

NETWORK = {"width": 0.125, "num_characters": 6, "num_classes": 34}
IMAGES = np.random.default_rng(0).random((2, 16, 48, 3), np.float32)


@functools.cache
def random_variables(seed: int = 0, **network):
    return networks.random_variables(HPANet(**NETWORK | network), (50, 160), seed)


@functools.cache
def compiled(**network):
    return jax.jit(HPANet(**NETWORK | network).apply)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("classifier", ["shared", "separate"])
def test_adapt_to_the_same_letters_in_another_order_reads_the_same(classifier):
    """All letters known, all moved: the logits move with them and nothing else changes."""
    reverse = Charset(TAIWAN.characters[::-1])
    network = {"classifier": classifier, "void": True}
    old, fresh = random_variables(0, **network), random_variables(1, **network)
    new = weights.adapt(old, fresh, TAIWAN, reverse)
    before, after = compiled(**network)(old, IMAGES), compiled(**network)(new, IMAGES)
    order = [*range(33, -1, -1), 34]  # void, and in the semantic network background, stay last
    np.testing.assert_allclose(after.logits, before.logits[..., order], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after.semantic, before.semantic[..., order], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after.position, before.position, rtol=1e-3, atol=1e-4)
    assert np.abs(before.logits - before.logits[..., order]).max() > 0.1


def test_adapt_keeps_known_characters_and_positions_and_takes_the_rest_fresh():
    old = random_variables(0)
    network = {"num_classes": len(GREECE), "num_characters": 7, "void": True}
    fresh = random_variables(1, **network)
    before = jax.tree.map(np.copy, (old, fresh))
    new = weights.adapt(old, fresh, TAIWAN, GREECE)
    assert_equal((old, fresh), before)
    dense = [tree["params"]["classifier"]["dense"]["kernel"] for tree in (old, fresh, new)]
    gates = [tree["params"]["semantic_network"]["gate1"]["kernel"] for tree in (old, fresh, new)]
    for character in "0A":  # known to both
        i, j = TAIWAN.characters.index(character), GREECE.characters.index(character)
        np.testing.assert_array_equal(dense[2][:, j], dense[0][:, i])
        assert gates[2][j, -1] == gates[0][i, -1]  # and the background is still the background
    for new_id in (GREECE.characters.index("I"), GREECE.void):  # neither Taiwan's I nor a void
        np.testing.assert_array_equal(dense[2][:, new_id], dense[1][:, new_id])
    bias = [tree["params"]["position_network"]["output"]["bias"] for tree in (old, fresh, new)]
    np.testing.assert_array_equal(bias[2][:6], bias[0][:6])
    assert bias[2][6] == bias[1][6] and bias[2][7] == bias[0][6]
    mean = [tree["batch_stats"]["semantic_bn"]["mean"] for tree in (old, new)]
    assert mean[1][-1] == mean[0][-1]
    assert_equal(new["params"]["backbone"], old["params"]["backbone"])
    assert jax.tree.map(np.shape, new) == jax.tree.map(np.shape, fresh)


def test_adapt_moves_separate_classifiers_with_their_positions():
    network = {"attention": False, "classifier": "separate"}
    old = random_variables(0, **network)
    fresh = random_variables(1, **network, num_characters=4)
    new = weights.adapt(old, fresh, TAIWAN, TAIWAN)
    kernels = [tree["params"]["classifier"]["dense"]["kernel"] for tree in (old, new)]
    np.testing.assert_array_equal(kernels[1], kernels[0][:4])


@pytest.mark.parametrize("classifier", ["shared", "separate"])
def test_widen_reads_the_same_with_copies_that_learn_apart(classifier):
    network = {"classifier": classifier, "void": True}
    old, fresh = random_variables(0, **network), random_variables(1, **network, width=0.25)
    new = weights.widen(old, fresh)
    assert {x.dtype.name for x in jax.tree.leaves(new)} == {"float32"}
    before = compiled(**network)(old, IMAGES)
    after = compiled(**network, width=0.25)(new, IMAGES)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert np.abs(before.logits).max() > 0.1
    first, second = (
        new["params"]["backbone"]["context_path"]["layer1_0"]["conv2"]["kernel"][:, :, i::2]
        for i in (0, 1)
    )
    assert np.abs(first - second).min() > 0  # what reads the copies of a channel tells them apart
    with pytest.raises(ValueError, match="whole multiple of the width"):
        weights.widen(old, random_variables(1, **network, width=0.1875))
    with pytest.raises(ValueError, match="do not fit"):
        weights.widen(old, random_variables(1, **network | {"num_characters": 7}, width=0.25))


@pytest.mark.parametrize("name", ["old", "new"])
def test_adapt_refuses_a_charset_that_is_not_the_networks(name):
    variables = random_variables(0)
    charsets = {"old": TAIWAN, "new": TAIWAN} | {name: GREECE}
    with pytest.raises(ValueError, match=f"{name}: a charset of 24, but its network has 34"):
        weights.adapt(variables, variables, **charsets)


def test_adapt_lists_all_mismatches():
    with pytest.raises(ValueError, match="do not fit") as caught:
        weights.adapt(random_variables(0), random_variables(1, width=0.25), TAIWAN, TAIWAN)
    assert (
        "params/backbone/spatial_path1/conv/kernel: has shape (3, 3, 3, 8), must be (3, 3, 3, 16)"
        in str(caught.value)
    )
    assert "params/classifier/conv/kernel" in str(caught.value)


def test_surgery_drops_nothing_unsaid():
    deep, fresh = random_variables(0, backbone="resnet34"), random_variables(1, width=0.25)
    block = "params/backbone/context_path/layer3_5/conv1/kernel: unknown"
    with pytest.raises(ValueError, match=block):
        weights.adapt(deep, random_variables(1), TAIWAN, TAIWAN)
    with pytest.raises(ValueError, match=block):
        weights.widen(deep, fresh)
    old = random_variables(0, classifier="separate")
    without = random_variables(1, classifier="separate", attention=False)
    for operate in (lambda *trees: weights.adapt(*trees, TAIWAN, TAIWAN), weights.swap_backbone):
        with pytest.raises(ValueError, match="position_network/output/bias: unknown"):
            operate(old, without)


def test_swap_backbone_keeps_what_does_not_read_it():
    old, fresh = random_variables(0), random_variables(1, backbone="resnet50")
    new = weights.swap_backbone(old, fresh)
    assert jax.tree.map(np.shape, new) == jax.tree.map(np.shape, fresh)
    path = ("params", "semantic_network", "fusion_conv", "kernel")
    kernels = [functools.reduce(dict.get, path, tree) for tree in (old, fresh, new)]
    spatial = 32
    np.testing.assert_array_equal(kernels[2][:, :, :spatial], kernels[0][:, :, :spatial])
    np.testing.assert_array_equal(kernels[2][:, :, spatial:], kernels[1][:, :, spatial:])
    for name in ("classifier", "semantic_bn"):
        assert_equal(new["params"][name], old["params"][name])
    assert_equal(
        new["params"]["backbone"]["context_path"], fresh["params"]["backbone"]["context_path"]
    )
    with pytest.raises(ValueError, match="classifier/dense/bias: has shape"):
        weights.swap_backbone(old, random_variables(1, backbone="resnet50", num_classes=5))


def test_graft_takes_one_module_whole():
    target, source = random_variables(0), random_variables(1)
    new = weights.graft(target, source, "backbone/context_path")
    for name in ("params", "batch_stats"):
        assert_equal(
            new[name]["backbone"]["context_path"], source[name]["backbone"]["context_path"]
        )
        assert_equal(
            new[name]["backbone"]["spatial_path1"], target[name]["backbone"]["spatial_path1"]
        )
        assert_equal(new[name]["classifier"], target[name]["classifier"])


def test_graft_lists_all_mismatches():
    with pytest.raises(ValueError) as caught:
        weights.graft(random_variables(0), random_variables(1, backbone="resnet34"), "backbone")
    assert "params/backbone/context_path/layer3_5/conv1/kernel: unknown" in str(caught.value)
    with pytest.raises(ValueError, match="names nothing.*semantic_network"):
        weights.graft(random_variables(0), random_variables(1), "resnet")


def test_average_weighs():
    trees = [random_variables(seed) for seed in (0, 1)]
    mean = weights.average(tree for tree in trees)
    thirds = weights.average(trees, [2, 1])
    for tree, share in ((mean, 1 / 2), (thirds, 2 / 3)):
        jax.tree.map(
            lambda a, b, c, w=share: np.testing.assert_allclose(a, w * b + (1 - w) * c, atol=1e-6),
            tree,
            *trees,
        )
    with pytest.raises(ValueError, match="do not fit"):
        weights.average([trees[0], random_variables(0, num_classes=5)])


def test_moving_average_leaves_what_stays():
    constant = {"x": np.random.default_rng(0).normal(size=1000).astype(np.float32)}
    average = jax.jit(weights.moving_average)
    averaged = constant
    for step in range(100):
        averaged = average(averaged, constant, step, 0.99)
    assert_equal(averaged, constant)


def test_moving_average_forgets_the_start():
    variables = {"params": {"x": jnp.ones(3)}}
    averaged = {"params": {"x": jnp.zeros(3)}}
    assert weights.moving_average(averaged, variables, jnp.int32(0), 0.99)["params"]["x"][0] == 0.9
    late = weights.moving_average(averaged, variables, jnp.int32(10**6), 0.99)["params"]["x"][0]
    np.testing.assert_allclose(late, 0.01, rtol=1e-4)


def test_half_a_tree_is_refused():
    variables = random_variables()
    model = HPANet(**NETWORK)
    half = variables["params"]
    for call in (
        lambda: weights.adapt(half, variables, TAIWAN, TAIWAN),
        lambda: weights.swap_backbone(half, variables),
        lambda: weights.average([half, half]),
        lambda: weights.intermediates(model, half, IMAGES, ["backbone"]),
    ):
        with pytest.raises(ValueError, match="no whole tree of variables: params, batch_stats is"):
            call()


def test_a_backbone_alone_is_no_network():
    whole = random_variables()
    alone = {kind: {"backbone": tree["backbone"]} for kind, tree in whole.items()}
    adapt = functools.partial(weights.adapt, old=TAIWAN, new=TAIWAN)
    for operation in (adapt, weights.swap_backbone, weights.widen):
        for trees in ((alone, whole), (whole, alone)):
            with pytest.raises(ValueError, match="semantic_network, semantic_bn, classifier"):
                operation(*trees)


def test_intermediates_are_what_the_network_computed():
    model, variables = HPANet(**NETWORK), random_variables(0)
    read = jax.jit(
        lambda v, x: weights.intermediates(model, v, x, ["backbone", "*_network", "semantic_bn"])
    )(variables, IMAGES)
    output = compiled()(variables, IMAGES)
    assert sorted(read) == ["backbone", "position_network", "semantic_bn", "semantic_network"]
    np.testing.assert_allclose(read["semantic_network"], output.semantic, rtol=1e-4, atol=1e-5)
    assert read["backbone"].spatial.shape == (2, 2, 6, 32)
    with pytest.raises(ValueError, match="no module's path fits"):
        jax.eval_shape(lambda v: weights.intermediates(model, v, IMAGES, ["semantic"]), variables)


def test_soften_divides_the_logits():
    variables = random_variables(0)
    before, after = (
        compiled()(v, IMAGES).logits for v in (variables, weights.soften(variables, 2.0))
    )
    np.testing.assert_allclose(after, before / 2, rtol=1e-3, atol=1e-5)


def test_soften_refuses_what_gives_no_reader():
    variables = random_variables(0)
    for temperature in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="must be more than 0"):
            weights.soften(variables, temperature)
    with pytest.raises(ValueError, match="give the whole tree"):
        weights.soften(variables["params"], 2.0)


@pytest.mark.parametrize("shares", [[0, 0], [1.0], [np.inf, 1.0]])
def test_average_refuses_weights_that_give_no_mean(shares):
    trees = [random_variables(0), random_variables(1)]
    with pytest.raises(ValueError, match="2 trees and the weights"):
        weights.average(trees, shares)
    with pytest.raises(ValueError, match="0 trees"):
        weights.average([])
    assert_equal(weights.average(trees, np.array([1.0, 0.0])), trees[0])


def test_graft_says_where_a_path_goes_wrong():
    variables = random_variables(0)
    with pytest.raises(ValueError, match="backbone/context': names nothing; backbone has att"):
        weights.graft(variables, variables, "backbone/context")
    with pytest.raises(ValueError, match="nope': names nothing; the network has backbone, "):
        weights.graft(variables, variables, "nope")
    assert_equal(weights.graft(variables, variables, "backbone/context_path/"), variables)


def test_patterns_are_a_list():
    model, variables = HPANet(**NETWORK), random_variables(0)
    with pytest.raises(ValueError, match=r"must be a list, \['backbone'\]"):
        weights.intermediates(model, variables, IMAGES, "backbone")

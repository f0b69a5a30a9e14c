"""The network's own promises: sizes, types, equivalences, and arguments that are refused."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from PIL import Image

from hpa_jax.models import bisenet, convolution, hpa, layers
from hpa_jax.models.hpa import HPANet

# Trainable parameters with 34 classes and 6 characters: what the paper's table 4 counts, less the
# ImageNet head that the authors' code registers and never uses.
SIZES = {
    ("resnet18", "shared"): 17_715_306,
    ("resnet18", "separate"): 22_150_476,
    ("resnet34", "shared"): 27_823_466,
    ("resnet34", "separate"): 32_258_636,
    ("resnet50", "shared"): 45_730_922,
    ("resnet50", "separate"): 50_166_092,
    ("resnet101", "shared"): 64_723_050,
    ("resnet101", "separate"): 69_158_220,
}
SMALL = {"width": 0.125, "num_characters": 3, "num_classes": 5}


def abstract(model: HPANet, size: tuple[int, int] = (50, 160)):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *size, 3)))


def random_like(tree, seed: int = 0):
    """Random arrays of these shapes; variances and scales are positive."""
    rng = np.random.default_rng(seed)
    flat = traverse_util.flatten_dict(tree)
    values = {
        path: rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
        if path[-1] in ("scale", "var")
        else rng.normal(0, 0.1, x.shape).astype(np.float32)
        for path, x in flat.items()
    }
    return traverse_util.unflatten_dict(values)


@pytest.mark.parametrize(("backbone", "classifier"), SIZES)
def test_parameter_count_is_the_papers(backbone, classifier):
    params = abstract(HPANet(backbone=backbone, classifier=classifier))["params"]
    count = sum(x.size for x in jax.tree.leaves(params))
    assert count == SIZES[backbone, classifier]


def test_a_backbone_of_ones_own_may_have_other_fields_first(monkeypatch):
    class Pooled(nn.Module):
        scales: tuple = (16, 32)
        dtype: object = jnp.float32
        width: float = 1.0

        @nn.compact
        def __call__(self, images, train):
            pooled = [nn.avg_pool(images, (n, n), (n, n)) for n in self.scales]
            return [nn.Dense(round(64 * self.width), dtype=self.dtype)(x) for x in pooled]

    monkeypatch.setitem(bisenet.BACKBONES, "pooled", Pooled)
    model = HPANet(backbone="pooled", dtype=jnp.bfloat16, **SMALL)
    context_path = abstract(model)["params"]["backbone"]["context_path"]
    assert context_path["Dense_0"]["kernel"].shape == (3, 8)


def test_parameters_are_float32_where_jax_computes_in_64_bits():
    with jax.enable_x64(True):
        assert {x.dtype.name for x in jax.tree.leaves(abstract(HPANet(**SMALL)))} == {"float32"}


def test_bfloat16_computes_over_float32_parameters():
    model = HPANet(**SMALL, dtype=jnp.bfloat16)
    variables = abstract(model)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    images = jax.ShapeDtypeStruct((2, 50, 160, 3), jnp.float32)
    apply = functools.partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    output, state = jax.eval_shape(apply, variables, images)
    assert output.logits.dtype == jnp.float32
    del state["intermediates"]["__call__"]  # the output itself, whose logits are float32
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize(
    ("size", "features"), [((50, 160), (7, 20)), ((64, 192), (8, 24)), ((33, 101), (5, 13))]
)
def test_features_are_an_eighth_of_any_image(size, features):
    model = HPANet(**SMALL, void=True)
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    output = jax.eval_shape(model.apply, abstract(model, size), images)
    assert output.logits.shape == (2, 3, 6)
    assert output.maps.shape == (2, *features, 3)
    assert output.semantic.shape == (2, *features, 6)
    assert output.position.shape == (2, *features, 4)


@pytest.mark.parametrize("sizes", [((7, 20), (4, 10), (2, 5)), ((5, 13), (3, 7), (2, 4))])
def test_fast_fusion_equals_the_plain_convolution(sizes):
    rng = np.random.default_rng(0)
    shapes = [(2, *size, channels) for size, channels in zip(sizes, (4, 6, 8), strict=True)]
    inputs = bisenet.GlobalFeatures(*(rng.normal(size=x).astype(np.float32) for x in shapes))
    fast = bisenet.FusionConv(5, jnp.float32)
    params = random_like(jax.eval_shape(fast.init, jax.random.key(0), inputs))
    weights = rng.normal(size=(2, *sizes[0], 5)).astype(np.float32)

    def plain(variables, inputs):
        resized = [layers.upsample(x, sizes[0]).swapaxes(2, 3) for x in inputs[1:]]
        features = jnp.concatenate([inputs[0], *resized], axis=-1)
        kernel, bias = (variables["params"][name] for name in ("kernel", "bias"))
        return convolution.conv(features, kernel) + bias

    def value_and_grads(apply):
        def total(params, inputs):
            y = apply(params, inputs)
            return (y * weights).sum(), y

        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(params, inputs)

    results = value_and_grads(fast.apply), value_and_grads(plain)
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_modulated_convolution_equals_a_plain_one_of_the_modulated_features():
    """Forward and gradients; the classifier's exact saving."""
    rng = np.random.default_rng(0)
    features, maps, weights = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((2, 7, 20, 6), (2, 7, 20, 3), (2, 2, 5, 3, 4))
    )
    modulated = hpa.ModulatedConv(4, jnp.float32)
    params = modulated.init(jax.random.key(0), features, maps)["params"]

    def plain(params, features, maps):
        each = jnp.moveaxis(features[..., None, :] * maps[..., None], 3, 0)  # P×B×H×W×C
        convolve = lambda x: jax.lax.conv_general_dilated(  # noqa: E731
            x,
            params["kernel"],
            (4, 4),
            ((2, 2), (2, 2)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return jnp.moveaxis(jax.vmap(convolve)(each), 0, 3) + params["bias"]

    def fast(params, features, maps):
        return modulated.apply({"params": params}, features, maps)

    def value_and_grads(function):
        def total(*arguments):
            y = function(*arguments)
            return (y * weights).sum(), y

        return jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(params, features, maps)

    for a, b in zip(*map(jax.tree.leaves, map(value_and_grads, (fast, plain))), strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


@pytest.mark.parametrize("train", [False, True])
def test_shared_classifier_equals_positions_folded_into_the_batch(train):
    model = HPANet(**SMALL)
    variables = random_like(abstract(model))
    images = np.random.default_rng(0).random((4, 24, 64, 3), np.float32)
    apply = functools.partial(
        model.apply,
        train=train,
        mutable=["batch_stats", "intermediates"],
        capture_intermediates=lambda module, _: module.name == "semantic_bn",
    )
    output, updates = jax.jit(apply)(variables, images)
    semantic = updates["intermediates"]["semantic_bn"]["__call__"][0][..., :-1]
    maps = jnp.moveaxis(output.maps, -1, 0)
    folded = (semantic * maps[..., None]).reshape(-1, *semantic.shape[1:])

    classifier = hpa.CharacterClassifier(outputs=5, hidden=128, dtype=jnp.float32)
    own = {name: tree["classifier"] for name, tree in variables.items()}
    apply = functools.partial(classifier.apply, train=train, mutable=["batch_stats"])
    logits, statistics = jax.jit(apply)(own, folded, None)
    logits = jnp.moveaxis(logits.reshape(3, 4, 5), 0, 1)
    np.testing.assert_allclose(output.logits, logits, rtol=1e-4, atol=1e-5)
    if train:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            updates["batch_stats"]["classifier"],
            statistics["batch_stats"],
        )


@pytest.mark.parametrize(
    ("network", "images", "message"),
    [
        ({"backbone": "vgg"}, jnp.zeros((1, 50, 160, 3)), "backbone 'vgg'"),
        ({"classifier": "both"}, jnp.zeros((1, 50, 160, 3)), "classifier 'both'"),
        ({"void": 34}, jnp.zeros((1, 50, 160, 3)), "void 34: must be True or False"),
        ({"attention": "no"}, jnp.zeros((1, 50, 160, 3)), "attention 'no': must be True or False"),
        ({"num_characters": 0}, jnp.zeros((1, 50, 160, 3)), "num_characters 0 .* at least 1"),
        ({"width": 0.0}, jnp.zeros((1, 50, 160, 3)), "width 0.0: must be more than 0"),
        ({"attention": False}, jnp.zeros((1, 50, 160, 3)), "needs classifier='separate'"),
        ({}, jnp.zeros((50, 160, 3)), "must be B×H×W×3"),
        ({}, jnp.zeros((1, 50, 160, 1)), "must be B×H×W×3"),
        ({}, jnp.zeros((1, 50, 160, 3), jnp.uint8), "must be float"),
    ],
)
def test_wrong_arguments_are_refused(network, images, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(HPANet(**SMALL | network).init, jax.random.key(0), images)


def test_grey_network_sees_what_pillow_calls_grey():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 160, 3), np.uint8)
    grey = np.stack([Image.fromarray(x).convert("L") for x in pixels])
    ours = jax.jit(hpa._to_grey)(pixels / np.float32(255))
    assert (np.round(np.asarray(ours) * 255) == grey[..., None]).all()
    model = HPANet(**SMALL, grey=True)
    colour = HPANet(**SMALL)
    images = [jax.ShapeDtypeStruct((2, 50, 160, 3), jnp.float32)]
    assert abstract(model) == abstract(colour)
    assert str(jax.make_jaxpr(model.apply)(abstract(model), *images)).count("floor") == 1


def test_grey_networks_have_a_gradient_to_the_image():
    gradient = jax.grad(lambda x: hpa._to_grey(x).sum())(jnp.full((1, 2, 2, 3), 0.5))
    assert gradient[0, 0, 0] == pytest.approx(3 * np.array(hpa.GREY_WEIGHTS) / 65536)

"""The ONNX model of each kind of network computes what the network does."""

import numpy as np
import pytest

import hpa_jax
from hpa_jax import onnx_model, runtime
from hpa_jax.models.hpa import HPANet
from tests.networks import random_variables, smooth_images


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"void": True}, (50, 160)),
        ({"backbone": "resnet50", "grey": True}, (40, 144)),
        ({"classifier": "separate"}, (48, 100)),
        ({"classifier": "separate", "attention": False}, (25, 80)),
    ],
)
def test_both_runtimes_agree(options, size):
    model = hpa_jax.HPANet(width=0.125, num_characters=5, **options)
    variables = random_variables(model, size)
    images = smooth_images(8, size)
    xla, onnx = (
        runtime.make_forward(model, variables, size, name)(images, True) for name in ("xla", "onnx")
    )
    assert (xla[0] == onnx[0]).all()
    assert np.ptp(xla[1], axis=0).max() > 0.01  # images do matter
    np.testing.assert_allclose(onnx[1], xla[1], rtol=1e-4)
    if model.attention:
        np.testing.assert_allclose(onnx[2], xla[2], atol=1e-4)
    else:
        assert onnx[2] is xla[2] is None


def test_nodes_have_names_of_their_own():
    """ONNX Runtime before 1.22 names what it makes of them so, and refuses two of one name."""
    model = HPANet(width=0.125, num_characters=5, classifier="separate")
    size = 48, 100
    nodes = onnx_model.build(model, random_variables(model, size), size).graph.node
    assert len({node.name for node in nodes} - {""}) == len(nodes)


def test_wrong_runtimes_are_named():
    with pytest.raises(ValueError, match="runtime 'tpu': must be one of auto, xla, onnx"):
        runtime.make_forward(None, None, (50, 160), "tpu")


def test_the_models_are_those_that_are_stated():
    """If this fails: does onnx_model.py compute what hpa_jax/models now does? Then set STATED."""
    assert onnx_model.digest() == onnx_model.STATED


def test_a_network_that_was_changed_is_read_by_xla(monkeypatch):
    monkeypatch.setattr(onnx_model, "digest", lambda: "changed")
    monkeypatch.setattr(runtime, "_on_xla", lambda *arguments: "xla")
    with pytest.warns(UserWarning, match="hpa_jax/models has changed.*: read by XLA"):
        assert runtime.make_forward(None, None, (50, 160)) == "xla"
    with pytest.raises(ValueError, match="runtime 'onnx': hpa_jax/models has changed"):
        runtime.make_forward(None, None, (50, 160), "onnx")


def test_an_unstated_backbone_is_refused():
    with pytest.raises(ValueError, match="does not state the backbone 'mobilenet'"):
        onnx_model.build(HPANet(backbone="mobilenet"), {}, (50, 160))


def test_a_network_of_ones_own_is_read_by_xla():
    class Mine(HPANet):
        pass

    model = Mine(width=0.125, num_characters=5)
    assert "does not state Mine" in onnx_model.unstated(model)
    with pytest.raises(ValueError, match="does not state Mine"):
        onnx_model.build(model, {}, (50, 160))

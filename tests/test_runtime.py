"""Which runtime reads."""

import os

import jax
import numpy as np
import pytest

import hpa_jax
from hpa_jax import runtime
from tests import networks


@pytest.mark.parametrize(
    ("missing", "backend", "chosen"),
    [
        ((), "cpu", "onnx"),
        (("onnx",), "cpu", "xla"),
        (("onnxruntime",), "cpu", "xla"),
        ((), "gpu", "xla"),
    ],
)
def test_onnx_runtime_is_taken_on_a_cpu_where_it_is_installed(
    missing, backend, chosen, monkeypatch
):
    monkeypatch.setattr(
        runtime.importlib.util, "find_spec", lambda name: name not in missing or None
    )
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    for name in ("xla", "onnx"):
        made = "_on_xla" if name == "xla" else "_on_onnx_runtime"
        monkeypatch.setattr(runtime, made, lambda *arguments, name=name: name)
    assert runtime.make_forward(hpa_jax.HPANet(), None, (50, 160)) == chosen


def test_a_backbone_of_ones_own_is_read_by_xla(monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(runtime, "_on_xla", lambda *arguments: "xla")
    own = hpa_jax.HPANet(backbone="own")
    with pytest.warns(UserWarning, match="does not state the backbone 'own': read by XLA"):
        assert runtime.make_forward(own, None, (50, 160)) == "xla"
    with pytest.raises(ValueError, match="does not state the backbone 'own'"):
        runtime.make_forward(own, None, (50, 160), "onnx")


def test_onnx_runtime_is_told_not_to_report_its_use(monkeypatch):
    for given, kept in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        if given:
            monkeypatch.setenv("ORT_DISABLE_TELEMETRY", given)
        runtime.import_onnx_runtime()
        assert os.environ["ORT_DISABLE_TELEMETRY"] == kept


def test_a_broken_onnx_runtime_is_told_and_xla_reads(monkeypatch):
    pytest.importorskip("onnxruntime")

    def broken():
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(runtime, "import_onnx_runtime", broken)
    monkeypatch.setattr(runtime, "_on_xla", lambda *arguments: "xla")
    with pytest.warns(UserWarning, match="cannot be imported .numpy.core.multiarray"):
        assert runtime.make_forward(hpa_jax.HPANet(), None, (50, 160)) == "xla"
    with pytest.raises(ValueError, match="cannot be imported"):
        runtime.make_forward(hpa_jax.HPANet(), None, (50, 160), "onnx")


def test_a_missing_onnx_runtime_is_explained(monkeypatch):
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hpa_jax\[onnx\]'"):
        runtime.make_forward(None, None, (50, 160), "onnx")


def test_a_network_without_attention_gives_onnx_runtime_no_maps_to_show():
    pytest.importorskip("onnxruntime")
    model = hpa_jax.HPANet(width=0.125, num_characters=2, classifier="separate", attention=False)
    variables = networks.random_variables(model, (16, 48))
    forward = runtime.make_forward(model, variables, (16, 48), "onnx")
    ids, confidences, maps = forward(np.zeros((1, 16, 48, 3), np.uint8), True)
    assert ids.shape == confidences.shape == (1, 2) and maps is None

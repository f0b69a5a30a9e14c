"""Which runtime reads."""

import jax
import pytest

from hpa_jax import runtime


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
    assert runtime.make_forward(None, None, (50, 160)) == chosen

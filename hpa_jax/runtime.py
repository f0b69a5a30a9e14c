"""Runs a reader's forward pass by XLA or, on a CPU where it is installed, by ONNX Runtime."""

import functools
import importlib.util
import os
import types
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hpa_jax import machine
from hpa_jax.models.hpa import HPANet

RUNTIMES = ("auto", "xla", "onnx")
# ids B×Cp, confidences B×Cp, maps B×h×w×Cp or None
Read = tuple[np.ndarray, np.ndarray, np.ndarray | None]
Forward = Callable[[np.ndarray, bool], Read]  # of uint8 images B×H×W×3, and whether maps are wanted


def make_forward(
    model: HPANet, variables: Any, image_size: tuple[int, int], runtime: str = "auto"
) -> Forward:
    """Returns a forward pass for reading batches of any size.

    Args:
      model, variables: the network.
      image_size: height and width.
      runtime: 'xla'; 'onnx' for ONNX Runtime, about twice as fast on a CPU; or 'auto': ONNX
        Runtime on a CPU where the extra `onnx` is installed, else XLA.

    Raises:
      ValueError: there is no such runtime; or it is 'onnx', which is broken or does not support
        the network as it is ('auto' then warns and uses XLA).
      ModuleNotFoundError: 'onnx', and the extra is not installed.
      OSError: as `machine.backend`.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime {runtime!r}: must be one of {', '.join(RUNTIMES)}")
    installed = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
    if runtime == "onnx" and not installed:
        raise ModuleNotFoundError("runtime 'onnx': pip install 'hpa_jax[onnx]'")
    pays = machine.backend() == "cpu" and installed
    if runtime == "xla" or (runtime == "auto" and not pays):
        return _on_xla(model, variables, image_size)
    problem = _why_not_onnx(model)
    if not problem:
        return _on_onnx_runtime(model, variables, image_size)
    if runtime == "onnx":
        raise ValueError(f"runtime 'onnx': {problem}")
    warnings.warn(f"{problem}: read by XLA", stacklevel=2)
    return _on_xla(model, variables, image_size)


def _why_not_onnx(model: HPANet) -> str:
    """Returns why an installed ONNX Runtime cannot run a network; empty if it can."""
    try:
        from hpa_jax import onnx_model

        import_onnx_runtime()
    except Exception as error:  # an old build beside a newer NumPy raises almost anything
        return f"ONNX Runtime cannot be imported ({error})"
    return onnx_model.unstated(model)


def read_batch(
    model: HPANet, variables: Any, images_BHWC: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Maps uint8 images B×H×W×3 to ids B×Cp, confidences B×Cp and maps B×h×w×Cp; may be jitted."""
    output = model.apply(variables, images_BHWC / 255.0)
    probabilities = jax.nn.softmax(output.logits)
    maps = None if output.maps is None else output.maps.astype(jnp.float32)
    return probabilities.argmax(axis=-1), probabilities.max(axis=-1), maps


def all_probabilities(model: HPANet, variables: Any, images_BHWC: np.ndarray) -> np.ndarray:
    """Maps uint8 images B×H×W×3 to probabilities of all classes, B×Cp×outputs, by XLA."""
    return np.asarray(_compiled_softmax()(model, variables, _pad(images_BHWC)))[: len(images_BHWC)]


@functools.cache
def _compiled_softmax() -> Callable[[HPANet, Any, np.ndarray], jax.Array]:
    return jax.jit(
        lambda model, variables, images: jax.nn.softmax(
            model.apply(variables, images / 255.0).logits
        ),
        static_argnums=0,
        compiler_options=machine.compiler_options(),
    )


def _pad(images_BHWC: np.ndarray) -> np.ndarray:
    """Pads a batch to a power of two, so that a handful of compilations serve all sizes."""
    count = len(images_BHWC)
    padded = 1 << (count - 1).bit_length()
    return np.pad(images_BHWC, [(0, padded - count), (0, 0), (0, 0), (0, 0)])


def _on_xla(model: HPANet, variables: Any, image_size: tuple[int, int]) -> Forward:
    variables = jax.device_put(variables)  # once, not at every call
    compiled = jax.jit(
        lambda variables, images: read_batch(model, variables, images),
        compiler_options=machine.compiler_options(),
    )
    # Missing and misshapen arrays are reported now, not at the first plate.
    compiled.eval_shape(variables, jax.ShapeDtypeStruct((1, *image_size, 3), np.uint8))

    def forward(images_BHWC: np.ndarray, with_maps: bool) -> Read:
        ids, confidences, maps = compiled(variables, _pad(images_BHWC))
        wanted = (ids, confidences, maps if with_maps else None)
        return jax.tree.map(lambda x: np.asarray(x)[: len(images_BHWC)], wanted)

    return forward


def import_onnx_runtime() -> types.ModuleType:
    """Imports ONNX Runtime with its telemetry, which is on by default, turned off."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _on_onnx_runtime(model: HPANet, variables: Any, image_size: tuple[int, int]) -> Forward:
    from hpa_jax import onnx_model

    onnxruntime = import_onnx_runtime()
    file = onnx_model.build(model, variables, image_size, maps=model.attention)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.cores()
    session = onnxruntime.InferenceSession(
        file.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def forward(images_BHWC: np.ndarray, with_maps: bool) -> Read:
        inputs = {"images": images_BHWC}
        if with_maps and model.attention:
            return tuple(session.run(["ids", "confidences", "maps"], inputs))
        return (*session.run(["ids", "confidences"], inputs), None)

    return forward

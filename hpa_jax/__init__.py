"""Licence plate recognition with Holistic Position Attention (Zhang et al., AAAI 2021)."""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "CHINA": "charset",
    "GREECE": "charset",
    "TAIWAN": "charset",
    "Charset": "charset",
    "HPANet": "models.hpa",
    "HPAOutput": "models.hpa",
    "Reading": "recognize",
    "Recognizer": "recognize",
    "load_recognizer": "recognize",
}
__all__ = list(_MODULES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that importing the package costs nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module 'hpa_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hpa_jax.{_MODULES[name]}"), name)

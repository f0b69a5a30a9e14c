"""Loads readers by name, file or run, and writes them as small files that need only NumPy."""

import io
import json
import pathlib
from typing import Any

import numpy as np
from flax import traverse_util

SHIPPED = pathlib.Path(__file__).parent / "shipped"  # readers that come with the package
FORMAT = 2  # of the small files; format 1, which had no 8-bit kernels, is read too
SCALE = ":scale"  # ends the name of an 8-bit kernel's scales
KEYS = {"format", "network", "charset", "image_size", "styles"}  # of their metadata


def shipped() -> list[str]:
    """The names of the readers that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.npz"))


def shipped_default() -> list[str]:
    """Returns the shipped readers that commands use by default: each country's middle size."""
    return [name for name in shipped() if "_" not in name]


def compact_file(path: str | pathlib.Path) -> pathlib.Path | None:
    """Returns the .npz file that a path or a shipped reader's name means; None for a run."""
    if str(path) in shipped() and not (pathlib.Path(path) / "checkpoints").is_dir():
        return SHIPPED / f"{path}.npz"
    return pathlib.Path(path) if pathlib.Path(path).suffix == ".npz" else None


def load(path: str | pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads variables and metadata of a reader.

    Args:
      path: a run's --workdir, or RUN/checkpoints/STEP; a shipped reader's name; or a small file
        (.npz).

    Raises:
      OSError, ValueError: there is none, or it is damaged or of another format; it is named.
    """
    if file := compact_file(path):
        return load_compact(file)
    if not pathlib.Path(path).exists():
        known = ", ".join(map(repr, shipped())) or "none"
        raise FileNotFoundError(f"{path}: no such run or file, and no shipped reader ({known})")
    if pathlib.Path(path).is_file():
        raise ValueError(f"{path}: is no reader: give a .npz, or the --workdir of a run")
    from hpa_jax import checkpoint  # Orbax, which takes seconds to import

    variables, metadata = checkpoint.load(path)
    if "charset" not in metadata:
        raise ValueError(
            f"{path} holds a backbone and no reader: train one from it with "
            f"--config.init.backbone={path}"
        )
    return variables, metadata


def load_compact(file: str | pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads variables, in float32, and metadata of a small file.

    Raises:
      OSError: the file is missing.
      ValueError: it is damaged, or of another format.
    """
    try:
        return from_bytes(pathlib.Path(file).read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def to_bytes(variables: dict[str, Any], metadata: dict[str, Any], bits: int = 16) -> bytes:
    """Returns a reader as a small file: kernels in 16 or 8 bits, other arrays in float32.

    Args:
      variables: {'params': …, 'batch_stats': …}.
      metadata: as `checkpoint.make_metadata` gives; JSON types.
      bits: per kernel value: 16 for float16, or 8 for integers from -127 to 127 with one scale for
        each output channel.

    Raises:
      ValueError: variables or metadata lack a part, an array is not finite as stored, or `bits` is
        another number.
    """
    if bits not in (8, 16):
        raise ValueError(f"bits {bits}: must be 8 or 16")
    lacking = {"params", "batch_stats"} - variables.keys()
    lacking |= KEYS - {"format"} - metadata.keys()
    if lacking:
        raise ValueError(f"no whole reader: {', '.join(sorted(lacking))} is missing")
    arrays = traverse_util.flatten_dict(variables, sep="/")
    arrays = {name: np.asarray(x, np.float32) for name, x in arrays.items()}
    check_finite(arrays)
    for name in [name for name in arrays if name.endswith("/kernel")]:
        if bits == 8:
            arrays[name], arrays[f"{name}{SCALE}"] = _quantize(arrays[name])
        else:
            with np.errstate(over="ignore"):  # reported below
                arrays[name] = arrays[name].astype(np.float16)
    check_finite(arrays)
    text = json.dumps(metadata | {"format": FORMAT}, ensure_ascii=False)
    file = io.BytesIO()
    np.savez_compressed(file, metadata=np.array(text), **arrays)
    return file.getvalue()


def _quantize(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel …×O float32 as int8, and the scales (O,) to multiply it by."""
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny)  # a channel may be all 0
    return np.round(kernel / scale).astype(np.int8), scale


def check_finite(arrays: dict[str, Any]) -> None:
    """Refuses weights that are infinite or not numbers, with which nothing can be read.

    Raises:
      ValueError: an array has such a value; it is named.
    """
    for name, array in arrays.items():
        if not np.isfinite(np.asarray(array)).all():
            raise ValueError(
                f"{name}: has values that are infinite, not numbers or too large for {array.dtype}"
            )


def from_bytes(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the variables, in float32, and the metadata that `to_bytes` was given.

    Raises:
      ValueError: the file is damaged, or of another format.
    """
    try:
        if not data.startswith(b"PK\x03\x04"):
            raise ValueError("it is no .npz file")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            metadata = dict(json.loads(str(archive["metadata"])))
            arrays = {
                name: archive[name].astype(np.float32)
                for name in archive.files
                if name != "metadata"
            }
            for name in [name for name in arrays if name.endswith(SCALE)]:
                arrays[name.removesuffix(SCALE)] *= arrays.pop(name)
            variables = traverse_util.unflatten_dict(arrays, sep="/")
    except Exception as error:  # a damaged archive makes NumPy raise almost anything
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"no reader, or damaged ({reason})") from error
    if lacking := KEYS - metadata.keys():
        raise ValueError(f"no reader: its metadata lack {', '.join(sorted(lacking))}")
    if metadata["format"] not in (1, FORMAT):
        raise ValueError(
            f"has format {metadata['format']!r}, and this version of hpa_jax reads formats 1 and "
            f"{FORMAT}: read it with the version that wrote it"
        )
    return variables, metadata

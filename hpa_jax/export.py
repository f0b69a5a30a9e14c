"""Exports a trained reader as one file that includes the pre-processing.

    python -m hpa_jax.export --checkpoint=RUN --format=stablehlo|onnx|npz [--to=FILE] [PLATES…]

StableHLO and ONNX files run without this package. They take uint8 images B×H×W×3 (RGB, any B) and
return, by name, class ids B×Cp (int32) and their confidences B×Cp (float32); with --maps also the
HPA maps B×h×w×Cp. Their metadata give the charset, image size, usage and version. An .npz is a
small file for this package, loaded by NumPy alone: weights in float16, or with --bits=8 in half as
many bytes. A file is kept only if it reads random and given plates as the network does (an .npz:
those that the network reads with a confidence of 0.5 or more).
"""

import dataclasses
import json
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import numpy as np
from absl import app, flags

import hpa_jax
from hpa_jax import checkpoint, command, pixels, readers, recognize, runtime, weights
from hpa_jax.models import layers
from hpa_jax.models.hpa import HPANet
from hpa_jax.whole import write_whole

EXTRAS = {"stablehlo": "export", "onnx": "onnx"}  # the extra that each format needs
FORMATS = ("stablehlo", "onnx", "npz")  # also the suffixes of the files
BATCH = 64  # plates that are compared at once
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that a StableHLO file runs on
USAGE = (  # written to the file, which may arrive without its documentation
    "images: uint8 B×H×W×3 in RGB, each a whole plate resized bilinearly to image_size (height, "
    "width), averaged where it shrinks; ids: indices into charset, one past its end for no "
    "character; confidences: of each character; their product is that of the whole plate"
)
Outputs = dict[str, np.ndarray]


def export_stablehlo(reader: recognize.Recognizer, maps: bool = False) -> bytes:
    """Returns a StableHLO file for `jax.export.deserialize`; its `fun_name` holds the metadata."""
    height, width = reader.image_size
    shape = jax.export.symbolic_shape(f"batch, {height}, {width}, 3")
    function = jax.jit(_make_function(reader, maps))
    exported = jax.export.export(function, platforms=PLATFORMS)(
        jax.ShapeDtypeStruct(shape, np.uint8)
    )
    # The format has no field for metadata, but the function may have any name.
    exported = dataclasses.replace(exported, fun_name=json.dumps(describe(reader)))
    return bytes(exported.serialize())


def export_onnx(reader: recognize.Recognizer, maps: bool = False) -> bytes:
    """Returns an ONNX file; its properties hold the metadata. Needs the extra `onnx`."""
    from hpa_jax import onnx_model

    model = onnx_model.build(reader.model, reader.variables, reader.image_size, maps)
    for key, value in describe(reader).items():
        model.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    return model.SerializeToString()


def export_npz(
    reader: recognize.Recognizer, styles: Sequence[str] = (), about: str = "", bits: int = 16
) -> bytes:
    """Returns a small file for `load_recognizer`; `about` describes the reader in one line."""
    metadata = checkpoint.make_metadata(reader.model, reader.charset, reader.image_size, styles)
    return readers.to_bytes(reader.variables, metadata | {"about": about}, bits)


def describe(reader: recognize.Recognizer) -> dict[str, Any]:
    """Returns what a program needs to call the file and to decode its class ids; JSON types."""
    return {
        "charset": reader.charset.characters,
        "image_size": list(reader.image_size),
        "usage": USAGE,
        "version": hpa_jax.__version__,
    }


def _make_function(
    reader: recognize.Recognizer, maps: bool
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    def read_plates(images: jax.Array) -> dict[str, jax.Array]:
        with layers.for_any_device():
            ids, confidences, maps_BHWC = runtime.read_batch(reader.model, reader.variables, images)
        outputs = {"ids": ids.astype(np.int32), "confidences": confidences}
        return outputs | {"maps": maps_BHWC} if maps else outputs

    return read_plates


def run_stablehlo(file: bytes) -> Callable[[np.ndarray], Outputs]:
    """Returns the function of a StableHLO file, by `jax.export` alone."""
    return jax.jit(jax.export.deserialize(bytearray(file)).call)


def run_onnx(file: bytes) -> Callable[[np.ndarray], Outputs]:
    """Returns the function of an ONNX file, by ONNX Runtime."""
    onnxruntime = runtime.import_onnx_runtime()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def run_npz(file: bytes) -> Callable[[np.ndarray], Outputs]:
    """Returns the function of an .npz file's reader."""
    variables, metadata = readers.from_bytes(file)
    model = HPANet(**metadata["network"])
    read = jax.jit(lambda images: runtime.read_batch(model, variables, images))
    return lambda images: dict(zip(("ids", "confidences"), read(images), strict=False))


def check(
    reader: recognize.Recognizer,
    run: Callable[[np.ndarray], Outputs],
    images: np.ndarray,
    tolerance: float = 1e-3,
    doubt: float = 0.0,
) -> int:
    """Compares an exported function with the network on uint8 images B×H×W×3.

    Returns:
      How many were compared: those that the network reads with a confidence of `doubt` or more.

    Raises:
      ValueError: on one of these, class ids differ, or confidences or maps differ by more than
        `tolerance`.
    """
    network = jax.jit(_make_function(reader, reader.model.attention))
    compared = 0
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        outputs, expected = run(batch), network(batch)
        sure = np.asarray(expected["confidences"]).prod(axis=-1) >= doubt
        compared += int(sure.sum())
        for name, value in outputs.items():
            error = np.abs(np.asarray(value, np.float32) - expected[name])[sure].max(initial=0)
            if not error <= (0 if name == "ids" else tolerance):
                raise ValueError(
                    f"the exported {name} differ from the network's by up to {error:.2g}: "
                    "nothing kept"
                )
    if not compared:
        warnings.warn(
            f"the network reads none of {len(images)} images with a confidence of {doubt} or more, "
            "so nothing was compared: name some PLATES that it reads well",
            stacklevel=2,
        )
    return compared


def export(
    path: str | pathlib.Path,
    file_format: str,
    to: str | pathlib.Path,
    maps: bool = False,
    plates: Sequence[pixels.ImageLike] = (),
    temperature: float = 1.0,
    about: str = "",
    bits: int = 16,
) -> int:
    """Exports a reader to the file `to`, after a check that the file reads as the network does.

    Args:
      path: the reader, as `load_recognizer` takes it.
      file_format: 'stablehlo', 'onnx' or 'npz'.
      to: the new file.
      maps: stablehlo, onnx: also gives the HPA maps.
      plates: images of plates for the check, beside random ones.
      temperature: divides the logits, so that confidences are calibrated (`hpa_jax.assess`).
      about: npz: a line that describes the reader; by default, the line it had before.
      bits: npz: 16 or 8 per weight (`readers.to_bytes`).

    Returns:
      On how many images, of `plates` and three random ones, the file was compared.

    Raises:
      OSError, ValueError: as `load_recognizer`, `to_pixels` and `check`.
      ModuleNotFoundError: a library that the format needs is not installed.
    """
    _check_request(file_format, to, maps, about, bits)
    variables, metadata = readers.load(path)
    if pathlib.Path(to).is_dir():
        raise ValueError(f"{to}: is a folder, must be a file")
    if not pathlib.Path(to).parent.is_dir():
        raise ValueError(f"{pathlib.Path(to).parent} is no folder: say with --to where it goes")
    if file_format == "onnx":  # always computes in float32
        metadata = metadata | {"network": metadata["network"] | {"dtype": "float32"}}
    reader = recognize.make_recognizer(weights.soften(variables, temperature), metadata, "xla")
    if maps and not reader.model.attention:
        raise ValueError(f"{path} has no attention, so there are no maps to export")
    random = np.random.default_rng(0).integers(0, 256, (3, *reader.image_size, 3), np.uint8)
    given = [pixels.to_pixels(plate, reader.image_size) for plate in plates]
    images = np.stack([*random, *given])
    if file_format == "npz":
        file = export_npz(reader, metadata["styles"], about or metadata.get("about", ""), bits)
        # Rounded weights may change the readings of plates that the network itself doubts.
        compared = check(reader, run_npz(file), images, tolerance=0.05, doubt=0.5)
    elif file_format == "onnx":
        file = export_onnx(reader, maps)
        with jax.default_matmul_precision("float32"):  # a GPU's default is less precise
            compared = check(reader, run_onnx(file), images)
    else:
        file = export_stablehlo(reader, maps)
        compared = check(reader, run_stablehlo(file), images)
    write_whole(pathlib.Path(to), file)
    return compared


def _check_request(
    file_format: str, to: str | pathlib.Path, maps: bool, about: str, bits: int
) -> None:
    """Refuses options that a format lacks, and a file with another format's suffix."""
    if file_format not in FORMATS:
        raise ValueError(f"format {file_format!r}: must be among {', '.join(FORMATS)}")
    if file_format == "npz" and maps:
        raise ValueError("maps are for stablehlo and onnx: a reader from an .npz gives them anyway")
    suffix = _suffix(to)
    if suffix != file_format and (file_format == "npz" or suffix.lower() in FORMATS):
        raise ValueError(f"{to}: must end in .{file_format}, or say --format for another")
    if file_format != "npz" and about:
        raise ValueError("about is only for an .npz")
    if file_format != "npz" and bits != 16:
        raise ValueError("bits are only for an .npz: other files hold float32")


def _suffix(path: str | pathlib.Path) -> str:
    return pathlib.Path(path).suffix.removeprefix(".")


def _main(argv: Sequence[str]) -> int:
    command.set_up()
    command.end_by_signals()
    run, _ = checkpoint.split_step(pathlib.Path(_CHECKPOINT.value))
    suffix = _suffix(_TO.value or "").lower()
    file_format = _FORMAT.value or (suffix if suffix in FORMATS else "stablehlo")
    to = pathlib.Path(_TO.value or run / f"reader.{file_format}")
    options = _TEMPERATURE.value, _ABOUT.value, int(_BITS.value)
    try:
        plates = [image for path in argv[1:] for image in pixels.find_images(path)]
        compared = export(_CHECKPOINT.value, file_format, to, _MAPS.value, plates, *options)
    except ImportError as error:
        hint = f": pip install 'hpa_jax[{EXTRAS[file_format]}]'" if file_format in EXTRAS else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = to.stat().st_size / 2**20
    print(f"{to}: {file_format}, {size:.1f} MiB, compared on {compared} images")
    return 0


if __name__ == "__main__":
    _CHECKPOINT = flags.DEFINE_string(
        "checkpoint",
        None,
        "the --workdir of a training run, a .npz or a shipped reader's name",
        required=True,
    )
    _FORMAT = flags.DEFINE_enum(
        "format", None, FORMATS, "the file's format; by default, the suffix of --to, or stablehlo"
    )
    _TO = flags.DEFINE_string("to", None, "the new file; by default, reader.FORMAT in the run")
    _MAPS = flags.DEFINE_bool("maps", False, "stablehlo, onnx: also gives the HPA maps")
    _TEMPERATURE = flags.DEFINE_float(
        "temperature", 1.0, "divides the logits, to calibrate confidence", lower_bound=0.01
    )
    _BITS = flags.DEFINE_enum("bits", "16", ["8", "16"], "npz: bits per weight")
    _ABOUT = flags.DEFINE_string("about", "", "npz: a line that describes the reader")
    app.run(_main)

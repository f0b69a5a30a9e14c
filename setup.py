"""Package metadata. Lower bounds only: pip picks the newest release that a Python version has."""

import pathlib
import re

import setuptools

PACKAGE = pathlib.Path(__file__).with_name("hpa_jax") / "__init__.py"
VERSION = re.search(r'__version__ = "(.+)"', PACKAGE.read_text(encoding="utf-8"))[1]

TEST = ["hypothesis", "pytest", "pytest-xdist>=3.8", "ruff", "safetensors", "tabulate"]
TFDS = ["tensorflow-datasets>=4.9.10", "importlib_resources"]  # which TFDS needs and does not list
EXPORT = ["flatbuffers>=22.12"]  # older ones import what Python 3.12 dropped
ONNX = ["onnx>=1.16", "onnxruntime>=1.19"]  # of NumPy 2

setuptools.setup(
    name="hpa_jax",
    version=VERSION,
    description="Licence plate recognition with Holistic Position Attention, in JAX and Flax",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    package_dir={"": "."},  # so that a clone in the current folder hides no installed package
    packages=setuptools.find_packages(include=["hpa_jax", "hpa_jax.*"]),
    package_data={"hpa_jax": ["shipped/*", "py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "absl-py",
        "flax>=0.12.7",  # older ones call what JAX 0.12 dropped
        "grain>=0.2.18",
        "jax>=0.10.2",  # older ones warn of each program that the cache holds
        "matplotlib>=3.9",
        "ml_collections>=1.1",
        "numpy>=2.0",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "pillow>=11",
        "scipy",
        "tensorboardX>=2.6.1",  # of the protobuf that Grain wants
        "tqdm",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],  # whose libraries are also those of the newest PyTorch
        "tpu": ["jax[tpu]"],
        "tfds": TFDS,
        "torch": ["torch", "safetensors"],  # weights from PyTorch and back
        "export": EXPORT,  # StableHLO
        "onnx": ONNX,  # reads faster on a CPU
        "benchmarks": [*ONNX, "tabulate", "torch"],
        "test": [*TFDS, *EXPORT, *ONNX, *TEST],
    },
)

"""Tests run on two CPU devices: every jitted step is sharded as it would be on a cluster."""

import gc
import os
import pathlib

import jax
import pytest
from absl import flags

from hpa_jax.models import resnet

# The longest files: last, one of them would run alone.
FIRST = {"test_benchmarks", "test_convert", "test_distributed", "test_finetune"}
FIRST |= {"test_synthetic", "test_train"}

# Tests compile much and run little: half the time goes when XLA does not optimise.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
if jax.__version_info__ < (0, 11):  # halves it once more; later ones have no such switch
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(__file__).parents[1] / ".cache"))
flags.FLAGS.mark_as_parsed()  # Grain's workers read an absl flag, which only app.run() parses


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in FIRST)


def pytest_collection_finish():
    """Keeps garbage collection, a sixth of the time, from what was imported and traced."""
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="module")
def shallow():
    """ResNet-18 with one block a stage, which compiles in two thirds of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.STAGES, "resnet18", (1, 1, 1, 1))
        yield

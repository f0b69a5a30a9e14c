"""Tests run on two CPU devices: every jitted step is sharded as it would be on a cluster."""

import os
import pathlib

import jax
from absl import flags

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

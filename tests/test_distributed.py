"""A run of several processes, as in a cluster job, and its evaluation."""

import json
import os
import pathlib
import socket
import subprocess
import sys

PROGRAM = """
import sys
import jax
address, process, workdir = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(address, 2, int(process))
from configs import quickstart
import numpy as np
from hpa_jax import checkpoint, evaluate, train, train_state
c = quickstart.get_config()
c.model.width = 0.125
c.image_size = (25, 80)
c.batch_size, c.eval_size = 4, 4
c.log_every, c.eval_every, c.optimizer.warmup_steps = 1, 1, 0
c.optimizer.schedule = "constant"  # so that both runs are the same program, compiled once
for c.num_steps in (1, 2):  # the second time it resumes
    state = train.train_and_evaluate(c, workdir)
evaluate.evaluate_run(c, workdir)
metadata = checkpoint.load(workdir)[1]
grafted = train_state.start_from(  # a run's backbone
    state, None, train_state.load_backbone(workdir, metadata), metadata
)
jax.tree.map(np.testing.assert_array_equal, *jax.device_get((grafted.variables, state.variables)))
print("ended at step", int(state.step), "on", jax.device_count(), "devices")
"""


def test_two_processes_train_resume_and_evaluate(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-c", PROGRAM, address]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(__file__).parents[1] / ".cache")}
    processes = [
        subprocess.Popen(
            [*command, str(process), str(tmp_path)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | cache,
        )
        for process in range(2)
    ]  # fmt: skip
    try:
        printed = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for text in printed:
        assert "ended at step 2 on 2 devices" in text, text[-3000:]
    assert ["/4 plates right" in text for text in printed] == [True, False]  # said once
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]

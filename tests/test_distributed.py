"""A run of several processes, as in a cluster job, and its evaluation."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

from hpa_jax import multihost
from hpa_jax.data import prepare
from tests.data.test_prepare import plate, reader

SETUP = """
import sys
import jax
import numpy as np
address, process, workdir = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(address, 2, int(process))
from configs import quickstart
from hpa_jax import checkpoint, evaluate, main, train, train_state
from hpa_jax.data import synthetic
from hpa_jax.models import resnet
from tests.networks import noise_renderer
synthetic.make_renderer = noise_renderer
resnet.STAGES["resnet18"] = (1, 1, 1, 1)
c = quickstart.get_config()
c.model.width = 0.125
c.image_size = (25, 80)
c.batch_size, c.eval_size = 4, 4
c.freeze = ("backbone",)  # a step's every mean is sent to and fro, and a process may wait its turn
c.log_every, c.eval_every, c.optimizer.warmup_steps = 1, 1, 0
c.optimizer.schedule = "constant"  # so that all runs are the same program, compiled once
"""

PROGRAM = """
for c.num_steps in (1, 2):  # the second time it resumes
    state = train.train_and_evaluate(c, workdir)
evaluate.evaluate_run(c, workdir)
saved, metadata = checkpoint.load(workdir)
backbone = train_state.load_backbone(workdir, metadata)  # a run's, of another file on one host
backbone = jax.tree.map(lambda x: x * (1 + int(process)), backbone)
grafted = train_state.start_from(state, None, backbone, metadata)
jax.tree.map(np.testing.assert_array_equal, jax.device_get(grafted.variables), saved)
print("ended at step", int(state.step), "on", jax.device_count(), "devices")
"""

STOPPED = """
import sys, time
import jax
address, process, workdir = sys.argv[1:]
jax.distributed.initialize(address, 2, int(process))
from hpa_jax.interrupt import catch_interrupts
with catch_interrupts() as interrupted:
    for step in range(1, 2_000):
        if step == 5:
            print("at work", flush=True)
        time.sleep(0.02)
        if interrupted(step):
            break
    else:
        sys.exit("never stopped")
print("stopped after step", step)
"""

FED = """
import sys
import jax, numpy as np
address, process, workdir = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(address, 2, int(process))
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from configs import files
from hpa_jax import TAIWAN, inputs
c = files.get_config("charset=taiwan")
c.data.prepared, c.data.workers, c.batch_size = workdir, 0, 4
c.data.test = {}
sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
feed = inputs.make_inputs(c, sharding, jax.random.key(0)).feed(0)
for _ in range(2):
    batch = multihost_utils.process_allgather(next(feed)["characters"], tiled=True)
    print("texts", *map(TAIWAN.decode, batch))
"""


REFUSED = """
import os, sys
import jax
address, process, workdir = sys.argv[1:]
jax.distributed.initialize(address, 2, int(process))
from configs import reader_tw
from hpa_jax import evaluate
os.chdir(workdir)  # where pictures would go
c = reader_tw.get_config()
c.data.fonts = ("nowhere.ttf",)
try:
    evaluate.evaluate_run(c, "tw_small")
except Exception as error:
    print("refused:", error)
print("ended")
"""


BROKEN = """
c.num_steps = 1
for folder in (f"{workdir}/{process}", f"{workdir}/locked"):
    try:
        train.train_and_evaluate(c, folder)
    except ValueError as error:
        print("refused:", error, flush=True)
count_right = train.count_right
def count(*arguments):
    if process == "1":
        raise OSError("a shard cannot be read")
    return count_right(*arguments)
train.count_right = count
train.make_train_step = lambda *_, **__: lambda state, key, fed: (state, {"loss": np.ones(())})
try:
    train.train_and_evaluate(c, f"{workdir}/run")
except OSError as error:
    print("error:", error)
    main._end_now(1)
"""


@contextlib.contextmanager
def two_processes(program, workdir):
    """Runs a program as two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-c", program, address]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(__file__).parents[1] / ".cache")}
    processes = [
        subprocess.Popen(
            [*command, str(process), str(workdir)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | cache,
        )
        for process in range(2)
    ]  # fmt: skip
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def test_sigterm_to_one_process_stops_both_after_the_same_step(tmp_path):
    with two_processes(STOPPED, tmp_path) as processes:
        for process in processes:
            while process.stdout.readline() not in ("at work\n", ""):
                pass
        processes[1].send_signal(signal.SIGTERM)
        last = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
    assert last[0].startswith("stopped after step ") and last[0] == last[1]


def test_two_processes_feed_each_plate_once(tmp_path):
    texts = [f"AB{i:02d}" for i in range(8)]
    plates = [plate(text, text=text) for text in texts]
    prepare.prepare("folder", reader(plates), tmp_path, workers=1)
    with two_processes(FED, tmp_path) as processes:
        printed = [process.communicate(timeout=300)[0].splitlines() for process in processes]
    seen = [[line.split()[1:] for line in lines if line.startswith("texts")] for lines in printed]
    assert seen[0] == seen[1] and [len(batch) for batch in seen[0]] == [4, 4], printed
    assert sorted(sum(seen[0], [])) == texts


def test_an_error_of_the_process_that_evaluates_ends_both(tmp_path):
    with two_processes(REFUSED, tmp_path) as processes:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    assert all(text.splitlines()[-1] == "ended" for text in printed), printed
    assert "refused: fonts: 'nowhere.ttf" in printed[0] and "refused" not in printed[1], printed


def test_two_processes_train_resume_and_evaluate(tmp_path):
    with two_processes(SETUP + PROGRAM, tmp_path) as processes:
        printed = [process.communicate(timeout=900)[0] for process in processes]
    for text in printed:
        assert "ended at step 2 on 2 devices" in text, text[-3000:]
    assert ["/4 plates right" in text for text in printed] == [True, False]  # said once
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]


def test_what_stops_one_process_is_said_and_keeps_none_waiting(tmp_path):
    (tmp_path / "locked").mkdir()
    with multihost.claim(tmp_path / "locked"), two_processes(SETUP + BROKEN, tmp_path) as processes:
        said = processes[1].communicate(timeout=300)[0]
        processes[0].kill()  # as clusters do, once one has failed
        said_by_the_first = processes[0].communicate()[0]
    for process, text in enumerate((said_by_the_first, said)):
        assert f"refused: workdir {tmp_path}/{process}: must be one folder that all" in text
    assert f"refused: {tmp_path}/locked: another run is using it" in said_by_the_first
    assert f"refused: {tmp_path}/locked: the first process was refused it" in said
    assert "error: a shard cannot be read" in said and processes[1].returncode == 1

"""The pipeline: every plate in its place, for any number of processes and from any step."""

import collections
import gc
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time
from concurrent import futures

import numpy as np
import pytest

from hpa_jax.charset import CHINA, TAIWAN
from hpa_jax.data import images, pipeline, prepare, records
from hpa_jax.data.plate import DataError
from tests.data import trees
from tests.data.test_prepare import FIRST, LAST, ended, plate, reader

COUNT, CP = 23, 6
SHARED_MEMORY = pathlib.Path("/dev/shm")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """23 plates with maps in `train`, named by their text; 3 long ones in `test`."""
    directory = tmp_path_factory.mktemp("prepared")
    plates = [plate(f"p{i}", text=f"AB{i:02d}") for i in range(COUNT)]
    plates += [
        plate(f"t{i}", "test", f"皖A1234{i}{'5' * (i > 0)}", characters=()) for i in range(3)
    ]
    prepare.prepare("set", reader(plates), directory, workers=1, plates_a_shard=10)
    return directory


def take(directory, count, batch_size=8, **kwargs):
    batches = pipeline.train_batches(
        directory, "train", TAIWAN, CP, batch_size, **{"seed": 0, "jitter": 0.2, **kwargs}
    )
    return list(itertools.islice(batches, count))


def assert_equal(a, b):
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def test_batches_have_the_layout(prepared):
    (batch,) = take(prepared, 1)
    layout = {key: (value.shape, value.dtype.name) for key, value in batch.items()}
    assert layout == {
        "image": ((8, 50, 160, 3), "uint8"),
        "characters": ((8, CP), "int32"),
        "semantic": ((8, 50, 160), "uint8"),
        "position": ((8, 50, 160), "uint8"),
        "has_maps": ((8,), "bool"),
        "weight": ((8,), "float32"),
    }
    assert batch["has_maps"].all()
    assert (batch["weight"] == 1).all()
    assert (batch["characters"][:, 4:] == TAIWAN.void).all()
    assert all(TAIWAN.decode(ids).startswith("AB") for ids in batch["characters"])


def test_batch_depends_on_its_number_alone(prepared):
    batches = take(prepared, 7)
    assert_equal(take(prepared, 3, start_step=4), batches[4:])
    assert_equal(take(prepared, 7), batches)
    assert not np.array_equal(take(prepared, 1, seed=1)[0]["characters"], batches[0]["characters"])


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_batches_of_one(prepared, processes):
    whole = take(prepared, 5)
    parts = [take(prepared, 5, process_index=i, process_count=processes) for i in range(processes)]
    for k, batch in enumerate(whole):
        for i in range(processes):
            mine = {key: value[i::processes] for key, value in batch.items()}
            assert_equal([parts[i][k]], [mine])


def test_worker_processes_change_nothing(prepared):
    assert_equal(take(prepared, 4, workers=2, start_step=2), take(prepared, 4, start_step=2))


def test_workers_work_on_when_a_job_is_told_to_stop(prepared):
    """Terminals and SLURM signal them too, and the run may need many batches until it has saved."""
    others = set(multiprocessing.active_children())
    batches = pipeline.train_batches(prepared, "train", TAIWAN, CP, 8, seed=0, workers=2)

    def tell_to_stop():
        until = time.monotonic() + 60
        while len(workers := set(multiprocessing.active_children()) - others) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        for worker, number in itertools.product(workers, (signal.SIGINT, signal.SIGTERM)):
            os.kill(worker.pid, number)
        return workers

    with futures.ThreadPoolExecutor() as pool:
        told = pool.submit(tell_to_stop)  # as soon as they start
        next(batches), next(batches)  # one of each worker, which runs by then
    told.result()
    workers = tell_to_stop()
    assert len(list(itertools.islice(batches, 40))) == 40
    batches.close()
    del batches
    assert not workers & set(multiprocessing.active_children())


def test_a_small_test_set_does_not_wait_for_workers_to_start(prepared):
    others = set(multiprocessing.active_children())
    batches = pipeline.eval_batches(prepared, "train", TAIWAN, CP, 8, workers=2)
    assert next(batches) and set(multiprocessing.active_children()) == others
    batches.close()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="shared memory is seen on Linux alone")
def test_shared_memory_is_given_back(prepared, monkeypatch):
    monkeypatch.setattr(pipeline, "FEW", 0)
    before = set(SHARED_MEMORY.glob("psm_*"))
    gc.disable()  # a program may end before it is due
    try:
        collections.deque(pipeline.eval_batches(prepared, "train", TAIWAN, CP, 8, workers=2), 0)
        left = set(SHARED_MEMORY.glob("psm_*")) - before
        for _ in range(300):  # Grain gives it back in a thread; other programs theirs
            time.sleep(0.1 if left else 0)
            left &= set(SHARED_MEMORY.glob("psm_*"))
    finally:
        gc.enable()
    assert not left


KILLED = """
import multiprocessing, os, signal, sys
from hpa_jax.charset import TAIWAN
from hpa_jax.data import pipeline
if __name__ == "__main__":
    batches = pipeline.train_batches(sys.argv[1], "train", TAIWAN, 6, 8, seed=0, workers=2)
    next(batches), next(batches)
    print(*[worker.pid for worker in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


LEFT = """
import sys
from hpa_jax.charset import TAIWAN
from hpa_jax.data import pipeline
if __name__ == "__main__":
    batches = pipeline.train_batches(sys.argv[1], "train", TAIWAN, 6, 8, seed=0, workers=1)
    print([next(batches)["image"].shape for _ in range(3)])
"""


def test_a_script_may_end_without_closing_its_batches(prepared, tmp_path):
    (tmp_path / "left.py").write_text(LEFT)
    command = [sys.executable, tmp_path / "left.py", prepared]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_killed_run_leaves_no_workers_behind(prepared, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, tmp_path / "killed.py", prepared]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    workers = [int(pid) for pid in printed.split()]
    assert len(workers) == 2
    assert ended(workers)


def test_an_epoch_has_every_plate_once_and_the_next_another_order(prepared):
    batches = take(prepared, 2, batch_size=COUNT)
    texts = [[TAIWAN.decode(ids) for ids in batch["characters"]] for batch in batches]
    assert sorted(texts[0]) == sorted(texts[1]) == [f"AB{i:02d}" for i in range(COUNT)]
    assert texts[0] != texts[1]


@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_maps_lie_on_their_characters(prepared, jitter):
    (batch,) = take(prepared, 1, batch_size=COUNT, jitter=jitter)
    for i in range(COUNT):
        for place, colour in ((0, FIRST), (3, LAST)):
            pixels = batch["image"][i][batch["position"][i] == place].astype(int)
            assert len(pixels) > 500
            assert np.abs(pixels - colour).mean() < 25
            classes = batch["semantic"][i][batch["position"][i] == place]
            assert (classes == batch["characters"][i][place]).all()
        background = batch["position"][i] == CP
        assert ((batch["semantic"][i] == len(TAIWAN)) == background).all()
        if not jitter:  # the plate fills the image, and its characters the plate
            counts = np.bincount(batch["position"][i].ravel(), minlength=CP + 1)
            assert (counts[:4] == 50 * 40).all()


def test_jitter_shows_the_surroundings(prepared):
    still, moved = (take(prepared, 1, jitter=jitter)[0]["image"] for jitter in (0.0, 0.2))
    ground_red = [(batch[..., 0] > 150) & (batch[..., 1] < 100) for batch in (still, moved)]
    assert ground_red[0].mean() < 0.02
    assert ground_red[1].mean() > 0.05


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_has_every_plate_once(prepared, processes):
    texts, weights = [], 0.0
    for i in range(processes):
        batches = list(
            pipeline.eval_batches(
                prepared, "train", TAIWAN, CP, 8, process_index=i, process_count=processes
            )
        )
        assert [len(batch["image"]) for batch in batches] == [8 // processes] * 3
        for batch in batches:
            weights += batch["weight"].sum()
            texts += [
                TAIWAN.decode(ids)
                for ids, weight in zip(batch["characters"], batch["weight"], strict=True)
                if weight
            ]
    assert weights == COUNT
    assert sorted(texts) == [f"AB{i:02d}" for i in range(COUNT)]


def test_text_that_no_network_can_write_counts_and_is_never_right(prepared):
    (batch,) = pipeline.eval_batches(prepared, "test", CHINA, 7, 4)
    assert CHINA.decode(batch["characters"][0]) == "皖A12340"
    assert (batch["characters"][1:3] == -1).all()
    assert batch["weight"].tolist() == [1, 1, 1, 0]
    assert not batch["has_maps"].any()
    assert (batch["semantic"] == len(CHINA)).all()
    with pytest.raises(DataError, match="plates of 8 characters"):
        pipeline.train_batches(prepared, "test", CHINA, 7, 2, seed=0)
    for split in ("train+test", "all"):
        with pytest.raises(DataError, match="characters 皖"):
            pipeline.train_batches(prepared, split, TAIWAN, 8, 2, seed=0)
    with pytest.raises(DataError, match="no void class"):
        pipeline.train_batches(prepared, "train", TAIWAN, 8, 2, seed=0, void=False)


def test_wrong_sets_and_splits_are_explained(prepared, tmp_path):
    with pytest.raises(DataError, match="--mode=prepare"):
        pipeline.eval_batches(tmp_path, "train", TAIWAN, CP, 8)
    with pytest.raises(
        DataError, match="no split 'tset', or nothing in it; it has .*'test': 3.*'train': 23"
    ):
        pipeline.eval_batches(prepared, "tset", TAIWAN, CP, 8)
    with pytest.raises(ValueError, match="batch_size=9 must be divisible by 2"):
        pipeline.eval_batches(prepared, "test", TAIWAN, CP, 9, process_count=2)


def test_pixels_belong_to_the_character_that_holds_their_centre():
    slanted = np.array([[[2.0, 1.0], [6.0, 1.0], [4.0, 5.0], [0.0, 5.0]]], np.float32)
    semantic, position = pipeline.draw_maps(slanted, np.array([7]), (6, 8), 34, 6)
    for y, x in np.ndindex(6, 8):
        left = 2 - (y + 0.5 - 1) / 2
        inside = 1 <= y + 0.5 <= 5 and left <= x + 0.5 <= left + 4
        assert (position[y, x] == 0) == inside
        assert semantic[y, x] == (7 if inside else 34)


def test_small_images_from_disk(tmp_path):
    """A folder of crops without boxes: the whole file is the plate."""
    from hpa_jax.data import folder

    for i in range(4):
        trees.write(tmp_path / f"data/AB{i}2.jpg", trees.jpeg(i, 94, 24))
    prepare.prepare(
        "crops", lambda b: folder.read(tmp_path / "data", on_bad=b), tmp_path / "set", workers=1
    )
    (batch,) = pipeline.eval_batches(tmp_path / "set", "train", TAIWAN, 4, 4)
    expected = images.open_rgb(tmp_path / "data/AB02.jpg").resize((160, 50), 2)
    assert np.abs(batch["image"][0].astype(int) - np.asarray(expected)).mean() < 3


def test_jitter_moves_sides_outwards_and_a_quarter_of_that_inwards():
    rng = np.random.default_rng(0)
    moved = [pipeline.move_sides((50, 40, 150, 80), (200, 120), 0.2, rng) for _ in range(500)]
    low, high = np.min(moved, axis=0), np.max(moved, axis=0)
    np.testing.assert_allclose(low, [30, 32, 145, 78], atol=0.5)
    np.testing.assert_allclose(high, [55, 42, 170, 88], atol=0.5)


def test_a_plate_that_counts_as_missed_has_no_maps():
    corners = np.array([[[8, 8], [40, 8], [40, 56], [8, 56]]], np.float32)
    record = records.Record(trees.jpeg(), "A", "p", (0, 0, 96, 64), corners, missed=True)
    for testing in (False, True):
        load = pipeline.LoadPlate(TAIWAN, 1, (32, 48), jitter=0.0, testing=testing)
        row = load.random_map(records.serialise(record), np.random.default_rng(0))
        assert row["has_maps"] == (not testing)
        assert (row["semantic"] == len(TAIWAN)).all() == testing

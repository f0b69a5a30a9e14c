"""Where any reader finds its data set: nearby, not at all, or twice."""

import pathlib

import pytest

from hpa_jax.data import aolp, ccpd, clpd, folder, media_lab
from hpa_jax.data.plate import DataError
from tests.data import trees

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared"


@pytest.mark.parametrize("where", ["CCPD", ".", "CCPD/ccpd_base", "CCPD/splits"])
def test_tree_is_found_from_nearby(tmp_path, where):
    trees.ccpd_base(tmp_path / "CCPD", train=2, test=1)
    assert len(list(ccpd.read(tmp_path / where))) == 3


@pytest.mark.parametrize("reader", [aolp, ccpd, clpd, media_lab, folder])
def test_wrong_trees_are_explained(tmp_path, reader):
    for root, says in (
        (tmp_path / "missing", "does not exist"),
        (tmp_path, "it holds nothing|it holds note"),
    ):
        with pytest.raises(DataError, match=says):
            list(reader.read(root))
    trees.write(tmp_path / "note/readme.txt", "hello")
    with pytest.raises(DataError, match="it holds note"):
        list(reader.read(tmp_path))
    with pytest.raises(DataError, match="is a file, not a folder"):
        list(reader.read(tmp_path / "note/readme.txt"))


def test_two_trees_side_by_side_are_not_guessed(tmp_path):
    for name in ("one", "two"):
        trees.ccpd_base(tmp_path / name, train=2, test=1)
    with pytest.raises(DataError, match="several folders could be meant: one, two"):
        list(ccpd.read(tmp_path))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real plates in ../shared")
def test_real_ccpd_scenes_and_aolp_plates():
    scenes = list(ccpd.read(SHARED / "plates/cn/ccpd"))
    labelled = {p.name: p for p in folder.read(SHARED / "plates/cn")}
    assert len(scenes) == 169
    for scene in scenes:
        label = labelled[scene.name]
        assert (scene.text, scene.box, scene.corners) == (label.text, label.box, label.corners)
    texts = [p.text for p in aolp.read(SHARED / "aolp")]
    assert texts[:3] == ["EF1452", "8561RK", "CS2527"]

"""Where any reader finds its data set: nearby, not at all, or twice; and in what order."""

import pathlib

import pytest

from hpa_jax.data import aolp, ccpd, clpd, files, folder, media_lab
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


def test_a_folder_is_looked_for_three_levels_below_and_two_above(tmp_path):
    def locate(root):
        return files.locate(root, lambda folder: (folder / "wanted").exists(), "a wanted file")

    (tmp_path / "a/b/c/d/e/f").mkdir(parents=True)
    trees.write(tmp_path / "a/b/c/wanted", b"")
    trees.write(tmp_path / "__MACOSX/b/wanted", b"")  # which archives made there have beside it
    assert locate(tmp_path) == locate(tmp_path / "a/b/c/d/e") == tmp_path / "a/b/c"
    for name in ("2.txt", "1.txt"):
        trees.write(tmp_path / "a/b/c/d/e/f" / name, b"")
    with pytest.raises(DataError, match=r"f: has no a wanted file; it holds 1\.txt, 2\.txt$"):
        locate(tmp_path / "a/b/c/d/e/f")


def test_what_lies_in_a_folder_is_in_one_order_on_every_machine(tmp_path):
    for name in ("b", "3", "12", "1", "25", "100", "7", "a"):
        trees.write(tmp_path / f"{name}.jpg", b"")
        trees.write(tmp_path / f"{name}.csv", b"")
        (tmp_path / name).mkdir()
    by_value = ["1", "3", "7", "12", "25", "100", "a", "b"]
    assert files.image_names(tmp_path) == [f"{name}.jpg" for name in by_value]
    assert [path.name for path in files.subfolders(tmp_path)] == sorted(by_value)
    assert [path.stem for path in files.tables(tmp_path)] == sorted(by_value)


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

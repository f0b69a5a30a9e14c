"""A detector's boxes in place of labelled ones, and the paper's rule on those it missed."""

import dataclasses

import pytest

from hpa_jax import datasets
from hpa_jax.charset import TAIWAN
from hpa_jax.data import detections, pipeline
from hpa_jax.data.plate import DataError, Plate
from tests.data import trees
from tests.test_datasets import get_config

PLATE = Plate("a.jpg", "a", "ac", "AB12", box=(10.0, 20.0, 60.0, 40.0))


def write(path, *rows):
    trees.write(path, "".join(f"{row}\n" for row in ("file,x1,y1,x2,y2,score", *rows)))
    return path


def test_the_box_that_covers_a_plate_best_takes_its_place(tmp_path):
    trees.write(tmp_path / "sub/a.jpg", b"")
    rows = ("sub/a.jpg,0,0,5,5,0.99", "sub\\a.jpg,11,20,60,40,0.4", "sub/a.jpg,14,20,60,40,0.9")
    found = detections.read(write(tmp_path / "found.csv", *rows), tmp_path)
    plate = dataclasses.replace(PLATE, image=tmp_path / "sub/a.jpg")
    assert list(detections.place([plate], found)) == [
        dataclasses.replace(plate, box=(11.0, 20.0, 60.0, 40.0))
    ]


def test_photographs_are_the_same_however_their_paths_are_written(tmp_path):
    trees.write(tmp_path / "a.jpg", b"")
    (tmp_path / "link").symlink_to(tmp_path)
    table = write(tmp_path / "found.csv", f"../{tmp_path.name}/a.jpg,11,20,60,40,1")
    found = detections.read(table, tmp_path)
    plate = dataclasses.replace(PLATE, image=tmp_path / "link/a.jpg")
    assert [placed.missed for placed in detections.place([plate], found)] == [False]


@pytest.mark.parametrize(("left", "missed"), [(25.0, False), (25.1, True)])
def test_below_an_overlap_of_seven_tenths_a_plate_is_missed(tmp_path, left, missed):
    plate = dataclasses.replace(PLATE, image=tmp_path / "a.jpg")
    found = {plate.image: [(left, 20.0, 60.0, 40.0)]}
    (placed,) = detections.place([plate], found)
    assert placed.missed == missed
    assert placed.box == (plate.box if missed else (left, 20.0, 60.0, 40.0))
    (never_found,) = detections.place([plate], {})
    assert never_found == dataclasses.replace(plate, missed=True)


def test_names_that_no_file_can_have_do_not_end_the_work(tmp_path):
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    names = ["circle.jpg", "a" * 300 + ".jpg"]
    plates = [dataclasses.replace(PLATE, image=tmp_path / name) for name in names]
    assert all(plate.missed for plate in detections.place(plates, {}))
    for name in names:
        with pytest.raises(DataError, match=f"line 2: names {name}, which is not in"):
            detections.read(write(tmp_path / "found.csv", f"{name},1,2,3,4,1"), tmp_path)


def test_wrong_tables_are_explained(tmp_path):
    with pytest.raises(DataError, match="line 2: names b.jpg, which is not in"):
        detections.read(write(tmp_path / "found.csv", "b.jpg,1,2,3,4,1"), tmp_path)
    trees.write(tmp_path / "b.jpg", b"")
    with pytest.raises(DataError, match="has no area"):
        detections.read(write(tmp_path / "found.csv", "b.jpg,3,2,1,4,1"), tmp_path)
    with pytest.raises(DataError, match="found.csv: has boxes in shares of the photograph"):
        detections.read(write(tmp_path / "found.csv", "b.jpg,0.1,0.2,0.5,1.0,1"), tmp_path)
    trees.write(tmp_path / "found.csv", "file,x1,y1,x2\nb.jpg,0,0,1\n")
    with pytest.raises(DataError, match="found.csv: has no column y2"):
        detections.read(tmp_path / "found.csv", tmp_path)
    trees.write(tmp_path / "found.csv", "file,x1,y1,x2,y2\nb.jpg,0,0,1,1\nb.jpg,1,2,3,4\n")
    assert len(detections.read(tmp_path / "found.csv", tmp_path)[tmp_path / "b.jpg"]) == 2
    boxless = dataclasses.replace(PLATE, box=None)
    with pytest.raises(DataError, match="a: has no labelled box"):
        list(detections.place([boxless], {}))
    bad = []
    empty = dataclasses.replace(boxless, text="")  # as of ccpd_np: a photograph without a plate
    assert list(detections.place([boxless, empty], {}, bad.append)) == [empty]
    assert len(bad) == 1


def test_a_missed_plate_is_trained_on_and_never_right_in_a_test(tmp_path, capsys):
    trees.aolp_subset(tmp_path / "AOLP/Subset_AC", 3, trees.jpeg())
    rows = [f"Subset_AC/Image/{i}.jpg,11,20,60,40,1" for i in (1, 2)]
    config = get_config("aolp", "test=AC")
    config.data.root, config.data.prepared = str(tmp_path / "AOLP"), str(tmp_path / "set")
    config.data.detections = str(write(tmp_path / "found.csv", *rows))
    config.data.workers, config.batch_size = 0, 4
    config.data.rectify = True  # by labelled corners: the detector's boxes would not count
    with pytest.raises(ValueError, match="data.detections: .*rectify=False"):
        datasets.prepare_run(config)
    config.data.rectify = False
    datasets.prepare_run(config)
    assert "missed by the detector, wrong in a test: 1 of ac, 1 of ac_second" in (
        capsys.readouterr().out
    )
    (tested,) = datasets.test_sets(config)["AC"][1]()
    texts = [trees.taiwan_text(i) for i in (1, 2, 3)]
    assert [TAIWAN.decode(ids) for ids in tested["characters"][:2]] == texts[:2]
    assert (tested["characters"][2] == pipeline.UNREADABLE).all()
    assert tested["weight"].tolist() == [1, 1, 1, 0]
    config.data.train = "ac"
    trained = next(datasets.train_batches(config, 3, 0))
    assert sorted(TAIWAN.decode(ids) for ids in trained["characters"]) == texts
    assert "no plate of ac has character boxes" in capsys.readouterr().out

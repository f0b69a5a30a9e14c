"""Media Lab: its subsets and folds."""

import collections

import pytest

from hpa_jax.data import media_lab, protocols
from hpa_jax.data.plate import DataError
from tests.data import trees
from tests.data.trees import counts, published


def test_media_lab_folds(tmp_path):
    trees.media_lab(tmp_path)
    plates = list(media_lab.read(tmp_path, seed=3))
    assert counts(plates) == published(media_lab)
    assert plates == list(media_lab.read(tmp_path, seed=3))
    assert plates != list(media_lab.read(tmp_path, seed=4))
    tested = []
    for fold in range(4):
        protocol = protocols.media_lab_fold(fold)
        train = {p.image for p in plates if p.split in protocol.train.split("+")}
        test = {p.image for p in plates if p.split in protocol.test.values()}
        assert not train & test
        assert len(train) + len(test) == 706
        assert {p.image for p in plates if p.split == "difficult"} <= train
        tested += test
    assert len(tested) == len(set(tested)) == 427


def test_media_lab_two_plates_of_one_photograph_share_a_fold(tmp_path):
    rows = [f"{i // 2}.jpg,YBB{i:04d},normal" for i in range(80)]
    trees.write(tmp_path / "annotations.csv", "\n".join(["file,text,subset", *rows]))
    folds = collections.defaultdict(set)
    for plate in media_lab.read(tmp_path):
        folds[plate.image].add(plate.split)
    assert len(folds) == 40
    assert all(len(splits) == 1 for splits in folds.values())


def test_media_lab_photograph_of_both_subsets_is_refused(tmp_path):
    trees.write(
        tmp_path / "annotations.csv", "file,text,subset\n1.jpg,AB12,normal\n1.jpg,AB12,difficult\n"
    )
    with pytest.raises(DataError, match="1.jpg is both normal and difficult"):
        list(media_lab.read(tmp_path))


def test_media_lab_folds_are_those_of_every_machine(tmp_path):
    trees.media_lab(tmp_path)
    fold = [p.name for p in media_lab.read(tmp_path) if p.split == "fold0"]
    assert fold[:4] == ["day/3.jpg", "day/4.jpg", "day/7.jpg", "day/9.jpg"]


@pytest.mark.parametrize(
    "rows",
    [
        "xmin,ymin,xmax,ymax\n1.jpg,AB12,normal,1,2,3,4\n",
        "xmin,ymin\n1.jpg,AB12,difficult,,\n2.jpg,AB13,normal,1,2\n",  # not in the first row
    ],
)
def test_media_lab_boxes_in_columns_of_other_names_are_not_passed_over(tmp_path, rows):
    trees.write(tmp_path / "annotations.csv", f"file,text,subset,{rows}")
    with pytest.raises(DataError, match="columns xmin, ymin, but boxes are read from x1, y1"):
        list(media_lab.read(tmp_path))


def test_media_lab_subset_is_in_any_case_and_no_third_one(tmp_path):
    rows = ["1.jpg,AB12,Normal", "2.jpg,AB13,DIFFICULT", "3.jpg,AB14,hard", "4.jpg,AB15,"]
    trees.write(tmp_path / "annotations.csv", "\n".join(["file,text,subset", *rows]))
    bad = []
    plates = list(media_lab.read(tmp_path, bad.append))
    assert [(plate.text, plate.split) for plate in plates] == [
        ("AB12", "fold0"),
        ("AB13", "difficult"),
    ]
    assert [str(error).partition("line ")[2] for error in bad] == [
        "4: subset 'hard' should be normal or difficult",
        "5: subset '' should be normal or difficult",
    ]


def test_media_lab_photographs_are_the_same_in_either_spelling(tmp_path):
    rows = [f"a{slash}{i}.jpg,AB1{i},normal" for i in range(8) for slash in "/\\"]
    trees.write(tmp_path / "annotations.csv", "\n".join(["file,text,subset", *rows]))
    plates = list(media_lab.read(tmp_path))
    assert len(plates) == 16 and len({(plate.image, plate.split) for plate in plates}) == 8
    rows = ["a/1.jpg,AB12,Normal", "a\\1.jpg,AB13,Difficult"]
    trees.write(tmp_path / "annotations.csv", "\n".join(["file,text,subset", *rows]))
    with pytest.raises(DataError, match="a/1.jpg is both normal and difficult"):
        list(media_lab.read(tmp_path))

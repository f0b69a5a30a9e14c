"""AOLP: its layouts, its protocol, and broken files."""

import collections
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_jax.data import aolp, protocols
from hpa_jax.data.plate import DataError
from tests.data import trees
from tests.data.trees import counts, published

SUM_OF_582 = 218609  # of the chosen images' numbers


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Those of the official layout, as many as published."""
    root = tmp_path_factory.mktemp("aolp")
    trees.aolp_subset(root / "Subset_AC/Subset_AC", 681)
    trees.aolp_subset(root / "Subset_LE", 757)
    trees.aolp_subset(root / "Subset_RP/Subset_RP/Subset_RP", 611)
    return list(aolp.read(root))


def test_aolp_official_layout_has_the_published_counts(plates):
    second = {"ac_second": 1, "le_second": 1, "rp_second": 1}
    assert counts(plates) == published(aolp) | second
    assert sum(published(aolp).values()) == 2049
    first = next(p for p in plates if p.name == "AC/1")
    assert (first.text, first.box) == ("0001AT", (10, 20.25, 60.5, 40))
    assert next(p for p in plates if p.name == "AC/1_2").text == "9999ZZ"


@pytest.mark.parametrize("test", ["AC", "LE", "RP"])
@pytest.mark.parametrize("le", [582, 757])
def test_aolp_protocol_leaves_one_subset_out(plates, test, le):
    protocol = protocols.aolp(test, le)
    images = collections.defaultdict(set)
    for plate in plates:
        images[plate.split].add(plate.image)
    size = {"AC": 681, "LE": le, "RP": 611}
    train = [images[split] for split in protocol.train.split("+")]
    assert sum(map(len, train)) == sum(size.values()) - size[test]
    for name, splits in protocol.test.items():
        tested = set().union(*(images[split] for split in splits.split("+")))
        assert len(tested) == {"LE582": 582, "LE757": 757}.get(name, size[test])
        assert not tested & set().union(*train)


def test_aolp_image_that_is_called_as_a_second_plate_is_read_once(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_LE", 2)
    trees.write(tmp_path / "Subset_LE/Image/1_2.jpg", b"x")
    plates = {p.name: (p.image.name, p.split[:2]) for p in aolp.read(tmp_path)}
    assert len(list(aolp.read(tmp_path))) == len(plates) == 3
    assert plates["LE/1_2"] == ("1_2.jpg", "le")


def test_aolp_without_boxes_is_told(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_AC", 1)
    shutil.rmtree(tmp_path / "Subset_AC/groundtruth_localization")
    with pytest.raises(DataError, match="Subset_AC: has no groundtruth_localization folder"):
        list(aolp.read(tmp_path))


def test_aolp_second_plate_without_text_is_kept_as_unread(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_LE", 2)
    (tmp_path / "Subset_LE/groundtruth_recognition/1_2.txt").unlink()
    assert [p.text for p in aolp.read(tmp_path) if p.split == "le_second"] == [""]


def test_aolp_second_plate_without_box_is_told(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_LE", 2)
    (tmp_path / "Subset_LE/groundtruth_localization/1_2.txt").unlink()
    bad = []
    assert not [p for p in aolp.read(tmp_path, bad.append) if p.split == "le_second"]
    assert "groundtruth_localization/1_2.txt" in str(bad[0]) and len(bad) == 1


def test_aolp_copied_on_macos_is_as_before(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_AC", 2)
    plates = list(aolp.read(tmp_path))
    for file in ("Image/._1.jpg", "groundtruth_recognition/._1.txt"):
        trees.write(tmp_path / "Subset_AC" / file, b"\0")
    assert list(aolp.read(tmp_path)) == plates


def test_aolp_vim_lpr_layout(tmp_path):
    trees.write(tmp_path / "AOLP/RP/image/RP_607.png", b"x")
    trees.write(tmp_path / "AOLP/RP/char/RP_607.txt", "14\n15\n1\n4\n5\n2\n")
    (plate,) = aolp.read(tmp_path)
    assert (plate.name, plate.text, plate.split) == ("RP/RP_607", "EF1452", "rp")
    for i in range(1, 758):  # and the 582 are those of the other layout
        trees.write(tmp_path / f"AOLP/LE/image/LE_{i}.png", b"x")
        trees.write(tmp_path / f"AOLP/LE/char/LE_{i}.txt", "14\n15\n")
    chosen = [p.name for p in aolp.read(tmp_path) if p.split == "le582"]
    assert sum(int(name.rpartition("_")[2]) for name in chosen) == SUM_OF_582


def test_aolp_vim_lpr_files_that_do_not_go_together_are_named(tmp_path):
    for name in ("image/RP_1.png", "image/RP_1.jpg", "char/RP_1.txt", "char/RP_2.txt"):
        trees.write(tmp_path / "AOLP/RP" / name, "1\n2\n")
    bad = []
    assert [p.text for p in aolp.read(tmp_path, bad.append)] == ["12"]
    assert [str(error).rpartition("/")[2] for error in bad] == [
        "RP_1.png: has the same label as RP_1.jpg: remove one",
        "RP_2.txt: labels an image that is not there",
    ]


def test_aolp_labels_may_be_in_small_letters(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_AC", 1)
    trees.write(tmp_path / "Subset_AC/groundtruth_recognition/1.txt", "e\nf\n1\n")
    assert [p.text for p in aolp.read(tmp_path) if p.split == "ac"] == ["EF1"]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("groundtruth_recognition/2.txt", None, "cannot be read"),
        ("groundtruth_recognition/2.txt", "", "not a plate's text"),
        ("groundtruth_recognition/2.txt", "1\n" * 9, "not a plate's text"),
        ("groundtruth_localization/2.txt", "1\n2\n3\n", "four numbers"),
        ("groundtruth_localization/2.txt", "1\n2\nnan\n4", "four finite|four numbers"),
        ("groundtruth_localization/2.txt", "a\nb\nc\nd", "should be numbers"),
        ("Image/2.jpg", None, "image that is not there"),
    ],
)
def test_aolp_bad_files_are_named(tmp_path, file, content, says):
    trees.aolp_subset(tmp_path / "Subset_AC", 3)
    path = tmp_path / "Subset_AC" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=says) as error:
        list(aolp.read(tmp_path))
    assert "2.txt" in str(error.value)
    bad = []
    assert len(list(aolp.read(tmp_path, bad.append))) == 3  # 1, 1_2 and 3 still come
    assert bad


@pytest.mark.parametrize("label", ["00099", "1\n34", "00000000000001", "", "1\n" * 9])
def test_class_ids_beyond_the_last_are_refused(label):
    with pytest.raises(DataError, match="should be class ids from 0 to 33"):
        aolp.decode_ids(label, "1.txt")


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="0123456789\n -.eab²٣", max_size=30))
def test_class_id_lists(label):
    try:
        text = aolp.decode_ids(label, "1.txt")
    except DataError as error:
        assert str(error).startswith("1.txt")
    else:
        assert [aolp.CLASSES.index(c) for c in text] == [int(word) for word in label.split()]


def test_aolp_is_found_above_a_doubled_folder(tmp_path):
    for folder in ("Subset_AC/Subset_AC", "Subset_RP/subset_rp"):
        trees.aolp_subset(tmp_path / "AOLP" / folder, 3)
    plates = list(aolp.read(tmp_path / "AOLP/Subset_AC"))
    assert {"ac", "rp"} <= set(counts(plates))


@pytest.mark.parametrize(
    "there",
    ["Image/1.jpg", "groundtruth_recognition/1.txt", "LE/groundtruth_recognition/1.txt"],
)
def test_a_subset_that_is_not_all_unpacked_is_named(tmp_path, there):
    trees.aolp_subset(tmp_path / "Subset_AC", 3)
    trees.write(tmp_path / "Subset_LE" / there, b"x")
    with pytest.raises(DataError, match="Subset_LE: has no Image beside groundtruth_recognition"):
        list(aolp.read(tmp_path))
    bad = []
    assert set(counts(aolp.read(tmp_path, bad.append))) == {"ac", "ac_second"} and len(bad) == 1


def test_aolp_choice_of_582_is_that_of_every_machine(plates):
    chosen = [int(p.name[3:]) for p in plates if p.split == "le582"]
    assert sum(chosen) == SUM_OF_582


def test_one_missing_image_changes_one_of_the_582(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_LE", 757)
    chosen = []
    for _ in range(2):
        chosen.append({p.name for p in aolp.read(tmp_path) if p.split == "le582"})
        for file in ("Image/400.jpg", "groundtruth_recognition/400.txt"):
            (tmp_path / "Subset_LE" / file).unlink(missing_ok=True)
    assert len(chosen[0]) == len(chosen[1]) == 582
    assert len(chosen[0] - chosen[1]) <= 1


def test_two_images_of_one_label_are_told(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_AC", 3)
    trees.write(tmp_path / "Subset_AC/Image/2.png", b"2")
    bad = []
    assert len(list(aolp.read(tmp_path, bad.append))) == 3 + 1  # a second plate of the first
    assert [str(error).rpartition("/")[2] for error in bad] == [
        "2.png: has the same label as 2.jpg: remove one"
    ]


def test_what_lies_beside_it_and_cannot_be_entered_is_passed_over(tmp_path, monkeypatch):
    trees.aolp_subset(tmp_path / "AOLP_data/aolp/Subset_AC", 2)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    scandir = os.scandir

    def scan(path):
        if "lost" in str(path):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "access", lambda path, mode: "lost" not in str(path))
    assert len(list(aolp.read(tmp_path))) == 3

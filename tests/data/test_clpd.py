"""CLPD in the encodings that its table has come in."""

import pytest

from hpa_jax.data import clpd
from hpa_jax.data.plate import DataError
from tests.data import trees
from tests.data.trees import counts, published


@pytest.mark.filterwarnings("ignore:.* is no UTF-8")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_clpd_in_its_encodings(tmp_path, encoding):
    trees.clpd(tmp_path / "CLPD", ["皖A12345", "粤BD12345", "京A1234"] * 400, encoding)
    plates = list(clpd.read(tmp_path))
    assert counts(plates) == published(clpd)
    assert [p.text for p in plates[:3]] == ["皖A12345", "粤BD12345", "京A1234"]
    assert plates[0].corners == ((10, 20), (60, 22), (61, 40), (11, 38))
    assert plates[0].box == (10, 20, 61, 40)
    assert plates[0].image.exists()
    trees.write(tmp_path / "CLPD/._CLPD.csv", b"\0")  # as macOS makes them
    assert list(clpd.read(tmp_path)) == plates


def test_points_in_another_order_keep_their_box(tmp_path):
    trees.clpd(tmp_path, ["皖A12345"], "utf-8")
    table = tmp_path / "CLPD.csv"
    header, row = table.read_text().splitlines()
    path, *points, label = row.split(",")
    # left-top, left-bottom, right-bottom, right-top of a tilted plate
    turned = [path, *["10", "20", "5", "38", "61", "40", "66", "22"], label]
    table.write_text("\n".join([header, ",".join(turned)]))
    (plate,) = clpd.read(tmp_path)
    assert (plate.box, plate.corners) == ((5, 20, 66, 40), None)
    table.write_text("\n".join([header, ",".join([path, *["7"] * 8, label])]))
    with pytest.raises(DataError, match="line 2: the box 7, 7, 7, 7 has no area"):
        list(clpd.read(tmp_path))


def test_points_from_another_corner_keep_their_box(tmp_path):
    """As CCPD has them, from the right-bottom one: rectified, the plate would stand on its head."""
    points = "61,40,11,38,10,20,60,22"
    trees.write(tmp_path / "CLPD.csv", f"{trees.CLPD_HEADER}1.jpg,{points},皖A12345\n")
    (plate,) = clpd.read(tmp_path)
    assert (plate.box, plate.corners) == ((10, 20, 61, 40), None)


@pytest.mark.parametrize(
    ("path", "label", "message"),
    [
        ("", "皖A12345", "path must not be empty"),
        ("1.jpg", "", "label '' should be a plate's one to eight characters, as 皖A12345"),
        ("1.jpg", "皖A1234567", "label '皖A1234567' should be a plate's one to eight characters"),
    ],
)
def test_wrong_cells_are_named(tmp_path, path, label, message):
    row = f"{path},10,20,60,22,61,40,11,38,{label}\n"
    trees.write(tmp_path / "CLPD.csv", trees.CLPD_HEADER + row)
    with pytest.raises(DataError, match=f"CLPD.csv, line 2: {message}"):
        list(clpd.read(tmp_path))


def test_a_copy_of_the_table_is_not_taken_for_it(tmp_path):
    for name, text in (("CLPD (1).csv", "皖A00000"), ("CLPD.csv", "皖A12345"), ("CLPD-1.csv", "")):
        row = f"1.jpg,10,20,60,22,61,40,11,38,{text}\n"
        trees.write(tmp_path / name, trees.CLPD_HEADER + row)
    assert [plate.text for plate in clpd.read(tmp_path)] == ["皖A12345"]


def test_backslashes_part_folders_too(tmp_path):
    trees.clpd(tmp_path, ["皖A12345"], "utf-8")
    table = tmp_path / "CLPD.csv"
    table.write_text(table.read_text().replace("CLPD_1200/", "CLPD_1200\\"))
    (plate,) = clpd.read(tmp_path)
    assert plate.image.exists()

"""Own photographs: tables and file names of all kinds, and wrong ones."""

import collections
import csv
import io
import os
import random

import pytest

from hpa_jax.charset import normalise_text
from hpa_jax.data import files, folder
from hpa_jax.data.plate import DataError
from tests.data import trees
from tests.data.trees import counts


def test_without_splits_a_tenth_is_held_back(tmp_path):
    rows = "".join(f"{i % 600}.jpg,AB{i % 300}\n" for i in range(600))
    trees.write(tmp_path / "labels.csv", f"file,text\n{rows}")
    plates = list(folder.read(tmp_path))
    assert 30 <= counts(plates)["dev"] <= 90
    texts = [{p.text for p in plates if p.split == split} for split in ("dev", "train")]
    assert not texts[0] & texts[1]
    # The same ones on any machine and ever after, or what was tested on would be trained on.
    assert [i for i in range(40) if folder.split_by_hash(f"AB{i}") == "dev"] == [6, 8, 26]


def test_folder_csv_with_everything(tmp_path):
    trees.write(
        tmp_path / "labels.csv",
        "file,text,split,x1,y1,x2,y2,corners,character_boxes\n"
        'a/1.jpg,ab-12,dev,10,20,50,40,"60,40;10,38;12,20;61,22","1,1,2,2;2,1,3,2;3,1,4,2;4,1,5,2"\n'
        "2.jpg,皖A·1,,,,,,,\n",
    )
    first, second = folder.read(tmp_path)
    assert (first.text, first.split, first.box) == ("AB12", "dev", (10, 20, 50, 40))
    assert first.corners == ((12, 20), (61, 22), (60, 40), (10, 38))
    assert first.characters[1] == ((2, 1), (3, 1), (3, 2), (2, 2))
    assert (second.text, second.split, second.box) == ("皖A1", "train", None)


def test_folder_csv_is_found_and_read_in_any_case(tmp_path):
    """A table that is overlooked would leave file names for texts, and test rows for training."""
    trees.write(tmp_path / "Labels.CSV", "File,TEXT,Split,X1,Y1,X2,Y2\n1.jpg,ab12,dev,1,2,3,4\n")
    trees.write(tmp_path / "._Labels.csv", b"\0\0")  # macOS leaves such beside copied files
    (plate,) = folder.read(tmp_path)
    assert (plate.text, plate.split, plate.box) == ("AB12", "dev", (1, 2, 3, 4))
    trees.write(tmp_path / "more.csv", "file,text,Text\n1.jpg,AB12,CD34\n")
    assert [plate.text for plate in folder.read(tmp_path)] == ["AB12"]
    (tmp_path / "Labels.CSV").unlink()
    with pytest.raises(DataError, match="more.csv: has several columns called text"):
        list(folder.read(tmp_path))


def test_boxes_in_columns_of_other_names_are_not_passed_over(tmp_path):
    """Else the whole photograph would be the plate."""
    trees.write(tmp_path / "labels.csv", "file,text,xmin,ymin,xmax,ymax\n1.jpg,AB12,1,2,3,4\n")
    with pytest.raises(DataError, match="columns xmin, ymin, but boxes are read from x1, y1"):
        list(folder.read(tmp_path))
    rows = "file,text,xmin,ymin,xmax,ymax,corners\n1.jpg,AB12,1,2,3,4,\n"
    trees.write(tmp_path / "labels.csv", rows)
    with pytest.raises(DataError, match="columns xmin, ymin, but boxes are read from x1, y1"):
        list(folder.read(tmp_path))
    trees.write(tmp_path / "labels.csv", "file,text,x1,y1,w,h\n1.jpg,AB12,1,2,3,4\n")
    with pytest.raises(DataError, match="labels.csv: has no column x2, y2: a box is x1, y1, x2"):
        list(folder.read(tmp_path))
    trees.write(tmp_path / "labels.csv", "file,text,x,x1,y1,x2,y2\n1.jpg,AB12,7,1,2,3,4\n")
    assert [plate.box for plate in folder.read(tmp_path)] == [(1, 2, 3, 4)]
    unknown = "file,text,left,x1,y1,x2,y2\n1.jpg,AB12,7,,,,\n"  # left is of something else
    trees.write(tmp_path / "labels.csv", unknown)
    assert [plate.box for plate in folder.read(tmp_path)] == [None]


def test_a_csv_without_rows_is_named(tmp_path):
    trees.write(tmp_path / "labels.csv", "file,text\n\n")
    with pytest.raises(DataError, match="labels.csv: has a header and no rows"):
        list(folder.read(tmp_path))


def test_a_folder_above_labelled_ones_is_not_read_by_names(tmp_path):
    trees.write(tmp_path / "mine/labels.csv", "file,text\np1.jpg,AB12\n")
    trees.write(tmp_path / "mine/p1.jpg", b"x")
    with pytest.raises(DataError, match="has no CSV, but its folder mine has"):
        list(folder.read(tmp_path))


def test_names_of_cameras_are_no_labels(tmp_path):
    for name in ("IMG_0001.jpg", "IMG_0002.jpg"):
        trees.write(tmp_path / name, b"x")
    with pytest.raises(DataError, match="all file names begin with 'IMG': they should begin with"):
        list(folder.read(tmp_path))
    (tmp_path / "IMG_0001.jpg").rename(tmp_path / "AB12_1.jpg")
    (tmp_path / "IMG_0002.jpg").rename(tmp_path / "AB12_2.jpg")  # one car
    assert [plate.text for plate in folder.read(tmp_path)] == ["AB12", "AB12"]


def test_folder_names(tmp_path):
    trees.write(tmp_path / "Test/AB-1234_3.jpg", b"x")
    trees.write(tmp_path / "ab1234.PNG", b"x")
    trees.write(tmp_path / "notes.txt", b"x")
    trees.write(tmp_path / "Test/camera 2/CD99.jpg", b"x")
    plates = [(p.text, p.split, p.name) for p in folder.read(tmp_path)]
    assert plates == [
        ("AB1234", "train", f"{tmp_path.name}/ab1234.PNG"),
        ("AB1234", "test", "Test/AB-1234_3.jpg"),
        ("CD99", "test", "Test/camera 2/CD99.jpg"),
    ]


@pytest.mark.parametrize("split", ["all", "a b", "train+dev", "ü"])
def test_folder_split_names(tmp_path, split):
    trees.write(tmp_path / "labels.csv", f"file,text,split\n0.jpg,AB11,{split}\n")
    with pytest.raises(DataError, match="0.jpg: split .* should be a word"):
        list(folder.read(tmp_path))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",AB12,,,,,", "file must not be empty"),
        ("1.jpg,--,,,,,", "text must not be empty"),
        ("1.jpg,AB12,1,2,x,4,", "x2 is 'x', should be a number"),
        ("1.jpg,AB12,1,2,,4,", "x2 is '', should be a number"),
        ("1.jpg,AB12,1 2,2,,4,", "x1 is '1 2', should be a number"),
        ("1.jpg,AB12,1,2,1,4,", "no area"),
        ("1.jpg,AB12,90,2,60,20,", "left, top, right and bottom, and no width or height"),
        ("1.jpg,AB12,1,2,inf,4,", "x2 is 'inf'"),
        ('1.jpg,AB12,,,,,"1,1;9,1;9,9"', "four points"),
        ('1.jpg,AB12,,,,,"1,1;1,9;9,9;9,1"', "clockwise"),
        ('1.jpg,AB12,,,,,"1,1;5,1;9,1;1,9"', "clockwise"),  # three in a line
        ("1.jpg,AB12,,,,,1,1;9,1;9,9;1,9", "quote ','"),
        ('1.jpg,AB12,1,1,9,9,"50,50;59,50;59,59;50,59"', "is not around the corners"),
    ],
)
def test_folder_bad_rows_are_named_and_the_others_read(tmp_path, row, says):
    header = "file,text,x1,y1,x2,y2,corners"
    trees.write(tmp_path / "labels.csv", f"{header}\n0.jpg,AB11,,,,,\n{row}\n")
    with pytest.raises(DataError, match=says) as error:
        list(folder.read(tmp_path))
    assert "labels.csv, line 3" in str(error.value)
    bad = []
    assert [p.text for p in folder.read(tmp_path, on_bad=bad.append)] == ["AB11"]
    assert len(bad) == 1


@pytest.mark.parametrize(
    ("delimiter", "first", "end", "encoding"),
    [
        (";", "", "", "utf-8"),
        ("\t", "", "", "utf-16"),
        (";", "SEP=;\r\n", "", "utf-8-sig"),
        (" , ", "sep=,\n", "", "utf-8"),
        (";", "", ";;", "utf-8"),
    ],
)
def test_folder_csv_of_other_spreadsheets(tmp_path, delimiter, first, end, encoding):
    rows = ["file,text,split,x1,y1,x2,y2", "1.jpg,BA12,Train,1,2,30,40", "2.jpg,BC12,DEV,,,,"]
    text = first + "".join(f"{row.replace(',', delimiter)}{end}\n" for row in rows)
    trees.write(tmp_path / "labels.csv", text.encode(encoding))
    first, second = folder.read(tmp_path)
    assert (first.text, first.split, first.box) == ("BA12", "train", (1, 2, 30, 40))
    assert (second.text, second.split, second.box) == ("BC12", "dev", None)


def test_text_that_is_no_utf8_is_told(tmp_path):
    trees.write(tmp_path / "labels.csv", "file,text\n1.jpg,皖A12345\n".encode("gbk"))
    with pytest.warns(UserWarning, match="labels.csv is no UTF-8 and was read as GBK: save it as"):
        (plate,) = folder.read(tmp_path)
    assert plate.text == "皖A12345"
    trees.write(tmp_path / "labels.csv", "file,text,by\n1.jpg,皖A12345,㐂\n".encode("gb18030"))
    with pytest.warns(UserWarning, match="read as GB18030"):  # which has what GBK lacks
        assert [plate.text for plate in folder.read(tmp_path)] == ["皖A12345"]
    # As spreadsheets on Windows write umlauts: bytes that may be Chinese, but of no province.
    trees.write(tmp_path / "labels.csv", "file,text\n1.jpg,BÄA12\n".encode("cp1252"))
    with pytest.raises(DataError, match="labels.csv: is neither UTF-8 nor .* save it as UTF-8"):
        list(folder.read(tmp_path))


def test_a_file_name_that_is_no_utf8_is_read(tmp_path):
    trees.write(tmp_path / os.fsdecode(b"B\xff1.png"), trees.jpeg())
    assert len(list(folder.read(tmp_path))) == 1


@pytest.mark.filterwarnings("ignore:.* is no UTF-8")
def test_mutated_label_files_give_true_plates_or_errors(tmp_path):
    """10,000 mutated CSVs, and class id lists: a plate that the file holds, or DataError."""
    rng = random.Random(1)
    header = "file,text,x1,y1,x2,y2,corners"
    rows = header + '\n1.jpg,AB12,10,20,60,40,\n2.jpg,CD34,,,,,"1,1;9,1;9,9;1,9"\n'
    path = tmp_path / "labels.csv"
    outcomes = collections.Counter()
    for _ in range(10_000):
        data = bytearray(rows.encode())
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = bytes(rng.choices(b'0;,"\n\r\x00\xff\xe7AZ- ', k=1))
        path.write_bytes(data)
        bad = []
        try:
            plates = list(folder.read_table(path, bad.append))
        except DataError:
            outcomes["file"] += 1
            continue
        outcomes["row" if bad else "read"] += 1
        rows_again = csv.reader(io.StringIO(files.read_text(path), newline=""))
        cells = {cell.strip() for row in rows_again for cell in row}
        for plate in plates:  # nothing is invented: name and text stand in the file as they are
            assert plate.name in cells
            assert plate.text in {normalise_text(cell) for cell in cells}
    assert min(outcomes["file"], outcomes["row"], outcomes["read"]) > 100


def test_backslashes_part_folders_as_slashes_do(tmp_path):
    trees.write(tmp_path / "labels.csv", "file,text\na\\1.jpg,AB12\n")
    (plate,) = folder.read(tmp_path)
    assert (plate.image, plate.name) == (tmp_path / "a/1.jpg", "a/1.jpg")


def test_a_folder_whose_name_is_no_split_is_told(tmp_path):
    for name in ("all/AB12.jpg", "dev/CD34.jpg"):
        trees.write(tmp_path / name, trees.jpeg())
    bad = []
    assert [plate.text for plate in folder.read(tmp_path, bad.append)] == ["CD34"]
    assert len(bad) == 1 and "AB12" in str(bad[0])


def test_folders_in_any_script_are_splits_of_their_own(tmp_path):
    for name in ("训练/AB12.jpg", "测试/CD34.jpg"):
        trees.write(tmp_path / name, trees.jpeg())
    assert {plate.split for plate in folder.read(tmp_path)} == {"u8badu7ec3", "u6d4bu8bd5"}


def test_a_folder_that_is_called_as_an_image_is_none(tmp_path):
    trees.write(tmp_path / "train.jpg/AB1.jpg", b"")
    trees.write(tmp_path / "CD2.jpg", b"")
    assert {plate.text for plate in folder.read(tmp_path)} == {"AB1", "CD2"}


def test_links_are_followed_once(tmp_path):
    trees.write(tmp_path / "train/AB12.jpg", trees.jpeg())
    (tmp_path / "train/again").symlink_to(tmp_path)
    (tmp_path / "dev").symlink_to(tmp_path / "train")
    assert [plate.text for plate in folder.read(tmp_path)] == ["AB12"]


def test_an_empty_folder_is_not_looked_for_above(tmp_path):
    trees.write(tmp_path / "AB12.jpg", b"x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it holds nothing"):
        list(folder.read(tmp_path / "empty"))


def test_what_is_no_text_is_told_what_to_save_it_as(tmp_path):
    table = tmp_path / "labels.csv"
    trees.write(table, "file,text\n1.jpg,AB12\n".encode("utf-16-le"))  # without its mark
    with pytest.raises(DataError, match="labels.csv: is not a text file .it holds zero bytes.; sa"):
        list(folder.read(tmp_path))
    with table.open("wb") as file:
        file.truncate(files.MAX_LABEL_BYTES + 1)
    with pytest.raises(DataError, match="labels.csv: is larger than 1024 MiB, too large"):
        list(folder.read(tmp_path))

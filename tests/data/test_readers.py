"""Readers: the official layouts, wrong trees, and files that nobody should be able to break."""

import collections
import csv
import io
import pathlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_jax.data import aolp, ccpd, clpd, files, folder, media_lab, protocols
from hpa_jax.data.plate import DataError, hull
from tests.data import trees

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="module")
def aolp_tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("aolp")
    trees.aolp_subset(root / "Subset_AC/Subset_AC", 681)
    trees.aolp_subset(root / "Subset_LE", 757)
    trees.aolp_subset(root / "Subset_RP/Subset_RP/Subset_RP", 611)
    return root


def published(module):
    """The numbers of plates of a data set that has had one release."""
    return {split: count for split, (count,) in module.EXPECTED.items()}


def counts(plates):
    return dict(collections.Counter(p.split for p in plates))


def test_aolp_official_layout_has_the_published_counts(aolp_tree):
    plates = list(aolp.read(aolp_tree))
    second = {"ac_second": 1, "le_second": 1, "rp_second": 1}
    assert counts(plates) == published(aolp) | second
    assert sum(published(aolp).values()) == 2049
    first = next(p for p in plates if p.name == "AC/1")
    assert (first.text, first.box) == ("0001AT", (10, 20.25, 60.5, 40))
    assert next(p for p in plates if p.name == "AC/1_2").text == "9999ZZ"


@pytest.mark.parametrize("test", ["AC", "LE", "RP"])
@pytest.mark.parametrize("le", [582, 757])
def test_aolp_protocol_leaves_one_subset_out(aolp_tree, test, le):
    protocol = protocols.aolp(test, le)
    images = collections.defaultdict(set)
    for plate in aolp.read(aolp_tree):
        images[plate.split].add(plate.image)
    size = {"AC": 681, "LE": le, "RP": 611}
    train = [images[split] for split in protocol.train.split("+")]
    assert sum(map(len, train)) == sum(size.values()) - size[test]
    for name, splits in protocol.test.items():
        tested = set().union(*(images[split] for split in splits.split("+")))
        assert len(tested) == {"LE582": 582, "LE757": 757}.get(name, size[test])
        assert not tested & set().union(*train)


def test_aolp_choice_of_582_is_always_the_same(aolp_tree):
    chosen = [sorted(p.name for p in aolp.read(aolp_tree) if p.split == "le582") for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert "LE/582" not in chosen[0] or "LE/757" in chosen[0]  # not simply the first 582


def test_aolp_second_plate_without_text_is_kept_as_unread(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_LE", 2)
    (tmp_path / "Subset_LE/groundtruth_recognition/1_2.txt").unlink()
    assert [p.text for p in aolp.read(tmp_path) if p.split == "le_second"] == [""]


def test_aolp_copied_on_macos_is_as_before(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_AC", 2)
    plates = list(aolp.read(tmp_path))
    for file in ("Image/._1.jpg", "groundtruth_recognition/._1.txt"):
        trees.write(tmp_path / "Subset_AC" / file, b"\0")
    assert list(aolp.read(tmp_path)) == plates


def test_aolp_vim_lpr_layout(tmp_path):
    trees.write(tmp_path / "AOLP/RP/image/RP_607.png", b"x")
    trees.write(tmp_path / "AOLP/RP/char/RP_607.txt", "14\n15\n1\n4\n5\n2\n")
    assert [(p.text, p.split) for p in aolp.read(tmp_path)] == [("EF1452", "rp")]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("groundtruth_recognition/2.txt", None, "cannot be read"),
        ("groundtruth_recognition/2.txt", "", "no plate's text"),
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


def test_ccpd_reference_name():
    name = ccpd.parse_name(
        "025-95_113-154&383_386&473-386&473_177&454_154&383_363&402-0_0_22_27_27_33_16-37-15.jpg"
    )
    assert name.text == "皖AY339S"
    assert name.corners == ((154, 383), (363, 402), (386, 473), (177, 454))
    assert name.box == (154, 383, 386, 473) == hull(name.corners)
    assert (name.area, name.tilt, name.brightness, name.blurriness) == ("025", (95, 113), 37, 15)


def test_ccpd_green_name_has_eight_characters():
    name = ccpd.parse_name(
        "03599609375-91_93-1&2_90&40-90&40_1&40_1&2_90&2-0_0_3_24_29_31_33_33-61-38.jpg"
    )
    assert name.text == "皖AD05799"


@pytest.mark.parametrize("plate", ["33_0_0_0_0_0_0", "0_24_0_0_0_0_0", "0_0_34_0_0_0_0"])
def test_ccpd_sentinel_is_no_letter(plate):
    with pytest.raises(DataError, match="no character"):
        ccpd.parse_name(f"025-95_113-10&20_80&50-78&50_10&45_12&20_80&25-{plate}-37-15")


def write_name(name: ccpd.Name) -> str:
    """Writes a name from its parts, independently of how they were read."""
    left_top, right_top, right_bottom, left_bottom = name.corners
    points = [right_bottom, left_bottom, left_top, right_top]
    tables = [ccpd.PROVINCES, ccpd.ALPHABETS] + [ccpd.ADS] * 6
    x1, y1, x2, y2 = map(int, name.box)
    return "-".join(
        [
            name.area,
            f"{name.tilt[0]}_{name.tilt[1]}",
            f"{x1}&{y1}_{x2}&{y2}",
            "_".join(f"{int(x)}&{int(y)}" for x, y in points),
            "_".join(str(table.index(c)) for c, table in zip(name.text, tables, strict=False)),
            f"{name.brightness}",
            f"{name.blurriness}",
        ]
    )


def test_ccpd_mutated_names_give_a_true_plate_or_one_error():
    """30,000 mutated names: what is accepted says, written out again, what the name said."""
    rng = random.Random(0)
    alphabet = "0123456789-_&.abO٣²\n /\\皖"
    accepted = refused = 0
    for i in range(30_000):
        letters = list(trees.ccpd_name(rng.randrange(10**6)).removesuffix(".jpg"))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(letters))
            change = rng.randrange(4)
            if change == 0:
                letters[at] = rng.choice(alphabet)
            elif change == 1:
                del letters[at]
            elif change == 2:
                letters.insert(at, rng.choice(alphabet))
            else:
                letters = letters[:at] + letters[at + rng.randrange(20) :] or ["-"]
        mutated = "".join(letters)
        try:
            name = ccpd.parse_name(mutated)
        except DataError as error:
            assert mutated in str(error)
            refused += 1
            continue
        numbers = [[int(n) for n in _split(part)] for part in (mutated, write_name(name))]
        assert numbers[0] == numbers[1], f"{i}: {mutated}"
        accepted += 1
    assert accepted > 5_000
    assert refused > 5_000


def _split(name):
    name = name.rpartition("/")[2]
    assert set(name) <= set("0123456789-_&"), name
    for mark in "-_&":
        name = name.replace(mark, " ")
    return name.split()


@settings(max_examples=2000, deadline=None)
@given(st.text(max_size=120))
def test_ccpd_arbitrary_names_are_refused(name):
    with pytest.raises(DataError):
        ccpd.parse_name(name)


def test_ccpd_base_lists_and_subsets(tmp_path):
    trees.ccpd_base(tmp_path / "CCPD2019", train=500, test=400)
    root = tmp_path / "CCPD2019"
    trees.write(root / "ccpd_blur" / trees.ccpd_name(7), b"")
    trees.write(root / "ccpd_np/1000.jpg", b"")
    trees.write(root / "ccpd_green/val" / trees.ccpd_name(8), b"")
    trees.write(root / "ccpd_blur/@eaDir" / trees.ccpd_name(7), b"")  # as network drives make them
    trees.write(root / "ccpd_tilt/ccpd_tilt" / trees.ccpd_name(9), b"")
    plates = list(ccpd.read(tmp_path))
    expected = {"base_train": 500, "base_test": 400, "blur": 1, "np": 1, "green_val": 1}
    expected |= {"tilt": 1}
    assert counts(plates) == expected
    assert [p.text for p in plates if p.split == "np"] == [""]
    train = {p.image for p in plates if p.split == "base_train"}
    assert not train & {p.image for p in plates if p.split == "base_test"}


def test_ccpd_full_size_base(tmp_path):
    """200,000 names through the lists alone; the files need not be opened to be counted."""
    names = [trees.ccpd_name(i) for i in range(200_000)]
    assert len(set(names)) == 200_000
    lines = [f"ccpd_base/{name}\n" for name in names]
    trees.write(tmp_path / "splits/train.txt", "".join(lines[:100_000]))
    trees.write(tmp_path / "splits/test.txt", "".join(lines[100_000:]))  # as in 2018
    split_of = ccpd._base_lists(tmp_path)
    expected = {"base_train": 100_000, "base_test": 100_000}
    assert dict(collections.Counter(split_of.values())) == expected


def test_ccpd_lists_without_a_test_half_are_refused(tmp_path):
    trees.ccpd_base(tmp_path, train=3, test=2)
    (tmp_path / "splits/val.txt").unlink()
    with pytest.raises(DataError, match="lists no base image to test on"):
        list(ccpd.read(tmp_path))


def test_ccpd_image_in_both_lists_is_refused(tmp_path):
    trees.ccpd_base(tmp_path, train=3, test=2)
    with (tmp_path / "splits/val.txt").open("a") as file:
        file.write(f"ccpd_base/{trees.ccpd_name(0)}\n")
    with pytest.raises(DataError, match="listed for training too"):
        list(ccpd.read(tmp_path))


def test_ccpd_listed_image_that_is_missing_is_named(tmp_path):
    trees.ccpd_base(tmp_path, train=3, test=2)
    (tmp_path / "ccpd_base" / trees.ccpd_name(1)).unlink()
    with pytest.raises(DataError, match="is listed as base_train but is not there"):
        list(ccpd.read(tmp_path))


def test_ccpd_without_lists_says_what_to_copy(tmp_path):
    trees.write(tmp_path / "ccpd_base" / trees.ccpd_name(0), b"")
    with pytest.raises(DataError, match="copy the folder splits"):
        list(ccpd.read(tmp_path))


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


def test_labels_lose_separators_and_nothing_else():
    assert folder.normalise_text(" 皖a·d-12_34 5") == "皖AD12345"
    assert folder.normalise_text("ΥΝΚ-3401") == "YNK3401"  # Greek capitals
    for hidden in "*?□":
        assert hidden in folder.normalise_text(f"AB{hidden}123")


def test_without_splits_a_tenth_is_held_back(tmp_path):
    rows = "".join(f"{i % 600}.jpg,AB{i % 300}\n" for i in range(600))
    trees.write(tmp_path / "labels.csv", f"file,text\n{rows}")
    plates = list(folder.read(tmp_path))
    assert 30 <= counts(plates)["dev"] <= 90
    texts = [{p.text for p in plates if p.split == split} for split in ("dev", "train")]
    assert not texts[0] & texts[1]


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
    trees.write(tmp_path / "labels.csv", "file,text,x,x1,y1,x2,y2\n1.jpg,AB12,7,1,2,3,4\n")
    assert [plate.box for plate in folder.read(tmp_path)] == [(1, 2, 3, 4)]


def test_a_folder_above_labelled_ones_is_not_read_by_names(tmp_path):
    trees.write(tmp_path / "mine/labels.csv", "file,text\np1.jpg,AB12\n")
    trees.write(tmp_path / "mine/p1.jpg", b"x")
    with pytest.raises(DataError, match="has no CSV, but its folder mine has"):
        list(folder.read(tmp_path))


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


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_folder_csv_of_other_spreadsheets(tmp_path, delimiter):
    rows = ["file,text,split,x1,y1,x2,y2", "1.jpg,BA12,Train,1,2,30,40", "2.jpg,BC12,DEV,,,,"]
    trees.write(tmp_path / "labels.csv", "\n".join(rows).replace(",", delimiter))
    first, second = folder.read(tmp_path)
    assert (first.text, first.split, first.box) == ("BA12", "train", (1, 2, 30, 40))
    assert (second.text, second.split, second.box) == ("BC12", "dev", None)


def test_text_that_is_no_utf8_is_told(tmp_path):
    """As spreadsheets on Windows write umlauts: bytes that may be Chinese."""
    trees.write(tmp_path / "labels.csv", "file,text\n1.jpg,BÄA12\n".encode("cp1252"))
    with pytest.warns(UserWarning, match="labels.csv is no UTF-8 and was read as GBK: save it as"):
        (plate,) = folder.read(tmp_path)
    assert plate.text == "B腁12"


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
            assert plate.text in {folder.normalise_text(cell) for cell in cells}
    assert min(outcomes["file"], outcomes["row"], outcomes["read"]) > 100


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="0123456789\n -.eab²٣", max_size=30))
def test_class_id_lists(label):
    try:
        text = aolp.decode_ids(label, "1.txt")
    except DataError as error:
        assert str(error).startswith("1.txt")
    else:
        assert [aolp.CLASSES.index(c) for c in text] == [int(word) for word in label.split()]


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


def test_aolp_is_found_above_a_doubled_folder(tmp_path):
    for subset in ("AC", "RP"):
        trees.aolp_subset(tmp_path / f"AOLP/Subset_{subset}/Subset_{subset}", 3)
    plates = list(aolp.read(tmp_path / "AOLP/Subset_AC"))
    assert {"ac", "rp"} <= set(counts(plates))


def test_media_lab_photograph_of_both_subsets_is_refused(tmp_path):
    trees.write(
        tmp_path / "annotations.csv", "file,text,subset\n1.jpg,AB12,normal\n1.jpg,AB12,difficult\n"
    )
    with pytest.raises(DataError, match="1.jpg is both normal and difficult"):
        list(media_lab.read(tmp_path))


def test_aolp_choice_of_582_is_that_of_every_machine(tmp_path):
    trees.aolp_subset(tmp_path / "Subset_LE", 757)
    chosen = [int(p.name[3:]) for p in aolp.read(tmp_path) if p.split == "le582"]
    assert sum(chosen) == 222717


def test_ccpd_box_far_from_its_corners_is_refused():
    with pytest.raises(DataError, match="is not around its corners"):
        ccpd.parse_name("025-95_113-210&20_280&50-78&50_10&45_12&20_80&25-0_0_0_0_0_0_0-37-15")


def test_media_lab_folds_are_those_of_every_machine(tmp_path):
    trees.media_lab(tmp_path)
    fold = [p.name for p in media_lab.read(tmp_path) if p.split == "fold0"]
    assert fold[:4] == ["day/3.jpg", "day/4.jpg", "day/7.jpg", "day/9.jpg"]


def test_ccpd_tables():
    """The provinces in CCPD's order, which is not ours."""
    names = "皖沪津渝冀晋蒙辽吉黑苏浙京闽赣鲁豫鄂湘粤桂琼川贵云藏陕甘青宁新警学"
    assert [ccpd.decode_indices([i, 8, 24], "")[0] for i in range(33)] == list(names)

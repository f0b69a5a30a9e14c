"""CCPD: what its file names say, its lists, and names that are wrong."""

import collections
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa_jax.data import ccpd
from hpa_jax.data.plate import DataError, hull
from tests.data import trees
from tests.data.trees import counts


def test_ccpd_reference_name():
    name = ccpd.parse_name(
        "025-95_113-154&383_386&473-386&473_177&454_154&383_363&402-0_0_22_27_27_33_16-37-15.jpg"
    )
    assert name.text == "皖AY339S"
    assert name.corners == ((154, 383), (363, 402), (386, 473), (177, 454))
    assert name.box == (154, 383, 386, 473) == hull(name.corners)


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
    """Writes the read fields of a name, independently of how they were read."""
    left_top, right_top, right_bottom, left_bottom = name.corners
    points = [right_bottom, left_bottom, left_top, right_top]
    tables = [ccpd.PROVINCES, ccpd.ALPHABETS] + [ccpd.ADS] * 6
    x1, y1, x2, y2 = map(int, name.box)
    return "-".join(
        [
            f"{x1}&{y1}_{x2}&{y2}",
            "_".join(f"{int(x)}&{int(y)}" for x, y in points),
            "_".join(str(table.index(c)) for c, table in zip(name.text, tables, strict=False)),
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
        said = "-".join(mutated.split("-")[2:5])
        numbers = [[int(n) for n in _split(part)] for part in (said, write_name(name))]
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
    lists = root / "splits/val.txt"  # some are of all sub-sets, and start above them
    lines = [f"ccpd_blur/{trees.ccpd_name(7)}\n", *lists.read_text().splitlines(keepends=True)]
    lists.write_text("CCPD2019/".join(["", *lines]))
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


def test_ccpd_doubled_base_is_found_from_itself(tmp_path):
    trees.ccpd_base(tmp_path, train=3, test=2)
    (tmp_path / "ccpd_base").rename(tmp_path / "inner")
    (tmp_path / "ccpd_base").mkdir()
    (tmp_path / "inner").rename(tmp_path / "ccpd_base/ccpd_base")
    assert counts(ccpd.read(tmp_path / "ccpd_base")) == {"base_train": 3, "base_test": 2}


def test_ccpd_lists_without_a_test_half_are_refused(tmp_path):
    trees.ccpd_base(tmp_path, train=3, test=2)
    (tmp_path / "splits/val.txt").unlink()
    with pytest.raises(DataError, match="in val.txt or test.txt: no base_test"):
        list(ccpd.read(tmp_path))
    trees.ccpd_base(tmp_path / "bare", train=3, test=2)
    names = tmp_path / "bare/splits/train.txt"
    names.write_text(names.read_text().replace("ccpd_base/", ""))
    with pytest.raises(DataError, match="no image as ccpd_base/NAME.jpg in train.txt"):
        list(ccpd.read(tmp_path / "bare"))


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


def test_ccpd_box_far_from_its_corners_is_refused():
    with pytest.raises(DataError, match="is not around its corners"):
        ccpd.parse_name("025-95_113-210&20_280&50-78&50_10&45_12&20_80&25-0_0_0_0_0_0_0-37-15")


def test_ccpd_tables():
    """The provinces in CCPD's order, which is not ours."""
    names = "皖沪津渝冀晋蒙辽吉黑苏浙京闽赣鲁豫鄂湘粤桂琼川贵云藏陕甘青宁新警学"
    assert [ccpd.decode_indices([i, 8, 24], "")[0] for i in range(33)] == list(names)

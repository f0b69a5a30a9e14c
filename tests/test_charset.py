import numpy as np
import pytest

from hpa_jax import charset
from hpa_jax.charset import Charset


def test_encode_pads_with_void_and_decode_drops_it():
    ids = charset.TAIWAN.encode("EF1452", 7)
    # 14 15 1 4 5 2 is how the authors' released label files spell this plate.
    np.testing.assert_array_equal(ids, [14, 15, 1, 4, 5, 2, charset.TAIWAN.void])
    assert charset.TAIWAN.decode(ids) == "EF1452"


@pytest.mark.parametrize("wrong", [-1, 35])
def test_ids_of_no_character_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"class ids \[{wrong}\]: must be from 0 to 34"):
        charset.TAIWAN.decode([0, wrong])


def test_china_has_every_province_and_no_letter_o():
    assert len(charset.CHINA) == 31 + 10 + 24
    assert not set("IO") & set(charset.CHINA.characters)


@pytest.mark.parametrize(
    ("text", "message"), [("AB-12", "'-' not in charset"), ("ABCD12", "6 characters, at most 5")]
)
def test_wrong_texts_are_explained(text, message):
    with pytest.raises(ValueError, match=message):
        charset.TAIWAN.encode(text, 5)


def test_repeated_characters_are_refused():
    with pytest.raises(ValueError, match="twice: B"):
        Charset("ABCB")


def test_no_characters_are_refused():
    with pytest.raises(ValueError, match="is empty"):
        charset.find_charset("")


def test_more_characters_than_maps_can_hold_are_refused():
    assert len(Charset("".join(map(chr, range(0x4E00, 0x4E00 + 255))))) == 255
    with pytest.raises(ValueError, match="has 256 characters, at most 255"):
        Charset("".join(map(chr, range(0x4E00, 0x4E00 + 256))))


def test_a_misspelt_name_is_answered_with_those_known():
    assert charset.find_charset("china") is charset.CHINA
    assert charset.find_charset("AB1").characters == "AB1"
    for name in ("tawian", "chnia"):
        with pytest.raises(ValueError, match="the names known are taiwan, greece, china"):
            charset.find_charset(name)


@pytest.mark.parametrize(("signs", "named"), [("01Α", "'Α' .U.0391"), ("AB-", "'-' .U.002D")])
def test_signs_that_no_label_has_are_refused(signs, named):
    with pytest.raises(ValueError, match=f"no label has {named}"):
        charset.find_charset(signs)


def test_labels_lose_separators_and_nothing_else():
    assert charset.normalise_text(" 皖a·d-12_34 5") == "皖AD12345"
    assert charset.normalise_text("ΥΝΚ-3401") == "YNK3401"  # Greek capitals
    assert charset.normalise_text("ＡＢ－１２３４") == "AB1234"  # as wide as Chinese characters
    for hidden in "*?□":
        assert hidden in charset.normalise_text(f"AB{hidden}123")


def test_what_fonts_lack_is_spelled_out():
    assert charset.spell_out("皖A1Ä가") == "[AH]A1Ä[U+AC00]"
    assert charset.spell_out("晋陕") == "[SX][SN]"

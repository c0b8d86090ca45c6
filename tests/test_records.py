"""Decoding of records: whatever is wrong with one, the error is a ValueError with a reason in one line."""

import json
import math

import pytest

from translate import records

DEEP, DIGITS = "[" * 100_000, "9" * 5000


@pytest.mark.parametrize("text", [DEEP, DIGITS, "{", "", b"\xff\xfe\xff", b"\x00"])
def test_json_that_cannot_be_decoded_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"\w") as caught:
        records.parse_json(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [f"a = {DEEP}", f"a = {DIGITS}", "a =", "\x1b]0;x", "a = 1\na = 2"])
def test_toml_that_cannot_be_decoded_is_a_value_error(tmp_path, data):
    (tmp_path / "x.toml").write_text(data, encoding="utf-8")
    with pytest.raises(ValueError, match=r"\w") as caught:
        records.read_toml(tmp_path / "x.toml")
    assert str(caught.value).isprintable()


def test_nesting_and_digits_are_told_in_words(tmp_path):
    with pytest.raises(ValueError, match=r"^its values are nested too deeply$"):
        records.parse_json(DEEP)
    with pytest.raises(ValueError, match=r"^a number in it has too many digits$"):
        records.parse_json(DIGITS)


def test_what_is_whole_is_decoded_as_json_and_tomllib_do(tmp_path):
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": math.inf}}
    assert records.parse_json(json.dumps(value)) == value
    (tmp_path / "x.json").write_text(json.dumps(value), encoding="utf-8")
    assert records.read_json(tmp_path / "x.json") == value
    (tmp_path / "x.toml").write_text('a = [1, 2.5, true, "ü"]\n[b]\nc = inf\n', encoding="utf-8")
    assert records.read_toml(tmp_path / "x.toml") == {"a": [1, 2.5, True, "ü"], "b": {"c": math.inf}}
    for read in (records.read_json, records.read_toml):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "missing")


@pytest.mark.parametrize(
    ("value", "count", "number", "finite"),
    [
        (0, True, True, True), (2**63 - 1, True, True, True), (2**63, False, False, False), (-1, False, True, True),
        (1.0, False, True, True), (math.nan, False, True, False), (-math.inf, False, True, False),
        (True, False, False, False), ("1", False, False, False), (None, False, False, False), ([1], False, False, False),
    ],
)  # fmt: skip
def test_kinds_of_numbers(value, count, number, finite):
    assert (records.is_count(value), records.is_number(value), records.is_finite_number(value)) == (
        count,
        number,
        finite,
    )


def test_a_value_of_another_kind_is_named_and_shown_on_one_line():
    kinds = {"a": (records.is_count, "a whole number"), "b": (records.is_text, "a text")}
    records.check_kinds({"a": 1, "c": object()}, kinds)
    with pytest.raises(ValueError, match=r"^b is \['\\x1b', 2\], but must be a text$"):
        records.check_kinds({"a": 1, "b": ["\x1b", 2]}, kinds)
    with pytest.raises(ValueError, match=r"^a is too long to show \(int\), but must be a whole number$"):
        records.check_kinds({"a": 10**5000}, kinds)
    with pytest.raises(ValueError, match=r"^a is ") as caught:
        records.check_kinds({"a": "x" * 1000}, kinds)
    assert len(str(caught.value)) < 120

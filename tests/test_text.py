"""Words for people: names, errors, numbers, durations, rates and sizes."""

import pytest

from translate import text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b.png", "a b.png"),
        ("猫.png", "猫.png"),
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egpj", r"\u202egpj"),
        ("\udcff", r"\udcff"),
    ],
)
def test_printable_escapes_what_would_steer_a_terminal(name, expected):
    assert text.printable(name) == expected
    assert text.printable(name).encode()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (OSError(28, "No space left on device", "/x"), "No space left on device"),
        (MemoryError(), "MemoryError"),
        (ValueError("\x1b[31mred"), r"\x1b[31mred"),
        ("a plain text", "a plain text"),
    ],
)
def test_an_error_takes_one_line(error, expected):
    assert text.one_line(error) == expected


def test_a_long_error_is_cut():
    assert text.one_line(ValueError("x" * 300)) == "x" * 200
    assert text.one_line(ValueError("x" * 300), 80) == "x" * 80


def test_the_first_names_stand_for_all():
    assert text.join_names(["a", "b\n"]) == r"a, b\n"
    assert text.join_names("abcd") == "a, b, c, …"
    assert text.join_names("abcd", 4) == "a, b, c, d"


def test_a_flag_is_named_as_it_is_typed():
    assert text.flag_name("batch_size") == "--batch-size"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (0.4123, "0.412"), (-9.9, "-9.900"), (12.345, "12.35"), (123.45, "123.5"), (0.0002, "0.0002"),
        (1.234e6, "1.2e+06"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_a_number_has_as_few_digits_as_tell(value, expected):
    assert text.format_number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0.0 s"), (0.04, "0.0 s"), (4.23, "4.2 s"), (9.96, "10 s"), (89, "89 s"), (100, "2 min"), (2400, "40 min"),
        (19200, "5 h 20 min"), (47 * 3600, "47 h 0 min"), (76 * 3600, "3 days 4 h"),
    ],
)  # fmt: skip
def test_duration(seconds, expected):
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "seconds", "expected"),
    [
        (410, 10, "41/s"), (41, 10, "4.1/s"), (24680, 10, "2,468/s"), (1, 5, "12/min"), (1, 600, "0.1/min"), (0, 5, ""),
        (5, 0, ""),
    ],
)  # fmt: skip
def test_rate(count, seconds, expected):
    assert text.rate(count, seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (45_600, "46 kB"), (999_600, "1.0 MB"),
        (2_000_000_000_000, "2000 GB"),
    ],
)  # fmt: skip
def test_file_size(count, expected):
    assert text.file_size(count) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 MiB"), (340 << 20, "340 MiB"), (2**30 - 1, "1.0 GiB"), (5.5 * 2**30, "5.5 GiB"), (2**40, "1024.0 GiB")],
)
def test_memory_size(count, expected):
    assert text.memory_size(count) == expected


def test_an_unknown_name_gets_the_nearest_known_one_or_all_of_them():
    assert text.suggest("colour", ["flip", "color"]) == "did you mean color?"
    assert text.suggest("batch_sizes", ["batch_size"], text.flag_name) == "did you mean --batch-size?"
    assert text.suggest("xyzzy", ["flip", "color"]) == "possible: flip, color"


def test_a_moment_of_the_past(monkeypatch):
    monkeypatch.setattr(text.time, "time", lambda: 1000.0)
    assert text.ago(1000 - 300) == "5 min ago"
    assert text.ago(1001) == "0.0 s ago"  # by the clock of another machine


def test_columns_are_two_spaces_apart_and_lines_have_no_trailing_space():
    assert text.align_columns([("a", "bb", ""), ("ccc", "d", "e")]) == ["a    bb", "ccc  d   e"]
    assert text.align_columns([]) == []

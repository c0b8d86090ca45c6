"""Options of a request: as texts they mean what the flags mean, and refusals name the flag."""

import pytest

from translate.conversion.options import ConversionOptions
from translate.errors import UsageError
from translate.serving.request_options import FIELDS, RequestOptions, parse_options


def test_texts_become_the_options_of_a_conversion() -> None:
    pairs = [
        ("to", "a"),
        ("seed", "7"),
        ("mark", "off"),
        ("quality", "80"),
        ("source-type", "generated"),
        ("sample", "2"),
    ]
    own, options = parse_options(pairs, {"max_pixels": 99})
    assert own == RequestOptions(sample=2)
    assert options == ConversionOptions(to="a", seed=7, mark=False, quality=80, source_type="generated", max_pixels=99)


def test_no_parameters_are_the_defaults() -> None:
    assert parse_options([], {}) == (RequestOptions(), ConversionOptions())


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("seed", "abc"), "--seed abc: must be a whole number"),
        (("quality", "101"), "--quality 101: must be from 1 to 100"),
        (("format", "pngg"), "--format pngg: must be one of .* did you mean png"),
        (("background", "reddish"), "--background reddish"),
        (("mark", "perhaps"), "--mark perhaps: must be on or off"),
        (("sample", "-1"), "--sample -1"),
        (("sed", "1"), "sed: unknown parameter; did you mean seed"),
        (("scratch", "/etc"), "scratch: unknown parameter"),
        (("style", "/etc/passwd"), "style: unknown parameter"),
        (("instances", "/etc"), "instances: unknown parameter"),
    ],
)
def test_what_is_not_possible_is_named(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_options([pair], {})


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="to: given twice"):
        parse_options([("to", "a"), ("to", "b")], {})


def test_no_option_of_a_request_is_a_path() -> None:
    """Or a client could read files of the server."""
    assert not {"style", "instances", "scratch", "cluster"} & FIELDS.keys()

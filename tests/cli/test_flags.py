"""Flags are made from the options of a dataclass: types, switches, defaults, help and groups."""

import re
from dataclasses import dataclass, fields
from typing import Any, get_args

import pytest
from cyclopts import App

import translate
from translate import api, cli
from translate.cli.evaluate import MetricOptions
from translate.cli.flags import APP_GROUPS, GROUP_ORDER, DeviceOptions, flag_parameters, with_flags
from translate.cli.train import COMMON
from translate.config import option
from translate.conversion.options import ConversionOptions
from translate.conversion.sampling import SamplingOptions
from translate.errors import UsageError
from translate.evaluation.cases import EvaluationOptions
from translate.methods import METHODS

OPTIONS = {"convert": ConversionOptions, "sample": SamplingOptions, "evaluate": EvaluationOptions}
DECLARATIONS = [*OPTIONS.values(), DeviceOptions, MetricOptions, *(method.Config for method in METHODS.values())]


@dataclass(frozen=True)
class Example:
    count: int = option(3, "number of images", low=1)
    size: int | str = option("auto", "side of the images", choices=("auto",), low=1)
    mode: str = option("fast", "mode of the work", choices=("fast", "slow"))
    network: str | None = option(
        None, "network [default: the deepest]", choices=("a_1", "a_2"), accepts=lambda name: True
    )
    clean: bool = option(False, "remove the rest")
    mark: bool = option(True, "mark the images")
    skip: bool = option(False, "skip what does not fit", switch=True)


def parsed(*words: str, **how: Any) -> dict[str, Any]:
    """The options that a command gets from these words."""
    got: dict[str, Any] = {}
    app = App(result_action="return_value", **APP_GROUPS)
    app.default(with_flags(lambda **options: got.update(options), flag_parameters(Example, **how)))
    app(words, exit_on_error=False, print_error=False)
    return got


def help_of(name: str, **how: Any) -> str:
    (parameter,) = [p for p in flag_parameters(Example, **how) if p.name == name]
    return get_args(parameter.annotation)[1].help


def test_only_flags_that_are_given_arrive() -> None:
    assert parsed() == {}
    assert parsed("--count", "5", "--mode", "slow") == {"count": 5, "mode": "slow"}


def test_a_switch_takes_no_word_and_can_be_turned_off_again() -> None:
    """Also beside options that take on or off."""
    assert parsed("--skip", "--clean", "on") == {"skip": True, "clean": "on"}
    assert parsed("--no-skip") == {"skip": False}
    assert parsed("--skip", switches=True) == {"skip": True}


@pytest.mark.parametrize(("word", "value"), [("16", 16), ("auto", "auto"), ("other", "other")])
def test_a_number_or_a_word(word: str, value: int | str) -> None:
    """The options check which words are possible, also for those from Python."""
    assert parsed("--size", word) == {"size": value}


def test_switches_take_no_word() -> None:
    assert parsed("--clean", "--no-mark", switches=True) == {"clean": True, "mark": False}
    assert parsed("--mark", switches=True) == {"mark": True}
    assert parsed("--clean", "on", "--mark", "off") == {"clean": "on", "mark": "off"}


def test_a_flag_may_have_another_name_than_its_option() -> None:
    assert parsed("--class", "fast", names={"mode": "--class"}) == {"mode": "fast"}


def test_help_says_the_default() -> None:
    assert help_of("count") == "number of images [default: 3]"
    assert help_of("mark") == "mark the images [default: on]"
    assert help_of("network") == "network, such as a_1, a_2 [default: the deepest]"
    assert help_of("network", with_defaults=False) == "network, such as a_1, a_2"


@pytest.mark.parametrize("options", DECLARATIONS, ids=lambda cls: cls.__name__)
def test_every_option_says_its_default_and_has_a_group(options: type) -> None:
    for f, parameter in zip(fields(options), flag_parameters(options), strict=True):
        assert re.search(r"[a-zA-Z].*\[default: .+\]$", get_args(parameter.annotation)[1].help), f.name
        assert f.metadata["group"] in GROUP_ORDER, f.name


@pytest.mark.parametrize("name", METHODS)
def test_training_options_are_grouped_with_the_common_ones_first(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", name, "--help"]) == 0
    titles = re.findall(r"^╭─ (\w+) ─", capfd.readouterr().out, re.MULTILINE)
    assert titles[:3] == ["Arguments", "Common", "Run"]
    assert titles[3:] == ["Data", "Length", "Networks", "Losses", "Speed", "Logging", "Validation"]
    own = {f.name for f in fields(METHODS[name].Config)}
    assert set(COMMON) - {"generator"} <= own


# The same options by flags and by keywords.


@pytest.mark.parametrize("name", OPTIONS)
def test_keywords_are_checked_as_flags_are(name: str) -> None:
    """Unknown ones and bad values are refused before a model is looked for."""
    arguments = {"convert": ["model", "in", "out"], "sample": ["model", "out"], "evaluate": ["model", "root"]}[name]
    for keywords, named in ({"sede": 1}, "--seed"), ({"batch_size": 0}, "--batch-size 0"), ({"seed": "x"}, "--seed x"):
        with pytest.raises(UsageError, match=re.escape(named)):
            getattr(translate, name, getattr(api, name))(*arguments, **keywords)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_defaults_are_possible(options: type) -> None:
    assert options() == options(**{f.name: f.default for f in fields(options)})


def test_every_option_of_a_conversion_has_its_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    class Arrived(Exception):
        pass

    def convert(*arguments: Any, **keywords: Any) -> None:
        raise Arrived(keywords)

    monkeypatch.setattr(api, "convert", convert)
    values = {
        "to": "a", "format": "png", "quality": "9", "batch_size": "2", "limit": "3", "max_pixels": "4", "seed": "5",
        "pixels": "reference", "background": "red", "shard": "0/2", "cluster": "local", "tile": "64", "scratch": ".",
        "source_type": "generated", "input_range": "0:9", "instances": ".", "samples": "3", "style": "s.png", "temporal": "0.5",
        "c2pa_key": "k.pem", "c2pa_cert": "c.pem", "c2pa_timestamp": "http://time",
    }  # fmt: skip
    switches = {
        "overwrite": True,
        "dry_run": True,
        "merge": True,
        "strip_gps": True,
        "first_frame": True,
        "report": True,
        "watch": True,
        "watermark": True,
    }
    words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]
    words += [f"--{name.replace('_', '-')}" for name in switches] + ["--no-mark"]
    with pytest.raises(Arrived) as caught:
        cli.run(["convert", "model", "in", "out", *words])
    (keywords,) = caught.value.args
    assert {f.name for f in fields(ConversionOptions)} == {*values, *switches, "mark"}
    assert {name: str(keywords[name]) for name in values} == values
    assert {name: keywords[name] for name in switches} == switches
    assert keywords["mark"] is False

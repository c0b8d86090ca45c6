"""Limits of the health checks, and advice in the method's own flags."""

import re

import pytest

from translate import config
from translate.methods import METHODS
from translate.training.monitors import health_checks, health_rules

from ...helpers import TWO_DOMAINS, small_config


def shown(kind, cls):
    """Whether methods of the class are looked at for it: all discriminators, what is made of images, and ways back."""
    return kind == "d_gap" or (
        cls.layout in (*TWO_DOMAINS, "photos") and (kind != "hidden" or len(cls.generator_names) == 2)
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in health_rules.HEALTH_RULES for name, cls in METHODS.items() if shown(kind, cls)],
)
def test_advice_is_one_line_that_names_flags_of_the_method(kind, name):
    method = METHODS[name].on_meta(small_config(name))
    line = health_rules.warning_line((kind, "b"), 0.5, method.cfg, health_checks.has_ground_truth(method))
    assert "\n" not in line
    flags = re.findall(r"--([a-z0-9-]+)", line)
    assert {flag.replace("-", "_") for flag in flags} <= set(config.setting_names(METHODS[name].Config))
    assert flags


@pytest.mark.parametrize(
    ("kind", "value", "exceeded"),
    [
        ("inversion", -0.5, True), ("inversion", 0.5, False), ("change", 1.0, True), ("variety", 0.01, True),
        ("hidden", 3.0, True), ("hidden", 1.0, False), ("d_gap", 0.99, True), ("d_gap", 0.5, False),
    ],
)  # fmt: skip
def test_each_limit_has_its_side(kind, value, exceeded):
    assert health_rules.limit_for(kind).is_exceeded(value) == exceeded


def test_a_copy_is_measured_by_the_truth_where_that_is_known():
    assert health_rules.limit_for("change", error=40.0).is_exceeded(9.0)
    assert not health_rules.limit_for("change", error=40.0).is_exceeded(11.0)
    assert health_rules.limit_for("error") is None


def test_nothing_warns_at_the_beginning():
    assert not health_rules.is_settled(5000, 0.05)
    assert not health_rules.is_settled(500, 0.5)
    assert health_rules.is_settled(1000, 0.1)

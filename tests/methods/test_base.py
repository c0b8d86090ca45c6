"""The contract of methods: what every row of METHODS declares, and the defaults of the base class."""

import pytest

from translate.errors import UsageError
from translate.methods import METHODS
from translate.nn.base import Generator

from ..helpers import small_config


def on_meta(name):
    cls = METHODS[name]
    return cls.on_meta(small_config(name))


@pytest.mark.parametrize("name", METHODS)
def test_the_summary_is_one_short_line(name):
    summary = METHODS[name].summary
    assert summary
    assert "\n" not in summary
    assert len(summary) <= 120
    assert not summary.endswith(".")


@pytest.mark.parametrize("name", METHODS)
def test_on_the_meta_device_a_method_has_no_memory(name):
    assert all(p.is_meta for p in on_meta(name).parameters())


@pytest.mark.parametrize("name", [name for name in METHODS if name != "dcgan"])
def test_generators_are_found_by_domain_and_give_the_size_rule(name):
    method = on_meta(name)
    for to in method.generator_names:
        net = method.generator_for(to)
        assert isinstance(net, Generator)
        assert method.size_rule == {"multiple_of": net.multiple_of, "minimum": net.minimum}
        assert method.target_domains(to) == (to,)


@pytest.mark.parametrize("name", ["pix2pix", "cut", "cyclegan"])
def test_an_unknown_domain_is_refused_with_the_possible_ones(name):
    method = on_meta(name)
    with pytest.raises(UsageError, match="'c'") as error:
        method.target_domains("c")
    assert all(to in str(error.value) for to in method.generator_names)


def test_methods_that_translate_sample_nothing():
    with pytest.raises(UsageError, match="translate convert"):
        on_meta("pix2pix").sample(None)


def test_the_size_rule_of_a_method_without_translation_is_its_crop():
    method = on_meta("dcgan")
    assert method.size_rule == {"multiple_of": method.cfg.crop_size, "minimum": method.cfg.crop_size}

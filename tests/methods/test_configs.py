"""Shared configs: fields that build networks again, and load sizes."""

import pytest

from translate.config import setting_names
from translate.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_network_settings_are_settings(name):
    cls = METHODS[name]
    assert set(cls.network_settings) <= set(setting_names(cls.Config))


@pytest.mark.parametrize(("name", "size"), [("pix2pix", 286), ("cyclegan", 286), ("dualgan", 256), ("discogan", 256)])
def test_methods_without_a_random_crop_load_images_at_the_crop_size(name, size):
    assert METHODS[name].Config(crop_size=256).default_load_size == size

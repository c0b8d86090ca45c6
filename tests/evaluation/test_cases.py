"""Tests of the cases to evaluate: the size of images, and the split of many domains."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.evaluation import cases
from translate.evaluation.cases import split_by_domain


@pytest.mark.parametrize(
    ("size", "trained_on", "side"),
    [
        ("auto", {"crop_size": 256, "load_size": 286}, 256),
        ("auto", {"crop_size": 64, "load_size": 128}, 128),
        ("auto", {"crop_size": 32, "load_size": 32}, 32),
        ("auto", None, 256),
        ("keep", {"crop_size": 256, "load_size": 286}, None),
        (48, {"crop_size": 256, "load_size": 286}, 48),
    ],
)
def test_the_size_is_that_of_training(size, trained_on, side):
    """286 for 256 is the enlargement that crops are cut from; 128 for 64 is the scale of training."""
    assert cases._image_size(size, SimpleNamespace(trained_on=trained_on, preprocess=None)) == side
    assert cases._image_size("auto", SimpleNamespace(trained_on=trained_on, preprocess="none")) is None


def test_attributes_divide_images_by_who_has_them():
    refs = tuple(ImageRef(Path(name)) for name in "pqrs")
    split = Split(
        refs, (), False, labels=((1.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0)), label_names=("dark", "young")
    )
    divided = split_by_domain(split, "young")
    assert [ref.path.name for ref in divided.a] == ["p", "q"]
    assert [ref.path.name for ref in divided.b] == ["r", "s"]
    with pytest.raises(DataError, match="no images but those of domain 'dark'"):
        split_by_domain(Split(refs[:1], (), False, labels=((1.0,),), label_names=("dark",)), "dark")

"""Options of a conversion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import translate
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.errors import UsageError
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


@pytest.mark.parametrize("options", [
    {"format": "bmp"}, {"format": ""}, {"format": "PNG "}, {"quality": 0}, {"quality": 101}, {"batch_size": 0},
    {"limit": 0}, {"max_pixels": 0},
], ids=str)  # fmt: skip
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--" + next(iter(options)).replace("_", "-")):
        ConversionOptions(**options)


def test_options_from_python(cyclegan: Translator, source: Path, tmp_path: Path) -> None:
    assert translate.convert(cyclegan, source, tmp_path / "out", format="png", to="a").done == 5
    with pytest.raises(UsageError, match="fromat"):
        translate.convert(cyclegan, source, tmp_path / "out", fromat="png")


def test_a_domain_the_model_does_not_have(convert: Convert, pix2pix: Translator, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'a'") as caught:
        convert(source, tmp_path / "out", pix2pix, to="a")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()

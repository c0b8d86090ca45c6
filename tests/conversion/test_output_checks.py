"""Marks that outputs cannot hold are refused before the job; the watermark is one of the settings of an output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate.conversion.job import ConversionResult
from translate.errors import UsageError
from translate.images.watermark import WATERMARK_KEY
from translate.trained import translator

from .output_folder import last, save

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]


@pytest.mark.parametrize("name", ["b.npy", "b.gif"])
def test_formats_without_a_watermark_are_refused_before_the_job(
    name: str, convert: Convert, draw: Draw, tmp_path: Path
) -> None:
    save(tmp_path / "in" / "a.png", draw())
    if name.endswith("npy"):
        np.save(tmp_path / "in" / name, draw())
    else:
        Image.fromarray(draw()).save(tmp_path / "in" / name)
    with pytest.raises(UsageError, match=rf"--watermark: .*'{name}'"):
        convert(tmp_path / "in", tmp_path / "out", watermark=True)
    assert not (tmp_path / "out").exists()


def test_values_of_many_channels_hold_no_watermark(
    build: Callable[..., Path], convert: Convert, draw: Draw, tmp_path: Path
) -> None:
    model = translator.load(build("pix2pix", generator="unet_64", norm="batch", output_channels=5), device="cpu")
    save(tmp_path / "in" / "a.png", draw())
    with pytest.raises(UsageError, match=r"--watermark: .*makes 5"):
        convert(tmp_path / "in", tmp_path / "out", model, watermark=True)


def test_the_watermark_is_a_setting_of_the_outputs(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", draw(0, 70, 66))
    save(tmp_path / "in" / "b.png", draw(0, 20, 20))

    def counts(**options: Any) -> tuple[int, int]:
        result = convert(tmp_path / "in", tmp_path / "out", **options)
        return result.done, result.skipped

    assert counts() == (2, 0)
    plain = (tmp_path / "out" / "a.png").read_bytes()
    assert counts(watermark=True) == (2, 0)
    assert counts(watermark=True) == (0, 2)
    lines = last(tmp_path / "out")
    assert lines["a.png"]["settings"]["watermark"] == WATERMARK_KEY.decode()
    assert ["may not survive" in note for note in lines["a.png"]["notices"]] == [True]
    assert ["holds no watermark" in note for note in lines["b.png"]["notices"]] == [True]
    assert counts() == (2, 0)
    assert (tmp_path / "out" / "a.png").read_bytes() == plain

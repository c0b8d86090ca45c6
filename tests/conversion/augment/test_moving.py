"""The measurement of whether a model moves shapes: one for a copy, little for what lies elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import smooth_image
from translate.conversion.augment.draw import PlannedTranslation
from translate.conversion.augment.moving import CHECKED, LEAST_CORRELATION, measure_edge_correlation
from translate.conversion.item import ItemConverter
from translate.conversion.options import ConversionOptions
from translate.conversion.output_paths import Item
from translate.trained.translator import Translator

SIDE = 96


@pytest.fixture
def planned(tmp_path: Path) -> list[PlannedTranslation]:
    for number in range(3):
        smooth_image(number, SIDE, SIDE).save(tmp_path / f"{number}.png")
    return [PlannedTranslation(Item(f"{number}.png", f"{number}-translated.png", 0), "b") for number in range(3)]


def measured(
    tmp_path: Path, planned: list[PlannedTranslation], cyclegan: Translator, monkeypatch: pytest.MonkeyPatch, change
) -> float | None:
    monkeypatch.setattr(Translator, "translate_pixels", lambda self, pictures, to, **how: [change(*pictures)])
    converter = ItemConverter(cyclegan, tmp_path, tmp_path / "out", ConversionOptions())
    return measure_edge_correlation(converter, planned)


def test_colours_do_not_count_and_places_do(tmp_path, planned, cyclegan, monkeypatch) -> None:
    def measure(change):
        return measured(tmp_path, planned, cyclegan, monkeypatch, change)

    assert measure(lambda x: x) == pytest.approx(1, abs=1e-5)
    assert measure(lambda x: (255 - x) // 2) == pytest.approx(1, abs=0.02)
    assert measure(lambda x: x[::-1, ::-1].copy()) < LEAST_CORRELATION
    assert measure(lambda x: np.roll(x, SIDE // 5, axis=1)) < LEAST_CORRELATION
    assert measure(lambda x: np.zeros_like(x)) is None


def test_images_that_cannot_be_read_are_left_to_the_conversion(tmp_path, planned, cyclegan, monkeypatch) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    assert measured(tmp_path, planned, cyclegan, monkeypatch, lambda x: x) == pytest.approx(1, abs=1e-5)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"")
    assert measured(tmp_path, planned, cyclegan, monkeypatch, lambda x: x) is None
    assert CHECKED == 24

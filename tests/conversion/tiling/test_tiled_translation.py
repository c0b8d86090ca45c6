"""Images in tiles: depths, declared values, noise and padding are those of an image that is translated whole."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from translate import keyed_random
from translate.conversion import tiling
from translate.conversion.tiling import tiled_translation
from translate.errors import UsageError
from translate.trained import image_layout, noise, translator
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


def steps(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


@pytest.mark.parametrize(("height", "width"), [(93, 61), (1, 200), (7, 5), (64, 64)])
@pytest.mark.parametrize("stored", ["ram", "scratch"])
def test_a_picture_of_a_size_that_is_padded(
    cyclegan: Translator, draw: Draw, tmp_path: Path, height: int, width: int, stored: str
) -> None:
    picture = draw(1, width, height)
    for to in cyclegan.directions:
        (whole,) = cyclegan.translate_pixels([picture], to)
        got = tiling.TiledTranslation(cyclegan, to, tile=24, scratch=tmp_path if stored == "scratch" else None)(picture)
        assert steps(got, whole) <= 1  # where a value is at the middle between two integers
        assert (got != whole).mean() < 1e-3
    assert isinstance(got, np.memmap) == (stored == "scratch")


@pytest.mark.parametrize("pixels", ["rounded", "reference"])
@pytest.mark.parametrize(("depth", "bound"), [("uint16", 1), ("float32", 1e-5)])
def test_a_picture_of_another_depth(cyclegan: Translator, depth: str, bound: float, pixels: str) -> None:
    values = np.random.default_rng(0).random((45, 50, 3))
    picture = (values * 65535).astype(np.uint16) if depth == "uint16" else values.astype(np.float32)
    (whole,) = cyclegan.translate_pixels([picture], "b", pixels=pixels)
    got = tiling.TiledTranslation(cyclegan, "b", tile=16, pixels=pixels)(picture)
    assert got.dtype == depth
    assert steps(got, whole) <= bound


def test_a_picture_with_declared_values(build: Build) -> None:
    folder = build(
        "cyclegan", generator="resnet_3blocks", input_channels=1, output_channels=1, range_a="0:1000", range_b="-5:5"
    )
    model = translator.load(folder, device="cpu")
    picture = np.random.default_rng(0).integers(0, 1001, (40, 30, 1)).astype(np.uint16)
    for to, bound in (("b", 1e-4), ("a", 1)):
        (whole,) = model.translate_pixels([picture], to)
        assert steps(tiling.TiledTranslation(model, to, tile=16)(picture), whole) <= bound


def test_noise_of_a_picture_in_tiles(build: Build, draw: Draw) -> None:
    """Dropout in conversion: the key is that of the whole picture, and so is the mask."""
    model = translator.load(build("pix2pix", generator="resnet_3blocks", norm="batch", dropout=True), device="cpu")
    picture = draw(3, 50, 41)
    results = {}
    for seed in (0, 1):
        (whole,) = model.translate_pixels([picture], "b", seed=seed)
        results[seed] = tiling.TiledTranslation(model, "b", tile=20, seed=seed)(picture)
        assert steps(results[seed], whole) <= 1
    assert steps(results[0], results[1]) > 1


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_a_picture_in_another_precision(cyclegan_folder: Path, draw: Draw, precision: str) -> None:
    model, picture = translator.load(cyclegan_folder, device="cpu", precision=precision), draw(4, 50, 41)
    (whole,) = model.translate_pixels([picture], "b")
    assert steps(tiling.TiledTranslation(model, "b", tile=20)(picture), whole) <= (3 if precision == "bf16" else 0)


@given(length=st.integers(1, 40), multiple=st.sampled_from([1, 4, 8]), minimum=st.sampled_from([8, 16]))
def test_padded_places_are_those_of_the_padding(length: int, multiple: int, minimum: int) -> None:
    x = torch.arange(length, dtype=torch.float32).view(1, length, 1)
    padded = image_layout.pad_to_size_rule(x, multiple, minimum)[0, :, 0]
    assert tiled_translation.padded_indices(length, len(padded)).tolist() == padded.tolist()


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_key_of_a_picture_is_that_of_its_bytes(draw: Draw, order: Any) -> None:
    picture = np.asarray(draw(5, 9, 200).astype(np.uint16), order=order)
    digest = hashlib.sha256(picture.tobytes()).digest()
    assert noise.pixel_key(picture, 4) == keyed_random.derive_key(4, 0, int.from_bytes(digest[:8], "little"))


def test_progress_rises_to_one(cyclegan: Translator, draw: Draw) -> None:
    shares: list[float] = []
    tiling.TiledTranslation(cyclegan, "b", tile=24, progress=shares.append)(draw(6, 60, 60))
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("options", "told"), [({"tile": 7}, "--tile 7"), ({"pixels": "odd"}, "--pixels odd"), ({"to": "c"}, "'c'")]
)
def test_what_cannot_be_is_refused(cyclegan: Translator, draw: Draw, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        tiling.TiledTranslation(cyclegan, **{"to": "b", "tile": 16, **options})(draw())


def test_a_network_that_sees_the_whole_image_is_refused(pix2pix: Translator, draw: Draw) -> None:
    with pytest.raises(UsageError, match="unet_64 works on the whole image"):
        tiling.TiledTranslation(pix2pix, "b", tile=16)(draw())

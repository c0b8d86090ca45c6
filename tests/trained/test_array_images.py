"""What a translator takes and gives back: paths, Pillow images, arrays, tensors and lists; and which values it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.errors import UsageError
from translate.trained import translator
from translate.trained.array_images import TOLERANCE, prepare_array
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]

CAST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint8": lambda pixels: pixels,
    "uint16": lambda pixels: pixels.astype(np.uint16) * 257,
    ">u2": lambda pixels: (pixels.astype(np.uint16) * 257).astype(">u2"),
    "float16": lambda pixels: (pixels / 255).astype(np.float16),
    "float32": lambda pixels: (pixels / 255).astype(np.float32),
    "float64": lambda pixels: pixels / 255,
}
"""The same image in each type: 255 × 257 is 65535."""


def as_8_bits(array: np.ndarray) -> np.ndarray:
    scale = 1 if array.dtype == np.uint8 else 1 / 257 if array.dtype.kind == "u" else 255
    return np.round(array.astype(np.float64) * scale)


@pytest.mark.parametrize("name", CAST)
def test_an_array_gives_an_array_of_its_type_and_the_same_image(cyclegan: Translator, draw: Draw, name: str) -> None:
    pixels = draw(1, 9, 7)
    given = CAST[name](pixels)
    result = cyclegan(given)
    assert (result.dtype.newbyteorder("="), result.shape) == (given.dtype.newbyteorder("="), given.shape)
    expected = np.asarray(cyclegan(Image.fromarray(pixels)), np.float64)
    assert np.abs(as_8_bits(result) - expected).max() <= (1 if name != "float16" else 2)


def test_a_batch_is_its_images(cyclegan: Translator, draw: Draw) -> None:
    batch = np.stack([draw(seed, 9, 7) for seed in range(3)])
    result = cyclegan(batch)
    assert result.shape == batch.shape
    assert all(np.array_equal(made, cyclegan(image)) for made, image in zip(result, batch, strict=True))


def test_a_list_gives_a_list_of_the_same_kinds(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    pixels = draw(2, 9, 7)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    given = [path, str(path), Image.fromarray(pixels), pixels, images.to_tensor(pixels)[None]]
    results = cyclegan(given)
    assert [type(result) for result in results] == [Image.Image, Image.Image, Image.Image, np.ndarray, torch.Tensor]
    expected = cyclegan(pixels)
    assert all(np.array_equal(np.asarray(result), expected) for result in results[:4])
    assert np.array_equal(images.to_uint8_array(results[4][0]), expected)
    assert len(cyclegan((pixels, pixels))) == 2


def test_an_array_gets_the_noise_of_the_file_with_its_pixels(pix2pix: Translator, draw: Draw, tmp_path: Path) -> None:
    """Dropout: the key is the SHA-256 of the pixels, however they arrive."""
    pixels = draw(3, 64, 64)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    from_file = np.asarray(pix2pix(tmp_path / "x.png", seed=5))
    assert np.array_equal(pix2pix(pixels, seed=5), from_file)
    assert not np.array_equal(pix2pix(pixels, seed=6), from_file)


def test_a_path_is_read_as_conversion_reads_it(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    """Upright, with alpha, and deep values at their own depth."""
    image = Image.fromarray(draw(4, 9, 7))
    image.putalpha(Image.fromarray(draw(5, 9, 7)[:, :, 0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif.tobytes())
    result = cyclegan(tmp_path / "x.png")
    assert (result.size, result.mode) == ((7, 9), "RGBA")
    turned = image.transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(result), np.asarray(cyclegan(turned)))


def test_grey_and_alpha(cyclegan: Translator, grey: Translator, draw: Draw) -> None:
    pixels = draw(6, 9, 7)
    plane = pixels[:, :, 0]
    assert np.array_equal(cyclegan(plane), cyclegan(np.repeat(plane[:, :, None], 3, axis=2)))
    assert grey(plane).shape == (7, 9)
    assert np.array_equal(grey(plane[:, :, None])[:, :, 0], grey(plane))
    assert grey(pixels).shape == (7, 9, 1)
    alpha = draw(7, 9, 7, 1)
    for opaque in (alpha, np.full_like(alpha, 255)):
        result = cyclegan(np.concatenate([pixels, opaque], axis=2))
        assert result.shape == (7, 9, 4)
        assert np.array_equal(result[:, :, 3:], opaque)
    assert np.array_equal(result[:, :, :3], cyclegan(pixels))


def test_values_slightly_beyond_the_range_are_clipped(cyclegan: Translator, draw: Draw) -> None:
    """Bicubic and Lanczos filters overshoot at edges."""
    pixels = draw(8, 9, 7) / 255
    pixels[0, 0], pixels[1, 1] = 1 + TOLERANCE / 2, -TOLERANCE / 2
    assert np.array_equal(cyclegan(pixels), cyclegan(pixels.clip(0, 1)))
    (prepared,) = prepare_array(pixels, 3, None).pixels
    assert (prepared.min(), prepared.max()) == (0, 1)
    cyclegan(torch.full((1, 3, 8, 8), 1 + TOLERANCE))


@pytest.mark.parametrize(
    ("given", "found", "wanted"),
    [
        (np.full((8, 8, 3), 200.0), "float64 with values from 200 to 200", "floats from 0 to 1.*array / 255"),
        (np.full((8, 8, 3), -1.0), "values from -1 to -1", r"give \(array \+ 1\) / 2"),
        (np.full((8, 8, 3), 4000.0, np.float32), "float32 with values from 4000 to 4000", "floats from 0 to 1"),
        (np.full((8, 8, 3), 1 + 1.5 * TOLERANCE), "values from 1.075", "floats from 0 to 1"),
        (np.full((8, 8, 3), np.nan), "NaN or infinite", "replace"),
        (np.full((8, 8, 3), np.inf, np.float16), "NaN or infinite", "replace"),
        (np.full((8, 8, 3), 7, np.int64), "int64 with values from 7 to 7", "give uint8"),
        (np.ones((8, 8, 3), bool), "array of bool", "give uint8"),
        (np.full((8, 8, 3), "x"), "array of <U1", "give uint8"),
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)", r"\(H, W, 3\) or \(N, H, W, 3\)"),
        (np.zeros((8, 8, 5), np.uint8), r"shape \(8, 8, 5\)", r"\(H, W, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)", r"\(H, W, 3\)"),
        (np.zeros(3, np.uint8), r"shape \(3,\)", r"\(H, W, 3\)"),
        (torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), "uint8 with values from 200 to 200", r"-1 to 1: x / 127\.5 - 1"),
        (torch.full((1, 3, 8, 8), 200.0), "float32 with values from 200 to 200", r"-1 to 1: .*x / 127\.5 - 1"),
        (torch.full((1, 3, 8, 8), -2.0), "values from -2 to -2", "floats from -1 to 1"),
        (torch.full((1, 3, 8, 8), torch.nan), "NaN or infinite", "replace"),
        (torch.ones((1, 3, 8, 8), dtype=torch.bool), "tensor of bool", "floats from -1 to 1"),
        (torch.zeros((3, 8, 8)), r"shape \(3, 8, 8\)", r"\(N, 3, H, W\)"),
        (torch.zeros((0, 3, 8, 8)), "holds no image", ""),
        (None, "cannot translate a NoneType", "a Pillow image, a path"),
        ("nowhere.png", "nowhere.png", "no such file"),
    ],
)  # fmt: skip
def test_what_is_refused_says_what_was_found_and_what_is_wanted(
    cyclegan: Translator, given: Any, found: str, wanted: str
) -> None:
    for each in (given, [given]):
        with pytest.raises(UsageError, match=f"{found}.*{wanted}"):
            cyclegan(each)


def test_domains_with_declared_ranges_take_and_give_stored_values(build: Build) -> None:
    """Heights from 0 to 4000: as floats or as integers they are the same image, and what comes back has the target's range."""
    settings = {"generator": "resnet_1blocks", "input_channels": 1, "output_channels": 1}
    model = translator.load(build("cyclegan", range_a="0:4000", range_b="-50:50", **settings), device="cpu")
    heights = np.linspace(0, 4000, 63).reshape(7, 9).round()
    result = model(heights)
    assert (result.dtype, result.shape) == (np.float64, (7, 9))
    assert -50 <= result.min() < result.max() <= 50
    np.testing.assert_allclose(model(heights.astype(np.uint16)), result, atol=1e-4)
    with pytest.raises(UsageError, match=r"\(H, W, 1\)"):
        model(np.zeros((7, 9, 3)))


def test_other_numbers_of_channels_go_as_arrays(build: Build) -> None:
    settings = {"generator": "resnet_1blocks", "input_channels": 5, "output_channels": 2, "lambda_identity": 0.0}
    model = translator.load(build("cyclegan", **settings), device="cpu")
    given = np.random.default_rng(0).integers(0, 65536, (7, 9, 5), dtype=np.uint16)
    assert model(given).shape == (7, 9, 2)
    with pytest.raises(UsageError, match="give it a numpy array or a tensor"):
        model(Image.new("RGB", (8, 8)))


def test_an_array_is_not_changed() -> None:
    given = np.full((4, 4, 3), 1.04)
    before = given.copy()
    prepare_array(given, 3, None)
    assert np.array_equal(given, before)


def test_the_text_of_a_translator_says_what_it_is(cyclegan: Translator, cyclegan_folder: Path) -> None:
    text = repr(cyclegan)
    assert text.isprintable()
    for fact in (
        "cyclegan on nothing",
        "a (3 channels) → b (3)",
        "b (3 channels) → a (3)",
        "multiples of 4",
        "at least 8",
    ):
        assert fact in text
    assert f"fp32 on cpu, from {cyclegan_folder}>" in text


def test_the_text_of_one_with_many_domains(build: Build) -> None:
    model = translator.load(build("stargan", domains="black,blond", crop_size=32, load_size=32), device="cpu")
    assert "any → black (3 channels), any → blond (3 channels)" in repr(model)

"""Previews of images: small, in 8 bits of sRGB."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.conversion.inputs import WHOLE, Listing
from translate.conversion.item import ItemConverter
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.conversion.report import conversion_page
from translate.images.metadata import icc
from translate.trained import translator
from translate.trained.translator import Translator

from ...pages import Page, save

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]
Build = Callable[..., Path]


def test_previews_are_small(cyclegan: Translator, tmp_path: Path) -> None:
    converter = ItemConverter(cyclegan, tmp_path, tmp_path, ConversionOptions())
    for width, height, small in [
        (1400, 600, (512, 219)),
        (30, 1200, (13, 512)),
        (512, 7, (512, 7)),
        (2, 1, (2, 1)),
        (128, 64, (256, 128)),
        (95, 8, (95, 8)),
        (257, 9, (257, 9)),
    ]:  # doubled
        save(tmp_path, "x.png", np.zeros((height, width, 3), np.uint8))
        preview = conversion_page._preview(converter, tmp_path / "x.png", "a")
        assert preview is not None
        assert (preview.width, preview.height) == (width, height)
        assert Image.open(io.BytesIO(base64.b64decode(preview.uri.split(",")[1]))).size == small


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.npy"])
def test_a_deep_picture_is_shown_in_8_bits(grey: Translator, tmp_path: Path, name: str) -> None:
    """32,896 of 65,535 is 128 of 255."""
    pixels = np.full((20, 20), 32896, np.uint16)
    if name == "x.npy":
        np.save(tmp_path / name, pixels)
    else:
        Image.fromarray(pixels).save(tmp_path / name)
    assert level(grey, tmp_path / name) == pytest.approx(128, abs=2)


def test_a_picture_of_declared_values_is_shown_within_them(build: Build, tmp_path: Path) -> None:
    """Heights from −100 to 900 metres: 400 is the middle."""
    folder = build("cyclegan", generator="resnet_3blocks", input_channels=1, output_channels=1, range_b="-100:900")
    np.save(tmp_path / "x.npy", np.full((20, 20), 400, np.float32))
    assert level(translator.load(folder, device="cpu"), tmp_path / "x.npy") == pytest.approx(127.5, abs=2)


def level(model: Translator, path: Path) -> float:
    """The mean of a preview."""
    return float(np.asarray(shown(model, path).convert("L")).mean())


def shown(model: Translator, path: Path) -> Image.Image:
    """The preview of a picture in domain b."""
    preview = conversion_page._preview(ItemConverter(model, path.parent, path.parent, ConversionOptions()), path, "b")
    assert preview is not None
    return Image.open(io.BytesIO(base64.b64decode(preview.uri.split(",")[1])))


def test_a_picture_with_a_colour_profile_is_shown_in_srgb(cyclegan: Translator, tmp_path: Path) -> None:
    """A profile that takes red for blue, and blue for red."""
    swapped = icc.srgb_profile().replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "x.png", icc_profile=swapped)
    red, green, blue = shown(cyclegan, tmp_path / "x.png").convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    assert max(red, green) < 6
    assert blue > 249


def test_of_an_animation_the_first_frame(cyclegan: Translator, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("black", "white")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert level(cyclegan, tmp_path / "x.gif") == pytest.approx(0, abs=2)


def test_what_is_no_picture_has_no_preview(build: Build, convert: Convert, tmp_path: Path) -> None:
    """Five channels become three: the input cannot be shown, its output can."""
    folder = build("cyclegan", generator="resnet_3blocks", input_channels=5, output_channels=3, lambda_identity=0.0)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "x.npy", np.zeros((9, 11, 5), np.uint8))
    path = convert(tmp_path / "in", tmp_path / "out", translator.load(folder, device="cpu"), report=True).report
    assert path is not None
    page = Page(path)
    assert page.said("article.", "div.none") == ["no preview"]
    assert page.values("img", "class") == ["alone"]
    assert page.values("input", "type") == []


def test_a_file_that_has_gone_has_no_preview(
    convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path
) -> None:
    convert(source, tmp_path / "out")
    (tmp_path / "out" / "2.jpg").unlink()
    converter = ItemConverter(cyclegan, source, tmp_path / "out", ConversionOptions())
    page = Page(
        conversion_page.write_conversion_page(
            converter, Listing(source, ("1.png", "2.jpg")), WHOLE, ConversionResult(converter.output)
        )
    )
    assert page.said("div.none") == ["no preview"]
    assert page.said("small.")[1].endswith("→ gone")

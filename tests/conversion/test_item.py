"""What photos carry reaches the outputs of a job: metadata, colours, marks, and the frames of animations."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from translate import images
from translate.conversion.options import SOURCE_TYPES, ConversionResult
from translate.trained.translator import Translator

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]

PLACE = (48.0, 51.0, 29.5)
GPS, ORIENTATION, MAKER = 0x8825, 0x0112, 0x010F


def photo(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """With a maker, a place, an orientation and a resolution."""
    exif = Image.Exif()
    exif[MAKER], exif[ORIENTATION] = "Camera & Sons", 6
    exif.get_ifd(GPS).update({1: "N", 2: PLACE})
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif.tobytes(), dpi=(300, 300), **options)
    return path


@pytest.mark.parametrize("ext", ["jpg", "png", "webp", "avif", "tiff"])
def test_a_photo_keeps_what_it_carried_and_is_marked(convert: Convert, draw: Draw, tmp_path: Path, ext: str) -> None:
    photo(tmp_path / "in" / f"x.{ext}", draw())
    assert convert(tmp_path / "in", tmp_path / "out").failures == {}
    with Image.open(tmp_path / "out" / f"x.{ext}") as made:
        exif = made.getexif()
        assert made.size == (10, 12)  # as seen: it lay on its side
        assert exif[MAKER] == "Camera & Sons"
        assert exif.get(ORIENTATION, 1) == 1
        assert tuple(map(float, exif.get_ifd(GPS)[2])) == PLACE
        assert SOURCE_TYPES["composite"] in json.dumps(made.getxmp())


def test_places_are_left_out_where_asked(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "x.jpg", draw())
    result = convert(tmp_path / "in", tmp_path / "out", strip_gps=True)
    assert result.notices["the place is left out of its EXIF: coordinates"] == 1
    with Image.open(tmp_path / "out" / "x.jpg") as made:
        assert dict(made.getexif().get_ifd(GPS)) == {}
        assert made.getexif()[MAKER] == "Camera & Sons"


@pytest.mark.parametrize(
    ("options", "mark"),
    [
        ({}, SOURCE_TYPES["composite"]),
        ({"source_type": "generated"}, SOURCE_TYPES["generated"]),
        ({"mark": False}, None),
    ],
)
def test_the_mark_is_as_asked_and_stands_in_the_manifest(
    convert: Convert, draw: Draw, tmp_path: Path, options: dict[str, Any], mark: str | None
) -> None:
    photo(tmp_path / "in" / "x.png", draw())
    convert(tmp_path / "in", tmp_path / "out", **options)
    with Image.open(tmp_path / "out" / "x.png") as made:
        found = json.dumps(made.getxmp())
    assert [term for term in SOURCE_TYPES.values() if f'"{term}"' in found] == ([mark] if mark else [])
    assert ("image-translate" in found) == (mark is not None)
    settings = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())["settings"]
    assert settings["mark"] == (False if mark is None else options.get("source_type", "composite"))
    assert convert(tmp_path / "in", tmp_path / "out", **options).skipped == 1
    assert convert(tmp_path / "in", tmp_path / "out", mark=mark is None).done == 1  # another mark is another output


def test_an_image_into_a_file_is_marked_too(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    convert(photo(tmp_path / "in" / "x.jpg", draw()), tmp_path / "y.png")
    with Image.open(tmp_path / "y.png") as made:
        assert SOURCE_TYPES["composite"] in json.dumps(made.getxmp())
        assert made.getexif()[MAKER] == "Camera & Sons"


def test_the_network_sees_srgb(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    """A photo in another colour space gives what its sRGB twin gives, and says that it is in sRGB."""
    pixels = draw()
    lab = ImageCms.createProfile("LAB")
    there = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    seen = ImageCms.applyTransform(Image.fromarray(pixels), there)
    back = ImageCms.applyTransform(seen, ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB"))
    (tmp_path / "in").mkdir()
    seen.save(tmp_path / "in" / "x.tif")
    back.save(tmp_path / "in" / "y.png")
    convert(tmp_path / "in", tmp_path / "out", format="png")
    a, b = (images.read(tmp_path / "out" / f"{name}.png").pixels.astype(int) for name in "xy")
    assert np.abs(a - b).max() <= 2


@pytest.mark.parametrize("ext", ["gif", "png", "webp", "avif"])
def test_animations_are_converted_frame_by_frame(
    convert: Convert, cyclegan: Translator, draw: Draw, tmp_path: Path, ext: str
) -> None:
    frames = [Image.fromarray(draw(seed, 32, 24)) for seed in (1, 1, 2)]  # two alike
    (tmp_path / "in").mkdir()
    lossless = {"lossless": True} if ext == "webp" else {}
    frames[0].save(
        tmp_path / "in" / f"x.{ext}",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 200, 50],
        loop=0,
        **lossless,
    )
    assert convert(tmp_path / "in", tmp_path / "out").failures == {}
    with (
        images.open_animation(tmp_path / "in" / f"x.{ext}") as given,
        images.open_animation(tmp_path / "out" / f"x.{ext}") as made,
    ):
        inputs, outputs = list(given), list(made)
    assert len(outputs) == len(inputs)
    assert [frame.duration for frame in outputs] == [frame.duration for frame in inputs]
    if ext == "png":
        for one, other in zip(inputs, outputs, strict=True):
            (expected,) = cyclegan.translate_pixels([one.picture.pixels], "b")
            assert np.array_equal(other.picture.pixels, expected)


def test_an_animation_into_a_format_that_does_not_move(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    frames = [Image.fromarray(draw(seed)) for seed in range(3)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "x.gif", save_all=True, append_images=frames[1:])
    assert convert(tmp_path / "in", tmp_path / "out", format="jpg").notices == {"first of 3 frames": 1}


def test_a_damaged_animation_fails_alone(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    frames = [Image.fromarray(draw(seed, 64, 64)) for seed in range(4)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=40)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    frames[0].save(tmp_path / "in" / "y.png")
    result = convert(tmp_path / "in", tmp_path / "out")
    assert (result.done, list(result.failures)) == (1, ["x.png"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"y.png", "manifest.jsonl"}

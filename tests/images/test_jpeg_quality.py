"""Tests of the estimate of a JPEG's quality."""

import io

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import Reading
from translate.images.jpeg_quality import JpegEncoding, estimate_quality, luminance_table


def encoded(tmp_path, quality, subsampling=0, mode="RGB"):
    """A photo-like image, written by Pillow (libjpeg-turbo)."""
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 4 % 256, y * 5 % 256, (x * y) % 256], -1).astype(np.uint8)
    path = tmp_path / f"{quality}-{subsampling}.jpg"
    Image.fromarray(pixels).convert(mode).save(path, quality=quality, subsampling=subsampling)
    return path


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 75, 84, 85, 90, 95, 99, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_what_the_library_wrote_is_found_again(tmp_path, quality, subsampling):
    with Image.open(encoded(tmp_path, quality, subsampling)) as image:
        assert JpegEncoding.from_image(image) == JpegEncoding(quality, subsampling)


def test_tables_of_the_standard():
    """T.81, table K.1 is quality 50; half of it, rounded, is 75; ones are 100."""
    assert luminance_table(50)[:3] == [16, 11, 10]
    assert luminance_table(75)[:3] == [8, 6, 5]
    assert set(luminance_table(100)) == {1}


def test_a_table_of_another_program_has_the_nearest_quality():
    own = [value + 1 for value in luminance_table(80)]
    assert estimate_quality({0: own}) in (78, 79, 80)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_files_have_no_subsampling(tmp_path, mode):
    with Image.open(encoded(tmp_path, 80, mode=mode)) as image:
        assert JpegEncoding.from_image(image) == JpegEncoding(80, 0)


def test_other_formats_have_none(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert JpegEncoding.from_image(image) is None


@pytest.mark.parametrize(
    ("quality", "subsampling", "asked", "expected"),
    [
        (92, 2, None, (92, 2)),
        (60, 1, None, (85, 1)),  # at least 85
        (92, 2, 70, (70, 0)),  # asked for
    ],
)
def test_an_output_is_encoded_like_its_source(tmp_path, quality, subsampling, asked, expected):
    picture = images.read(encoded(tmp_path, quality, subsampling), how=Reading(metadata=True))
    with Image.open(io.BytesIO(images.encode(picture, "jpg", asked))) as image:
        assert JpegEncoding.from_image(image) == JpegEncoding(*expected)


def test_a_lossless_source_is_written_at_quality_95(tmp_path):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "x.png")
    picture = images.read(tmp_path / "x.png", how=Reading(metadata=True))
    with Image.open(io.BytesIO(images.encode(picture, "jpg"))) as image:
        assert JpegEncoding.from_image(image) == JpegEncoding(95, 0)

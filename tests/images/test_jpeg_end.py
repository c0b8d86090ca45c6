"""JPEG files without their last bytes: what is read of them is what was in them, and what lacks rows is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.images import ImageError, Reading
from translate.images.jpeg_end import complete, is_ended

from .arrays import smooth

KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "full chroma": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_blocks": 4},
    "restarts, progressive": {"restart_marker_blocks": 4, "progressive": True},
    "grey": {},
    "rgb": {"keep_rgb": True},
}


def jpeg(kind, height=96, width=120):
    image = Image.fromarray(smooth(height, width))
    buffer = io.BytesIO()
    (image.convert("L") if kind == "grey" else image).save(buffer, "JPEG", **KINDS[kind])
    return buffer.getvalue()


def pixels_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_has_its_end(kind):
    data = jpeg(kind)
    assert is_ended(data)
    assert is_ended(data + b"trailer of a camera")
    assert complete(data, 10**6) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [1, 2])
def test_the_end_marker_alone_costs_no_pixel(missing, kind):
    data = jpeg(kind)
    assert not is_ended(data[:-missing])
    completed = complete(data[:-missing], 10**6)
    assert completed.unknown == 0
    assert np.array_equal(pixels_of(completed.data), pixels_of(data))


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_that_count_as_known_are_those_of_the_whole_file(kind):
    data = jpeg(kind)
    for missing in range(3, 9):
        completed = complete(data[:-missing], 10**6)
        if completed is not None:
            made, whole = pixels_of(completed.data), pixels_of(data)
            changed = (made != whole).reshape(96, 120, -1).any(axis=2)
            assert changed.sum() <= completed.unknown <= 0.01 * changed.size
            assert not changed.all(axis=1).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_file_that_lacks_rows_is_not_completed(share, kind):
    data = jpeg(kind, 400, 300)
    assert complete(data[: int(share * len(data))], 10**6) is None


def test_a_few_pixels_that_are_a_whole_row_are_too_many():
    """A strip of one block's width: the last block is 0.4 % of the pixels and all of its rows."""
    data = jpeg("grey", 2000, 8)
    assert complete(data[:-2], 10**6).unknown == 0
    assert complete(data[:-4], 10**6) is None


def test_missing_scans_are_seen_though_no_byte_could_follow():
    """A progressive file that is cut between its scans can be decoded: every row is there, coarsely."""
    data = jpeg("progressive")
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for at in scans[1:]:
        pixels_of(data[:at] + b"\xff\xd9")
        assert complete(data[:at], 10**6) is None


def test_a_huge_header_before_little_data_is_refused_at_once():
    data = bytearray(jpeg("baseline")[:-400])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\x30\x00\x30\x00"  # 12,288 × 12,288 pixels
    with pytest.raises(ImageError, match="most of it is missing"):
        complete(bytes(data), 10**9)
    with pytest.raises(ImageError, match="--max-pixels"):
        complete(bytes(data), 10**6)


def test_a_thumbnail_with_an_end_is_not_the_end():
    thumbnail = jpeg("baseline", 16, 16)
    data = jpeg("baseline")
    segment = b"\xff\xe3" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert is_ended(data[:2] + segment + data[2:])
    assert not is_ended(data[:2] + segment + data[2:-2])


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\xff", b"nothing of the kind"]
)
def test_what_has_no_scan_has_no_end(data):
    assert not is_ended(data)
    assert complete(data, 10**6) is None


def test_reading_says_how_much_is_filled_in(tmp_path):
    data = jpeg("full chroma")
    (tmp_path / "x.jpg").write_bytes(data[:-2])
    picture = images.read(tmp_path / "x.jpg", how=Reading(3))
    assert picture.damage == picture.notices == ["damaged: its last bytes are missing, but no pixel"]
    assert np.array_equal(picture.pixels, pixels_of(data))
    (tmp_path / "x.jpg").write_bytes(data[:-4])
    (damage,) = images.read(tmp_path / "x.jpg").damage
    assert (
        damage
        == f"damaged: its last bytes are missing; {complete(data[:-4], 10**6).unknown} pixels at its end are filled in"
    )
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"damaged image: image file is truncated"):
        images.read(tmp_path / "x.jpg")

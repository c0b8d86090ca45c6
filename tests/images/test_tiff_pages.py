"""Pages of TIFF files: how many there are, and which one is the picture."""

import io
import struct

import numpy as np
import pytest
import tifffile

from translate import images
from translate.images import Reading, tiff_pages
from translate.images.tiff_pages import TiffPages, find_pages

from .arrays import smooth

SMALL, MIDDLE, LARGE = smooth(10, 14), smooth(20, 28), smooth(40, 56)


def tiff(*pages, **options):
    """A TIFF of (pixels, NewSubfileType) each."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for pixels, kind in pages:
            writer.write(pixels, subfiletype=kind, photometric="rgb", metadata=None)
    return buffer.getvalue()


def chain(count, tags=()):
    """A TIFF of `count` pages of one grey pixel, whose directories lie one behind the other; `tags` are of the first."""
    out = bytearray(b"II*\0" + struct.pack("<I", 8))
    for i in range(count):
        entries = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 279: 1} | ({} if i else dict(tags))
        rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
        following = len(out) + 2 + len(rows) + 4 if i < count - 1 else 0
        out += struct.pack("<H", len(entries)) + rows + struct.pack("<I", following)
    return bytes(out)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_first_page_that_is_no_reduced_copy_is_the_picture(byteorder, bigtiff):
    options = {"byteorder": byteorder, "bigtiff": bigtiff}
    found = find_pages(io.BytesIO(tiff((SMALL, 1), (MIDDLE, 1), (LARGE, 0), (SMALL, 0), **options)))
    assert found == TiffPages(4, 2, (40, 56), None)
    assert find_pages(io.BytesIO(tiff((LARGE, 0), (SMALL, 1), **options))) == TiffPages(2, 0, (40, 56), None)
    assert find_pages(io.BytesIO(tiff((SMALL, 1), (MIDDLE, 1), **options))) == TiffPages(2, 0, (10, 14), None)


def test_the_old_tag_says_it_too():
    assert find_pages(io.BytesIO(chain(2, {255: 2}))).main == 1
    assert find_pages(io.BytesIO(chain(2, {255: 3}))).main == 0  # a page of several


def test_the_position_of_the_file_stays():
    file = io.BytesIO(tiff((LARGE, 0)))
    file.seek(5)
    find_pages(file)
    assert file.tell() == 5


@pytest.mark.parametrize(
    "data", [b"", b"II*\0", b"no TIFF at all, and long enough", b"II*\0\xff\xff\xff\xff" + bytes(9)]
)
def test_what_is_no_tiff_has_no_pages(data):
    assert find_pages(io.BytesIO(data)) == TiffPages(0, 0, (0, 0), None)


def test_pages_in_a_loop_and_cut_off_pages_end():
    data = bytearray(chain(3))
    data[-4:] = struct.pack("<I", 8)  # the last page is followed by the first
    assert find_pages(io.BytesIO(data)).total == 3
    assert find_pages(io.BytesIO(data[:-50])).total == 2


class Counting(io.BytesIO):
    """A file that counts its reads."""

    reads = 0

    def read(self, *size):
        self.reads += 1
        return super().read(*size)


def test_each_page_is_read_once(monkeypatch):
    few, many = Counting(chain(100)), Counting(chain(1000))
    assert find_pages(few).total == 100
    assert find_pages(many).total == 1000
    assert many.reads - few.reads == 900 * (few.reads - 1) // 100  # one read is of the header
    monkeypatch.setattr(tiff_pages, "MAX_PAGES", 50)
    assert find_pages(io.BytesIO(chain(55))).total == 50


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_picture_is_read_and_not_its_thumbnail(kind, tmp_path):
    scale = np.iinfo(kind).max // 255
    (tmp_path / "x.tif").write_bytes(tiff((SMALL.astype(kind) * scale, 1), (LARGE.astype(kind) * scale, 0)))
    picture = images.read(tmp_path / "x.tif", how=Reading(3, deep=True))
    assert np.array_equal(picture.pixels, LARGE.astype(kind) * scale)
    assert picture.notices == ["page 2 of 2: those before it are reduced copies or masks"]
    assert images.read_size(tmp_path / "x.tif") == (40, 56)


def test_the_picture_below_a_thumbnail_is_read(tmp_path):
    """As cameras and scanners write it: page 0 is a thumbnail, the picture is in a directory below it."""
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(SMALL, subfiletype=1, photometric="rgb", subifds=2, metadata=None)
        writer.write(MIDDLE, subfiletype=1, photometric="rgb", metadata=None)
        writer.write(LARGE, subfiletype=0, photometric="rgb", metadata=None)
    picture = images.read(tmp_path / "x.tif", how=Reading(3, metadata=True))
    assert np.array_equal(picture.pixels, LARGE)
    assert picture.notices == ["its pages are reduced copies of the picture that was read"]
    assert images.read_size(tmp_path / "x.tif") == (40, 56)

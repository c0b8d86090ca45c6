"""Georeference of TIFF files, read back by tifffile."""

import numpy as np
import pytest
import tifffile

from translate import images
from translate.images.metadata.georeference import read_georeference

GEO = [
    (33550, "d", 3, (30.0, 30.0, 0.0), True),
    (33922, "d", 6, (0, 0, 0, 350000.0, 5600000.0, 0), True),
    (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633), True),
    (34736, "d", 2, (6378137.0, 298.257223563), True),
    (34737, "s", 0, "WGS 84 / UTM zone 33N|", True),
]
ITEMS = '<Item name="AREA">north</Item>'
STATISTICS = (
    '  <Item name="STATISTICS_MAXIMUM" sample="0">17</Item>\n  <Item name="STATISTICS_MEAN" sample="0">3</Item>\n'
)
METADATA = [(42112, "s", 0, f"<GDALMetadata>\n{STATISTICS}  {ITEMS}\n</GDALMetadata>", True)]


def source(path, array, **options):
    photometric = "rgb" if array.shape[-1] == 3 else "minisblack"
    planes = {"planarconfig": "contig"} if array.shape[-1] > 1 else {}
    options = {"extratags": GEO, "metadata": None, "photometric": photometric, **planes, **options}
    tifffile.imwrite(path / "x.tif", array, **options)
    return images.read(path / "x.tif", how=images.Reading(array.shape[-1], deep=True, metadata=True))


def tags(path):
    with tifffile.TiffFile(path) as tiff:
        return {tag.code: tag.value for tag in tiff.pages[0].tags}


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_are_carried_from_tiff_to_tiff(channels, dtype, order, tmp_path):
    picture = source(tmp_path, np.zeros((4, 5, channels), dtype), byteorder=order)
    (tmp_path / "y.tif").write_bytes(images.encode(picture, "tiff"))
    given, made = tags(tmp_path / "x.tif"), tags(tmp_path / "y.tif")
    assert {code: made.get(code) for code, *_ in GEO} == {code: given[code] for code, *_ in GEO}


def test_tags_of_bigtiff_are_carried(tmp_path):
    picture = source(tmp_path, np.zeros((4, 5, 1), "f4"), bigtiff=True)
    (tmp_path / "y.tif").write_bytes(images.encode(picture, "tiff"))
    assert tags(tmp_path / "y.tif")[33922] == (0, 0, 0, 350000.0, 5600000.0, 0)


def test_statistics_of_the_old_values_are_left_out(tmp_path):
    picture = source(tmp_path, np.zeros((4, 5, 1), "u2"), extratags=GEO + METADATA)
    (tmp_path / "y.tif").write_bytes(images.encode(picture, "tiff"))
    text = tags(tmp_path / "y.tif")[42112]
    assert ITEMS in text
    assert "STATISTICS" not in text


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp", "npy"])
def test_other_formats_say_that_they_hold_none(fmt, tmp_path):
    picture = source(tmp_path, np.zeros((4, 5, 3), "u1"))
    _, notices = images.supported_by(picture.metadata, fmt, 3)
    assert f"{fmt} holds no georeference" in notices


def test_a_turned_image_loses_it_with_a_notice(tmp_path):
    picture = source(tmp_path, np.zeros((4, 5, 1), "u2"), extratags=[*GEO, (274, "H", 1, 6, True)])
    assert picture.metadata.georeference is None
    assert any("georeference" in notice for notice in picture.notices)


def test_a_photo_has_none(tmp_path):
    assert source(tmp_path, np.zeros((4, 5, 3), "u1"), extratags=[]).metadata.georeference is None


def test_a_damaged_one_is_a_value_error(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    with open(tmp_path / "x.tif", "rb") as file, pytest.raises(ValueError, match="damaged"):
        read_georeference(file)


# Enlarged images.


def enlarged(tmp_path, scale, *extratags):
    """The tags of an image of 5 × 4 pixels, enlarged."""
    picture = source(tmp_path, np.zeros((4, 5, 1), "u2"), extratags=list(extratags))
    larger = np.zeros((4 * scale, 5 * scale, 1), "u2")
    made = images.Picture(larger, metadata=picture.metadata.enlarged(scale))
    (tmp_path / "y.tif").write_bytes(images.encode(made, "tiff"))
    return tags(tmp_path / "x.tif"), tags(tmp_path / "y.tif")


def keys(raster_type):
    return (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, raster_type), True)


def corner(found, column, row, *, is_point):
    """The place on Earth of the upper left corner of a pixel, by its tags; a tie and a scale, or a matrix."""
    shift = -0.5 if is_point else 0.0
    column, row = column + shift, row + shift
    if 34264 in found:
        m = found[34264]
        return m[0] * column + m[1] * row + m[3], m[4] * column + m[5] * row + m[7]
    (i, j, _, x, y, _), (across, down, _) = found[33922], found[33550]
    return x + (column - i) * across, y - (row - j) * down


SCALE = (33550, "d", 3, (30.0, 20.0, 0.0), True)
TIE = (33922, "d", 6, (2.0, 1.0, 0, 350000.0, 5600000.0, 0), True)
MATRIX = (34264, "d", 16, (30.0, 2.0, 0, 350000.0, -1.0, -20.0, 0, 5600000.0, 0, 0, 0, 0, 0, 0, 0, 1.0), True)


@pytest.mark.parametrize("is_point", [False, True])
@pytest.mark.parametrize("place", [(SCALE, TIE), (MATRIX,)])
@pytest.mark.parametrize("scale", [2, 4])
def test_corners_of_pixels_stay_where_they_are(place, is_point, scale, tmp_path):
    """Pixel (column, row) begins where its scale × scale pixels begin, whether a pixel's place is its corner or its middle."""
    given, made = enlarged(tmp_path, scale, *place, keys(2 if is_point else 1))
    for column, row in ((0, 0), (5, 0), (0, 4), (3, 2)):
        expected = corner(given, column, row, is_point=is_point)
        assert corner(made, scale * column, scale * row, is_point=is_point) == pytest.approx(expected, abs=1e-6)


def test_rational_coefficients_stay_with_their_pixels(tmp_path):
    """Middles of pixels: row r is (r − offset) / scale before, and the middle of its pixels is there afterwards."""
    values = [0.0, 0.0, 1.5, 2.0, 50.0, 10.0, 100.0, 1.5, 2.0, 1.0, 1.0, 100.0, *[0.5] * 80]
    given, made = enlarged(tmp_path, 4, (50844, "d", 92, tuple(values), True))
    old, new = given[50844], made[50844]
    for offset, size in ((2, 7), (3, 8)):
        middle = 4 * 3 + 1.5  # of the four pixels of pixel 3
        assert (middle - new[offset]) / new[size] == pytest.approx((3 - old[offset]) / old[size])
    assert [new[i] for i in range(92) if i not in (2, 3, 7, 8)] == [old[i] for i in range(92) if i not in (2, 3, 7, 8)]

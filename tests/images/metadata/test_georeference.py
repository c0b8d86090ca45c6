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

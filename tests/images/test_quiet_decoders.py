"""Nothing but our own lines is printed about damaged files."""

import io
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from translate import images
from translate.images import ImageError
from translate.images.quiet_decoders import silence_decoders, take_tiff_error

from . import photos
from .arrays import smooth


def compressed(compression):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, smooth(40, 48), compression=compression, photometric="rgb")
    return buffer.getvalue()


def fax():
    return photos.as_file(Image.fromarray(smooth(40, 48)).convert("1"), "TIFF", compression="group4")


@pytest.mark.parametrize("compression", ["lzw", "zlib", "jpeg", "fax"])
@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_damaged_tiff_prints_nothing(compression, damage, tmp_path, capfd):
    data = fax() if compression == "fax" else compressed(compression)
    garbled = bytearray(data)
    for at in np.random.default_rng(0).integers(len(data) // 3, 2 * len(data) // 3, 30):
        garbled[at] ^= 0x5A
    (tmp_path / "x.tif").write_bytes(data[: len(data) // 2] if damage == "cut" else garbled)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        silence_decoders()
        try:
            images.read(tmp_path / "x.tif")
        except ImageError as e:
            assert "\n" not in str(e)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in caught] == []


def test_errors_in_spite_of_which_libtiff_decodes_are_said(tmp_path):
    data = bytearray(fax())
    (tmp_path / "good.tif").write_bytes(data)
    data[60] ^= 0x5A
    (tmp_path / "x.tif").write_bytes(data)
    assert images.read(tmp_path / "x.tif").damage == ["damaged: some of its rows may be wrong"]
    assert images.read(tmp_path / "good.tif").damage == []
    assert not take_tiff_error()

"""Scan of label maps before a training."""

import numpy as np
import pytest
from PIL import Image

from translate.data.label_scan import scan_label_maps
from translate.data.split import ImageRef
from translate.errors import DataError
from translate.images import LabelFormat


def write(path, values, palette=None):
    image = Image.fromarray(np.array(values, np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)
    return ImageRef(path)


def scan(refs, **settings):
    return scan_label_maps(refs, LabelFormat(3, **settings), print)


def test_pixels_without_a_label_are_found_wherever_they_are(tmp_path):
    plain = [write(tmp_path / f"{i}.png", [[0, 1], [2, i % 3]]) for i in range(5)]
    assert not scan(plain).has_unknown
    assert scan([*plain, write(tmp_path / "9.png", [[0, 255]])]).has_unknown
    assert not scan(plain).has_unknown  # from the cache
    write(tmp_path / "3.png", [[0, 255], [1, 1]])
    assert scan(plain).has_unknown


def test_colours_are_those_of_the_first_map(tmp_path):
    colours = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    refs = [write(tmp_path / "0.png", [[0, 1, 2]], colours), write(tmp_path / "1.png", [[0, 1, 2]])]
    assert [row.colour for row in scan(refs).palette] == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert scan(refs[1:]).palette is None


def test_the_first_map_of_other_values_is_named(tmp_path):
    refs = [write(tmp_path / "0.png", [[0, 1]]), write(tmp_path / "1.png", [[0, 7]])]
    with pytest.raises(DataError, match=r"1\.png: has the value 7 in 1 pixels, .*--label-count, [^\n]*$"):
        scan(refs)


def test_instance_maps_of_another_size_are_named(tmp_path):
    write(tmp_path / "objects.png", [[1, 2, 3]])
    ref = write(tmp_path / "0.png", [[0, 1]])
    with pytest.raises(DataError, match=r"0\.png: its instance map 'objects.png' has 3×1 pixels, but it has 2×1"):
        scan([ImageRef(ref.path, instances=tmp_path / "objects.png")], edges=True)


def test_damaged_maps_are_left_to_the_loader(tmp_path):
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert not scan([ImageRef(tmp_path / "0.png")]).has_unknown


def test_halves_of_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="trainA/"):
        scan([ImageRef(tmp_path / "0.png", "left")])

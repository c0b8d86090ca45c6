"""Properties of one image file, from its header or from all of it."""

import numpy as np
import pytest
from PIL import Image

from translate.dataset_check.probe import probe_image, read_header, why_not_regular


def rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "teal").save(path, exif=exif)
    return path


def test_a_header_gives_the_size_as_displayed(tmp_path):
    header = read_header(rotated(tmp_path / "x.jpg"))
    assert (header.width, header.height, header.channels, header.kinds) == (40, 60, 3, ("exif-rotated",))


@pytest.mark.parametrize(("channels", "kinds"), [(1, ("grey",)), (2, ("grey", "alpha")), (3, ()), (4, ("alpha",))])
def test_arrays_of_few_channels_are_read_as_colour(tmp_path, channels, kinds):
    np.save(tmp_path / "x.npy", np.zeros((4, 7, channels), np.uint8))
    header = read_header(tmp_path / "x.npy")
    assert (header.width, header.height, header.channels, header.kinds) == (7, 4, 3, kinds)


def test_a_file_that_is_no_image_has_no_header(tmp_path):
    (tmp_path / "x.png").write_text("no image")
    assert read_header(tmp_path / "x.png") is None


def test_a_decoded_image_has_the_size_of_its_header_and_its_depth(tmp_path):
    item = probe_image(rotated(tmp_path / "x.jpg"), None)
    assert (item.error, item.width, item.height, item.bytes_per_pixel, item.seconds) == ("", 40, 60, 3, 0)
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(tmp_path / "deep.png")
    item = probe_image(tmp_path / "deep.png", 8)
    assert (item.width, item.height, item.bytes_per_pixel, item.kinds) == (6, 5, 6, ("grey", "16-bit"))


def test_a_file_of_one_column_holds_no_two_images(tmp_path):
    Image.new("RGB", (1, 5)).save(tmp_path / "x.png")
    assert probe_image(tmp_path / "x.png", None).error == ""
    assert "too narrow" in probe_image(tmp_path / "x.png", None, half=True).error


def test_paths_that_are_no_regular_files_are_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "x.png").touch()
    reasons = [why_not_regular(tmp_path / name) for name in ("x.png", "folder.png", "gone.png", "none.png")]
    assert reasons == ["", "folder named like an image", "broken link", "no such file"]

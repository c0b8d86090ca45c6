"""Tests of `translate.conversion.cloaking`."""

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.conversion import cloaking
from translate.conversion.cloaking import CloakOptions, cloak_photo, cloak_pixels
from translate.errors import DataError, UsageError

from ..helpers import smooth_image


def photo(tmp_path, name="photo.jpg", height=40, width=36):
    """A photo with EXIF, among it an orientation of a quarter turn."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    path = tmp_path / name
    image = smooth_image(3, height, width)
    image.save(path, exif=exif.tobytes(), quality=95)
    return path


def test_a_cloaked_photo_stays_within_epsilon_and_moves_the_output_more_than_noise(cyclegan, tmp_path):
    source, target = photo(tmp_path), tmp_path / "out.png"
    result = cloak_photo(cyclegan, source, target, CloakOptions(epsilon=3, steps=10))
    before, after = (images.read(path, how=images.Reading(3)).pixels.astype(int) for path in (source, target))
    assert 1 <= np.abs(after - before).max() <= 3
    assert result.change > 1.5 * result.noise_change > 0
    whole = ((cyclegan(after / 255) - cyclegan(before / 255)) * 2) ** 2
    assert result.change == pytest.approx(whole.mean(), rel=0.02)  # rounded outputs


def test_metadata_stay_and_pixels_are_upright(cyclegan, tmp_path):
    source, target = photo(tmp_path), tmp_path / "out.png"
    cloak_photo(cyclegan, source, target, CloakOptions(steps=1))
    with Image.open(target) as image:
        assert image.size == (40, 36)
        exif = image.getexif()
        assert exif[0x010F] == "Maker"
        assert exif.get(0x0112, 1) == 1


def test_the_same_call_gives_the_same_bytes_and_never_replaces(cyclegan, tmp_path):
    source = photo(tmp_path)
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        cloak_photo(cyclegan, source, file, CloakOptions(steps=2))
    assert files[0].read_bytes() == files[1].read_bytes()
    with pytest.raises(UsageError, match="exists; --overwrite replaces it"):
        cloak_photo(cyclegan, source, files[0], CloakOptions(steps=2))


def test_a_large_photo_is_cloaked_in_windows_that_cover_it(cyclegan, monkeypatch):
    monkeypatch.setattr(cloaking, "WINDOW", 24)
    pixels = np.full((30, 50, 3), 128, np.uint8)
    cloaked, _ = cloak_pixels(cyclegan, pixels, CloakOptions(epsilon=2, steps=3))
    assert np.abs(cloaked.astype(int) - 128).max() == 2
    for rows in np.array_split(cloaked, 2):
        for window in np.array_split(rows, 3, axis=1):
            assert (window != 128).mean() > 0.5
    covered = np.zeros((30, 50), int)
    for window in cloaking._windows(30, 50):
        covered[window] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("target", "words"),
    [("out.jpg", "another format than PNG or TIFF loses the change"), ("photo.png", "the photo itself")],
)
def test_outputs_that_would_lose_something_are_refused(target, words, cyclegan, tmp_path):
    source = photo(tmp_path, "photo.png")
    with pytest.raises(UsageError, match=words):
        cloak_photo(cyclegan, source, tmp_path / target, CloakOptions())


def test_what_is_no_photo_is_refused(cyclegan, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"text\.jpg"):
        cloak_photo(cyclegan, tmp_path / "text.jpg", tmp_path / "out.png", CloakOptions())


def test_a_model_of_grey_images_is_refused(grey, tmp_path):
    with pytest.raises(UsageError, match="does not translate colour photos"):
        cloak_photo(grey, photo(tmp_path), tmp_path / "out.png", CloakOptions())

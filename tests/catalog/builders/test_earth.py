"""Windows of the Earth: splits, domains and alignment."""

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import earth

from ..helpers import build_dataset, draw_globe

# The Earth.

SURVEYS = pytest.mark.parametrize("survey", [earth.MAP, earth.SEASON], ids=["map", "season"])


@SURVEYS
def test_windows_lie_within_the_bands_of_their_split_and_the_latitudes(survey):
    for split, bands in survey.bands.items():
        found = list(earth.windows(survey, split))
        assert len(found) > 50
        assert len({window.file for window in found}) == len(found)
        for window in found:
            assert any(
                west - 1e-9 <= window.longitude and window.longitude + window.width <= east + 1e-9
                for west, east in bands
            )
            assert survey.latitudes[0] <= window.latitude
            assert window.latitude + survey.degrees <= survey.latitudes[1] + 1e-9
            middle = np.radians(window.latitude + survey.degrees / 2)
            assert window.width * np.cos(middle) == pytest.approx(survey.degrees)  # as wide on the ground as it is high


@SURVEYS
def test_no_ground_is_in_both_train_and_test(survey):
    train, test = (sorted(survey.bands[split]) for split in ("train", "test"))
    assert all(east <= other_west or other_east <= west for west, east in train for other_west, other_east in test)


def test_the_edges_of_a_band_are_reached():
    """Windows are spread from edge to edge, so that nothing is left over at the end."""
    row = [window for window in earth.windows(earth.MAP, "test") if window.latitude == -56]
    assert row[0].longitude == 5
    assert row[-1].longitude + row[-1].width == pytest.approx(45)
    assert np.ptp(np.diff([window.longitude for window in row])) < 1e-9


@pytest.mark.parametrize(("longitude", "latitude"), [(-180, -50), (0, 0), (100.3, 60.7), (170, -10)])
def test_a_window_shows_the_place_it_is_named_after(longitude, latitude):
    pixels = np.asarray(earth.crop_window(draw_globe(), earth.Window(longitude, latitude, 10), 8, 32), np.float64)
    assert pixels.shape == (32, 32, 3)
    assert pixels[..., 0].mean() == pytest.approx((longitude + 5 + 180) / 360 * 255, abs=1)
    assert pixels[..., 1].mean() == pytest.approx((latitude + 4 + 90) / 180 * 255, abs=1)
    assert (np.diff(pixels[:, :, 0].mean(0)) >= -0.5).all()  # west is left
    assert (np.diff(pixels[:, :, 1].mean(1)) <= 0.5).all()  # north is up


def test_land_is_what_is_neither_sea_nor_night():
    picture = np.zeros((4, 4, 3), np.uint8)
    assert earth.land_fraction(Image.fromarray(picture)) == 0
    picture[:] = (10, 40, 90)
    assert earth.land_fraction(Image.fromarray(picture)) == 0
    picture[0] = (60, 90, 40)
    assert earth.land_fraction(Image.fromarray(picture)) == 0.25
    picture[:] = (250, 250, 250)
    assert earth.land_fraction(Image.fromarray(picture)) == 1


def test_pairs_of_the_map_show_the_same_place(rasters, tmp_path):
    """With one raster as both sides, both halves of each file are alike."""
    folder = build_dataset("earth_map", rasters, tmp_path / "out")
    for split in ("train", "test"):
        files = list((folder / split).iterdir())
        assert len(files) > 5
        for file in files:
            pixels = np.asarray(Image.open(file), int)
            assert pixels.shape == (16, 32, 3)
            assert np.abs(pixels[:, :16] - pixels[:, 16:]).max() <= 2


def test_seasons_are_aligned_in_test_and_of_other_places_in_train(rasters, tmp_path):
    folder = build_dataset("earth_season", rasters, tmp_path / "out")
    names = {side.name: {file.name for file in side.iterdir()} for side in folder.iterdir()}
    assert names["testA"] == names["testB"]
    assert len(names["testA"]) > 1
    assert names["trainA"].isdisjoint(names["trainB"])
    assert min(len(names["trainA"]), len(names["trainB"])) > 5
    for name in names["testA"]:
        a, b = (np.asarray(Image.open(folder / side / name), int) for side in ("testA", "testB"))
        assert np.abs(a + b - 255).mean() < 3  # winter is summer inverted

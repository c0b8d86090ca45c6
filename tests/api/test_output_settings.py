"""--residual auto: decided by the edges of the training images, kept by the run, and off where it is not possible."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import translate
from translate import records
from translate.api.output_settings import find_output_settings
from translate.config import resolve
from translate.data import layouts
from translate.errors import UsageError
from translate.methods import METHODS


def draw(path, left, top, colour, size=32):
    """A square of a colour on grey."""
    pixels = np.full((size, size, 3), 90, np.uint8)
    pixels[top : top + 8, left : left + 8] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def recoloured(tmp_path):
    """Pairs of one square in two colours."""
    for n in range(4):
        draw(tmp_path / "recoloured/trainA" / f"{n}.png", 4 + 3 * n, 6, (200, 30, 40))
        draw(tmp_path / "recoloured/trainB" / f"{n}.png", 4 + 3 * n, 6, (20, 130, 240))
    return tmp_path / "recoloured"


@pytest.fixture
def reshaped(tmp_path):
    """Squares of one colour, which lie at the top in a and at the bottom in b."""
    for n in range(4):
        draw(tmp_path / "reshaped/trainA" / f"{n}.png", 4 + 3 * n, 2, (200, 30, 40))
        draw(tmp_path / "reshaped/trainB" / f"{n}.png", 4 + 3 * n, 22, (200, 30, 40))
    return tmp_path / "reshaped"


def decided(method, root, run, **flags):
    """The residual and colour_start of a new run, and the lines that are said."""
    cls, lines = METHODS[method], []
    given = {"residual": "auto", "colour_start": "auto", "generator": "resize_unet", "crop_size": 64, **flags}
    cfg = cls.resolve_config(resolve(cls.Config, ("flags", given)))
    split = layouts.find_split(root, cls.layout, "train", cfg.direction)
    found = find_output_settings(cls, cfg, split, run, lines.append)
    return (found.residual, found.colour_start), lines


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_shapes_that_stay_are_added_to(method, recoloured, tmp_path):
    found, (line,) = decided(method, recoloured, tmp_path)
    assert found == ("on", "on")
    assert line.endswith("so outputs are added to the input's colours (--residual on)")


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_shapes_that_change_are_painted_anew(method, reshaped, tmp_path):
    found, (line,) = decided(method, reshaped, tmp_path)
    assert found == ("off", "off")
    assert line.endswith("so outputs are painted anew (--residual off)")


def test_what_is_said_is_measured(recoloured, reshaped, tmp_path):
    assert decided("pix2pix", recoloured, tmp_path)[1] == [
        "data: edges of inputs and true images have a correlation of 1.00, so outputs are added to the input's colours "
        "(--residual on)"
    ]
    assert decided("cyclegan", reshaped, tmp_path)[1] == [
        "data: 100% of the edges lie elsewhere in domain b, so outputs are painted anew (--residual off)"
    ]


def test_a_setting_that_is_given_is_not_looked_for(reshaped, tmp_path):
    assert decided("cyclegan", reshaped, tmp_path, residual="on") == (("on", "on"), [])
    assert decided("cyclegan", reshaped, tmp_path, residual="off", colour_start="off") == (("off", "off"), [])
    assert decided("cyclegan", reshaped, tmp_path, residual=True, colour_start=False) == (("on", "off"), [])


@pytest.mark.parametrize(
    "flags", [{"generator": "unet_64"}, {"output_channels": 1}, {"label_count": 4}], ids=lambda flags: next(iter(flags))
)
def test_without_a_residual_output_there_is_nothing_to_decide(flags, recoloured, tmp_path):
    assert decided("pix2pix", recoloured, tmp_path, **flags) == (("off", "off"), [])


def test_images_that_cannot_be_read_decide_nothing(recoloured, tmp_path):
    for path in (recoloured / "trainA").iterdir():
        path.write_bytes(b"no image")
    assert decided("pix2pix", recoloured, tmp_path) == (("off", "off"), [])


def test_the_colour_start_needs_a_residual_output():
    with pytest.raises(UsageError, match="--colour-start on"):
        METHODS["pix2pix"].resolve_config(replace(METHODS["pix2pix"].Config(), colour_start="on", residual="auto"))


def test_a_run_keeps_what_was_decided(recoloured, reshaped, tmp_path):
    """Also where the images have changed since, and where a run of an earlier version has written true."""
    small = {
        "preset": "modern", "crop_size": 32, "load_size": 32, "device": "cpu", "watch": False,
        "generator": "resize_unet_1levels_1blocks", "discriminator": "pixel",
        "g_width": 4, "d_width": 4, "lambda_features": 0.0, "batch_size": 2,
    }  # fmt: skip
    run = translate.train("pix2pix", recoloured, run=tmp_path / "run", images=2, say=None, **small)
    config = run.path / "config.toml"
    assert records.read_toml(config)["residual"] == "on"
    assert records.read_json(run.path / "model" / "config.json")["networks"]["residual"] == "on"
    config.write_text(config.read_text().replace('residual = "on"', "residual = true"))
    for path in (reshaped / "trainB").iterdir():
        (recoloured / "trainB" / path.name).write_bytes(path.read_bytes())
    lines = []
    more = translate.train("pix2pix", recoloured, run=run.path, images=4, say=lines.append, **small)
    assert more.images == 4
    assert records.read_toml(config)["residual"] == "on"
    assert not any("edges" in line for line in lines)

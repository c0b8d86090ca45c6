"""The renderer of SVG drawings: of the wheel that is given, and no other."""

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import svg_rendering
from translate.errors import DataError

from ..helpers import RESVG, write_wheel


def test_a_drawing_by_the_wheel_that_is_given(tmp_path, no_resvg):
    render = svg_rendering.load_renderer(write_wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": RESVG}))
    pixels = np.asarray(render('<svg viewBox="0 0 32 16" fill="#0000ff"/>', 8))
    assert (pixels[:, :4] == 0).all()
    assert (pixels[:, 4:] == (0, 0, 255, 255)).all()


def test_a_wheel_for_another_machine_is_one_line(tmp_path, no_resvg):
    wheel = write_wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": b"raise ImportError('wrong ELF class')"})
    with pytest.raises(DataError, match=r"draw\.whl: cannot be used on this machine: wrong ELF class"):
        svg_rendering.load_renderer(wheel)


def test_transparency_becomes_white():
    image = Image.new("RGBA", (2, 1), (200, 100, 0, 0))
    image.putpixel((1, 0), (200, 100, 0, 128))  # half of itself, half white
    assert np.asarray(svg_rendering.on_white(image))[0].tolist() == [
        [255, 255, 255],
        pytest.approx([227, 177, 127], abs=1),
    ]

"""Conversion by a super-resolution model: outputs are larger than their inputs, and all that knows of sizes follows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from translate import images
from translate.conversion import tiling
from translate.conversion.manifest import list_manifests
from translate.conversion.options import ConversionResult
from translate.conversion.tiling import TilePlanner
from translate.trained import translator
from translate.trained.translator import Translator

from ..helpers import smooth_image

Build = Callable[..., Path]
Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]
One = Callable[..., Path]

PIXEL_WIDTH, PHOTO = 0xA002, 0x8769


@pytest.fixture(scope="module")
def model(build: Build) -> Translator:
    """Of factor 4, with weights that change each pixel."""
    found = translator.load(build("superres", generator="srresnet_1blocks"), device="cpu")
    for weight in found.method.g.parameters():
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(weight.numel()))
    return found


@pytest.fixture
def one(tmp_path: Path, convert: Convert, model: Translator) -> One:
    """Converts an input, which a function writes to a path of this suffix, to a file; returns the output."""

    def run(write: Callable[[Path], Any], suffix: str, **options: Any) -> Path:
        source, out = tmp_path / "in" / f"x{suffix}", tmp_path / "out" / f"{len(options)}{suffix}"
        for path in (source, out):
            path.parent.mkdir(exist_ok=True)
        write(source)
        assert convert(source, out, model, **options).failures == {}
        return out

    return run


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 24)])
def test_outputs_are_larger_by_the_factor(model: Translator, draw: Draw, size: tuple[int, int]) -> None:
    width, height = size
    picture = draw(0, width, height)
    assert model(Image.fromarray(picture)).size == (4 * width, 4 * height)
    assert model(picture).shape == (4 * height, 4 * width, 3)
    assert model(np.stack([picture, picture])).shape == (2, 4 * height, 4 * width, 3)
    assert model(torch.zeros(2, 3, height, width)).shape == (2, 3, 4 * height, 4 * width)
    assert "enlarged ×4" in repr(model)


def test_a_folder_of_every_kind(model: Translator, convert: Convert, draw: Draw, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(draw(3, 12, 10)).save(source / name)
    tifffile.imwrite(source / "deep.tif", draw(4, 12, 10).astype(np.uint16) * 257, photometric="rgb")
    frames = [Image.fromarray(draw(seed, 12, 10)) for seed in (5, 6)]
    frames[0].save(source / "d.gif", save_all=True, append_images=frames[1:])
    result = convert(source, out, model)
    assert (result.done, result.failures) == (5, {})
    made = {path.name: images.read_size(path) for path in out.iterdir() if path.suffix != ".jsonl"}
    assert made == dict.fromkeys(("a.png", "b.jpg", "c.webp", "d.gif", "deep.tif"), (40, 48))
    assert tifffile.imread(out / "deep.tif").dtype == np.uint16
    with Image.open(out / "d.gif") as animation:
        assert animation.n_frames == 2
    again = convert(source, out, model)
    assert (again.done, again.skipped) == (0, 5)
    assert len(list_manifests(out)) == 1


def test_transparency_is_enlarged(model: Translator, one: One) -> None:
    """A half that is opaque stays a half, with an edge that is as soft as Pillow's."""
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    picture = np.dstack([np.full((8, 8, 3), 99, np.uint8), alpha])
    made = np.asarray(Image.open(one(Image.fromarray(picture).save, ".png")))
    assert made.shape == (32, 32, 4)
    assert set(np.unique(made[:, :8, 3])) == {0}
    assert set(np.unique(made[:, 24:, 3])) == {255}
    assert np.array_equal(model(picture)[:, :, 3], made[:, :, 3])


def test_images_that_become_too_large_are_said_before_and_listed(
    model: Translator, convert: Convert, draw: Draw, tmp_path: Path
) -> None:
    """10 × 10 pixels become 1600: more than 1599, though 100 are not."""
    (tmp_path / "in").mkdir()
    for name, side in (("large.png", 10), ("small.png", 9)):
        Image.fromarray(draw(0, side, side)).save(tmp_path / "in" / name)
    said: list[str] = []
    result = convert(tmp_path / "in", tmp_path / "out", model, said=said, max_pixels=1599)
    assert result.done == 1
    assert result.failures == {
        "large.png": "10×10 becomes 40×40, which is more than 1599 pixels; raise --max-pixels to allow it"
    }
    assert [line for line in said if "1 of 2 images" in line and "large.png" in line]
    again = convert(tmp_path / "in", tmp_path / "out", model, max_pixels=1600)
    assert (again.done, again.skipped, again.failures) == (1, 1, {})


@pytest.mark.parametrize("tile", [8, 13])
@pytest.mark.parametrize("stored", ["ram", "scratch"])
def test_tiles_give_the_whole_output(model: Translator, draw: Draw, tmp_path: Path, tile: int, stored: str) -> None:
    picture = draw(2, 45, 31)
    (whole,) = model.translate_pixels([picture], "b")
    folder = tmp_path if stored == "scratch" else None
    tiled = tiling.TiledTranslation(model, "b", tile=tile, scratch=folder)(picture)
    assert tiled.shape == whole.shape == (124, 180, 3)
    assert np.abs(tiled.astype(int) - whole.astype(int)).max() <= 1  # where a value is between two integers
    assert (tiled != whole).mean() < 1e-3


def test_a_job_in_tiles_is_a_job_of_whole_images(one: One, draw: Draw) -> None:
    write = Image.fromarray(draw(2, 45, 31)).save
    outputs = [one(write, ".png", tile="off"), one(write, ".png", tile=16, seed=0)]
    whole, tiled = (np.asarray(Image.open(path), int) for path in outputs)
    assert np.abs(whole - tiled).max() <= 1


def test_memory_is_that_of_the_output(build: Build) -> None:
    """The maps at the full size are a larger share the larger the factor; and tiles begin smaller by it."""
    planners = {
        factor: TilePlanner(
            translator.load(build("superres", generator="srresnet_1blocks", factor=factor), device="cpu"), "b"
        )
        for factor in (2, 4)
    }
    need = {factor: planner.estimate_whole(200, 300) for factor, planner in planners.items()}
    assert 3 * need[2] < need[4] < 5 * need[2]
    assert planners[2].max_tile == 2 * planners[4].max_tile


def test_sizes_in_metadata_follow(one: One) -> None:
    exif = Image.Exif()
    exif.get_ifd(PHOTO).update({PIXEL_WIDTH: 40, PIXEL_WIDTH + 1: 24})
    write = partial(smooth_image(0, 24, 40).save, exif=exif.tobytes(), dpi=(300, 300))
    with Image.open(one(write, ".jpg")) as made:
        photo = made.getexif().get_ifd(PHOTO)
        assert (photo[PIXEL_WIDTH], photo[PIXEL_WIDTH + 1]) == made.size == (160, 96)


def test_a_georeference_follows_and_so_do_pixels_without_a_value(one: One) -> None:
    pixels = np.full((6, 8, 3), 90, np.uint16)
    pixels[:3, :4] = 7
    tags: list[Any] = [
        (33550, "d", 3, (30.0, 30.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 350000.0, 5600000.0, 0), True),
        (42113, "s", 0, "7", True),
    ]  # fmt: skip
    out = one(partial(tifffile.imwrite, data=pixels, photometric="rgb", extratags=tags), ".tif")
    with tifffile.TiffFile(out) as made:
        found = {tag.code: tag.value for tag in made.pages[0].tags}
        array = made.asarray()
    assert found[33550] == (7.5, 7.5, 0)
    assert found[33922] == (0, 0, 0, 350000, 5600000, 0)
    assert array.shape == (24, 32, 3)
    assert (array[:12, :16] == 7).all()


def test_the_report_says_both_sizes(model: Translator, convert: Convert, draw: Draw, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(draw(0, 12, 10)).save(tmp_path / "in" / "x.png")
    convert(tmp_path / "in", tmp_path / "out", model, report=True)
    assert "12 × 10 → 48 × 40" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

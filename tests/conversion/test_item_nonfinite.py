"""A network whose output is not finite makes a failed file, and no black one: whole images, batches, tiles and frames."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate import api
from translate.conversion import item, sampling
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.conversion.output_paths import Item
from translate.conversion.sampling import ImageSampler, SamplingOptions
from translate.conversion.tiling import TiledTranslation
from translate.errors import NonFiniteError
from translate.trained import translator
from translate.trained.translator import Translator

from .output_folder import last, tree

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]

REASON = "the network's output is not finite (it holds NaN or infinite values); "


@pytest.fixture
def picky(cyclegan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Translator:
    """A translator whose network gives NaN in one pixel of images that are not black; and infinity in one that is white."""
    model = translator.load(cyclegan_folder, device="cpu")
    network = model.generator_for("b")

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros_like(x)
        y[x.mean((1, 2, 3)) > 0, 0, 0, 0] = torch.nan
        y[x.amin((1, 2, 3)) == 1, 2, 1, 1] = torch.inf
        return y

    monkeypatch.setattr(network, "forward", forward)
    return model


@pytest.fixture
def broken(cyclegan_folder: Path) -> Translator:
    """A translator that has lost a weight since it was loaded."""
    model = translator.load(cyclegan_folder, device="cpu")
    with torch.no_grad():
        next(model.generator_for("b").parameters())[0, 0, 0, 0] = torch.nan
    return model


def write(folder: Path, **colours: int) -> Path:
    folder.mkdir()
    for name, colour in colours.items():
        Image.new("RGB", (12, 9), (colour,) * 3).save(folder / f"{name}.png")
    return folder


def test_such_images_fail_alone_and_leave_no_file(convert: Convert, picky: Translator, tmp_path: Path) -> None:
    source = write(tmp_path / "in", black=0, light=200, white=255)
    result = convert(source, tmp_path / "out", model=picky)
    assert (result.done, set(result.failures)) == (1, {"light.png", "white.png"})
    assert set(tree(tmp_path / "out")) == {"black.png"}
    for name in ("light.png", "white.png"):
        assert last(tmp_path / "out")[name]["error"].startswith(REASON)
    assert "earlier checkpoint" in result.failures["light.png"]


def test_one_such_image_of_a_batch_fails_the_batch_which_is_then_divided(picky: Translator, tmp_path: Path) -> None:
    converter = item.ItemConverter(picky, write(tmp_path / "in", black=0, light=200), tmp_path, ConversionOptions())
    black, light = (converter.read(Item(f"{name}.png", f"{name}.png")) for name in ("black", "light"))
    with pytest.raises(NonFiniteError):
        converter.translate([black, light])
    assert len(converter.translate([black])) == 1


def test_frames_fail_the_animation(convert: Convert, picky: Translator, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = [Image.new("RGB", (9, 9), (value,) * 3) for value in (0, 200)]
    frames[0].save(tmp_path / "in" / "x.gif", save_all=True, append_images=frames[1:], duration=100)
    assert convert(tmp_path / "in", tmp_path / "out", model=picky).failures["x.gif"].startswith(REASON)
    assert tree(tmp_path / "out") == {}


def test_tiles_fail_the_image(convert: Convert, broken: Translator, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (80, 70)).save(tmp_path / "in" / "x.png")
    assert convert(tmp_path / "in", tmp_path / "out", model=broken, tile=64).failures["x.png"].startswith(REASON)
    with pytest.raises(NonFiniteError, match="not finite"):
        TiledTranslation(broken, "b", tile=64)(np.zeros((70, 80, 3), np.uint8))


def test_a_single_file_fails(convert: Convert, broken: Translator, tmp_path: Path) -> None:
    source = write(tmp_path / "in", x=0) / "x.png"
    assert convert(source, tmp_path / "y.png", model=broken).failures["x.png"].startswith(REASON)
    assert not (tmp_path / "y.png").exists()


def test_samples_that_are_not_finite_are_an_error_and_no_disk_is_blamed(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    model = translator.read_model(build("dcgan", crop_size=32, load_size=32, noise_size=4))
    sampler = ImageSampler(model, torch.device("cpu"))
    with torch.no_grad():
        next(sampler.method.get_submodule("g").parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="not finite"):
        sampling.sample_images(sampler, tmp_path / "out", SamplingOptions(count=2))
    assert not list((tmp_path / "out").glob("*.png"))


def test_an_evaluation_names_the_image(broken: Translator, unpaired_root: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"0\.png: the network's output is not finite") as caught:
        api.evaluate(broken, unpaired_root, metrics=["colour"], size=16)
    assert caught.value.exit_code == 4


def test_half_precision_is_told_to_try_more(cyclegan_folder: Path) -> None:
    model = translator.load(cyclegan_folder, device="cpu", precision="bf16")
    with torch.no_grad():
        next(model.generator_for("b").parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="use --precision fp32"):
        model(Image.new("RGB", (8, 8)))

"""Conversion with an imported model: the same pixels as the reference's network."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import translate
from translate import images
from translate.errors import UsageError

from .reference_files import direct, generator, in_precision, load, noise, save

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]


@pytest.mark.parametrize(
    ("name", "norm", "dropout"),
    [("resnet_2blocks", "instance", False), ("resnet_1blocks", "batch", True), ("unet_32", "batch", True),
     ("unet_64", "instance", True)],
)  # fmt: skip
def test_the_file_the_folder_and_the_network_give_the_same_pixels(
    tmp_path: Path, draw: Draw, name: str, norm: str, dropout: bool
) -> None:
    net = generator(name, norm, dropout)
    path = save(tmp_path / "latest_net_G.pth", net)
    translate.import_weights(path, tmp_path / "model", say=lambda line: None)
    pixels = draw(3, 64, 64)
    picture = Image.fromarray(pixels)
    results = [np.asarray(load(place)(picture)) for place in (path, tmp_path / "model", tmp_path)]
    assert all(np.array_equal(result, results[0]) for result in results)
    x = images.to_tensor(pixels)[None]
    assert torch.equal(load(path, dropout="off")(x, pixels="reference"), direct(net, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_weights_of_other_precisions_are_computed_with_as_asked(tmp_path: Path, dtype: torch.dtype) -> None:
    net = in_precision(generator("resnet_1blocks", "batch"), dtype)
    path = save(tmp_path / "x.pth", net)
    translate.import_weights(path, tmp_path / "model")
    for place in (path, tmp_path / "model"):
        assert torch.equal(load(place)(noise(), pixels="reference"), direct(copy.deepcopy(net).float(), noise()))
        exact = load(place, precision="fp64")(noise(dtype=torch.float64), pixels="reference")
        assert torch.equal(exact, direct(copy.deepcopy(net).double(), noise(dtype=torch.float64)))


@pytest.mark.parametrize(
    ("name", "norm", "usual"),
    [("resnet_1blocks", "instance", "on"), ("unet_64", "batch", "on"), ("unet_64", "instance", "off")],
)
def test_dropout_off_is_the_network_alone_and_on_is_the_same_noise_each_time(
    tmp_path: Path, name: str, norm: str, usual: str
) -> None:
    net = generator(name, norm, True)
    path = save(tmp_path / "x.pth", net)
    x = noise(size=64)
    off, on = load(path, dropout="off"), load(path, dropout="on")
    assert torch.equal(off(x, pixels="reference"), direct(net, x))
    assert torch.equal(off(x, seed=3), off(x))
    assert torch.equal(on(x), on(x))
    assert not torch.equal(on(x), off(x))
    assert not torch.equal(on(x, seed=1), on(x))
    assert torch.equal(load(path)(x), (on if usual == "on" else off)(x))
    for value, same_as in ((True, on), (False, off)):
        assert torch.equal(load(path, dropout=value)(x), same_as(x))


def test_what_a_model_folder_says_can_be_overridden_both_ways(tmp_path: Path, pix2pix_folder: Path) -> None:
    x = noise(size=64)
    on, off = load(pix2pix_folder), load(pix2pix_folder, dropout="off")
    assert torch.equal(off(x, pixels="reference"), direct(load(pix2pix_folder).method.get_submodule("g"), x))
    assert not torch.equal(off(x), on(x))
    path = save(tmp_path / "x.pth", generator("unet_64", "batch", True))
    translate.import_weights(path, tmp_path / "model", dropout="off", norm_statistics="running")
    again = load(tmp_path / "model", dropout="on", norm_statistics="sample")
    assert torch.equal(again(x), load(path)(x))
    assert not torch.equal(again(x), load(tmp_path / "model")(x))


def test_norm_statistics_are_each_image_s_own_or_those_of_training(tmp_path: Path) -> None:
    net = generator("unet_32", "batch")
    path = save(tmp_path / "x.pth", net)
    x = noise()
    for statistics in ("sample", "running"):
        model = load(path, dropout="off", norm_statistics=statistics)
        assert model.info.norm_statistics == statistics
        assert torch.equal(model(x, pixels="reference"), direct(net, x, statistics))
    assert not torch.equal(direct(net, x, "sample"), direct(net, x, "running"))
    assert torch.equal(load(path, dropout="off")(x, pixels="reference"), direct(net, x, "sample"))
    with pytest.raises(UsageError, match="sample, running"):
        load(path, norm_statistics="batch")


@pytest.mark.parametrize("statistics", ["sample", "running"])
@pytest.mark.parametrize(("name", "dropout"), [("resnet_1blocks", False), ("resnet_1blocks", True), ("unet_64", True)])
def test_a_batch_is_its_images_one_by_one_with_batch_norm(
    tmp_path: Path, name: str, dropout: bool, statistics: str
) -> None:
    """Bit for bit in float64; in float32 a convolution's own rounding may depend on the batch."""
    path = save(tmp_path / "x.pth", generator(name, "batch", dropout))
    for precision, tolerance in (("fp64", 0), ("fp32", 2e-4)):
        model = load(path, norm_statistics=statistics, precision=precision)
        x = noise(3, size=64, dtype=model.precision.weights)
        singles = torch.cat([model(image[None]) for image in x])
        torch.testing.assert_close(model(x), singles, rtol=0, atol=tolerance)
        assert not torch.equal(singles[0], singles[1])


def test_pixels_are_rounded_or_cut_off_as_the_reference_does(tmp_path: Path, draw: Draw) -> None:
    path = save(tmp_path / "x.pth", generator("resnet_2blocks"))
    model = load(path)
    source = Image.fromarray(draw(8, 40, 36))
    y = model(images.to_tensor(np.asarray(source))[None])[0].permute(1, 2, 0).numpy()
    cut = ((y + 1) / 2.0 * 255.0).astype(np.uint8)
    rounded = np.rint((y.astype(np.float64) + 1) * 127.5).astype(np.uint8)
    assert np.array_equal(np.asarray(model(source, pixels="reference")), cut)
    assert np.array_equal(np.asarray(model(source)), rounded)
    assert (rounded.astype(int) - cut).mean() == pytest.approx(0.5, abs=0.05)
    source.save(tmp_path / "photo.png")
    for pixels, expected in (("reference", cut), ("rounded", rounded)):
        translate.convert(model, tmp_path / "photo.png", tmp_path / pixels, pixels=pixels)
        translate.convert(model, tmp_path / "photo.png", tmp_path / f"{pixels}.png", pixels=pixels)
        for made in (tmp_path / pixels / "photo.png", tmp_path / f"{pixels}.png"):
            with Image.open(made) as image:
                assert np.array_equal(np.asarray(image), expected)
    with pytest.raises(UsageError, match="rounded, reference"):
        model(source, pixels="floor")
    with pytest.raises(UsageError, match="rounded, reference"):
        translate.convert(model, tmp_path / "photo.png", tmp_path / "x", pixels="floor")


def test_cutting_off_is_numpys_for_every_level_and_its_neighbours() -> None:
    levels = np.arange(256, dtype=np.float32) / np.float32(255) * 2 - 1
    near = [np.nextafter(levels, np.float32(side), dtype=np.float32).clip(-1, 1) for side in (-2, 2)]
    for x in (levels, *near, np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)):
        expected = ((x + 1) / 2.0 * 255.0).astype(np.uint8)
        assert np.array_equal(images.quantize(torch.from_numpy(x), truncate=True).numpy(), expected)


def settings_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.jsonl").read_bytes().splitlines()[-1])["settings"]


def test_the_manifest_records_what_decides_the_pixels_and_a_change_makes_them_anew(tmp_path: Path, draw: Draw) -> None:
    path = save(tmp_path / "x.pth", generator("unet_64", "batch", True))
    (tmp_path / "in").mkdir()
    Image.fromarray(draw(1, 20, 20)).save(tmp_path / "in" / "photo.png")

    def convert(**options: Any) -> tuple[int, int]:
        result = translate.convert(
            path, tmp_path / "in", tmp_path / "out", device="cpu", say=lambda line: None, **options
        )
        return result.done, result.skipped

    assert convert() == (1, 0)
    known = {"dropout": "on", "norm_statistics": "sample", "pixels": "rounded", "precision": "fp32"}
    assert known.items() <= settings_of(tmp_path / "out").items()
    assert convert() == (0, 1)
    seen = {(tmp_path / "out" / "photo.png").read_bytes()}
    for change in ({"dropout": "off"}, {"norm_statistics": "running"}, {"pixels": "reference"}, {"precision": "fp64"}):
        assert convert(**change) == (1, 0), change
        assert convert(**change) == (0, 1), change
        assert settings_of(tmp_path / "out") == {**settings_of(tmp_path / "out"), **known, **change}
        seen.add((tmp_path / "out" / "photo.png").read_bytes())
    assert len(seen) >= 4
    assert convert(dropout="on") == (1, 0)
    assert convert() == (0, 1), "what is asked for is what the model does anyway"


def test_channels_that_pictures_do_not_have_are_for_tensors_and_arrays(tmp_path: Path, draw: Draw) -> None:
    model = load(save(tmp_path / "x.pth", generator(channels=(4, 2))))
    assert model(noise(2, channels=4)).shape == (2, 2, 32, 32)
    np.save(tmp_path / "four.npy", draw(channels=4))
    assert translate.convert(model, tmp_path / "four.npy", tmp_path / "out").failures == {}
    assert np.load(tmp_path / "out" / "four.npy").shape == (*draw().shape[:2], 2)
    failures = translate.convert(model, tmp_path / "four.npy", tmp_path / "png", format="png").failures
    assert failures == {"four.npy": "png holds 1 or 3 channels, not 2; use --format tiff or npy"}
    Image.fromarray(draw()).save(tmp_path / "photo.png")
    failures = translate.convert(model, tmp_path / "photo.png", tmp_path / "out").failures
    assert failures == {"photo.png": "has 3 channels, but 4 are wanted"}
    with pytest.raises(UsageError, match="1 or 3 channels"):
        model(Image.fromarray(draw()))
    with pytest.raises(UsageError, match=r"\(N, 4, H, W\)"):
        model(noise())


def test_a_loaded_model_is_not_asked_for_another_behaviour(tmp_path, draw):
    Image.fromarray(draw()).save(tmp_path / "photo.png")
    model = load(save(tmp_path / "x.pth", generator(dropout=True)))
    with pytest.raises(UsageError):
        translate.convert(model, tmp_path / "photo.png", tmp_path / "y.png", dropout="off")

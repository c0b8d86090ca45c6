"""Projection: the code of a generated image is found again, files, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from translate import api
from translate.conversion import projection
from translate.conversion.projection import ProjectionOptions, find_code, perceptual_distance, rate_factor
from translate.errors import UsageError
from translate.trained import find
from translate.trained.sampler import ImageSampler

STYLEGAN2 = {"crop_size": 16, "load_size": 16, "noise_size": 6, "full_width_size": 8, "g_width": 8}


class NoFeatures(nn.Module):
    """Compares pixels alone."""

    def forward(self, x):
        return []


@pytest.fixture(scope="module")
def model(build):
    return build("stylegan2", **STYLEGAN2)


def test_the_rate_rises_and_falls():
    assert [rate_factor(share) for share in (0, 0.025, 0.05, 0.5, 0.75)] == [0, 0.5, 1, 1, 1]
    assert rate_factor(0.875) == pytest.approx(0.5)
    assert rate_factor(0.999) < 1e-3


def test_the_distance_is_that_of_pixels_and_maps_by_hand():
    halves = lambda x: [x[:, :, ::2] * 2]  # noqa: E731
    x, y = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.5)
    assert perceptual_distance(halves, y)(x).item() == pytest.approx(0.25 + 1)
    assert perceptual_distance(halves, y)(y) == 0


def test_a_generated_image_is_found_again(model, monkeypatch):
    """From the average code the search comes within a hundredth of the distance, and the result is deterministic."""
    monkeypatch.setattr(projection, "AVERAGED", 100)
    sampler = ImageSampler(find.read_model(model), torch.device("cpu"))
    target = sampler([3], seed=1)
    options = ProjectionOptions(steps=100, lr=0.05)
    found = find_code(sampler, target, NoFeatures(), options)
    assert found.distance < 0.01 * found.average_distance
    again = find_code(sampler, target, NoFeatures(), options)
    assert torch.equal(found.code, again.code)
    distance = (sampler.from_styles(found.code) - target).square().mean().item()
    assert distance == pytest.approx(found.distance, rel=1e-4)


def test_files_of_a_projection_and_what_is_refused(model, build, tmp_path, monkeypatch):
    monkeypatch.setattr(projection, "AVERAGED", 10)
    monkeypatch.setattr(projection, "load_features", lambda name: NoFeatures())
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "in.png")
    seen = []
    made = api.project(
        model, tmp_path / "in.png", tmp_path / "out.png", steps=12, device="cpu",
        progress=lambda *counts: seen.append(counts),
    )  # fmt: skip
    assert seen == [(10, 0, 12), (12, 0, 12)]
    code = np.load(made.codes)
    sampler = ImageSampler(find.read_model(model), torch.device("cpu"))
    with Image.open(made.output) as image:
        expected = ((sampler.from_styles(torch.from_numpy(code))[0].permute(1, 2, 0) + 1) * 127.5).numpy()
        assert np.abs(np.asarray(image) - expected).max() <= 1
    given = tmp_path / "in.png"
    for output, words in (("out.png", "exists; --overwrite"), ("out.jpg", "a projection is a PNG")):
        with pytest.raises(UsageError, match=words):
            api.project(model, given, tmp_path / output, device="cpu")
    with pytest.raises(UsageError, match=r"nothing\.png"):
        api.project(model, tmp_path / "nothing.png", tmp_path / "x.png", device="cpu")
    dcgan = build("dcgan", crop_size=32, load_size=32, noise_size=8)
    with pytest.raises(UsageError, match="translate project: is for models with style codes"):
        api.project(dcgan, given, tmp_path / "x.png", device="cpu")

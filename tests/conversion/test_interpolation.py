"""Animations between generated images: their way through the style codes, their frames, and what is refused."""

import pytest
import torch
from PIL import Image

from translate import api
from translate.conversion.interpolation import path_of_styles
from translate.errors import UsageError

STYLEGAN2 = {"crop_size": 16, "load_size": 16, "noise_size": 6, "full_width_size": 8}


def test_the_way_is_straight_and_closed():
    ends = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 8.0]])
    path = path_of_styles(ends, 4)
    assert path[:5].tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]]
    assert path[8:].tolist() == [[4, 8], [3, 6], [2, 4], [1, 2]]


@pytest.fixture(scope="module")
def model(build):
    return build("stylegan2", **STYLEGAN2)


def test_an_animation_goes_through_the_images_of_the_seed(model, tmp_path):
    made = api.sample(model, tmp_path / "way.png", interpolate=3, frames=4, seed=5, device="cpu", truncation=0.8)
    assert made.done == 12
    api.sample(model, tmp_path / "still", count=3, seed=5, device="cpu", truncation=0.8)
    with Image.open(tmp_path / "way.png") as animation:
        assert animation.n_frames == 12
        for n in range(3):
            animation.seek(4 * n)
            with Image.open(tmp_path / f"still/00000{n}.png") as still:
                difference = torch.tensor(list(animation.convert("RGB").tobytes())) - torch.tensor(
                    list(still.tobytes())
                )
            assert difference.abs().max() <= 1
    with pytest.raises(UsageError, match="exists; --overwrite"):
        api.sample(model, tmp_path / "way.png", interpolate=3, device="cpu")
    with pytest.raises(UsageError, match="holds samples of another model"):
        api.sample(model, tmp_path / "still", count=3, seed=5, device="cpu")


def test_what_cannot_be_animated_or_truncated_is_refused(model, build, tmp_path):
    dcgan = build("dcgan", crop_size=32, load_size=32, noise_size=8)
    with pytest.raises(UsageError, match="--interpolate 2: is for models with style codes"):
        api.sample(dcgan, tmp_path / "a.gif", interpolate=2, device="cpu")
    with pytest.raises(UsageError, match=r"--truncation 0\.5: dcgan has no truncation"):
        api.sample(dcgan, tmp_path / "a", truncation=0.5, device="cpu")
    with pytest.raises(UsageError, match=r"a\.jpg: --interpolate writes one animation"):
        api.sample(model, tmp_path / "a.jpg", interpolate=2, device="cpu")
    for truncation in (-0.1, 1.5):
        with pytest.raises(UsageError, match="--truncation"):
            api.sample(model, tmp_path / "a", truncation=truncation, device="cpu")
    assert not list(tmp_path.iterdir())

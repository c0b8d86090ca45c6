"""The start of residual generators from the colours of the domains."""

import pytest
import torch

from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.colour_start import PREPARATION_IMAGES
from translate.nn.colour_map import PixelStatistics, optimal_transport_map
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import small_config

FLAGS = {
    "generator": "resize_unet_2levels_1blocks", "norm": "none", "residual": True, "colour_start": True, "dropout": False,
    "ema_half_life": 10, "pool_size": 0,
}  # fmt: skip


def engine_of(name, **flags):
    method = METHODS[name](small_config(name, **{**FLAGS, **flags}))
    schedule = Schedule(10, 0, 0, images=100)
    return Engine(
        method,
        schedule,
        seed=0,
        device=torch.device("cpu"),
        precision=PRECISIONS["fp64"],
        batch_size=1,
        ema_half_life=10,
    )


def batches(channels=3, count=4):
    """Images of noise; those of domain b are darker, of half the contrast, and their first channel is shifted."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        a, b = torch.rand(2, 1, channels, 32, 32, generator=generator, dtype=torch.float64) - 0.5
        b = 0.5 * b - 0.25
        b[:, 0] += 0.5
        yield {"a": a, "b": b}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_generators_start_as_the_colour_map_in_each_direction(name, channels):
    engine = engine_of(name, input_channels=channels, output_channels=channels)
    assert engine.method.preparation_images == PREPARATION_IMAGES
    lines = engine.prepare(batches(channels))
    statistics = {side: PixelStatistics.of(batch[side] for batch in batches(channels)) for side in "ab"}
    image = next(iter(batches(channels)))["a"]
    assert [line.split(":")[0] for line in lines] == [
        f"colour start {source} to {to}" for to, source in (("b", "a"), ("a", "b"))[: len(lines)]
    ]
    for to, attribute in engine.method.generator_names.items():
        matrix, bias = optimal_transport_map(statistics["b" if to == "a" else "a"], statistics[to])
        mapped = torch.einsum("ij,njhw->nihw", matrix, image) + bias[:, None, None]
        for generator in (engine.method.get_submodule(attribute), engine.ema.networks[attribute]):
            torch.testing.assert_close(generator(image), mapped)
        translated = engine.method.eval().translate(image, to)
        torch.testing.assert_close(translated, mapped.clamp(-1, 1))


def test_one_image_is_enough_and_a_flat_one_has_a_map():
    engine = engine_of("cyclegan")
    engine.prepare([{"a": torch.zeros(1, 3, 32, 32).double(), "b": torch.full((1, 3, 32, 32), 0.5).double()}])
    out = engine.method.g_ab(torch.zeros(1, 3, 32, 32).double())
    torch.testing.assert_close(out, torch.full_like(out, 0.5))
    assert engine.prepare([]) == []


def test_it_needs_a_residual_output():
    with pytest.raises(UsageError, match=r"--colour-start on: .*give --residual on too"):
        small_config("cyclegan", colour_start=True)


def test_stargan_has_none():
    with pytest.raises(UsageError, match="--residual on: does not go with stargan"):
        small_config("stargan", residual=True, colour_start=True)

"""Networks of progressive growing: sizes, numbers of parameters, and what a fade keeps."""

import pytest
import torch
import torch.nn.functional as F

from translate.nn.equalized import standard_normal_
from translate.nn.networks.pggan import (
    PGGANDiscriminator,
    PGGANGenerator,
    level_of,
    level_widths,
    map_width,
    shown_images,
    size_of,
)

from ...helpers import on_meta, parameter_count, random_tensor


def small_pair(size=32, width=6):
    """A generator and a discriminator in float64."""
    nets = PGGANGenerator(5, 3, size, width), PGGANDiscriminator(3, size, width)
    return [standard_normal_(net.double(), 0, number) for number, net in enumerate(nets)]


def test_widths_are_those_of_table_2():
    assert level_widths(1024, 512) == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert (map_width(1024, 512, 64), map_width(16, 512, 32)) == (32, 512)
    assert level_widths(32, 128, full_size=8) == [128, 128, 64, 32]
    assert [size_of(level) for level in range(9)] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert level_of(1024) == 8


@pytest.mark.parametrize(
    ("size", "width", "g", "d"),
    [
        (32, 512, 20_719_628, 20_726_785), (64, 512, 22_490_383, 22_498_049), (128, 512, 22_933_394, 22_941_313),
        (256, 512, 23_044_309, 23_052_353), (1024, 512, 23_079_115, 23_087_249),
    ],
)  # fmt: skip
def test_numbers_of_parameters_with_all_heads(size, width, g, d):
    """Counted from the layers of the authors' code; the paper prints 23.1 M at 1024 pixels."""
    generator, discriminator = (
        on_meta(PGGANGenerator, width, 3, size, width),
        on_meta(PGGANDiscriminator, 3, size, width),
    )
    assert (parameter_count(generator), parameter_count(discriminator)) == (g, d)


def test_each_level_has_its_size_up_to_1024():
    """On the meta device; the last one also while it fades in."""
    generator, discriminator = on_meta(PGGANGenerator, 512, 3, 1024), on_meta(PGGANDiscriminator, 3, 1024)
    code, alpha = torch.empty(2, 512, device="meta"), torch.empty((), device="meta")
    for level in range(9):
        for weight in (None, alpha)[: 1 + (level == 8)]:
            image = generator(code, level, weight)
            assert image.shape == (2, 3, 4 << level, 4 << level)
            assert discriminator(image, weight).shape == (2, 1)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_fade_begins_at_the_old_level_and_ends_at_the_new_one(level):
    g, d = small_pair()
    code, zero, one = random_tensor(3, 5), *torch.tensor([0.0, 1.0], dtype=torch.float64)
    old, new = g(code, level - 1), g(code, level)
    assert torch.equal(g(code, level, zero), F.interpolate(old, scale_factor=2, mode="nearest"))
    assert torch.equal(g(code, level, one), new)
    half = g(code, level, torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(half, (F.interpolate(old, scale_factor=2) + new) / 2, rtol=0, atol=1e-12)
    assert torch.equal(d(new, one), d(new))
    smaller = F.avg_pool2d(new, 2)
    torch.testing.assert_close(d(new, zero), d(smaller), rtol=0, atol=1e-12)
    assert torch.equal(shown_images(new, one), new) and shown_images(new, None) is new
    torch.testing.assert_close(shown_images(new, zero), F.interpolate(smaller, scale_factor=2), rtol=0, atol=1e-12)


def test_a_generator_makes_images_as_it_has_grown():
    g, _ = small_pair()
    code = random_tensor(2, 5)
    assert g(code).shape[-1] == 4
    g.growth.fill_(1.25)
    assert torch.equal(g(code), g(code, 2, torch.tensor(0.25, dtype=torch.float64)))
    g.growth.fill_(2)
    assert torch.equal(g(code), g(code, 2))
    g.growth.fill_(9)  # of a file that is not ours
    assert torch.equal(g(code), g(code, 3))


def test_codes_are_divided_by_their_length_and_checkpointing_changes_no_bit():
    g, _ = small_pair()
    code = random_tensor(2, 5)
    torch.testing.assert_close(g(code, 1), g(3 * code, 1), rtol=0, atol=1e-6)  # to the 1e-8 beside the mean square
    plain = torch.autograd.grad(g(code, 2).square().sum(), list(g.blocks[:3].parameters()))
    g.gradient_checkpointing = True
    again = torch.autograd.grad(g(code, 2).square().sum(), list(g.blocks[:3].parameters()))
    assert all(map(torch.equal, plain, again))

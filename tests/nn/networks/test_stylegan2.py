"""Networks of StyleGAN2: numbers of parameters, shapes, styles layer by layer, noise."""

import pytest
import torch

from translate.nn.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    initialise_generator_,
    map_sizes,
)

from ...helpers import on_meta, parameter_count, random_tensor


def small(size=16):
    return initialise_generator_(StyleGAN2Generator(5, 6, 2, 3, size, 4, 8).double(), 0)


@pytest.mark.parametrize(
    ("size", "layers", "full", "g", "d"),
    [
        (1024, 8, 64, 30_370_060, 29_012_513), (256, 8, 32, 24_767_458, 24_001_089), (256, 2, 32, 23_191_522, 24_001_089),
        (128, 2, 32, 22_949_277, 23_882_369), (64, 2, 32, 22_243_608, 23_407_361), (32, 2, 32, 19_947_539, 21_507_073),
    ],
)  # fmt: skip
def test_numbers_of_parameters_are_those_of_the_official_code(size, layers, full, g, d):
    """config-f at 1024, paper256, and auto."""
    generator = on_meta(StyleGAN2Generator, 512, 512, layers, 3, size, 512, full)
    assert parameter_count(generator) == g
    assert parameter_count(generator.mapping) == layers * 262_656
    assert parameter_count(on_meta(StyleGAN2Discriminator, 3, size, 512, full)) == d


@pytest.mark.parametrize("size", [8, 64, 1024])
def test_shapes(size):
    generator = on_meta(StyleGAN2Generator, 512, 512, 2, 3, size, 512, 32)
    codes = generator.spread(generator.mapping(torch.empty(2, 512, device="meta")))
    assert codes.shape == (2, 2 * len(map_sizes(size)), 512)
    image = generator(codes, torch.empty(2, dtype=torch.int64, device="meta"))
    assert image.shape == (2, 3, size, size)
    assert on_meta(StyleGAN2Discriminator, 3, size, 512, 32)(image).shape == (2, 1)


def test_each_style_decides_its_layers_alone():
    """Code n of all changes the image, and codes in front of it leave what earlier layers made."""
    g = small()
    seen = []
    for block in g.blocks:
        block.layer.register_forward_hook(lambda _, given, out: seen.append(out))
    key, codes = torch.arange(2), random_tensor(2, 6, 6)
    whole = g(codes, key)
    before = list(seen)
    for n in range(6):
        seen.clear()
        other = codes.clone()
        other[:, n] += 1
        assert not torch.equal(g(other, key), whole)
        kept = [torch.equal(x, y) for x, y in zip(seen, before, strict=True)]
        assert kept == [n > 2 * block for block in range(3)]  # layer of block b has code 2 b


def test_noise_has_no_strength_at_first_and_is_a_function_of_the_key():
    g = small()
    codes = random_tensor(1, 6, 6).expand(2, -1, -1)
    image = g(codes, torch.arange(2))
    assert torch.equal(image[0], image[1])
    for block in g.blocks:
        block.layer.strength.data.fill_(0.5)
    image = g(codes, torch.arange(2))
    assert not torch.equal(image[0], image[1])
    torch.testing.assert_close(g(codes[:1], torch.tensor([1])), image[1:], rtol=0, atol=1e-12)


def test_truncation_moves_codes_to_their_average():
    g = small()
    for _ in range(2000):
        g.mapping.update_average(torch.full((6,), 2.0))
    codes = random_tensor(3, 6)
    torch.testing.assert_close(g.mapping.average, torch.full((6,), 2 * (1 - 0.995**2000), dtype=torch.float64))
    assert torch.equal(g.truncate(codes, 1.0), codes)
    torch.testing.assert_close(g.truncate(codes, 0.0), g.mapping.average.expand(3, -1))
    torch.testing.assert_close(g.truncate(codes, 0.5), (codes + g.mapping.average) / 2)


def test_checkpointing_changes_no_bit():
    g, codes = small(), random_tensor(2, 6, 6)
    plain = torch.autograd.grad(g(codes, torch.arange(2)).square().sum(), list(g.blocks.parameters()))
    g.gradient_checkpointing = True
    again = torch.autograd.grad(g(codes, torch.arange(2)).square().sum(), list(g.blocks.parameters()))
    assert all(map(torch.equal, plain, again))

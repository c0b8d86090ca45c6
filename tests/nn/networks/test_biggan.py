"""BigGAN's networks: parameters and shapes of the published sizes, on the meta device."""

import pytest
import torch

from translate.nn.networks.biggan import WIDTHS, BigGANDiscriminator, BigGANGenerator

from ...helpers import on_meta, parameter_count

COUNTS = [
    # size, width, classes, noise, shared, hierarchical, attention, parameters of the generator and of the discriminator
    (128, 96, 1000, 120, 128, True, 64, 70_433_988, 87_982_370),  # the paper's
    (128, 64, 1000, 120, 128, True, 64, 31_978_628, 39_448_258),
    (64, 64, 1000, 120, 128, True, 0, 31_887_619, 20_566_721),
    (64, 64, 1000, 120, 128, True, 32, 31_969_540, 20_571_842),
    (32, 64, 10, 128, 0, False, 0, 4_304_387, 4_207_361),  # the authors' script for CIFAR-10
    (32, 16, 10, 32, 32, True, 0, 276_163, 265_409),
]
"""Parameters as the authors' modules have them."""


@pytest.mark.parametrize(
    ("size", "width", "classes", "noise", "shared", "hierarchical", "attention", "of_g", "of_d"), COUNTS
)
def test_parameters_are_as_many_as_the_authors(
    size, width, classes, noise, shared, hierarchical, attention, of_g, of_d
):
    g = on_meta(BigGANGenerator, noise, classes, 3, size, width, shared, hierarchical, attention)
    d = on_meta(BigGANDiscriminator, 3, classes, size, width, attention)
    assert (parameter_count(g), parameter_count(d)) == (of_g, of_d)


@pytest.mark.parametrize("size", WIDTHS)
def test_images_have_the_size_and_each_gets_a_logit(size):
    parts = len(WIDTHS[size].g)
    g, d = BigGANGenerator(parts, 2, 1, size, 1, 2, True, 0).eval(), BigGANDiscriminator(1, 2, size, 1, 0).eval()
    with torch.no_grad():
        image = g(torch.randn(2, parts), torch.eye(2))
        assert image.shape == (2, 1, size, size)
        assert d(image, torch.eye(2)).shape == (2, 1)


@pytest.mark.parametrize("size", WIDTHS)
def test_the_discriminator_ends_at_4_pixels_or_8(size):
    """8 where the smallest images are halved twice only."""
    assert size >> WIDTHS[size].d_halvings == (8 if size == 32 else 4)
    assert len(WIDTHS[size].g) == (size // 4).bit_length()


def test_each_class_and_each_part_of_the_noise_reach_the_image():
    torch.manual_seed(0)
    g = BigGANGenerator(8, 3, 3, 32, 2, 4, True, 0).double().eval()
    code, label = torch.randn(1, 8, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    images = [g(code, label[i : i + 1]) for i in range(3)]
    assert all((images[i] - images[j]).abs().max() > 1e-6 for i in range(3) for j in range(i))
    for part in range(4):
        other = code.clone()
        other[0, 2 * part] += 1
        assert (g(other, label[:1]) - images[0]).abs().max() > 1e-6


def test_the_projection_adds_the_embedding_of_the_class():
    """The difference of the logits of two classes is the product of the features with the difference of their embeddings."""
    torch.manual_seed(0)
    d = BigGANDiscriminator(3, 2, 32, 2, 0).double().eval()
    x, label = torch.rand(1, 3, 32, 32, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    features = d.layers(x).sum((2, 3))
    table = d.embedding.weight / (d.embedding.u @ d.embedding.weight @ d.embedding.v)
    torch.testing.assert_close(d(x, label[:1]) - d(x, label[1:]), features @ (table[:, :1] - table[:, 1:]))

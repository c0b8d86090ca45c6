"""Networks of semi-supervised GANs: parameters and shapes of the authors' code, on the meta device."""

import pytest
import torch

from translate.nn.networks.sgan import NETWORKS, ConvClassifier, ConvGenerator, DenseClassifier, DenseGenerator

from ...helpers import numbered_keys, on_meta, parameter_count


@pytest.mark.parametrize(
    ("build", "arguments", "count"),
    [
        (ConvClassifier, (3, 10, 32), 1_406_804),  # CIFAR-10
        (ConvGenerator, (3, 32), 4_933_382),
        (ConvClassifier, (3, 10, 32, 64), 626_580),  # SVHN
        (DenseClassifier, (1, 10, 28), 1_538_770),  # MNIST
        (DenseGenerator, (1, 28), 693_784),
    ],
)
def test_parameters_are_as_many_as_the_authors(build, arguments, count):
    assert parameter_count(on_meta(build, *arguments)) == count


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_ranges(name):
    torch.manual_seed(0)
    (generator, classifier), size = NETWORKS[name], 32 if name == "conv" else 7
    g, d = generator(2, size, 3), classifier(2, 5, size, 4)
    image = g(torch.rand(3, 100))
    assert image.shape == (3, 2, size, size)
    assert image.abs().max() <= 1
    features, logits = d(image)
    assert (features.shape, logits.shape) == ((3, 8 if name == "conv" else 1), (3, 5))


@pytest.mark.parametrize("name", NETWORKS)
def test_noise_is_that_of_each_image_s_key_and_none_without(name):
    torch.manual_seed(0)
    size = 32 if name == "conv" else 7
    d = NETWORKS[name][1](1, 3, size, 4).double()
    x, key = torch.rand(3, 1, size, size, dtype=torch.float64), numbered_keys(3)
    noisy, clean = d(x, key)[1], d(x)[1]
    assert (noisy - clean).abs().min() > 0
    torch.testing.assert_close(d(x[1:2], key[1:2])[1], noisy[1:2])
    assert torch.equal(d(x)[1], clean)

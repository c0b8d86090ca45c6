"""A generator as one function, for exporters: what it computes, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from translate.errors import UsageError
from translate.methods import METHODS
from translate.trained import translator
from translate.trained.exported.graph import GraphSpec, TranslationGraph, pad_dynamically, resolve_direction
from translate.trained.folder import read_model_folder
from translate.trained.image_layout import pad_to_size_rule

from ...helpers import distinct_methods, small_settings

OWN = {"stargan": {"domains": "x,y"}, "starganv2": {"domains": "x,y"}, "spade": {"label_count": 4}}
"""Settings without which a method has no networks that translate."""
TRANSLATING = [name for name in distinct_methods() if not METHODS[name].sampling_networks]


def model_of(build, name, **settings):
    small = {
        key: value for key, value in small_settings(name).items() if key not in ("pool_size", "n_critic", "batch_size")
    }
    return read_model_folder(build(name, **{**small, **OWN.get(name, {}), **settings}))


@pytest.mark.parametrize(("multiple_of", "minimum"), [(1, 1), (4, 8), (16, 32), (8, 8)])
def test_padding_for_all_sizes_is_that_of_conversion(multiple_of, minimum):
    for length in range(1, 40):
        x = torch.rand(1, 2, length, 41 - length)
        wanted = pad_to_size_rule(x[0], multiple_of, minimum)
        assert torch.equal(pad_dynamically(x, multiple_of, minimum)[0], wanted), length


@pytest.mark.parametrize("name", TRANSLATING)
def test_plain_layers_give_what_the_model_gives(build, name):
    model = model_of(build, name)
    spec = GraphSpec(next(iter(model.info.directions)))
    for weight in model.method.generator_for(spec.to).parameters():
        if weight.dim() > 1:  # untrained weights are small, and so would be all differences
            nn.init.kaiming_normal_(weight, generator=torch.Generator().manual_seed(0))
    graphs = [TranslationGraph(model, spec, plain=plain).eval() for plain in (True, False)]
    step = graphs[0].size["multiple_of"]
    x = graphs[0].example(2, graphs[0].size["minimum"] + step, graphs[0].size["minimum"] + 2 * step)
    with torch.inference_mode():
        plain, own = (graph(x) for graph in graphs)
    assert own.std() > 0.02  # an image
    torch.testing.assert_close(plain, own, rtol=0, atol=1e-5)  # roundings of a few dozen layers


@pytest.mark.parametrize("name", ["cyclegan", "superres"])
def test_the_preprocessing_is_that_of_conversion(build, draw, name):
    model = model_of(build, name)
    own = translator.load(model.source, device="cpu", dropout="off", convolution="direct")
    graph = TranslationGraph(model, GraphSpec("b", with_preprocessing=True)).eval()
    for height, width in ((10, 12), (32, 16), (33, 47)):
        pixels = draw(3, width, height)
        with torch.inference_mode():
            found = graph(torch.from_numpy(pixels)[None])[0].numpy()
        wanted = own(pixels, "b")
        assert found.dtype == np.uint8
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).max() <= 1  # a rounding may turn
        assert (found == wanted).mean() > 0.99


def test_label_maps_go_in_as_class_numbers(build):
    model = model_of(build, "spade", label_count=4, unknown_label=True)
    graph = TranslationGraph(model, GraphSpec("b", with_preprocessing=True)).eval()
    x = graph.example(1, 37, 64)
    assert (x.shape, x.dtype, int(x.max())) == ((1, 37, 64, 1), torch.uint8, 3)
    with torch.inference_mode():
        assert graph(x).shape == (1, 37, 64, 3)


def test_the_model_is_not_changed(build):
    model = model_of(build, "cyclegan")
    before = {key: value.clone() for key, value in model.generators().items()}
    kinds = [type(module) for module in model.method.modules()]
    TranslationGraph(model, GraphSpec("b", "fp16"))
    assert [type(module) for module in model.method.modules()] == kinds
    assert all(torch.equal(value, before[key]) for key, value in model.generators().items())


def test_the_direction(build):
    cyclegan, pix2pix = model_of(build, "cyclegan"), model_of(build, "pix2pix")
    assert [resolve_direction(cyclegan, to) for to in (None, "a", "b")] == ["b", "a", "b"]
    assert resolve_direction(pix2pix, None) == "b"
    stargan = model_of(build, "stargan")
    assert resolve_direction(stargan, "y") == "y"
    for model, to, words in (
        (stargan, None, "--to x or --to y"),
        (stargan, "all", "--to all: .* one domain"),
        (cyclegan, "c", "b and a only"),
        (read_model_folder(build("dcgan", crop_size=32)), None, "translates no images"),
    ):
        with pytest.raises(UsageError, match=words):
            resolve_direction(model, to)


def test_8_bits_are_refused_for_domains_of_other_values(build):
    model = model_of(build, "cyclegan", range_b="0:4000")
    with pytest.raises(UsageError, match=r"--with-preprocessing: .* domain b holds values from 0 to 4000"):
        TranslationGraph(model, GraphSpec("b", with_preprocessing=True))
    TranslationGraph(model, GraphSpec("b"))

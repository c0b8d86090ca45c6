"""Layers computed in part: any part of any chain is that of the whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from translate import keyed_random
from translate.conversion.tiling.partial_layers import LayerChain, Region
from translate.nn.blocks import Dropout, keyed_dropout

from .networks import cut, image

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


KEY = torch.tensor([2024])


def part_of(length: int, data: Any) -> range:
    """Any part of range(length)."""
    ends = data.draw(st.tuples(st.integers(0, length - 1), st.integers(0, length - 1)))
    return range(min(ends), max(ends) + 1)


@st.composite
def layers(draw: st.DrawFn) -> list[nn.Module]:
    made: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(["conv", "reflect", "spread"]), min_size=1, max_size=4)):
        kernel, stride, padding = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)))
        if kind == "conv":
            made.append(nn.Conv2d(1, 1, kernel, stride, min(padding, kernel - 1)))
        elif kind == "reflect":
            made.append(nn.ReflectionPad2d(padding))
        else:
            more = draw(st.integers(0, min(padding, stride - 1)))
            made.append(nn.ConvTranspose2d(1, 1, max(kernel, stride), stride, padding, output_padding=more))
    return made


@settings(deadline=None, max_examples=40)
@given(layers=layers(), size=st.tuples(st.integers(9, 14), st.integers(9, 14)), data=st.data())
def test_any_part_of_any_chain_is_that_of_the_whole(layers: list[nn.Module], size: tuple[int, int], data: Any) -> None:
    x = torch.rand(1, 1, *size, dtype=torch.float64)
    try:
        with torch.inference_mode():
            whole = nn.Sequential(*layers).double()(x)
    except RuntimeError:  # a map too small for its kernel or reflection
        return
    if 0 in whole.shape:
        return
    chain = LayerChain(layers, size, {})
    assert chain.size == whole.shape[2:]
    region = Region(*(part_of(length, data) for length in chain.size))
    for reached, size in zip(chain.regions(region), chain.sizes, strict=True):
        assert all(0 <= ends.start < ends.stop <= n for ends, n in zip(reached, size, strict=True))
    with torch.inference_mode():
        part = chain(region, lambda asked: cut(x, asked))
    torch.testing.assert_close(part, cut(whole, region), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(1, 1, 3, dilation=2),
        nn.Conv2d(1, 1, 3, padding="same"),
        nn.Conv2d(1, 1, 1, padding=1),
        nn.ConvTranspose2d(1, 1, 1, 2),
    ],
)
def test_a_layer_that_is_not_known_is_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=type(layer).__name__):
        LayerChain([layer], (8, 8), {})


def test_what_a_source_gives_is_not_written_to() -> None:
    x = image(16, 16)
    before = x.clone()
    LayerChain([nn.ReLU(inplace=True), nn.Tanh()], (16, 16), {})(Region(range(16), range(16)), lambda region: x)
    assert torch.equal(x, before)


@given(data=st.data())
def test_a_part_of_a_draw_is_a_part_of_the_whole(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    part = [part_of(length, data) for length in shape]
    keys = keyed_random.image_keys(3, torch.arange(2))
    whole = keyed_random.bits(keys, "x", *shape)[(slice(None), *(slice(r.start, r.stop) for r in part))]
    assert torch.equal(keyed_random.bits(keys, "x", *shape, part=part), whole)


def test_a_part_of_a_dropout_is_a_part_of_the_whole() -> None:
    layer, x = Dropout().eval(), torch.rand(1, 3, 9, 7)
    part = range(3), range(4, 8), range(2, 3)
    with keyed_dropout(layer, KEY):
        assert torch.equal(layer.apply_keyed_mask(x[:, :, 4:8, 2:3], (3, 9, 7), part), layer(x)[:, :, 4:8, 2:3])

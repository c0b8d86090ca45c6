"""The super-resolution network: sizes, numbers of weights, values written out, receptive field, exact windows."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from translate.conversion.tiling.partial_layers import Region
from translate.conversion.tiling.windowed_forward import WindowedForward
from translate.nn.bicubic import enlarge
from translate.nn.blocks import keyed_dropout
from translate.nn.networks import GENERATORS, find
from translate.nn.networks.superres import SRResNetGenerator

from ...helpers import on_meta, parameter_count, random_tensor
from .helpers import make_averaging, receptive_range


@pytest.mark.parametrize(("factor", "parameters"), [(4, 1_517_571), (2, 1_369_859), (1, 1_222_147)])
def test_it_is_as_large_as_basicsr_s(factor, parameters):
    """4: MSRResNet of BasicSR. Each doubling has 64 · 256 · 9 + 256 = 147,712 weights."""
    assert parameter_count(on_meta(GENERATORS["srresnet_16blocks"], 3, 3, 64, "none", factor=factor)) == parameters


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
def test_outputs_are_larger_by_the_factor(norm, factor):
    net = SRResNetGenerator(3, 3, 4, norm, blocks=1, factor=factor)
    side = net.minimum
    assert net(torch.zeros(2, 3, side, side + 3)).shape == (2, 3, factor * side, factor * (side + 3))
    assert net.scale == factor


@pytest.mark.parametrize("factor", [0, 3, 6])
def test_other_factors_are_refused(factor):
    with pytest.raises(ValueError, match=f"a factor of {factor}"):
        SRResNetGenerator(3, 3, 4, factor=factor)


def test_any_number_of_blocks_has_a_name():
    assert find("srresnet_7blocks")(3, 3, 4).receptive_radius == 2 * 7 + 3
    assert find("srresnet_0blocks") is None


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_it_computes_what_its_weights_say(factor):
    net = SRResNetGenerator(3, 3, 8, blocks=2, factor=factor).double()
    net.initialise(net, 0)
    x, w = random_tensor(2, 3, 7, 9), dict(net.named_parameters())

    def conv(name, x):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    y = F.leaky_relu(conv("model.0", x), 0.1)
    for block in (2, 3):
        y = y + conv(f"model.{block}.conv_block.3", F.relu(conv(f"model.{block}.conv_block.0", y)))
    last = 4
    for _ in range(factor.bit_length() - 1):
        wide = conv(f"model.{last}", y)
        n, c, height, width = wide.shape
        wide = wide.view(n, c // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
        y = F.leaky_relu(wide.reshape(n, c // 4, 2 * height, 2 * width), 0.1)
        last += 3
    y = conv(f"model.{last + 2}", F.leaky_relu(conv(f"model.{last}", y), 0.1))
    torch.testing.assert_close(net(x), y + enlarge(x, factor), rtol=0, atol=1e-12)


def test_it_starts_close_to_the_bicubic_enlargement():
    """A tenth of the weights in each layer: what the last of them add is far below a level of 255."""
    net = SRResNetGenerator(3, 3, 16, blocks=2, factor=4)
    net.initialise(net, 0)
    x = random_tensor(1, 3, 8, 8).float()
    assert (net(x) - enlarge(x, 4)).abs().max() < 1 / 255


def test_grey_inputs_of_colour_outputs_are_added_and_others_are_not():
    x = torch.ones(1, 1, 4, 4)
    net = SRResNetGenerator(1, 3, 4, blocks=1, factor=2)
    torch.nn.init.zeros_(net.model[-1].weight)
    torch.nn.init.zeros_(net.model[-1].bias)
    torch.testing.assert_close(net(x), torch.ones(1, 3, 8, 8))
    assert not SRResNetGenerator(3, 1, 4).adds_input


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_receptive_field_is_as_declared(factor):
    """Of the first and the last of the output pixels of one input pixel; no further, and as far on both sides."""
    net = make_averaging(SRResNetGenerator(1, 1, 2, blocks=2, factor=factor))
    side, middle, radius = 32, 16, net.receptive_radius
    x = random_tensor(1, 1, side, side) + 2
    reached = [receptive_range(net, x, axis, factor * middle + within) for axis in (2, 3) for within in (0, factor - 1)]
    assert min(first for first, _ in reached) == middle - radius
    assert max(last for _, last in reached) == middle + radius


def windowed(net: SRResNetGenerator, x: Tensor, tile: int) -> Tensor:
    parts: list[tuple[Region, Tensor]] = []
    source = lambda r: x[:, :, r.rows.start : r.rows.stop, r.columns.start : r.columns.stop]  # noqa: E731
    with torch.inference_mode():
        WindowedForward(net, (x.shape[2], x.shape[3]), source, tile).run(lambda *part: parts.append(part))
    out = torch.full((1, 3, *(net.scale * n for n in x.shape[2:])), torch.nan, dtype=x.dtype)
    for (rows, columns), part in parts:
        out[:, :, rows.start : rows.stop, columns.start : columns.stop] = part
    assert sum(region.area for region, _ in parts) == out[0, 0].numel()
    return out


@pytest.mark.parametrize("options", [{}, {"norm": "instance"}, {"norm": "batch", "dropout": True}])
@pytest.mark.parametrize(("factor", "tile"), [(1, 8), (2, 11), (4, 8), (4, 64)])
def test_windows_give_the_whole_output(factor: int, tile: int, options: dict[str, Any]) -> None:
    net = SRResNetGenerator(3, 3, 4, blocks=2, factor=factor, **options).double().eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(weight.numel()))
    x = random_tensor(1, 3, 29, 40)
    with keyed_dropout(net, torch.tensor([5])), torch.inference_mode():
        whole = net(x)
        assert (whole - enlarge(x, factor)).abs().max() > 0.1
        assert (windowed(net, x, tile) - whole).abs().max() < 1e-11
        net.receptive_radius -= 1
        if tile == 8 and not options:  # the bound could be met by a radius that is larger than need be
            assert (windowed(net, x, tile) - whole).abs().max() > 1e-9

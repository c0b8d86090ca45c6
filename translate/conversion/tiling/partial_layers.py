"""A chain of layers computed in part: which input a part of the output needs, and that part from that input.

Coordinates are those of the whole maps. What lies beyond a border is made as the layer makes it (zeros, a reflection), and
only there: inside, a part gets its surroundings from the map, so it has the very values that the whole would have.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.conversion.tiling.moments import Moments
from translate.nn.blocks import BatchNorm2d, Dropout, InstanceNorm2d, uses_map_statistics
from translate.nn.fast_conv import WinogradConv2d


class Region(NamedTuple):
    """A rectangle of a map."""

    rows: range
    columns: range

    @property
    def area(self) -> int:
        return len(self.rows) * len(self.columns)


Size = tuple[int, int]
"""Height and width."""
RegionSource = Callable[[Region], Tensor]
"""Gives a part of a map, (1, C, h, w); it is not written to."""
NormStatistics = dict[nn.Module, Moments]
"""Of the whole map in front of each norm that divides by them."""


class PartialLayer(Protocol):
    """One layer. Methods with `axis` speak of one axis of the map, of `output_length` before the layer."""

    def output_length(self, length: int, axis: int) -> int:
        """After the layer."""

    def input_range(self, out: range, length: int, axis: int) -> range:
        """What of its input a part of its output is made of."""

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        """The wanted part of the output; x is the `given` part of an input of this size, as `input_range` asked for."""


class _Pointwise:
    """Steps that make each place of its own value alone."""

    def output_length(self, length: int, axis: int) -> int:
        return length

    def input_range(self, out: range, length: int, axis: int) -> range:
        return out


@dataclass
class _Function(_Pointwise):
    function: Callable[[Tensor], Tensor]

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        return self.function(x)


@dataclass
class _Norm(_Pointwise):
    layer: nn.Module
    statistics: NormStatistics

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        mean, variance = self.statistics[self.layer].result(x)
        weight, bias = getattr(self.layer, "weight", None), getattr(self.layer, "bias", None)
        return F.batch_norm(x, mean, variance, weight, bias, eps=getattr(self.layer, "eps", 1e-5))


@dataclass
class _Dropout(_Pointwise):
    layer: Dropout

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        channels = x.shape[1]
        return self.layer.apply_keyed_mask(x, (channels, *size), (range(channels), *given))


@dataclass
class _Reflect:
    layer: nn.ReflectionPad2d

    def _by(self, axis: int) -> int:
        return self.layer.padding[2 - 2 * axis]  # (left, right, top, bottom), the same on both sides

    def output_length(self, length: int, axis: int) -> int:
        return length + 2 * self._by(axis)

    def input_range(self, out: range, length: int, axis: int) -> range:
        first, last = out.start - self._by(axis), out.stop - 1 - self._by(axis)
        mirrored = -first, 2 * (length - 1) - last  # of places beyond the near and the far border
        low, high = max(min(first, mirrored[1]), 0), min(max(last, mirrored[0]), length - 1)
        return range(low, high + 1)

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        near = [max(self._by(axis) - wanted[axis].start, 0) for axis in (0, 1)]
        far = [max(wanted[axis].stop - self._by(axis) - size[axis], 0) for axis in (0, 1)]
        if any((*near, *far)):
            x = F.pad(x, (near[1], far[1], near[0], far[0]), mode="reflect")
        starts = [given[axis].start + self._by(axis) - near[axis] for axis in (0, 1)]
        return _crop(x, starts, wanted)


@dataclass
class _Convolve:
    layer: nn.Conv2d

    def output_length(self, length: int, axis: int) -> int:
        kernel, stride, padding = _taps(self.layer, axis)
        return (length + 2 * padding - kernel) // stride + 1

    def _reach(self, out: range, axis: int) -> range:
        """Of the padded input, from −padding on."""
        kernel, stride, padding = _taps(self.layer, axis)
        return range(out.start * stride - padding, (out.stop - 1) * stride - padding + kernel)

    def input_range(self, out: range, length: int, axis: int) -> range:
        reach = self._reach(out, axis)
        return range(max(reach.start, 0), min(reach.stop, length))

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        reach = [self._reach(wanted[axis], axis) for axis in (0, 1)]
        zeros = [(given[axis].start - reach[axis].start, reach[axis].stop - given[axis].stop) for axis in (0, 1)]
        if any(zeros[0] + zeros[1]):
            x = F.pad(x, zeros[1] + zeros[0])
        if isinstance(self.layer, WinogradConv2d):
            return self.layer.forward_valid(x)
        return F.conv2d(x, self.layer.weight, self.layer.bias, self.layer.stride)


@dataclass
class _Spread:
    """A transposed convolution: input i adds to the outputs from i · stride − padding on, as many as the kernel has."""

    layer: nn.ConvTranspose2d

    def output_length(self, length: int, axis: int) -> int:
        kernel, stride, padding = _taps(self.layer, axis)
        return (length - 1) * stride - 2 * padding + kernel + self.layer.output_padding[axis]

    def input_range(self, out: range, length: int, axis: int) -> range:
        kernel, stride, padding = _taps(self.layer, axis)
        first = -((kernel - 1 - out.start - padding) // stride)  # rounded up
        last = (out.stop - 1 + padding) // stride
        return range(max(first, 0), min(last + 1, length))

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        x = F.conv_transpose2d(x, self.layer.weight, self.layer.bias, self.layer.stride)
        starts = [
            given[axis].start * stride - padding for axis in (0, 1) for _, stride, padding in [_taps(self.layer, axis)]
        ]
        return _crop(x, starts, wanted)


def _taps(layer: nn.Conv2d | nn.ConvTranspose2d, axis: int) -> tuple[int, int, int]:
    """Kernel, stride and padding on one axis."""
    padding = layer.padding[axis]
    assert isinstance(padding, int), "a plain layer"
    return layer.kernel_size[axis], layer.stride[axis], padding


def _crop(x: Tensor, starts: Sequence[int], wanted: Region) -> Tensor:
    """The wanted part of x, whose first row and column are at `starts`."""
    top, left = wanted.rows.start - starts[0], wanted.columns.start - starts[1]
    return x[:, :, top : top + len(wanted.rows), left : left + len(wanted.columns)]


_MAKERS = nn.Conv2d, nn.ConvTranspose2d, BatchNorm2d, InstanceNorm2d
"""Layers whose output is a new tensor."""


def _step(layer: nn.Module, statistics: NormStatistics, ours: bool) -> PartialLayer | None:
    """How a layer is computed in part; None for one that does nothing. `ours`: its input may be written over.

    TypeError for a layer that is not known.
    """
    match layer:
        case nn.Identity():
            return None
        case nn.Conv2d() if _plain(layer) and _reaches(layer):
            return _Convolve(layer)
        case nn.ConvTranspose2d() if _plain(layer) and _covers(layer):
            return _Spread(layer)
        case nn.ReflectionPad2d() if len(set(layer.padding)) == 1:
            return _Reflect(layer)
        case BatchNorm2d() | InstanceNorm2d():
            return _Norm(layer, statistics) if uses_map_statistics(layer) else _Function(layer)
        case Dropout():
            return _Dropout(layer)
        case nn.ReLU():
            return _Function(torch.relu_ if ours else torch.relu)
        case nn.Tanh():
            return _Function(torch.tanh_ if ours else torch.tanh)
    raise TypeError(f"{type(layer).__name__} cannot be computed in part")


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether it is padded with zeros, dense and in one group."""
    by_number = not isinstance(layer.padding, str)
    return by_number and layer.padding_mode == "zeros" and layer.groups == 1 and set(layer.dilation) == {1}


def _reaches(layer: nn.Conv2d) -> bool:
    """Whether every output reaches an input."""
    return all(padding < kernel for kernel, _, padding in (_taps(layer, 0), _taps(layer, 1)))


def _covers(layer: nn.ConvTranspose2d) -> bool:
    """Whether every output is touched by an input."""
    taps = _taps(layer, 0), _taps(layer, 1)
    return all(
        more <= padding and kernel >= stride
        for more, (kernel, stride, padding) in zip(layer.output_padding, taps, strict=True)
    )


class LayerChain:
    """Layers in a row on a map of the given size, computable in part.

    `statistics` are looked up when a part is computed, so they may be found after the chain is made.
    """

    def __init__(self, layers: Iterable[nn.Module], size: Size, statistics: NormStatistics) -> None:
        self.layers: list[nn.Module] = []
        self.steps: list[PartialLayer] = []
        self.sizes = [size]
        ours = False  # a source's tensor is not
        for layer in layers:
            if step := _step(layer, statistics, ours):
                height, width = self.sizes[-1]
                self.layers.append(layer)
                self.steps.append(step)
                self.sizes.append((step.output_length(height, 0), step.output_length(width, 1)))
                ours = ours or isinstance(layer, _MAKERS)

    @property
    def size(self) -> Size:
        """Of the whole output."""
        return self.sizes[-1]

    def regions(self, wanted: Region) -> list[Region]:
        """What a part of the output is made of: of the input, and of what each layer gives."""
        regions = [wanted]
        for step, (height, width) in zip(reversed(self.steps), reversed(self.sizes[:-1]), strict=True):
            rows, columns = regions[-1]
            regions.append(Region(step.input_range(rows, height, 0), step.input_range(columns, width, 1)))
        return regions[::-1]

    def __call__(self, wanted: Region, source: RegionSource) -> Tensor:
        """A part of the output, (1, C, h, w)."""
        given, *outs = self.regions(wanted)
        x = source(given)
        for step, out, size in zip(self.steps, outs, self.sizes[:-1], strict=True):
            x = step.compute(x, given, out, size)
            given = out
        return x

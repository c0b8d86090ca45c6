"""Layers computed in part: the region of the input that a region of the output depends on, and the output from it.

Coordinates are those of the whole maps. Padding beyond a border is made as the layer makes it (zeros, a reflection), and only
there: inside, a region gets its surroundings from the map, so it has exactly the values of the whole.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.conversion.tiling.moments import Moments
from translate.nn.blocks import BatchNorm2d, Dropout, InstanceNorm2d, uses_map_statistics
from translate.nn.tuned_conv import TunedConv2d, TunedConvTranspose2d


class Region(NamedTuple):
    """Rectangle of a map."""

    rows: range
    columns: range

    @property
    def area(self) -> int:
        """Number of pixels."""
        return len(self.rows) * len(self.columns)


Size = tuple[int, int]
"""Height and width."""
RegionSource = Callable[[Region], Tensor]
"""Returns a region of a map, (1, C, h, w), which is not written to."""
NormStatistics = dict[nn.Module, Moments]
"""Norm → moments of its whole input, for each norm that uses them."""


def apply_moments(norm: nn.Module, moments: Moments, x: Tensor) -> Tensor:
    """Normalise x (1, C, h, w), a part of a map, as a norm does that divides by the statistics of the whole map."""
    mean, variance = moments.result(x)
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    return F.batch_norm(x, mean, variance, weight, bias, eps=getattr(norm, "eps", 1e-5))


class PartialLayer(Protocol):
    """Layer that can be computed on a region. In methods with `axis`, `length` is the input's on that axis (0: rows)."""

    def output_length(self, length: int, axis: int) -> int:
        """Return the length of the output."""

    def input_range(self, out: range, length: int, axis: int) -> range:
        """Return the range of the input that a range of the output depends on."""

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        """Compute the region `wanted` of the output from x, the region `given` (see `input_range`) of an input of `size`."""


class _Pointwise:
    """Layers whose output at a pixel depends on the input at that pixel alone."""

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
        return apply_moments(self.layer, self.statistics[self.layer], x)


@dataclass
class _Dropout(_Pointwise):
    layer: Dropout

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        channels = x.shape[1]
        return self.layer.apply_keyed_mask(x, (channels, *size), (range(channels), *given))


@dataclass
class _ReflectionPad:
    layer: nn.ReflectionPad2d

    def _by(self, axis: int) -> int:
        return self.layer.padding[2 - 2 * axis]  # (left, right, top, bottom), the same on both sides

    def output_length(self, length: int, axis: int) -> int:
        return length + 2 * self._by(axis)

    def input_range(self, out: range, length: int, axis: int) -> range:
        first, last = out.start - self._by(axis), out.stop - 1 - self._by(axis)
        mirrored = -first, 2 * (length - 1) - last  # of pixels beyond the near and the far border
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
class _Conv:
    layer: nn.Conv2d

    def output_length(self, length: int, axis: int) -> int:
        kernel, stride, padding = _geometry(self.layer, axis)
        return (length + 2 * padding - kernel) // stride + 1

    def _reach(self, out: range, axis: int) -> range:
        """Return the range of the input with its padding, which begins at −padding."""
        kernel, stride, padding = _geometry(self.layer, axis)
        return range(out.start * stride - padding, (out.stop - 1) * stride - padding + kernel)

    def input_range(self, out: range, length: int, axis: int) -> range:
        reach = self._reach(out, axis)
        return range(max(reach.start, 0), min(reach.stop, length))

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        reach = [self._reach(wanted[axis], axis) for axis in (0, 1)]
        zeros = [(given[axis].start - reach[axis].start, reach[axis].stop - given[axis].stop) for axis in (0, 1)]
        if any(zeros[0] + zeros[1]):
            x = F.pad(x, zeros[1] + zeros[0])
        if isinstance(self.layer, TunedConv2d):
            return self.layer.forward_valid(x)
        return F.conv2d(x, self.layer.weight, self.layer.bias, self.layer.stride)


@dataclass
class _ConvTranspose:
    """Transposed convolution: input i adds to the outputs from i · stride − padding on, as many as the kernel has."""

    layer: nn.ConvTranspose2d

    def output_length(self, length: int, axis: int) -> int:
        kernel, stride, padding = _geometry(self.layer, axis)
        return (length - 1) * stride - 2 * padding + kernel + self.layer.output_padding[axis]

    def input_range(self, out: range, length: int, axis: int) -> range:
        kernel, stride, padding = _geometry(self.layer, axis)
        first = -((kernel - 1 - out.start - padding) // stride)  # rounded up
        last = (out.stop - 1 + padding) // stride
        return range(max(first, 0), min(last + 1, length))

    def compute(self, x: Tensor, given: Region, wanted: Region, size: Size) -> Tensor:
        if isinstance(self.layer, TunedConvTranspose2d):
            x = self.layer.forward_whole(x)
        else:
            x = F.conv_transpose2d(x, self.layer.weight, self.layer.bias, self.layer.stride)
        starts = [
            given[axis].start * stride - padding
            for axis in (0, 1)
            for _, stride, padding in [_geometry(self.layer, axis)]
        ]
        return _crop(x, starts, wanted)


def _geometry(layer: nn.Conv2d | nn.ConvTranspose2d, axis: int) -> tuple[int, int, int]:
    """Return kernel, stride and padding on one axis."""
    padding = layer.padding[axis]
    assert isinstance(padding, int), "a plain layer"
    return layer.kernel_size[axis], layer.stride[axis], padding


def _crop(x: Tensor, starts: Sequence[int], wanted: Region) -> Tensor:
    """Cut the region `wanted` out of x, whose first row and column are at `starts`."""
    top, left = wanted.rows.start - starts[0], wanted.columns.start - starts[1]
    return x[:, :, top : top + len(wanted.rows), left : left + len(wanted.columns)]


_ALLOCATING = nn.Conv2d, nn.ConvTranspose2d, BatchNorm2d, InstanceNorm2d
"""Layers whose output is a new tensor."""


def _partial_layer(layer: nn.Module, statistics: NormStatistics, owned: bool) -> PartialLayer | None:
    """Return a layer in the form that can be computed on a region; None for a layer that does nothing.

    `owned`: its input may be overwritten. TypeError for a layer of an unknown class.
    """
    match layer:
        case nn.Identity():
            return None
        case nn.Conv2d() if _plain(layer) and _reaches(layer):
            return _Conv(layer)
        case nn.ConvTranspose2d() if _plain(layer) and _covers(layer):
            return _ConvTranspose(layer)
        case nn.ReflectionPad2d() if len(set(layer.padding)) == 1:
            return _ReflectionPad(layer)
        case BatchNorm2d() | InstanceNorm2d():
            return _Norm(layer, statistics) if uses_map_statistics(layer) else _Function(layer)
        case Dropout():
            return _Dropout(layer)
        case nn.ReLU():
            return _Function(torch.relu_ if owned else torch.relu)
        case nn.Tanh():
            return _Function(torch.tanh_ if owned else torch.tanh)
    raise TypeError(f"{type(layer).__name__} cannot be computed in part")


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Return True if a convolution is padded with zeros, dense and in one group."""
    by_number = not isinstance(layer.padding, str)
    return by_number and layer.padding_mode == "zeros" and layer.groups == 1 and set(layer.dilation) == {1}


def _reaches(layer: nn.Conv2d) -> bool:
    """Return True if every output depends on an input."""
    return all(padding < kernel for kernel, _, padding in (_geometry(layer, 0), _geometry(layer, 1)))


def _covers(layer: nn.ConvTranspose2d) -> bool:
    """Return True if every output depends on an input."""
    taps = _geometry(layer, 0), _geometry(layer, 1)
    return all(
        more <= padding and kernel >= stride
        for more, (kernel, stride, padding) in zip(layer.output_padding, taps, strict=True)
    )


class LayerChain:
    """Layers in a row, computed on regions of a map.

    Args:
        layers: The layers. TypeError for one of an unknown class.
        size: Height and width of the input.
        statistics: Moments for norms. They are looked up when a region is computed, so they may be added later.
    """

    def __init__(self, layers: Iterable[nn.Module], size: Size, statistics: NormStatistics) -> None:
        self.layers: list[nn.Module] = []
        self.partial_layers: list[PartialLayer] = []
        self.sizes = [size]
        owned = False  # the tensor of a source may not be overwritten
        for layer in layers:
            if partial := _partial_layer(layer, statistics, owned):
                height, width = self.sizes[-1]
                self.layers.append(layer)
                self.partial_layers.append(partial)
                self.sizes.append((partial.output_length(height, 0), partial.output_length(width, 1)))
                owned = owned or isinstance(layer, _ALLOCATING)

    @property
    def size(self) -> Size:
        """Height and width of the whole output."""
        return self.sizes[-1]

    def regions(self, wanted: Region) -> list[Region]:
        """Return the regions that a region of the output depends on: of the input, and of the output of each layer."""
        regions = [wanted]
        for partial, (height, width) in zip(reversed(self.partial_layers), reversed(self.sizes[:-1]), strict=True):
            rows, columns = regions[-1]
            regions.append(Region(partial.input_range(rows, height, 0), partial.input_range(columns, width, 1)))
        return regions[::-1]

    def __call__(self, wanted: Region, source: RegionSource) -> Tensor:
        """Compute a region of the output, (1, C, h, w)."""
        given, *outs = self.regions(wanted)
        x = source(given)
        for partial, out, size in zip(self.partial_layers, outs, self.sizes[:-1], strict=True):
            x = partial.compute(x, given, out, size)
            given = out
        return x

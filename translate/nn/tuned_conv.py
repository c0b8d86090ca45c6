"""Convolutions on the CPU that can be computed in several ways: by torch in a data type and a memory format, or by Winograd's
algorithm (`fast_conv`).

Networks are built of torch's layers and know nothing of this file; `use_tuned_convolutions` swaps the layers of a network that
is built. Which way is the fastest depends on the CPU and the shape: `convolution_choice` times them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn import fast_conv
from translate.nn.blocks import is_channels_last
from translate.nn.fast_conv import F2X2_3X3, F4X4_3X3

KERNELS_VERSION = 2
"""Counts up with each change of how something in this file or in `fast_conv` is computed: times of before are then void."""

_allowed = ContextVar("allowed", default=True)


@contextmanager
def direct_convolution() -> Iterator[None]:
    """Context in which all convolutions are torch's own, whose last bits are those of the reference implementation."""
    before = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(before)


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a convolution."""

    dtype: torch.dtype | None = None
    """Data type that is computed in, of inputs and outputs in float32; None: that of the input, or of autocast."""
    layout: torch.memory_format | None = None
    """Memory format that torch computes in; None: that of the input."""
    winograd: bool = False
    tile: int | None = None
    """Pixels a side of Winograd's output tiles; None: 2 where gradients are recorded, else 4."""


DIRECT, WINOGRAD, FLOAT32 = "direct", "winograd", "float32"
ALGORITHMS: dict[str, Algorithm] = {
    DIRECT: Algorithm(),
    "channels_last": Algorithm(layout=torch.channels_last),
    "contiguous": Algorithm(layout=torch.contiguous_format),
    WINOGRAD: Algorithm(winograd=True),
    "winograd_2x2": Algorithm(winograd=True, tile=2),
    FLOAT32: Algorithm(torch.float32),
    "float32_winograd": Algorithm(torch.float32, winograd=True),
    "float32_winograd_4x4": Algorithm(torch.float32, winograd=True, tile=4),
    "bf16": Algorithm(torch.bfloat16),
    "bf16_channels_last": Algorithm(torch.bfloat16, torch.channels_last),
    "bf16_contiguous": Algorithm(torch.bfloat16, torch.contiguous_format),
}
"""Ways by name. Those with a data type are for precision bf16, where autocast would compute everything in it."""


class TunedConvolution(nn.modules.conv._ConvNd):
    """Base of the layers of this file."""

    algorithm = WINOGRAD
    """Row of ALGORITHMS. Where it does not apply to the layer or its input, torch computes."""

    @property
    def is_winograd_shape(self) -> bool:
        """True if Winograd's algorithm computes this layer and may be faster: 3×3, stride 1, and wide enough."""
        return False

    def uses_winograd(self, x: Tensor) -> bool:
        """Return whether x is convolved by Winograd's algorithm."""
        return self._algorithm_for(x).winograd

    def _algorithm_for(self, x: Tensor) -> Algorithm:
        """Return how x is convolved.

        By torch on other devices than the CPU, in other data types than float32 (under autocast, too, unless the algorithm has
        a data type of its own), and while a compiler or an exporter traces. By Winograd's algorithm only where multiplications
        are what takes time.
        """
        chosen = ALGORITHMS[self.algorithm]
        if (
            torch.compiler.is_compiling()
            or not _allowed.get()
            or {x.device.type, self.weight.device.type} != {"cpu"}
            or self.weight.dtype != torch.float32
            or not (x.dtype == torch.float32 or (chosen.dtype is not None and x.dtype == torch.bfloat16))
            or (chosen.dtype is None and torch.is_autocast_enabled("cpu"))
        ):
            return ALGORITHMS[DIRECT]
        is_large = self.is_winograd_shape and x.shape[2] * x.shape[3] >= fast_conv.MIN_PIXELS
        return replace(chosen, winograd=chosen.winograd and is_large)

    def _convolve(self, x: Tensor, padding: Sequence[int], torch_convolution: Callable[..., Tensor]) -> Tensor:
        """Return the convolution of x with zeros around it, in the memory format and the data type of x."""
        how = self._algorithm_for(x)
        if how.winograd:
            with _own_type(how):
                x = F.pad(x.float(), [int(padding[0])] * 4) if padding[0] else x.float()
                scheme = F4X4_3X3 if (how.tile or (2 if torch.is_grad_enabled() else 4)) == 4 else F2X2_3X3
                return fast_conv.winograd_conv3x3(x, self.weight, self.bias, scheme)
        if how.dtype is None and how.layout is None:
            return torch_convolution(x, self.weight, self.bias)
        own_format = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        dtype, bias = how.dtype or x.dtype, self.bias
        with _own_type(how):
            y = torch_convolution(
                x.to(dtype, memory_format=how.layout or own_format),
                self.weight.to(dtype),
                None if bias is None else bias.to(dtype),
            )
            return y.to(torch.float32, memory_format=own_format if how.layout else torch.preserve_format)


def _own_type(how: Algorithm) -> AbstractContextManager[Any]:
    """Return a context without autocast for an algorithm with a data type of its own."""
    return nullcontext() if how.dtype is None else torch.autocast("cpu", enabled=False)


class TunedConv2d(nn.Conv2d, TunedConvolution):
    """Convolution: (N, C, H, W) → (N, C', H', W')."""

    @property
    def is_winograd_shape(self) -> bool:
        plain = self.kernel_size == (3, 3) and self.stride == (1, 1) and self.padding in ((0, 0), (1, 1))
        return plain and min(self.in_channels, self.out_channels) >= fast_conv.MIN_CHANNELS

    def forward(self, x: Tensor) -> Tensor:
        return self._padded(x, [int(side) for side in self.padding])

    def forward_valid(self, x: Tensor) -> Tensor:
        """Return the convolution without its padding."""
        return self._padded(x, (0, 0))

    def _padded(self, x: Tensor, padding: Sequence[int]) -> Tensor:
        def by_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return F.conv2d(x, weight, bias, self.stride, padding)

        return self._convolve(x, padding, by_torch)


class TunedConvTranspose2d(nn.ConvTranspose2d, TunedConvolution):
    """Transposed convolution: (N, C, H, W) → (N, C', H', W')."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            return super().forward(x, output_size)
        return self._cut(x, self.padding, self.output_padding)

    def forward_whole(self, x: Tensor) -> Tensor:
        """Return the transposed convolution with the border that its padding cuts off."""
        return self._cut(x, (0, 0), (0, 0))

    def _cut(self, x: Tensor, padding: Any, output_padding: Any) -> Tensor:
        def by_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return F.conv_transpose2d(x, weight, bias, self.stride, padding, output_padding)

        return self._convolve(x, (0, 0), by_torch)


def use_tuned_convolutions(net: nn.Module) -> None:
    """Replace torch's convolutions inside `net` by those of this file, with the same parameters.

    Names and values in the state dict stay, and so does their order. No random number is drawn. Layers with groups, dilation or
    another padding than zeros stay as they are, and so do those of other classes than torch's own.
    """
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if type(layer) in (nn.Conv2d, nn.ConvTranspose2d) and _is_plain(layer):
                setattr(parent, name, _with_parameters_of(layer))


def _is_plain(conv: Any) -> bool:
    plain = (conv.dilation, conv.groups, conv.padding_mode) == ((1, 1), 1, "zeros") and not isinstance(
        conv.padding, str
    )
    return plain and all(a == b for a, b in (conv.kernel_size, conv.stride, conv.padding, conv.output_padding))


def _with_parameters_of(conv: Any) -> TunedConvolution:
    output_padding = conv.output_padding[0] if conv.transposed else None
    numbers = (conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.padding[0])
    with torch.device("meta"):  # no memory and no draws for weights that are replaced at once
        layer = build_layer(*numbers, output_padding=output_padding, bias=conv.bias is not None)
    layer.weight, layer.bias = conv.weight, conv.bias
    return layer.train(conv.training)


def build_layer(
    in_channels: int, out_channels: int, kernel: int, stride: int, padding: int, *, output_padding: int | None = None,
    bias: bool = True,
) -> TunedConvolution:  # fmt: skip
    """Return a new layer: a transposed convolution if it has an output padding, else a convolution."""
    if output_padding is None:
        return TunedConv2d(in_channels, out_channels, kernel, stride, padding, bias=bias)
    return TunedConvTranspose2d(in_channels, out_channels, kernel, stride, padding, output_padding, bias=bias)

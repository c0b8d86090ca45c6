"""Times of the ways to compute a convolution on the machine at hand, and the user's cache of what was the fastest.

`convolution_choice` decides by them. The ways are those of `nn/tuned_conv.py`.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from translate import user_cache
from translate.nn import fast_conv, tuned_conv
from translate.nn.tuned_conv import ALGORITHMS, DIRECT, FLOAT32, KERNELS_VERSION, TunedConvolution
from translate.runtime.devices import cpu_model, has_cpu_bf16

FAST, FULL = "fast", "full"
"""Values of `--tune` beside "off": how much is timed."""
TRAINING, CONVERSION = "training", "conversion"
"""Purposes of a convolution: with its gradients, and without. Winograd's tiles are smaller in training."""
MIN_SPEEDUP = 1.05
"""Speed, against the first candidate, from which on another one is chosen."""
MIN_PRODUCTS = 2**25
"""Products of a convolution at its nominal size, from which on it is timed: those of fewer take about a millisecond."""
MIN_BF16_CHANNELS = 16
"""Channels of input and output from which on a layer may be computed in bfloat16. Layers that read or write an image have
fewer: they take little time, and their rounding is what an output shows most of."""


Times = dict[str, float]
"""Row of ALGORITHMS → seconds, from the one that is taken unless another one is clearly faster."""


@dataclass(frozen=True)
class Rounds:
    """Rounds in which all candidates are timed: as many as fit into so many seconds, within limits."""

    least: int
    most: int
    seconds: float


ROUNDS = {FAST: Rounds(3, 9, 0.2), FULL: Rounds(5, 15, 1.0)}


@dataclass(frozen=True)
class ConvolutionShape:
    """A convolution at its nominal size."""

    purpose: str
    batch: int
    in_channels: int
    out_channels: int
    height: int
    width: int
    """Size of the output."""
    padding: int
    channels_last: bool
    """The memory format of the input."""
    kernel: int = 3
    stride: int = 1
    transposed: bool = False
    output_padding: int = 0
    bf16: bool = False
    """It may be computed in bfloat16."""

    def __str__(self) -> str:
        layout = ", channels last" * self.channels_last
        kind = "" if (self.kernel, self.stride, self.transposed) == (3, 1, False) else f", {self._kind}"
        size = f"{self.batch}x{self.height}x{self.width}"
        channels = f"{self.in_channels} to {self.out_channels}"
        return f"{self.purpose} {channels}, {size}, padding {self.padding}{kind}{layout}{', bf16' * self.bf16}"

    @property
    def _kind(self) -> str:
        more = f" + {self.output_padding}" * (self.output_padding > 0)
        return f"{'transposed ' * self.transposed}kernel {self.kernel}, stride {self.stride}{more}"

    @property
    def products(self) -> int:
        """Multiplications of a direct convolution."""
        pixels = self.height * self.width // (self.stride**2 if self.transposed else 1)
        return self.batch * self.in_channels * self.out_channels * self.kernel**2 * pixels

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input."""
        border = self.kernel - 2 * self.padding
        if self.transposed:
            height, width = (
                (side - border - self.output_padding) // self.stride + 1 for side in (self.height, self.width)
            )
        else:
            height, width = ((side - 1) * self.stride + border for side in (self.height, self.width))
        return height, width


def find_candidates(shape: ConvolutionShape, tune: str) -> list[str]:
    """Return the ways in which a shape may be computed, from the one that is taken unless another one is clearly faster.

    In float32 these are a direct convolution and Winograd's algorithm, whose gradients are as near to float64 as the
    reference's; where bfloat16 is allowed, that too, if the CPU has instructions for it, and Winograd's larger tiles in
    training, whose rounding is far below bfloat16's. "full" adds the other memory format, and smaller tiles in conversion.
    """
    prefix, other = "float32_" if shape.bf16 else "", "contiguous" if shape.channels_last else "channels_last"
    names = [FLOAT32 if shape.bf16 else DIRECT]
    if _allows_winograd(shape):
        names.append(f"{prefix}winograd")
        if tune == FULL and shape.bf16 == (shape.purpose == TRAINING):
            names.append("float32_winograd_4x4" if shape.bf16 else "winograd_2x2")
    if shape.products < MIN_PRODUCTS:
        return names
    if tune == FULL and not shape.bf16:
        names.append(other)
    if shape.bf16 and has_cpu_bf16() and min(shape.in_channels, shape.out_channels) >= MIN_BF16_CHANNELS:
        names += ["bf16", f"bf16_{other}"] if tune == FULL else ["bf16"]
    return names


def _allows_winograd(shape: ConvolutionShape) -> bool:
    height, width = shape.input_size
    plain = (shape.kernel, shape.stride, shape.transposed) == (3, 1, False)
    is_large = (height + 2 * shape.padding) * (width + 2 * shape.padding) >= fast_conv.MIN_PIXELS
    return plain and is_large and min(shape.in_channels, shape.out_channels) >= fast_conv.MIN_CHANNELS


def choose_fastest(times: Times) -> str:
    """Return the fastest way; the first one unless another is clearly faster."""
    first, fastest = next(iter(times)), min(times, key=lambda name: times[name])
    return fastest if times[first] >= MIN_SPEEDUP * times[fastest] else first


# Timing.


def time_algorithms(shape: ConvolutionShape, candidates: Iterable[str], tune: str = FAST) -> Times:
    """Time all candidates, interleaved, and return the shortest times.

    With one thread by the time of the processor, as others may be at work on it; with more by the clock.
    """
    layer, x, grad = _example(shape)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for name in seconds:  # memory and kernels then exist
        _run(layer, x, grad, name)
    rounds = ROUNDS[tune]
    finish = time.monotonic() + rounds.seconds
    for n in range(rounds.most):
        if n >= rounds.least and time.monotonic() > finish:
            break
        for name in list(seconds) if n % 2 else list(reversed(seconds)):
            started = clock()
            _run(layer, x, grad, name)
            seconds[name].append(clock() - started)
    return {name: min(found) for name, found in seconds.items()}


def _example(shape: ConvolutionShape) -> tuple[TunedConvolution, Tensor, Tensor]:
    """Return a layer, its input and a gradient of its output. Draws nothing from torch's global generator."""
    generator = torch.Generator().manual_seed(0)
    layout = torch.channels_last if shape.channels_last else torch.contiguous_format

    def draw(*size: int) -> Tensor:
        return torch.rand(size, generator=generator).contiguous(memory_format=layout)

    with torch.device("meta"):
        layer = tuned_conv.build_layer(
            shape.in_channels, shape.out_channels, shape.kernel, shape.stride, shape.padding,
            output_padding=shape.output_padding if shape.transposed else None,
        )  # fmt: skip
    layer.weight, layer.bias = nn.Parameter(draw(*layer.weight.shape)), nn.Parameter(torch.zeros(shape.out_channels))
    x = draw(shape.batch, shape.in_channels, *shape.input_size).requires_grad_(shape.purpose == TRAINING)
    with torch.no_grad():
        size = layer(x).shape
    return layer, x, draw(*size)


def _run(layer: TunedConvolution, x: Tensor, grad: Tensor, algorithm: str) -> None:
    """Compute the layer in one way, with all gradients if its input takes any."""
    layer.algorithm = algorithm
    with torch.set_grad_enabled(x.requires_grad):
        y = layer(x)
        if x.requires_grad:
            torch.autograd.grad(y, (x, *layer.parameters()), grad)


# The cache of the user: a file for each shape, so that no process loses what another one writes.

FOLDER = "convolutions"
"""Folder in the user's cache."""


def cache_folder() -> Path:
    """Return the folder of the timed convolutions in the user's cache. RuntimeError if the user has no home."""
    return user_cache.cache_folder() / FOLDER


def count_cached() -> Counter[str]:
    """Return how many shapes were timed on this machine with this number of threads, by the algorithm that was chosen."""
    found: Counter[str] = Counter()
    for name in user_cache.list_cached(FOLDER):
        match user_cache.read_cached(name):
            case {"conditions": {"shape": str(), "tune": str(), **conditions}, "algorithm": str(algorithm)}:
                found[algorithm] += conditions == _machine() and algorithm in ALGORITHMS
    return +found


def _machine() -> dict[str, Any]:
    """Return all that times depend on beside the shape."""
    machine = {"cpu": cpu_model(), "torch": str(torch.__version__), "threads": torch.get_num_threads()}
    return {"kernels": KERNELS_VERSION, **machine}


def _conditions(shape: ConvolutionShape, tune: str) -> dict[str, Any]:
    return {**_machine(), "shape": str(shape), "tune": tune}


def _cache_name(shape: ConvolutionShape, tune: str) -> str:
    key = json.dumps(_conditions(shape, tune), sort_keys=True)
    return f"{FOLDER}/{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def read_cache(shape: ConvolutionShape, tune: str) -> str | None:
    """Return the algorithm that was chosen on this machine; None if there is none, or it cannot be read."""
    match user_cache.read_cached(_cache_name(shape, tune)):
        case {"conditions": conditions, "algorithm": str(algorithm)} if algorithm in ALGORITHMS:
            return algorithm if conditions == _conditions(shape, tune) else None
    return None


def write_cache(shape: ConvolutionShape, tune: str, times: Times) -> str:
    """Write the fastest way into the cache and return it, or what another process has written in the meantime.

    A cache that cannot be written changes nothing: the work records its choice itself.
    """
    known = read_cache(shape, tune)
    if known is not None:
        return known
    fastest = choose_fastest(times)
    content = {"conditions": _conditions(shape, tune), "algorithm": fastest, "seconds": times}
    user_cache.write_cached(_cache_name(shape, tune), content)
    return fastest

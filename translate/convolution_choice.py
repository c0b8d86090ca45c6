"""Choice between direct and Winograd convolutions: both are timed once on the machine at hand, and the faster one is kept.

Which one is faster depends on the CPU, the number of threads and the shape (`nn/fast_conv.py`). Their last bits differ. So a
choice is made once for each shape, before the work, and never by the image: a training records it in its checkpoints and a
conversion in its manifest, where a restart reads it. Another process on the same machine finds it in the user's cache.

The shapes are nominal ones, those of one image of NOMINAL_SIDE pixels in conversion, and of the crops in training: a layer is
computed in one way whatever the size of its images. A map of a small image says what shape each layer has.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from translate import user_cache
from translate.errors import UsageError
from translate.nn.fast_conv import WinogradConv2d, direct_convolution
from translate.runtime.devices import cpu_model
from translate.runtime.precision import Precision
from translate.version import __version__

AUTO, DIRECT, WINOGRAD = CONVOLUTIONS = ("auto", "direct", "winograd")
"""Values of `--convolution`."""
TRAINING, CONVERSION = "training", "conversion"
"""Purposes of a convolution: with its gradients, and without. Winograd's tiles are smaller in training."""
NOMINAL_SIDE = 256
"""Pixels a side of the image whose maps are timed for conversion."""
PROBE_SIDE = 64
"""Pixels a side of the image that shows the shape of each layer."""

MIN_SPEEDUP = 1.05
"""Speed of Winograd's algorithm, against a direct convolution, from which on it is chosen."""
MAX_BATCH, MAX_SIDE = 2, 64
"""Images, and pixels a side of a map, that are timed at most: for more of them both take longer alike."""
MIN_ROUNDS, MAX_ROUNDS, ROUND_SECONDS = 3, 9, 0.6
"""Rounds of one after the other: as many as fit into these seconds, within the limits."""

ConvolutionRecord = dict[str, str]
"""Shape, as text → "direct" or "winograd". None in its place stands for the work of version 0.1, which used Winograd's
algorithm for all layers that are wide enough."""


@dataclass(frozen=True)
class ConvolutionShape:
    """A 3×3 convolution of stride 1, at its nominal size."""

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

    def __str__(self) -> str:
        layout = ", channels last" * self.channels_last
        size = f"{self.batch}x{self.height}x{self.width}"
        return f"{self.purpose} {self.in_channels} to {self.out_channels}, {size}, padding {self.padding}{layout}"


@dataclass(frozen=True)
class Probe:
    """Forward pass of a network on a small image."""

    run: Callable[[], Any]
    """Runs it."""
    purpose: str
    batch: int
    """Images in a batch of the work that follows."""
    scale: float
    """Side of a nominal image, divided by that of the small one."""


@dataclass(frozen=True)
class Timing:
    """Seconds of both algorithms for a shape."""

    direct: float
    winograd: float

    @property
    def faster(self) -> str:
        """Algorithm that is chosen."""
        return WINOGRAD if self.direct >= MIN_SPEEDUP * self.winograd else DIRECT


def resolve_convolution(name: str, precision: Precision) -> str:
    """Return how convolutions are computed: one of CONVOLUTIONS, and directly under autocast. UsageError for other names."""
    if name not in CONVOLUTIONS:
        raise UsageError(f"--convolution {name}: unknown; possible: {', '.join(CONVOLUTIONS)}")
    return name if precision.compute is None else DIRECT


def set_convolutions(
    net: nn.Module,
    setting: str,
    recorded: Mapping[str, str] | None,
    make_probe: Callable[[], Probe],
    say: Callable[[str], None],
    share: Callable[[Callable[[], ConvolutionRecord]], ConvolutionRecord] = lambda choose: choose(),
) -> ConvolutionRecord | None:
    """Set for each layer of a network how it is computed, and return the record with what was chosen now.

    Args:
        net: Network on its device, in its precision.
        setting: One of CONVOLUTIONS. Without "auto" nothing is chosen.
        recorded: Record of the work that is resumed; empty for new work.
        make_probe: Called where there is something to choose.
        say: Gets a line if something was timed.
        share: Calls a function in the first process, and returns the result in all.
    """
    layers = [layer for layer in _layers(net) if layer.has_choice]
    if setting != AUTO or recorded is None:
        for layer in _layers(net):
            layer.is_direct = setting == DIRECT
        return None if recorded is None else dict(recorded)
    if not layers:
        return dict(recorded)
    shapes = _find_shapes(layers, make_probe())
    record = share(lambda: dict(recorded) | choose_algorithms(set(shapes.values()), recorded, say))
    for layer, shape in shapes.items():
        layer.is_direct = record[str(shape)] == DIRECT
    return record


def copy_convolutions(source: nn.Module, target: nn.Module) -> None:
    """Compute each layer of `target` as that of the same name in `source`, of the same architecture."""
    for ours, theirs in zip(_layers(target), _layers(source), strict=True):
        ours.is_direct = theirs.is_direct


@contextmanager
def convolutions_restored(net: nn.Module) -> Iterator[None]:
    """Restore after the block how each layer is computed."""
    before = {layer: layer.is_direct for layer in _layers(net)}
    try:
        yield
    finally:
        for layer, is_direct in before.items():
            layer.is_direct = is_direct


def _layers(net: nn.Module) -> list[WinogradConv2d]:
    return [layer for layer in net.modules() if isinstance(layer, WinogradConv2d)]


def _find_shapes(layers: Iterable[WinogradConv2d], probe: Probe) -> dict[WinogradConv2d, ConvolutionShape]:
    """Return the nominal shape of each layer that the probe runs through."""
    shapes: dict[WinogradConv2d, ConvolutionShape] = {}

    def note(layer: WinogradConv2d, given: tuple[Tensor, ...], output: Tensor) -> None:
        (x,) = given
        height, width = (min(round(length * probe.scale), MAX_SIDE) for length in output.shape[2:])
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        shapes[layer] = ConvolutionShape(
            probe.purpose, min(probe.batch, MAX_BATCH), layer.in_channels, layer.out_channels, height, width,
            int(layer.padding[0]), channels_last,
        )  # fmt: skip

    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with direct_convolution():
            probe.run()
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def choose_algorithms(
    shapes: Iterable[ConvolutionShape], recorded: Mapping[str, str], say: Callable[[str], None]
) -> ConvolutionRecord:
    """Return the algorithm of each shape: as recorded, else as cached, else the faster one, which is timed now."""
    started, record, timed = time.monotonic(), {}, []
    for shape in sorted(shapes, key=str):
        algorithm = recorded.get(str(shape)) or _read_cache(shape)
        if algorithm is None:
            timing = time_algorithms(shape)
            algorithm = DIRECT if timing is None else timing.faster
            if timing is not None:
                algorithm = _write_cache(shape, timing)
                timed.append(_describe(shape, timing, algorithm))
        record[str(shape)] = algorithm
    if timed:
        say(f"timed convolutions in {time.monotonic() - started:.1f} s: {'; '.join(timed)}")
    return record


def _describe(shape: ConvolutionShape, timing: Timing, algorithm: str) -> str:
    size = f"{shape.in_channels} to {shape.out_channels} channels at {shape.width}×{shape.height}"
    times = f"direct {1000 * timing.direct:.1f} ms, Winograd {1000 * timing.winograd:.1f} ms"
    return f"{size}: {times}; using {algorithm}"


# Timing.


def time_algorithms(shape: ConvolutionShape) -> Timing | None:
    """Time both algorithms, interleaved, and return the shortest times; None where the map is too small for Winograd's.

    With one thread by the time of the processor, as others may be at work on it; with more by the clock.
    """
    layer, x, grad = _example(shape)
    if not layer.uses_winograd(x):
        return None
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for is_direct in seconds:  # memory and kernels then exist
        _run(layer, x, grad, is_direct)
    finish = time.monotonic() + ROUND_SECONDS
    for n in range(MAX_ROUNDS):
        if n >= MIN_ROUNDS and time.monotonic() > finish:
            break
        for is_direct in (True, False) if n % 2 else (False, True):
            started = clock()
            _run(layer, x, grad, is_direct)
            seconds[is_direct].append(clock() - started)
    return Timing(direct=min(seconds[True]), winograd=min(seconds[False]))


def _example(shape: ConvolutionShape) -> tuple[WinogradConv2d, Tensor, Tensor]:
    """Return a layer, its input and a gradient of its output. Draws nothing from torch's global generator."""
    generator = torch.Generator().manual_seed(0)
    layout = torch.channels_last if shape.channels_last else torch.contiguous_format

    def draw(*size: int) -> Tensor:
        return torch.rand(size, generator=generator).contiguous(memory_format=layout)

    with torch.device("meta"):
        layer = WinogradConv2d(shape.in_channels, shape.out_channels, padding=shape.padding)
    layer.weight, layer.bias = nn.Parameter(draw(*layer.weight.shape)), nn.Parameter(torch.zeros(shape.out_channels))
    border = 2 - 2 * shape.padding
    x = draw(shape.batch, shape.in_channels, shape.height + border, shape.width + border)
    return (
        layer,
        x.requires_grad_(shape.purpose == TRAINING),
        draw(shape.batch, shape.out_channels, shape.height, shape.width),
    )


def _run(layer: WinogradConv2d, x: Tensor, grad: Tensor, is_direct: bool) -> None:
    """Compute the layer in one way, with all gradients if its input takes any."""
    layer.is_direct = is_direct
    with torch.set_grad_enabled(x.requires_grad):
        y = layer(x)
        if x.requires_grad:
            torch.autograd.grad(y, (x, *layer.parameters()), grad)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Use this number of torch threads within the block; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# The cache of the user: a file for each shape, so that no process loses what another one writes.

FOLDER = "convolutions"
"""Folder in the user's cache."""


def cache_folder() -> Path:
    """Return the folder of the timed convolutions in the user's cache. RuntimeError if the user has no home."""
    return user_cache.cache_folder() / FOLDER


def _conditions(shape: ConvolutionShape) -> dict[str, Any]:
    """Return all that the times depend on."""
    machine = {"cpu": cpu_model(), "torch": str(torch.__version__), "threads": torch.get_num_threads()}
    return {"version": __version__, **machine, "dtype": "float32", "shape": str(shape)}


def _cache_name(shape: ConvolutionShape) -> str:
    key = json.dumps(_conditions(shape), sort_keys=True)
    return f"{FOLDER}/{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _read_cache(shape: ConvolutionShape) -> str | None:
    """Return the algorithm that was chosen on this machine; None if there is none, or it cannot be read."""
    match user_cache.read_cached(_cache_name(shape)):
        case {"conditions": conditions, "algorithm": str(algorithm)} if algorithm in (DIRECT, WINOGRAD):
            return algorithm if conditions == _conditions(shape) else None
    return None


def _write_cache(shape: ConvolutionShape, timing: Timing) -> str:
    """Write the faster algorithm into the cache and return it, or what another process has written in the meantime.

    A cache that cannot be written changes nothing: the work records its choice itself.
    """
    known = _read_cache(shape)
    if known is not None:
        return known
    content = {"conditions": _conditions(shape), "algorithm": timing.faster, "seconds": asdict(timing)}
    user_cache.write_cached(_cache_name(shape), content)
    return timing.faster

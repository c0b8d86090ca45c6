"""Choice of how convolutions are computed: the ways are timed once on the machine at hand, and the fastest one is kept.

Which one is fastest depends on the CPU, the number of threads and the shape (`nn/tuned_conv.py`). Their last bits differ. So a
choice is made once for each shape, before the work, and never by the image: a training records it in its checkpoints and a
conversion in its manifest, where a restart reads it. Another process on the same machine finds it in the user's cache.

The shapes are nominal ones, those of one image of NOMINAL_SIDE pixels in conversion, and of the crops in training: a layer is
computed in one way whatever the size of its images. A map of a small image says what shape each layer has.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from translate.convolution_timing import (
    FAST,
    FULL,
    ConvolutionShape,
    Times,
    find_candidates,
    read_cache,
    time_algorithms,
    write_cache,
)
from translate.errors import UsageError
from translate.nn.tuned_conv import ALGORITHMS, DIRECT, WINOGRAD, TunedConvolution, direct_convolution
from translate.runtime.devices import has_cpu_bf16
from translate.runtime.precision import Precision

AUTO = "auto"
CONVOLUTIONS = (AUTO, DIRECT, WINOGRAD)
"""Values of `--convolution`."""
OFF = "off"
TUNING = (OFF, FAST, FULL)
"""Values of `--tune`: what `--convolution auto` times."""
NOMINAL_SIDE = 256
"""Pixels a side of the image whose maps are timed for conversion."""
PROBE_SIDE = 64
"""Pixels a side of the image that shows the shape of each layer."""

MAX_BATCH, MAX_SIDE = 2, 64
"""Images, and pixels a side of a map, that are timed at most: for more of them all ways take longer alike."""
ConvolutionRecord = dict[str, str]
"""Shape, as text → row of ALGORITHMS. None in its place stands for the work of version 0.1, which used Winograd's algorithm for
all layers that are wide enough."""


@dataclass(frozen=True)
class ConvolutionSetting:
    """Ways to compute convolutions that the user asks for and the precision allows."""

    convolution: str
    """One of CONVOLUTIONS."""
    tune: str = FAST
    """FAST or FULL."""
    bf16: bool = False
    """Convolutions may be computed in bfloat16."""


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


def resolve_convolution(name: str, precision: Precision, tune: str = FAST) -> ConvolutionSetting:
    """Return how convolutions are to be computed: `tune` says what "auto" times; "off" makes it "direct".

    Under autocast of bfloat16 only "auto" has a choice; everything else is torch's own. UsageError for unknown names.
    """
    if name not in CONVOLUTIONS:
        raise UsageError(f"--convolution {name}: unknown; possible: {', '.join(CONVOLUTIONS)}")
    if tune not in TUNING:
        raise UsageError(f"--tune {tune}: unknown; possible: {', '.join(TUNING)}")
    allowed = precision.compute is None or (precision.compute == torch.bfloat16 and name == AUTO)
    if not allowed or (name == AUTO and tune == OFF):
        return ConvolutionSetting(DIRECT)
    return ConvolutionSetting(name, tune, precision.compute is not None)


def set_convolutions(
    net: nn.Module,
    setting: ConvolutionSetting,
    recorded: Mapping[str, str] | None,
    make_probe: Callable[[], Probe],
    say: Callable[[str], None],
    share: Callable[[Callable[[], ConvolutionRecord]], ConvolutionRecord] = lambda choose: choose(),
) -> ConvolutionRecord | None:
    """Set for each layer of a network how it is computed, and return the record with what was chosen now.

    Args:
        net: Network on its device, in its precision.
        setting: Result of `resolve_convolution`. Without "auto" nothing is chosen.
        recorded: Record of the work that is resumed; empty for new work.
        make_probe: Called where there is something to choose.
        say: Gets a line if something was timed, and one if this CPU lacks instructions for what was recorded.
        share: Calls a function in the first process, and returns the result in all.
    """
    if setting.convolution != AUTO or recorded is None:
        for layer in _layers(net):
            layer.algorithm = DIRECT if setting.convolution == DIRECT else WINOGRAD
        return None if recorded is None else dict(recorded)
    layers = [layer for layer in _layers(net) if _has_choice(layer, setting)]
    if not layers:
        return dict(recorded)
    shapes = _find_shapes(layers, make_probe(), setting)
    record = share(lambda: dict(recorded) | choose_algorithms(set(shapes.values()), recorded, say, setting.tune))
    for layer, shape in shapes.items():
        layer.algorithm = record[str(shape)]
    return record


def _has_choice(layer: TunedConvolution, setting: ConvolutionSetting) -> bool:
    """Return whether a layer may be computed in several ways: in float32 on the CPU, and wide enough for Winograd's algorithm.

    In bfloat16, and with "full", layers of every shape.
    """
    is_cpu = layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32
    return is_cpu and (layer.is_winograd_shape or setting.bf16 or setting.tune == FULL)


def copy_convolutions(source: nn.Module, target: nn.Module) -> None:
    """Compute each layer of `target` as that of the same name in `source`, of the same architecture."""
    for ours, theirs in zip(_layers(target), _layers(source), strict=True):
        ours.algorithm = theirs.algorithm


@contextmanager
def convolutions_restored(net: nn.Module) -> Iterator[None]:
    """Restore after the block how each layer is computed."""
    before = {layer: layer.algorithm for layer in _layers(net)}
    try:
        yield
    finally:
        for layer, algorithm in before.items():
            layer.algorithm = algorithm


def _layers(net: nn.Module) -> list[TunedConvolution]:
    return [layer for layer in net.modules() if isinstance(layer, TunedConvolution)]


def _find_shapes(
    layers: Iterable[TunedConvolution], probe: Probe, setting: ConvolutionSetting
) -> dict[TunedConvolution, ConvolutionShape]:
    """Return the nominal shape of each layer that the probe runs through."""
    shapes: dict[TunedConvolution, ConvolutionShape] = {}

    def note(layer: TunedConvolution, given: tuple[Tensor, ...], output: Tensor) -> None:
        x, numbers = given[0], (layer.padding, layer.kernel_size, layer.stride, layer.output_padding)
        height, width = (min(round(length * probe.scale), MAX_SIDE) for length in output.shape[2:])
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        padding, kernel, stride, output_padding = (int(pair[0]) for pair in numbers)
        shapes[layer] = ConvolutionShape(
            probe.purpose, min(probe.batch, MAX_BATCH), layer.in_channels, layer.out_channels, height, width, padding,
            channels_last, kernel, stride, layer.transposed, output_padding, setting.bf16,
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
    shapes: Iterable[ConvolutionShape], recorded: Mapping[str, str], say: Callable[[str], None], tune: str = FAST
) -> ConvolutionRecord:
    """Return the algorithm of each shape: as recorded, else as cached, else the fastest one, which is timed now."""
    started, record, timed = time.monotonic(), {}, []
    for shape in sorted(shapes, key=str):
        algorithm = recorded.get(str(shape)) or read_cache(shape, tune)
        if algorithm is None:
            candidates = find_candidates(shape, tune)
            times = time_algorithms(shape, candidates, tune) if len(candidates) > 1 else None
            algorithm = candidates[0] if times is None else write_cache(shape, tune, times)
            if times is not None:
                timed.append((shape, times, algorithm))
        record[str(shape)] = algorithm
    if timed:
        say(f"timed convolutions in {time.monotonic() - started:.1f} s: {_describe(timed)}")
    if not has_cpu_bf16() and any(ALGORITHMS[name].dtype == torch.bfloat16 for name in record.values()):
        say(
            "convolutions in bf16, as recorded: this CPU has no instructions for them (AVX-512-BF16 or AMX), so they are slow "
            "here; --precision fp32 is faster"
        )
    return record


MAX_DESCRIBED = 3
"""Shapes whose times are told one by one."""


def _describe(timed: list[tuple[ConvolutionShape, Times, str]]) -> str:
    if len(timed) > MAX_DESCRIBED:
        counts = Counter(algorithm for _, _, algorithm in timed)
        return f"{len(timed)} shapes; using " + ", ".join(f"{name} for {count}" for name, count in counts.most_common())
    parts = []
    for shape, times, algorithm in timed:
        size = f"{shape.in_channels} to {shape.out_channels} channels at {shape.width}×{shape.height}"
        listed = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in times.items())
        parts.append(f"{size}: {listed}; using {algorithm}")
    return "; ".join(parts)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Use this number of torch threads within the block; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)

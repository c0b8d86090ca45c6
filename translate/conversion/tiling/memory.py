"""Memory that an image takes, whole or in tiles, and the choice of the tile size.

Nothing here knows a class of network: the generator runs once on a small image, and on a small part of each stage, under the
memory meter that training uses. The memory of maps is proportional to their area, so the memory for other sizes follows.
Peaks measured on the CPU were 0.85 to 1.3 times the estimate for whole images (float32 and float64, widths 8 to 64, ResNets
and U-Nets, a quarter of a megapixel to one), and 0.3 to 0.9 times for tiles.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from translate.conversion.tiling.feature_maps import DoesNotFitError
from translate.conversion.tiling.limits import MIN_TILE
from translate.conversion.tiling.moments import Moments
from translate.conversion.tiling.partial_layers import LayerChain, Region, Size
from translate.conversion.tiling.region_loop import strip_rows
from translate.conversion.tiling.tiled_forward import last_conv_channels, split_after_convolutions
from translate.conversion.tiling.windowed_forward import window_around
from translate.errors import StorageError, UsageError
from translate.nn.base import Generator, GeneratorStages
from translate.nn.blocks import keyed_dropout
from translate.runtime.memory import free_memory
from translate.text import file_size, memory_size
from translate.trained.arithmetic import arithmetic_mode
from translate.trained.translator import Translator
from translate.training.memory_estimate import MemoryMeter

MARGIN = 1.2
"""Ratio of a measured peak to the maps that were alive: weights made ready, memory in pieces."""
HEAP_BYTES = 64 << 20
"""Bytes that the C library's heap and the kernels' caches keep of what tiles of many shapes have freed."""
USABLE_FRACTION = 0.8
"""Share of the free memory that a conversion may use: other work runs beside it."""
MAX_TILE = {"cpu": 512, "cuda": 2048, "mps": 1024}
"""Tile size that is tried first, by device, in pixels of the output: the largest maps of a network have its size.

On the CPU larger ones are slower: the heap does not keep blocks of that size."""
MEASURED_SIDE = 64
"""Pixels a side of the image, and of the tile, that memory is measured with."""
_MEASURED_IMAGE = 4 * MEASURED_SIDE, 4 * MEASURED_SIDE  # the image that the tile is from


@dataclass(frozen=True)
class TiledMemory:
    """Bytes that an image takes in tiles."""

    memory: int
    """Peak on the device."""
    scratch: int
    """Bytes of the kept maps: in the scratch folder, or in main memory without one. 0 for a network in windows."""


class TilePlanner:
    """Choice of the tile size for the images that one model translates to one domain.

    The generator runs on the first call that needs to know its memory: not while another thread uses it (see `measure`).
    """

    def __init__(self, translator: Translator, to: str) -> None:
        self.translator, self.to = translator, to
        self.generator = translator.generator_for(to)
        self.tileable = has_tiles(translator, to)
        self.max_tile = MAX_TILE[translator.device.type] // translator.scale(to)
        """Tile size that is tried first, in pixels of the image."""

    def measure(self) -> None:
        """Measure now what later calls need."""
        _ = self._bytes_per_pixel
        if self.tileable and self.generator.stages is not None:
            _ = self._chains

    def estimate_whole(self, height: int, width: int) -> int:
        """Return the bytes that the network takes on the device for a whole image."""
        return int(self._bytes_per_pixel * math.prod(self.translator.padded_size(height, width)) * MARGIN)

    def estimate_tiled(self, height: int, width: int, tile: int) -> TiledMemory:
        """Return the bytes that an image takes in tiles of `tile` pixels a side. UsageError if the network has no tiles."""
        check_tileable(self.translator, self.to)
        size = self.translator.padded_size(height, width)
        if self.generator.stages is None:
            return TiledMemory(HEAP_BYTES + int(self._bytes_per_pixel * self._window_area(size, tile) * MARGIN), 0)
        kept = self._kept_maps(size, self.generator.stages)
        rows = min(strip_rows(tile, kept.size, size), kept.size[0])
        strip = Region(range(rows), range(kept.size[1]))
        held_rows = kept.row_bytes * (rows + 2)  # by each `ReadAhead`
        encoder, decoder, *halves = self._chains
        peaks = [
            chain.estimate(given, _middle_tile(chain.output_size(given), size, tile))
            for chain, given in ((encoder, size), (decoder, kept.size))
        ]
        peaks += [2 * held_rows + half.estimate(kept.size, strip) for half in halves]
        return TiledMemory(HEAP_BYTES + int(max(peaks) * MARGIN), 2 * kept.bytes)

    def estimate_scratch(self, height: int, width: int, tile: int | str, scratch: Path) -> int:
        """Return the bytes that an image takes in the scratch folder; 0 if it is translated whole. Errors as `choose_tile`."""
        side = self.choose_tile(height, width, tile, scratch)
        if side is None:
            return 0
        scale = self.translator.scale(self.to)
        result = scale**2 * height * width * self.translator.output_channels(self.to)  # in 8 bits
        return self._kept_bytes(height, width) + result

    def choose_tile(self, height: int, width: int, tile: int | str = "auto", scratch: Path | None = None) -> int | None:
        """Return the tile size for an image, in pixels a side; None: the whole image at once.

        Args:
            height, width: Size of the image in pixels.
            tile: "auto": the whole image if it fits into free memory, else the largest tiles that do. A number: tiles of that
                size if the image is larger. "off": the whole image.
            scratch: Folder for the kept maps; None: main memory.

        Raises DoesNotFitError if the image does not fit in any way, StorageError if the scratch folder has no room, UsageError
        for other values of `tile` and for tiles of a network that has none.
        """
        if tile == "off":
            return None
        if isinstance(tile, int) and not isinstance(tile, bool) and tile >= MIN_TILE:
            return None if tile >= max(height, width) else self._check_tile(height, width, tile, scratch)
        if tile != "auto":
            raise UsageError(f"--tile {tile}: must be auto, off or a number of pixels from {MIN_TILE} up")
        return self._largest_tile(height, width, scratch)

    def _check_tile(self, height: int, width: int, tile: int, scratch: Path | None) -> int:
        need = self._kept_bytes(height, width)
        if not scratch and need > USABLE_FRACTION * free_memory(torch.device("cpu")):
            raise DoesNotFitError(
                f"{width} × {height} pixels need {memory_size(need)} of memory for maps; give --scratch FOLDER"
            )
        _check_scratch(scratch, need)
        return tile

    def _largest_tile(self, height: int, width: int, scratch: Path | None) -> int | None:
        device = self.translator.device
        room = int(USABLE_FRACTION * free_memory(device))
        whole = self.estimate_whole(height, width)
        if whole <= room:
            return None
        if not self.tileable:
            multiple = self.translator.info.size["multiple_of"]
            pixels = math.prod(self.translator.padded_size(height, width))
            side = int(math.sqrt(pixels * room / whole)) // multiple * multiple
            raise DoesNotFitError(
                f"{width} × {height} pixels need about {memory_size(whole)} of memory with a "
                f"{self.translator.info.generator_name}, and {memory_size(room)} can be used; images up to "
                f"{side} × {side} fit"
            )
        tile = self.max_tile
        while tile >= MIN_TILE:
            need = self.estimate_tiled(height, width, tile)
            if _fits(need, room, device, scratch):
                _check_scratch(scratch, need.scratch)
                return tile
            tile //= 2
        raise DoesNotFitError(
            f"{width} × {height} pixels need about {memory_size(need.memory)} of memory even in the smallest tiles, and "
            f"{file_size(need.scratch)} of scratch; free some memory"
            + ("" if scratch else ", or give --scratch FOLDER")
        )

    # Measuring.

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """Peak of a small image, divided by its padded pixels."""
        size = self.translator.padded_size(MEASURED_SIDE, MEASURED_SIDE)
        layout = self.translator.set_memory_format(self.to, channels_last=self.translator.prefers_channels_last)
        with torch.no_grad(), arithmetic_mode(exact=True), _InferenceMeter() as meter:
            batch = self._empty(self.translator.input_channels(self.to), size).contiguous(memory_format=layout)
            self.translator.method.translate(batch, self.translator.method.target_domains(self.to)[0], self._key())
        return meter.peak / math.prod(size)

    def _window_area(self, size: Size, tile: int) -> int:
        """Return the pixels of the window around a tile in the middle of an image of this size."""
        step = self.generator.multiple_of
        sides = [min(max(tile // step, 1) * step, length) for length in size]
        starts = [(length - side) // 2 // step * step for length, side in zip(size, sides, strict=True)]
        rows, columns = (range(start, start + side) for start, side in zip(starts, sides, strict=True))
        return window_around(Region(rows, columns), size, self.generator).area

    @cached_property
    def _chains(self) -> Sequence["_MeasuredChain"]:
        """The encoder, the decoder, and the layers of a residual block, cut after its convolutions."""
        self.translator.set_memory_format(self.to, channels_last=False)
        stages = self.generator.stages
        assert stages is not None, "a chain"
        halves = split_after_convolutions(stages.blocks[0].conv_block.children())
        channels, size = last_conv_channels(halves[0]), LayerChain(stages.encoder, _MEASURED_IMAGE, {}).size
        first = self._measured_chain(stages.encoder, self.translator.input_channels(self.to), _MEASURED_IMAGE)
        return [first, *(self._measured_chain(layers, channels, size) for layers in (stages.decoder, *halves))]

    def _measured_chain(self, layers: Sequence[nn.Module], channels: int, size: Size) -> "_MeasuredChain":
        """Measure the layers on a tile from the middle of an input of this size, with all that lies around the tile."""
        chain = LayerChain(layers, size, _UnknownStatistics())
        region = _middle_tile(chain.size, _MEASURED_IMAGE, MEASURED_SIDE)
        with (
            torch.no_grad(),
            arithmetic_mode(exact=True),
            keyed_dropout(self.generator, self._key()),
            _InferenceMeter() as meter,
        ):
            chain(region, lambda part: self._empty(channels, (len(part.rows), len(part.columns))))
        return _MeasuredChain(layers, meter.peak, [part.area for part in chain.regions(region)])

    def _empty(self, channels: int, size: Size) -> Tensor:
        return torch.zeros(
            1, channels, *size, dtype=self.translator.precision.weights, device=self.translator.weights_device
        )

    def _key(self) -> Tensor:
        return torch.zeros(1, dtype=torch.int64, device=self.translator.weights_device)

    def _kept_bytes(self, height: int, width: int) -> int:
        """Return the bytes of the maps that are kept of an image. UsageError if the network has no tiles."""
        check_tileable(self.translator, self.to)
        stages = self.generator.stages
        return (
            2 * self._kept_maps(self.translator.padded_size(height, width), stages).bytes if stages is not None else 0
        )

    def _kept_maps(self, size: Size, stages: GeneratorStages) -> "_KeptMaps":
        first, *_ = split_after_convolutions(stages.blocks[0].conv_block.children())
        row = last_conv_channels(first) * self.translator.precision.weights.itemsize
        return _KeptMaps(LayerChain(stages.encoder, size, {}).size, row)


@dataclass(frozen=True)
class _KeptMaps:
    """Maps at the smallest size of a generator, of which two are kept."""

    size: Size
    pixel_bytes: int

    @property
    def row_bytes(self) -> int:
        return self.pixel_bytes * self.size[1]

    @property
    def bytes(self) -> int:
        return self.pixel_bytes * math.prod(self.size)


@dataclass(frozen=True)
class _MeasuredChain:
    """Peak of layers on one region, and the areas of the region's maps: of the input and behind each layer, in pixels."""

    layers: Sequence[nn.Module]
    peak: int
    areas: Sequence[int]

    def output_size(self, size: Size) -> Size:
        """Return the size of the output for an input of this size."""
        return LayerChain(self.layers, size, {}).size

    def estimate(self, size: Size, region: Region) -> int:
        """Return the peak on a region of the output for an input of this size: by the map that grows most, so never too low."""
        areas = [part.area for part in LayerChain(self.layers, size, {}).regions(region)]
        return int(self.peak * max(area / measured for area, measured in zip(areas, self.areas, strict=True)))


class _InferenceMeter(MemoryMeter):
    """Meter of maps alone, which grow with the image, without the weights, which do not."""

    def __init__(self) -> None:
        super().__init__(scratch=True)

    @property
    def peak(self) -> int:
        return self.live_at_peak + self.scratch_at_peak

    def convolution_scratch(self, args: Sequence[Any], made: Sequence[Tensor]) -> int:
        """Return the bytes that a convolution takes beside its tensors.

        In float64 torch unfolds the patches of the CPU's convolutions, else maps are copied in blocks of 16 channels.
        """
        x, weight, transposed, (out,) = args[0], args[1], args[6], made
        if x.device.type == "cpu" and x.dtype == torch.float64:
            positions = math.prod((x if transposed else out).shape[2:])
            return positions * math.prod(weight.shape[1:]) * x.element_size()
        return sum(-(-y.shape[1] // 16) * 16 * math.prod(y.shape[2:]) * y.element_size() for y in (x, out))


class _UnknownStatistics(dict[nn.Module, Moments]):
    """Statistics of maps that nobody has seen: enough for memory to be measured."""

    def __missing__(self, norm: nn.Module) -> Moments:
        return cast(Moments, _UnknownMoments())


class _UnknownMoments:
    def result(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_zeros(like.shape[1]), like.new_ones(like.shape[1])


def is_tileable(network: nn.Module) -> bool:
    """Return True if an image can go through the network in tiles, with the result of the whole."""
    return isinstance(network, Generator) and (network.stages is not None or network.computes_in_windows)


def has_tiles(translator: Translator, to: str) -> bool:
    """Return True if images are translated to a domain by a network that `is_tileable` and sees nothing else."""
    return translator.method.generator_sees_image_alone and is_tileable(translator.generator_for(to))


def check_tileable(translator: Translator, to: str) -> None:
    """Raise UsageError if the network to a domain has no tiles."""
    if not has_tiles(translator, to):
        raise UsageError(f"a {translator.info.generator_name} works on the whole image: it has no tiles")


def _middle_tile(out: Size, image: Size, tile: int) -> Region:
    """Return a tile in the middle of a map that is the image's map of size `out`."""
    sides = [min(max(1, tile * length // whole), length) for length, whole in zip(out, image, strict=True)]
    starts = [(length - side) // 2 for length, side in zip(out, sides, strict=True)]
    rows, columns = (range(start, start + side) for start, side in zip(starts, sides, strict=True))
    return Region(rows, columns)


def _fits(need: TiledMemory, room: int, device: torch.device, scratch: Path | None) -> bool:
    kept = 0 if scratch else need.scratch
    if device.type == "cpu":
        return need.memory + kept <= room
    return need.memory <= room and kept <= int(USABLE_FRACTION * free_memory(torch.device("cpu")))


def _check_scratch(scratch: Path | None, need: int) -> None:
    """Raise StorageError if the scratch folder has less than `need` bytes free."""
    if scratch is None:
        return
    try:
        free = shutil.disk_usage(scratch).free
    except OSError as e:
        raise StorageError(f"{scratch}: cannot be used for scratch: {e.strerror}; give another folder") from e
    if free < need:
        raise StorageError(
            f"{scratch}: has {file_size(free)} free, but {file_size(need)} of scratch are needed; "
            f"make room or use another folder"
        )

"""How much memory an image takes, whole or in tiles, and which tile to take.

These are estimates, from the sizes of the maps that are alive at each layer. Peaks measured on the CPU were 0.7 to 1.2 times
the estimate for whole images (float32 and float64, widths 8 to 64, ResNets and U-Nets, a quarter to two megapixels), and 0.3
to 1.1 times for tiles (float32, widths 2 to 64, 1 to 400 megapixels).
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from translate.conversion.tiling.feature_maps import DoesNotFitError
from translate.conversion.tiling.partial_layers import LayerChain, Region, Size
from translate.conversion.tiling.tiled_forward import MIN_TILE, last_conv_channels, split_after_convolutions, strip_rows
from translate.errors import StorageError, UsageError
from translate.nn.base import Generator, GeneratorStages
from translate.nn.blocks import Dropout, ResnetBlock
from translate.nn.networks.antialias import BlurDown, BlurUp
from translate.nn.networks.dualgan import DualBlock, DualOutermost
from translate.nn.networks.unet import UnetBlock, UnetOutermost
from translate.runtime.memory import free_memory
from translate.text import file_size, memory_size
from translate.trained.translator import Translator

MARGIN = 1.2
"""Of a measured peak over the maps that were alive: weights made ready, memory in pieces."""
HEAP_BYTES = 64 << 20
"""Bytes that the C library's heap and the kernels' caches keep of what tiles of many shapes have freed."""
USABLE_FRACTION = 0.8
"""The share of free memory that is counted on: other work goes on beside."""
MAX_TILE = {"cpu": 512, "cuda": 2048, "mps": 1024}
"""Tiles that are tried first, by device. On the CPU larger ones are slower: the heap does not keep such blocks for the next."""

Shape = tuple[int, int, int]
"""Channels, height and width."""


@dataclass(frozen=True)
class TiledMemory:
    """Bytes that an image takes in tiles."""

    memory: int
    """At the peak, on the device."""
    scratch: int
    """For the kept maps: in the scratch folder, or in main memory without one."""


@dataclass(frozen=True)
class _Estimate:
    """Bytes that are alive at the worst moment of a layer or of layers in a row."""

    device: torch.device
    itemsize: int

    def of(self, shape: Shape) -> int:
        return math.prod(shape) * self.itemsize

    def layer(self, layer: nn.Module, given: Shape, out: Shape) -> int:
        """One layer: its input, its output and what it needs beside."""
        both = self.of(given) + self.of(out)
        match layer:
            case nn.Conv2d() | nn.ConvTranspose2d():
                return both + self._beside(layer, given, out)
            case Dropout():
                return both + 34 * math.prod(out)  # the draws are 64-bit integers, hashed in several steps
            case nn.ReLU(inplace=True):
                return self.of(out)
        return both

    def _beside(self, conv: nn.Conv2d | nn.ConvTranspose2d, given: Shape, out: Shape) -> int:
        if self.device.type == "cpu" and self.itemsize == 8:  # torch unfolds the patches
            channels, small = (out[0], given) if isinstance(conv, nn.ConvTranspose2d) else (given[0], out)
            return self.of((channels * math.prod(conv.kernel_size), *small[1:]))
        return sum(self.of((-(-c // 16) * 16, h, w)) for c, h, w in (given, out))  # both in blocks of 16 channels

    def whole(self, module: nn.Module, given: Shape, held: int = 0) -> tuple[Shape, int]:
        """A module on a whole map: its output and its peak; `held` bytes are alive beside it."""
        match module:
            case nn.Sequential():
                return self._row(list(module), given, held)
            case Generator() | UnetOutermost() | DualOutermost():
                return self._row([module.model], given, held)
            case ResnetBlock():
                out, peak = self._row([module.conv_block], given, held + self.of(given))
                return out, max(peak, held + 3 * self.of(out))
            case UnetBlock() | DualBlock():
                (c, h, w), peak = self._row([module.model], given, held + self.of(given))
                out = given[0] + c, h, w
                return out, max(peak, held + 2 * self.of(out))
        if inner := list(module.children()):
            return self._row(inner, given, held + self.of(given))
        out = _after(module, given)
        return out, held + self.layer(module, given, out)

    def _row(self, modules: Sequence[nn.Module], given: Shape, held: int) -> tuple[Shape, int]:
        most = 0
        for module in modules:
            given, peak = self.whole(module, given, held)
            most = max(most, peak)
        return given, most

    def part(self, chain: LayerChain, channels: int, wanted: Region) -> int:
        """A part of a chain's output; `input_channels` are those of its input."""
        given, *outs = [(len(region.rows), len(region.columns)) for region in chain.regions(wanted)]
        most, before = 0, (channels, *given)
        for layer, size in zip(chain.layers, outs, strict=True):
            after = (_channels(layer, before[0]), *size)
            most, before = max(most, self.layer(layer, before, after)), after
        return most


def _channels(layer: nn.Module, given: int) -> int:
    return layer.out_channels if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else given


def _after(layer: nn.Module, given: Shape) -> Shape:
    """The shape that a single layer gives."""
    if isinstance(layer, (BlurDown, BlurUp)):
        _, *shape = layer(torch.empty(1, *given, device="meta")).shape
        return given[0], shape[1], shape[2]
    height, width = LayerChain([layer], given[1:], {}).size if _resizes(layer) else given[1:]
    return _channels(layer, given[0]), height, width


def _resizes(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.ReflectionPad2d))


def _estimate(translator: Translator) -> _Estimate:
    return _Estimate(translator.device, translator.precision.weights.itemsize)


# One image.


def is_tileable(network: nn.Module) -> bool:
    """Whether an image can go through the network in tiles, with the result of the whole."""
    return isinstance(network, Generator) and network.stages is not None


def tileable_stages(translator: Translator, to: str) -> GeneratorStages:
    """The stages that the network is worked through tile by tile in; UsageError if it has none."""
    stages = translator.generator_for(to).stages
    if stages is None:
        raise UsageError(f"a {translator.info.networks['generator']} works on the whole image: it has no tiles")
    return stages


def estimate_whole(translator: Translator, to: str, height: int, width: int) -> int:
    """Bytes that the network takes on the device for a whole image."""
    size = translator.padded_size(height, width)
    _, peak = _estimate(translator).whole(translator.generator_for(to), (translator.input_channels(to), *size))
    return int(peak * MARGIN)


def estimate_tiled(translator: Translator, to: str, height: int, width: int, tile: int) -> TiledMemory:
    """What an image takes in tiles of so many pixels a side. UsageError if the network cannot be tiled."""
    estimate, stages = _estimate(translator), tileable_stages(translator, to)
    size = translator.padded_size(height, width)
    encoder = LayerChain(stages.encoder, size, {})
    decoder = LayerChain(stages.decoder, encoder.size, {})
    first, *_ = halves = split_after_convolutions(stages.blocks[0].conv_block.children())
    kept = last_conv_channels(first)
    rows = min(strip_rows(tile, encoder.size, size), encoder.size[0])
    strip = Region(range(rows), range(encoder.size[1]))
    peaks = [
        estimate.part(encoder, translator.input_channels(to), _tile(encoder.size, size, tile)),
        estimate.part(decoder, kept, _tile(decoder.size, size, tile)),
    ]
    window = estimate.of((kept, rows + 2, encoder.size[1]))  # that `Ahead` holds
    peaks += [2 * window + estimate.part(LayerChain(layers, encoder.size, {}), kept, strip) for layers in halves]
    return TiledMemory(HEAP_BYTES + int(max(peaks) * MARGIN), 2 * estimate.of((kept, *encoder.size)))


def _tile(out: Size, image: Size, tile: int) -> Region:
    """A tile in the middle of a map that is the image's map of size `out`."""
    sides = [min(max(1, tile * length // whole), length) for length, whole in zip(out, image, strict=True)]
    starts = [(length - side) // 2 for length, side in zip(out, sides, strict=True)]
    rows, columns = (range(start, start + side) for start, side in zip(starts, sides, strict=True))
    return Region(rows, columns)


# Which tile.


def choose_tile(
    translator: Translator, to: str, height: int, width: int, tile: int | str = "auto", scratch: Path | None = None
) -> int | None:
    """The tile to take for an image; None: the whole image at once.

    "auto": the whole if it fits into free memory, else the largest tile that does; a number: tiles of so many pixels a side
    if the image is larger; "off": the whole. DoesNotFitError where the image fits in no way, StorageError where the scratch
    folder has no room, UsageError for other values and for tiles of a network that cannot be tiled.
    """
    if tile == "off":
        return None
    if isinstance(tile, int) and not isinstance(tile, bool) and tile >= MIN_TILE:
        if tile >= max(height, width):
            return None
        need = estimate_tiled(translator, to, height, width, tile)
        if not scratch and need.scratch > USABLE_FRACTION * free_memory(torch.device("cpu")):
            raise DoesNotFitError(
                f"{width} × {height} pixels need {memory_size(need.scratch)} of memory for maps; give --scratch FOLDER"
            )
        _check_scratch(scratch, need)
        return tile
    if tile != "auto":
        raise UsageError(f"--tile {tile}: must be auto, off or a number of pixels from {MIN_TILE} up")
    return _automatic(translator, to, height, width, scratch)


def estimate_scratch(translator: Translator, to: str, height: int, width: int, tile: int | str, scratch: Path) -> int:
    """Bytes that an image takes in the scratch folder; 0 where it is translated whole. Errors as of `choose_tile`."""
    side = choose_tile(translator, to, height, width, tile, scratch)
    if side is None:
        return 0
    return estimate_tiled(translator, to, height, width, side).scratch + result_bytes(translator, to, height, width)


def result_bytes(translator: Translator, to: str, height: int, width: int) -> int:
    """Of a result of 8 bits."""
    return height * width * translator.output_channels(to)


def _automatic(translator: Translator, to: str, height: int, width: int, scratch: Path | None) -> int | None:
    room = int(USABLE_FRACTION * free_memory(translator.device))
    whole = estimate_whole(translator, to, height, width)
    if whole <= room:
        return None
    if not is_tileable(translator.generator_for(to)):
        multiple = translator.info.size["multiple_of"]
        side = int(math.sqrt(math.prod(translator.padded_size(height, width)) * room / whole)) // multiple * multiple
        raise DoesNotFitError(
            f"{width} × {height} pixels need about {memory_size(whole)} of memory with a "
            f"{translator.info.networks['generator']}, and {memory_size(room)} can be used; images up to "
            f"{side} × {side} fit"
        )
    tile = MAX_TILE[translator.device.type]
    while tile >= MIN_TILE:
        need = estimate_tiled(translator, to, height, width, tile)
        if _fits(need, room, translator.device, scratch):
            _check_scratch(scratch, need)
            return tile
        tile //= 2
    raise DoesNotFitError(
        f"{width} × {height} pixels need about {memory_size(need.memory)} of memory even in the smallest tiles, and "
        f"{file_size(need.scratch)} of scratch; free some memory" + ("" if scratch else ", or give --scratch FOLDER")
    )


def _fits(need: TiledMemory, room: int, device: torch.device, scratch: Path | None) -> bool:
    kept = 0 if scratch else need.scratch
    if device.type == "cpu":
        return need.memory + kept <= room
    return need.memory <= room and kept <= int(USABLE_FRACTION * free_memory(torch.device("cpu")))


def _check_scratch(scratch: Path | None, need: TiledMemory) -> None:
    if scratch is None:
        return
    try:
        free = shutil.disk_usage(scratch).free
    except OSError as e:
        raise StorageError(f"{scratch}: cannot be used for scratch: {e.strerror}; give another folder") from e
    if free < need.scratch:
        raise StorageError(
            f"{scratch}: has {file_size(free)} free, but {file_size(need.scratch)} of scratch are needed; "
            f"make room or use another folder"
        )

"""Forward pass of a generator in tiles, over an image of any size, with the statistics of the whole image.

A norm that divides by the statistics of a whole map needs all of the map before any of the layers after it. So the layers are
computed in passes, one for each such norm. The maps at the smallest size are kept; the layers before and after them, whose
maps are large, are computed again in each pass. Two kept maps are enough: the residual blocks overwrite them strip by strip,
from top to bottom.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain as joined

import torch
from torch import Tensor, nn

from translate.conversion.tiling.feature_maps import DoesNotFitError, FeatureMap, FeatureMapFactory, ReadAhead
from translate.conversion.tiling.moments import Moments
from translate.conversion.tiling.partial_layers import LayerChain, NormStatistics, Region, RegionSource, Size
from translate.nn.base import GeneratorStages
from translate.nn.blocks import ResnetBlock, uses_map_statistics
from translate.runtime.memory import is_out_of_memory

MIN_TILE = 8
"""Smallest tile size, in pixels."""

RegionSink = Callable[[Region, Tensor], None]
"""Takes a region of the output, (1, C, h, w) in [-1, 1]. Regions do not overlap; together they are the whole output."""
ShareCallback = Callable[[float], None]
"""Called with the share of the computation that is done, from 0 to 1; an exception of it ends the computation."""
RegionTask = Callable[[Region], None]
"""Computes one region. It can be called again after it has run out of memory."""

NormBoundary = tuple[list[nn.Module], nn.Module]
"""All layers up to a convolution, and the module after it, which may be a norm that needs the statistics of its input."""


@dataclass
class TiledForward:
    """Forward pass of one image through one generator; an instance is used once."""

    stages: GeneratorStages
    size: Size
    """Height and width of the image, which obey the generator's size rule."""
    source: RegionSource
    """Returns regions of the image, (1, C, h, w) in [-1, 1], on the device."""
    make_map: FeatureMapFactory
    tile: int
    """Tile size in pixels; halved when memory runs out."""
    progress: ShareCallback = lambda share: None

    def __post_init__(self) -> None:
        self.statistics: NormStatistics = {}
        boundaries = _norm_boundaries(self.stages.encoder)[:-1] + _norm_boundaries(self.stages.decoder)
        self.total = 3 + 2 * len(self.stages.blocks) + sum(uses_map_statistics(norm) for _, norm in boundaries)
        self.done = 0

    def run(self, sink: RegionSink) -> None:
        """Pass every region of the output to the sink. DoesNotFitError if even the smallest tile is too large."""
        held = self._encode()
        scratch = self.make_map(held.channels, held.size)
        self._residual(held, scratch)
        del scratch  # its memory is for the decoder's maps
        self._decode(held, sink)

    def _encode(self) -> FeatureMap:
        """Return the map in front of the encoder's last norm."""
        *earlier, (layers, norm) = _norm_boundaries(self.stages.encoder)
        self._gather_all(earlier, self.size, self.source)
        chain = LayerChain(layers, self.size, self.statistics)
        held = self.make_map(last_conv_channels(layers), chain.size)
        self._cover(chain.size, self._keeping(chain, self.source, held, norm))
        return held

    def _residual(self, held: FeatureMap, scratch: FeatureMap) -> None:
        """Replace `held`, the result of `_encode`, by the output of the residual blocks; `scratch` is overwritten."""
        after = LayerChain(split_after_convolutions(self.stages.encoder)[-1], held.size, self.statistics)
        entering: RegionSource = lambda region: after(region, held.read)  # noqa: E731
        for block in self.stages.blocks:
            entering = self._block(block, entering, held, scratch)
        self._strips(held.size, lambda region: held.write(region, entering(region)))

    def _block(self, block: ResnetBlock, entering: RegionSource, held: FeatureMap, scratch: FeatureMap) -> RegionSource:
        """Compute x + conv_block(x): x, the block's input, goes to `held`, conv_block(x) to `scratch`; return their sum."""
        first, second, last = split_after_convolutions(block.conv_block.children())
        for layers, source, norm in (
            (first, ReadAhead(entering, held.write), second[0]),
            (second, ReadAhead(scratch.read), last[0]),
        ):
            chain = LayerChain(layers, held.size, self.statistics)
            self._strips(held.size, self._keeping(chain, source, scratch, norm))
        after = LayerChain(last, held.size, self.statistics)
        return lambda region: after(region, scratch.read).add_(held.read(region))

    def _decode(self, held: FeatureMap, sink: RegionSink) -> None:
        self._gather_all(_norm_boundaries(self.stages.decoder), held.size, held.read)
        chain = LayerChain(self.stages.decoder, held.size, self.statistics)
        self._cover(chain.size, lambda region: sink(region, chain(region, held.read)))

    # Statistics.

    def _gather_all(self, boundaries: Iterable[NormBoundary], size: Size, source: RegionSource) -> None:
        """Gather the statistics of each norm that needs them, in a pass each."""
        for layers, norm in boundaries:
            if uses_map_statistics(norm):
                chain = LayerChain(layers, size, self.statistics)
                self._cover(chain.size, self._keeping(chain, source, None, norm))

    def _keeping(
        self, chain: LayerChain, source: RegionSource, target: FeatureMap | None, norm: nn.Module
    ) -> RegionTask:
        """Return a task that computes a region of the chain, for the map and for the statistics of the norm after it."""
        moments = Moments()
        if uses_map_statistics(norm):
            self.statistics[norm] = moments

        def task(region: Region) -> None:
            x = chain(region, source)
            if target:
                target.write(region, x)
            if uses_map_statistics(norm):
                moments.add(x)

        return task

    # Regions.

    def _cover(self, size: Size, task: RegionTask) -> None:
        """Run a task on every tile of a map of this size."""
        queue = deque([Region(range(size[0]), range(size[1]))])
        left = queue[0].area
        while queue:
            region = queue.popleft()
            rows, columns = (max(1, self.tile * out // whole) for out, whole in zip(size, self.size, strict=True))
            if len(region.rows) > rows or len(region.columns) > columns:
                queue.extendleft(reversed(_grid(region, rows, columns)))
            elif self._try(task, region):
                left -= region.area
                self._report(1 - left / (size[0] * size[1]))
            else:
                queue.appendleft(region)
        self.done += 1

    def _strips(self, size: Size, task: RegionTask) -> None:
        """Run a task on the strips of a kept map, from top to bottom."""
        top = 0
        while top < size[0]:
            region = Region(range(top, min(top + strip_rows(self.tile, size, self.size), size[0])), range(size[1]))
            if self._try(task, region):
                top = region.rows.stop
                self._report(top / size[0])
        self.done += 1

    def _try(self, task: RegionTask, region: Region) -> bool:
        """Run a task on a region. Return False if memory ran out; tiles are smaller from then on."""
        try:
            task(region)
        except (MemoryError, RuntimeError) as e:
            if not is_out_of_memory(e):
                raise
        else:
            return True
        self._halve()  # here, where the exception no longer refers to tensors
        return False

    def _halve(self) -> None:
        self.tile //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.tile < MIN_TILE:
            raise DoesNotFitError(
                f"out of memory at {self.size[1]} × {self.size[0]} pixels, even in the smallest tiles; free some memory"
            )

    def _report(self, share: float) -> None:
        self.progress((self.done + share) / self.total)


def _grid(region: Region, rows: int, columns: int) -> list[Region]:
    """Divide a region into parts of at most `rows` rows and `columns` columns."""
    return [
        Region(range(top, min(top + rows, region.rows.stop)), range(left, min(left + columns, region.columns.stop)))
        for top in region.rows[::rows]
        for left in region.columns[::columns]
    ]


def strip_rows(tile: int, size: Size, image: Size) -> int:
    """Return the rows of a strip of a kept map: of four tiles' area, because its memory is a quarter of a large map's."""
    return max(1, 4 * tile**2 * size[0] // (image[0] * image[1]))


# Division of layers.


def split_after_convolutions(layers: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """Divide layers after each convolution."""
    cut: list[list[nn.Module]] = [[]]
    for layer in layers:
        cut[-1].append(layer)
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            cut.append([])
    return cut


def _norm_boundaries(layers: Sequence[nn.Module]) -> list[NormBoundary]:
    cut = split_after_convolutions(layers)
    return [(list(joined(*cut[:end])), cut[end][0]) for end in range(1, len(cut))]


def last_conv_channels(layers: Sequence[nn.Module]) -> int:
    """Return the output channels of the last layer, a convolution."""
    conv = layers[-1]
    assert isinstance(conv, nn.Conv2d)
    return conv.out_channels

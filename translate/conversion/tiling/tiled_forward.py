"""A generator over an image of any size, part by part, with the statistics of the whole.

A norm that divides by the statistics of a whole map needs all of the map before any of what follows. So the layers are
worked in passes, one to each such norm. The maps at the smallest size are kept; the layers before and behind them, whose maps
are large, are computed anew in each pass that goes through them. Two kept maps are enough: the residual blocks replace what
they hold strip by strip, from top to bottom.
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
"""The smallest tile, in pixels a side."""

RegionSink = Callable[[Region, Tensor], None]
"""Takes a part of the result, (1, C, h, w) in [-1, 1]; parts do not overlap, and together they are the whole."""
ShareCallback = Callable[[float], None]
"""Called with the share of the passes that is done, from 0 to 1; what it raises ends the work."""
RegionTask = Callable[[Region], None]
"""Does one region; where it runs out of memory it has changed nothing that doing it again would not put right."""

NormBoundary = tuple[list[nn.Module], nn.Module]
"""All layers up to a convolution, and the module behind it: maybe a norm that wants the statistics of what comes out."""


@dataclass
class TiledForward:
    """One image through one generator; an instance is used once."""

    stages: GeneratorStages
    size: Size
    """Of the image; it obeys the generator's size rule."""
    source: RegionSource
    """The image, (1, C, h, w) in [-1, 1] on the device, in part."""
    make_map: FeatureMapFactory
    tile: int
    """Pixels a side of the parts; halved where memory runs out."""
    progress: ShareCallback = lambda share: None

    def __post_init__(self) -> None:
        self.statistics: NormStatistics = {}
        stops = _stops(self.stages.encoder)[:-1] + _stops(self.stages.decoder)
        self.total = 3 + 2 * len(self.stages.blocks) + sum(uses_map_statistics(norm) for _, norm in stops)
        self.done = 0

    def run(self, sink: RegionSink) -> None:
        """Gives every part of the result to the sink. DoesNotFitError where even the least tile is too large."""
        held = self._encode()
        work = self.make_map(held.channels, held.size)
        self._residual(held, work)
        del work  # its room is for the decoder's maps
        self._decode(held, sink)

    def _encode(self) -> FeatureMap:
        """The map in front of the encoder's last norm."""
        *earlier, (layers, norm) = _stops(self.stages.encoder)
        self._gather_all(earlier, self.size, self.source)
        chain = LayerChain(layers, self.size, self.statistics)
        held = self.make_map(last_conv_channels(layers), chain.size)
        self._cover(chain.size, self._keeping(chain, self.source, held, norm))
        return held

    def _residual(self, held: FeatureMap, work: FeatureMap) -> None:
        """`held`, as `_encode` left it, becomes the output of the residual blocks; `work` is written over."""
        after = LayerChain(split_after_convolutions(self.stages.encoder)[-1], held.size, self.statistics)
        entering: RegionSource = lambda region: after(region, held.read)  # noqa: E731
        for block in self.stages.blocks:
            entering = self._block(block, entering, held, work)
        self._strips(held.size, lambda region: held.write(region, entering(region)))

    def _block(self, block: ResnetBlock, entering: RegionSource, held: FeatureMap, work: FeatureMap) -> RegionSource:
        """x + conv_block(x), x being what enters: x goes to `held`, the rest to `work`, their sum is what is returned."""
        first, second, last = split_after_convolutions(block.conv_block.children())
        for layers, source, norm in (
            (first, ReadAhead(entering, held.write), second[0]),
            (second, ReadAhead(work.read), last[0]),
        ):
            chain = LayerChain(layers, held.size, self.statistics)
            self._strips(held.size, self._keeping(chain, source, work, norm))
        after = LayerChain(last, held.size, self.statistics)
        return lambda region: after(region, work.read).add_(held.read(region))

    def _decode(self, held: FeatureMap, sink: RegionSink) -> None:
        self._gather_all(_stops(self.stages.decoder), held.size, held.read)
        chain = LayerChain(self.stages.decoder, held.size, self.statistics)
        self._cover(chain.size, lambda region: sink(region, chain(region, held.read)))

    # Statistics.

    def _gather_all(self, stops: Iterable[NormBoundary], size: Size, source: RegionSource) -> None:
        """A pass for each of the norms that needs statistics."""
        for layers, norm in stops:
            if uses_map_statistics(norm):
                chain = LayerChain(layers, size, self.statistics)
                self._cover(chain.size, self._keeping(chain, source, None, norm))

    def _keeping(
        self, chain: LayerChain, source: RegionSource, target: FeatureMap | None, norm: nn.Module
    ) -> RegionTask:
        """Computes a part of the chain's output, for the map and for the statistics that the norm behind it needs."""
        moments = Moments()
        if uses_map_statistics(norm):
            self.statistics[norm] = moments

        def work(region: Region) -> None:
            x = chain(region, source)
            if target:
                target.write(region, x)
            if uses_map_statistics(norm):
                moments.add(x)

        return work

    # Regions.

    def _cover(self, size: Size, work: RegionTask) -> None:
        """Does every tile of a map of this size."""
        queue = deque([Region(range(size[0]), range(size[1]))])
        left = queue[0].area
        while queue:
            region = queue.popleft()
            rows, columns = (max(1, self.tile * out // whole) for out, whole in zip(size, self.size, strict=True))
            if len(region.rows) > rows or len(region.columns) > columns:
                queue.extendleft(reversed(_grid(region, rows, columns)))
            elif self._try(work, region):
                left -= region.area
                self._report(1 - left / (size[0] * size[1]))
            else:
                queue.appendleft(region)
        self.done += 1

    def _strips(self, size: Size, work: RegionTask) -> None:
        """Does the strips of a kept map, from top to bottom."""
        top = 0
        while top < size[0]:
            region = Region(range(top, min(top + strip_rows(self.tile, size, self.size), size[0])), range(size[1]))
            if self._try(work, region):
                top = region.rows.stop
                self._report(top / size[0])
        self.done += 1

    def _try(self, work: RegionTask, region: Region) -> bool:
        """Whether memory sufficed; else tiles are smaller from now on."""
        try:
            work(region)
        except (MemoryError, RuntimeError) as e:
            if not is_out_of_memory(e):
                raise
        else:
            return True
        self._halve()  # here, where the exception no longer holds what had been computed
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
    """The region in parts of at most so many rows and columns."""
    return [
        Region(range(top, min(top + rows, region.rows.stop)), range(left, min(left + columns, region.columns.stop)))
        for top in region.rows[::rows]
        for left in region.columns[::columns]
    ]


def strip_rows(tile: int, size: Size, image: Size) -> int:
    """Rows of a strip of a kept map of this size: of four tiles' area, since a kept map holds a quarter of a large one."""
    return max(1, 4 * tile**2 * size[0] // (image[0] * image[1]))


# Where layers are cut.


def split_after_convolutions(layers: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """The layers, cut behind each convolution."""
    cut: list[list[nn.Module]] = [[]]
    for layer in layers:
        cut[-1].append(layer)
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            cut.append([])
    return cut


def _stops(layers: Sequence[nn.Module]) -> list[NormBoundary]:
    cut = split_after_convolutions(layers)
    return [(list(joined(*cut[:end])), cut[end][0]) for end in range(1, len(cut))]


def last_conv_channels(layers: Sequence[nn.Module]) -> int:
    """What the last of the layers, a convolution, gives."""
    conv = layers[-1]
    assert isinstance(conv, nn.Conv2d)
    return conv.out_channels

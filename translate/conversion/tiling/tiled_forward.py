"""Forward pass of a generator in tiles, over an image of any size, with the statistics of the whole image.

A norm that divides by the statistics of a whole map needs all of the map before any of the layers after it. So the layers are
computed in passes, one for each such norm. The maps at the smallest size are kept; the layers before and after them, whose
maps are large, are computed again in each pass. Two kept maps are enough: the residual blocks overwrite them strip by strip,
from top to bottom.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain as joined

from torch import nn

from translate.conversion.tiling.feature_maps import FeatureMap, FeatureMapFactory, ReadAhead
from translate.conversion.tiling.moments import Moments
from translate.conversion.tiling.partial_layers import LayerChain, NormStatistics, Region, RegionSource, Size
from translate.conversion.tiling.region_loop import RegionLoop, RegionSink, RegionTask, ShareCallback
from translate.nn.base import GeneratorStages
from translate.nn.blocks import ResnetBlock, uses_map_statistics

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
        passes = 3 + 2 * len(self.stages.blocks) + sum(uses_map_statistics(norm) for _, norm in boundaries)
        self.loop = RegionLoop(self.size, self.tile, passes, self.progress)

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
        self.loop.cover(chain.size, self._keeping(chain, self.source, held, norm))
        return held

    def _residual(self, held: FeatureMap, scratch: FeatureMap) -> None:
        """Replace `held`, the result of `_encode`, by the output of the residual blocks; `scratch` is overwritten."""
        after = LayerChain(split_after_convolutions(self.stages.encoder)[-1], held.size, self.statistics)
        entering: RegionSource = lambda region: after(region, held.read)  # noqa: E731
        for block in self.stages.blocks:
            entering = self._block(block, entering, held, scratch)
        self.loop.strips(held.size, lambda region: held.write(region, entering(region)))

    def _block(self, block: ResnetBlock, entering: RegionSource, held: FeatureMap, scratch: FeatureMap) -> RegionSource:
        """Compute x + conv_block(x): x, the block's input, goes to `held`, conv_block(x) to `scratch`; return their sum."""
        first, second, last = split_after_convolutions(block.conv_block.children())
        for layers, source, norm in (
            (first, ReadAhead(entering, held.write), second[0]),
            (second, ReadAhead(scratch.read), last[0]),
        ):
            chain = LayerChain(layers, held.size, self.statistics)
            self.loop.strips(held.size, self._keeping(chain, source, scratch, norm))
        after = LayerChain(last, held.size, self.statistics)
        return lambda region: after(region, scratch.read).add_(held.read(region))

    def _decode(self, held: FeatureMap, sink: RegionSink) -> None:
        self._gather_all(_norm_boundaries(self.stages.decoder), held.size, held.read)
        chain = LayerChain(self.stages.decoder, held.size, self.statistics)
        self.loop.cover(chain.size, lambda region: sink(region, chain(region, held.read)))

    # Statistics.

    def _gather_all(self, boundaries: Iterable[NormBoundary], size: Size, source: RegionSource) -> None:
        """Gather the statistics of each norm that needs them, in a pass each."""
        for layers, norm in boundaries:
            if uses_map_statistics(norm):
                chain = LayerChain(layers, size, self.statistics)
                self.loop.cover(chain.size, self._keeping(chain, source, None, norm))

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

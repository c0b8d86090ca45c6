"""Forward pass of a generator of any shape in tiles: the whole network runs on a window around each tile.

The window reaches as far as the tile's output depends on, so nothing in the tile shows where it was cut. A norm that divides by
the statistics of a whole map first gets them from all tiles, in a pass of its own that ends in front of the norm.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from torch import Tensor, nn

from translate.conversion.tiling.moments import Moments
from translate.conversion.tiling.partial_layers import NormStatistics, Region, RegionSource, Size, apply_moments
from translate.conversion.tiling.region_loop import RegionLoop, RegionSink, ShareCallback
from translate.nn.base import Generator
from translate.nn.blocks import Dropout, uses_map_statistics


class _Reached(Exception):
    """Signal that the input x of a norm, whose statistics are not known yet, has been computed."""

    def __init__(self, norm: nn.Module, x: Tensor) -> None:
        self.norm, self.x = norm, x


@dataclass
class WindowedForward:
    """Forward pass of one image through one generator that `computes_in_windows`; an instance is used once."""

    generator: Generator
    size: Size
    """Height and width of the image, which obey the generator's size rule."""
    source: RegionSource
    """Returns regions of the image, (1, C, h, w) in [-1, 1], on the device."""
    tile: int
    """Tile size in pixels, rounded to the size rule; halved when memory runs out."""
    progress: ShareCallback = lambda share: None

    def __post_init__(self) -> None:
        self.norms = [module for module in self.generator.modules() if uses_map_statistics(module)]
        self.statistics: NormStatistics = {}
        self.loop = RegionLoop(self.size, self.tile, len(self.norms) + 1, self.progress)
        self.window = Region(range(0), range(0))

    def run(self, sink: RegionSink) -> None:
        """Pass every region of the output to the sink. DoesNotFitError if even the smallest tile is too large."""
        step, scale = self.generator.multiple_of, self.generator.scale
        cells = self.size[0] // step, self.size[1] // step

        def output(cell: Region) -> None:
            tile = _scaled(cell, step)
            sink(_scaled(tile, scale), _inside(self._forward(tile), tile, self.window))

        with self._forwards_replaced():
            for _ in self.norms:
                self._gather(cells)
            self.loop.cover(cells, output)

    def _forward(self, tile: Region) -> Tensor:
        """Return the output for the window around a tile."""
        self.window = window_around(tile, self.size, self.generator)
        output: Tensor = self.generator(self.source(self.window))
        return output

    def _gather(self, cells: Size) -> None:
        """Gather the statistics of the first norm whose statistics are not known."""
        moments, found = Moments(), list[nn.Module]()

        def task(cell: Region) -> None:
            tile = _scaled(cell, self.generator.multiple_of)
            try:
                self._forward(tile)
            except _Reached as reached:
                found.append(reached.norm)
                moments.add(_inside(reached.x, tile, self.window))

        self.loop.cover(cells, task)
        self.statistics[found[0]] = moments

    @contextmanager
    def _forwards_replaced(self) -> Iterator[None]:
        """Context in which norms have the statistics of the whole image, and dropout the whole image's masks."""
        dropouts = [module for module in self.generator.modules() if isinstance(module, Dropout)]
        replaced: list[tuple[nn.Module, object]] = [(norm, partial(self._normalise, norm)) for norm in self.norms]
        replaced += [(dropout, partial(self._drop_out, dropout)) for dropout in dropouts]
        for module, forward in replaced:
            module.__dict__["forward"] = forward  # found before the method of the class
        try:
            yield
        finally:
            for module, _ in replaced:
                del module.__dict__["forward"]

    def _normalise(self, norm: nn.Module, x: Tensor) -> Tensor:
        return apply_moments(norm, self.statistics[norm], x) if norm in self.statistics else _stop_at(norm, x)

    def _drop_out(self, dropout: Dropout, x: Tensor) -> Tensor:
        channels, step = x.shape[1], len(self.window.rows) // x.shape[2]
        rows, columns = (range(r.start // step, r.stop // step) for r in self.window)
        whole = channels, self.size[0] // step, self.size[1] // step
        return dropout.apply_keyed_mask(x, whole, (range(channels), rows, columns))


def _stop_at(norm: nn.Module, x: Tensor) -> NoReturn:
    raise _Reached(norm, x)


def window_around(tile: Region, size: Size, generator: Generator) -> Region:
    """Return the window that a tile of an image of this size is computed from, by the receptive field and the size rule."""
    assert generator.receptive_radius is not None, "a network that computes in windows"
    radius, step = generator.receptive_radius, generator.multiple_of
    rows, columns = (
        range(max(r.start - radius, 0) // step * step, min(-(-(r.stop + radius) // step) * step, length))
        for r, length in zip(tile, size, strict=True)
    )
    return Region(rows, columns)


def _scaled(region: Region, factor: int) -> Region:
    """Return a region in units that are smaller by a factor: cells in pixels, pixels of the image in those of the output."""
    rows, columns = (range(r.start * factor, r.stop * factor) for r in region)
    return Region(rows, columns)


def _inside(x: Tensor, tile: Region, window: Region) -> Tensor:
    """Return the part of a map x of the window, larger or smaller by a whole factor, that belongs to a tile."""
    rows, columns = (
        slice(*((end - all_.start) * length // len(all_) for end in (own.start, own.stop)))
        for own, all_, length in zip(tile, window, x.shape[2:], strict=True)
    )
    return x[:, :, rows, columns]

"""Tasks on all regions of a map, one after another: tiles or strips, which become smaller when memory runs out."""

from collections import deque
from collections.abc import Callable

from torch import Tensor

from translate.conversion.tiling.feature_maps import DoesNotFitError
from translate.conversion.tiling.limits import MIN_TILE
from translate.conversion.tiling.partial_layers import Region, Size
from translate.runtime.memory import empty_caches, is_out_of_memory

RegionSink = Callable[[Region, Tensor], None]
"""Takes a region of the output, (1, C, h, w), not yet clamped. Regions do not overlap; together they are the whole output."""
ShareCallback = Callable[[float], None]
"""Called with the share of the computation that is done, from 0 to 1; an exception of it ends the computation."""
RegionTask = Callable[[Region], None]
"""Computes one region. It can be called again after it has run out of memory."""


class RegionLoop:
    """Loop over the regions of the maps of one image.

    Args:
        image: Height and width of the image.
        tile: Tile size in pixels of the image; halved when memory runs out.
        passes: Number of calls of `cover` and `strips` that there will be.
        progress: Callback for the share that is done.
    """

    def __init__(self, image: Size, tile: int, passes: int, progress: ShareCallback) -> None:
        self.image, self.tile, self.passes, self.progress = image, tile, passes, progress
        self.done = 0

    def cover(self, size: Size, task: RegionTask) -> None:
        """Run a task on every tile of a map of this size."""
        queue = deque([Region(range(size[0]), range(size[1]))])
        left = queue[0].area
        while queue:
            region = queue.popleft()
            rows, columns = (max(1, self.tile * out // whole) for out, whole in zip(size, self.image, strict=True))
            if len(region.rows) > rows or len(region.columns) > columns:
                queue.extendleft(reversed(_grid(region, rows, columns)))
            elif self._try(task, region):
                left -= region.area
                self._report(1 - left / (size[0] * size[1]))
            else:
                queue.appendleft(region)
        self.done += 1

    def strips(self, size: Size, task: RegionTask) -> None:
        """Run a task on the strips of a kept map, from top to bottom."""
        top = 0
        while top < size[0]:
            region = Region(range(top, min(top + strip_rows(self.tile, size, self.image), size[0])), range(size[1]))
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
        empty_caches()
        if self.tile < MIN_TILE:
            raise DoesNotFitError(
                f"out of memory at {self.image[1]} × {self.image[0]} pixels, even in the smallest tiles; free some memory"
            )

    def _report(self, share: float) -> None:
        self.progress((self.done + share) / self.passes)


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

"""Translation in tiles: `Translator.translate_pixels` for one image of any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import images
from translate.conversion.tiling.feature_maps import allocate_array, feature_map_factory
from translate.conversion.tiling.limits import MIN_TILE
from translate.conversion.tiling.memory import check_tileable
from translate.conversion.tiling.partial_layers import Region, RegionSource
from translate.conversion.tiling.region_loop import RegionSink, ShareCallback
from translate.conversion.tiling.tiled_forward import TiledForward
from translate.conversion.tiling.windowed_forward import WindowedForward
from translate.errors import UsageError
from translate.nn.blocks import keyed_dropout
from translate.trained.arithmetic import arithmetic_mode, check_finite
from translate.trained.noise import pixel_key
from translate.trained.translator import Translator


@dataclass(frozen=True)
class TiledTranslation:
    """Function that translates an (H, W, C) array of any bit depth to an array of domain `to`, in tiles.

    The result is (H, W, C'), or (scale · H, scale · W, C') by a super-resolution network.

    The values in [-1, 1] are those of the whole image to 1e-4 in float32 and 1e-12 in float64, so a rounded integer differs
    only where a value is that close to the middle between two. Tiles are halved when memory runs out.

    UsageError if the network cannot be tiled, or an argument is not possible.
    """

    translator: Translator
    to: str
    tile: int
    """Tile size in pixels of the array that is given."""
    scratch: Path | None = None
    """Folder for the kept maps and the result, as memory-mapped files without names: nothing is left of them, and the file of
    the result vanishes with the array. None: main memory."""
    seed: int = 0
    sample: int = 0
    """Number of the output among several."""
    pixels: str = "rounded"
    allowed_depths: Sequence[str] = images.DEPTHS
    """Data types that the result may have. This, `seed` and `pixels` as in `Translator.translate_pixels`."""
    stored: images.StoredType | None = None
    """Data type of the file and a range that was declared for it, if they are not those of the array."""
    progress: ShareCallback = lambda share: None
    """Called with the share that is done, from 0 to 1; an exception of it ends the translation."""

    def __post_init__(self) -> None:
        self.translator.check_target(self.to)
        self.translator.check_pixels(self.pixels)
        if self.tile < MIN_TILE:
            raise UsageError(f"--tile {self.tile}: must be at least {MIN_TILE}")
        check_tileable(self.translator, self.to)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Translate an array, which may be memory-mapped and is read in part.

        StorageError if the scratch folder has no room; DoesNotFitError if even the smallest tiles are too large;
        NonFiniteError where the output holds NaN or infinite values.
        """
        translator, to = self.translator, self.to
        height, width = (translator.scale(to) * length for length in picture.shape[:2])
        shape = height, width, translator.output_channels(to)
        stored = self.stored or images.StoredType(picture.dtype)
        output = translator.output_type(stored, to, self.allowed_depths)
        result = allocate_array(self.scratch, shape, output.dtype)
        forward = self._forward(picture, stored)
        if self.pixels != "reference":
            translator.ensure_convolutions()
        translator.set_memory_format(to, channels_last=False)  # parts are cut from maps whose channels do not lie last
        key = torch.tensor([pixel_key(picture, self.seed, self.sample)], device=translator.device)
        with (
            arithmetic_mode(exact=self.pixels == "reference"),
            torch.inference_mode(),
            translator.precision.autocast(translator.device),
            keyed_dropout(translator.generator_for(to), key),
        ):
            forward.run(self._sink(result, output.range))
        return result

    def _forward(self, picture: np.ndarray, stored: images.StoredType) -> TiledForward | WindowedForward:
        """Return the forward pass of a picture: of a chain with kept maps, of another network in windows."""
        translator = self.translator
        generator, size = translator.generator_for(self.to), translator.padded_size(*picture.shape[:2])
        source = _source(translator, self.to, picture, translator.input_range(self.to, stored))
        if generator.stages is None:
            return WindowedForward(generator, size, source, self.tile, self.progress)
        make_map = feature_map_factory(self.scratch, translator.precision.weights, translator.device)
        return TiledForward(generator.stages, size, source, make_map, self.tile, self.progress)

    def _sink(self, result: np.ndarray, values: images.ValueRange | None) -> RegionSink:
        """Return the sink that stores regions of the padded output in the result."""

        def store(region: Region, x: Tensor) -> None:
            rows, columns = (
                range(r.start, min(r.stop, length)) for r, length in zip(region, result.shape[:2], strict=True)
            )
            inside = x[0, :, : len(rows), : len(columns)]
            check_finite(inside, self.translator.precision)
            result[rows.start : rows.stop, columns.start : columns.stop] = images.to_array(
                inside, result.dtype, values, truncate=self.pixels == "reference"
            )

        return store


def _source(translator: Translator, to: str, picture: np.ndarray, values: images.ValueRange | None) -> RegionSource:
    """Return the source of regions of the padded image; `values`: its declared range."""
    size = translator.padded_size(*picture.shape[:2])
    indices = [padded_indices(length, padded) for length, padded in zip(picture.shape[:2], size, strict=True)]

    def read(region: Region) -> Tensor:
        rows, columns = (index[r.start : r.stop] for index, r in zip(indices, region, strict=True))
        top, left = rows.min(), columns.min()
        part = picture[top : rows.max() + 1, left : columns.max() + 1]
        x = translator.network_input(part[np.ix_(rows - top, columns - left)], to, values)
        return x[None].to(translator.device, translator.precision.weights)

    return read


def padded_indices(length: int, padded: int) -> np.ndarray:
    """Return for each pixel of a padded row the index of the pixel that it copies, as `pad_to_size_rule` does: (padded,)."""
    return np.pad(np.arange(length), (0, padded - length), "reflect" if padded < 2 * length else "edge")

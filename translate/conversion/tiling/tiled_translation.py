"""Translation in tiles: `Translator.translate_pixels` for one image of any size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate import images
from translate.conversion.tiling.feature_maps import allocate_array, feature_map_factory
from translate.conversion.tiling.memory import tileable_stages
from translate.conversion.tiling.partial_layers import Region, RegionSource
from translate.conversion.tiling.tiled_forward import MIN_TILE, ShareCallback, TiledForward
from translate.errors import UsageError
from translate.nn.blocks import keyed_dropout
from translate.trained.translator import Translator, arithmetic_mode, check_pixel_mode, pixel_key


def translate_pixels(
    translator: Translator,
    picture: np.ndarray,
    to: str,
    *,
    tile: int,
    scratch: Path | None = None,
    seed: int = 0,
    pixels: str = "rounded",
    allowed_depths: Sequence[str] = images.DEPTHS,
    progress: ShareCallback = lambda share: None,
) -> np.ndarray:
    """Translate an (H, W, C) array of any bit depth to an (H, W, C') array of domain `to`, in tiles of `tile` pixels a side.

    The values in [-1, 1] are those of the whole image to 1e-4 in float32 and 1e-12 in float64, so a rounded integer differs
    only where a value is that close to the middle between two. Tiles are halved when memory runs out.

    Args:
        translator: The model. UsageError if its network cannot be tiled.
        picture: The array; it may be memory-mapped, and is read in part.
        to: Target domain.
        tile: Tile size in pixels.
        scratch: Folder for the kept maps and the result, as memory-mapped files without names: nothing is left of them, and
            the file of the result vanishes with the array. StorageError if it has no room. None: main memory.
        seed, pixels, allowed_depths: As in `Translator.translate_pixels`; depths of the one output.
        progress: Called with the share that is done, from 0 to 1; an exception of it ends the translation.

    DoesNotFitError if even the smallest tiles are too large.
    """
    translator.check_target(to)
    check_pixel_mode(pixels)
    if tile < MIN_TILE:
        raise UsageError(f"--tile {tile}: must be at least {MIN_TILE}")
    stages = tileable_stages(translator, to)
    height, width = picture.shape[:2]
    shape = height, width, translator.output_channels(to)
    result = allocate_array(scratch, shape, translator.output_depth(picture.dtype, to, allowed_depths))

    def sink(region: Region, x: Tensor) -> None:
        rows, columns = (range(r.start, min(r.stop, length)) for r, length in zip(region, shape[:2], strict=True))
        stored = translator.to_stored_array(
            x[0, :, : len(rows), : len(columns)], picture.dtype, to, allowed_depths, pixels == "reference"
        )
        result[rows.start : rows.stop, columns.start : columns.stop] = stored

    forward = TiledForward(
        stages=stages,
        size=translator.padded_size(height, width),
        source=_source(translator, picture, to),
        make_map=feature_map_factory(scratch, translator.precision.weights, translator.device),
        tile=tile,
        progress=progress,
    )
    translator.set_memory_format(to, channels_last=False)  # parts are cut from maps whose channels do not lie last
    key = torch.tensor([pixel_key(picture, seed)], device=translator.device)
    with (
        arithmetic_mode(exact=pixels == "reference"),
        torch.inference_mode(),
        translator.precision.autocast(translator.device),
        keyed_dropout(translator.generator_for(to), key),
    ):
        forward.run(sink)
    return result


def _source(translator: Translator, picture: np.ndarray, to: str) -> RegionSource:
    """Return the source of regions of the padded image."""
    size = translator.padded_size(*picture.shape[:2])
    indices = [padded_indices(length, padded) for length, padded in zip(picture.shape[:2], size, strict=True)]
    values = translator.value_range(translator.source_domain(to))

    def read(region: Region) -> Tensor:
        rows, columns = (index[r.start : r.stop] for index, r in zip(indices, region, strict=True))
        top, left = rows.min(), columns.min()
        part = picture[top : rows.max() + 1, left : columns.max() + 1]
        x = images.to_tensor(part[np.ix_(rows - top, columns - left)], values)
        return x[None].to(translator.device, translator.precision.weights)

    return read


def padded_indices(length: int, padded: int) -> np.ndarray:
    """Return for each pixel of a padded row the index of the pixel that it copies, as `pad_to_size_rule` does: (padded,)."""
    return np.pad(np.arange(length), (0, padded - length), "reflect" if padded < 2 * length else "edge")

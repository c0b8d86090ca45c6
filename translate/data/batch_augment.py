"""Augmentation of whole batches on their device, for `--augment`; every draw is a pure function of the image's key.

kornia resamples and shifts colours; it is given its parameters and draws nothing itself. All warps of an image are composed
and resampled once, so that several of them blur no more than one. Pixels from outside mirror the image's inside, so no black
corners appear.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from translate import config, keyed_random
from translate.errors import UsageError
from translate.text import suggest

JITTER = config.LOAD_TO_CROP
"""Largest enlargement: pix2pix resizes to 286 and crops 256 (Isola et al., 2017, sec. 6.2)."""
ROTATION = 15.0
"""Largest rotation in degrees, to either side: half of AutoAugment's (Cubuk et al., 2019, appendix)."""
AFFINE_ROTATION, AFFINE_SHIFT, AFFINE_ZOOM, AFFINE_SHEAR = 10.0, 0.1, 1.1, 0.1
"""Largest rotation in degrees, shift as a fraction of the side, zoom factor and shear slope: about a third of AutoAugment's
(30°, 0.45, —, 0.3)."""
COLOR, HUE = 0.2, 0.05
"""Largest changes of colour: brightness, contrast and saturation times 1 ± 0.2, hue ± 0.05 turns.

These are SimCLR's proportions (Chen et al., 2020, app. A) at a quarter of its strength, since a generator learns to
reproduce the colours that it is shown."""


class Warp(NamedTuple):
    """Affine warps of N images: pixel (x, y) of the result is read at (xx·x + xy·y + x0, yx·x + yy·y + y0) of the image.

    Six tensors (N,), in pixels from the image's centre, x to the right and y down.
    """

    xx: Tensor
    xy: Tensor
    x0: Tensor
    yx: Tensor
    yy: Tensor
    y0: Tensor

    def compose(self, other: "Warp") -> "Warp":
        """Compose with another warp, which is applied to the result of this one."""
        return Warp(  # written out: a matrix product may be rounded to TF32 on a GPU
            self.xx * other.xx + self.xy * other.yx,
            self.xx * other.xy + self.xy * other.yy,
            self.xx * other.x0 + self.xy * other.y0 + self.x0,
            self.yx * other.xx + self.yy * other.yx,
            self.yx * other.xy + self.yy * other.yy,
            self.yx * other.x0 + self.yy * other.y0 + self.y0,
        )


@dataclass(frozen=True)
class BatchAugmentation:
    """Row of BATCH_AUGMENTATIONS: the number of draws for an image, and exactly one of three functions of them.

    The functions are given the draws as a tensor (N, draws), uniform in [0, 1).
    """

    draws: int
    move: Callable[[Tensor, Tensor], Tensor] | None = None
    """(images, draws) → images: moves whole pixels, without resampling."""
    warp: Callable[[Tensor, int, int], Warp] | None = None
    """(draws, height, width) → warp."""
    colour: Callable[[Tensor, Tensor], Tensor] | None = None
    """(images in [0, 1], draws) → images in [0, 1]."""


def apply_augmentations(
    x: Tensor, key: Tensor, name: str, augmentations: Iterable[str], *, label_maps: bool = False
) -> Tensor:
    """Augment images x (N, C, H, W) in [-1, 1]; shape, dtype and range stay. Each image's draws come from its own key (N,).

    `augmentations`: rows of BATCH_AUGMENTATIONS, applied in the table's order. Images with the same key and `name` (the two
    sides of a pair) are changed alike. `label_maps`: they move with their images, by the nearest pixel, and keep their values.
    """
    asked = frozenset(augmentations)
    rows = [(BATCH_AUGMENTATIONS[row], f"{name}/{row}") for row in BATCH_AUGMENTATIONS if row in asked]
    warps = []
    for augmentation, draws in rows:
        if augmentation.move is not None:
            x = augmentation.move(x, keyed_random.uniform(key, draws, augmentation.draws))
        if augmentation.warp is not None:
            warps.append(augmentation.warp(keyed_random.uniform(key, draws, augmentation.draws), *x.shape[2:]))
    if warps:
        composed = warps[0]
        for warp in warps[1:]:
            composed = composed.compose(warp)
        x = resample(x, composed, "nearest" if label_maps else "bicubic")
    if label_maps:
        return x
    colours = [(augmentation, draws) for augmentation, draws in rows if augmentation.colour is not None]
    if colours:
        y = (x.to(torch.promote_types(x.dtype, torch.float32)) + 1) / 2
        for augmentation, draws in colours:
            assert augmentation.colour is not None
            y = augmentation.colour(y, keyed_random.uniform(key, draws, augmentation.draws).to(y.dtype))
        x = (y * 2 - 1).to(x.dtype)
    return x


def parse_augmentations(text: str) -> tuple[str, ...]:
    """Parse "flip,rotate" into rows of BATCH_AUGMENTATIONS, in the table's order; UsageError for an unknown one."""
    asked = [row.strip() for row in text.split(",") if row.strip()]
    for row in asked:
        if row not in BATCH_AUGMENTATIONS:
            raise UsageError(f"--augment {text}: unknown augmentation {row!r}; {suggest(row, BATCH_AUGMENTATIONS)}")
    return tuple(row for row in BATCH_AUGMENTATIONS if row in asked)


def resample(x: Tensor, warp: Warp, mode: str = "bicubic") -> Tensor:
    """Resample x (N, C, H, W) in [-1, 1] by a warp, mirrored beyond its edges; `mode`: bicubic, or nearest for label maps.

    By bicubic interpolation, as the reference resizes, clipped to [-1, 1] where it overshoots: it keeps the differences
    between neighbouring pixels of a photograph. Linear interpolation removes a sixth of their energy, and generators would
    learn the blur.
    """
    from kornia.geometry.transform import remap  # takes a second to import, and most trainings warp nothing

    height, width = x.shape[2:]
    columns = torch.arange(width, device=x.device, dtype=torch.float32) - (width - 1) / 2
    rows = (torch.arange(height, device=x.device, dtype=torch.float32) - (height - 1) / 2)[:, None]
    xx, xy, x0, yx, yy, y0 = (part[:, None, None] for part in warp)
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision cannot tell the columns of a large image apart
    across = (xx * columns + xy * rows + x0).to(wide) * (2 / width)
    down = (yx * columns + yy * rows + y0).to(wide) * (2 / height)
    y = remap(x.to(wide), across, down, mode, "reflection", align_corners=False, normalized_coordinates=True)
    return y.clamp(-1, 1).to(x.dtype)


# Augmentations. A draw of ½ changes nothing where both directions are possible.


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Flip half of the images left to right."""
    return torch.where(u[:, :, None, None] < 0.5, x.flip(3), x)


def vflip(x: Tensor, u: Tensor) -> Tensor:
    """Flip half of the images top to bottom."""
    return torch.where(u[:, :, None, None] < 0.5, x.flip(2), x)


def turn(x: Tensor, u: Tensor) -> Tensor:
    """Rotate by 0, 90, 180 or 270 degrees; images that are not square by 0 or 180."""
    u = u[:, :, None, None]
    if x.shape[2] == x.shape[3]:
        x = torch.where(u % 0.5 < 0.25, x, x.rot90(1, (2, 3)))
    return torch.where(u < 0.5, x, x.flip(2, 3))


def jitter(u: Tensor, height: int, width: int) -> Warp:
    """Enlarge by 1 to JITTER and crop a random window of the old size: pix2pix's jitter with a random amount."""
    size = 1 / (1 + u[:, 0] * (JITTER - 1))
    zero = torch.zeros_like(size)
    return Warp(size, zero, (u[:, 1] - 0.5) * width * (1 - size), zero, size, (u[:, 2] - 0.5) * height * (1 - size))


def rotate(u: Tensor, height: int, width: int) -> Warp:
    """Rotate about the centre by up to ROTATION degrees."""
    return _rotation(_symmetric(u[:, 0], ROTATION))


def affine(u: Tensor, height: int, width: int) -> Warp:
    """Rotate, zoom, shear and shift, each a little."""
    # In logarithms, so that enlarging is as likely as reducing.
    zoom = torch.exp(_symmetric(u[:, 1], math.log(AFFINE_ZOOM)))
    shear = _symmetric(u[:, 2], AFFINE_SHEAR)
    zero = torch.zeros_like(zoom)
    shape = Warp(zoom, shear * zoom, zero, zero, zoom, zero)
    shift = _symmetric(u[:, 3], AFFINE_SHIFT * width), _symmetric(u[:, 4], AFFINE_SHIFT * height)
    return _rotation(_symmetric(u[:, 0], AFFINE_ROTATION), *shift).compose(shape)


def color(x: Tensor, u: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of RGB, as torchvision's ColorJitter defines them, in this order.

    With another number of channels only brightness and contrast change, by the same factors in all.
    """
    brightness, contrast, saturation = (1 + _symmetric(u[:, :3], COLOR)).unbind(1)
    if x.shape[1] != 3:  # kornia 0.8 changes the contrast about the mean of the whole batch here
        x = (x * brightness[:, None, None, None]).clamp(0, 1)
        mean = x.mean((1, 2, 3), keepdim=True)
        return (mean + contrast[:, None, None, None] * (x - mean)).clamp(0, 1)
    from kornia import enhance

    x = enhance.adjust_brightness_accumulative(x, brightness)
    x = enhance.adjust_contrast_with_mean_subtraction(x, contrast)
    x = enhance.adjust_saturation_with_gray_subtraction(x, saturation)
    return enhance.adjust_hue(x, _symmetric(u[:, 3], HUE * 2 * math.pi))


def _symmetric(u: Tensor, limit: float) -> Tensor:
    """Scale draws in [0, 1) to [−limit, limit)."""
    return (2 * u - 1) * limit


def _rotation(degrees: Tensor, x0: Tensor | None = None, y0: Tensor | None = None) -> Warp:
    angle = degrees * (math.pi / 180)
    zero = torch.zeros_like(angle)
    return Warp(
        angle.cos(), -angle.sin(), zero if x0 is None else x0, angle.sin(), angle.cos(), zero if y0 is None else y0
    )


BATCH_AUGMENTATIONS: dict[str, BatchAugmentation] = {
    "flip": BatchAugmentation(1, move=flip),
    "vflip": BatchAugmentation(1, move=vflip),
    "turn": BatchAugmentation(1, move=turn),
    "jitter": BatchAugmentation(3, warp=jitter),
    "rotate": BatchAugmentation(1, warp=rotate),
    "affine": BatchAugmentation(5, warp=affine),
    "color": BatchAugmentation(4, colour=color),
}
"""Augmentations by name, in the order in which they are applied."""

"""Random changes of a whole batch on its device, for `--augment`: every draw is a pure function of the image's key.

kornia resamples and shifts colours; it is handed its parameters and draws nothing itself. Whatever is warped is resampled
once, by the product of all warps, so that several of them blur no more than one. Pixels that come from outside mirror the
image's inside, so no black corners appear.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from translate import config, keyed_random
from translate.errors import UsageError

JITTER = config.LOAD_TO_CROP
"""Largest enlargement."""
ROTATION = 15.0
"""Degrees to either side: half of the most that AutoAugment uses (Cubuk et al., 2019, appendix)."""
AFFINE_ROTATION, AFFINE_SHIFT, AFFINE_ZOOM, AFFINE_SHEAR = 10.0, 0.1, 1.1, 0.1
"""Degrees, part of the side, factor, slope: about a third of AutoAugment's most (30°, 0.45, —, 0.3)."""
COLOR, HUE = 0.2, 0.05
"""Brightness, contrast and saturation times 1 ± 0.2, hue ± 0.05 turns: SimCLR's proportions (Chen et al., 2020, app. A) at
a quarter of its strength, since a translator learns to paint what it is shown."""


class Warp(NamedTuple):
    """Where each pixel comes from: (x, y) of the result ← (xx·x + xy·y + x0, yx·x + yy·y + y0) of the image.

    Six tensors (N,), in pixels from the image's centre, x to the right and y down.
    """

    xx: Tensor
    xy: Tensor
    x0: Tensor
    yx: Tensor
    yy: Tensor
    y0: Tensor

    def compose(self, other: "Warp") -> "Warp":
        """This warp and then another of its result. Spelt out: a matrix product may be rounded to TF32 on a GPU."""
        return Warp(
            self.xx * other.xx + self.xy * other.yx,
            self.xx * other.xy + self.xy * other.yy,
            self.xx * other.x0 + self.xy * other.y0 + self.x0,
            self.yx * other.xx + self.yy * other.yx,
            self.yx * other.xy + self.yy * other.yy,
            self.yx * other.x0 + self.yy * other.y0 + self.y0,
        )


@dataclass(frozen=True)
class BatchAugmentation:
    """A row of EFFECTS: how many numbers it draws for an image, and exactly one of three functions of them.

    The draws are a tensor (N, draws), uniform in [0, 1).
    """

    draws: int
    move: Callable[[Tensor, Tensor], Tensor] | None = None
    """(images, draws) → images, by whole pixels: exact, for images and label maps alike."""
    warp: Callable[[Tensor, int, int], Warp] | None = None
    """(draws, height, width) → where pixels come from."""
    colour: Callable[[Tensor, Tensor], Tensor] | None = None
    """(images in [0, 1], draws) → images in [0, 1]; never done to label maps."""


def apply_augmentations(x: Tensor, key: Tensor, name: str, effects: Iterable[str], *, labels: bool = False) -> Tensor:
    """x (N, C, H, W) in [-1, 1] → the same shape, dtype and range, each image changed by draws from its own key (N,).

    `effects`: rows of EFFECTS, done in the table's order. Images that are given the same key and name (the two sides of a
    pair) are changed alike. `labels`: x is a label map, so it keeps its set of values: geometry only, the nearest pixel.
    """
    asked = frozenset(effects)
    rows = [(BATCH_AUGMENTATIONS[row], f"{name}/{row}") for row in BATCH_AUGMENTATIONS if row in asked]
    warps = []
    for effect, draws in rows:
        if effect.move is not None:
            x = effect.move(x, keyed_random.uniform(key, draws, effect.draws))
        if effect.warp is not None:
            warps.append(effect.warp(keyed_random.uniform(key, draws, effect.draws), *x.shape[2:]))
    if warps:
        whole = warps[0]
        for warp in warps[1:]:
            whole = whole.compose(warp)
        x = resample(x, whole, nearest=labels)
    colours = [] if labels else [(effect, draws) for effect, draws in rows if effect.colour is not None]
    if colours:
        y = (x.to(torch.promote_types(x.dtype, torch.float32)) + 1) / 2
        for effect, draws in colours:
            assert effect.colour is not None
            y = effect.colour(y, keyed_random.uniform(key, draws, effect.draws).to(y.dtype))
        x = (y * 2 - 1).to(x.dtype)
    return x


def parse_augmentations(text: str) -> tuple[str, ...]:
    """The rows named by "flip,rotate", in the table's order; UsageError names what is not there and what is near it."""
    asked = [row.strip() for row in text.split(",") if row.strip()]
    for row in asked:
        if row not in BATCH_AUGMENTATIONS:
            close = difflib.get_close_matches(row, BATCH_AUGMENTATIONS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"possible: {', '.join(BATCH_AUGMENTATIONS)}"
            raise UsageError(f"--augment {text}: no effect is called {row!r}; {hint}")
    return tuple(row for row in BATCH_AUGMENTATIONS if row in asked)


def resample(x: Tensor, warp: Warp, *, nearest: bool = False) -> Tensor:
    """x (N, C, H, W) in [-1, 1], read where the warp says, beyond its edges mirrored; bicubic or the nearest pixel.

    Bicubic, as the reference resizes, and clipped where it overshoots: a photograph then keeps the differences between its
    neighbouring pixels. Linear interpolation takes a sixth of their energy, and generators would learn to paint the blur.
    """
    from kornia.geometry.transform import remap  # takes a second to import, and most trainings warp nothing

    height, width = x.shape[2:]
    columns = torch.arange(width, device=x.device, dtype=torch.float32) - (width - 1) / 2
    rows = (torch.arange(height, device=x.device, dtype=torch.float32) - (height - 1) / 2)[:, None]
    xx, xy, x0, yx, yy, y0 = (part[:, None, None] for part in warp)
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision cannot tell the pixels of a large image apart
    across = (xx * columns + xy * rows + x0).to(wide) * (2 / width)
    down = (yx * columns + yy * rows + y0).to(wide) * (2 / height)
    mode = "nearest" if nearest else "bicubic"
    y = remap(x.to(wide), across, down, mode, "reflection", align_corners=False, normalized_coordinates=True)
    return (y if nearest else y.clamp(-1, 1)).to(x.dtype)


# The rows. A draw of ½ changes nothing where both directions are possible.


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Left and right change places in half of the images."""
    return torch.where(u[:, :, None, None] < 0.5, x.flip(3), x)


def vflip(x: Tensor, u: Tensor) -> Tensor:
    """Top and bottom change places in half of the images."""
    return torch.where(u[:, :, None, None] < 0.5, x.flip(2), x)


def turn(x: Tensor, u: Tensor) -> Tensor:
    """Turned by 0, 90, 180 or 270 degrees; images that are not square by 0 or 180."""
    u = u[:, :, None, None]
    if x.shape[2] == x.shape[3]:
        x = torch.where(u % 0.5 < 0.25, x, x.rot90(1, (2, 3)))
    return torch.where(u < 0.5, x, x.flip(2, 3))


def jitter(u: Tensor, height: int, width: int) -> Warp:
    """Enlarged by 1 to JITTER, and a window of the old size somewhere in it: pix2pix's jitter with a random amount."""
    size = 1 / (1 + u[:, 0] * (JITTER - 1))
    none = torch.zeros_like(size)
    return Warp(size, none, (u[:, 1] - 0.5) * width * (1 - size), none, size, (u[:, 2] - 0.5) * height * (1 - size))


def rotate(u: Tensor, height: int, width: int) -> Warp:
    """Turned about the centre by up to ROTATION degrees."""
    return _rotation(_between(u[:, 0], ROTATION))


def affine(u: Tensor, height: int, width: int) -> Warp:
    """Turned, enlarged or reduced, sheared and shifted, each a little."""
    zoom = torch.exp(
        _between(u[:, 1], math.log(AFFINE_ZOOM))
    )  # in logarithms, so that enlarging is as likely as reducing
    shear = _between(u[:, 2], AFFINE_SHEAR)
    none = torch.zeros_like(zoom)
    shape = Warp(zoom, shear * zoom, none, none, zoom, none)
    shift = _between(u[:, 3], AFFINE_SHIFT * width), _between(u[:, 4], AFFINE_SHIFT * height)
    return _rotation(_between(u[:, 0], AFFINE_ROTATION), *shift).compose(shape)


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue of RGB, as torchvision's ColorJitter means them, in this order.

    Of any other number of channels only brightness and contrast, by the same factors in all: there is no hue in them.
    """
    brightness, contrast, saturation = (1 + _between(u[:, :3], COLOR)).unbind(1)
    if x.shape[1] != 3:  # kornia 0.8 takes the contrast about the mean of the whole batch here
        x = (x * brightness[:, None, None, None]).clamp(0, 1)
        mean = x.mean((1, 2, 3), keepdim=True)
        return (mean + contrast[:, None, None, None] * (x - mean)).clamp(0, 1)
    from kornia import enhance

    x = enhance.adjust_brightness_accumulative(x, brightness)
    x = enhance.adjust_contrast_with_mean_subtraction(x, contrast)
    x = enhance.adjust_saturation_with_gray_subtraction(x, saturation)
    return enhance.adjust_hue(x, _between(u[:, 3], HUE * 2 * math.pi))


def _between(u: Tensor, most: float) -> Tensor:
    """Draws in [0, 1) → [−most, most)."""
    return (2 * u - 1) * most


def _rotation(degrees: Tensor, x0: Tensor | None = None, y0: Tensor | None = None) -> Warp:
    angle = degrees * (math.pi / 180)
    none = torch.zeros_like(angle)
    return Warp(
        angle.cos(), -angle.sin(), none if x0 is None else x0, angle.sin(), angle.cos(), none if y0 is None else y0
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
"""In the order in which they are done."""

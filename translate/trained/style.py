"""Images that a caller gives by themselves: those to translate, and examples whose style a translation gets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate import config, images
from translate.errors import UsageError
from translate.methods.base import Method
from translate.text import one_line, printable
from translate.trained.array_images import check_tensor, prepare_array
from translate.trained.model_info import ModelInfo


def read_style_image(
    image: Image.Image | str | Path | np.ndarray | Tensor,
    channels: int,
    value_range: images.ValueRange | None,
    side: int,
) -> Tensor:
    """Return an example image as (1, C, side, side) in [-1, 1], resized by an antialiased bicubic filter.

    channels, value_range: format of its domain, as files of it are read. UsageError, which names the image, if it cannot be
    used or there are several.
    """
    x = _to_batch(image, channels, value_range)
    if len(x) != 1:
        raise UsageError(f"a style of {len(x)} images; give a single one")
    if x.shape[2:] != (side, side):
        x = F.interpolate(x.float(), (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return x


def check_style_domain(image: object, wanted: Sequence[str], method: Method) -> None:
    """Raise UsageError if an example lies in a folder with the name of another domain of the model than those that are wanted.

    The encoder of styles has an output for each domain, which says nothing of images of others. Of methods with two domains the
    names mean nothing.
    """
    if method.layout != "domains" or not isinstance(image, (str, Path)):
        return
    folder = Path(image).resolve().parent.name
    if folder in method.domains and folder not in wanted:
        raise UsageError(
            f"--style {printable(image)}: lies in a folder of domain {folder}, and a style of {wanted[0]} is asked for; give "
            f"an image of {wanted[0]}, or translate --to {folder}"
        )


def training_side(info: ModelInfo, crop_size: int) -> int:
    """Return the side of the square at which the networks of a model have seen whole images in training.

    The crop size, where the load size is only the enlargement that random crops are cut from; else the load size.
    """
    trained = info.trained_on
    if trained is None or trained["load_size"] == config.default_load_size(trained["crop_size"]):
        return crop_size
    return trained["load_size"]


def _to_batch(
    image: Image.Image | str | Path | np.ndarray | Tensor, channels: int, value_range: images.ValueRange | None
) -> Tensor:
    if isinstance(image, Tensor):
        check_tensor(image, channels)
        return image
    if isinstance(image, np.ndarray):
        batch = prepare_array(image, channels, value_range)
        return torch.stack([images.to_tensor(pixels, value_range) for pixels in batch.pixels])
    if not isinstance(image, (str, Path, Image.Image)):
        raise UsageError(
            f"a style cannot be a {type(image).__name__}; give a Pillow image, a path, a numpy array or a tensor"
        )
    how = images.Reading(channels, deep=True, value_range=value_range, require_scale=True)
    return images.to_tensor(read_picture(image, how, "--style ").pixels, value_range)[None]


def read_picture(image: Image.Image | str | Path, how: images.Reading, before: str = "") -> images.Picture:
    """Return a Pillow image, in 8 bits, or a file as a picture. UsageError, with `before` and its name, if it is unusable."""
    try:
        if isinstance(image, Image.Image):
            return images.from_opened(image, images.Reading(how.channels))
        return images.read(Path(image), how=how)
    except (images.ImageError, OSError) as e:
        name = "a Pillow image" if isinstance(image, Image.Image) else printable(image)
        raise UsageError(f"{before}{name}: {one_line(e)}") from None

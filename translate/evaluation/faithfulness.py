"""How much of its input a translation keeps, without a truth to compare with. One value an image, (N,) float64."""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate import images
from translate.errors import DataError
from translate.evaluation import paired
from translate.evaluation.input_checks import check_side, to_levels, to_uint8_batch

JPEG_QUALITY = 90

TranslateFn = Callable[[Tensor], Tensor]
"""(N, C, H, W) in [-1, 1] → the same, of the other domain."""


def edge_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of the gradient magnitudes of inputs and outputs: −1 to 1, higher is more faithful.

    Sobel's 3×3 gradients of the mean of the channels, where the operator lies wholly inside; images as `paired` takes them,
    of any numbers of channels. An image and its negative agree. 0 where one of the two has no edges at all, 1 where neither
    has. It stands in for structure distances that need a trained network; a translation that copies its input gets 1.
    DataError for unlike sizes and sides below 3 pixels.
    """
    check_side(x, 3, "edge_correlation")
    if len(x) != len(y) or x.shape[-2:] != y.shape[-2:]:
        raise DataError(
            f"edge_correlation: images of unlike shapes, {tuple(x.shape)} and {tuple(y.shape)}; an output has its input's size"
        )
    a, b = _edges(to_levels(x, "edge_correlation")), _edges(to_levels(y, "edge_correlation"))
    flat_a, flat_b = (side.abs().amax(dim=1) == 0 for side in (a, b))
    length = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    correlation = (a * b).sum(dim=1) / torch.where(flat_a | flat_b, 1, length)
    return torch.where(flat_a & flat_b, 1.0, correlation).clamp(-1, 1)


def _edges(x: Tensor) -> Tensor:
    """Gradient magnitudes less their mean: (N, C, H, W) → (N, (H − 2)(W − 2)); exactly 0 for images of constant slope."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=x.dtype, device=x.device)
    kernels = torch.stack([across, across.T])[:, None]
    magnitude = F.conv2d(x.mean(dim=1, keepdim=True), kernels).square().sum(dim=1).sqrt().flatten(1)
    centred = magnitude - magnitude.mean(dim=1, keepdim=True)
    rounding = 1e-12 * magnitude.amax(dim=1, keepdim=True)
    return torch.where(centred.abs().amax(dim=1, keepdim=True) <= rounding, 0.0, centred)


def cycle_psnr(x: Tensor, to_b: TranslateFn, to_a: TranslateFn) -> dict[str, Tensor]:
    """`cycle_psnr`: PSNR in dB between x and its way to b and back; `cycle_psnr_jpeg90`: with the image in b saved as JPEG.

    A cycle can look perfect because the input is hidden in the output's high frequencies (Chu, Zhmoginov and Sandler,
    "CycleGAN, a master of steganography", 2017, sec. 4); quality 90 with halved chroma destroys what is hidden there and
    leaves what is seen. x: (N, C, H, W), C of 1 or 3 for both domains, uint8 or in [-1, 1]; the middle image is rounded to 8
    bits in both cases, as a file would be.
    """
    start = to_uint8_batch(x, "cycle_psnr")
    with torch.no_grad():
        middle = to_uint8_batch(to_b(images.normalize(start, torch.float32)), "cycle_psnr")
        ways = {"cycle_psnr": middle, f"cycle_psnr_jpeg{JPEG_QUALITY}": jpeg_round_trip(middle)}
        return {name: paired.psnr(start, to_a(images.normalize(way, torch.float32))) for name, way in ways.items()}


def jpeg_round_trip(pixels: Tensor, quality: int = JPEG_QUALITY) -> Tensor:
    """Images (N, C, H, W) uint8, C of 1 or 3, as a JPEG with halved chroma gives them back. DataError for other C."""
    if pixels.shape[1] not in (1, 3):
        raise DataError(f"cycle_psnr: images of {pixels.shape[1]} channels; JPEG holds 1 or 3")
    saved = [_saved(image, quality) for image in pixels.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.from_numpy(np.stack(saved)).permute(0, 3, 1, 2).to(pixels.device)


def _saved(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    images.to_pil_image(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(buffer) as image:
        return np.asarray(image).reshape(pixels.shape)

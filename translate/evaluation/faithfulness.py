"""Faithfulness of translations to their inputs, where no true image is known. One value per image, (N,) float64."""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate import images, keyed_random
from translate.errors import DataError
from translate.evaluation import paired
from translate.evaluation.filters import separable_filter
from translate.evaluation.input_checks import TranslateFn, check_side, content_keys, to_levels, to_uint8_batch

JPEG_QUALITY = 90


def edge_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Return Pearson's correlation of the gradient magnitudes of inputs and outputs: −1 to 1, higher is more faithful.

    The gradients are Sobel's, 3×3, of the mean of the channels, where the operator lies wholly inside. Images are taken as
    in `paired`, with any numbers of channels. An image and its negative agree. The value is 0 where one of the two has no
    edges, 1 where neither has, and 1 for a translation that copies its input. The metric stands in for structure distances
    that need a trained network. DataError for images of different sizes and for sides below 3 pixels.
    """
    check_side(x, 3, "edge_correlation")
    if len(x) != len(y) or x.shape[-2:] != y.shape[-2:]:
        raise DataError(
            f"edge_correlation: images of different shapes, {tuple(x.shape)} and {tuple(y.shape)}; "
            "an output must have the size of its input"
        )
    a, b = _edges(to_levels(x, "edge_correlation")), _edges(to_levels(y, "edge_correlation"))
    flat_a, flat_b = (side.abs().amax(dim=1) == 0 for side in (a, b))
    length = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    correlation = (a * b).sum(dim=1) / torch.where(flat_a | flat_b, 1, length)
    return torch.where(flat_a & flat_b, 1.0, correlation).clamp(-1, 1)


def _edges(x: Tensor) -> Tensor:
    """Return gradient magnitudes less their mean: (N, C, H, W) → (N, (H − 2)(W − 2)).

    They are exactly 0 for images of constant slope.
    """
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=x.dtype, device=x.device)
    kernels = torch.stack([across, across.T])[:, None]
    magnitude = F.conv2d(x.mean(dim=1, keepdim=True), kernels).square().sum(dim=1).sqrt().flatten(1)
    centred = magnitude - magnitude.mean(dim=1, keepdim=True)
    rounding = 1e-12 * magnitude.amax(dim=1, keepdim=True)
    return torch.where(centred.abs().amax(dim=1, keepdim=True) <= rounding, 0.0, centred)


def cycle_psnr(x: Tensor, to_b: TranslateFn, to_a: TranslateFn) -> dict[str, Tensor]:
    """Return `cycle_psnr`, the PSNR in dB between x and its reconstruction, and `cycle_psnr_jpeg90`.

    For the second the translated image is saved as JPEG before it is translated back. A cycle can look perfect because the
    input is hidden in the output's high frequencies (Chu, Zhmoginov and Sandler, "CycleGAN, a master of steganography",
    2017, sec. 4); JPEG of quality 90 with halved chroma destroys what is hidden there and leaves what is seen. x: (N, C, H,
    W), C of 1 or 3 in both domains, uint8 or in [-1, 1]. The translated image is rounded to 8 bits in both cases, as a file
    would be.
    """
    start = to_uint8_batch(x, "cycle_psnr")
    with torch.no_grad():
        translated = to_uint8_batch(to_b(images.normalize(start, torch.float32)), "cycle_psnr")
        variants = {"cycle_psnr": translated, f"cycle_psnr_jpeg{JPEG_QUALITY}": jpeg_round_trip(translated)}
        return {name: paired.psnr(start, to_a(images.normalize(y, torch.float32))) for name, y in variants.items()}


def hidden_signal(
    x: Tensor,
    to_b: TranslateFn,
    to_a: TranslateFn,
    noise_levels: float = 4.0,
    jpeg_quality: int = JPEG_QUALITY,
    blur_sigma: float = 1.0,
) -> dict[str, Tensor]:
    """Return `hidden_signal_noise`, `hidden_signal_jpeg` and `hidden_signal_blur`: dB that the reconstruction loses.

    The index is PSNR of the reconstruction from the translated image, less that from the translated image after a change that
    leaves what is seen and destroys what is hidden: Gaussian noise of a standard deviation in levels of 255, JPEG with halved
    chroma, a Gaussian blur of a standard deviation in pixels. About 0 where the way back uses visible content alone; large
    where the input is hidden in the output (Chu, Zhmoginov and Sandler, 2017; Bashkirova, Usman and Saenko, "Adversarial
    Self-Defense for Cycle-Consistent GANs", NeurIPS 2019, sec. 4). Two perfect reconstructions differ by 0. x: as in
    `cycle_psnr`; the noise depends on its pixels.
    """
    start = to_uint8_batch(x, "hidden_signal")
    with torch.no_grad():
        translated = to_uint8_batch(to_b(images.normalize(start, torch.float32)), "hidden_signal")
        keys = content_keys(start).to(translated.device)
        noise = keyed_random.normal(keys, "hidden signal", *translated.shape[1:])
        changed = {
            "noise": (translated + noise_levels * noise).round().clamp(0, 255).to(torch.uint8),
            "jpeg": jpeg_round_trip(translated, jpeg_quality),
            "blur": _blurred(translated, blur_sigma),
        }
        whole = _reconstruction_psnr(start, translated, to_a)
        found = {name: _reconstruction_psnr(start, y, to_a) for name, y in changed.items()}
    return {f"hidden_signal_{name}": torch.where(whole == each, 0.0, whole - each) for name, each in found.items()}


def _reconstruction_psnr(x: Tensor, translated: Tensor, to_a: TranslateFn) -> Tensor:
    return paired.psnr(x, to_a(images.normalize(translated, torch.float32)))


def _blurred(pixels: Tensor, sigma: float) -> Tensor:
    """Blur images (N, C, H, W) uint8 by a Gaussian cut at 3 σ, with the values at the edge continued."""
    radius = math.ceil(3 * sigma)
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-radius, radius + 1)]
    padded = F.pad(pixels.double(), [radius] * 4, mode="replicate")
    return separable_filter(padded, [w / sum(weights) for w in weights]).round().to(torch.uint8)


def jpeg_round_trip(pixels: Tensor, quality: int = JPEG_QUALITY) -> Tensor:
    """Encode images (N, C, H, W) uint8 as JPEG with halved chroma and decode them. DataError unless C is 1 or 3."""
    if pixels.shape[1] not in (1, 3):
        raise DataError(f"cycle_psnr: images of {pixels.shape[1]} channels; JPEG holds 1 or 3")
    decoded = [_encode_and_decode(image, quality) for image in pixels.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(pixels.device)


def _encode_and_decode(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    images.to_pil_image(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(buffer) as image:
        return np.asarray(image).reshape(pixels.shape)

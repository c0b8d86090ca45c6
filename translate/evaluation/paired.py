"""Distances of translations to their truths, one value a pair.

All take (N, C, H, W) images, uint8 or floating point in [-1, 1]; these are rounded to 8 bits first, as a file would be. All
give (N,) float64, which depends on nothing else in the batch. DataError for pairs of unlike shapes.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from translate.errors import UsageError
from translate.evaluation.filters import separable_filter
from translate.evaluation.input_checks import check_side, pair_to_levels
from translate.nn.pretrained import PublishedWeights, read_weights, torch_hub_path

PEAK = 255.0

WINDOW = 11
"""Pixels of SSIM's Gaussian window, which weighs with σ = 1.5."""

C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
"""Wang et al. (2004), eq. 7 and the text below eq. 9: K1 = 0.01, K2 = 0.03."""

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, finest first: Wang, Simoncelli and Bovik (2003), sec. 3.2."""

LEAST_SIDE = WINDOW * 2 ** (len(SCALES) - 1)
"""Pixels of the shorter side that leave MS-SSIM a whole window at its coarsest scale."""


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference, of 255: 0 is best."""
    x, y = pair_to_levels(x, y, "l1")
    return (x - y).abs().mean(dim=(1, 2, 3))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log₁₀(255² / mean square difference); infinite for equal images."""
    x, y = pair_to_levels(x, y, "psnr")
    return 10 * (PEAK**2 / (x - y).square().mean(dim=(1, 2, 3))).log10()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each channel, averaged: at most 1, for equal images.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
    Transactions on Image Processing 13 (2004), eq. 13 with the means and variances of eq. 14 to 16, over the places where
    the whole window lies inside the image. DataError for sides below 11 pixels.
    """
    check_side(x, WINDOW, "ssim")
    luminance, structure = _similarities(*pair_to_levels(x, y, "ssim"))
    return (luminance * structure).mean(dim=(1, 2, 3))


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity at five scales, of each channel, averaged: 0 to 1, for equal images.

    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003, eq. 7:
    contrast and structure at each scale, luminance at the coarsest. A scale is halved by the mean of 2×2 pixels. A scale
    whose structures are opposed, on the mean, counts as 0. DataError for sides below 176 pixels.
    """
    check_side(x, LEAST_SIDE, "ms_ssim")
    x, y = pair_to_levels(x, y, "ms_ssim")
    product = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
    for scale, exponent in enumerate(SCALES, 1):
        luminance, structure = _similarities(x, y)
        last = scale == len(SCALES)
        mean = (luminance * structure if last else structure).mean(dim=(2, 3))
        product = product * mean.clamp(min=0) ** exponent
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product.mean(dim=1)


def _similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance (eq. 6 of Wang et al., 2004) and contrast times structure (eq. 9 and 10), one value a window's place."""
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (var_x + var_y + C2)


def _windowed(x: Tensor) -> Tensor:
    """Means over SSIM's window: (N, C, H, W) → (N, C, H − 10, W − 10)."""
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.softmax(-places.square() / (2 * 1.5**2), dim=0).tolist()
    return separable_filter(x, weights)


@dataclass(frozen=True)
class LpipsBackbone:
    """The ImageNet network under an LPIPS: a file of torchvision's."""

    weights: PublishedWeights
    min_side: int
    """Pixels below which it has no last layer left."""


def _torchvision_weights(file: str, size: int) -> PublishedWeights:
    """Return the weights whose file name ends in the first eight digits of their SHA-256."""
    return PublishedWeights(file, size, Path(file).stem.rsplit("-", 1)[1], "https://download.pytorch.org/models/")


LPIPS_BACKBONES = {
    "alex": LpipsBackbone(_torchvision_weights("alexnet-owt-7be5be79.pth", 244_408_911), 31),
    "squeeze": LpipsBackbone(_torchvision_weights("squeezenet1_1-b8a52dc0.pth", 4_966_400), 17),
    "vgg": LpipsBackbone(_torchvision_weights("vgg16-397923af.pth", 553_433_881), 16),
}


class Lpips:
    """Learned perceptual distance: callable on pairs, (N, 3, H, W) each; 0 for equal images, lower is closer.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, eq. 1, version 0.1 of
    its linear layers. `name` and `sha256` (of the backbone's file) belong to every figure it gives.
    """

    def __init__(self, name: str, sha256: str, net: torch.nn.Module, device: torch.device | str) -> None:
        self.name, self.sha256, self.net, self.device = name, sha256, net, device

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        check_side(x, LPIPS_BACKBONES[self.name].min_side, "lpips")
        if x.shape[1] != 3:
            raise UsageError(f"lpips: images of {x.shape[1]} channels; it judges colour images")
        x, y = (side.float().to(self.device) / 127.5 - 1 for side in pair_to_levels(x, y, "lpips"))
        return self.net(x, y).view(-1).double().cpu()


def load_lpips(weights: Path | None = None, device: torch.device | str = "cpu", net: str = "alex") -> Lpips:
    """LPIPS over a row of BACKBONES, whose weights are a file on this machine: nothing is downloaded.

    Without `weights` it is looked for where torchvision keeps its files. UsageError without the package or file, ModelError
    for a file with another hash.
    """
    backbone = LPIPS_BACKBONES[net]
    try:
        import lpips
    except ImportError:
        raise UsageError("lpips: needs the package lpips; uv sync --extra metrics") from None
    content, sha256 = read_weights(weights or torch_hub_path(backbone.weights.file), backbone.weights, "lpips")
    with warnings.catch_warnings():  # of the old way in which lpips asks torchvision for an empty network
        warnings.simplefilter("ignore")
        judge = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    _fill(judge.net, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    return Lpips(net, sha256, judge.to(device).eval(), device)


def _fill(net: Any, state: dict[str, Tensor]) -> None:
    """torchvision's `features.7.weight` into lpips's slices, which keep its numbers: `slice3.7.weight`."""
    net.load_state_dict({name: state["features." + name.split(".", 1)[1]] for name in net.state_dict()})

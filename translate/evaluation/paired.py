"""Distances between translations and their true images, one value per pair.

All take images (N, C, H, W), uint8 or floating point in [-1, 1]; the latter are rounded to 8 bits first, as a file would be.
All return (N,) float64; each value depends on nothing else in the batch. DataError for pairs of different shapes.
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
"""Largest value of a pixel."""

WINDOW = 11
"""Side in pixels of SSIM's Gaussian window, whose σ is 1.5."""

C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
"""Wang et al. (2004), eq. 7 and the text below eq. 9: K1 = 0.01, K2 = 0.03."""

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, finest first: Wang, Simoncelli and Bovik (2003), sec. 3.2."""

MIN_SIDE = WINDOW * 2 ** (len(SCALES) - 1)
"""Smallest side in pixels that leaves MS-SSIM a whole window at its coarsest scale."""


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference in levels of 255; 0 is best."""
    x, y = pair_to_levels(x, y, "l1")
    return (x - y).abs().mean(dim=(1, 2, 3))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB, 10 log₁₀(255² / mean square difference); infinite for equal images."""
    x, y = pair_to_levels(x, y, "psnr")
    return 10 * (PEAK**2 / (x - y).square().mean(dim=(1, 2, 3))).log10()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean structural similarity over channels: at most 1, for equal images.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
    Transactions on Image Processing 13 (2004), eq. 13 with the means and variances of eq. 14 to 16, over the places where
    the whole window lies inside the image. DataError for sides below 11 pixels.
    """
    check_side(x, WINDOW, "ssim")
    luminance, structure = _similarities(*pair_to_levels(x, y, "ssim"))
    return (luminance * structure).mean(dim=(1, 2, 3))


def psnr_y(x: Tensor, y: Tensor, border: int) -> Tensor:
    """Return the PSNR in dB of luma, without `border` pixels at each edge: the protocol of papers on super-resolution."""
    x, y = (_luma(side, border) for side in pair_to_levels(x, y, "psnr_y"))
    return 10 * (PEAK**2 / (x - y).square().mean(dim=(1, 2, 3))).log10()


def ssim_y(x: Tensor, y: Tensor, border: int) -> Tensor:
    """Return the structural similarity (`ssim`) of luma, without `border` pixels at each edge.

    DataError for sides below 11 pixels and two borders.
    """
    check_side(x, WINDOW + 2 * border, "ssim_y")
    luminance, structure = _similarities(*(_luma(side, border) for side in pair_to_levels(x, y, "ssim_y")))
    return (luminance * structure).mean(dim=(1, 2, 3))


def _luma(levels: Tensor, border: int) -> Tensor:
    """Return the luma of colour images, 16 to 235 and not rounded (ITU-R BT.601), without borders; of grey ones themselves."""
    height, width = levels.shape[2:]
    inside = levels[:, :, border : height - border, border : width - border]
    if inside.shape[1] != 3:
        return inside
    red, green, blue = inside.split(1, dim=1)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / PEAK


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean structural similarity at five scales over channels: 0 to 1, the latter for equal images.

    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003, eq. 7:
    contrast and structure at each scale, luminance at the coarsest. A scale is halved by the mean of 2×2 pixels. A scale
    with a negative mean of contrast and structure counts as 0. DataError for sides below 176 pixels.
    """
    check_side(x, MIN_SIDE, "ms_ssim")
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
    """Return luminance (eq. 6 of Wang et al., 2004) and contrast times structure (eq. 9 and 10) at each window position."""
    mean_x, mean_y = _window_means(x), _window_means(y)
    var_x, var_y = _window_means(x * x) - mean_x**2, _window_means(y * y) - mean_y**2
    covariance = _window_means(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (var_x + var_y + C2)


def _window_means(x: Tensor) -> Tensor:
    """Return the weighted means over SSIM's window: (N, C, H, W) → (N, C, H − 10, W − 10)."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.softmax(-offsets.square() / (2 * 1.5**2), dim=0).tolist()
    return separable_filter(x, weights)


@dataclass(frozen=True)
class LpipsBackbone:
    """Row of LPIPS_BACKBONES: an ImageNet network, whose weights are a file of torchvision."""

    weights: PublishedWeights
    min_side: int
    """Smallest side in pixels at which its last layer has an output."""


def _torchvision_weights(file: str, size: int) -> PublishedWeights:
    """Return the weights whose file name ends in the first eight digits of their SHA-256."""
    return PublishedWeights(file, size, Path(file).stem.rsplit("-", 1)[1], "https://download.pytorch.org/models/")


LPIPS_BACKBONES = {
    "alex": LpipsBackbone(_torchvision_weights("alexnet-owt-7be5be79.pth", 244_408_911), 31),
    "squeeze": LpipsBackbone(_torchvision_weights("squeezenet1_1-b8a52dc0.pth", 4_966_400), 17),
    "vgg": LpipsBackbone(_torchvision_weights("vgg16-397923af.pth", 553_433_881), 16),
}


class Lpips:
    """Learned perceptual image patch similarity (LPIPS), callable on pairs (N, 3, H, W); 0 for equal images, lower is closer.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, eq. 1, version 0.1 of
    its linear layers. `name` and `sha256` (of the backbone's file) belong to every value it computes.
    """

    def __init__(self, name: str, sha256: str, net: torch.nn.Module, device: torch.device | str) -> None:
        self.name, self.sha256, self.net, self.device = name, sha256, net, device

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        check_side(x, LPIPS_BACKBONES[self.name].min_side, "lpips")
        if x.shape[1] != 3:
            raise UsageError(f"lpips: images of {x.shape[1]} channels; the metric takes colour images")
        x, y = (side.float().to(self.device) / 127.5 - 1 for side in pair_to_levels(x, y, "lpips"))
        return self.net(x, y).view(-1).double().cpu()


def load_lpips(weights: Path | None = None, device: torch.device | str = "cpu", net: str = "alex") -> Lpips:
    """Load LPIPS on a row of LPIPS_BACKBONES, whose weights are a file on this machine: nothing is downloaded.

    Without `weights` the file is looked for where torchvision keeps its files. UsageError without the package, ModelError
    without the file or for a file with another hash.
    """
    backbone = LPIPS_BACKBONES[net]
    try:
        import lpips
    except ImportError:
        raise UsageError("lpips: needs the package lpips; install image-translate[metrics]") from None
    content, sha256 = read_weights(weights or torch_hub_path(backbone.weights.file), backbone.weights, "lpips")
    with warnings.catch_warnings():  # about the deprecated way in which lpips asks torchvision for an empty network
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    _load_backbone(network.net, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    return Lpips(net, sha256, network.to(device).eval(), device)


def _load_backbone(net: Any, state: dict[str, Tensor]) -> None:
    """Load torchvision's `features.7.weight` into lpips's slices, which keep its numbers: `slice3.7.weight`."""
    net.load_state_dict({name: state["features." + name.split(".", 1)[1]] for name in net.state_dict()})

"""Metrics of artefacts that a network adds to a set of translations, against real images of the same domain."""

import torch
from torch import Tensor

from translate.errors import DataError
from translate.evaluation.input_checks import check_count, check_side, to_levels, to_uint8_batch
from translate.evaluation.uncertainty import Estimate, bootstrap

MIN_SIDE = 16
"""Smallest side in pixels. Below it the rows next to the Nyquist row are no high frequencies any more."""

CHUNK = 16
"""Images that are processed at a time."""


LEAST_ENERGY = 1e-6
"""Energy in squared levels below which an image counts as having this much, far less than rounding to 8 bits leaves."""


def checkerboard(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """Return `checkerboard`, the energy of the finest patterns in translations divided by that in real images.

    Strided and transposed convolutions leave patterns of a period of two pixels (Odena, Dumoulin and Olah, "Deconvolution
    and checkerboard artifacts", Distill 2016), which are lines at the Nyquist frequency in the spectrum. 1: as in real
    images; above 1: patterns; well below 1: blur. The images are (N, C, H, W) and (M, C, H, W), uint8 or in [-1, 1], with
    sides of at least 16 pixels and at least 2 in a set. The error is that of a bootstrap over images. DataError for images
    that are too few, too small or of two sizes, and where the real images have no fine structure.
    """
    energies = _energies_of_sets(real, fake, "checkerboard")
    return {"checkerboard": bootstrap(lambda real, fake: (fake / real)[..., 0], *energies, seed=seed)}


def log_checkerboard(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """Return `log_checkerboard`, the magnitude of the natural logarithm of `checkerboard`.

    0: as in real images; patterns and blur are both above it, twice the energy as far as half of it. All else is as there.
    """
    energies = [each.clamp(min=LEAST_ENERGY) for each in _energies_of_sets(real, fake, "log_checkerboard")]
    return {"log_checkerboard": bootstrap(lambda real, fake: (fake / real).log().abs()[..., 0], *energies, seed=seed)}


def _energies_of_sets(real: Tensor, fake: Tensor, metric: str) -> list[Tensor]:
    """Return the energy of each image of two sets, (N, 1) and (M, 1)."""
    energies = [_energies(images, metric, which) for images, which in ((real, "real"), (fake, "translated"))]
    if real.shape[1:] != fake.shape[1:]:
        raise DataError(
            f"{metric}: images of different shapes, {tuple(real.shape[1:])} and {tuple(fake.shape[1:])}; "
            "the metric compares images of one size"
        )
    if energies[0].sum() == 0:
        raise DataError(f"{metric}: the real images have no fine structure; give photos of the domain")
    return energies


def _energies(images: Tensor, metric: str, which: str) -> Tensor:
    check_count(len(images), 2, metric, which)
    check_side(images, MIN_SIDE, metric)
    chunks = to_uint8_batch(images, metric).split(CHUNK)
    return torch.cat([nyquist_energy(chunk.double()) for chunk in chunks])[:, None].cpu()


def nyquist_energy(x: Tensor) -> Tensor:
    """Return the mean square at and next to the Nyquist row and column of the spectrum: (N, C, H, W) float → (N,).

    A Hann window keeps the image's borders from leaking there. It spreads a frequency over its two neighbours and no farther
    (Harris, "On the use of windows for harmonic analysis", Proc. IEEE 66, 1978, sec. V-B), so that a checkerboard of
    amplitude a gives a², and so does one of rows or of columns.
    """
    height, width = x.shape[-2:]
    windows = (torch.hann_window(side, dtype=x.dtype, device=x.device) for side in (height, width))
    window = torch.outer(*windows)
    spectrum = torch.fft.fft2((x - x.mean(dim=(2, 3), keepdim=True)) * window).abs().square()
    rows, columns = (_near_nyquist(side).to(x.device) for side in (height, width))
    near = rows[:, None] | columns
    return (spectrum * near).sum(dim=(2, 3)).mean(dim=1) / (height * width * window.square().sum())


def _near_nyquist(side: int) -> Tensor:
    """Return a mask (side,) of the frequencies k / side that are at most 1 / side below one half."""
    steps = (torch.fft.fftfreq(side, dtype=torch.float64) * side).abs()
    return steps >= side / 2 - 1


def colour(real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """Return `colour_shift`, ΔE between the mean colours of two sets, and `colour_spread`, between their standard deviations.

    ΔE is the distance in CIE 1976 L*a*b* (ISO/CIE 11664-4), of which about 2.3 can just be seen (Mahy, Van Eycken and
    Oosterlinck, 1994). Mean and deviation of each channel are the colour statistics of Reinhard et al., "Color transfer
    between images", IEEE CG&A 21 (2001), sec. 2. At least 0, lower is closer. The images are sRGB or grey, (N, C, H, W),
    uint8 or in [-1, 1], at least 2 in a set, of any sizes. The error is that of a bootstrap over images. DataError for
    fewer images and for other numbers of channels than 1 and 3.
    """
    real_moments, fake_moments = _lab_moments(real, "real"), _lab_moments(fake, "translated")
    return {
        "colour_shift": bootstrap(
            lambda real, fake: (real[..., :3] - fake[..., :3]).norm(dim=-1), real_moments, fake_moments, seed=seed
        ),
        "colour_spread": bootstrap(
            lambda real, fake: (_deviation(real) - _deviation(fake)).norm(dim=-1), real_moments, fake_moments, seed=seed
        ),
    }


def _lab_moments(images: Tensor, which: str) -> Tensor:
    """Return the means of L*, a* and b* over each image, and of their squares: (N, 6)."""
    from kornia.color import rgb_to_lab  # takes a second to import

    check_count(len(images), 2, "colour", which)
    if images.shape[1] not in (1, 3):
        raise DataError(f"colour: {which} images of {images.shape[1]} channels; the metric takes 1 or 3")
    moments = []
    for chunk in images.split(CHUNK):
        lab = rgb_to_lab(to_levels(chunk, "colour").expand(-1, 3, -1, -1) / 255).flatten(2)
        moments.append(torch.cat([lab.mean(dim=2), lab.square().mean(dim=2)], dim=1))
    return torch.cat(moments).cpu()


def _deviation(moments: Tensor) -> Tensor:
    """Return the standard deviation of each channel over all pixels of a set: (..., 6) → (..., 3)."""
    return (moments[..., 3:] - moments[..., :3].square()).clamp(min=0).sqrt()

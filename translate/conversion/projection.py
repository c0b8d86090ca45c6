"""Projection: the style code whose generated image looks most like a given one (Karras et al., "Analyzing and Improving the
Image Quality of StyleGAN", CVPR 2020, appendix D; constants as in the official code, but for the number of steps)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import atomic, config, images, keyed_random
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.conversion.options import make_mark
from translate.errors import UsageError
from translate.images import Metadata, Picture
from translate.nn.features import FEATURE_NETWORKS, find_features, load_features
from translate.trained.sampler import ImageSampler
from translate.trained.style import read_style_image

AVERAGED = 10_000
"""Style codes of which the average and the deviation are taken."""
NOISE = 0.05
"""Noise that is added to the code in the first step, as a share of the deviation of codes."""
NOISE_END, RAMP_UP, RAMP_DOWN = 0.75, 0.05, 0.25
"""Shares of the steps: in which the noise falls to zero, in which the rate rises, and in which it falls."""
FEATURE_SIDE = 64
"""Smallest side in pixels at which images are compared; smaller ones are enlarged."""
STEPS_AT_ONCE = 10
"""Steps from one report of progress to the next."""


@dataclass(frozen=True)
class ProjectionOptions:
    """Options of a projection. Raises UsageError that names the flag where a value is not possible."""

    steps: int = option(300, "steps of the search; 1000 in the paper", low=1, group="Images")
    lr: float = option(0.1, "largest learning rate of the search", low=0, group="Images")
    seed: int = option(0, "seed of the noise in the search", group="Images")
    features: str = option(
        "efficientnet-lite0",
        "name or weights file of the network that compares the images",
        choices=FEATURE_NETWORKS,
        accepts=find_features,
        group="Images",
    )
    overwrite: bool = option(False, "replace existing files", group="Output")
    mark: bool = option(True, "say in the metadata of the image that a model generated it", group="Output")

    def __post_init__(self) -> None:
        config.check_options(self)


@dataclass
class ProjectionResult:
    """Files of a projection, and how near it came."""

    output: Path
    """The generated image."""
    codes: Path
    """Its style code: a .npy file of an array (1, D)."""
    distance: float
    """Perceptual distance of the generated image from the given one."""
    average_distance: float
    """That of the image of the average code, from which the search begins."""
    seconds: float = 0.0


def project_image(
    sampler: ImageSampler,
    image: Path,
    output: Path,
    options: ProjectionOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
) -> ProjectionResult:
    """Search the style code of an image, and write the image that it generates, a PNG, with the code beside it.

    UsageError if the model has no styles, if the image cannot be used, or if a file exists.
    """
    began = time.monotonic()
    sampler.check_styles("translate project")
    if images.extension(output) != "png":
        raise UsageError(f"{output}: a projection is a PNG; give a name that ends in .png")
    codes_file = output.with_suffix(".npy")
    for path in (output, codes_file):
        if path.exists() and not options.overwrite:
            raise UsageError(f"{path}: exists; --overwrite replaces it")
    method = sampler.method
    (domain,) = method.domains.values()
    value_range = None if domain.range is None else config.parse_range(domain.range)
    target = read_style_image(image, domain.channels, value_range, method.size_rule["minimum"])
    features = load_features(options.features).to(sampler.device)
    found = find_code(sampler, target, features, options, progress)
    with atomic.storage_errors(output.parent):
        mark = Metadata().with_mark(make_mark(method.name, sampler.sha256, images.GENERATED)) if options.mark else None
        picture = Picture(images.to_array(sampler.from_styles(found.code)[0], np.dtype("uint8")), metadata=mark)
        encoded = BytesIO()
        np.save(encoded, found.code.float().cpu().numpy())
        atomic.write(codes_file, encoded.getvalue())
        atomic.write(output, images.encode(picture, "png"))
    return ProjectionResult(output, codes_file, found.distance, found.average_distance, time.monotonic() - began)


@dataclass
class FoundCode:
    """Result of a search."""

    code: Tensor
    """Style code (1, D)."""
    distance: float
    average_distance: float


def find_code(
    sampler: ImageSampler,
    target: Tensor,
    features: nn.Module,
    options: ProjectionOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
) -> FoundCode:
    """Return the style code of which the image is nearest to `target` (1, C, H, W), by Adam from the average code on.

    The best code of all steps, by its distance without noise.
    """
    device, dtype = sampler.device, sampler.precision.weights
    target = target.to(device, dtype)
    sampled = sampler.styles(range(AVERAGED), options.seed).to(dtype).clone()
    average, deviation = sampled.mean(0, keepdim=True), sampled.std().clone()
    with torch.no_grad():
        compare = perceptual_distance(features, target)
        begin = float(compare(sampler.method.sample_styles(average)))
    best, nearest = average, begin
    code = average.clone().requires_grad_()
    adam = torch.optim.Adam([code], options.lr, betas=(0.9, 0.999))
    for step in range(options.steps):
        share = step / options.steps
        adam.param_groups[0]["lr"] = options.lr * rate_factor(share)
        key = keyed_random.image_keys(options.seed, torch.tensor([step], device=device))
        noise = keyed_random.normal(key, "projection", code.shape[1]).to(dtype) * deviation
        scale = NOISE * max(0.0, 1 - share / NOISE_END) ** 2
        loss = compare(sampler.method.sample_styles(code + scale * noise))
        (code.grad,) = torch.autograd.grad(loss, code)
        adam.step()
        if (step + 1) % STEPS_AT_ONCE == 0 or step + 1 == options.steps:
            with torch.no_grad():
                distance = float(compare(sampler.method.sample_styles(code)))
            if distance < nearest:
                best, nearest = code.detach().clone(), distance
            progress(step + 1, 0, options.steps)
    return FoundCode(best, nearest, begin)


def rate_factor(share: float) -> float:
    """Return the factor of the learning rate after a share of the steps: it rises linearly, and falls as a cosine."""
    falling = min(1.0, (1 - share) / RAMP_DOWN)
    return (0.5 - 0.5 * math.cos(falling * math.pi)) * min(1.0, share / RAMP_UP)


def perceptual_distance(features: nn.Module, target: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the distance of images (1, C, H, W) from `target`: mean squares of differences of pixels and of feature maps."""

    def views(x: Tensor) -> list[Tensor]:
        side = max(FEATURE_SIDE, x.shape[-1])
        enlarged = F.interpolate(x, (side, side), mode="bilinear", align_corners=False) if side > x.shape[-1] else x
        maps: list[Tensor] = features(enlarged)
        return [x, *maps]

    wanted = views(target)

    def distance(x: Tensor) -> Tensor:
        return torch.stack([(a - b).square().mean() for a, b in zip(views(x), wanted, strict=True)]).sum()

    return distance

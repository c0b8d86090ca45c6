"""Degradations: how the input of a super-resolution network is made from a photo, a function of the photo and its key.

All sizes follow from the size of the photo, whatever is drawn: images that are resized by a random factor lie in the corner of
a canvas that holds the largest, and their last pixels are repeated beside them. So a step does the same operations each time,
and what becomes of an image depends on nothing else in its batch.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn.bicubic import resize_bicubic
from translate.nn.jpeg import JpegCompression, round_straight

KERNEL_RADIUS = 10
"""Largest radius of a blur kernel, in pixels; its side is 7 to 21."""
MIN_KERNEL_RADIUS = 3

LEVELS = 255
"""Steps from black to white of a degraded image: it is rounded to 8 bits, as the files that a user has."""


class Degradation(nn.Module):
    """Base class of the rows of DEGRADATIONS: photos (N, C, H, W) in [-1, 1] and keys (N,) → (N, C, H / factor, W / factor).

    The result is in [-1, 1] and in 8 bits; gradients pass where it rounds. H and W are multiples of the factor. No weights.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, key: Tensor) -> Tensor:
        with _autocast_off(x):
            share = (self.degrade((x.to(torch.promote_types(x.dtype, torch.float32)) + 1) / 2, key)).clamp(0, 1)
            return (round_straight(share * LEVELS) / LEVELS * 2 - 1).to(x.dtype)

    def degrade(self, x: Tensor, key: Tensor) -> Tensor:
        """Degrade images x (N, C, H, W) in [0, 1]; the result may leave that range."""
        raise NotImplementedError


class BicubicDegradation(Degradation):
    """Antialiased bicubic reduction (`nn.bicubic`), the degradation of benchmarks; nothing random."""

    def degrade(self, x: Tensor, key: Tensor) -> Tensor:
        return resize_bicubic(x, x.shape[2] // self.factor, x.shape[3] // self.factor)


@dataclass(frozen=True)
class DegradationStage:
    """Settings of one of the two rounds of blur, resizing, noise and compression."""

    blur: float
    """Probability of a blur."""
    sigma: tuple[float, float]
    """Standard deviation of the blur kernels, in pixels."""
    up: float
    """Probability that the image is enlarged."""
    down: float
    """Probability that it is reduced; else it keeps its size."""
    sizes: tuple[float, float]
    """Smallest and largest size of its result, in units of the size it would keep."""
    noise: tuple[float, float]
    """Standard deviation of Gaussian noise, in levels of 255."""
    poisson: tuple[float, float]
    """Scale of Poisson noise."""


FIRST = DegradationStage(1.0, (0.2, 3.0), 0.2, 0.7, (0.15, 1.5), (1, 30), (0.05, 3.0))
SECOND = DegradationStage(0.8, (0.2, 1.5), 0.3, 0.4, (0.3, 1.2), (1, 25), (0.05, 2.5))
"""Settings of Real-ESRGAN: Wang, Xie, Dong and Shan, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure
Synthetic Data" (ICCVW 2021), sec. 3 and 4.1, and its published configuration."""

SINC = 0.1
"""Probability that a blur is a sinc filter."""
FINAL_SINC = 0.8
"""Probability of a sinc filter at the end."""
GREY_NOISE = 0.4
"""Probability that noise is the same in all channels."""
QUALITIES = 30, 95
"""Lowest and highest quality of JPEG."""
POISSON_LEVELS = 256
"""Photons of white in Poisson noise of scale 1."""


class RealDegradation(Degradation):
    """Degradation of photos of unknown origin, in two rounds (Real-ESRGAN, fig. 2).

    Each is a blur, resizing by a random factor, noise and JPEG. At the end the image is resized to its size and a sinc filter
    rings, before or after the last JPEG. Poisson noise is drawn from the normal distribution of the same variance.
    """

    def __init__(self, factor: int) -> None:
        super().__init__(factor)
        self.jpeg = JpegCompression()

    def degrade(self, x: Tensor, key: Tensor) -> Tensor:
        size = x.shape[2] // self.factor, x.shape[3] // self.factor
        draw = _Draws(key, x.dtype)
        image = _Canvas.whole(x)
        image = self._round(image, FIRST, (x.shape[2], x.shape[3]), draw.named("first"))
        image = image.with_pixels(self.jpeg(image.pixels.clamp(0, 1), draw.integer("first/quality", *QUALITIES)))
        image = self._round(image, SECOND, size, draw.named("second"))
        # Both orders of the last three operations, each where it is drawn.
        quality, jpeg_last = draw.integer("last/quality", *QUALITIES), draw("last/order") < 0.5
        early = torch.where(_spread(jpeg_last), image.pixels, self.jpeg(image.pixels.clamp(0, 1), quality))
        full = draw.like_all(size)
        small = image.with_pixels(early).resized(size, full, draw.integer("last/filter", 0, 2))
        ringing = sinc_kernel(draw.radius("last"), draw.between("last/cutoff", math.pi / 3, math.pi))
        kept = draw("last/sinc") < FINAL_SINC
        result = blur(small.pixels, torch.where(kept[:, None, None], ringing, _identity_kernel(ringing)))
        return torch.where(_spread(jpeg_last), self.jpeg(result.clamp(0, 1), quality), result)

    def _round(self, image: "_Canvas", stage: DegradationStage, size: tuple[int, int], draw: "_Draws") -> "_Canvas":
        """Blur, resize and add noise; `size`: height and width that the result has where the draw keeps the size."""
        kernel = _draw_kernel(stage, draw)
        blurred = image.with_pixels(blur(image.pixels, kernel))
        canvas = math.ceil(size[0] * stage.sizes[1]), math.ceil(size[1] * stage.sizes[1])
        ratio = _draw_ratio(stage, draw)
        lengths = [(ratio * length).floor().clamp(min=1) for length in size]
        resized = blurred.resized(canvas, (lengths[0], lengths[1]), draw.integer("filter", 0, 2))
        return resized.with_pixels(_add_noise(resized.pixels.clamp(0, 1), stage, draw))


DEGRADATIONS: dict[str, type[Degradation]] = {"bicubic": BicubicDegradation, "real": RealDegradation}
"""Ways to make the input of a super-resolution network from a photo."""


@dataclass(frozen=True)
class _Draws:
    """Random draws of each image of a batch, by its key (N,)."""

    key: Tensor
    dtype: torch.dtype
    prefix: str = ""

    def named(self, name: str) -> "_Draws":
        return _Draws(self.key, self.dtype, f"{self.prefix}{name}/")

    def __call__(self, name: str) -> Tensor:
        """Draw from [0, 1), (N,)."""
        return keyed_random.uniform(self.key, f"degradation {self.prefix}{name}", 1)[:, 0].to(self.dtype)

    def between(self, name: str, low: float | Tensor, high: float | Tensor) -> Tensor:
        return low + (high - low) * self(name)

    def integer(self, name: str, low: int, high: int) -> Tensor:
        """Draw a whole number from low to high, both included, (N,)."""
        return (low + (high - low + 1) * self(name)).floor()

    def radius(self, name: str) -> Tensor:
        return self.integer(f"{name}/radius", MIN_KERNEL_RADIUS, KERNEL_RADIUS)

    def normal(self, name: str, *shape: int) -> Tensor:
        return keyed_random.normal(self.key, f"degradation {self.prefix}{name}", *shape).to(self.dtype)

    def like_all(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return a height and a width for all images, (N,) each."""
        ones = torch.ones_like(self.key, dtype=self.dtype)
        return ones * size[0], ones * size[1]


@dataclass(frozen=True)
class _Canvas:
    """Images of one batch and of several sizes, in the upper left corner of maps of one size."""

    pixels: Tensor
    """Maps (N, C, H, W); beside the images their last pixels are repeated."""
    height: Tensor
    """Heights of the images, (N,)."""
    width: Tensor

    @staticmethod
    def whole(x: Tensor) -> "_Canvas":
        """Return images that fill their maps."""
        ones = torch.ones_like(x[:, 0, 0, 0])
        return _Canvas(x, ones * x.shape[2], ones * x.shape[3])

    def with_pixels(self, pixels: Tensor) -> "_Canvas":
        return _Canvas(pixels, self.height, self.width)

    def resized(self, canvas: tuple[int, int], size: tuple[Tensor, Tensor], kind: Tensor) -> "_Canvas":
        """Resize each image to its own height and width, (N,) each, on maps of the size `canvas`; `kind`: see below."""
        rows = resizing_matrix(self.pixels.shape[2], self.height, canvas[0], size[0], kind)
        columns = resizing_matrix(self.pixels.shape[3], self.width, canvas[1], size[1], kind)
        return _Canvas(rows[:, None] @ self.pixels @ columns[:, None].transpose(2, 3), *size)


def resizing_matrix(given: int, length: Tensor, wanted: int, new_length: Tensor, kind: Tensor) -> Tensor:
    """Return matrices (N, wanted, given) that resize the first `length` of `given` values to the first `new_length`.

    kind (N,): 0 averages over the area of a pixel, 1 interpolates linearly, 2 cubically (a = −0.75), both at the pixel's middle
    alone, so that they alias when they reduce. Beyond a border weights are left out. Values behind the last repeat it.
    """
    dtype, device = length.dtype, length.device
    place = torch.arange(given, dtype=dtype, device=device)[None, None, :]
    out = torch.arange(wanted, dtype=dtype, device=device)[None, :, None]
    out = torch.minimum(out, new_length[:, None, None] - 1)
    step = (length / new_length)[:, None, None]
    start = out * step
    area = (torch.minimum(start + step, place + 1) - torch.maximum(start, place)).clamp(min=0)
    distance = (start + step / 2 - 0.5 - place).abs()
    linear, cubic = (1 - distance).clamp(min=0), _keys_kernel(distance, -0.75)
    kinds = kind[:, None, None]
    weights = torch.where(kinds == 0, area, torch.where(kinds == 1, linear, cubic))
    weights = weights * (place < length[:, None, None]).to(dtype)
    return weights / weights.sum(2, keepdim=True)


def _keys_kernel(distance: Tensor, a: float) -> Tensor:
    """Return Keys' cubic kernel (1981, eq. 4) at distances (≥ 0) in pixels."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def _draw_ratio(stage: DegradationStage, draw: _Draws) -> Tensor:
    """Draw the factor of the size, (N,)."""
    choice, low, high = draw("resize"), *stage.sizes
    up, down = draw.between("up", 1, high), draw.between("down", low, 1)
    return torch.where(choice < stage.up, up, torch.where(choice < stage.up + stage.down, down, torch.ones_like(up)))


def _draw_kernel(stage: DegradationStage, draw: _Draws) -> Tensor:
    """Draw a blur kernel, (N, 21, 21): a sinc filter, a Gaussian, a generalised Gaussian or a plateau; or the identity."""
    radius, kind = draw.radius("kernel"), draw("kind")
    # .45 and .25 Gaussians, .12 and .03 generalised ones, .12 and .03 plateaus: of one width, or of two
    has_two = ((kind >= 0.45) & (kind < 0.70)) | ((kind >= 0.82) & (kind < 0.85)) | (kind >= 0.97)
    is_plateau = kind >= 0.85
    widths = [draw.between(f"sigma {axis}", *stage.sigma) for axis in (0, 1)]
    angle = draw.between("angle", -math.pi, math.pi)
    largest = torch.where(is_plateau, torch.full_like(kind, 2), torch.full_like(kind, 4))
    smallest = torch.where(is_plateau, torch.ones_like(kind), torch.full_like(kind, 0.5))
    exponent = torch.where(
        draw("exponent side") < 0.5,
        draw.between("exponent", smallest, torch.ones_like(kind)),
        draw.between("exponent", torch.ones_like(kind), largest),
    )
    exponent = torch.where(kind < 0.70, torch.ones_like(kind), exponent)
    second = torch.where(has_two, widths[1], widths[0])
    gaussian = gaussian_kernel(radius, (widths[0], second), angle, exponent, is_plateau)
    lowest_cutoff = torch.where(radius < 6, torch.full_like(kind, math.pi / 3), torch.full_like(kind, math.pi / 5))
    sinc = sinc_kernel(radius, draw.between("cutoff", lowest_cutoff, torch.full_like(kind, math.pi)))
    kernel = torch.where((draw("sinc") < SINC)[:, None, None], sinc, gaussian)
    return torch.where((draw("blur") < stage.blur)[:, None, None], kernel, _identity_kernel(kernel))


def _offsets(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of a kernel around its middle, (1, 21, 1) and (1, 1, 21)."""
    line = torch.arange(-KERNEL_RADIUS, KERNEL_RADIUS + 1, dtype=like.dtype, device=like.device)
    return line[None, :, None], line[None, None, :]


def _cut_and_normalised(kernel: Tensor, radius: Tensor) -> Tensor:
    """Return kernels (N, 21, 21) without what lies beyond their radius (N,), with the sum 1."""
    y, x = _offsets(kernel)
    inside = torch.maximum(y.abs(), x.abs()) <= radius[:, None, None]
    kept = kernel * inside.to(kernel.dtype)
    return kept / kept.sum((1, 2), keepdim=True)


def _identity_kernel(like: Tensor) -> Tensor:
    y, x = _offsets(like)
    return ((y == 0) & (x == 0)).to(like.dtype).expand_as(like)


def gaussian_kernel(
    radius: Tensor, sigma: tuple[Tensor, Tensor], angle: Tensor, exponent: Tensor, is_plateau: Tensor
) -> Tensor:
    """Return kernels (N, 21, 21) of the quadratic form q of two standard deviations and an angle (Real-ESRGAN, sec. 3.1).

    exp(−q^β / 2), with β = 1 a Gaussian; or a plateau, 1 / (1 + q^β). All arguments are (N,).
    """
    y, x = _offsets(radius)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    q = (along / sigma[0][:, None, None]) ** 2 + (across / sigma[1][:, None, None]) ** 2
    power = q ** exponent[:, None, None]
    kernel = torch.where(is_plateau[:, None, None], 1 / (1 + power), (-power / 2).exp())
    return _cut_and_normalised(kernel, radius)


def sinc_kernel(radius: Tensor, cutoff: Tensor) -> Tensor:
    """Return ideal circular low-pass filters, (N, 21, 21): ω J₁(ω r) / (2π r) (Real-ESRGAN, eq. 6).

    cutoff (N,): ω in radians a pixel; radius (N,) where they are cut.
    """
    y, x = _offsets(radius)
    distance, omega = (y**2 + x**2).sqrt(), cutoff[:, None, None]
    safe = torch.where(distance == 0, torch.ones_like(distance), distance)
    kernel = omega * torch.special.bessel_j1(omega * safe) / (2 * math.pi * safe)
    return _cut_and_normalised(torch.where(distance == 0, omega**2 / (4 * math.pi), kernel), radius)


def blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each image of x (N, C, H, W) with its own symmetric kernel (N, 21, 21); borders are repeated."""
    n, channels = x.shape[:2]
    padded = F.pad(x, [KERNEL_RADIUS] * 4, mode="replicate")
    weight = kernel[:, None].expand(-1, channels, -1, -1).reshape(n * channels, 1, *kernel.shape[1:])
    return F.conv2d(padded.reshape(1, n * channels, *padded.shape[2:]), weight, groups=n * channels).reshape(x.shape)


def _add_noise(x: Tensor, stage: DegradationStage, draw: _Draws) -> Tensor:
    """Add Gaussian or Poisson noise, each for half of the images, to x (N, C, H, W) in [0, 1]."""
    values = draw.normal("noise", *x.shape[1:])
    values = torch.where(_spread(draw("grey noise") < GREY_NOISE), values[:, :1], values)
    gaussian = _spread(draw.between("noise level", *stage.noise) / 255)
    poisson = (x.detach() / POISSON_LEVELS).sqrt() * _spread(draw.between("poisson scale", *stage.poisson))
    return x + values * torch.where(_spread(draw("noise kind") < 0.5), gaussian, poisson)


def _spread(x: Tensor) -> Tensor:
    """Return numbers (N,) as (N, 1, 1, 1)."""
    return x[:, None, None, None]


def _autocast_off(x: Tensor) -> AbstractContextManager[object]:
    """Return a context without automatic mixed precision, whose few bits are coarser than 8 bits of an image."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()

"""CIELAB colours of sRGB images: conversion both ways, and the shrinking of colours into the gamut of sRGB.

All functions are differentiable, take any floating-point type and compute in float32 at least. The white is that of the matrix
itself, so that a grey has a* = b* = 0 but for rounding: kornia's conversion rounds the matrix, its white and the constants of
L* apart, clips Z, which changes L*, and copies a table to the device at each call.
"""

from typing import NamedTuple

import torch
from torch import Tensor

RGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
"""Matrix from linear sRGB to XYZ (IEC 61966-2-1, Amendment 1)."""

_WHITE = tuple(sum(row) for row in RGB_TO_XYZ)
_TO_RELATIVE = [[x / white for x in row] for row, white in zip(RGB_TO_XYZ, _WHITE, strict=True)]
"""Matrix from linear sRGB to XYZ over that of white."""
_FROM_RELATIVE = torch.linalg.inv(torch.tensor(_TO_RELATIVE, dtype=torch.float64)).tolist()

_DELTA = 6 / 29
"""Value of f below which it is linear (CIE 15:2004, eq. 8.6)."""

_BISECTIONS = 16
"""Halvings of the interval that holds the edge of the gamut, before Newton's step, which doubles the digits."""
_TOLERANCE = 1e-6
"""Distance of a linear component from [0, 1] that counts as rounding."""


def srgb_to_linear(x: Tensor) -> Tensor:
    """Convert sRGB in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    return torch.where(x > 0.04045, ((x.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, x / 12.92)


def linear_to_srgb(x: Tensor) -> Tensor:
    """Convert linear light in [0, 1] to sRGB in [0, 1], the inverse of `srgb_to_linear`."""
    edge = 0.04045 / 12.92
    return torch.where(x > edge, 1.055 * x.clamp_min(edge) ** (1 / 2.4) - 0.055, 12.92 * x)


def lightness(image: Tensor) -> Tensor:
    """Return L* (N, 1, H, W), 0 to 100, of images (N, 3, H, W) in [-1, 1]."""
    return 116 * _f(_mix(_TO_RELATIVE[1], *_linear(image))) - 16


def image_to_lab(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return L* (N, 1, H, W), 0 to 100, and a* and b* (N, 2, H, W), about ±110, of images (N, 3, H, W) in [-1, 1]."""
    linear = _linear(image)
    fx, fy, fz = (_f(_mix(row, *linear)) for row in _TO_RELATIVE)
    return 116 * fy - 16, torch.cat([500 * (fx - fy), 200 * (fy - fz)], 1)


def grey_image(light: Tensor) -> Tensor:
    """Return the grey images (N, 3, H, W) in [-1, 1] with L* (N, 1, H, W)."""
    luminance = _f_inverse((light + 16) / 116)
    return (2 * linear_to_srgb(luminance) - 1).repeat(1, 3, 1, 1)


def lab_to_image(light: Tensor, ab: Tensor) -> Tensor:
    """Return the images (N, 3, H, W) in [-1, 1] with L* (N, 1, H, W) and a* and b* (N, 2, H, W).

    A colour beyond the gamut of sRGB is shrunk towards grey: L* and hue stay.
    """
    wide = torch.promote_types(torch.promote_types(light.dtype, ab.dtype), torch.float32)
    light, ab = light.to(wide), ab.to(wide)
    linear = torch.cat(_linear_rgb(_Ray(light, ab), shrinkage(light, ab)), 1)
    return 2 * linear_to_srgb(linear.clamp(0, 1)) - 1


def shrinkage(light: Tensor, ab: Tensor) -> Tensor:
    """Return the factor t (N, 1, H, W), 0 to 1, of a* and b* with which a colour is in the gamut of sRGB: 1 if it is there.

    Else t · (a*, b*) lies on the edge. The edge is found by bisection without a graph, and then by one step of Newton's method
    with it, which makes the gradient that of the implicit function: the edge moves with L*, a* and b*.
    """
    ray = _Ray(light, ab)
    with torch.no_grad():
        inside, outside = torch.zeros_like(light), torch.ones_like(light)
        is_in_gamut = _is_in_gamut(_linear_rgb(ray, outside), _TOLERANCE)
        for _ in range(_BISECTIONS):
            middle = (inside + outside) / 2
            is_inside = _is_in_gamut(_linear_rgb(ray, middle))
            inside, outside = torch.where(is_inside, middle, inside), torch.where(is_inside, outside, middle)
        beyond = _signed_excess(_linear_rgb(ray, outside))
        edge = beyond.argmax(1, keepdim=True)
        slopes = _slopes(ray, outside)
        slope = torch.cat([-slopes, slopes], 1).gather(1, edge)
    excess = _signed_excess(_linear_rgb(ray, outside)).gather(1, edge)
    newton = outside - excess / slope.clamp_min(_TOLERANCE)
    return torch.where(is_in_gamut, torch.ones_like(light), newton.clamp(0, 1))


class _Ray(NamedTuple):
    """Colours of one hue and lightness: t · (a*, b*), from grey at t = 0 on."""

    light: Tensor
    ab: Tensor


def _linear(image: Tensor) -> tuple[Tensor, ...]:
    """Return linear red, green and blue (N, 1, H, W) of images (N, 3, H, W) in [-1, 1]."""
    wide = image.to(torch.promote_types(image.dtype, torch.float32))
    return srgb_to_linear((wide + 1) / 2).split(1, dim=1)


def _mix(weights: list[float], *channels: Tensor) -> Tensor:
    first, second, third = (weight * x for weight, x in zip(weights, channels, strict=True))
    return first + second + third


def _f(x: Tensor) -> Tensor:
    """Return the function f of CIELAB: the cube root, but linear near 0."""
    return torch.where(x > _DELTA**3, x.clamp_min(_DELTA**3) ** (1 / 3), x / (3 * _DELTA**2) + 4 / 29)


def _f_inverse(x: Tensor) -> Tensor:
    return torch.where(x > _DELTA, x * x * x, 3 * _DELTA**2 * (x - 4 / 29))


def _f_inverse_slope(x: Tensor) -> Tensor:
    return 3 * x.clamp_min(_DELTA).square()


def _functions(ray: _Ray, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return f(X/Xn), f(Y/Yn) and f(Z/Zn) of the colours t · (a*, b*)."""
    fy, (a, b) = (ray.light + 16) / 116, ray.ab.split(1, dim=1)
    return fy + t * a / 500, fy, fy - t * b / 200


def _linear_rgb(ray: _Ray, t: Tensor) -> list[Tensor]:
    """Return linear red, green and blue (N, 1, H, W) of the colours t · (a*, b*), beyond [0, 1] where they are no colours."""
    xyz = [_f_inverse(f) for f in _functions(ray, t)]
    return [_mix(row, *xyz) for row in _FROM_RELATIVE]


def _slopes(ray: _Ray, t: Tensor) -> Tensor:
    """Return the derivatives (N, 3, H, W) of `_linear_rgb` by t."""
    (fx, _, fz), (a, b) = _functions(ray, t), ray.ab.split(1, dim=1)
    x, z = _f_inverse_slope(fx) * a / 500, -_f_inverse_slope(fz) * b / 200
    return torch.cat([row[0] * x + row[2] * z for row in _FROM_RELATIVE], 1)


def _signed_excess(linear: list[Tensor]) -> Tensor:
    """Return how far each component is below 0 and above 1 (N, 6, H, W); negative inside."""
    rgb = torch.cat(linear, 1)
    return torch.cat([-rgb, rgb - 1], 1)


def _is_in_gamut(linear: list[Tensor], tolerance: float = 0.0) -> Tensor:
    """Return where all components are in [0, 1] (N, 1, H, W)."""
    red, green, blue = linear
    lowest, highest = torch.minimum(torch.minimum(red, green), blue), torch.maximum(torch.maximum(red, green), blue)
    return (lowest >= -tolerance) & (highest <= 1 + tolerance)

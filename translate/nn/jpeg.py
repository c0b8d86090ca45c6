"""JPEG compression of images on the device: what encoding and decoding does to the pixels, with a quality for each image.

ITU-T T.81 (1992), sec. A.3.3 and A.3.4 and Annex K; JFIF 1.02 for the colours. Coefficients are rounded as a coder does; the
differentiable codec of kornia rounds them softly, so its blocks keep what a file loses.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 8
"""Pixels a side of a block."""

_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""T.81, table K.1."""
_CHROMINANCE_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
"""T.81, table K.2, whose other values are all 99."""

_RGB_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_YCBCR_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
"""JFIF 1.02, page 3, for Cb and Cr around 0."""


class JpegCompression(nn.Module):
    """Function of images (N, C, H, W) in [0, 1] and qualities (N,) from 1 to 100 → the decoded images, (N, C, H, W) in [0, 1].

    Three channels are RGB, coded as YCbCr with colours at half the size (4:2:0), which decoding interpolates linearly as
    libjpeg does. Any other number of channels are coded as grey images. Gradients pass where it rounds. It has no weights: its
    tables are in no state dict.
    """

    luminance: Tensor
    chrominance: Tensor
    dct: Tensor
    to_ycbcr: Tensor
    to_rgb: Tensor

    def __init__(self) -> None:
        super().__init__()
        chrominance = torch.full((BLOCK, BLOCK), 99.0)
        chrominance[:4, :4] = torch.tensor(_CHROMINANCE_CORNER, dtype=torch.float32)
        tables = {
            "luminance": torch.tensor(_LUMINANCE, dtype=torch.float32).view(BLOCK, BLOCK),
            "chrominance": chrominance,
            "dct": _dct_matrix(),
            "to_ycbcr": torch.tensor(_RGB_TO_YCBCR),
            "to_rgb": torch.tensor(_YCBCR_TO_RGB),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        height, width = x.shape[2:]
        levels = _pad(x * 255, 2 * BLOCK)
        if x.shape[1] != 3:
            coded = self._code(round_straight(levels) - 128, self.luminance, quality) + 128
            return (coded[:, :, :height, :width] / 255).clamp(0, 1)
        colours = round_straight(_mix(self.to_ycbcr, levels))  # libjpeg computes in whole numbers between its steps
        y = self._code(colours[:, :1] - 128, self.luminance, quality) + 128
        chroma = self._code(round_straight(F.avg_pool2d(colours[:, 1:], 2)), self.chrominance, quality)
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
        decoded = _mix(self.to_rgb, torch.cat([y, chroma], 1))
        return (round_straight(decoded[:, :, :height, :width]) / 255).clamp(0, 1)

    def _code(self, x: Tensor, table: Tensor, quality: Tensor) -> Tensor:
        """Code and decode maps (N, C, H, W), whose sides are multiples of 8, in levels around 0."""
        n, channels, height, width = x.shape
        dct, steps = self.dct.to(x), _scaled_table(table.to(x), quality.to(x.dtype))
        blocks = x.view(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
        steps = steps[:, None, None, None]
        coefficients = round_straight((dct @ blocks @ dct.T) / steps) * steps
        decoded = (dct.T @ coefficients @ dct).transpose(3, 4).reshape(n, channels, height, width)
        return round_straight(decoded).clamp(-128, 127)


def round_straight(x: Tensor) -> Tensor:
    """Round to whole numbers, with the gradient of the identity (Bengio et al., 2013, "straight-through")."""
    return x + (x.round() - x).detach()


def _dct_matrix() -> Tensor:
    """Return the matrix of the 8-point discrete cosine transform, orthonormal: (frequency, place)."""
    place, frequency = torch.arange(BLOCK, dtype=torch.float64), torch.arange(BLOCK, dtype=torch.float64)[:, None]
    matrix = torch.cos((2 * place + 1) * frequency * math.pi / (2 * BLOCK)) * 0.5
    matrix[0] *= math.sqrt(0.5)
    return matrix.float()


def _scaled_table(table: Tensor, quality: Tensor) -> Tensor:
    """Return the table of each quality, (N, 8, 8), as the library of the Independent JPEG Group scales it."""
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None]
    return ((table * percent + 50) / 100).floor().clamp(1, 255)


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a matrix (C', C) to the channels of x (N, C, H, W), as sums of products, whose precision no mode lowers."""
    rows = matrix.to(x)[:, :, None, None]
    return torch.stack([(rows[i] * x).sum(1) for i in range(len(matrix))], 1)


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Pad x (N, C, H, W) at the right and the bottom to a multiple, by repeating the last pixels."""
    height, width = (-length % multiple for length in x.shape[2:])
    return F.pad(x, (0, width, 0, height), mode="replicate")

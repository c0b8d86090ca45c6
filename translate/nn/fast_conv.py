"""Winograd convolutions for float32 on the CPU: 3×3, stride 1, with fewer multiplications than a direct convolution (Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016).

Networks are built of `nn.Conv2d` and know nothing of this file; `tuned_conv` has the layers that use it. Whether it is faster
than a direct convolution depends on the CPU: `convolution_choice` times both.

A tile of m×m output pixels is computed from (m + 2)×(m + 2) input pixels. Both are seen as values of polynomials at m + 2
points (Toom and Cook): there a convolution is one product a point, (m + 2)² for a tile and a pair of channels instead of 9 m².
For all tiles and channels these are (m + 2)² matrix products, which are what a CPU is fastest at.

A matrix product's last bits depend on its shape: libraries choose a kernel by it, and other ones on another CPU. So the shapes
of all products follow from the layer and the size of one image. A larger batch computes them more often, and an image's output
and its gradient are the same to the bit in any batch, on any CPU (with the same number of threads).
"""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from translate.nn.blocks import is_channels_last

BLOCK_ELEMENTS = 2**15
"""Channels times tiles that are computed at once, a few megabytes: what stays in the caches. It decides the shapes of the
products, so the last bits change with it."""
MIN_CHANNELS = 256
"""Channels from which on Winograd's algorithm can be faster than a direct convolution."""
MIN_PIXELS = 1024
"""Pixels of an image from which on it can be. Of one image, so that the algorithm does not depend on the batch size."""


def _coefficients(roots: Tensor) -> Tensor:
    """Coefficients of the polynomial ∏ (x − root), from the constant on."""
    product = torch.ones(1, dtype=roots.dtype)
    for root in roots:
        product = F.pad(product, (1, 0)) - root * F.pad(product, (0, 1))
    return product


class WinogradTransform:
    """Matrices of Winograd's F(m×m, 3×3) for output tiles of m×m pixels (Lavin and Gray, sec. 4).

    points: where the polynomials are evaluated, m + 1 numbers beside infinity; they decide the rounding error.
    channels_per_sum: channels that are summed up at a time, since rounding of long sums counts more here than in a direct
    convolution.
    """

    def __init__(self, tile: int, points: Sequence[float], channels_per_sum: int) -> None:
        self.tile, self.input_tile, self.channels_per_sum = tile, tile + 2, channels_per_sum
        at = torch.tensor(points, dtype=torch.float64)
        output, kernel = torch.zeros(tile, self.input_tile).double(), torch.zeros(self.input_tile, 3).double()
        inputs = torch.zeros(self.input_tile, self.input_tile).double()
        for i, point in enumerate(at):
            others = torch.cat([at[:i], at[i + 1 :]])
            output[:, i] = point ** torch.arange(tile)
            kernel[i] = point ** torch.arange(3) / (point - others).prod()
            inputs[i, :-1] = _coefficients(others)
        output[-1, -1] = kernel[-1, -1] = 1
        inputs[-1] = _coefficients(at)
        # In two dimensions, pixels of a tile in one row: output tile = output @ ((kernel @ taps) * (inputs @ input tile))
        self.output_transform, self.kernel_transform, self.input_transform = (
            torch.kron(matrix, matrix).float() for matrix in (output, kernel, inputs)
        )

    @property
    def products(self) -> int:
        """Multiplications for a tile and a pair of channels."""
        return self.input_tile**2


F2X2_3X3 = WinogradTransform(2, (0, 1, -1), channels_per_sum=128)
"""2¼ times fewer multiplications; 1.6 times the rounding error of torch's direct convolution (256 channels, AVX-512)."""
F4X4_3X3 = WinogradTransform(4, (0, 0.625, -0.625, 1.5, -1.5), channels_per_sum=256)
"""4 times fewer multiplications; 6 times the error, 10⁻⁶ of the values. The usual points, 0, ±1 and ±2, would give 14 times;
these are exact in binary and near the roots of a Chebyshev polynomial."""


def winograd_conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None, scheme: WinogradTransform) -> Tensor:
    """Convolve x (N, C, H, W) with weight (C', C, 3, 3), add bias (C',): (N, C', H − 2, W − 2), in the memory format of x.

    All float32 on the CPU.
    """
    return cast(Tensor, _Convolution.apply(x, weight, bias, scheme))


class _Workspace(threading.local):
    """Memory that each part of a convolution writes over, one for each thread: new memory takes longer to allocate than to
    compute in, and short-lived allocations between long-lived ones fragment the heap."""

    def __init__(self) -> None:
        self.held: dict[str, Tensor] = {}

    def __call__(self, like: Tensor, name: str, *shape: int) -> Tensor:
        """Return uninitialised memory of this shape, valid until the next call for that name."""
        size = math.prod(shape)
        if type(like) not in (Tensor, nn.Parameter):  # a fake tensor, which has no memory
            return like.new_empty(shape)
        if name not in self.held or len(self.held[name]) < size:
            with torch.inference_mode(False):  # where others could not be written to in training
                self.held[name] = torch.empty(size)
        return self.held[name][:size].view(shape)


workspace = _Workspace()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scheme: WinogradTransform) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.scheme = scheme
        layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        size = len(x), len(weight), x.shape[2] - 2, x.shape[3] - 2
        images = torch.empty(
            size, dtype=x.dtype, device=x.device, memory_format=layout
        )  # first, as it outlives the rest
        kernel = _kernel(weight.transpose(0, 1), scheme)
        for image, output in zip(x.split(1), images.split(1), strict=True):
            tiles = _Tiles(_pixels(image), scheme)
            blocks = x.new_empty(tiles.count, tiles.rows, scheme.tile, tiles.columns, scheme.tile, len(weight))
            for rows in tiles.parts():
                tile = tiles.from_points(rows, _product(tiles.at_points(rows), kernel, scheme))
                blocks[:, rows] = tile if bias is None else tile.add_(bias)
            _fill(output, blocks)
        return images

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        sums = grad.sum((0, 2, 3)) if of_bias else None
        if torch.is_grad_enabled():  # these gradients are to be differentiated in turn
            of = conv2d_input(x.shape, weight, grad), conv2d_weight(x, weight.shape, grad)
            return *of, sums, None
        return *_gradients(x, weight, grad, of_x, of_weight, ctx.scheme), sums, None


def _gradients(
    x: Tensor, weight: Tensor, grad: Tensor, of_x: bool, of_weight: bool, scheme: WinogradTransform
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of images and weights: the transpose of each step of the forward pass, in reverse order."""
    of_images, of_taps = torch.empty(x.shape), torch.empty(weight.shape)  # first, as they outlive the rest
    kernel = _kernel(weight, scheme)
    of_kernel = torch.zeros_like(kernel)
    for image, grad_output, grad_input in zip(x.split(1), grad.split(1), of_images.split(1), strict=True):
        tiles = _Tiles(_pixels(image), scheme)
        blocks = _blocks(_pixels(grad_output), scheme.tile)
        spread = grad.new_zeros(
            tiles.count, tiles.rows + 1, scheme.tile, tiles.columns + 1, scheme.tile, tiles.channels
        )
        for rows in tiles.parts():
            at_points = tiles.back_to_points(blocks[:, rows])
            if of_weight:
                of_kernel.baddbmm_(at_points.transpose(1, 2), tiles.at_points(rows))
            if of_x:
                _add(spread, rows, tiles.back(rows, _product(at_points, kernel, scheme)), scheme.tile)
        if of_x:
            _fill(grad_input, spread)
    return (
        of_images if of_x else None,
        of_taps.view(-1, 9).copy_((scheme.kernel_transform.T @ of_kernel.flatten(1)).T).view_as(weight)
        if of_weight
        else None,
    )


def _pixels(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N, H, W, C), contiguous."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1)
    pixels = x.new_empty(x.shape[0], *x.shape[2:], x.shape[1])
    for one, image in zip(pixels.flatten(1, 2), x.flatten(2), strict=True):
        one.copy_(image.T)  # only transposes of matrices are fast in torch
    return pixels


def _kernel(weight: Tensor, scheme: WinogradTransform) -> Tensor:
    """Return kernels (A, B, 3, 3) at the points: (points, A, B)."""
    out = workspace(weight, "kernel", scheme.products, weight.shape[0] * weight.shape[1])
    return torch.mm(scheme.kernel_transform, weight.reshape(-1, 9).T, out=out).view(-1, *weight.shape[:2])


def _product(x: Tensor, y: Tensor, scheme: WinogradTransform) -> Tensor:
    """Return x (points, T, C) @ y (points, C, C')."""
    parts = zip(x.split(scheme.channels_per_sum, 2), y.split(scheme.channels_per_sum, 1), strict=True)
    total = torch.bmm(*next(parts), out=workspace(x, "product", *x.shape[:2], y.shape[2]))
    for part in parts:
        total.baddbmm_(*part)
    return total


def _blocks(pixels: Tensor, tile: int) -> Tensor:
    """Return (N, H, W, C) as (N, rows, tile, columns, tile, C), with zeros at the right and the bottom up to whole tiles."""
    whole = F.pad(pixels, (0, 0, 0, -pixels.shape[2] % tile, 0, -pixels.shape[1] % tile))
    return whole.unflatten(2, (-1, tile)).unflatten(1, (-1, tile))


def _fill(images: Tensor, blocks: Tensor) -> Tensor:
    """Write blocks, as `_blocks` returns them, over images (N, C, H, W), cut to their size."""
    pixels = blocks.flatten(3, 4).flatten(1, 2)[:, : images.shape[2], : images.shape[3]]
    if not (pixels.is_contiguous() and images.is_contiguous()):
        return images.copy_(pixels.permute(0, 3, 1, 2))
    for one, image in zip(pixels.flatten(1, 2), images.flatten(2), strict=True):
        image.copy_(one.T)
    return images


def _add(whole: Tensor, rows: slice, tiles: Tensor, tile: int) -> None:
    """Add tiles (input tile, input tile, N, rows, columns, C), which overlap by two pixels, to blocks as of `_blocks`."""
    columns = tiles.shape[4]
    for y, ys in enumerate(tiles.split(tile)):
        for x, piece in enumerate(ys.split(tile, 1)):
            at = whole[:, rows.start + y : rows.stop + y, : len(piece), x : columns + x, : piece.shape[1]]
            at += piece.permute(2, 3, 0, 4, 1, 5)


class _Tiles:
    """The input tiles of pixels (N, H, W, C), which overlap by two; zeros stand beyond the right and the bottom."""

    def __init__(self, pixels: Tensor, scheme: WinogradTransform) -> None:
        self.scheme = scheme
        self.count, height, width, self.channels = pixels.shape
        self.rows, self.columns = -(-(height - 2) // scheme.tile), -(-(width - 2) // scheme.tile)
        below, right = scheme.tile * self.rows + 2 - height, scheme.tile * self.columns + 2 - width
        self.pixels = F.pad(pixels, (0, 0, 0, right, 0, below)) if below or right else pixels

    def parts(self) -> Iterator[slice]:
        """Yield as many rows of tiles at a time as stay in the caches; no fewer for an image in a batch."""
        rows = max(BLOCK_ELEMENTS // (self.channels * self.columns), 1)
        for top in range(0, self.rows, rows):
            yield slice(top, min(top + rows, self.rows))

    def at_points(self, rows: slice) -> Tensor:
        """Return the input tiles of these rows at the points: (points, tiles, C)."""
        side, step = self.scheme.input_tile, self.scheme.tile
        image, row, pixel, _ = self.pixels.stride()
        shape = side, side, self.count, rows.stop - rows.start, self.columns, self.channels
        tiles = self.pixels[:, step * rows.start :].as_strided(shape, (row, pixel, image, step * row, step * pixel, 1))
        return self._mapped(
            "input at points", self.scheme.input_transform, workspace(tiles, "tiles", *shape).copy_(tiles)
        )

    def from_points(self, rows: slice, products: Tensor) -> Tensor:
        """Return (points, tiles, C') as output tiles (N, rows, tile, columns, tile, C')."""
        return self._tiles(rows, self._mapped("output", self.scheme.output_transform, products)).permute(
            2, 3, 0, 4, 1, 5
        )

    def back_to_points(self, blocks: Tensor) -> Tensor:
        """Transpose of `from_points`: output tiles (N, rows, tile, columns, tile, C') → (points, tiles, C')."""
        tiles = blocks.permute(2, 4, 0, 1, 3, 5)
        return self._mapped(
            "output at points", self.scheme.output_transform.T, workspace(tiles, "output", *tiles.shape).copy_(tiles)
        )

    def back(self, rows: slice, products: Tensor) -> Tensor:
        """Transpose of `at_points`: the gradients of the input tiles, (input tile, input tile, N, rows, columns, C)."""
        return self._tiles(rows, self._mapped("tiles", self.scheme.input_transform.T, products))

    def _mapped(self, name: str, matrix: Tensor, tiles: Tensor) -> Tensor:
        """Apply matrix (A, B) to tiles (…, C), whose first dimensions make up B: (A, tiles, C)."""
        flat = tiles.view(matrix.shape[1], -1)
        mapped = torch.mm(matrix, flat, out=workspace(tiles, name, len(matrix), flat.shape[1]))
        return mapped.view(len(matrix), -1, tiles.shape[-1])

    def _tiles(self, rows: slice, flat: Tensor) -> Tensor:
        """Reshape (side², tiles, C) to (side, side, N, rows, columns, C)."""
        side = math.isqrt(len(flat))
        return flat.view(side, side, self.count, rows.stop - rows.start, self.columns, -1)

"""Networks of StyleGAN2 (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, fig. 2 and 7; what
the paper leaves open is as in the official code of "Training Generative Adversarial Networks with Limited Data", 2020).

The generator is a mapping from noise to style codes, and a synthesis of images by skip connections; the discriminator is a
residual network. Both are made of equalised layers, whose leaky ReLUs are followed by a factor of √2.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from translate import keyed_random
from translate.nn.base import Discriminator
from translate.nn.equalized import GAIN, EqualizedConv2d, EqualizedLinear, pixel_norm, standard_normal_
from translate.nn.minibatch_std import MinibatchStd
from translate.nn.modulated_conv import ModulatedConv2d
from translate.nn.networks.pggan import map_width
from translate.nn.resampling import blur, downsample, upsample
from translate.nn.spectral_norm import without_autocast

FIRST_SIZE = 4
"""Side of the smallest maps in pixels."""
SLOPE = 0.2
"""Slope of the leaky ReLUs."""
MAPPING_RATE = 0.01
"""Factor of the learning rate of the mapping network."""
AVERAGE_DECAY = 0.995
"""Share that the average of the style codes keeps of itself at each batch."""


def map_sizes(size: int) -> list[int]:
    """Return the sides of the maps of each resolution, from 4 to `size`."""
    return [FIRST_SIZE << n for n in range((size // FIRST_SIZE).bit_length())]


def scaled_leaky_relu(x: Tensor, gain: float = GAIN) -> Tensor:
    """Leaky ReLU times √2, which keeps the mean square of normal numbers near 1."""
    return F.leaky_relu(x, SLOPE) * gain


class StyleMapping(nn.Module):
    """Mapping from noise (N, noise_size), divided by its root mean square, to style codes (N, style_size); their average."""

    average: Tensor

    def __init__(self, noise_size: int, style_size: int, layers: int) -> None:
        super().__init__()
        sizes = [noise_size] + [style_size] * layers
        self.layers = nn.ModuleList(
            EqualizedLinear(cin, cout, gain=1.0, rate=MAPPING_RATE) for cin, cout in pairwise(sizes)
        )
        self.register_buffer("average", torch.zeros(style_size))

    def forward(self, noise: Tensor) -> Tensor:
        x = pixel_norm(noise.to(self.average.dtype))
        with without_autocast(x.device):
            for layer in self.layers:
                x = scaled_leaky_relu(layer(x))
        return x

    @torch.no_grad()
    def update_average(self, mean: Tensor) -> None:
        """Move the average of the codes towards the mean (style_size,) of a batch."""
        self.average.lerp_(mean.detach().to(self.average.dtype), 1 - AVERAGE_DECAY)


class SynthesisLayer(nn.Module):
    """Modulated 3×3 convolution, noise of a learnt strength, bias and leaky ReLU (fig. 2c)."""

    def __init__(self, cin: int, cout: int, style_size: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(cin, cout, 3, style_size, upsample=upsample)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(cout))

    def forward(self, x: Tensor, code: Tensor, key: Tensor, name: str) -> Tensor:
        """key (N,) and name decide the noise."""
        y = self.conv(x, code)
        noise = keyed_random.normal(key, name, 1, *y.shape[2:]).to(y.dtype)
        return scaled_leaky_relu(y + noise * self.strength.to(y.dtype) + self.bias.to(y.dtype)[:, None, None])


class ToImage(nn.Module):
    """Modulated 1×1 convolution to the channels of an image, without demodulation, and a bias."""

    def __init__(self, cin: int, channels: int, style_size: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(cin, channels, 1, style_size, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y: Tensor = self.conv(x, code)
        return y + self.bias.to(y.dtype)[:, None, None]


class SynthesisBlock(nn.Module):
    """Layers of one resolution: maps of half the side are enlarged, and the image grows by what they show (fig. 7, skip)."""

    def __init__(self, cin: int, cout: int, channels: int, style_size: int, *, first: bool) -> None:
        super().__init__()
        self.up = None if first else SynthesisLayer(cin, cout, style_size, upsample=True)
        self.layer = SynthesisLayer(cout, cout, style_size)
        self.to_image = ToImage(cout, channels, style_size)

    def forward(self, x: Tensor, image: Tensor | None, codes: Tensor, key: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """codes (N, 3 or 2, style_size): one for each convolution; the last is that of the image."""
        if self.up is not None:
            x = self.up(x, codes[:, 0], key, f"{name} up")
        x = self.layer(x, codes[:, -2], key, name)
        shown: Tensor = self.to_image(x, codes[:, -1])
        return x, shown if image is None else upsample(image) + shown


class StyleGAN2Generator(nn.Module):
    """Generator of StyleGAN2. Called, it is the synthesis: style codes (N, code_count, style_size) → images (N, C, size, size).

    The images are not clamped. `mapping` makes style codes of noise, one for all layers of an image.
    """

    gradient_checkpointing = False

    def __init__(
        self,
        noise_size: int,
        style_size: int,
        mapping_layers: int,
        channels: int,
        size: int,
        width: int,
        full_size: int,
    ) -> None:
        super().__init__()
        widths = [map_width(side, width, full_size) for side in map_sizes(size)]
        self.mapping = StyleMapping(noise_size, style_size, mapping_layers)
        self.constant = nn.Parameter(torch.zeros(widths[0], FIRST_SIZE, FIRST_SIZE))
        before = [widths[0], *widths[:-1]]
        self.blocks = nn.ModuleList(
            SynthesisBlock(cin, cout, channels, style_size, first=n == 0)
            for n, (cin, cout) in enumerate(zip(before, widths, strict=True))
        )
        self.code_count = 2 * len(widths)

    def forward(self, codes: Tensor, key: Tensor) -> Tensor:
        """key (N,): of the noise in the layers."""
        x = self.constant.expand(len(codes), -1, -1, -1)
        image: Tensor | None = None
        for n, block in enumerate(self.blocks):
            own = codes[:, max(2 * n - 1, 0) : 2 * n + 2]
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                x, image = checkpoint(block, x, image, own, key, f"noise {n}", use_reentrant=False)
            else:
                x, image = block(x, image, own, key, f"noise {n}")
        assert image is not None
        return image

    def spread(self, code: Tensor) -> Tensor:
        """Return style codes (N, style_size) as those of all layers, (N, code_count, style_size)."""
        return code[:, None].expand(-1, self.code_count, -1)

    def truncate(self, codes: Tensor, share: float) -> Tensor:
        """Move style codes (N, …, style_size) to their average: 1 leaves them, 0 makes all of them the average."""
        return torch.lerp(self.mapping.average.to(codes.dtype).expand_as(codes), codes, share)


def initialise_generator_(net: StyleGAN2Generator, *key: int | str) -> StyleGAN2Generator:
    """Draw the initial weights: equalised layers and the constant from N(0, 1), the strengths of noise 0. Returns `net`."""
    standard_normal_(net, *key)
    if not net.constant.is_meta:
        generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "constant"))
        with torch.no_grad():
            net.constant.copy_(torch.empty(net.constant.shape).normal_(generator=generator))
    return net


class HalvingResidualBlock(nn.Module):
    """Residual block of the discriminator that halves the side: (N, cin, H, W) → (N, cout, H / 2, W / 2) (fig. 7, residual)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.first = EqualizedConv2d(cin, cin, 3, gain=1.0)
        self.second = EqualizedConv2d(cin, cout, 3, gain=1.0, stride=2, padding=0)
        self.skip = EqualizedConv2d(cin, cout, 1, gain=1.0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(blur(scaled_leaky_relu(self.first(x)), 2))
        # The sum is divided by √2, which keeps its mean square (sec. 4.1).
        return scaled_leaky_relu(y, 1.0) + self.skip(downsample(x)) * math.sqrt(0.5)


class StyleGAN2Discriminator(Discriminator):
    """Discriminator of StyleGAN2: images (N, C, size, size) → logits (N, 1)."""

    initialise = staticmethod(standard_normal_)

    def __init__(self, in_channels: int, size: int, width: int, full_size: int) -> None:
        super().__init__()
        self.minimum = self.fixed_size = size
        widths = [map_width(side, width, full_size) for side in map_sizes(size)][::-1]
        self.from_image = EqualizedConv2d(in_channels, widths[0], 1, gain=1.0)
        self.blocks = nn.Sequential(*(HalvingResidualBlock(cin, cout) for cin, cout in pairwise(widths)))
        self.deviation = MinibatchStd()
        self.conv = EqualizedConv2d(widths[-1] + 1, widths[-1], 3, gain=1.0)
        self.hidden = EqualizedLinear(widths[-1] * FIRST_SIZE**2, widths[-1], gain=1.0)
        self.logit = EqualizedLinear(widths[-1], 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(scaled_leaky_relu(self.from_image(x)))
        with without_autocast(x.device):  # cheap, and half precision would show in the logit
            y = scaled_leaky_relu(self.conv(self.deviation(y.to(self.conv.weight.dtype))))
            result: Tensor = self.logit(scaled_leaky_relu(self.hidden(y.flatten(1))))
        return result

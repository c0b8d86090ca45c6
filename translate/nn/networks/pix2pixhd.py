"""Networks of pix2pixHD (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR
2018): a global generator, a local enhancer around it, and discriminators of several scales, with the authors' layer names."""

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from translate.errors import UsageError
from translate.nn.base import Generator, MultiscaleFeatureDiscriminator
from translate.nn.blocks import ResnetBlock, conv_uses_bias, doubling_widths, halve, norm_layer
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.init import normal_weights_
from translate.nn.networks.resnet import (
    ResnetGenerator,
    checkpoint_segments,
    decoder_layers,
    encoder_layers,
    output_layers,
)

LOCAL_BLOCKS = 3
"""Residual blocks of the local enhancer."""


class GlobalGenerator(ResnetGenerator):
    """Global generator G1 (sec. 3.2): a ResNet generator, of 4 halvings and 9 residual blocks in the authors' code."""

    initialise = staticmethod(normal_weights_)


class LocalEnhancer(Generator):
    """Local enhancer G2 around a global generator (sec. 3.2), whose last maps, at half the size, are added to its own.

    `model` is the global generator of twice the `width`, without its last convolution, on images of half the size. `model1_1`
    leads to its maps, `model1_2` from the sum to the output.
    """

    model: nn.Sequential
    initialise = staticmethod(normal_weights_)
    computes_in_windows = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        norm: str = "instance",
        dropout: bool = False,
        *,
        downs: int = 4,
        blocks: int = 9,
    ) -> None:
        super().__init__()
        coarse = GlobalGenerator(in_channels, out_channels, 2 * width, norm, dropout, downs=downs, blocks=blocks)
        self.multiple_of, self.minimum = 2 * coarse.multiple_of, 2 * coarse.minimum
        self.receptive_radius = _receptive_radius(downs, blocks)
        self.model = coarse.model[: -len(output_layers(1, 1))]
        self.model1_1 = nn.Sequential(*encoder_layers(in_channels, [width, 2 * width], norm))
        self.model1_2 = nn.Sequential(
            *[ResnetBlock(2 * width, norm, dropout) for _ in range(LOCAL_BLOCKS)],
            *decoder_layers([width, 2 * width], out_channels, norm),
        )

    def forward(self, x: Tensor, *, fixed_global: bool = False) -> Tensor:
        """Translate images; with `fixed_global` no gradient is recorded for the global generator."""
        if fixed_global:
            with torch.no_grad():
                features = self.model(halve(x))
        else:
            features = self._run(checkpoint_segments(self.model), halve(x))
        y = self._run([list(self.model1_1)], x) + features
        return self._run(checkpoint_segments(self.model1_2), y)

    def with_global(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's weights with those of a global generator in their places; its last convolution is left out.

        UsageError, with the setting that fits, if it has other layers or widths.
        """
        own = self.state_dict()
        inner = {key for key in own if key.startswith("model.")}
        beyond = f"model.{len(self.model) + 1}."
        given = {key: value for key, value in weights.items() if not key.startswith(beyond)}
        if given.keys() != inner:
            raise UsageError(
                "--init-from: the global generator inside the local enhancer has other layers than its generator; use the "
                "--generator pix2pixhd_local_NdownsBblocks of the same numbers, and the same --norm and --dropout"
            )
        theirs, ours = given["model.1.weight"].shape, own["model.1.weight"].shape
        if theirs[0] != ours[0]:
            raise UsageError(
                f"--init-from: its generator has a width of {theirs[0]}, and the local enhancer has half of that; use "
                f"--g-width {theirs[0] // 2}"
            )
        return {**own, **given}

    def _run(self, segments: Sequence[Sequence[nn.Module]], x: Tensor) -> Tensor:
        """Apply runs of layers, between which gradient checkpointing keeps maps."""
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            for segment in segments:
                x = checkpoint_layers(segment, x)
            return x
        for layer in chain.from_iterable(segments):
            x = layer(x)
        return x


def _receptive_radius(downs: int, blocks: int) -> int:
    """Return the distance of the farthest input pixel that an output pixel depends on, to the left: both sides are alike."""
    radius, cell = 0, 2**downs
    for pixel in range(2 * cell):  # pixels of one cell reach unlike far
        first = (pixel - 3) // 2 - 2 * LOCAL_BLOCKS  # in the maps of half the size
        first = cell * ((first // cell) - 2 * blocks) - 3 - (cell - 1)  # in the image of half the size
        radius = max(radius, pixel - (2 * first - 1))
    return radius


class Pix2PixHDDiscriminator(MultiscaleFeatureDiscriminator):
    """Discriminators of images at `scales` sizes, each half the one before (sec. 3.2): a list of logits, finest first.

    Each has `layers` halvings and two convolutions of stride 1, all 4×4 with a padding of 2. The network of the smallest images
    is called scale0, so that the weights of two scales fit into three: the new one sees the largest images.
    """

    initialise = staticmethod(normal_weights_)

    def __init__(
        self, in_channels: int, width: int = 64, norm: str = "instance", layers: int = 3, *, scales: int = 2
    ) -> None:
        super().__init__()
        self.scales, self.layers = scales, layers
        self.minimum = 2 ** (scales - 1) + 1  # the smallest images are then of 2 pixels, as is each map
        for scale in range(scales):
            for number, layer in enumerate(_discriminator_layers(in_channels, width, norm, layers)):
                self.add_module(f"scale{scale}_layer{number}", layer)

    def features_and_logits(self, x: Tensor) -> tuple[list[list[Tensor]], list[Tensor]]:
        features: list[list[Tensor]] = []
        logits: list[Tensor] = []
        for scale in reversed(range(self.scales)):
            maps = [x]
            for number in range(self.layers + 2):
                maps.append(self.get_submodule(f"scale{scale}_layer{number}")(maps[-1]))
            features.append(maps[1:-1])
            logits.append(maps[-1])
            x = halve(x)
        return features, logits


def _discriminator_layers(in_channels: int, width: int, norm: str, layers: int) -> list[nn.Sequential]:
    """Return the convolutions of one scale, each with its norm and leaky ReLU."""
    widths = doubling_widths(width, layers + 1)
    found = [nn.Sequential(nn.Conv2d(in_channels, width, 4, 2, 2), nn.LeakyReLU(0.2))]
    for number, cout in enumerate(widths[1:], start=1):
        conv = nn.Conv2d(widths[number - 1], cout, 4, 2 if number < layers else 1, 2, bias=conv_uses_bias(norm))
        found.append(nn.Sequential(conv, norm_layer(norm, cout), nn.LeakyReLU(0.2)))
    return [*found, nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2))]

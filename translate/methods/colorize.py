"""colorize: colours for grey photos. The lightness of the input is kept, and a generator makes a* and b* (CIELAB) of it.

The input, the output and the losses are those of the colour preset of pix2pix's reference implementation (`colorization` with
λ = 100). Unlike there, a colour that sRGB has not is shrunk to the edge of its gamut instead of clipped, so that L* stays.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods.building import build_generator, with_default_unet
from translate.methods.configs import MODERN_PAIRED
from translate.methods.photo_pairs import PhotoPairs, PhotoPairsConfig
from translate.nn import networks
from translate.nn.base import Generator
from translate.nn.lab import grey_image, lightness
from translate.nn.losses import l1
from translate.nn.networks import GENERATORS
from translate.nn.networks.colorizer import Colorizer, scaled_ab


@dataclass(frozen=True)
class ColorizeConfig(PhotoPairsConfig):
    """Config of colorize."""

    generator: str | None = option(  # type: ignore[assignment]
        None,
        "generator network, from L* to a* and b* [default: the deepest U-Net that fits the crop size]",
        choices=GENERATORS,
        accepts=networks.find,
        group="Networks",
    )
    norm: str = option(
        "batch", "normalisation layers of all networks", choices=("batch", "instance", "none"), group="Networks"
    )
    dropout: bool = option(True, "dropout in the generator, in training and in conversion", group="Networks")
    lambda_l1: float = option(
        100.0,
        "weight of the L1 loss between the a* and b* of output and photo, in units of 110, with --loss paired",
        low=0,
        group="Losses",
    )

    @property
    def not_advised(self) -> tuple[str, ...]:
        """Weights of the L1 loss, which makes colours greyer, and of the cycle consistency, which is exact."""
        return ("lambda_l1", "lambda_cycle")


class Colorize(PhotoPairs[ColorizeConfig]):
    """colorize: a generator `g` of a* and b*, and a discriminator `d` of colour images beside their grey ones."""

    name = "colorize"
    summary = "colours for grey photos, learnt from a folder of colour photos; the lightness of each pixel is kept"
    Config = ColorizeConfig
    cycle_is_exact = True
    presets = {
        "paper": {},
        "modern": MODERN_PAIRED,
        "quick": {**MODERN_PAIRED, "images": 24_000, "decay_images": 12_000, "load_size": 128, "crop_size": 64},
    }
    large_presets = {"modern": {"generator": "resize_unet", "g_width": 64, "lr": 5e-4, "ema_half_life": 10_000}}

    @classmethod
    def resolve_config(cls, cfg: ColorizeConfig) -> ColorizeConfig:
        if (cfg.input_channels, cfg.output_channels) != (3, 3):
            raise UsageError(
                f"--input-channels {cfg.input_channels}, --output-channels {cfg.output_channels}: colorize reads grey and "
                f"colour files alike and writes colour; leave both at 3"
            )
        if cfg.residual == "on":
            raise UsageError(
                "--residual on: colorize makes colours from lightness; there is no colour to add to; leave it out"
            )
        return super().resolve_config(with_default_unet(cfg, "unet"))

    def build_photo_generator(self) -> Generator:
        return Colorizer(build_generator(self.cfg, 1, 2, self.cfg.seed, "g"))

    def make_input(self, photo: Tensor, key: Tensor) -> Tensor:
        """Return the grey images (N, 3, H, W) with the lightness of the photos."""
        return _laid_out_as(photo, grey_image(lightness(photo)))

    def generate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (N, 3, H, W), and their a* and b* (N, 2, H, W) before colours are shrunk into the gamut.

        Beyond the gamut only the hue of a colour is seen in the output; the L1 loss must see how far it is out.
        """
        g = self.g
        assert isinstance(g, Colorizer)
        ab = g.predict_ab(x)
        return _laid_out_as(x, g.add_lightness(x, ab)), ab

    def reconstruction(self, made: Tensor, photo: Tensor) -> Tensor:
        """Return the L1 distance between a* and b* and those of the photos, in units of 110."""
        return l1(made, scaled_ab(photo))


def _laid_out_as(image: Tensor, x: Tensor) -> Tensor:
    """Return x (N, C, H, W) in the type and memory format of an image: one that is joined of channels lies contiguous."""
    is_channels_last = image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
    layout = torch.channels_last if is_channels_last else torch.contiguous_format
    return x.to(image.dtype).contiguous(memory_format=layout)

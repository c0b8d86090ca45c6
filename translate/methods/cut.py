"""CUT and FastCUT: unpaired translation in one direction (Park et al., "Contrastive Learning for Unpaired Image-to-Image
Translation", ECCV 2020). The defaults are the recipe of the authors' code (taesungp/contrastive-unpaired-translation)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, DataStage, Method, Scheduled, Step, Update
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    discriminator_losses,
)
from translate.methods.colour_start import PREPARATION_IMAGES, start_from_colours
from translate.methods.configs import MODERN_UNPAIRED, MixedSupervisionConfig
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.methods.pair_loss import pair_losses
from translate.nn import networks
from translate.nn.init import xavier_
from translate.nn.losses import Logits
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.patchnce import (
    ProjectionHeads,
    encoder_features,
    gather_locations,
    mirror_locations,
    nce_layers,
    patch_nce,
    sample_locations,
)

MODERN: dict[str, Any] = {
    **MODERN_UNPAIRED,
    "nce_identity": False,  # the colour start does its work
    "nce_patches": 64,
    "whole_in_decay": False,
}
"""Settings of the preset modern, for small crops."""


@dataclass(frozen=True)
class CUTConfig(MixedSupervisionConfig):
    """Config of CUT."""

    epochs: int = option(200, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        200, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    generator: str = option(
        "antialias_9blocks", "generator network", choices=GENERATORS, accepts=networks.find, group="Networks"
    )
    discriminator: str = option(
        "antialias",
        "discriminator network; antialias sees 84×84 patches",
        choices=DISCRIMINATORS,
        accepts=networks.find_discriminator,
        group="Networks",
    )
    lambda_nce: float = option(1.0, "weight of the PatchNCE loss", low=0, group="Losses")
    nce_identity: bool = option(
        True,
        "compute the PatchNCE loss on images of domain b too; each of the two terms then counts half",
        group="Losses",
    )
    nce_patches: int = option(256, "patches of each feature map in the PatchNCE loss", low=2, group="Losses")
    nce_temperature: float = option(0.07, "temperature of the PatchNCE loss", low=0.01, group="Losses")
    flip_equivariance: bool = option(
        False, "mirror half of the inputs, and mirror the features of their translations back", group="Losses"
    )
    whole_in_decay: bool = option(
        True, "train on whole images, resized to the crop size, while the learning rate falls", group="Data"
    )


@dataclass(frozen=True)
class FastCUTConfig(CUTConfig):
    """Config of FastCUT (sec. 4 and appendix): CUT without the identity term, which takes less time and memory."""

    epochs: int = option(150, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        50, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    lambda_nce: float = option(10.0, "weight of the PatchNCE loss", low=0, group="Losses")
    nce_identity: bool = option(
        False,
        "compute the PatchNCE loss on images of domain b too; each of the two terms then counts half",
        group="Losses",
    )
    flip_equivariance: bool = option(
        True, "mirror half of the inputs, and mirror the features of their translations back", group="Losses"
    )


class CUT(Method[CUTConfig]):
    """CUT (sec. 3): a generator `g` from a to b, a discriminator `d` of b, and heads `f` for the encoder's features."""

    name = "cut"
    summary = "unpaired translation from a to b alone; less memory than cyclegan, and shapes of the input are kept"
    layout = "unpaired"
    Config = CUTConfig
    presets = {
        "paper": {},
        "modern": MODERN,
        "quick": {**MODERN, "images": 16_000, "decay_images": 8_000, "load_size": 128, "crop_size": 64},
    }
    large_presets = {
        "modern": {"generator": "resize_unet", "g_width": 64, "nce_patches": 256, "lr": 5e-4, "ema_half_life": 10_000}
    }
    generator_names = {"b": "g"}
    ema = ("g",)

    def __init__(self, cfg: CUTConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        self.d = build_discriminator(cfg, cfg.output_channels, cfg.seed, "d")
        self.f = ProjectionHeads(nce_channels(cfg))
        xavier_(self.f, cfg.seed, "f")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, cfg.output_channels)
        self.frozen_networks = feature_networks(self)
        self.preparation_images = PREPARATION_IMAGES if cfg.colour_start == "on" else 0
        # One Adam over g and f is the same as the authors' two: it updates each weight by itself.
        self.updates = {
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
            "g": Update(("g", "f"), cfg.lr, options=adam_options(cfg)),
        }
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: CUTConfig) -> CUTConfig:
        if cfg.input_channels != cfg.output_channels:
            raise UsageError(
                f"{cls.name} needs the same number of channels in both domains, because one encoder reads inputs and outputs: "
                f"give --input-channels {cfg.input_channels} and --output-channels {cfg.output_channels} the same value"
            )
        check_gan_config(cls, cfg)
        return cfg

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        return start_from_colours(self, batches)

    @classmethod
    def stages(cls, cfg: CUTConfig, planned: int, decays_from: int) -> tuple[DataStage, ...]:
        """Return a second stage, of whole images while the learning rate falls, if the config asks for it."""
        (first,) = super().stages(cfg, planned, decays_from)
        if not (cfg.whole_in_decay and cfg.crops) or cfg.load_size == cfg.crop_size:
            return (first,)
        return first, replace(first, image=decays_from, load_size=cfg.crop_size)

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses (eq. 1), then those of the generator and the projection heads (eq. 5)."""
        a, b, key, cfg, loss = batch["a"], batch["b"], batch["key"], self.cfg, self.adversarial_loss
        flipped = keyed_random.uniform(key, "flip") < 0.5 if cfg.flip_equivariance else None
        fake, same = self.generate(a, b if cfg.nce_identity else None, flipped)

        # eq. 1: the discriminator first, as in the authors' code. The generator's graph is kept across this update.
        shared = cfg.share_augmentation
        real_view = self.view(batch, b, "real")
        fake_view = self.view(batch, fake if shared else fake.detach(), "fake")
        yield "d", discriminator_losses(loss, self.d, real_view, fake_view.detach(), key, clock.step)

        # eq. 5: the adversarial loss, by the discriminator just updated, and PatchNCE. With the identity term both count half.
        weight = cfg.lambda_nce * (1 if same is None else 0.5)
        losses = {
            "adv": self.adversarial_generator_loss(batch, fake, fake_view if shared else None),
            "nce": weight * self.nce_loss(fake, a, key, "a", flipped),
        }
        if same is not None:
            losses["nce_identity"] = weight * self.nce_loss(same, b, key, "b", flipped)
        if cfg.pairs is not None:
            losses |= pair_losses(cfg, self.content, self.g, batch["pair_a"], batch["pair_b"], "ab")
        yield "g", {**losses, **self.content(fake, a)}

    def adversarial_generator_loss(self, batch: Batch, fake: Tensor, seen: Any) -> Tensor:
        """Return the adversarial loss of fake images; `seen` is the discriminator's view of them, None: it is made here."""
        name = "g" if seen is None else "fake"
        on_fake = self.d(self.view(batch, fake, name) if seen is None else seen)
        return self.adversarial_loss.generator_loss(on_fake, lambda: self.d(self.view(batch, batch["b"], name)))

    def view(self, batch: Batch, x: Tensor, name: str) -> Any:
        """Return the view that the discriminator takes of images x (N, C, H, W), augmented by the draws of that name."""
        return self.d.view(augment(self.cfg, batch, x, name))

    def generate(self, a: Tensor, b: Tensor | None, flipped: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Translate a, and b if it is given; the images that `flipped` (N,) marks are mirrored first.

        Images of one size go through the generator in one pass, as in the authors' code.
        """
        images = [x if flipped is None else flip_where(x, flipped) for x in (a, b) if x is not None]
        alike = len({x.shape for x in images}) == 1
        fake, *same = self.g(torch.cat(images)).split(len(a)) if alike else [self.g(x) for x in images]
        return fake, same[0] if same else None

    def nce_loss(self, output: Tensor, source: Tensor, key: Tensor, name: str, flipped: Tensor | None) -> Tensor:
        """Return the PatchNCE loss of output images and their sources (eq. 3), the mean over the layers.

        The features of `flipped` images are read at mirrored locations, which is mirroring them back.
        """
        features = encoder_features(self.g, output)
        locations = sample_locations(key, name, features, self.cfg.nce_patches)
        mirrored = locations
        if flipped is not None:
            mirrored = [
                torch.where(flipped[:, None], mirror_locations(p, x.shape[3]), p)
                for x, p in zip(features, locations, strict=True)
            ]
        queries = self.f([gather_locations(x, p) for x, p in zip(features, mirrored, strict=True)])
        sources = encoder_features(self.g, source)
        keys = self.f([gather_locations(x, p) for x, p in zip(sources, locations, strict=True)])
        pairs = zip(queries, keys, strict=True)
        return torch.stack([patch_nce(query, positive, self.cfg.nce_temperature) for query, positive in pairs]).mean()

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        a, b, key = batch["a"], batch["b"], batch["key"]
        columns = {"real a": a, "fake b": self.translate(a, "b", key)}
        return {**columns, "real b": b, "identity b": self.translate(b, "b", key)} if self.cfg.nce_identity else columns

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        return {"real": self.d(batch["b"]), "fake": self.d(self.translate(batch["a"], "b", batch["key"]))}


class FastCUT(CUT):
    """FastCUT: CUT with other defaults (sec. 4)."""

    name = "fastcut"
    summary = "as cut, faster and with less memory; the result is a little less faithful to domain b"
    Config = FastCUTConfig


def nce_channels(cfg: CUTConfig) -> list[int]:
    """Return the channels of the features that PatchNCE compares. UsageError if the generator has none."""
    with torch.device("meta"):
        net = build_generator(cfg, cfg.input_channels, cfg.output_channels)
        image = torch.empty(1, cfg.input_channels, net.minimum, net.minimum)
    if not nce_layers(net):
        raise UsageError(
            f"--generator {cfg.generator} has no encoder features for PatchNCE, which needs residual blocks; use "
            f"antialias_9blocks, resnet_9blocks or resize_unet, or another number of blocks"
        )
    return [x.shape[1] for x in encoder_features(net, image)]


def flip_where(x: Tensor, flipped: Tensor) -> Tensor:
    """Mirror the images of x (N, C, H, W) that `flipped` (N,) marks."""
    return torch.where(flipped[:, None, None, None], x.flip(3), x)

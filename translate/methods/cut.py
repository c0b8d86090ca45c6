"""CUT and FastCUT: unpaired translation in one direction (Park et al., "Contrastive Learning for Unpaired Image-to-Image
Translation", ECCV 2020). The defaults are the recipe of the authors' code (taesungp/contrastive-unpaired-translation)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import Batch, Clock, Method, Step, Update
from translate.methods.building import (
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
    forward_concatenated,
)
from translate.methods.configs import GanConfig
from translate.nn.diffaugment import diffaugment
from translate.nn.init import xavier_
from translate.nn.networks import DISCRIMINATORS, GENERATORS, find
from translate.nn.patchnce import (
    ProjectionHeads,
    encoder_features,
    gather_locations,
    mirror_locations,
    nce_layers,
    patch_nce,
    sample_locations,
)


@dataclass(frozen=True)
class CUTConfig(GanConfig):
    """Settings of CUT."""

    epochs: int = option(200, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        200, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    generator: str = option(
        "antialias_9blocks", "generator network", choices=GENERATORS, accepts=find, group="Networks"
    )
    discriminator: str = option(
        "antialias", "discriminator network; antialias sees 84×84 patches", choices=DISCRIMINATORS, group="Networks"
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
    """Settings of FastCUT: CUT without identities, which takes less time and memory."""

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


class CUT(Method):
    """A generator `g` from a to b, a discriminator `d` of b, and the heads `f` that project what `g` makes of images."""

    name = "cut"
    layout = "unpaired"
    Config = CUTConfig
    generator_names = {"b": "g"}
    ema = ("g",)

    def __init__(self, cfg: CUTConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        self.d = build_discriminator(cfg, cfg.output_channels, cfg.seed, "d")
        self.f = ProjectionHeads(nce_channels(cfg))
        xavier_(self.f, cfg.seed, "f")
        self.adversarial_loss = build_adversarial_loss(cfg)
        # One Adam over g and f does what the authors' two do side by side: it looks at each weight by itself.
        self.updates = {"d": Update(("d",), cfg.lr), "g": Update(("g", "f"), cfg.lr)}
        self.coupled = coupling_reason(cfg)

    @classmethod
    def resolve_config(cls, cfg: CUTConfig) -> CUTConfig:
        if cfg.input_channels != cfg.output_channels:
            raise UsageError(
                f"{cls.name} encodes what it makes as it encodes its input, so a and b need as many channels, not "
                f"{cfg.input_channels} and {cfg.output_channels}; give --input-channels and --output-channels the same number"
            )
        check_gan_config(cls, cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock) -> Step:
        a, b, key, cfg = batch["a"], batch["b"], batch["key"], self.cfg

        def seen(x: Tensor, use: str) -> Tensor:
            """What the discriminator sees of images."""
            return diffaugment(x, key, cfg.diffaugment, use)

        flipped = keyed_random.uniform(key, "flip") < 0.5 if cfg.flip_equivariance else None
        fake, same = self.generate(a, b if cfg.nce_identity else None, flipped)

        # The discriminator first, as in the authors' code. The generator's graph lives on across this update.
        real_seen, fake_seen = seen(b, "real"), seen(fake.detach(), "fake")
        on_fake, on_real = forward_concatenated(self.d, fake_seen, real_seen)
        losses = {"adv": self.adversarial_loss.discriminator_loss(on_real, on_fake)}
        if self.adversarial_loss.has_penalty(clock.step):
            losses["penalty"] = self.adversarial_loss.penalty(self.d.forward, real_seen, fake_seen, key)
        yield "d", losses

        # Fool the discriminator that has just moved, and leave things where they are. Two contrasts count half each.
        weight = cfg.lambda_nce * (1 if same is None else 0.5)
        losses = {
            "adv": self.adversarial_loss.generator_loss(lambda x: self.d(seen(x, "g")), fake, b),
            "nce": weight * self.nce_loss(fake, a, key, "a", flipped),
        }
        if same is not None:
            losses["nce_identity"] = weight * self.nce_loss(same, b, key, "b", flipped)
        yield "g", losses

    def generate(self, a: Tensor, b: Tensor | None, flipped: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What is made of a and of b, if it is given, in one run; of their mirror images where `flipped` (N,)."""
        images = [x if flipped is None else flip_where(x, flipped) for x in (a, b) if x is not None]
        fake, *same = self.g(torch.cat(images)).split(len(a))
        return fake, same[0] if same else None

    def nce_loss(self, made: Tensor, source: Tensor, key: Tensor, name: str, flipped: Tensor | None) -> Tensor:
        """PatchNCE of images and of what they were made of, the mean over the tapped layers.

        Where an image was `flipped`, its maps are read at mirrored places: that is mirroring them back.
        """
        found = encoder_features(self.g, made)
        at = sample_locations(key, name, found, self.cfg.nce_patches)
        there = at
        if flipped is not None:
            there = [
                torch.where(flipped[:, None], mirror_locations(p, x.shape[3]), p)
                for x, p in zip(found, at, strict=True)
            ]
        queries = self.f([gather_locations(x, p) for x, p in zip(found, there, strict=True)])
        keys = self.f([gather_locations(x, p) for x, p in zip(encoder_features(self.g, source), at, strict=True)])
        pairs = zip(queries, keys, strict=True)
        return torch.stack([patch_nce(query, own, self.cfg.nce_temperature) for query, own in pairs]).mean()

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        a, b, key = batch["a"], batch["b"], batch["key"]
        columns = {"real a": a, "fake b": self.translate(a, "b", key)}
        return {**columns, "real b": b, "identity b": self.translate(b, "b", key)} if self.cfg.nce_identity else columns

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        return {"real": self.d(batch["b"]), "fake": self.d(self.translate(batch["a"], "b", batch["key"]))}


class FastCUT(CUT):
    """CUT with other defaults."""

    name = "fastcut"
    Config = FastCUTConfig


def nce_channels(cfg: CUTConfig) -> list[int]:
    """Of the maps that are contrasted. UsageError if the generator has none that could be."""
    with torch.device("meta"):
        net = build_generator(cfg, cfg.input_channels, cfg.output_channels)
        image = torch.empty(1, cfg.input_channels, net.minimum, net.minimum)
    if not nce_layers(net):
        raise UsageError(
            f"--generator {cfg.generator}: what is contrasted are maps of a chain around residual blocks; "
            f"use antialias_9blocks or resnet_9blocks, or another number of blocks"
        )
    return [x.shape[1] for x in encoder_features(net, image)]


def flip_where(x: Tensor, flipped: Tensor) -> Tensor:
    """Images (N, C, H, W), mirrored where `flipped` (N,)."""
    return torch.where(flipped[:, None, None, None], x.flip(3), x)

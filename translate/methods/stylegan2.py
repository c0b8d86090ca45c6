"""StyleGAN2: images from noise by styles (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020),
with settings and adaptive augmentation of "Training Generative Adversarial Networks with Limited Data" (NeurIPS 2020). The
defaults are those of its official code (`--cfg=auto`); docs/methods.md lists the source of each, and the deviations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Losses, Method, Scheduled, Step, Update
from translate.methods.building import build_adversarial_loss, check_adversarial_config, coupling_reason
from translate.methods.configs import DiscriminatorConfig, NoRandomCrop
from translate.methods.noise_images import (
    OneDomainConfig,
    check_one_domain,
    check_power_of_two,
    refuse_translation,
    sample_columns,
)
from translate.nn.base import clamp_to_image_range
from translate.nn.diffaugment import diffaugment, parse_policy
from translate.nn.equalized import standard_normal_
from translate.nn.losses import ADVERSARIAL, Logits, path_lengths, r1_penalty
from translate.nn.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator, initialise_generator_
from translate.nn.spectral_norm import without_autocast
from translate.runtime import distributed

MIN_SIZE, MAX_SIZE = 8, 1024
"""Sides of the smallest and largest images in pixels."""
LARGE_SIZE = 512
"""Side from which on the official settings have twice the channels next to the image; see `full_width_size`."""
EMA_SHARE = 10_000 / 32
"""Half-life of the averages in images, for each image of a step (code)."""
PATH_DECAY = 0.01
"""Share of a new mean in the running mean of the path lengths (code)."""
SIGN_DECAY = 0.25
"""Share of a new mean in the running mean of the signs of real logits: about the four steps that the code takes together."""
ADAPTATION_IMAGES = 500_000
"""Images in which the share of augmented images can go from 0 to 1 ("Limited Data", sec. 3.2)."""


@dataclass(frozen=True)
class StyleGAN2Config(NoRandomCrop, OneDomainConfig, DiscriminatorConfig):
    """Config of StyleGAN2."""

    batch_size: int | None = option(  # type: ignore[assignment]
        None, "images in a training step, for each process [default: 4096 / crop size, at most 32]", low=1, group="Data"
    )
    crop_size: int = option(128, "side of the images: a power of two from 8 to 1024", low=2, group="Data")
    flip: bool = option(False, "mirror half of the images", group="Data")
    lr: float = option(2.5e-3, "learning rate of both networks", low=0, group="Length")
    beta2: float = option(0.99, "decay of Adam's mean square of gradients", low=0, high=0.9999, group="Length")
    g_width: int = option(
        512,
        "channels of the generator's maps up to --full-width-size; maps of twice the side have half as many",
        low=1,
        group="Networks",
    )
    d_width: int = option(512, "the same for the discriminator", low=1, group="Networks")
    full_width_size: int | None = option(
        None,
        "side in pixels up to which maps have all channels [default: 32; 64 for images from 512 pixels up]",
        low=4,
        group="Networks",
    )
    noise_size: int = option(512, "length of the noise vector and of the style codes", low=1, group="Networks")
    mapping_layers: int = option(
        2, "layers of the mapping from noise to style codes; 8 in the paper", low=1, group="Networks"
    )
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    lambda_r1: float | None = option(
        None,
        "weight γ of R1, the squared gradient at real images [default: 0.0002 · crop size² / whole batch; 0 where "
        "--adversarial has a penalty of its own]",
        low=0,
        group="Losses",
    )
    r1_every: int = option(16, "apply R1 every N steps, with N times its weight", low=1, group="Losses")
    lambda_path: float = option(2.0, "weight of the path length regularisation", low=0, group="Losses")
    path_every: int = option(4, "apply it every N steps, with N times its weight", low=1, group="Losses")
    style_mixing: float = option(
        0.9,
        "share of the generated images in training with a second style in their last layers",
        low=0,
        high=1,
        group="Losses",
    )
    diffaugment: str = option(
        "color,translation,cutout",
        "DiffAugment policy: random changes of images that the discriminator sees; empty for none",
        choices=DiscriminatorConfig.__dataclass_fields__["diffaugment"].metadata["choices"],
        accepts=DiscriminatorConfig.__dataclass_fields__["diffaugment"].metadata["accepts"],
        group="Losses",
    )
    ada_target: float = option(
        0.6,
        "adapt the share of changed images so that the mean sign of the logits of real images comes to this; 0 changes every "
        "image",
        low=0,
        high=1,
        group="Losses",
    )
    ema_half_life: int | None = option(  # type: ignore[assignment]
        None,
        "half-life, in images, of the exponential moving average (EMA) of the generator, which is exported; 0 turns it off "
        "[default: 312.5 times the whole batch]",
        low=0,
        group="Networks",
    )


QUICK: dict[str, Any] = {
    "crop_size": 32,
    "batch_size": 16,
    "g_width": 32,
    "d_width": 32,
    "noise_size": 64,
    "lambda_r1": 0.3,
    "lambda_path": 0.0,
    "style_mixing": 0.0,
    "ada_target": 0.0,
    "images": 64_000,
    "ema_half_life": 5_000,
}
"""Settings of the preset quick: images of 32 pixels in minutes on a CPU."""


class StyleGAN2(Method[StyleGAN2Config]):
    """StyleGAN2: a generator `g` of images from noise through style codes, and a discriminator `d`."""

    name = "stylegan2"
    summary = "images from noise by styles, which can be mixed, truncated and found for an image; for translate sample"
    layout = "images"
    Config = StyleGAN2Config
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"images": 25_000_000}, "quick": QUICK}
    generator_names = {}
    sampling_networks = ("g",)
    has_styles = True
    truncation_range = (0.0, 1.0)
    network_settings = (
        "input_channels", "output_channels", "crop_size", "g_width", "d_width", "full_width_size", "noise_size",
        "mapping_layers", "range_a",
    )  # fmt: skip
    ema = ("g",)
    path_mean: Tensor
    augmented_share: Tensor
    real_sign: Tensor

    def __init__(self, cfg: StyleGAN2Config) -> None:
        super().__init__(cfg)
        channels, size = cfg.input_channels, cfg.crop_size
        full_size = cfg.full_width_size or default_full_width_size(cfg)
        self.g = StyleGAN2Generator(
            cfg.noise_size, cfg.noise_size, cfg.mapping_layers, channels, size, cfg.g_width, full_size
        )
        self.d = StyleGAN2Discriminator(channels, size, cfg.d_width, full_size)
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        initialise_generator_(self.g, cfg.seed, "g")
        standard_normal_(self.d, cfg.seed, "d")
        self.register_buffer("path_mean", torch.zeros(()))
        self.register_buffer("augmented_share", torch.zeros(()) if cfg.ada_target else torch.ones(()))
        self.register_buffer("real_sign", torch.zeros(()))
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.policy = parse_policy(cfg.diffaugment)
        every = {"g": cfg.path_every if cfg.lambda_path else 0, "d": cfg.r1_every if cfg.lambda_r1 else 0}
        roles = {"g": {}, "d": {"role": DISCRIMINATOR}}
        self.updates = {name: lazy_update(name, cfg, every[name], **roles[name]) for name in ("g", "d")}
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: StyleGAN2Config) -> StyleGAN2Config:
        check_power_of_two(cfg, "stylegan2", MIN_SIZE, MAX_SIZE)
        check_one_domain(cfg, "stylegan2")
        if cfg.precision == "fp16":
            raise UsageError("--precision fp16 cannot hold the gradients of stylegan2's penalties; use bf16 or fp32")
        batch_size = cfg.batch_size or max(1, min(4096 // cfg.crop_size, 32))
        whole = batch_size * distributed.launched_processes()
        has_penalty = ADVERSARIAL[cfg.adversarial].penalty_weight > 0
        r1 = 0.0 if has_penalty else 0.0002 * cfg.crop_size**2 / whole
        cfg = replace(
            cfg,
            output_channels=cfg.input_channels,
            batch_size=batch_size,
            lambda_r1=r1 if cfg.lambda_r1 is None else cfg.lambda_r1,
            full_width_size=cfg.full_width_size or default_full_width_size(cfg),
            ema_half_life=round(EMA_SHARE * whole) if cfg.ema_half_life is None else cfg.ema_half_life,
        )
        check_adversarial_config(cfg)
        return cfg

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {"a": Domain(self.cfg.input_channels, self.cfg.range_a)}

    def has_path_penalty(self, clock: Clock) -> bool:
        """Return whether the step regularises path lengths."""
        return self.cfg.lambda_path > 0 and clock.step % self.cfg.path_every == 0

    def has_r1(self, clock: Clock) -> bool:
        """Return whether the step has R1."""
        return bool(self.cfg.lambda_r1) and clock.step % self.cfg.r1_every == 0

    def phase(self, clock: Clock) -> str:
        lazy = "path" if self.has_path_penalty(clock) else "", "r1" if self.has_r1(clock) else ""
        return " ".join(filter(None, (*lazy, self.adversarial_loss.phase(clock.step))))

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the generator's loss and its regularisation, then the discriminator's; lazy ones are steps of their own."""
        real, key, loss = batch["a"], batch["key"], self.adversarial_loss
        on_fake = self.d(self.augment(self.generate(key, "g"), key, "g"))
        yield "g", {"adv": loss.generator_loss(on_fake, lambda: self.d(self.augment(real, key, "g")))}
        if self.has_path_penalty(clock):
            yield "g", {"path": reaching_all(self.g, self.path_penalty(key))}

        with torch.no_grad():
            fake = self.generate(key, "d")
        fake_view, real_view = self.augment(fake, key, "fake"), self.augment(real, key, "real")
        on_fake, on_real = self.d(fake_view), self.d(real_view)
        sign = distributed.all_reduce_mean(on_real.detach().sign().mean())
        losses: Losses = {"adv": loss.discriminator_loss(on_real, on_fake)}
        if loss.has_penalty(clock.step):
            losses["penalty"] = loss.penalty(self.d.forward, real_view, fake_view, key)
        yield "d", losses
        if self.has_r1(clock):
            yield "d", {"r1": reaching_all(self.d, self.r1(real, key))}
        self.adapt(sign, len(key) * distributed.world_size())

    def latent_code(self, key: Tensor, name: str) -> Tensor:
        """Return noise (N, noise_size) from N(0, 1) that key (N,) and the name of the use decide."""
        return keyed_random.normal(key, name, self.cfg.noise_size)

    def training_codes(self, key: Tensor, name: str) -> Tensor:
        """Return style codes (N, code_count, D) with style mixing, each with a cut of its own; their average follows them."""
        first = self.g.mapping(self.latent_code(key, f"z of {name}"))
        if self.training:
            self.g.mapping.update_average(distributed.all_reduce_mean(first.detach().mean(0)))
        codes = self.g.spread(first)
        if not self.cfg.style_mixing:
            return codes
        second = self.g.mapping(self.latent_code(key, f"second z of {name}"))
        chance, place = keyed_random.uniform(key, f"mixing of {name}", 2, 1).unbind(1)
        cut = 1 + (place * (self.g.code_count - 1)).to(torch.int64)  # (N, 1), from 1 to code_count - 1
        is_second = (torch.arange(self.g.code_count, device=key.device) >= cut) & (chance < self.cfg.style_mixing)
        return torch.where(is_second[:, :, None], second[:, None], codes)

    def generate(self, key: Tensor, name: str) -> Tensor:
        """Return generated images (N, C, H, W) for a training step; `name`: of the draws."""
        images: Tensor = self.g(self.training_codes(key, name), keyed_random.fold_in(key, f"noise of {name}"))
        return images

    def path_penalty(self, key: Tensor) -> Tensor:
        """Return the path length regularisation (sec. 3.2) of every other image: distance of the lengths from their mean."""
        chosen = key[::2]
        with without_autocast(key.device):
            codes = self.training_codes(chosen, "path")
            images = self.g.forward(codes, keyed_random.fold_in(chosen, "noise of path"))
            lengths = path_lengths(images, codes, chosen)
            self.path_mean.lerp_(
                distributed.all_reduce_mean(lengths.detach().mean()).to(self.path_mean.dtype), PATH_DECAY
            )
            distance = (lengths - self.path_mean).square().mean()
        return self.cfg.lambda_path * self.cfg.path_every * distance

    def r1(self, real: Tensor, key: Tensor) -> Tensor:
        """Return R1 at real images as they are before they are augmented (code).

        Halved, as the discriminator's adversarial loss is here, so that γ means what it does in the paper.
        """
        assert self.cfg.lambda_r1 is not None, "the config is resolved"
        penalty = r1_penalty(lambda x: self.d.forward(self.augment(x, key, "r1")), real)
        return 0.5 * self.cfg.lambda_r1 * self.cfg.r1_every * penalty

    def augment(self, x: Tensor, key: Tensor, name: str) -> Tensor:
        """Apply each row of the policy to images x (N, C, H, W) with the adapted probability; `name`: of the draws."""
        for row in self.policy:
            changed = diffaugment(x, key, (row,), name)
            chance = keyed_random.uniform(key, f"{name}/{row} or not", 1, 1, 1)
            x = torch.where(chance < self.augmented_share, changed, x)
        return x

    @torch.no_grad()
    def adapt(self, sign: Tensor, images: int) -> None:
        """Adapt the share of augmented images after a step, where the settings ask for it: up where D is too sure of real ones.

        sign: mean of the signs of the logits of real images ("Limited Data", eq. 1).
        """
        if not (self.cfg.ada_target and self.policy):
            return
        self.real_sign.lerp_(sign.to(self.real_sign.dtype), SIGN_DECAY)
        change = (self.real_sign - self.cfg.ada_target).sign() * (images / ADAPTATION_IMAGES)
        self.augmented_share.add_(change).clamp_(0, 1)

    def styles(self, key: Tensor, truncation: float = 1.0) -> Tensor:
        return self.g.truncate(self.g.mapping(self.latent_code(key, "z")), truncation)

    def sample_styles(self, styles: Tensor) -> Tensor:
        codes = self.g.spread(styles) if styles.ndim == 2 else styles
        return clamp_to_image_range(self.g(codes, torch.zeros(len(codes), dtype=torch.int64, device=codes.device)))

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images, each a function of its key in any batch; the noise of the layers is the same for all."""
        return self.sample_styles(self.styles(key, 1.0 if truncation is None else truncation))

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> NoReturn:
        refuse_translation(self)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return {"real": batch["a"], **sample_columns(self, batch["key"])}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        return {"real": self.d(batch["a"]), "fake": self.d(self.sample(batch["key"]))}


def default_full_width_size(cfg: StyleGAN2Config) -> int:
    """Return the side up to which maps have all channels, by the size of the images (code)."""
    return 64 if cfg.crop_size >= LARGE_SIZE else 32


def reaching_all(network: nn.Module, loss: Tensor) -> Tensor:
    """Return a loss with a gradient of 0 for the parameters that it does not depend on, so that Adam steps them too (code)."""
    return loss + 0 * torch.stack([p.sum() for p in network.parameters()]).sum().to(loss.dtype)


def lazy_update(network: str, cfg: StyleGAN2Config, every: int, **options: Any) -> Update:
    """Return the update of a network with a penalty every so many steps, each a step of Adam more (appendix B); 0: with none.

    The rate and the decays are those that keep the progress of `every` steps in `every` + 1.
    """
    share = every / (every + 1) if every else 1.0
    betas = (0.0, cfg.beta2**share)
    return Update((network,), cfg.lr * share, options={"betas": betas, "eps": 1e-8}, **options)

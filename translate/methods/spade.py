"""SPADE: images from label maps (Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019). The
defaults are the recipe of the authors' code, but for the perceptual loss, which needs weights (--lambda-perceptual 10)."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Scheduled, Step, Update
from translate.methods.building import check_gan_config
from translate.methods.configs import resolve_label_maps
from translate.methods.latent_code import LatentCodeMethod
from translate.methods.paired import (
    FeatureMatchingConfig,
    FeatureMatchingMethod,
    PairedMethod,
    check_features_to_match,
)
from translate.nn import networks
from translate.nn.base import MultiscaleFeatureDiscriminator
from translate.nn.losses import ADVERSARIAL, Logits, gaussian_kl
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.spade import LATENT, SPADEEncoder, SPADEGenerator, spade_generator_for


@dataclass(frozen=True)
class SPADEConfig(FeatureMatchingConfig):
    """Config of SPADE."""

    epochs: int = option(50, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    lr: float = option(
        2e-4, "learning rate: half of it for the generator, twice as much for the discriminator", low=0, group="Length"
    )
    beta2: float = option(0.9, "decay of Adam's mean square of gradients", low=0, high=0.9999, group="Length")
    generator: str | None = option(  # type: ignore[assignment]
        None,
        "generator network; spade doubles its first map 5 times, spade_6ups 6 times [default: spade, or with fewer ups for "
        "crops below 128]",
        choices=GENERATORS,
        accepts=networks.find,
        group="Networks",
    )
    discriminator: str = option(
        "spade",
        "discriminator network; spade judges images at two scales",
        choices=DISCRIMINATORS,
        accepts=networks.find_discriminator,
        group="Networks",
    )
    norm: str = option(
        "batch",
        "norms of the generator, without parameters of their own; the spade discriminator has instance norms, or none",
        choices=("batch", "instance", "none"),
        group="Networks",
    )
    norm_statistics: str = option(
        "running",
        "statistics for batch norm in conversion: sample (each image's own) or running (averages over training)",
        choices=("sample", "running"),
        group="Networks",
    )
    adversarial: str = option("hinge", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    vae: bool = option(
        False,
        "learn styles: an encoder of the true image gives the code that the generator begins with; conversion draws it by "
        "--seed",
        group="Networks",
    )
    lambda_kld: float = option(
        0.05, "with --vae on: weight of the codes' distance from a normal distribution", low=0, group="Losses"
    )


class SPADE(LatentCodeMethod[SPADEConfig], FeatureMatchingMethod[SPADEConfig]):
    """SPADE (sec. 3): a generator `g` from label maps a to images b, and discriminators `d` of pairs at two scales.

    With `vae` the generator begins with a latent code, and there is an encoder `e` of the style of b (sec. 3, multi-modal
    synthesis).
    """

    name = "spade"
    summary = "paired translation of label maps to images; keeps small and uniform regions, where other norms lose them"
    Config = SPADEConfig
    presets = {"paper": {}}
    noise_setting = "--vae on"
    latent_size, code_name = LATENT, "code"
    network_settings = (*PairedMethod.network_settings, "vae", "crop_size")

    def __init__(self, cfg: SPADEConfig) -> None:
        super().__init__(cfg)
        if cfg.vae:
            assert isinstance(self.g, SPADEGenerator), "the config is checked"
            self.g.use_latent(cfg.crop_size)
            self.g.initialise(self.g, cfg.seed, "g")
            self.e = SPADEEncoder(cfg.output_channels, cfg.g_width, cfg.crop_size)
            self.e.initialise(self.e, cfg.seed, "e")
            self.generator_sees_image_alone, self.has_noise = False, True
            self.style_networks, self.ema = ("e",), ("g", "e")
        # Two time scales (Heusel et al., 2017), as in appendix A.
        options: dict[str, Any] = {"betas": (0.0, cfg.beta2)}
        self.updates = {
            "g": Update(("g", *self.style_networks), cfg.lr / 2, options=options),
            "d": Update(("d",), cfg.lr * 2, options=options, role=DISCRIMINATOR),
        }
        self.coupled = self.coupled or "power iterations of spectral norm"

    @classmethod
    def resolve_config(cls, cfg: SPADEConfig) -> SPADEConfig:
        cfg = resolve_label_maps(cfg)
        if cfg.generator is None:
            generator = spade_generator_for(cfg.crop_size)
            if generator is None:
                raise UsageError(
                    f"--crop-size {cfg.crop_size}: the spade generator takes multiples of 2 from 8 up; use --crop-size "
                    f"{max(8, cfg.crop_size // 32 * 32)}"
                )
            cfg = replace(cfg, generator=generator)
        if cfg.vae and not isinstance(cls.on_meta(replace(cfg, vae=False)).g, SPADEGenerator):
            raise UsageError(f"--vae on: {cfg.generator} takes no code; use --generator spade, or --vae off")
        if cfg.vae and cfg.preprocess == "none":
            raise UsageError("--vae on: learns codes at one size of crops; use a --preprocess that crops, or --vae off")
        if cfg.vae and cfg.gradient_checkpointing:
            raise UsageError("--gradient-checkpointing on: does not work with --vae on; leave one of them out")
        check_features_to_match(cls.name, cfg, cls.on_meta(cfg).d)
        check_gan_config(cls, cfg)
        return cfg

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the generator's losses (sec. 3 and appendix A), then the discriminator's, for a new output."""
        b = batch["b"]
        style = self.encode(b)
        kld = {} if style is None else {"kld": self.cfg.lambda_kld * gaussian_kl(*style)}
        fake = self.generate(batch, style, "g")
        yield "g", {**self.generator_losses(batch, fake), **kld}

        with torch.no_grad():
            fake = self.generate(batch, self.encode(b), "d")
        yield "d", self.discriminator_losses(batch, fake, clock.step)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the means and log variances of the codes of true images, (N, LATENT) each; None without `vae`."""
        return self.e(image) if self.cfg.vae else None

    def generate(self, batch: Batch, style: tuple[Tensor, Tensor] | None, name: str) -> Tensor:
        """Return the outputs for the inputs of a batch, by codes drawn from their distributions; `name`: see `draw_code`."""
        return self.g(batch["a"]) if style is None else self.g(batch["a"], self.draw_code(batch, *style, name))

    def draw_code(self, batch: Batch, mean: Tensor, log_variance: Tensor, name: str) -> Tensor:
        """Return codes (N, LATENT) from their distributions; `name`: of the draws."""
        noise = keyed_random.normal(batch["key"], f"code {name}", LATENT).to(mean.dtype)
        return mean + noise * torch.exp(0.5 * log_variance)

    def generator_losses(self, batch: Batch, fake: Tensor) -> Losses:
        """Return the generator's losses for its output: adversarial, feature matching, and those of the content."""
        b, matched = batch["b"], {}
        pairs = torch.cat([self.pair(batch, image, "g") for image in (fake, b)])  # in one pass, as in the authors' code
        if self.cfg.lambda_feature_matching > 0:
            assert isinstance(self.d, MultiscaleFeatureDiscriminator), "the config is checked"
            features, logits = self.d.features_and_logits(pairs)
            fakes, reals = ([[x.chunk(2)[side] for x in maps] for maps in features] for side in (0, 1))
            matched["feature_matching"] = self.feature_matching_loss(
                fakes, [[x.detach() for x in maps] for maps in reals]
            )
            on_fake, on_real = halve_logits(logits)
        else:
            on_fake, on_real = halve_logits(self.d(pairs))
        adversarial = self.adversarial_loss.generator_loss(on_fake, lambda: on_real)
        return {"adv": adversarial, **matched, **self.content(fake, b)}

    def discriminator_losses(self, batch: Batch, fake: Tensor, step: int) -> Losses:
        """Return the discriminator's losses: "adv", the mean over its scales, and "penalty" when due."""
        loss, fake_pair, real_pair = (
            self.adversarial_loss, self.pair(batch, fake, "fake"), self.pair(batch, batch["b"], "real"),
        )  # fmt: skip
        on_fake, on_real = halve_logits(self.d(torch.cat([fake_pair, real_pair])))
        losses = {"adv": loss.discriminator_loss(on_real, on_fake)}
        if loss.has_penalty(step):
            losses["penalty"] = loss.penalty(self.d.forward, real_pair, fake_pair, batch["key"])
        return losses


def halve_logits(logits: Logits) -> tuple[Logits, Logits]:
    """Return the logits of the first and of the second half of a batch, of one map or of several."""
    if isinstance(logits, Tensor):
        first, second = logits.chunk(2)
        return first, second
    return [x.chunk(2)[0] for x in logits], [x.chunk(2)[1] for x in logits]

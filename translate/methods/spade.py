"""SPADE: images from label maps (Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019). The
defaults are the recipe of the authors' code, but for the perceptual loss, which needs weights (--lambda-perceptual 10)."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Method, Scheduled, Step, Update
from translate.methods.building import (
    augment,
    build_adversarial_loss,
    build_discriminator,
    build_generator,
    check_gan_config,
    coupling_reason,
)
from translate.methods.configs import LABEL_SETTINGS, NETWORK_SETTINGS, GanConfig, LabelMapConfig, resolve_label_maps
from translate.methods.content_loss import ContentLoss, feature_networks
from translate.nn import networks
from translate.nn.base import clamp_to_image_range
from translate.nn.blocks import keyed_dropout
from translate.nn.losses import ADVERSARIAL, Logits, feature_matching, gaussian_kl
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.nn.networks.spade import (
    LATENT,
    SPADEDiscriminator,
    SPADEEncoder,
    SPADEGenerator,
    spade_generator_for,
)


@dataclass(frozen=True)
class SPADEConfig(GanConfig, LabelMapConfig):
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
    lambda_feature_matching: float = option(
        10.0,
        "weight of feature matching: the L1 distance of the discriminator's maps of the output and of the true image",
        low=0,
        group="Losses",
    )
    vae: bool = option(
        False,
        "learn styles: an encoder of the true image gives the code that the generator begins with; conversion draws it by "
        "--seed",
        group="Networks",
    )
    lambda_kld: float = option(
        0.05, "with --vae on: weight of the codes' distance from a normal distribution", low=0, group="Losses"
    )


class SPADE(Method[SPADEConfig]):
    """SPADE (sec. 3): a generator `g` from label maps a to images b, and discriminators `d` of pairs at two scales.

    With `vae` an encoder `e` of the style of b (sec. 3, multi-modal synthesis).
    """

    name = "spade"
    summary = "paired translation of label maps to images; keeps small and uniform regions, where other norms lose them"
    layout = "paired"
    Config = SPADEConfig
    presets = {"paper": {}}
    generator_names = {"b": "g"}
    network_settings = (*NETWORK_SETTINGS, *LABEL_SETTINGS, "vae", "crop_size")
    ema = ("g",)

    def __init__(self, cfg: SPADEConfig) -> None:
        super().__init__(cfg)
        self.g = build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")
        channels = cfg.input_channels + cfg.output_channels
        self.d = build_discriminator(cfg, channels, cfg.seed, "d", condition_channels=cfg.input_channels)
        trained: tuple[str, ...] = ("g",)
        if cfg.vae:
            assert isinstance(self.g, SPADEGenerator), "the config is checked"
            self.g.use_latent(cfg.crop_size)
            self.g.initialise(self.g, cfg.seed, "g")
            self.e = SPADEEncoder(cfg.output_channels, cfg.g_width, cfg.crop_size)
            self.e.initialise(self.e, cfg.seed, "e")
            trained = ("g", "e")
        self.generator_sees_image_alone = not cfg.vae  # type: ignore[misc]
        self.has_noise = cfg.vae  # type: ignore[misc]
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, cfg.output_channels)
        self.frozen_networks = feature_networks(self)
        # Two time scales (Heusel et al., 2017), as in appendix A.
        options: dict[str, Any] = {"betas": (0.0, cfg.beta2)}
        self.updates = {
            "g": Update(trained, cfg.lr / 2, options=options),
            "d": Update(("d",), cfg.lr * 2, options=options, role=DISCRIMINATOR),
        }
        self.coupled = coupling_reason(self) or "power iterations of spectral norm"

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
        if cfg.lambda_feature_matching > 0 and not isinstance(cls.on_meta(cfg).d, SPADEDiscriminator):
            raise UsageError(
                f"--discriminator {cfg.discriminator} has no features for spade to match; use spade, or "
                f"--lambda-feature-matching 0"
            )
        check_gan_config(cls, cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the generator's losses (sec. 3 and appendix A), then the discriminator's, for a new output."""
        a, b = batch["a"], batch["b"]
        kld: Losses = {}
        if self.cfg.vae:
            mean, log_variance = self.e(b)
            kld["kld"] = self.cfg.lambda_kld * gaussian_kl(mean, log_variance)
            fake = self.g(a, self.draw_code(batch, mean, log_variance, "g"))
        else:
            fake = self.g(a)
        yield "g", {**self.generator_losses(batch, fake), **kld}

        with torch.no_grad():
            if self.cfg.vae:
                mean, log_variance = self.e(b)
                fake = self.g(a, self.draw_code(batch, mean, log_variance, "d"))
            else:
                fake = self.g(a)
        yield "d", self.discriminator_losses(batch, fake, clock.step)

    def draw_code(self, batch: Batch, mean: Tensor, log_variance: Tensor, name: str) -> Tensor:
        """Return codes (N, LATENT) from their distributions; `name`: of the draws."""
        noise = keyed_random.normal(batch["key"], f"code {name}", LATENT).to(mean.dtype)
        return mean + noise * torch.exp(0.5 * log_variance)

    def pairs(self, batch: Batch, fake: Tensor, fake_name: str, real_name: str) -> tuple[Tensor, Tensor]:
        """Return the inputs with the outputs and with the true images, each augmented by the draws of its name."""
        a = batch["a"]
        shown = ((fake, fake_name), (batch["b"], real_name))
        fake_pair, real_pair = (
            augment(self.cfg, batch, torch.cat([a, image], 1), name, condition_channels=a.shape[1])
            for image, name in shown
        )
        return fake_pair, real_pair

    def generator_losses(self, batch: Batch, fake: Tensor) -> Losses:
        """Return the generator's losses for its output: adversarial, feature matching, and those of the content."""
        b, weight, matched = batch["b"], self.cfg.lambda_feature_matching, {}
        pair = self.pairs(batch, fake, "g", "g")
        if weight > 0:
            assert isinstance(self.d, SPADEDiscriminator), "the config is checked"
            # Both in one pass, as in the authors' code.
            features, logits = self.d.features_and_logits(torch.cat(pair))
            on_fake, on_real = ([x.chunk(2)[side] for x in logits] for side in (0, 1))
            scales = [[x.chunk(2) for x in maps] for maps in features]
            distances = [
                feature_matching([fakes for fakes, _ in maps], [reals.detach() for _, reals in maps]) for maps in scales
            ]
            matched["feature_matching"] = weight * torch.stack(distances).mean()
        else:
            on_fake, on_real = self.judge(pair)
        adversarial = self.adversarial_loss.generator_loss(on_fake, lambda: on_real)
        return {"adv": adversarial, **matched, **self.content(fake, b)}

    def judge(self, pair: tuple[Tensor, Tensor]) -> tuple[Any, Any]:
        """Return the logits of outputs and of true images, of one pass."""
        logits = self.d(torch.cat(pair))
        if isinstance(logits, Tensor):
            on_fake, on_real = logits.chunk(2)
            return on_fake, on_real
        return [x.chunk(2)[0] for x in logits], [x.chunk(2)[1] for x in logits]

    def discriminator_losses(self, batch: Batch, fake: Tensor, step: int) -> Losses:
        """Return the discriminator's losses: "adv", the mean over its scales, and "penalty" when due."""
        loss, (on_fake_view, on_real_view) = self.adversarial_loss, self.pairs(batch, fake, "fake", "real")
        on_fake, on_real = self.judge((on_fake_view, on_real_view))
        losses = {"adv": loss.discriminator_loss(on_real, on_fake)}
        if loss.has_penalty(step):
            losses["penalty"] = loss.penalty(self.d.forward, on_real_view, on_fake_view, batch["key"])
        return losses

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        net = self.generator_for(to)
        if not self.cfg.vae or key is None:
            return super().translate(x, to, key)
        with keyed_dropout(net, key):
            code = keyed_random.normal(key, "code", LATENT).to(x.dtype)
            return clamp_to_image_range(net(x, code))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "input": self.displayed("a", batch["a"]),
            "output": self.translate(batch["a"], "b", batch["key"]),
            "truth": batch["b"],
        }

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        a, b = batch["a"], batch["b"]
        fake = self.translate(a, "b", batch["key"])
        return {"real": self.d(torch.cat([a, b], 1)), "fake": self.d(torch.cat([a, fake], 1))}

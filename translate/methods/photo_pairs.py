"""Base of methods that make their training pairs from photos: the input is made of a photo, which is the true output.

They need a folder of ordinary photos and nothing else. A subclass says how the input is made and what the generator is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Method, Scheduled, Step, Update
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    build_discriminator,
    check_gan_config,
    coupling_reason,
    discriminator_losses,
)
from translate.methods.configs import GanConfig
from translate.methods.content_loss import ContentLoss, feature_networks, match_discriminator_features
from translate.nn.base import Generator
from translate.nn.losses import ADVERSARIAL, Logits, cycle_consistency, l1


@dataclass(frozen=True)
class PhotoPairsConfig(GanConfig):
    """Config of methods that make their pairs from photos."""

    loss: str = option(
        "paired",
        "paired: compare each output with its photo; cycle: draw the photos that inputs are made of and those that outputs "
        "shall look like apart, and compare each output, made an input again, with its input",
        choices=("paired", "cycle"),
        group="Losses",
    )
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    lambda_gan: float = option(
        1.0, "weight of the generator's adversarial loss; 0 trains without a discriminator", low=0, group="Losses"
    )
    lambda_l1: float = option(
        100.0, "weight of the L1 loss between the output and the photo, with --loss paired", low=0, group="Losses"
    )
    lambda_cycle: float = option(10.0, "weight of the cycle-consistency loss, with --loss cycle", low=0, group="Losses")

    @property
    def not_advised(self) -> tuple[str, ...]:
        """Weight that the chosen loss does not use."""
        return ("lambda_cycle",) if self.loss == "paired" else ("lambda_l1",)


C = TypeVar("C", bound=PhotoPairsConfig)


class PhotoPairs(Method[C]):
    """Base class with a generator `g` from inputs to photos, and a discriminator `d` unless `lambda_gan` is 0.

    A batch holds photos as domain a, and with `--loss cycle` others as domain b. With `--loss paired` the losses are those of
    pix2pix, and d judges an output beside its input; with `--loss cycle` d judges an output alone. There the way back is known:
    it is how inputs are made, so that no second generator is learnt.

    A subclass has `build_photo_generator` and `make_input`, and the other methods up to `way_back` where the defaults do not
    fit.
    """

    layout = "photos"
    generator_names = {"b": "g"}
    ema = ("g",)
    cycle_is_exact: ClassVar[bool] = False
    """True: an output made an input again is its input by construction; `--loss cycle` has no cycle-consistency loss then."""

    def __init__(self, cfg: C) -> None:
        super().__init__(cfg)
        self.g = self.build_photo_generator()
        photo = cfg.output_channels
        condition = photo if cfg.loss == "paired" else 0
        has_d = cfg.lambda_gan > 0
        self.d = (
            build_discriminator(cfg, condition + photo, cfg.seed, "d", condition_channels=condition) if has_d else None
        )
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.content = ContentLoss(cfg, photo)
        self.frozen_networks = feature_networks(self)
        d_update = Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR)
        self.updates = {"d": d_update} if has_d else {}
        self.updates["g"] = Update(("g",), cfg.lr, options=adam_options(cfg))
        self.coupled = coupling_reason(self)

    # What a subclass decides.

    def build_photo_generator(self) -> Generator:
        """Return the generator `g` from inputs to photos (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def make_input(self, photo: Tensor, key: Tensor) -> Tensor:
        raise NotImplementedError

    def copy_input(self, x: Tensor) -> Tensor:
        return x

    def generate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (N, C, H, W) for inputs x in training, and what `reconstruction` compares with the photos."""
        output = self.g(x)
        return output, output

    def reconstruction(self, made: Tensor, photo: Tensor) -> Tensor:
        """Return the L1 distance (0-dim) between what `generate` has made and the photos (N, C, H, W)."""
        return l1(made, photo)

    def way_back(self, output: Tensor, key: Tensor) -> Tensor:
        """Return outputs (N, C, H, W) made inputs again, with a graph."""
        return self.make_input(output, key)

    # The method.

    @classmethod
    def resolve_config(cls, cfg: C) -> C:
        if cfg.input_channels != cfg.output_channels:
            raise UsageError(
                f"--input-channels {cfg.input_channels}, --output-channels {cfg.output_channels}: {cls.name} makes its inputs "
                f"of the photos, so that both have the same channels; give the same number to both flags"
            )
        declared = cfg.range_b if cfg.range_a is None else cfg.range_a
        if cfg.range_b not in (None, declared):
            raise UsageError(
                f"--range-a {cfg.range_a}, --range-b {cfg.range_b}: {cls.name} makes its inputs of the photos, so that both "
                f"have the same values; give --range-a alone"
            )
        if cfg.colour_start == "on":
            raise UsageError(
                f"--colour-start on: {cls.name} makes its inputs of the photos, and there is no colour map to start from; "
                f"leave it out"
            )
        if cfg.loss == "cycle":
            _check_cycle(cfg)
        cfg = replace(cfg, range_a=declared, range_b=declared)
        check_gan_config(cls, cfg)
        return cfg

    @classmethod
    def draws_domains_apart(cls, cfg: C) -> bool:
        return cfg.loss == "cycle"

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses, then the generator's, as pix2pix does (Isola et al., 2017, eq. 1 and 4)."""
        loss, shared, is_paired = self.adversarial_loss, self.cfg.share_augmentation, self.cfg.loss == "paired"
        x = self.make_input(batch["a"], batch["key"])
        fake, made = self.generate(x)
        views = None
        if self.d is not None:
            real_view = self.view(batch, x, batch["a" if is_paired else "b"], "real")
            seen = fake if shared else fake.detach()
            name, beside = ("real", real_view) if shared and is_paired else ("fake", None)
            fake_view = self.view(batch, x, seen, name, beside)
            yield "d", discriminator_losses(loss, self.d, real_view, fake_view.detach(), batch["key"], clock.step)
            views = (fake_view, real_view) if shared else None
            del real_view, fake_view
        yield "g", self.generator_losses(batch, x, fake, made, views)

    def generator_losses(
        self, batch: Batch, x: Tensor, fake: Tensor, made: Tensor, views: tuple[Any, Any] | None
    ) -> Losses:
        """Return the generator's losses for its outputs `fake` of the inputs x; `made`: see `generate`.

        views: the discriminator's views of the outputs and of the photos; None: it is shown both anew.
        """
        losses = self.adversarial_generator_loss(batch, x, fake, views)
        if self.cfg.loss == "cycle":
            if not self.cycle_is_exact:
                back = self.way_back(fake, batch["key"])
                losses["cycle"] = self.cfg.lambda_cycle * cycle_consistency(back, x)
            return losses
        photo = batch["a"]
        losses["l1"] = self.cfg.lambda_l1 * self.reconstruction(made, photo)
        matched = match_discriminator_features(self.cfg, *views) if views else {}
        return {**losses, **matched, **self.content(fake, photo, without=tuple(matched))}

    def adversarial_generator_loss(
        self, batch: Batch, x: Tensor, fake: Tensor, views: tuple[Any, Any] | None
    ) -> Losses:
        """Return the adversarial loss of the outputs, "adv"; none without a discriminator."""
        d, real = self.d, batch["a" if self.cfg.loss == "paired" else "b"]
        if d is None:
            return {}
        fake_view, real_view = views or (self.view(batch, x, fake, "g"), None)

        def on_real() -> Any:
            return d(self.view(batch, x, real, "g") if real_view is None else real_view)

        return {"adv": self.cfg.lambda_gan * self.adversarial_loss.generator_loss(d(fake_view), on_real)}

    def view(self, batch: Batch, x: Tensor, image: Tensor, name: str, beside: Any = None) -> Any:
        """Return the discriminator's view of images, beside their inputs x with `--loss paired`.

        name: of the random draws of the augmentation. beside: view of other images by the same draws.
        """
        assert self.d is not None
        shown, condition = self.shown_to_d(x, image)
        return self.d.view(augment(self.cfg, batch, shown, name, condition_channels=condition), beside)

    def shown_to_d(self, x: Tensor, image: Tensor) -> tuple[Tensor, int]:
        """Return what the discriminator is shown of images, and how many of its channels, the first ones, show the inputs x."""
        if self.cfg.loss == "cycle":
            return image, 0
        condition = self.copy_input(x)
        return torch.cat([condition, image], 1), condition.shape[1]

    def sample_pairs(self, batch: Batch) -> Batch:
        """Return the sample batch, which has photos as a, with the inputs as a and the photos as b."""
        return {**batch, "a": self.make_input(batch["a"], batch["key"]), "b": batch["a"]}

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        x = self.make_input(batch["a"], batch["key"])
        return {"input": self.copy_input(x), "output": self.translate(x, "b", batch["key"]), "truth": batch["a"]}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        if self.d is None:
            return {}
        x = self.make_input(batch["a"], batch["key"])
        fake = self.translate(x, "b", batch["key"])
        return {"real": self.d(self.shown_to_d(x, batch["a"])[0]), "fake": self.d(self.shown_to_d(x, fake)[0])}


def _check_cycle(cfg: PhotoPairsConfig) -> None:
    """Check the settings that go with `--loss cycle`. Raises UsageError, with a setting that works, if one does not."""
    if cfg.lambda_gan == 0:
        raise UsageError(
            "--lambda-gan 0: with --loss cycle only the discriminator knows what photos look like; give a weight above 0, or "
            "--loss paired"
        )
    if cfg.preprocess == "none" and ADVERSARIAL[cfg.adversarial].penalty_weight:
        raise UsageError(
            f"--preprocess none keeps images of many sizes, but --adversarial {cfg.adversarial} combines each real image with "
            f"a fake one, which --loss cycle draws apart; use another --adversarial"
        )
    if given := list(_content_weights(cfg)):
        verb, those = ("compare", "them") if len(given) > 1 else ("compares", "it")
        raise UsageError(
            f"--loss cycle: {' and '.join(given)} {verb} an output with its photo, which this loss does not look at; set "
            f"{those} to 0, or use --loss paired"
        )


def _content_weights(cfg: PhotoPairsConfig) -> Iterator[str]:
    """Yield the flags of the content losses whose weights are not 0."""
    for name in ("lowpass", "features", "perceptual"):
        if getattr(cfg, f"lambda_{name}") > 0:
            yield f"--lambda-{name}"

"""StackGAN: images from texts, in two stages (Zhang et al., "StackGAN: Text to Photo-realistic Image Synthesis with Stacked
Generative Adversarial Networks", ICCV 2017). The defaults are the recipe of the authors' PyTorch code for COCO.

Unlike there, texts are encoded by a network that is learnt with the discriminator, so that no other data is needed; conditions
may be negative, as in the paper: the code puts a ReLU behind them; and images of stage I, once it is frozen, are made with
running statistics of batch norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NoReturn, Self, cast

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.caption_tokens import BUCKETS, CAPTION_LENGTH, caption_of_folder, read_embedding, tokenise
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Losses, Method, Scheduled, Step, Update, Weights
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    check_adversarial_config,
    coupling_reason,
)
from translate.methods.configs import AdversarialConfig
from translate.methods.noise_images import OneDomainConfig, check_one_domain
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.frozen import apply_frozen, freeze
from translate.nn.init import kaiming_, normal_
from translate.nn.losses import ADVERSARIAL, Logits, gaussian_kl, list_heads
from translate.nn.networks.stackgan import (
    MIN_SIZE,
    STAGE_FACTOR,
    StackDiscriminator,
    StageOneGenerator,
    StageTwoGenerator,
    TextEncoder,
)
from translate.runtime import distributed
from translate.text import printable

SAMPLE_COLUMNS = 3
"""Columns of samples in the sample grid."""


@dataclass(frozen=True)
class StackGANConfig(OneDomainConfig, AdversarialConfig):
    """Config of StackGAN."""

    epochs: int = option(120, "epochs in all", low=0, group="Length")
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    halve_lr_epochs: int = option(20, "halve the learning rate every N epochs; 0 never does", low=0, group="Length")
    batch_size: int = option(
        128, "images in a training step, for each process; the authors' stage II has 40", low=1, group="Data"
    )
    crop_size: int = option(64, "side of the generated images: a power of two from 16 up", low=2, group="Data")
    norm: str = option(
        "batch", "normalisation layers of all networks", choices=("batch", "instance", "none"), group="Networks"
    )
    g_width: int = option(
        192, "channels of the generator's next to last hidden layer in stage I, of its first in stage II", low=1,
        group="Networks",
    )  # fmt: skip
    d_width: int = option(96, "channels of the discriminator's first layer", low=1, group="Networks")
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    stage: int = option(
        1,
        f"1: images from texts; 2: images {STAGE_FACTOR} times as large a side from those of the stage I model of --init-from",
        low=1,
        high=2,
        group="Networks",
    )
    noise_size: int = option(100, "length of the noise vector", low=1, group="Networks")
    condition_size: int = option(128, "length of the condition that a text gives the networks", low=1, group="Networks")
    text_size: int = option(
        1024, "length of text embeddings; where the data has them in captions.npy, theirs", low=1, group="Networks"
    )
    text_width: int = option(256, "numbers for each token of a text in its encoder", low=1, group="Networks")
    embeddings: bool = option(
        False, "texts are embeddings, as captions.npy has them [default: as the data has them]", group="Data"
    )
    blocks: int = option(2, "residual blocks of the generator of stage II", low=0, group="Networks")
    lambda_kl: float = option(
        2.0, "weight of the conditions' distance from a normal distribution, a mean over their numbers", low=0,
        group="Losses",
    )  # fmt: skip
    classes: str | None = option(
        None,
        "comma-separated names of the classes [default: folders of the data whose names are captions]",
        group="Data",
    )

    @property
    def default_load_size(self) -> int:
        """Size that images are resized to by default: crop size · 76 / 64, as in the authors' code."""
        return self.crop_size * 76 // 64


class StackGAN(Method[StackGANConfig]):
    """StackGAN (sec. 3): a generator `g` of images from noise and texts, an encoder `t` of texts, and a discriminator `d` that
    knows wrong texts (matching-aware, Reed et al., 2016).

    In stage II the generator refines the images of the generator `g1` of stage I, which with `t` stays as it is.
    """

    name = "stackgan"
    summary = "images from texts, learnt from captions or names of folders; for translate sample, not for translation"
    layout = "captions"
    Config = StackGANConfig
    presets = {
        "paper": {},
        "quick": {
            "load_size": 38, "crop_size": 32, "g_width": 32, "d_width": 24, "batch_size": 32, "ema_half_life": 2000,
            "images": 130_000,
        },
    }  # fmt: skip
    generator_names = {}
    smallest_micro_batch = 2
    sampling_networks: ClassVar[tuple[str, ...]] = ("g", "t")
    network_settings = (
        "input_channels", "output_channels", "crop_size", "norm", "g_width", "d_width", "stage", "noise_size", "condition_size",
        "text_size", "text_width", "embeddings", "blocks", "classes", "range_a",
    )  # fmt: skip
    takes_text = True
    discriminator_weight = (
        2.0  # the authors' losses are sums over real and fake images, those of `AdversarialLoss` means
    )

    def __init__(self, cfg: StackGANConfig) -> None:
        super().__init__(cfg)
        self.classes = tuple(cfg.classes.split(",")) if cfg.classes else ()
        channels, first_size = cfg.input_channels, cfg.crop_size // (STAGE_FACTOR if cfg.stage == 2 else 1)
        sizes = {"condition_size": cfg.condition_size, "text_size": cfg.text_size}
        first = StageOneGenerator(channels, first_size, cfg.g_width, cfg.norm, noise_size=cfg.noise_size, **sizes)
        self.t = nn.Identity() if cfg.embeddings else TextEncoder(BUCKETS, cfg.text_size, cfg.text_width)
        self.g: StageOneGenerator | StageTwoGenerator = first
        if cfg.stage == 2:
            self.g1 = first
            self.g = StageTwoGenerator(channels, cfg.g_width, cfg.norm, blocks=cfg.blocks, **sizes)
            self.sampling_networks = ("g", "t", "g1")  # type: ignore[misc]
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        self.d = StackDiscriminator(
            channels, cfg.crop_size, cfg.d_width, cfg.norm, condition_size=cfg.condition_size,
            with_unconditional=cfg.stage == 2,
        )  # fmt: skip
        for name, net in self.named_children():
            kaiming_(net, cfg.seed, name, slope=1.0) if name == "t" else normal_(net, cfg.seed, name)
            set_test_time_behaviour(net, "running")  # one generated image is no batch to take statistics from
        if cfg.stage == 2:
            for net in (self.g1, self.t):
                freeze(net, stored=True)
        self.adversarial_loss = build_adversarial_loss(cfg)
        options = adam_options(cfg)
        encoder = ("t",) if cfg.stage == 1 and not cfg.embeddings else ()
        self.ema = ("g", *encoder)
        self.updates = {
            "d": Update(("d", *encoder), cfg.lr, options=options, role=DISCRIMINATOR, factor=self.rate_factor),
            "g": Update(("g",), cfg.lr, options=options, factor=self.rate_factor),
        }
        self.coupled = ", ".join(filter(None, ["texts are shifted", coupling_reason(self)]))

    def rate_factor(self, clock: Clock) -> float:
        """Return the factor of the learning rate, which is halved every `halve_lr_epochs` epochs."""
        return 0.5 ** (clock.epoch // self.cfg.halve_lr_epochs) if self.cfg.halve_lr_epochs else 1.0

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, but for the networks of stage I in stage II."""
        super().train(mode)
        if self.cfg.stage == 2:
            self.g1.eval()
        return self

    @classmethod
    def resolve_config(cls, cfg: StackGANConfig) -> StackGANConfig:
        smallest = MIN_SIZE * (STAGE_FACTOR if cfg.stage == 2 else 1)
        if cfg.crop_size < smallest or cfg.crop_size.bit_count() != 1:
            nearest = max(smallest, 1 << (cfg.crop_size.bit_length() - 1))
            raise UsageError(
                f"--crop-size {cfg.crop_size}: stage {cfg.stage} of stackgan generates images of a power of two from "
                f"{smallest} pixels up; use --crop-size {nearest}"
            )
        check_one_domain(cfg, "stackgan")
        if cfg.stage == 2 and cfg.init_from is None:
            raise UsageError(
                "--stage 2: refines the images of a trained stage I; give its model, trained on crops of a quarter of the "
                "size, by --init-from"
            )
        if cfg.batch_size // cfg.accumulate < cls.smallest_micro_batch:
            raise UsageError(
                f"--batch-size {cfg.batch_size} with --accumulate {cfg.accumulate}: wrong texts are those of other images in a "
                f"micro-batch; use micro-batches of at least 2 images"
            )
        check_adversarial_config(cfg)
        return replace(cfg, output_channels=cfg.input_channels)

    @classmethod
    def with_labels(cls, cfg: StackGANConfig, names: tuple[str, ...], exclusive: bool) -> StackGANConfig:
        """Return the config with the names of the folders that are captions; None where captions are in a file."""
        classes = ",".join(names) or None
        if cfg.classes not in (None, classes):
            raise UsageError(f"--classes {cfg.classes}: the data has {classes or 'none'}; leave it out")
        return replace(cfg, classes=classes)

    @classmethod
    def with_embeddings(cls, cfg: StackGANConfig, size: int) -> StackGANConfig:
        """Return the config for texts that are given as embeddings, which no network of this method encodes."""
        return replace(cfg, embeddings=True, text_size=size)

    def initial_weights(self, given: Mapping[str, Weights]) -> Mapping[str, Weights]:
        """Return the weights of a stage I model, whose generator becomes `g1` in stage II; of stage II as they are."""
        if self.cfg.stage == 1 or "g1" in given:
            return given
        return {{"g": "g1"}.get(name, name): weights for name, weights in given.items() if name in ("g", "t")}

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {"a": Domain(self.cfg.input_channels, self.cfg.range_a)}

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the losses of discriminator and text encoder, then the generator's (eq. 3 to 6), as in the authors' code.

        The encoder learns what tells right texts from wrong ones: through the conditioning augmentation, which is the
        generator's own.
        """
        caption = self.drawn_caption(batch)
        text = self.t(caption)
        fake, mean, log_variance = self.generate(batch["key"], text.detach())
        yield "d", self.discriminator_losses(batch, caption, text, fake.detach(), clock.step)

        # The same fakes and conditions, by the discriminator just updated. Conditions train the generator as its input alone.
        cfg, loss, condition = self.cfg, self.adversarial_loss, mean.detach()
        on_fake = self.d(augment(cfg, batch, fake, "g"), condition)
        adversarial = loss.generator_loss(on_fake, lambda: self.d(augment(cfg, batch, batch["a"], "g"), condition))
        heads = len(list_heads(on_fake))  # the authors' loss is a sum over heads
        kl = gaussian_kl(mean, log_variance) / cfg.condition_size
        yield "g", {"adv": heads * adversarial, "kl": cfg.lambda_kl * kl}

    def discriminator_losses(self, batch: Batch, caption: Tensor, text: Tensor, fake: Tensor, step: int) -> Losses:
        """Return the discriminator's losses: real images with their texts are real, fakes are not, nor are wrong texts.

        Where a wrong text is the right one, as of two images of one class, the fake counts twice. In stage II, which has a head
        without condition too, the loss is ½ (real, by both heads) + ⅓ (fake, by both, and wrong text), as in the authors' code.
        """
        cfg, loss, d = self.cfg, self.adversarial_loss, self.d
        wrong_caption = shift_texts(caption)
        condition = self.frozen_condition(text)
        wrong = self.frozen_condition(self.t(wrong_caption))
        real_view, fake_view = augment(cfg, batch, batch["a"], "real"), augment(cfg, batch, fake, "fake")
        of_real, of_fake = d.features(real_view), d.features(fake_view)
        on_real, on_wrong, on_fake = (
            d.matching_logits(features, given)
            for features, given in ((of_real, condition), (of_real, wrong), (of_fake, condition.detach()))
        )
        is_same = (caption == wrong_caption).all(1).view(-1, 1, 1, 1)
        on_wrong = torch.where(is_same, on_fake, on_wrong)
        pair = loss.discriminator_loss
        if d.alone is None:
            losses = {"adv": pair(on_real, on_fake) + pair(on_real, on_wrong)}
        else:
            # A pair is half a real term and half a fake one: by these weights the terms have the authors'.
            alone_real, alone_fake = d.alone(of_real), d.alone(of_fake)
            on_fakes = pair(on_real, on_fake) + pair(alone_real, alone_fake)
            on_wrongs = pair(on_real, on_wrong) + pair(alone_real, on_wrong)
            losses = {"adv": (2 * on_fakes + on_wrongs) / 3}
        if loss.has_penalty(step):
            uncompiled, given = d.forward, condition.detach()
            losses["penalty"] = loss.penalty(lambda x: uncompiled(x, given), real_view, fake_view, batch["key"])
        return losses

    def frozen_condition(self, text: Tensor) -> Tensor:
        """Return the conditions (N, condition_size) of text embeddings, with a gradient to the texts alone."""
        return cast(Tensor, apply_frozen(self.g.augmentation, text)[0])

    def generate(self, key: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images of text embeddings (N, text_size), and mean and log variance of their conditions.

        key (N,) decides the noise, and the conditions around their means (sec. 3.2).
        """
        z = keyed_random.normal(key, "z", self.cfg.noise_size)
        if self.cfg.stage == 1:
            condition, mean, log_variance = self.condition(key, "augmentation", self.g, text)
            return self.g(z, condition), mean, log_variance
        with torch.no_grad():
            small = self.g1(z, self.condition(key, "augmentation", self.g1, text)[0])
        condition, mean, log_variance = self.condition(key, "augmentation of stage II", self.g, text)
        return self.g(small, condition), mean, log_variance

    def condition(
        self, key: Tensor, name: str, g: StageOneGenerator | StageTwoGenerator, text: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return drawn conditions (N, condition_size) of text embeddings, and their mean and log variance."""
        mean, log_variance = g.augmentation(text)
        noise = keyed_random.normal(key, name, self.cfg.condition_size).to(mean.dtype)
        return mean + noise * (0.5 * log_variance).exp(), mean, log_variance

    def drawn_caption(self, batch: Batch) -> Tensor:
        """Return a caption of each image, of which it may have several; keys draw it.

        Tokens (N, CAPTION_LENGTH), or embeddings (N, text_size) where the data has them.
        """
        length = self.cfg.text_size if self.cfg.embeddings else CAPTION_LENGTH
        captions = (
            batch["label"].to(batch["a"].dtype if self.cfg.embeddings else torch.int64).unflatten(1, (-1, length))
        )
        if captions.shape[1] == 1:
            return captions[:, 0]
        number = (keyed_random.uniform(batch["key"], "caption") * captions.shape[1]).to(torch.int64)
        return captions.take_along_dim(number[:, None, None], 1)[:, 0]

    # Sampling.

    def encode_text(self, text: str) -> Tensor:
        """Return the tokens (CAPTION_LENGTH,) of a text; of a model of embeddings, that of a .npy file, (text_size,).

        UsageError for an empty text, or one that is no such file.
        """
        if self.cfg.embeddings:
            try:
                return torch.tensor(read_embedding(text, self.cfg.text_size))
            except ValueError as e:
                size = self.cfg.text_size
                raise UsageError(
                    f"--text {printable(text)}: {e}; this model was trained on embeddings: give a .npy file with one of {size} "
                    f"finite numbers"
                ) from None
        try:
            return torch.tensor(tokenise(text))
        except ValueError:
            raise UsageError("--text: is empty; describe the image in words") from None

    def blank_text(self) -> Tensor:
        return torch.zeros(self.cfg.text_size) if self.cfg.embeddings else self.encode_text("text")

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images of texts: label (N, …) as `encode_text` gives them, or (N,) classes, which keys draw without labels.

        UsageError without texts and classes.
        """
        if label is None or label.ndim == 1:
            if not self.classes:
                raise UsageError("this model generates images of texts; give --text")
            if label is None:
                label = (keyed_random.uniform(key, "class") * len(self.classes)).to(torch.int64)
            of_classes = torch.tensor([tokenise(caption_of_folder(name)) for name in self.classes], device=key.device)
            label = of_classes[label]
        text = self.t(label)
        return self.generate(key, text.to(next(self.g.parameters()).dtype) if self.cfg.embeddings else text)[0]

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> NoReturn:
        raise UsageError("stackgan generates images from texts and translates none; use translate sample")

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return real images, and samples of their texts."""
        text, columns = self.t(self.drawn_caption(batch)), {"real": batch["a"]}
        for index in range(SAMPLE_COLUMNS):
            columns[f"sample {index + 1}"] = self.generate(keyed_random.fold_in(batch["key"], "preview", index), text)[
                0
            ]
        return columns

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        text = self.t(self.drawn_caption(batch))
        fake, condition, _ = self.generate(batch["key"], text)
        return {"real": self.d(batch["a"], condition), "fake": self.d(fake, condition)}


def shift_texts(caption: Tensor) -> Tensor:
    """Return the captions (N, T) of each image's neighbour, over the batches of all processes: texts that are wrong for it."""
    return distributed.local_shard(distributed.all_gather_batch(caption).roll(-1, 0))

"""Plug-in with losses and optimizers that the ladder tries before the package has them: cyclegan-elements and pix2pix-elements.

    translate train cyclegan-elements ROOT --plugin tools/ladder_variants.py --preset modern --lambda-anchor 1

The methods are those of the package with further settings, all off by default; then each step is that of the package. Rows of
`ladder_recipes.ELEMENTS` turn single ones on. What wins there moves into the package; what does not is removed here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import Batch, Clock, Losses, Method, Scheduled, Step
from translate.methods.configs import GanConfig
from translate.methods.cyclegan import CycleGAN, CycleGANConfig
from translate.methods.pix2pix import Pix2Pix, Pix2PixConfig
from translate.nn.adversarial_loss import AdversarialLoss
from translate.nn.base import Generator
from translate.nn.init import xavier_
from translate.nn.losses import Logits, cycle_consistency, l1, list_heads, mean_over_heads
from translate.nn.networks.projected import ProjectedDiscriminator
from translate.nn.networks.resize_unet import ResizeUnet, ResizeUnetGenerator
from translate.nn.patchnce import ProjectionHeads, gather_locations, patch_nce, sample_locations

MAP_PENALTY_EVERY = 16
"""Steps from one penalty of maps to the next, as of StyleGAN2 (Karras et al. 2020, appendix B)."""
NCE_PATCHES = 64
"""Locations of each map in the PatchNCE loss: all that the smallest has at crops of 64 px. CUT's 256 would cost more than the
generators."""
NCE_TEMPERATURE = 0.07
"""Temperature of the PatchNCE loss, CUT's."""
ANCHOR_SIDE = 8
"""Side in pixels of the blocks whose means are anchored."""
MASK_SIDE, MASKED_SHARE = 8, 0.4
"""Side in pixels of masked patches and share of them: UVCGAN's 32 of 256 px (Torbunov et al. 2023), for crops of 64."""


@dataclass(frozen=True)
class AdversarialElements(GanConfig):
    """Settings of both methods beside the package's."""

    beta1: float = option(0.5, "decay of Adam's mean gradient", low=0, high=0.9999, group="Length")
    pixel_weight: float = option(
        1.0, "weight of the pixel discriminator in the mean over heads, in which each head has 1", low=0, group="Losses"
    )
    lambda_map_penalty: float = option(
        0.0,
        f"γ of R1 on the inputs of the heads, every {MAP_PENALTY_EVERY} steps; with --adversarial relativistic R1 and R2, "
        "instead of those on pixels",
        low=0,
        group="Losses",
    )


C = TypeVar("C", bound=AdversarialElements)


class ElementsLoss(AdversarialLoss):
    """Adversarial loss with a weight for the pixel discriminator, the last of the heads, and a penalty of maps.

    UsageError where the config has a penalty of pixels too.
    """

    def __init__(self, cfg: AdversarialElements) -> None:
        super().__init__(
            cfg.adversarial,
            real_label=cfg.real_label,
            penalty_weight=cfg.lambda_penalty,
            penalty_every=cfg.penalty_every,
        )
        self.pixel_weight = cfg.pixel_weight
        if cfg.lambda_map_penalty:
            if cfg.lambda_penalty is not None or cfg.penalty_every is not None:
                raise UsageError(
                    "--lambda-map-penalty: replaces the penalty of pixels; leave --lambda-penalty and --penalty-every out"
                )
            function = map_r1_r2 if self.objective.relativistic else map_r1
            self.penalty_weight, self.penalty_every = cfg.lambda_map_penalty, MAP_PENALTY_EVERY
            self.objective = replace(
                self.objective, penalty_weight=self.penalty_weight, penalty_every=self.penalty_every,
                penalty_function=function,
            )  # fmt: skip

    def generator_loss(self, on_fake: Logits, on_real: Callable[[], Logits]) -> Tensor:
        if not self.objective.relativistic:
            return self._weighted_mean([self.objective.generator_loss(logits) for logits in list_heads(on_fake)])
        with torch.no_grad():  # the logits of real images do not depend on the generator
            real = list_heads(on_real())
        pairs = zip(real, list_heads(on_fake), strict=True)
        return self._weighted_mean([self.objective.generator_loss(*pair) for pair in pairs])

    def discriminator_loss(self, on_real: Logits, on_fake: Logits) -> Tensor:
        pairs = zip(list_heads(on_real), list_heads(on_fake), strict=True)
        return self._weighted_mean([self.objective.discriminator_loss(*pair, **self._label) for pair in pairs])

    def _weighted_mean(self, losses: Sequence[Tensor]) -> Tensor:
        if self.pixel_weight == 1:
            return mean_over_heads(losses)
        *heads, pixel = losses
        return (torch.stack(heads).sum() + self.pixel_weight * pixel) / (len(heads) + self.pixel_weight)


def map_r1(d: Callable[[Tensor], Logits], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """Return ½ ‖∇D‖² at the maps of real images (Mescheder et al. 2018, sec. 4.1), without γ.

    d: `forward` of a projected discriminator.
    """
    return 0.5 * _squared_map_gradient(d, real)


def map_r1_r2(d: Callable[[Tensor], Logits], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """Return `map_r1` and the same of generated images, as the relativistic loss needs (Huang et al. 2024)."""
    return 0.5 * (_squared_map_gradient(d, real) + _squared_map_gradient(d, fake))


def _squared_map_gradient(d: Callable[[Tensor], Logits], images: Tensor) -> Tensor:
    """Return the mean over heads of the squared gradient of each head's logits by its input, images (N, C, H, W).

    The input of the pixel discriminator is the image. Squares are summed over channels; they are the mean over locations, so
    that γ does not depend on the size of a map. Nothing goes backward through the feature network: that is why it is cheap.
    """
    net: ProjectedDiscriminator = d.__self__  # type: ignore[attr-defined]  # methods pass `forward` of the network
    with torch.no_grad():
        view = net.view(images)
    inputs = [x.detach().requires_grad_() for x in (*view.maps, *([] if net.pixel is None else [view.image]))]
    image = view.image if net.pixel is None else inputs[-1]
    logits = net(view._replace(maps=tuple(inputs[: len(net.heads)]), image=image))
    total = torch.stack([x.sum() for x in logits]).sum()
    gradients = torch.autograd.grad(total, inputs, create_graph=True)
    return mean_over_heads([gradient.square().sum(1).mean() for gradient in gradients])


def use_elements(method: Method[C], discriminator: nn.Module) -> None:
    """Give a method the adversarial loss and the optimizers of its config.

    UsageError if its discriminator has not the heads that they need.
    """
    cfg = method.cfg
    needs_heads = cfg.pixel_weight != 1 or cfg.lambda_map_penalty > 0
    if needs_heads and not isinstance(discriminator, ProjectedDiscriminator):
        raise UsageError(
            f"--discriminator {cfg.discriminator}: --pixel-weight and --lambda-map-penalty need projected+pixel"
        )
    if cfg.pixel_weight != 1 and discriminator.pixel is None:
        raise UsageError(f"--pixel-weight {cfg.pixel_weight}: --discriminator {cfg.discriminator} has none of pixels")
    method.adversarial_loss = ElementsLoss(cfg)
    options = {"betas": (cfg.beta1, cfg.beta2)}
    method.updates = {name: replace(update, options=options) for name, update in method.updates.items()}


def resolve_elements(resolve: Callable[[C], C], cfg: C) -> C:
    """Return the config resolved by the package's method.

    A penalty of maps goes with batch norm, unlike one of pixels: the generator alone has norms, and nothing goes through it.
    """
    if not cfg.lambda_map_penalty:
        return resolve(cfg)
    return replace(resolve(replace(cfg, norm="instance")), norm=cfg.norm)


@dataclass(frozen=True)
class Pix2PixElementsConfig(Pix2PixConfig, AdversarialElements):
    """Config of pix2pix-elements."""


class Pix2PixElements(Pix2Pix):
    """pix2pix with further settings of the adversarial loss and of Adam."""

    name = "pix2pix-elements"
    summary = "pix2pix with elements that the ladder tries"
    Config = Pix2PixElementsConfig

    def __init__(self, cfg: Pix2PixElementsConfig) -> None:
        super().__init__(cfg)
        use_elements(self, self.d)

    @classmethod
    def resolve_config(cls, cfg: Pix2PixElementsConfig) -> Pix2PixElementsConfig:
        return resolve_elements(super().resolve_config, cfg)


@dataclass(frozen=True)
class CycleGANElementsConfig(CycleGANConfig, AdversarialElements):
    """Config of cyclegan-elements."""

    lambda_nce: float = option(
        0.0, "weight of the PatchNCE loss between each image and its translation", low=0, group="Losses"
    )
    lambda_anchor: float = option(
        0.0, "weight of the L1 distance of 8×8 means of outputs to those of the colour start", low=0, group="Losses"
    )
    anchor_images: int | None = option(
        None,
        "images over which the weight of the anchor falls linearly to zero [default: it stays]",
        low=1,
        group="Losses",
    )
    inpainting_images: int = option(
        0, "images, the first ones, on which the generators learn to fill masked patches", low=0, group="Length"
    )


class CycleGANElements(CycleGAN):
    """CycleGAN as the preset modern trains it, with further losses.

    Projection heads `f_a` and `f_b`, if there is a PatchNCE loss, are of features of the images of each domain. The colour maps
    that outputs are anchored to are buffers: `anchor_b` has the map from a to b, (C, C + 1), the last column its bias.
    """

    name = "cyclegan-elements"
    summary = "cyclegan with elements that the ladder tries"
    Config = CycleGANElementsConfig

    def __init__(self, cfg: CycleGANElementsConfig) -> None:
        super().__init__(cfg)
        use_elements(self, self.d_a)
        if cfg.lambda_nce:
            self.f_a, self.f_b = (build_projection_heads(net) for net in (self.g_ab, self.g_ba))
            xavier_(self.f_a, cfg.seed, "f_a")
            xavier_(self.f_b, cfg.seed, "f_b")
            update = self.updates["g"]
            self.updates["g"] = replace(update, networks=(*update.networks, "f_a", "f_b"))
        if cfg.lambda_anchor:
            for domain in self.generator_names:
                channels = self.domains[domain].channels
                self.register_buffer(f"anchor_{domain}", torch.zeros(channels, channels + 1))

    @classmethod
    def resolve_config(cls, cfg: CycleGANElementsConfig) -> CycleGANElementsConfig:
        if not cfg.share_augmentation or cfg.pool_size or cfg.lambda_identity:
            raise UsageError(
                f"{cls.name} trains as --preset modern does; use it, or --share-augmentation on --pool-size 0 "
                f"--lambda-identity 0"
            )
        if cfg.lambda_anchor and (cfg.colour_start == "off" or cfg.init_from):
            raise UsageError(
                "--lambda-anchor: is to the colour map of a new run; use --colour-start on, no --init-from"
            )
        if cfg.inpainting_images and cfg.residual == "off":
            raise UsageError("--inpainting-images: the output is added to the masked image; use --residual on")
        if cfg.inpainting_images and cfg.lambda_nce:
            raise UsageError("--inpainting-images: does not train the projection heads of --lambda-nce; leave one out")
        return resolve_elements(super().resolve_config, cfg)

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        lines = super().prepare(batches)
        if self.cfg.lambda_anchor:
            for to in self.generator_names:
                colour = self.generator_for(to).colour
                self.get_buffer(f"anchor_{to}").copy_(torch.cat([colour.weight[:, :, 0, 0], colour.bias[:, None]], 1))
        return lines

    def is_inpainting(self, clock: Clock) -> bool:
        """Return whether a step is one of the pre-training by inpainting."""
        return clock.images < self.cfg.inpainting_images

    def phase(self, clock: Clock) -> str:
        return "inpainting" if self.is_inpainting(clock) else super().phase(clock)

    def scheduled_values(self, clock: Clock) -> Mapping[str, float]:
        """Return the weight of the anchor, which falls from --lambda-anchor to 0 over --anchor-images."""
        cfg = self.cfg
        if not cfg.lambda_anchor:
            return {}
        left = 1.0 if cfg.anchor_images is None else max(0.0, 1 - clock.images / cfg.anchor_images)
        return {"anchor": cfg.lambda_anchor * left}

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the generators' losses, then the discriminators'; before that, steps of inpainting."""
        if self.is_inpainting(clock):
            yield "g", self.inpainting_losses(batch)
            return
        a, b, key, cfg = batch["a"], batch["b"], batch["key"], self.cfg
        fake_b, maps_a = self.generate(self.g_ab, a)
        back_a, maps_fake_b = self.generate(self.g_ba, fake_b)
        fake_a, maps_b = self.generate(self.g_ba, b)
        back_b, maps_fake_a = self.generate(self.g_ab, fake_a)

        adv_ab, seen_b = self.adversarial_generator_loss(batch, "b", fake_b, "g b")
        adv_ba, seen_a = self.adversarial_generator_loss(batch, "a", fake_a, "g a")
        losses = {
            "adv_ab": adv_ab,
            "adv_ba": adv_ba,
            "cycle_a": cfg.lambda_cycle * cycle_consistency(back_a, a),
            "cycle_b": cfg.lambda_cycle * cycle_consistency(back_b, b),
            **self.content(back_a, a, "_a"),
            **self.content(back_b, b, "_b"),
            **self.pair_losses(batch),
        }
        if cfg.lambda_nce:
            losses["nce_a"] = cfg.lambda_nce * nce_loss(self.f_b, maps_fake_b, self.f_a, maps_a, key, "nce a")
            losses["nce_b"] = cfg.lambda_nce * nce_loss(self.f_a, maps_fake_a, self.f_b, maps_b, key, "nce b")
        if cfg.lambda_anchor:
            losses["anchor_a"] = scheduled["anchor"] * self.anchor_loss(b, fake_a, "a")
            losses["anchor_b"] = scheduled["anchor"] * self.anchor_loss(a, fake_b, "b")
        yield "g", losses

        yield "d", self.discriminator_losses(batch, seen_a.detach(), seen_b.detach(), clock.step)

    def generate(self, net: Generator, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Translate images x (N, C, H, W); with the maps of the encoder if a PatchNCE loss compares them, else none."""
        return encode_and_translate(net, x) if self.cfg.lambda_nce else (net(x), [])

    def anchor_loss(self, x: Tensor, fake: Tensor, to: str) -> Tensor:
        """Return the L1 distance of 8×8 means of a translation to those of the image's colours at the start, M x."""
        anchor = self.get_buffer(f"anchor_{to}")
        mapped = F.conv2d(x, anchor[:, :-1, None, None], anchor[:, -1])
        return l1(F.avg_pool2d(fake, ANCHOR_SIDE), F.avg_pool2d(mapped, ANCHOR_SIDE))

    def inpainting_losses(self, batch: Batch) -> Losses:
        """Return the L1 distance of each generator's images to what it makes of them where patches are masked.

        Torbunov et al., "UVCGAN: UNet Vision Transformer cycle-consistent GAN" (WACV 2023). In the place of the colour map is
        the identity: what is added to an image then starts at its own domain, and the colour map stays as it is until the
        translation begins.
        """
        losses = {}
        for domain, net in (("a", self.g_ab), ("b", self.g_ba)):
            masked = mask_patches(batch[domain], batch["key"], f"mask {domain}")
            losses[f"inpainting_{domain}"] = l1(masked + net.model(masked), batch[domain])
        return losses


def mask_patches(x: Tensor, key: Tensor, name: str) -> Tensor:
    """Return images x (N, C, H, W) with a random share of their patches 0; key (N,) and name decide which."""
    rows, columns = (-(-side // MASK_SIDE) for side in x.shape[2:])
    visible = (keyed_random.uniform(key, name, 1, rows, columns) >= MASKED_SHARE).to(x.dtype)
    return x * F.interpolate(visible, scale_factor=MASK_SIDE, mode="nearest")[:, :, : x.shape[2], : x.shape[3]]


def find_layers(net: nn.Module) -> ResizeUnet:
    """Return the layers of a U-Net of resize-convolutions. UsageError for another generator."""
    if not isinstance(net, ResizeUnetGenerator):
        raise UsageError("this element of the ladder needs --generator resize_unet, as --preset modern has")
    layers = net.model[0]
    assert isinstance(layers, ResizeUnet)
    return layers


def build_projection_heads(net: Generator) -> ProjectionHeads:
    """Build the heads for the encoder of a U-Net of resize-convolutions: for each level, and for the residual blocks."""
    channels = [level[1].out_channels for level in find_layers(net).downs]
    return ProjectionHeads([*channels, channels[-1]])


def encode_and_translate(net: Generator, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the translations of images x, and the maps of the encoder: of each level, and behind the residual blocks."""
    layers = find_layers(net)
    maps: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda *call: maps.append(call[2])) for layer in (*layers.downs, layers.bottom)
    ]
    try:
        return net(x), maps
    finally:
        for handle in handles:
            handle.remove()


def nce_loss(
    f_query: ProjectionHeads, query: Sequence[Tensor], f_key: ProjectionHeads, source: Sequence[Tensor], key: Tensor,
    name: str,
) -> Tensor:  # fmt: skip
    """Return the PatchNCE loss of a translation's maps and of its source's (CUT, eq. 3), the mean over the layers.

    Each image is seen by the encoder of its own domain, as in Han et al., "Dual Contrastive Learning for Unsupervised
    Image-to-Image Translation" (CVPRW 2021): the passes of the cycle have the maps already.
    """
    locations = sample_locations(key, name, source, NCE_PATCHES)
    queries = f_query([gather_locations(x, p) for x, p in zip(query, locations, strict=True)])
    keys = f_key([gather_locations(x, p) for x, p in zip(source, locations, strict=True)])
    pairs = zip(queries, keys, strict=True)
    return torch.stack([patch_nce(*pair, NCE_TEMPERATURE) for pair in pairs]).mean()


METHODS: dict[str, type[Method[Any]]] = {
    "pix2pix-elements": Pix2PixElements,
    "cyclegan-elements": CycleGANElements,
}

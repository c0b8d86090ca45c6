"""Losses: pure functions of tensors, each the mean over all elements, named by the side that minimises them.

`real` and `fake` are the discriminator's logits (any shape); `target` is its label for real images, below 1 for one-sided
label smoothing (Salimans et al., 2016, sec. 3.4).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import noise


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference (pix2pix, eq. 3)."""
    return (x - y).abs().mean()


def cycle(back: Tensor, image: Tensor) -> Tensor:
    """Cycle consistency of one direction: how far a → b → a is from a (CycleGAN, eq. 2, one of its two terms)."""
    return l1(back, image)


def identity(same: Tensor, image: Tensor) -> Tensor:
    """How far a generator changes an image that is already in its target domain (CycleGAN, sec. 5.2)."""
    return l1(same, image)


def non_saturating_g(fake: Tensor) -> Tensor:
    """−log D(G(x)): strong gradient where the discriminator wins (Goodfellow et al., 2014, sec. 3)."""
    return -F.logsigmoid(fake).mean()


def non_saturating_d(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """Binary cross-entropy, halved to slow the discriminator as in pix2pix (sec. 3.3)."""
    on_real = target * F.logsigmoid(real) + (1 - target) * F.logsigmoid(-real)
    return -0.5 * (on_real.mean() + F.logsigmoid(-fake).mean())


def minimax_g(fake: Tensor) -> Tensor:
    """log(1 − D(G(x))): the game's own cost (Goodfellow et al., 2014, eq. 1), whose gradient fades as D wins."""
    return F.logsigmoid(-fake).mean()


def lsgan_g(fake: Tensor) -> Tensor:
    """Least squares to the label of real images, 1 (Mao et al., 2017, eq. 9, without its factor ½; CycleGAN, sec. 4)."""
    return (fake - 1).square().mean()


def lsgan_d(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """Least squares to the labels `target` and 0, halved as in CycleGAN (sec. 7.1)."""
    return 0.5 * ((real - target).square().mean() + fake.square().mean())


def hinge_g(fake: Tensor) -> Tensor:
    """−D(G(x)) (Lim and Ye, 2017)."""
    return -fake.mean()


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """Nothing is asked of logits beyond ±1 (Lim and Ye, 2017)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def wasserstein_g(fake: Tensor) -> Tensor:
    """−D(G(x)) (Arjovsky et al., 2017)."""
    return -fake.mean()


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """Minus the estimated Wasserstein distance (Arjovsky et al., 2017, eq. 2); needs the gradient penalty."""
    return fake.mean() - real.mean()


def gradient_penalty(d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """(‖∇D(x̂)‖ − 1)² at one random mix x̂ of each real and fake image (Gulrajani et al., 2017, eq. 3), λ not included.

    real, fake: (N, C, H, W); key: (N,). The logits of one image are summed before the gradient is taken. The penalty is
    differentiated twice: so in float32 even under autocast, and of a `d` that is not compiled (a network's `forward`).
    """
    with torch.autocast(real.device.type, enabled=False):
        at_least_32 = torch.promote_types(real.dtype, torch.float32)
        real, fake = real.detach().to(at_least_32), fake.detach().to(at_least_32)
        share = noise.uniform(key, "gradient penalty", 1, 1, 1).to(real.dtype)
        mixed = (share * real + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        return (slope.flatten(1).norm(2, dim=1) - 1).square().mean()


@dataclass(frozen=True)
class Adversarial:
    """A pair of costs: `g` of the fake logits, `d` of the real and fake logits (and of `target` where `smooths`)."""

    g: Callable[[Tensor], Tensor]
    d: Callable[..., Tensor]
    smooths: bool = False
    penalty: float = 0.0  # λ of the gradient penalty that the discriminator's cost needs


ADVERSARIAL: dict[str, Adversarial] = {
    "non-saturating": Adversarial(non_saturating_g, non_saturating_d, smooths=True),
    "minimax": Adversarial(minimax_g, non_saturating_d, smooths=True),
    "lsgan": Adversarial(lsgan_g, lsgan_d, smooths=True),
    "hinge": Adversarial(hinge_g, hinge_d),
    "wgan-gp": Adversarial(wasserstein_g, wasserstein_d, penalty=10.0),
}

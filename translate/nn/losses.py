"""Losses: pure functions of tensors, each the mean over all elements, named by the side that minimises them.

`real` and `fake` are the discriminator's logits (any shape); `target` is its label for real images, below 1 for one-sided
label smoothing (Salimans et al., 2016, sec. 3.4).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import keyed_random


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference (pix2pix, eq. 3)."""
    return (x - y).abs().mean()


def cycle_consistency(back: Tensor, image: Tensor) -> Tensor:
    """Cycle consistency of one direction: how far a → b → a is from a (CycleGAN, eq. 2, one of its two terms)."""
    return l1(back, image)


def identity_loss(same: Tensor, image: Tensor) -> Tensor:
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


MAX_LOGIT = 10.0
"""Logit up to which the maximum-likelihood cost is followed: odds of e¹⁰, 22 026 to 1, that an image is real. A discriminator
that has seen some tens of thousands of images has no evidence for more, and float16 still holds them (it ends at e¹¹·⁰⁹)."""


def maximum_likelihood_g(fake: Tensor) -> Tensor:
    """−D/(1 − D) = −exp(logit): its gradient is that of maximum likelihood where D is at its best (Goodfellow, "NIPS 2016
    Tutorial: Generative Adversarial Networks", sec. 3.2.5, without its factor ½).

    The exponential would overflow, and one patch outweigh all others long before. So above `MAX_LOGIT` it goes on as its
    tangent: the gradient stops growing there, but does not vanish as that of a clamped logit would.
    """
    odds = fake.clamp(
        max=MAX_LOGIT
    ).exp()  # clamped where it is not used, for an infinite one would make the gradient nan
    tangent = math.exp(MAX_LOGIT) * (1 + fake - MAX_LOGIT)
    return -torch.where(fake < MAX_LOGIT, odds, tangent).mean()


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


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    """−log sigmoid(D(G(x)) − D(y)): each made image is to look more real than a real one (Jolicoeur-Martineau, 2018; as a pair
    of losses Huang et al., "The GAN is dead; long live the GAN!", 2024). Image i is paired with image i, patch by patch."""
    return F.softplus(real - fake).mean()


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """−log sigmoid(D(y) − D(G(x))), the generator's cost with sides changed; needs `zero_centred_penalty` to converge."""
    return F.softplus(fake - real).mean()


def gradient_penalty(d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """(‖∇D(x̂)‖ − 1)² at one random mix x̂ of each real and fake image (Gulrajani et al., 2017, eq. 3), λ not included.

    real, fake: (N, C, H, W); key: (N,). The logits of one image are summed before the gradient is taken. The penalty is
    differentiated twice: so in float32 even under autocast, and of a `discriminator_loss` that is not compiled (a network's `forward`).
    """
    real, fake = _exactly(real), _exactly(fake)
    share = keyed_random.uniform(key, "gradient penalty", 1, 1, 1).to(real.dtype)
    mixed = share * real + (1 - share) * fake
    return (_gradients(lambda x: d(x).sum(), mixed).norm(2, dim=1) - 1).square().mean()


def zero_centred_penalty(d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """½ (‖∇D(x)‖² at real images + the same at made ones): R1 and R2 (Mescheder et al., 2018, sec. 4.1), γ not included.

    real, fake: (N, C, H, W), not mixed; key is of no use here. The logit of one image is the mean over its patches, for γ not
    to depend on their number; squares are summed over pixels, so γ has to grow with the resolution. Differentiated twice, like
    `gradient_penalty`: so in float32 even under autocast, and of a `discriminator_loss` that is not compiled.
    """
    return 0.5 * (_steepness(d, real) + _steepness(d, fake))


def _steepness(d: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """‖∇D‖² where D of an image is the mean of its patches; mean over the images."""
    return _gradients(lambda x: len(x) * d(x).mean(), _exactly(images)).square().sum(1).mean()


def _gradients(total: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(N, C·H·W): the gradient of a sum over images (N, C, H, W) with respect to each of them; can be differentiated again."""
    images = images.requires_grad_()
    with torch.autocast(images.device.type, enabled=False):
        (gradients,) = torch.autograd.grad(total(images), images, create_graph=True)
    return gradients.flatten(1)


def _exactly(images: Tensor) -> Tensor:
    """Detached, and at least in float32, whatever autocast gave."""
    return images.detach().to(torch.promote_types(images.dtype, torch.float32))


@dataclass(frozen=True)
class AdversarialObjective:
    """A pair of costs: `generator_loss` of the fake logits, `discriminator_loss` of the real and fake logits (and of `target` where `supports_label_smoothing`)."""

    generator_loss: Callable[..., Tensor]
    discriminator_loss: Callable[..., Tensor]
    supports_label_smoothing: bool = False
    relativistic: bool = False
    """Whether `generator_loss` is of the real and fake logits too; real and fake logits are then of one shape."""
    bounded_below: bool = True
    """Whether `discriminator_loss` has a least value: the distance that a critic estimates has no end."""
    penalty_weight: float = 0.0
    """Weight of the gradient penalty that the discriminator's cost needs; 0: it needs none."""
    penalty_function: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor], Tensor] = gradient_penalty
    """Which penalty that is: of the discriminator, real and fake images (N, C, H, W), and key (N,); its weight not included."""
    penalty_every: int = 1
    """Steps from one penalty to the next, which then counts for as many (Karras et al., "Analyzing and Improving the Image
    Quality of StyleGAN", 2020, appendix B)."""


ADVERSARIAL: dict[str, AdversarialObjective] = {
    "non-saturating": AdversarialObjective(non_saturating_g, non_saturating_d, supports_label_smoothing=True),
    "minimax": AdversarialObjective(minimax_g, non_saturating_d, supports_label_smoothing=True),
    "maximum-likelihood": AdversarialObjective(maximum_likelihood_g, non_saturating_d, supports_label_smoothing=True),
    "lsgan": AdversarialObjective(lsgan_g, lsgan_d, supports_label_smoothing=True),
    "hinge": AdversarialObjective(hinge_g, hinge_d),
    "wgan-gp": AdversarialObjective(wasserstein_g, wasserstein_d, bounded_below=False, penalty_weight=10.0),
    "relativistic": AdversarialObjective(
        relativistic_g,
        relativistic_d,
        relativistic=True,
        penalty_weight=1.0,
        penalty_function=zero_centred_penalty,
        penalty_every=8,
    ),
}


def domain_classification(logits: Tensor, label: Tensor, *, attributes: bool) -> Tensor:
    """Cross-entropy of logits (N, K) with labels (N, K) (StarGAN, eq. 2 and 3).

    Of one domain out of K; of `attributes`, each of which an image has (1) or has not (0), the sum over the attributes and the
    mean over the images, as in the authors' code.
    """
    logits = logits.to(label.dtype)  # not in the half precision of autocast
    if attributes:
        return F.binary_cross_entropy_with_logits(logits, label, reduction="sum") / len(logits)
    return F.cross_entropy(logits, label)

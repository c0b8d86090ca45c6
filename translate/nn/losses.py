"""Loss functions: pure functions of tensors, each a mean over all elements; adversarial ones end in _g for the generator and _d
for the discriminator.

`real` and `fake` are the logits of one head of a discriminator (any shape); `target` is its label for real images, below 1 for
one-sided label smoothing (Salimans et al., 2016, sec. 3.4).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import keyed_random
from translate.nn.spectral_norm import without_autocast

Logits = Tensor | Sequence[Tensor]
"""Logits of a discriminator: those of its only head (N, …), or a list of those of several heads, as of several scales."""


def list_heads(logits: Logits) -> Sequence[Tensor]:
    """Return the logits of each head."""
    return (logits,) if isinstance(logits, Tensor) else logits


def mean_over_heads(values: Sequence[Tensor]) -> Tensor:
    """Return the mean of 0-dim tensors, one for each head of a discriminator."""
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean()


LOWPASS_SIDE = 4
"""Side in pixels of the blocks whose means `lowpass_l1` compares."""


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference (pix2pix, eq. 3), in float32 at least."""
    difference = (x - y).abs()
    return difference.mean(dtype=torch.promote_types(difference.dtype, torch.float32))


def lowpass_l1(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of the means of 4×4 pixels: of colours and layout, not of texture.

    x, y: (N, C, H, W). Rows and columns at the right and at the bottom that fill no block of 4 are left out. ValueError for
    images of less than 4 pixels a side.
    """
    if min(x.shape[2:]) < LOWPASS_SIDE:
        raise ValueError(f"images of {x.shape[2]}×{x.shape[3]} pixels; at least {LOWPASS_SIDE} a side are needed")
    return l1(F.avg_pool2d(x, LOWPASS_SIDE), F.avg_pool2d(y, LOWPASS_SIDE))


def feature_matching(maps_x: Sequence[Tensor], maps_y: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of the mean absolute difference of their maps, (N, C, H, W) each.

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", 2018, eq. 4, whose layers
    have the same weight.
    """
    return torch.stack([l1(x, y) for x, y in zip(maps_x, maps_y, strict=True)]).sum()


def perceptual_loss(network: Callable[[Tensor], Sequence[Tensor]], x: Tensor, target: Tensor) -> Tensor:
    """Return the distance of images x from `target`, (N, C, H, W), in the maps of a feature network.

    Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", 2016, sec. 3.2, with absolute
    differences. Gradients flow to x alone.
    """
    with torch.no_grad():
        wanted = network(target)
    return feature_matching(network(x), wanted)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence of normal distributions of codes from the standard one: the mean over N codes of D numbers.

    mean, log_variance: (N, D); the divergence of a code is a sum over its numbers. Kingma and Welling, "Auto-Encoding
    Variational Bayes", 2014, appendix B.
    """
    wide = torch.promote_types(mean.dtype, torch.float32)
    mean, log_variance = mean.to(wide), log_variance.to(wide)
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(1).mean()


def cycle_consistency(back: Tensor, image: Tensor) -> Tensor:
    """Return the cycle-consistency loss of one direction, from a → b → a and a (CycleGAN, eq. 2, one of its two terms)."""
    return l1(back, image)


def identity_loss(same: Tensor, image: Tensor) -> Tensor:
    """Return the identity loss: the change a generator makes to an image of its own target domain (CycleGAN, sec. 5.2)."""
    return l1(same, image)


def non_saturating_g(fake: Tensor) -> Tensor:
    """Return −log D(G(x)), whose gradient is strong where the discriminator wins (Goodfellow et al., 2014, sec. 3)."""
    return -F.logsigmoid(fake).mean()


def non_saturating_d(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """Binary cross-entropy, halved to slow the discriminator as in pix2pix (sec. 3.3)."""
    on_real = target * F.logsigmoid(real) + (1 - target) * F.logsigmoid(-real)
    return -0.5 * (on_real.mean() + F.logsigmoid(-fake).mean())


def minimax_g(fake: Tensor) -> Tensor:
    """Return log(1 − D(G(x))), the minimax game's value (Goodfellow et al., 2014, eq. 1), whose gradient fades as D wins."""
    return F.logsigmoid(-fake).mean()


MAX_LOGIT = 10.0
"""Logit above which the maximum-likelihood loss is linear: odds of e¹⁰, 22 026 to 1, that an image is real. A discriminator
that has seen some tens of thousands of images has no evidence for more, and float16 still holds them (it ends at e¹¹·⁰⁹)."""


def maximum_likelihood_g(fake: Tensor) -> Tensor:
    """Return −D/(1 − D) = −exp(logit), whose gradient is that of maximum likelihood where D is optimal.

    Goodfellow, "NIPS 2016 Tutorial: Generative Adversarial Networks", sec. 3.2.5, without its factor ½. The exponential would
    overflow, and one patch would outweigh all others long before. So above `MAX_LOGIT` it is replaced by its tangent: the
    gradient stops growing there, but does not vanish as that of a clamped logit would.
    """
    # Clamped where the tangent is used: an infinite value would make the gradient nan there too.
    odds = fake.clamp(max=MAX_LOGIT).exp()
    tangent = math.exp(MAX_LOGIT) * (1 + fake - MAX_LOGIT)
    return -torch.where(fake < MAX_LOGIT, odds, tangent).mean()


def lsgan_g(fake: Tensor) -> Tensor:
    """Least squares to the label of real images, 1 (Mao et al., 2017, eq. 9, without its factor ½; CycleGAN, sec. 4)."""
    return (fake - 1).square().mean()


def lsgan_d(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """Least squares to the labels `target` and 0, halved as in CycleGAN (sec. 7.1)."""
    return 0.5 * ((real - target).square().mean() + fake.square().mean())


def hinge_g(fake: Tensor) -> Tensor:
    """Return −D(G(x)) (Lim and Ye, "Geometric GAN", 2017)."""
    return -fake.mean()


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss, with no gradient from logits beyond ±1 on the right side (Lim and Ye, "Geometric GAN", 2017)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def wasserstein_g(fake: Tensor) -> Tensor:
    """Return −D(G(x)) (Arjovsky et al., "Wasserstein GAN", 2017, alg. 1)."""
    return -fake.mean()


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """Return minus the estimated Wasserstein distance (Arjovsky et al., 2017, eq. 2); needs the gradient penalty."""
    return fake.mean() - real.mean()


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    """Return −log sigmoid(D(G(x)) − D(y)): each fake image should look more real than a real one.

    Jolicoeur-Martineau, 2018; as a pair of losses Huang et al., "The GAN is dead; long live the GAN!", 2024. Image i is paired
    with image i, patch by patch.
    """
    return F.softplus(real - fake).mean()


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """Return −log sigmoid(D(y) − D(G(x))), `relativistic_g` with sides swapped; needs `zero_centred_penalty` to converge."""
    return F.softplus(fake - real).mean()


def gradient_penalty(d: Callable[[Tensor], Logits], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """Return (‖∇D(x̂)‖ − 1)² at one random mix x̂ of each real and fake image (Gulrajani et al., 2017, eq. 3), without λ.

    real, fake: (N, C, H, W); key: (N,). The logits of one image, of all heads, are summed before the gradient is taken. The
    penalty is differentiated twice: so it is computed in float32 even under autocast, and `d` must not be compiled (pass a
    network's `forward`).
    """
    real, fake = _detached_float32(real), _detached_float32(fake)
    share = keyed_random.uniform(key, "gradient penalty", 1, 1, 1).to(real.dtype)
    mixed = share * real + (1 - share) * fake

    def total(x: Tensor) -> Tensor:
        return torch.stack([logits.sum() for logits in list_heads(d(x))]).sum()

    return (_gradients(total, mixed).norm(2, dim=1) - 1).square().mean()


def zero_centred_penalty(d: Callable[[Tensor], Logits], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
    """Return ½ (‖∇D(x)‖² at real images + the same at fake ones): R1 and R2 (Mescheder et al., 2018, sec. 4.1), without γ.

    real, fake: (N, C, H, W), not mixed; key is not used. The logit of one image is the mean over its patches, and over heads,
    so that γ does not depend on their number; squares are summed over pixels, so γ has to grow with the resolution.
    Differentiated twice, as `gradient_penalty` is: in float32 even under autocast, and `d` must not be compiled.
    """
    return 0.5 * (_squared_gradient_norm(d, real) + _squared_gradient_norm(d, fake))


def r1_penalty(d: Callable[[Tensor], Logits], real: Tensor) -> Tensor:
    """Return ½ ‖∇D(x)‖² at real images (N, C, H, W), a mean over them: R1 (Mescheder et al., 2018, eq. 9), without γ.

    Otherwise as `zero_centred_penalty`.
    """
    return 0.5 * _squared_gradient_norm(d, real)


def path_lengths(images: Tensor, codes: Tensor, key: Tensor) -> Tensor:
    """Return by how much images change with the style codes that they were generated from (N,): ‖Jᵀ y‖ for noise y.

    images: (N, C, H, W), with a graph from codes (N, L, D), of which the L layers count as their mean; key (N,) decides y, from
    N(0, 1 / (H · W)). Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, eq. 4. The lengths can be
    differentiated again.
    """
    noise = keyed_random.normal(key, "path length", *images.shape[1:]).to(images.dtype)
    total = (images * noise).sum() / math.sqrt(math.prod(images.shape[2:]))
    (slopes,) = torch.autograd.grad(total, codes, create_graph=True)
    return slopes.square().sum(2).mean(1).sqrt()


def _squared_gradient_norm(d: Callable[[Tensor], Logits], images: Tensor) -> Tensor:
    """Return ‖∇D‖², D of an image being the mean over its patches and over heads; mean over the images."""

    def total(x: Tensor) -> Tensor:
        return len(x) * mean_over_heads([logits.mean() for logits in list_heads(d(x))])

    return _gradients(total, _detached_float32(images)).square().sum(1).mean()


def _gradients(total: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the gradients (N, C·H·W) of a sum over images (N, C, H, W); they can be differentiated again."""
    images = images.requires_grad_()
    with without_autocast(images.device):
        (gradients,) = torch.autograd.grad(total(images), images, create_graph=True)
    return gradients.flatten(1)


def _detached_float32(images: Tensor) -> Tensor:
    """Return images without a graph, in float32 at least, whatever autocast gave."""
    return images.detach().to(torch.promote_types(images.dtype, torch.float32))


@dataclass(frozen=True)
class AdversarialObjective:
    """Pair of adversarial losses, one for each side: a row of ADVERSARIAL."""

    generator_loss: Callable[..., Tensor]
    """Function of the fake logits; of the real and fake logits where `relativistic`."""
    discriminator_loss: Callable[..., Tensor]
    """Function of the real and fake logits, and of `target` where `supports_label_smoothing`."""
    supports_label_smoothing: bool = False
    """The discriminator has a label of real images, which may be below 1."""
    relativistic: bool = False
    """Both losses pair each fake logit with a real one, so both are of one shape."""
    bounded_below: bool = True
    """False where the discriminator's loss has no minimum, as the distance that a Wasserstein critic estimates."""
    penalty_weight: float = 0.0
    """Weight of the gradient penalty that the discriminator's loss needs; 0: it needs none."""
    penalty_function: Callable[[Callable[[Tensor], Logits], Tensor, Tensor, Tensor], Tensor] = gradient_penalty
    """Gradient penalty of the discriminator, real and fake images (N, C, H, W), and key (N,); without its weight."""
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


def orthogonal_regularisation(weights: Sequence[Tensor]) -> Tensor:
    """Return the sum over weights W, as matrices by output, of ½ ‖W Wᵀ ∘ (1 − I)‖² (Brock et al., 2019, eq. 3), without β.

    Rows should be orthogonal, whatever their lengths. The half, and W Wᵀ where the paper has Wᵀ W, are as in the authors' code.
    """
    products = [weight.flatten(1) @ weight.flatten(1).T for weight in weights]
    return 0.5 * torch.stack([x.square().sum() - x.diagonal().square().sum() for x in products]).sum()


def domain_classification(logits: Tensor, label: Tensor, *, attributes: bool) -> Tensor:
    """Return the cross-entropy of logits (N, K) with labels (N, K) (StarGAN, eq. 2 and 3).

    Labels are one domain out of K, or `attributes`, each of which an image has (1) or has not (0): then it is the sum over the
    attributes and the mean over the images, as in the authors' code.
    """
    logits = logits.to(label.dtype)  # not in autocast's half precision
    if attributes:
        return F.binary_cross_entropy_with_logits(logits, label, reduction="sum") / len(logits)
    return F.cross_entropy(logits, label)

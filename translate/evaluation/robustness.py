"""Robustness of a translator: the change of its output under a change of its input that is too small to see."""

import torch
from torch import Tensor

from translate import images, keyed_random
from translate.evaluation.input_checks import TranslateFn, content_keys, to_uint8_batch

EPSILONS = (1, 2, 4)
"""Largest changes of each value of the input, in levels of 255."""

LEVEL = 2 / 255
"""One level of 255, where images are in [-1, 1]."""


def fgsm(x: Tensor, translate: TranslateFn, seed: int = 0) -> dict[str, Tensor]:
    """Return `fgsm_1`, `fgsm_2` and `fgsm_4`: mean changes of the output, of 255, under an attack by 1, 2 and 4 levels.

    The fast gradient sign method (Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR
    2015, sec. 4) on the loss |G(x′) − G(x)|. Its gradient vanishes at x itself, so the step starts beside it, half of ε away
    at random signs (Tramèr et al., "Ensemble adversarial training", ICLR 2018, sec. 4.1), and takes the other half.

    x: (N, C, H, W), uint8 or in [-1, 1]; `translate`: differentiable, and each image is translated on its own. Each value
    is (N,) float64; lower is more robust. The random signs depend on `seed` and the image's pixels. ValueError if no
    gradient reaches the input.
    """
    pixels = to_uint8_batch(x, "fgsm")
    clean = images.normalize(pixels, torch.float32)
    signs = _signs(pixels, seed).to(clean)
    with torch.no_grad():
        before = translate(clean)
    return {f"fgsm_{levels}": _change(clean, before, translate, signs, levels * LEVEL) for levels in EPSILONS}


def _signs(pixels: Tensor, seed: int) -> Tensor:
    """Draw −1 or 1 for each value of each image."""
    keys = keyed_random.fold_in(content_keys(pixels), seed, "fgsm")
    return torch.where(keyed_random.uniform(keys, "signs", *pixels.shape[1:]) < 0.5, -1.0, 1.0)


def _change(clean: Tensor, before: Tensor, translate: TranslateFn, signs: Tensor, epsilon: float) -> Tensor:
    """Return the mean change of each image's output, of 255, under an attack by `epsilon`: (N,)."""
    beside = (clean + epsilon / 2 * signs).clamp(-1, 1).requires_grad_()
    with torch.enable_grad():
        loss = (translate(beside) - before).abs().sum()
    if not loss.requires_grad:
        raise ValueError("fgsm: no gradient reaches the input; translate outside of inference mode")
    (gradient,) = torch.autograd.grad(loss, beside)
    attacked = (beside.detach() + epsilon / 2 * gradient.sign()).clamp(-1, 1)
    with torch.no_grad():
        return (translate(attacked) - before).double().abs().mean(dim=(1, 2, 3)) / LEVEL

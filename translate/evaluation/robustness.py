"""Robustness of a translator: the change of its output under a change of its input that is too small to see."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from translate import images, keyed_random
from translate.evaluation.input_checks import TranslateFn, content_keys, to_uint8_batch
from translate.nn import attacks

EPSILONS = (1, 2, 4)
"""Largest changes of each value of the input, in levels of 255."""

LEVEL = 2 / 255
"""One level of 255, where images are in [-1, 1]."""

DISRUPTED_ABOVE = 0.05
"""Mean square change of an output, of values in [-1, 1], above which it counts as disrupted (Ruiz, Bargal and Sclaroff,
"Disrupting Deepfakes", ECCV Workshops 2020, sec. 4)."""

ATTACK_EPSILONS, ATTACK_STEPS, TARGET_STEPS = (1, 2, 4, 8), (10, 40), 10
"""Defaults of the metric robustness: ε in levels of 255, steps of PGD, and steps of PGD towards black."""
KEYS = tuple(
    f"robustness_{attack}_{levels}{suffix}"
    for attack in ("noise", "fgsm", *(f"pgd{steps}" for steps in ATTACK_STEPS), "target")
    for levels in ATTACK_EPSILONS
    for suffix in (("",) if attack == "target" else ("", "_disrupted"))
)
"""Keys of the values of the metric robustness, in their order."""
ATTACK_IMAGES = 16
"""Inputs that are attacked by default."""


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

    def change(x: Tensor) -> Tensor:
        return (translate(x) - before).abs()

    values = {}
    for levels in EPSILONS:
        attacked = attacks.random_fgsm(change, clean, levels * LEVEL, signs)
        with torch.no_grad():
            values[f"fgsm_{levels}"] = change(attacked).double().mean(dim=(1, 2, 3)) / LEVEL
    return values


def _signs(pixels: Tensor, seed: int) -> Tensor:
    """Draw −1 or 1 for each value of each image."""
    return attacks.random_signs(keyed_random.fold_in(content_keys(pixels), seed, "fgsm"), "signs", *pixels.shape[1:])


@dataclass(frozen=True)
class AttackedImages:
    """Values of the metric robustness, and images under its strongest attack."""

    values: dict[str, Tensor]
    """Values (N,) float64 by key."""
    attacked: Tensor
    """Inputs under PGD with the most steps and the largest ε, (N, C, H, W) in [-1, 1]."""
    before: Tensor
    """Outputs for the inputs as they are, (N, C', H', W')."""
    after: Tensor
    """Outputs for `attacked`."""


def robustness(
    x: Tensor,
    translate: TranslateFn,
    seed: int = 0,
    epsilons: tuple[int, ...] = ATTACK_EPSILONS,
    steps: tuple[int, ...] = ATTACK_STEPS,
    target_steps: int = TARGET_STEPS,
    restarts: int = 1,
    disrupted_above: float = DISRUPTED_ABOVE,
) -> AttackedImages:
    """Attack inputs x (N, C, H, W), uint8 or in [-1, 1], by ε of each of `epsilons` levels of 255.

    Values, for each ε: `robustness_ATTACK_ε`, the mean square change of the output, in [-1, 1], and
    `robustness_ATTACK_ε_disrupted`, 1 where it is above `disrupted_above`, else 0. ATTACK is `noise` (signs at random, the
    control: as large as an attack), `fgsm` (with a random half step, see `fgsm`), and `pgd10`, `pgd40` (projected gradient
    ascent of so many steps, which fall from 2 ε to 0, from a random start: the gradient of the distance from G(x) is zero at
    x; the farthest output of `restarts` starts). `robustness_target_ε` is the share of the squared distance between the
    output and black that PGD towards black removes.
    Lower is more robust everywhere.

    `translate` is differentiable, and each image is translated on its own. Random draws depend on `seed` and the pixels.
    ValueError if no gradient reaches the input.
    """
    pixels = to_uint8_batch(x, "robustness")
    count, own = len(epsilons), keyed_random.fold_in(content_keys(pixels), seed, "robustness")
    clean = images.normalize(pixels, torch.float32).repeat_interleave(count, 0)  # each image by all ε in one batch
    shape = clean.shape[1:]
    epsilon = torch.tensor(epsilons, dtype=clean.dtype).mul(LEVEL).repeat(len(pixels)).view(-1, 1, 1, 1).to(clean)
    signs = attacks.random_signs(own, "random_signs", *shape).to(clean).repeat_interleave(count, 0)
    starts = [
        attacks.random_start(keyed_random.fold_in(own, "restart", number) if number else own, "random_start", *shape)
        .to(clean)
        .repeat_interleave(count, 0)
        for number in range(restarts)
    ]
    with torch.no_grad():
        before = translate(clean)
    away = attacks.squared_distance(translate, before)
    attacked = {"noise": attacks.project(clean + epsilon * signs, clean, epsilon)}
    attacked["fgsm"] = attacks.random_fgsm(away, clean, epsilon, signs)
    attacked |= {
        f"pgd{n}": attacks.highest(away, (attacks.disrupt(away, clean, epsilon, n, start) for start in starts))
        for n in steps
    }
    with torch.no_grad():
        after = {name: translate(each) for name, each in attacked.items()}
    changes = {name: _mean_square(each - before) for name, each in after.items()}
    values = {}
    for name, change in changes.items():
        for levels, each in zip(epsilons, change.view(-1, count).unbind(1), strict=True):
            values[f"robustness_{name}_{levels}"] = each
            values[f"robustness_{name}_{levels}_disrupted"] = (each > disrupted_above).double()
    removed = _targeted(translate, clean, before, epsilon, starts[0], target_steps).view(-1, count)
    values |= {f"robustness_target_{n}": each for n, each in zip(epsilons, removed.unbind(1), strict=True)}
    strongest, last = f"pgd{max(steps)}", slice(epsilons.index(max(epsilons)), None, count)
    return AttackedImages(values, attacked[strongest][last], before[last], after[strongest][last])


def _targeted(
    translate: TranslateFn, clean: Tensor, before: Tensor, epsilon: Tensor, start: Tensor, steps: int
) -> Tensor:
    """Return the share (N,) of the squared distance of outputs to black that PGD towards black removes, 0 for black ones."""
    black = torch.full_like(before, -1.0)
    distance = attacks.squared_distance(translate, black)
    attacked = attacks.pgd(lambda x: -distance(x), clean, epsilon, steps, start)
    with torch.no_grad():
        left, whole = _mean_square(translate(attacked) - black), _mean_square(before - black)
    return torch.where(whole > 0, 1 - left / torch.where(whole > 0, whole, 1), 0.0)


def _mean_square(change: Tensor) -> Tensor:
    return change.double().square().mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class AttackedImage:
    """An attacked input with its outputs, for reports: arrays (H, W, C) uint8."""

    name: str
    change: float
    """Mean square change of the output, of values in [-1, 1]."""
    given: np.ndarray
    attacked: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def from_result(cls, name: str, pixels: Tensor, result: AttackedImages) -> "AttackedImage":
        """Return the first image of a result; pixels: the input (N, C, H, W) uint8."""
        arrays = (images.to_uint8_array(x[0]) for x in (result.attacked, result.before, result.after))
        change = float(_mean_square(result.after - result.before)[0])
        return cls(name, change, pixels[0].permute(1, 2, 0).numpy(), *arrays)

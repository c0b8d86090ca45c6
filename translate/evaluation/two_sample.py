"""Classifier two-sample test: can a small network, trained for it, tell translations from real images?

Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017. It needs no pretrained network.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.errors import DataError
from translate.evaluation.input_checks import check_count, content_keys, to_uint8_batch
from translate.evaluation.uncertainty import Estimate, estimate_from_halves, random_halves
from translate.images import normalize
from translate.nn.blocks import conv_norm_relu, set_test_time_behaviour
from translate.nn.init import normal_

MIN_IMAGES = 8
"""Smallest number of images in a set: four to learn from, and four that are held out."""

GAIN = 0.25
"""Standard deviation of initial weights; batch norms follow all but those of the last layer."""

LEARNING_RATE = 3e-3


class PatchClassifier(nn.Module):
    """Classifier of 3×3 convolutions of stride 2 and a mean: patches (N, C, h, w) in [-1, 1] → logits (N,) of being real."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers = (conv_norm_relu(cin, cout, "batch", 3, 2, 1) for cin, cout in pairwise((channels, *widths)))
        self.layers = nn.Sequential(*(module for layer in layers for module in layer))
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(dim=(2, 3)))[:, 0]


def classifier_two_sample(
    real: Tensor,
    fake: Tensor,
    is_paired: bool,
    seed: int = 0,
    *,
    splits: int = 5,
    steps: int = 200,
    batch: int = 64,
    patch: int = 32,
    held_out_patches: int = 2048,
    widths: tuple[int, ...] = (24, 48, 64),
) -> dict[str, Estimate]:
    """Return `c2st`, the accuracy with which a new network tells patches of held-out translations from those of real images.

    0.5: indistinguishable for it; 1: told apart without fail. The images are (N, C, H, W) and (M, C, H, W), uint8 or in [-1,
    1], of one size, at least 8 in a set. `splits` times half of the images of each set are drawn; a network of convolutions
    of `widths`, trained from scratch by Adam for `steps` steps on `batch` random patches of `patch` pixels (or the images'
    side, where that is smaller), half of them real, then judges the other half: about `held_out_patches` patches a set,
    equally many of each image. The accuracies of both sets are averaged, so that 0.5 is chance for any N and M.

    is_paired: real[i] and fake[i] show the same place; then both go to the same half, so that no network meets a place that
    it learned from. The error is that of random halves, with the chance of training in it. Draws depend on `seed` and the
    images' pixels, not on their order. Below 0.5 within the error for few images: halves of one set differ in opposite ways.
    DataError for images that are too few or of two sizes.
    """
    real, fake = _checked(real, "real"), _checked(fake, "translated")
    if real.shape[1:] != fake.shape[1:]:
        raise DataError(
            f"c2st: images of different shapes, {tuple(real.shape[1:])} and {tuple(fake.shape[1:])}; "
            "the metric compares images of one size"
        )
    real, fake = _sorted_by_content(real, fake, is_paired)
    sides = min(patch, real.shape[2]), min(patch, real.shape[3])
    accuracies = []
    for number, (of_real, of_fake) in enumerate(random_halves(len(real), len(fake), seed, splits)):
        rows = torch.from_numpy(of_real), torch.from_numpy(of_real if is_paired else of_fake)
        key = keyed_random.derive_key(seed, "c2st", number)
        net = normal_(PatchClassifier(real.shape[1], widths), key, gain=GAIN)
        _train(net, real[rows[0]], fake[rows[1]], key, steps, batch // 2, sides)
        held_out = _without(real, rows[0]), _without(fake, rows[1])
        accuracies.append(_accuracy(net, held_out[0], held_out[1], key, held_out_patches, sides))
    return {"c2st": estimate_from_halves(sum(accuracies) / splits, accuracies, min(len(real), len(fake)))}


def _checked(images: Tensor, which: str) -> Tensor:
    check_count(len(images), MIN_IMAGES, "c2st", which)
    return to_uint8_batch(images, "c2st").cpu()


def _sorted_by_content(real: Tensor, fake: Tensor, is_paired: bool) -> tuple[Tensor, Tensor]:
    """Return both sets in an order that depends on their pixels alone, pairs side by side."""
    keys = content_keys(real), content_keys(fake)
    if not is_paired:
        return real[keys[0].argsort(stable=True)], fake[keys[1].argsort(stable=True)]
    order = (keys[0] ^ keyed_random.fold_in(keys[1], "c2st pair")).argsort(stable=True)
    return real[order], fake[order]


def _without(images: Tensor, rows: Tensor) -> Tensor:
    kept = torch.ones(len(images), dtype=torch.bool)
    kept[rows] = False
    return images[kept]


def _train(
    net: nn.Module, real: Tensor, fake: Tensor, key: int, steps: int, count: int, sides: tuple[int, int]
) -> None:
    """Minimise the cross-entropy by Adam, with a learning rate that falls to zero in a half cosine."""
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    labels = torch.cat([torch.ones(count), torch.zeros(count)])
    net.train()
    for step in range(steps):
        draws = (_draw(key, f"{name} {step}", count) for name in ("real", "fake"))
        patches = torch.cat([_cut(images, draw, sides) for images, draw in zip((real, fake), draws, strict=True)])
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(patches), labels).backward()
        optimizer.step()
        schedule.step()
    set_test_time_behaviour(net, "running")
    net.eval()


@torch.no_grad()
def _accuracy(net: nn.Module, real: Tensor, fake: Tensor, key: int, patches: int, sides: tuple[int, int]) -> float:
    """Return the mean of the two shares of patches that are told rightly: of real images, and of translations."""
    shares = []
    for images, name, sign in ((real, "real", 1), (fake, "fake", -1)):
        each = max(1, patches // len(images))
        draws = _draw(key, f"held-out {name}", each * len(images))
        draws[:, 0] = (torch.arange(len(draws)) // each + 0.5) / len(images)  # equally many of each image
        logits = torch.cat([net(_cut(images, part, sides)) for part in draws.split(512)])
        shares.append(float((sign * logits > 0).double().mean()))
    return sum(shares) / 2


def _draw(key: int, name: str, count: int) -> Tensor:
    """Draw image, row and column of some patches, each in [0, 1): (count, 3)."""
    return keyed_random.uniform(torch.tensor([key]), name, count, 3)[0]


def _cut(images: Tensor, draws: Tensor, sides: tuple[int, int]) -> Tensor:
    """Return the patches that draws in [0, 1) stand for, wholly inside their images: (n, C, h, w) in [-1, 1]."""
    (height, width), (full_height, full_width) = sides, images.shape[-2:]
    free = torch.tensor([len(images), full_height - height + 1, full_width - width + 1])
    image, top, left = (draws * free).long().unbind(1)
    rows, columns = top[:, None] + torch.arange(height), left[:, None] + torch.arange(width)
    patches = images[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return normalize(patches.permute(0, 3, 1, 2), torch.float32)

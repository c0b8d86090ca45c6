"""Label metrics: small networks are trained to read a domain's labels from real images, and then read translations.

The FCN-score of pix2pix (Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017, sec.
4.1) with a scorer of our own, identified by the hash of its weights. Score real images too: their value is an upper bound.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.errors import DataError
from translate.evaluation.input_checks import check_count, content_keys, to_uint8_batch
from translate.evaluation.uncertainty import Estimate, bootstrap, mean_interval
from translate.images import normalize
from translate.nn.blocks import conv_norm_relu, set_test_time_behaviour
from translate.nn.init import normal_

IGNORE_INDEX = 255
"""Label of pixels that are ignored."""

WIDTH = 16
"""Channels of a scorer's first layer."""

BATCH = 16
"""Images in a batch, in training and in scoring."""

GAIN = WIDTH**-0.5
"""Standard deviation of initial weights: a head that starts near 0 lets the last features all learn the same distinction."""


@dataclass(frozen=True)
class LabelScorer:
    """Trained network that reads labels from images."""

    net: nn.Module
    classes: int
    """Number of classes."""
    sha256: str
    """SHA-256 of its weights; it belongs to every value that the scorer computes."""


def _conv(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*conv_norm_relu(cin, cout, "batch", 3, stride, 1))


class Segmenter(nn.Module):
    """U-Net of three scales: (N, C, H, W) in [-1, 1] → logits (N, classes, H, W), of any size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.at_fine = nn.Sequential(_conv(channels, WIDTH), _conv(WIDTH, WIDTH))
        self.at_half = nn.Sequential(_conv(WIDTH, 2 * WIDTH, 2), _conv(2 * WIDTH, 2 * WIDTH))
        self.at_quarter = nn.Sequential(_conv(2 * WIDTH, 4 * WIDTH, 2), _conv(4 * WIDTH, 4 * WIDTH))
        self.up_to_half = _conv(6 * WIDTH, 2 * WIDTH)
        self.up_to_fine = _conv(3 * WIDTH, WIDTH)
        self.head = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.at_fine(x)
        half = self.at_half(fine)
        quarter = self.at_quarter(half)
        half = self.up_to_half(torch.cat([half, _resize_like(quarter, half)], dim=1))
        return self.head(self.up_to_fine(torch.cat([fine, _resize_like(half, fine)], dim=1)))


def _resize_like(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, other.shape[-2:], mode="bilinear")


class Classifier(nn.Module):
    """Convolutional classifier of four strided layers and a mean: (N, C, H, W) in [-1, 1] → logits (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = [channels, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
        self.layers = nn.Sequential(*(_conv(cin, cout, 2) for cin, cout in pairwise(widths)))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(dim=(2, 3)))


def train_segmenter(
    images: Tensor, labels: Tensor, classes: int, seed: int = 0, device: torch.device | str = "cpu", steps: int = 1000
) -> LabelScorer:
    """Train a segmenter on images (N, C, H, W), uint8 or in [-1, 1], with labels (N, H, W).

    Labels are 0 to classes − 1, or IGNORE_INDEX. The weights are a function of the images, the labels, `seed` and `steps`,
    and of the machine in their last bits; the order of the images plays no part. DataError for labels that do not fit.
    """
    pixels, labels = _check_labels(images, labels, (len(images), *images.shape[-2:]), classes, "segmentation")
    net = normal_(Segmenter(images.shape[1], classes), seed, "segmentation", gain=GAIN).to(device)
    return _hashed_scorer(_train(net, pixels, labels, seed, steps), classes)


def train_classifier(
    images: Tensor, labels: Tensor, classes: int, seed: int = 0, device: torch.device | str = "cpu", steps: int = 500
) -> LabelScorer:
    """Train a classifier on images (N, C, H, W), uint8 or in [-1, 1], with one label per image, (N,) of 0 to classes − 1.

    All else is as in `train_segmenter`.
    """
    pixels, labels = _check_labels(images, labels, (len(images),), classes, "classification")
    net = normal_(Classifier(images.shape[1], classes), seed, "classification", gain=GAIN).to(device)
    return _hashed_scorer(_train(net, pixels, labels, seed, steps), classes)


def segmentation_score(scorer: LabelScorer, images: Tensor, labels: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """Return `pixel_accuracy`, `class_accuracy` and `class_iou` of a segmenter on translations, against their labels.

    Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015, sec. 5: the share of
    pixels with the right class, the mean over classes of that share, and the mean over classes of intersection over union.
    Classes that the labels do not hold are left out. 0 to 1, higher is better; errors are those of a bootstrap over images.
    DataError for labels and images that do not fit the scorer.
    """
    pixels, labels = _check_labels(images, labels, (len(images), *images.shape[-2:]), scorer.classes, "segmentation")
    predicted = _predict(scorer, pixels, "segmentation")
    counts = torch.stack([_confusion(*pair, scorer.classes) for pair in zip(labels, predicted, strict=True)])
    statistics = {"pixel_accuracy": _pixel_accuracy, "class_accuracy": _class_accuracy, "class_iou": _class_iou}
    return {
        key: bootstrap(
            lambda means, statistic=statistic: statistic(means.unflatten(-1, (scorer.classes, -1))), counts, seed=seed
        )
        for key, statistic in statistics.items()
    }


def classification_score(scorer: LabelScorer, images: Tensor, labels: Tensor, seed: int = 0) -> dict[str, Estimate]:
    """Return `top1_accuracy`, the share of translations whose class a classifier reads rightly; 0 to 1, higher is better."""
    pixels, labels = _check_labels(images, labels, (len(images),), scorer.classes, "classification")
    right = _predict(scorer, pixels, "classification") == labels
    return {"top1_accuracy": mean_interval(right, seed)}


def right_answers(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 for each image whose largest logit (N, K) is that of its label (N,), else 0: (N,) float64."""
    return (logits.argmax(1) == labels).double()


def _check_labels(
    images: Tensor, labels: Tensor, shape: tuple[int, ...], classes: int, metric: str
) -> tuple[Tensor, Tensor]:
    """Return images as uint8 and their labels, on the CPU. DataError unless the labels have this shape and these classes."""
    check_count(len(images), 1, metric)
    if tuple(labels.shape) != shape:
        raise DataError(
            f"{metric}: labels of shape {tuple(labels.shape)} for images {tuple(images.shape)}; expected {shape}"
        )
    labels = labels.long().cpu()
    wrong = labels[((labels < 0) | (labels >= classes)) & ((labels != IGNORE_INDEX) | (labels.ndim == 1))]
    if len(wrong):
        raise DataError(f"{metric}: a label is {int(wrong[0])}; labels of {classes} classes go from 0 to {classes - 1}")
    if (labels == IGNORE_INDEX).all():
        raise DataError(
            f"{metric}: every pixel has the label {IGNORE_INDEX}, which is ignored; there is nothing to score"
        )
    return to_uint8_batch(images, metric).cpu(), labels


def _train(net: nn.Module, pixels: Tensor, labels: Tensor, seed: int, steps: int) -> nn.Module:
    """Minimise the cross-entropy by Adam, with a learning rate that falls to zero in a half cosine."""
    device = next(net.parameters()).device
    order = content_keys(pixels).argsort(stable=True)
    pixels, labels = pixels[order], labels[order]
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    net.train()
    for step in range(steps):
        rows = keyed_random.permutation(len(pixels), seed, "scorer", step)[:BATCH]
        logits = net(normalize(pixels[rows].to(device), torch.float32))
        optimizer.zero_grad()
        F.cross_entropy(logits, labels[rows].to(device), ignore_index=IGNORE_INDEX).backward()
        optimizer.step()
        schedule.step()
    set_test_time_behaviour(net, "running")
    return net.eval()


def _hashed_scorer(net: nn.Module, classes: int) -> LabelScorer:
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return LabelScorer(net, classes, digest.hexdigest())


@torch.no_grad()
def _predict(scorer: LabelScorer, pixels: Tensor, metric: str) -> Tensor:
    """Return the likeliest class of each pixel, (N, H, W), or of each image, (N,)."""
    first = next(scorer.net.parameters())
    if pixels.shape[1] != first.shape[1]:
        raise DataError(f"{metric}: images of {pixels.shape[1]} channels; the scorer learned from {first.shape[1]}")
    batches = (normalize(batch.to(first.device), torch.float32) for batch in pixels.split(BATCH))
    return torch.cat([scorer.net(batch).argmax(dim=1).cpu() for batch in batches])


def _confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix (classes · classes,): at i · classes + j the pixels of class i predicted as class j."""
    counted = labels != IGNORE_INDEX
    return torch.bincount(labels[counted] * classes + predicted[counted], minlength=classes**2).double()


def _pixel_accuracy(confusion: Tensor) -> Tensor:
    return _diagonal(confusion).sum(dim=-1) / confusion.sum(dim=(-2, -1))


def _class_accuracy(confusion: Tensor) -> Tensor:
    return (_diagonal(confusion) / confusion.sum(dim=-1)).nanmean(dim=-1)  # 0 / 0 for classes without labels


def _class_iou(confusion: Tensor) -> Tensor:
    held, right = confusion.sum(dim=-1), _diagonal(confusion)
    union = held + confusion.sum(dim=-2) - right
    return torch.where(held > 0, right / union, torch.nan).nanmean(dim=-1)


def _diagonal(confusion: Tensor) -> Tensor:
    return confusion.diagonal(dim1=-2, dim2=-1)

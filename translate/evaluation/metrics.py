"""Table of all metrics: the function of each, what it needs, and how to read its values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from translate.evaluation import artefacts, distributions, diversity, faithfulness, label_scorers, paired, robustness
from translate.evaluation.swd import sliced_wasserstein
from translate.evaluation.two_sample import MIN_IMAGES, classifier_two_sample

NEEDS = {
    "pairs": "function(output, truth) → (N,), one value per pair, for any batch of images",
    "pairs, border": "function(output, truth, border) → (N,), as pairs; border: pixels at each edge that are left out",
    "pairs, weights": "function(weights, device) → a callable of pairs, with the name and SHA-256 of its weights",
    "inputs": "function(input, output) → (N,), one value per image, for any batch of images",
    "features": "function(real, fake, seed) → estimates by key, of whole sets (N, D)",
    "logits": "function(logits of the translations, seed) → estimates by key, of a whole set (N, K)",
    "images": "function(real, fake, seed) → estimates by key, of whole sets (N, C, H, W)",
    "images by place": "function(real, fake, is_paired, seed) → the same; is_paired: real[i] and fake[i] show the same place",
    "round trip": "function(x, to_b, to_a) → (N,) by key, for any batch of inputs",
    "samples": "function(features (N, S, D) of several outputs of each input) → (N,)",
    "translator": "function(x, translate, seed) → (N,) by key, for any batch of inputs; translate is differentiable",
    "attacks": "function(x, translate, seed, restarts) → AttackedImages, for any batch of inputs; translate is differentiable",
    "classifier": "function(logits (N, K) of the model for real images, their labels (N,)) → (N,)",
    "labels": "function(scorer, images, labels, seed) → estimates by key, of a whole set",
}
"""Signatures of the metrics' functions. One value per image becomes an estimate by `uncertainty.mean_interval`."""


@dataclass(frozen=True)
class Metric:
    """Row of METRICS: a metric."""

    function: Callable[..., Any]
    """Function that computes it, with the signature that NEEDS gives."""
    needs: str
    """Row of NEEDS."""
    better: Literal["lower", "higher"]
    """Direction in which its values are better."""
    unit: str
    """Unit of its values; "" for numbers without one."""
    keys: tuple[str, ...]
    """Keys of its values in results; the sliced distance adds one for each level."""
    min_images: int
    """Smallest number of images in a set."""
    title: str
    """Name for tables and charts."""
    source: str
    """Paper or standard that defines it."""


# To add a metric, add its function and its row
METRICS: dict[str, Metric] = {
    "l1": Metric(paired.l1, "pairs", "lower", "of 255", ("l1",), 1, "L1", "mean absolute difference"),
    "psnr": Metric(
        paired.psnr, "pairs", "higher", "dB", ("psnr",), 1, "PSNR", "10 log₁₀(255² / mean square difference)"
    ),
    "ssim": Metric(paired.ssim, "pairs", "higher", "", ("ssim",), 1, "SSIM", "Wang et al., 2004"),
    "psnr_y": Metric(
        paired.psnr_y, "pairs, border", "higher", "dB", ("psnr_y",), 1, "PSNR of luma", "BT.601, 16 to 235, not rounded"
    ),
    "ssim_y": Metric(
        paired.ssim_y,
        "pairs, border",
        "higher",
        "",
        ("ssim_y",),
        1,
        "SSIM of luma",
        "Wang et al., 2004, on BT.601 luma",
    ),
    "ms_ssim": Metric(
        paired.ms_ssim, "pairs", "higher", "", ("ms_ssim",), 1, "MS-SSIM", "Wang, Simoncelli and Bovik, 2003"
    ),
    "lpips": Metric(
        paired.load_lpips, "pairs, weights", "lower", "", ("lpips",), 1, "LPIPS", "Zhang et al., 2018, version 0.1"
    ),
    "kid": Metric(distributions.kid, "features", "lower", "", ("kid",), 3, "KID", "Bińkowski et al., 2018"),
    "fid": Metric(distributions.fid, "features", "lower", "", ("fid",), 2, "FID", "Heusel et al., 2017"),
    "precision_recall": Metric(
        distributions.precision_recall,
        "features",
        "higher",
        "",
        ("precision", "recall"),
        4,
        "precision and recall",
        "Kynkäänniemi et al., 2019, k = 3",
    ),
    "inception_score": Metric(
        distributions.inception_score,
        "logits",
        "higher",
        "",
        ("inception_score",),
        10,
        "Inception Score",
        "Salimans et al., 2016, 10 splits",
    ),
    "swd": Metric(
        sliced_wasserstein,
        "images",
        "lower",
        "",
        ("swd",),
        2,
        "sliced Wasserstein distance",
        "Karras et al., 2018, not × 1000",
    ),
    "checkerboard": Metric(
        artefacts.checkerboard,
        "images",
        "lower",
        "× real",
        ("checkerboard",),
        2,
        "energy next to Nyquist's frequency",
        "Odena et al., 2016",
    ),
    "log_checkerboard": Metric(
        artefacts.log_checkerboard,
        "images",
        "lower",
        "",
        ("log_checkerboard",),
        2,
        "|log| of that energy's ratio to real",
        "Odena et al., 2016",
    ),
    "c2st": Metric(
        classifier_two_sample,
        "images by place",
        "lower",
        "",
        ("c2st",),
        MIN_IMAGES,
        "accuracy of a two-sample classifier",
        "Lopez-Paz and Oquab, 2017",
    ),
    "colour": Metric(
        artefacts.colour,
        "images",
        "lower",
        "ΔE",
        ("colour_shift", "colour_spread"),
        2,
        "shift of colours and of their spread",
        "ISO/CIE 11664-4; Reinhard et al., 2001",
    ),
    "edge_correlation": Metric(
        faithfulness.edge_correlation,
        "inputs",
        "higher",
        "",
        ("edge_correlation",),
        1,
        "correlation of edges",
        "Pearson's, of Sobel magnitudes",
    ),
    "cycle_psnr": Metric(
        faithfulness.cycle_psnr,
        "round trip",
        "higher",
        "dB",
        ("cycle_psnr", "cycle_psnr_jpeg90"),
        1,
        "PSNR there and back",
        "Chu et al., 2017",
    ),
    "diversity": Metric(
        diversity.mean_pairwise_distance,
        "samples",
        "higher",
        "",
        ("diversity",),
        1,
        "diversity of outputs",
        "Zhu et al., 2017, with other features",
    ),
    "fgsm": Metric(
        robustness.fgsm,
        "translator",
        "lower",
        "of 255",
        ("fgsm_1", "fgsm_2", "fgsm_4"),
        1,
        "change under attack",
        "Goodfellow et al., 2015; Tramèr et al., 2018",
    ),
    "robustness": Metric(
        robustness.robustness,
        "attacks",
        "lower",
        "",
        robustness.KEYS,
        1,
        "change under attacks",
        "Ruiz et al., 2020; Madry et al., 2018",
    ),
    "hidden_signal": Metric(
        faithfulness.hidden_signal,
        "round trip",
        "lower",
        "dB",
        ("hidden_signal_noise", "hidden_signal_jpeg", "hidden_signal_blur"),
        1,
        "inputs hidden in outputs",
        "Chu et al., 2017; Bashkirova et al., 2019",
    ),
    "segmentation": Metric(
        label_scorers.segmentation_score,
        "labels",
        "higher",
        "",
        ("pixel_accuracy", "class_accuracy", "class_iou"),
        1,
        "labels read back",
        "Isola et al., 2017; Long et al., 2015",
    ),
    "classification": Metric(
        label_scorers.classification_score,
        "labels",
        "higher",
        "",
        ("top1_accuracy",),
        1,
        "classes read back",
        "share of right answers",
    ),
    "accuracy": Metric(
        label_scorers.right_answers,
        "classifier",
        "higher",
        "",
        ("accuracy",),
        1,
        "accuracy of the model's classifier",
        "share of right answers",
    ),
}

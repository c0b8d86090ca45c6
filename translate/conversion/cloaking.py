"""Cloak: a change of a photo, too small to see, that makes a translator fail on it."""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from translate import atomic, config, images
from translate.callbacks import ProgressCallback
from translate.config import option
from translate.errors import DataError, UsageError
from translate.images import Picture, Reading
from translate.nn import attacks
from translate.text import one_line
from translate.trained.differentiable import translate_with_grad
from translate.trained.noise import pixel_key
from translate.trained.translator import Translator

LOSSLESS = ("png", "tiff")
"""Rows of WRITERS that keep 8-bit values as they are."""
WINDOW = 512
"""Longest side in pixels of the parts that are attacked one after another, so that gradients fit into memory."""
LEVEL = 2 / 255
"""One level of 255, where images are in [-1, 1]."""


@dataclass(frozen=True)
class CloakOptions:
    """Options of a cloak. Raises UsageError that names the flag where a value is not possible."""

    to: str = option("b", "target domain of the translation that is to fail", group="Images")
    epsilon: int = option(
        6,
        "largest change of each value, in levels of 255; more holds better and is seen sooner",
        low=1,
        high=255,
        group="Images",
    )
    steps: int = option(40, "steps of the attack", low=1, group="Images")
    seed: int = option(0, "seed of the attack's random start", group="Images")
    max_pixels: int = option(images.MAX_PIXELS, "refuse photos of more pixels", low=1, group="Images")
    overwrite: bool = option(False, "replace an existing file", group="Output")

    def __post_init__(self) -> None:
        config.check_options(self)


@dataclass(frozen=True)
class CloakResult:
    """A cloaked photo, and how far it moves the model's output."""

    output: Path
    change: float
    """Mean square change of the output, of values in [-1, 1]; above 0.05 it counts as disrupted (Ruiz et al., 2020)."""
    noise_change: float
    """The same under noise of the same size."""
    notices: tuple[str, ...]
    """Parts of the photo that the output does not keep."""
    seconds: float


def cloak_photo(
    model: Translator,
    source: Path,
    target: Path,
    options: CloakOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
) -> CloakResult:
    """Write a photo, changed within ±epsilon of each value, for which the model's output differs most from that for the photo.

    Projected gradient ascent on the squared distance of the outputs, in 8 bits at the end (Ruiz, Bargal and Sclaroff,
    "Disrupting Deepfakes: Adversarial Attacks Against Conditional Image Translation Networks and Facial Manipulation Systems",
    ECCV Workshops 2020, sec. 3). Metadata and transparency are kept. UsageError for a format with losses, an existing file and
    a model that does not take colour images; DataError for a photo that cannot be used.
    """
    began = time.monotonic()
    fmt = _check(model, source, target, options)
    picture = _read(source, options.max_pixels)
    pixels, seen = cloak_pixels(model, picture.pixels, options, progress)
    metadata = replace(picture.metadata, jpeg=None) if picture.metadata else None
    result = Picture(pixels, picture.alpha, metadata=metadata)
    lost = images.supported_by(metadata, fmt, pixels.shape[2])[1] if metadata else []
    with atomic.storage_errors(target.parent):
        atomic.write(target, images.encode(result, fmt))
    notices = (*picture.notices, *picture.damage, *lost)
    return CloakResult(target, *seen, notices, time.monotonic() - began)


def _check(model: Translator, source: Path, target: Path, options: CloakOptions) -> str:
    """Return the format of the output. UsageError if the files or the model cannot be used."""
    fmt = images.writer_for(images.extension(target))
    if fmt not in LOSSLESS:
        raise UsageError(f"{target}: another format than PNG or TIFF loses the change; give a name that ends in .png")
    if os.path.realpath(target) == os.path.realpath(source):
        raise UsageError(f"{target}: the output is the photo itself; give another name")
    if target.exists() and not options.overwrite:
        raise UsageError(f"{target}: exists; --overwrite replaces it")
    model.check_target(options.to)
    if options.to not in model.directions:
        raise UsageError(f"--to {options.to}: give one domain: {', '.join(model.directions)}")
    if model.label_format(options.to) is not None or model.input_channels(options.to) != 3:
        raise UsageError(
            f"{model.name}: does not translate colour photos, so that there is nothing to cloak them against"
        )
    return fmt


def _read(source: Path, max_pixels: int) -> Picture:
    """Read a photo in 8 bits. DataError if it cannot be used."""
    if images.extension(source) in images.REFUSED_EXTENSIONS:
        raise DataError(f"{source}: format not allowed")
    try:
        return images.read(source, how=Reading(3, max_pixels, metadata=True))
    except (images.ImageError, OSError) as e:
        raise DataError(f"{source}: {one_line(e)}") from None


def cloak_pixels(
    model: Translator,
    pixels: np.ndarray,
    options: CloakOptions,
    progress: ProgressCallback = lambda finished, failed, total: None,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return a photo (H, W, 3) uint8 cloaked, and the mean square changes of the output for it and for noise of its size.

    Larger photos are attacked, and their outputs compared, in windows of at most WINDOW pixels a side.
    """
    translate = translate_with_grad(model, options.to, options.seed)
    windows = list(_windows(*pixels.shape[:2]))
    cloaked, changes = pixels.copy(), np.zeros(2)
    progress(0, 0, len(windows))
    for number, window in enumerate(windows):
        clean = images.to_tensor(pixels[window], None)[None]
        key = torch.tensor([pixel_key(pixels[window], options.seed)])
        noise, signs = (
            draw(key, draw.__name__, *clean.shape[1:]) for draw in (attacks.random_start, attacks.random_signs)
        )
        with torch.no_grad():
            before = translate(clean)
        distance = attacks.squared_distance(translate, before)
        epsilon = options.epsilon * LEVEL
        attacked = attacks.disrupt(distance, clean, epsilon, options.steps, noise)
        cloaked[window] = _within(images.to_uint8_array(attacked[0]), pixels[window], options.epsilon)
        others = images.to_tensor(cloaked[window], None)[None], (clean + epsilon * signs).clamp(-1, 1)
        with torch.no_grad():
            changes += [float(distance(x).sum()) / before[0].numel() * clean[0].numel() / pixels.size for x in others]
        progress(number + 1, 0, len(windows))
    return cloaked, (float(changes[0]), float(changes[1]))


def _within(attacked: np.ndarray, pixels: np.ndarray, epsilon: int) -> np.ndarray:
    """Return values within epsilon levels of the photo's: rounding does not carry them beyond."""
    whole: np.ndarray = pixels.astype(np.int16)
    return np.clip(attacked.astype(np.int16), whole - epsilon, whole + epsilon).astype(np.uint8)


def _windows(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield windows of nearly equal sides that cover an image."""
    rows, columns = (np.linspace(0, side, -(-side // WINDOW) + 1).astype(int).tolist() for side in (height, width))
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            yield slice(top, bottom), slice(left, right)

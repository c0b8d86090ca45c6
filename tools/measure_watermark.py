"""Measure the watermark of `convert --watermark`: survival of changes, PSNR, and false positives on natural images.

    python tools/measure_watermark.py FOLDER… [--side 256] [--images 100] [--crops 10000]

Survival: the middle square of each image, resized to --side where it is smaller (bicubic), is marked, changed and looked at.
False positives: as many random crops of 96 to 256 pixels of the unmarked images, resized by 0.7 to 1.5, are looked at. Prints
one JSON object.
"""

import argparse
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from translate import images
from translate.images import watermark


def jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    """Return an image as JPEG gives it back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """Return an image resized by the bicubic filter."""
    width, height = (max(watermark.MIN_SIDE, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float = 0.7) -> Image.Image:
    """Return a part of an image, of this share of each side, off its middle."""
    left, top = ((side - round(side * share)) // 3 for side in image.size)
    return image.crop((left, top, left + round(image.width * share), top + round(image.height * share)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "jpeg 75": jpeg,
    "jpeg 50": lambda image: jpeg(image, 50),
    "resized to 50 %": lambda image: scaled(image, 0.5),
    "resized to 73 %": lambda image: scaled(image, 0.73),
    "resized to 130 %": lambda image: scaled(image, 1.3),
    "cropped to 70 %": cropped,
    "cropped to 70 %, jpeg 75": lambda image: jpeg(cropped(image)),
    "resized to 50 %, jpeg 75": lambda image: jpeg(scaled(image, 0.5)),
    "all three": lambda image: jpeg(scaled(cropped(image), 0.5)),
}


def square(image: Image.Image, side: int) -> Image.Image:
    """Return the middle square of an image with this side; enlarged where it is smaller."""
    edge = min(image.size)
    left, top = ((length - min(edge, max(side, 1))) // 2 for length in image.size)
    if edge >= side:
        return image.crop((left, top, left + side, top + side))
    left, top = ((length - edge) // 2 for length in image.size)
    return image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BICUBIC)


def score(image: Image.Image) -> watermark.WatermarkDetection:
    """Look for the mark in an image."""
    return watermark.detect_watermark(np.asarray(image))


def measure_survival(paths: list[Path], side: int) -> dict[str, object]:
    """Return the share of marked images that are found after each change, their lowest score, and the PSNR."""
    scores: dict[str, list[watermark.WatermarkDetection]] = {name: [] for name in CHANGES}
    psnr = []
    for path in paths:
        pixels = np.asarray(square(Image.open(path).convert("RGB"), side))
        marked = watermark.embed(pixels)
        psnr.append(10 * math.log10(255**2 / np.mean((pixels.astype(float) - marked) ** 2)))
        for name, change in CHANGES.items():
            scores[name].append(score(change(Image.fromarray(marked))))
    survival = {
        name: {"found": sum(one.found for one in found), "lowest_score": round(min(one.score for one in found), 2)}
        for name, found in scores.items()
    }
    return {
        "side": side, "images": len(paths), "psnr_mean": round(float(np.mean(psnr)), 2), "psnr_min": round(min(psnr), 2),
        "changes": survival,
    }  # fmt: skip


def measure_false_positives(paths: list[Path], crops: int) -> dict[str, object]:
    """Return how many of so many random crops of images without a mark are taken for marked ones."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(crops):
        image = Image.open(paths[number % len(paths)]).convert("RGB")
        side = int(rng.integers(96, 257))
        width, height = (min(side, length) for length in image.size)
        left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
        found.append(score(scaled(image.crop((left, top, left + width, top + height)), rng.uniform(0.7, 1.5))))
    highest = max(found, key=lambda one: one.score)
    return {
        "crops": crops, "of_images": len(paths), "found": sum(one.found for one in found),
        "highest_score": round(highest.score, 2), "its_bound": highest.false_positives,
    }  # fmt: skip


def main() -> None:
    """Print the measurements of the images of the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--side", type=int, action="append", help="side of the marked images [default: 256]")
    parser.add_argument("--images", type=int, default=100, help="number of marked images")
    parser.add_argument("--crops", type=int, default=10_000, help="number of crops without a mark; 0: none")
    given = parser.parse_args()
    paths = [path for folder in given.folders for path in images.list_images(folder)]
    chosen = paths[:: max(1, len(paths) // given.images)][: given.images]
    result: dict[str, object] = {"survival": [measure_survival(chosen, side) for side in given.side or [256]]}
    if given.crops:
        result["false_positives"] = measure_false_positives(paths, given.crops)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

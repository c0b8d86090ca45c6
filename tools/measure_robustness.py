"""Figures of docs/robustness.md: change under attack over seeds, and what of a cloak is left after changes of the file.

    uv run python tools/measure_robustness.py attack blond-hair datasets/avatar_hair/testA --seeds 2
    uv run python tools/measure_robustness.py cloak blond-hair datasets/avatar_hair/testA --other flat-to-3d

Photos are resized to --size pixels a side; each command prints a line for each condition.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import translate
from translate.conversion.cloaking import CloakOptions, cloak_pixels
from translate.evaluation.robustness import ATTACK_EPSILONS, DISRUPTED_ABOVE, robustness
from translate.trained.differentiable import translate_with_grad


def read_photos(folder: Path, count: int, size: int) -> list[np.ndarray]:
    """Return the first images of a folder, (size, size, 3) uint8."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".webp"))[:count]
    return [
        np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)) for path in paths
    ]


def attack(args: argparse.Namespace) -> None:
    """Print the mean square changes by attack and ε, for each seed."""
    translator = translate.load(args.model, device="cpu", say=None)
    x = torch.from_numpy(np.stack(read_photos(args.photos, args.count, args.size))).permute(0, 3, 1, 2)
    for seed in range(args.seeds):
        model = translate_with_grad(translator, args.to, 0)
        parts = [robustness(image[None], model, seed, args.epsilons, restarts=args.restarts).values for image in x]
        means = {key: float(torch.cat([values[key] for values in parts]).mean()) for key in parts[0]}
        print(
            f"seed {seed}",
            "  ".join(f"{key.removeprefix('robustness_')} {value:.4g}" for key, value in means.items()),
            flush=True,
        )


def recoded(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that saves an image as JPEG with halved chroma and reads it."""

    def change(pixels: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        return np.asarray(Image.open(buffer).convert("RGB"))

    return change


def resized(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that resizes an image by a factor and back."""

    def change(pixels: np.ndarray) -> np.ndarray:
        image, side = Image.fromarray(pixels), round(len(pixels) * factor)
        return np.asarray(
            image.resize((side, side), Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)
        )

    return change


CONDITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the file itself": lambda pixels: pixels,
    "JPEG 95": recoded(95),
    "JPEG 75": recoded(75),
    "resized ×0.75 and back": resized(0.75),
    "resized ×0.5 and back": resized(0.5),
}


def cloak(args: argparse.Namespace) -> None:
    """Print the mean square change of outputs between photo and cloaked photo, both after the same change of the file."""
    model = translate.load(args.model, device="cpu", say=None)
    photos = read_photos(args.photos, args.count, args.size)
    options = CloakOptions(to=args.to, epsilon=args.epsilon, steps=args.steps)
    cloaked = [cloak_pixels(model, pixels, options)[0] for pixels in photos]
    signs = np.random.default_rng(0)
    noisy = [np.clip(p + args.epsilon * signs.choice([-1, 1], p.shape), 0, 255).astype(np.uint8) for p in photos]
    rows = [(name, model, cloaked, change) for name, change in CONDITIONS.items()]
    rows.append(("noise of this size", model, noisy, CONDITIONS["the file itself"]))
    if args.other:
        other = translate.load(args.other, device="cpu", say=None)
        rows.append((f"another model, {args.other}", other, cloaked, CONDITIONS["the file itself"]))
    for name, translator, changed, change in rows:
        changes = [
            float(np.square(2 * (translator(change(a) / 255, args.to) - translator(change(b) / 255, args.to))).mean())
            for a, b in zip(photos, changed, strict=True)
        ]
        share = np.mean([each > DISRUPTED_ABOVE for each in changes])
        print(f"{name:32} {np.mean(changes):.4f}  disrupted {share:.0%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("attack", "cloak"))
    parser.add_argument("model", help="MODEL")
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--to", default="b", help="target domain")
    parser.add_argument("--count", type=int, default=8, help="photos")
    parser.add_argument("--size", type=int, default=64, help="side of the photos in pixels")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of the attacks")
    parser.add_argument(
        "--epsilons",
        type=lambda text: tuple(int(level) for level in text.split(",")),
        default=ATTACK_EPSILONS,
        help="ε of the attacks, with commas",
    )
    parser.add_argument("--restarts", type=int, default=1, help="random starts of each PGD attack")
    parser.add_argument("--epsilon", type=int, default=6, help="ε of the cloak")
    parser.add_argument("--steps", type=int, default=40, help="steps of the cloak")
    parser.add_argument("--other", help="another model, that the cloaked photos are given to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"attack": attack, "cloak": cloak}[args.what](args)


if __name__ == "__main__":
    main()

"""Builder of pairs of emoji: Microsoft's flat drawings (SVG) and their 3D renderings (WebP)."""

import hashlib
import io
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.builders.svg_rendering import RESVG, load_renderer, on_white
from translate.catalog.download import TaskProgress

FLAT, THREE = "@iconify-json/fluent-emoji-flat", "@lobehub/fluent-emoji-3d"

PIXELS = 128
"""Side of the images."""
TRAIN, TRAIN_SMALL = 1000, 500
"""Training images, a sample of those that there are."""

DAMAGED = frozenset(["0035-20e3"])
"""Emoji whose drawing has a fault: a black bar beside the five."""

TONES = frozenset(["1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"])
"""Skin tones. Emoji with one are left out: the 3D renderings of some have another tone than their name says."""

AGES = frozenset(["1f466", "1f467", "1f468", "1f469", "1f474", "1f475", "1f9d1", "1f9d2", "1f9d3"])
HAIR = frozenset(["1f9b0", "1f9b1", "1f9b2", "1f9b3"])
VARIANTS = TONES | AGES | HAIR | {"2640", "2642", "27a1", "200d"}
"""Code points that make a variant of an emoji: these, gender, direction, and what joins them."""


def flat_to_3d(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build pairs of flat drawing (left) and 3D rendering (right) in train/ and test/."""
    _build(fetched, folder, progress, TRAIN, ".jpg", {"quality": 93, "subsampling": 0})


def flat_to_3d_small(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build fewer pairs in smaller files, of the same test emoji but those that are damaged."""
    _build(fetched, folder, progress, TRAIN_SMALL, ".webp", {"quality": 88, "method": 6}, DAMAGED)


def _build(
    fetched: Mapping[str, Path],
    folder: Path,
    progress: TaskProgress,
    train: int,
    extension: str,
    options: dict[str, Any],
    left_out: frozenset[str] = frozenset(),
) -> None:
    flat, three = flat_drawings(fetched[FLAT]), renderings(fetched[THREE])
    render = load_renderer(fetched[RESVG])
    keys = sorted(key for key in flat.keys() & three.keys() if usable(key) and key not in left_out)
    splits = {split: [key for key in keys if split_of(key) == split] for split in ("train", "test")}
    if len(splits["train"]) > train:
        splits["train"] = sorted(random.Random(0).sample(splits["train"], train))
    for split, chosen in splits.items():
        for i, key in enumerate(chosen):
            progress(f"drawing {split}", i + 1, len(chosen), "pairs")
            a = on_white(render(flat[key], PIXELS))
            b = Image.open(io.BytesIO(three[key]), formats=["WEBP"]).convert("RGBA")
            b = on_white(b.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS))
            both = Image.new("RGB", (2 * PIXELS, PIXELS))
            both.paste(a, (0, 0))
            both.paste(b, (PIXELS, 0))
            with atomic.storage_errors(folder):
                (folder / split).mkdir(exist_ok=True)
                both.save(folder / split / f"{key}{extension}", **options)


def key_of(code_points: str) -> str:
    """Normalise hexadecimal code points joined by `-`: without the variation selector that asks for a picture."""
    return "-".join(point for point in code_points.lower().split("-") if point != "fe0f")


def usable(key: str) -> bool:
    """Return whether an emoji is neither a flag nor of a skin tone."""
    points = key.split("-")
    flag = points[0] in ("1f3f3", "1f3f4") or any(
        point.startswith("e00") or (len(point) == 5 and "1f1e6" <= point <= "1f1ff") for point in points
    )
    return not flag and TONES.isdisjoint(points)


def group_of(key: str) -> str:
    """Return the code points that all variants of an emoji share."""
    return "-".join(point for point in key.split("-") if point not in VARIANTS) or "person"


def split_of(key: str) -> str:
    """Return the split of an emoji, by its group, so that no variant of a training image is in test: 80 % train, 10 % test."""
    percent = int(hashlib.sha256(group_of(key).encode()).hexdigest()[:8], 16) % 100
    return "train" if percent < 80 else "test" if percent < 90 else "unused"


def flat_drawings(package: Path) -> dict[str, str]:
    """Read the flat drawings of a package: key → SVG."""
    texts = packages.read_members(package, lambda name: name in ("package/icons.json", "package/chars.json"))
    icons, names = (json.loads(texts[f"package/{name}.json"]) for name in ("icons", "chars"))
    return {key_of(code): _svg(icons, name) for code, name in names.items() if name in icons["icons"]}


def _svg(icons: Mapping[str, Any], name: str) -> str:
    icon = icons["icons"][name]
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'


def renderings(package: Path) -> dict[str, bytes]:
    """Read the 3D renderings of a package: key → WebP."""
    members = packages.read_members(package, lambda name: name.startswith("package/assets/") and name.endswith(".webp"))
    stems = {Path(name).stem: data for name, data in members.items()}
    # A few are there twice, with and without the selector, and look different: the shorter name, which comes last, is used.
    return {key_of(stem): stems[stem] for stem in sorted(stems, reverse=True)}

"""Builder of pairs of emoji: Microsoft's flat drawings (SVG) and their 3D renderings (WebP)."""

import hashlib
import importlib
import io
import json
import random
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.download import TaskProgress
from translate.errors import DataError

FLAT, THREE, DRAW = "@iconify-json/fluent-emoji-flat", "@lobehub/fluent-emoji-3d", "resvg-py"

PIXELS = 128
"""Side of the images."""
TRAIN = 1000
"""Training images, a sample of those that there are."""

TONES = frozenset(["1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"])
"""Skin tones. Emoji with one are left out: the 3D renderings of some have another tone than their name says."""

AGES = frozenset(["1f466", "1f467", "1f468", "1f469", "1f474", "1f475", "1f9d1", "1f9d2", "1f9d3"])
HAIR = frozenset(["1f9b0", "1f9b1", "1f9b2", "1f9b3"])
VARIANTS = TONES | AGES | HAIR | {"2640", "2642", "27a1", "200d"}
"""Code points that make a variant of an emoji: these, gender, direction, and what joins them."""


def flat_to_3d(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build pairs of flat drawing (left) and 3D rendering (right) in train/ and test/."""
    flat, three = flat_drawings(fetched[FLAT]), renderings(fetched[THREE])
    draw = _drawer(fetched[DRAW])
    keys = sorted(key for key in flat.keys() & three.keys() if usable(key))
    splits = {split: [key for key in keys if split_of(key) == split] for split in ("train", "test")}
    if len(splits["train"]) > TRAIN:
        splits["train"] = sorted(random.Random(0).sample(splits["train"], TRAIN))
    for split, chosen in splits.items():
        for i, key in enumerate(chosen):
            progress(f"drawing {split}", i + 1, len(chosen), "pairs")
            a = on_white(Image.open(io.BytesIO(draw(flat[key], PIXELS)), formats=["PNG"]))
            b = Image.open(io.BytesIO(three[key]), formats=["WEBP"]).convert("RGBA")
            b = on_white(b.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS))
            both = Image.new("RGB", (2 * PIXELS, PIXELS))
            both.paste(a, (0, 0))
            both.paste(b, (PIXELS, 0))
            with atomic.storage_errors(folder):
                (folder / split).mkdir(exist_ok=True)
                both.save(folder / split / f"{key}.jpg", quality=93, subsampling=0)


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


def on_white(image: Image.Image) -> Image.Image:
    """Convert to RGB, with transparency composited on white."""
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def _drawer(wheel: Path) -> Callable[[str, int], bytes]:
    """Return a function of SVG and size that gives PNG, by the resvg of this wheel, whatever version is installed."""
    folder = wheel.parent / "unpacked"
    with atomic.storage_errors(folder), zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)
    sys.path.insert(0, str(folder))
    try:
        resvg = importlib.import_module("resvg_py")
    except ImportError as e:
        raise DataError(f"{wheel.name}: cannot be used on this machine: {e}") from None
    finally:
        sys.path.remove(str(folder))
    return lambda svg, size: bytes(resvg.svg_to_bytes(svg_string=svg, width=size, height=size))

"""Builders of OpenMoji drawings: the black outline and the coloured drawing of one emoji, aligned to the pixel; or captions."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translate import atomic
from translate.catalog.builders import packages
from translate.catalog.builders.svg_rendering import RESVG, load_renderer, on_white
from translate.catalog.download import TaskProgress
from translate.errors import DataError

PACKAGE = "openmoji"

PIXELS = 128
"""Side of the images."""

LEFT_OUT_GROUPS = frozenset(["flags", "extras-unicode", "component"])
LEFT_OUT_SUBGROUPS = frozenset(["brand", "flags", "keycap", "alphanum"])

LEAST_COLOUR = 0.03
"""Smallest fraction of a drawing whose saturation exceeds SATURATED: mere outlines are left out."""
SATURATED = 60
"""Saturation, of 255."""

PERSONS = frozenset(["man", "woman", "person", "men", "women", "people", "boy", "girl", "adult", "older"])
DIRECTIONS = frozenset(
    ["left", "right", "up", "down", "facing", "leftwards", "rightwards", "right-facing", "left-facing"]
)
"""Words of an annotation that tell variants of an emoji apart."""


def outline_to_color(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build pairs of outline (left) and coloured drawing (right) in train/ and test/, and captions.txt, the words for each."""
    _build(fetched, folder, progress, ("black", "color"), lambda entry: [f"{entry['annotation']}\t{entry['tags']}"])


def captioned_drawings(fetched: Mapping[str, Path], folder: Path, progress: TaskProgress) -> None:
    """Build coloured drawings in train/ and test/, and captions.txt with two captions for each: its name, and its tags."""
    _build(
        fetched, folder, progress, ("color",), lambda entry: list(filter(None, (entry["annotation"], entry["tags"])))
    )


def _build(
    fetched: Mapping[str, Path],
    folder: Path,
    progress: TaskProgress,
    kinds: Sequence[str],
    captions_of: Callable[[Mapping[str, Any]], list[str]],
) -> None:
    """Draw each emoji in these kinds, side by side, and write what follows its path in the lines of captions.txt."""
    wanted = re.compile(rf"package/(data/openmoji\.json|({'|'.join(kinds)})/svg/.*\.svg)")
    members = packages.read_members(fetched[PACKAGE], lambda name: wanted.fullmatch(name) is not None)
    render = load_renderer(fetched[RESVG])
    try:
        entries = [entry for entry in json.loads(members["package/data/openmoji.json"]) if usable(entry)]
        lines = []
        for i, entry in enumerate(entries):
            progress("drawing", i + 1, len(entries), "emoji")
            svgs = [members[f"package/{kind}/svg/{entry['hexcode']}.svg"].decode() for kind in kinds]
            drawings = [on_white(render(svg, PIXELS)) for svg in svgs]
            if not is_coloured(drawings[-1]):
                continue
            sheet = Image.new("RGB", (len(drawings) * PIXELS, PIXELS))
            for number, drawing in enumerate(drawings):
                sheet.paste(drawing, (number * PIXELS, 0))
            file = f"{split_of(entry['annotation'])}/{entry['hexcode']}.png"
            lines += [f"{file}\t{caption}\n" for caption in captions_of(entry)]
            with atomic.storage_errors(folder):
                (folder / file).parent.mkdir(exist_ok=True)
                sheet.save(folder / file, optimize=True)
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(f"{fetched[PACKAGE].name}: not as expected: {type(e).__name__} {e}") from None
    with atomic.storage_errors(folder):
        (folder / "captions.txt").write_text("".join(lines), encoding="utf-8")


def usable(entry: Mapping[str, Any]) -> bool:
    """Return whether an emoji of the package's list is neither a flag, sign or brand, nor of a skin tone, nor of many parts."""
    return not (
        entry["skintone"]
        or entry["group"] in LEFT_OUT_GROUPS
        or entry["subgroups"] in LEFT_OUT_SUBGROUPS
        or entry["hexcode"].count("-") > 2
        or "flag" in entry["annotation"].lower()
    )


def is_coloured(drawing: Image.Image) -> bool:
    """Return whether enough of a drawing has a colour."""
    saturation = np.asarray(drawing.convert("HSV"))[..., 1]
    return float((saturation > SATURATED).mean()) >= LEAST_COLOUR


def split_of(annotation: str) -> str:
    """Return the split of an emoji, by the last word that variants of it share: a tenth of the words is test."""
    text = annotation.lower()
    words = [word for word in re.findall("[a-z’'-]+", text) if word not in PERSONS | DIRECTIONS]
    word = "clock" if "clock" in text or "thirty" in text else words[-1] if words else "person"
    return "train" if int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % 10 else "test"

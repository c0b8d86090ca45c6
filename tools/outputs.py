"""Read what trainings, conversions and evaluations wrote, as values by name, and compare two of them bit for bit.

Left out: what depends on the clock or the memory, wording (error messages, notices), and the version.
"""

import io
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

Values = dict[str, Any]
"""Numbers, texts, tensors and arrays by name; equal outputs have equal names and values."""


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return the values of nested dicts and lists by path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for n, inner in enumerate(value):
            yield from leaves(inner, f"{name}[{n}]")
    else:
        yield name, value


def without(values: Values, *patterns: str) -> Values:
    return {name: value for name, value in values.items() if not any(re.search(p, name) for p in patterns)}


def weights(place: Path) -> Values:
    """Return the weights of model folders and of the reference's files."""
    found: Values = {}
    for path in sorted(place.rglob("*.safetensors")):
        found |= {f"{path.relative_to(place)}: {key}": tensor for key, tensor in load_file(path).items()}
    for path in sorted(place.rglob("*.pth")):
        found |= dict(leaves(torch.load(path, weights_only=True), path.name))
    return found


def state(place: Path) -> Values:
    """Return the tensors of checkpoints, in which a line with the hash precedes what torch saved."""
    found: Values = {}
    for path in sorted(place.glob("state-*.ckpt")):
        data = path.read_bytes()
        found |= dict(leaves(torch.load(io.BytesIO(data[data.index(b"\n") + 1 :]), weights_only=True), path.name))
    return without(found, r"\.environment\b", r"\.version$", "seconds")


def losses(place: Path) -> Values:
    """Return the scalars of stats.jsonl."""
    path = place / "stats.jsonl"
    points = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return without(dict(leaves({str(point["images"]): point for point in points})), r"\.(time|memory)/", r"\.advice")


def events(place: Path) -> Values:
    """Return the scalars of TensorBoard, and the names of all else there."""
    found: Values = {}
    for path in sorted(place.glob("events.out.tfevents.*")):
        for event in map(Event.FromString, RawEventFileLoader(str(path)).Load()):
            found |= {f"{event.step}: {value.tag}": value.simple_value for value in event.summary.value}
    return without(found, ": (time|memory)/", ": advice")


def settings(place: Path) -> Values:
    """Return the contents of config.toml and config.json."""
    found: Values = {}
    for path in sorted([*place.glob("config.toml"), *place.rglob("config.json")]):
        text = path.read_text()
        found[str(path.relative_to(place))] = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    return without(dict(leaves(found)), r"\.version$")


def metrics(place: Path) -> Values:
    """Return the results of evaluations and validations."""
    paths = [place] if place.suffix == ".json" else sorted(place.rglob("metrics.json"))
    found = {str(path.relative_to(place.parent)): json.loads(path.read_text()) for path in paths}
    return without(dict(leaves(found)), r"\.code$", r"subject\.model$")


def manifests(place: Path) -> Values:
    """Journal lines and the names of all files. Of wording only how much of it there is."""
    found: Values = {
        f"file {p.relative_to(place)}": True for p in place.rglob("*") if p.is_file() and "tfevents" not in p.name
    }
    for path in sorted(place.glob("manifest*.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            line["notices"], line["error"] = len(line.get("notices") or ()), bool(line["error"])
            line["made_from"] = (line.get("made_from") or [None])[::2]  # without the time stamp
            found |= dict(leaves(line, f"{path.name}: {line['input']}"))
    return without(found, r"\.(seconds|written|sha256|bytes)$")


def pictures(place: Path) -> Values:
    """Return decoded pixels, sizes, modes, times of frames and metadata of every image file."""
    found: Values = {}
    for path in sorted(p for p in place.rglob("*.*") if p.is_file()) if place.is_dir() else ():
        name = str(path.relative_to(place))
        if path.suffix == ".npy":
            found[f"{name}: values"] = np.load(path)
        elif path.suffix in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                found |= {f"{name}: page {n}": page.asarray() for n, page in enumerate(file.pages)}
                found |= {f"{name}: tag {t.code}": t.value for p in file.pages for t in p.tags if t.code not in PLACES}
        elif path.suffix in (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".PNG"):
            with Image.open(path) as image:
                found[f"{name}: kind"] = (image.format, image.mode, image.size, getattr(image, "n_frames", 1))
                for n in range(getattr(image, "n_frames", 1)):
                    image.seek(n)
                    found[f"{name}: frame {n}"] = np.asarray(image if image.mode != "P" else image.convert("RGBA"))
                    found |= {f"{name}: frame {n} {key}": value for key, value in image.info.items()}
            if path.suffix == ".png":  # Pillow reads 8 bits of colours
                found[f"{name}: as OpenCV reads it"] = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return {key: plain(value) for key, value in found.items()}


PLACES = (273, 279, 324, 325)
"""TIFF tags that say where in the file something is."""


def plain(value: Any) -> Any:
    """Without the version of the program, which the mark names."""
    if isinstance(value, bytes):
        return re.sub(rb"image-translate \d[\w.]*", b"image-translate", value)
    return re.sub(r"image-translate \d[\w.]*", "image-translate", value) if isinstance(value, str) else value


ASPECTS = {"weights": weights, "state": state, "losses": losses, "TensorBoard": events, "settings": settings,
           "metrics": metrics, "pictures": pictures, "files": manifests}  # fmt: skip
"""Parts of a folder or file that are compared: name → function that reads them."""


def same(one: Any, other: Any) -> bool:
    """Return whether two values have the same type, shape and bits."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        raw = [x.contiguous().flatten().view(torch.uint8) for x in (one, other)]
        return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(*raw)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()
    return type(one) is type(other) and (one == other or (one != one and other != other))


def apart(one: Any, other: Any) -> str:
    """Return the difference of two values in a few words."""
    if isinstance(one, (torch.Tensor, np.ndarray)) and getattr(one, "shape", None) == getattr(other, "shape", None):
        distance = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max()
        return f"by at most {distance:.3g}" if one.dtype == other.dtype else f"{one.dtype}, now {other.dtype}"
    start = 0
    if isinstance(one, (str, bytes)) and type(one) is type(other):  # long texts from shortly before they part
        start = max(0, next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0) - 20)
        one, other = one[start : start + 50], other[start : start + 50]
    return f"{one!r:.60}, now {other!r:.60}" + (f" (from {start})" if start else "")


def compare(base: Values, head: Values, may_grow: bool) -> tuple[list[str], list[str]]:
    """Differences, and what the working tree adds where that is allowed."""
    found = [
        f"{name}: {apart(base[name], head[name])}" for name in base if name in head and not same(base[name], head[name])
    ]
    found += [f"{name}: missing now" for name in base if name not in head]
    new = [name for name in head if name not in base]
    return (found, new) if may_grow else (found + [f"{name}: new" for name in new], [])

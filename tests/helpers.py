"""Helpers of tests in several rooms: small methods, images and their files, comparisons, records of a training."""

import json
import multiprocessing
import os
import struct
import subprocess
import sys
import zlib
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from translate import config, keyed_random, plugins
from translate.caption_tokens import tokenise
from translate.data.split import ImageRef, Split
from translate.errors import UsageError
from translate.images import Reading, read
from translate.methods import METHODS
from translate.nn.init import normal_
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import GENERATORS

SIZE = 32
SMALL = {
    "crop_size": SIZE, "load_size": SIZE, "g_width": 4, "d_width": 4, "generator": "resnet_3blocks", "pool_size": 3,
    "n_critic": 1, "lambda_gan": 1.0, "f_width": 16, "text_size": 16, "text_width": 8, "max_batch_size": 2,
}  # fmt: skip
LARGEST_BATCH = 2

TWO_DOMAINS = ("paired", "unpaired")
"""Layouts whose batches show a domain b."""


# Methods with small networks and batches, by what the method itself says of its settings and data.


def distinct_methods() -> list[str]:
    """Return each method once: rows that are another row's class with other defaults are left out."""
    rows = set(METHODS.values())
    return [name for name, cls in METHODS.items() if rows.isdisjoint(cls.__mro__[1:])]


def method_of_each_layout() -> list[str]:
    """Return the first method of each layout: for what knows a method by its layout and by what the contract tests hold."""
    layouts = {cls.layout: name for name, cls in reversed(METHODS.items())}
    return [name for name in METHODS if name in layouts.values()]


def own_settings(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    """Those of the flags that the method has, leaving out what only other methods have.

    With batch norm, a cost whose penalty does not go with it gives way to another; a small generator that keeps the size gives
    way to one that enlarges where that is the task, and to the method's own where it takes more than images.
    """
    own = set(config.setting_names(METHODS[name].Config))
    others = {key for cls in METHODS.values() for key in config.setting_names(cls.Config)} - own
    kept = {key: value for key, value in flags.items() if key not in others}
    if kept.get("norm") == "batch" and ADVERSARIAL[default(name, "adversarial")].penalty_weight:
        kept = {"adversarial": "lsgan", **kept}
    if default(name, "factor") is not None and kept.get("generator") in ("resnet_1blocks", SMALL["generator"]):
        kept["generator"] = "srresnet_1blocks"
    if default(name, "generator") not in (None, *GENERATORS):  # the method has one of its own, of more than images
        kept.pop("generator", None)
    return kept


def small_settings(name: str, **flags: Any) -> dict[str, Any]:
    """Flags of the method that make it small, and those given; of one or two images a step, as its default is one or more."""
    small = {**SMALL, "batch_size": min(default(name, "batch_size") or LARGEST_BATCH, LARGEST_BATCH)}
    if default(name, "generator") is None:
        small.pop("generator")  # there is none, or the method chooses it by the crop
    return own_settings(name, {**small, **flags})


def small_config(name: str, **flags: Any) -> Any:
    cls = METHODS[name]
    return cls.resolve_config(config.resolve(cls.Config, ("test", small_settings(name, **flags))))


def smallest_micro_batch(name: str) -> int:
    """Images of the smallest micro-batch that the method takes: two where it compares images of one with each other."""
    try:
        small_config(name, batch_size=1)
    except UsageError:
        return 2
    return 1


def default(name: str, setting: str) -> Any:
    """The method's default of a setting; None if it has no such."""
    field = METHODS[name].Config.__dataclass_fields__.get(setting)
    return None if field is None else field.default


def server_of_processes() -> ForkServerContext:
    """Return a context whose processes are forked from one that has imported what a training needs, which takes seconds.

    They are not forked from the tests' own process: autograd refuses to work where the parent has used its threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["translate.data.stream_dataset", "translate.cli.train"])
    return context


def root_of(name: str) -> str:
    """Return the fixture with images as the method learns from them; with classes where it takes images and labels of some."""
    return "domains_root" if METHODS[name].learns_from_labels else f"{METHODS[name].layout}_root"


def batch_like(name: str, a: Tensor, b: Tensor, first: int = 0) -> dict[str, Tensor]:
    """A batch as the method's layout has it, of images (N, C, H, W): of domains, every other image is of the second.

    `first`: the number of its first image, which is of the first domain where that is even.
    """
    layout = METHODS[name].layout
    if METHODS[name].learns_from_labels:
        return {"a": a, "labelled_a": b, "labelled_label": torch.arange(first, first + len(b)) % 2}
    if layout == "photos":
        return {"a": a}
    if layout in TWO_DOMAINS:
        return {"a": a, "b": b}
    numbers = torch.arange(first, first + len(a))
    if METHODS[name].draws_references:  # images 2n and 2n + 1 have references of one domain
        return {"a": a, "label": numbers % 2, "b": b, "label_b": numbers // 2 % 2}
    if layout == "captions":
        texts = torch.tensor([tokenise(f"{word} thing") for word in ("red", "green", "blue")])
        return {"a": a, "label": texts[numbers % 3]}
    return {"a": a, "label": numbers % 2} if layout == "domains" else {"a": a}


def forget_plugins(monkeypatch):
    """Begin without plug-ins of files, as another process does, and leave them as they were at the end of the test."""
    for group in plugins.GROUPS:
        monkeypatch.setattr(group, "loaded", {})
    monkeypatch.setattr(plugins, "_files", {})


def assert_equal_state(left: Any, right: Any, where: str = "state") -> None:
    """Bit for bit, through nested dicts and lists."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), f"{where}: {(left - right).abs().max()}"
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal_state(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for i, (x, y) in enumerate(zip(left, right, strict=True)):
            assert_equal_state(x, y, f"{where}[{i}]")
    else:
        assert left == right, where


def small_generator(name, norm="instance", dropout=False, key=0):
    """Return a narrow generator in float64 whose weights are large enough to matter."""
    net = GENERATORS[name](3, 3, 4, norm, dropout).double()
    return normal_(net, key, gain=0.2)


def random_tensor(*shape, seed=0):
    """Return a float64 tensor of uniform numbers in [-1, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def on_meta(build, *args, **kwargs):
    """Build a network on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return build(*args, **kwargs)


def parameter_count(net):
    return sum(p.numel() for p in net.parameters())


# Images and their files.


def smooth_image(seed, height=40, width=40, channels=3):
    """Return a smooth image with some structure, the same for the same seed and unlike that of any other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, channels), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_smooth_image(path, height, width, seed, **options):
    """Write a smooth image, into a new folder if need be; options are those of Pillow's `save`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    smooth_image(seed, height, width).save(path, **options)


def random_values(channels, dtype=np.uint16, height=5, width=7):
    """Return random values (H, W, C) of the whole range of the type, floats in [0, 1), the same for the same channels."""
    rng = np.random.default_rng(channels)
    if dtype == np.float32:
        return rng.random((height, width, channels), dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def encode_png16(array, *extra):
    """Return the bytes of a 16-bit PNG of any colour type, encoded by hand; `extra`: chunks before the pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, kind, 0, 0, 0)
    chunks = [
        chunk(b"IHDR", header),
        *(chunk(*e) for e in extra),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_tiff(path, array, **options):
    """Write a TIFF with tifffile; `planarconfig="separate"`: one plane after another."""
    n = array.shape[2]
    stored = np.moveaxis(array, 2, 0) if options.get("planarconfig") == "separate" else array
    stored = np.ascontiguousarray(stored[:, :, 0] if n == 1 else stored)
    if n > 1:
        options.setdefault("planarconfig", "contig")
    tifffile.imwrite(path, stored, photometric="rgb" if n == 3 else "minisblack", metadata=None, **options)


def write_array(path, array):
    """Write an array (H, W, C) of any depth in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        write_tiff(path, array)
    elif array.dtype == np.uint16:
        path.write_bytes(encode_png16(array))
    else:
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path)


def read_deep(path, channels, **options):
    """Read an image at its own depth."""
    return read(path, how=Reading(channels, deep=True, **options))


def unopened_split(a, b, paired=False):
    """Return a split of so many images that are never opened."""
    return Split((ImageRef(None),) * a, (ImageRef(None),) * b, paired)


# Tensors.


def random_batch(count=2):
    """Return random images (count, 3, 32, 32) in [-1, 1)."""
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def numbered_keys(count: int = 2, seed: int = 3) -> Tensor:
    """Return the keys of the images 0 to count - 1."""
    return keyed_random.image_keys(seed, torch.arange(count))


def contrast_locations(query, key, temperature=0.07):
    """Return the PatchNCE loss of one image: each pair in front, then all pairs, −10 for a location with itself."""
    key = key.detach()
    pair = (query * key).sum(1, keepdim=True)
    others = query @ key.T
    others = torch.where(torch.eye(len(query), dtype=torch.bool), torch.tensor(-10.0, dtype=torch.float64), others)
    scores = torch.cat([pair, others], 1) / temperature
    return F.cross_entropy(scores, torch.zeros(len(query), dtype=torch.int64))


def normalise_instances(x, eps=1e-5):
    """Normalise each channel of each image to mean 0 and variance 1, by the formula.

    The gradient of torch's instance norm is wrong for one image whose gradient lies channels last.
    """
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + eps).sqrt()


class NoHostTensors(TorchDispatchMode):
    """Fail where a tensor of the host is made or copied; reading a value back fails on fake tensors by itself."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        assert all(leaf.device.type == "cuda" for leaf in tensors), f"{func} touches the host"
        return out


# Comparisons.


def same_tensors(first, second):
    """Are two lists of tensors equal, bit for bit?"""
    return len(first) == len(second) and all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


# Run folders and other folders.


def read_stats(run: Path) -> list[dict[str, Any]]:
    """Return the rows of stats.jsonl in a run folder."""
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def write_run_folder(folder, points, settings='method = "cyclegan"\nroot = "/data/earth"\nimages = 4000\n'):
    """Write a run folder with settings and, unless they are None, the rows of stats.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(settings)
    if points is not None:
        (folder / "stats.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    return folder


def list_files(folder: Path) -> list[str]:
    """Return the relative paths of all files below a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_files(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    """Return the contents of the files below a folder by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}


# Child processes.


def run_python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process, which must succeed, and return what it printed."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)


@contextmanager
def python_that_is_ready(script, *args):
    """Start another Python, wait for its line "ready", and kill it at the end."""
    root = str(Path(__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, env=env) as other:
        try:
            assert other.stdout.readline() == b"ready\n"
            yield other
        finally:
            other.kill()

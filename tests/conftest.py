"""What all tests share. Each test process uses one torch thread, so that parallel ones do not fight for the cores."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate import convolution_choice
from translate.callbacks import ProgressCallback
from translate.conversion import job
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.data import worker_pool
from translate.methods import METHODS, PLUGIN_METHODS
from translate.nn import fast_conv
from translate.nn.networks import GENERATORS, PLUGIN_GENERATORS
from translate.trained import translator
from translate.trained.folder import write_trained_model
from translate.trained.translator import Translator

from .helpers import SIZE, server_of_processes, smooth_image

sys.path.insert(0, str(Path(__file__).parents[1]))  # processes of tests import `tests`, which an extra has, too


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plugin", action="append", default=[], help="plug-in file whose methods and generators are tested, too"
    )


def pytest_configure(config: pytest.Config) -> None:
    for file in config.getoption("--plugin"):  # in the registries, by which the tests are parametrised
        translate.load_plugin(file)
    METHODS.update(PLUGIN_METHODS.loaded)
    GENERATORS.update(PLUGIN_GENERATORS.loaded)
    torch.set_num_threads(1)
    if sys.dont_write_bytecode and config.pluginmanager.has_plugin("cacheprovider"):
        _write_bytecode_into(config.cache.mkdir("bytecode"))
    os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # printed commands do not depend on how the tests were started
    cache = tempfile.mkdtemp(prefix="translate-tests-")
    os.environ["XDG_CACHE_HOME"] = cache  # not that of the user
    config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))


def _write_bytecode_into(folder: Path) -> None:
    """Keep compiled modules of this process and of all that it starts in a folder: each would else compile torch for seconds.

    Beside no source, as the user has asked for that by PYTHONDONTWRITEBYTECODE.
    """
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _times_of(known: dict[str, float]) -> Callable[..., dict[str, float]]:
    """Return what takes the place of `time_algorithms`: the times of some ways; all others take 2 s."""
    return lambda shape, candidates, tune: {name: known.get(name, 2.0) for name in candidates}


@pytest.fixture(autouse=True)
def _winograd_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the times of the machine that it runs on."""
    monkeypatch.setattr(convolution_choice, "time_algorithms", _times_of({"winograd": 1.0}))


IN_CI_ALONE = {
    "pix2pixhd",
    "bicyclegan",
    "fastcut",
    "dualgan",
    "discogan",
    "spade",
    "colorize",
    "superres",
    "pggan",
    "stylegan2",
    "biggan",
    "sgan",
    "starganv2",
    "stackgan",
}
"""Methods whose contract and trainings are tested by `tools/check --ci` alone.

Of each kind of method another one is left for the tests of every day, and all have tests of their own in tests/methods.
"""
OF_EACH_METHOD = tuple(
    str(Path(__file__).parent / place) for place in ("contract/", "training/", "methods/test_content_loss")
)
"""Tests that are parametrised by all methods."""


@pytest.hookimpl(tryfirst=True)  # before the tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(v, str) and v in IN_CI_ALONE for v in values):
            if item.get_closest_marker("each_kind"):
                item.add_marker(pytest.mark.hours)
            elif str(item.path).startswith(OF_EACH_METHOD):
                item.add_marker(pytest.mark.slow)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork data workers from a server, as a new process imports for seconds; what they need they get by pickle as always."""
    server = server_of_processes()
    monkeypatch.setattr(worker_pool.multiprocessing, "get_context", lambda method: server)


Faster = Callable[[str], None]


@pytest.fixture
def faster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Faster:
    """Says which convolutions are faster on this machine from now on, as on another machine; 16 channels are wide enough."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 16)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)

    def use(algorithm: str) -> None:
        monkeypatch.setattr(convolution_choice, "time_algorithms", _times_of({algorithm: 1.0}))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    return use


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def unpaired_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """trainA with 5 images, trainB with 7, testA and testB with 2 each; 40×40 pixels."""
    root = tmp_path_factory.mktemp("unpaired")
    for folder, count in (("trainA", 5), ("trainB", 7), ("testA", 2), ("testB", 2)):
        (root / folder).mkdir()
        for i in range(count):
            smooth_image(hash_of(folder) + i).save(root / folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def paired_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 6 side-by-side images and test with 2; B is A with its colours inverted."""
    root = tmp_path_factory.mktemp("paired")
    for folder, count in (("train", 6), ("test", 2)):
        (root / folder).mkdir()
        for i in range(count):
            a = np.asarray(smooth_image(hash_of(folder) + i))
            Image.fromarray(np.concatenate([a, 255 - a], axis=1)).save(root / folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def domains_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 3 images of black, 4 of blond and 5 of brown, test with 2 of each; 40×40 pixels."""
    root = tmp_path_factory.mktemp("domains")
    for split, counts in (("train", (3, 4, 5)), ("test", (2, 2, 2))):
        for domain, count in zip(("black", "blond", "brown"), counts, strict=True):
            folder = root / split / domain
            folder.mkdir(parents=True)
            for i in range(count):
                smooth_image(hash_of(split + domain) + i).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def images_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 6 images and test with 2, without classes; 40×40 pixels."""
    root = tmp_path_factory.mktemp("images")
    for folder, count in (("train", 6), ("test", 2)):
        (root / folder).mkdir()
        for i in range(count):
            smooth_image(hash_of(folder) + i).save(root / folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def captions_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train with 6 images and test with 2, and captions.txt beside them; 40×40 pixels."""
    root = tmp_path_factory.mktemp("captions")
    lines = []
    for folder, count in (("train", 6), ("test", 2)):
        (root / folder).mkdir()
        for i in range(count):
            smooth_image(hash_of(folder) + i).save(root / folder / f"{i}.png")
            lines.append(f"{folder}/{i}.png\t{'red' if i % 2 else 'green'} thing {i}\n")
    (root / "captions.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="session")
def photos_root(images_root: Path) -> Path:
    """The images of `images_root`."""
    return images_root


KEEPING = {
    "images": 10, "save_every": 3, "keep_every": 4, "evaluate_every": 4, "evaluate_metrics": "l1", "ema_half_life": 20,
    "crop_size": SIZE, "load_size": 36, "g_width": 4, "d_width": 4, "log_every": 2, "sample_every": 1000, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory, paired_root: Path) -> Path:
    """A pix2pix with batch norm and EMA that has seen 10 images: checkpoints after 4, 8, 9 and 10, models after 4, 8 and 10.

    Tests may not change it.
    """
    folder = tmp_path_factory.mktemp("kept") / "night"
    translate.train("pix2pix", paired_root, run=folder, say=lambda line: None, **KEEPING)
    return folder


def hash_of(name: str) -> int:
    return sum(map(ord, name)) * 100


SIZES = {"d_width": 4, "crop_size": 64, "load_size": 64}

Build = Callable[..., Path]
Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Makes a model folder of an untrained method."""

    def make(name: str, *, folder: Path | None = None, **settings: Any) -> Path:
        folder = folder or tmp_path_factory.mktemp(name)
        cls = METHODS[name]
        sizes = {**SIZES, "crop_size": min(SIZES["crop_size"], cls.Config().crop_size)}  # some have small images alone
        cfg = cls.resolve_config(cls.Config(**{"g_width": 4, **sizes, **settings}))
        write_trained_model(folder, cls(cfg), title="nothing", seen=0)
        return folder

    return make


@pytest.fixture(scope="session")
def cyclegan_folder(build: Build) -> Path:
    return build("cyclegan", generator="resnet_3blocks")


@pytest.fixture(scope="session")
def pix2pix_folder(build: Build) -> Path:
    """Batch norm, and dropout in conversion: a U-Net of 6 levels is the smallest that has it."""
    return build("pix2pix", generator="unet_64", norm="batch", dropout=True)


@pytest.fixture(scope="session")
def cyclegan(cyclegan_folder: Path) -> Translator:
    return translator.load(cyclegan_folder, device="cpu")


@pytest.fixture(scope="session")
def pix2pix(pix2pix_folder: Path) -> Translator:
    return translator.load(pix2pix_folder, device="cpu")


@pytest.fixture(scope="session")
def grey(build: Build) -> Translator:
    """Reads and writes one channel."""
    folder = build("cyclegan", generator="resnet_3blocks", input_channels=1, output_channels=1)
    return translator.load(folder, device="cpu")


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Random pixels (H, W, C), the same for the same seed."""

    def make(seed: int = 0, width: int = 12, height: int = 10, channels: int = 3) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)

    return make


def fingerprint(source: Path, output: Path) -> dict[str, str]:
    """The SHA-256 of every file below the input, without an output inside it, folder or file; links by their target."""
    folder = source if source.is_dir() else source.parent
    found = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if not (Path(place).resolve() / path.name).is_relative_to(output.resolve()):
                link = str(path.readlink()) if path.is_symlink() else ""
                found[str(path)] = link + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
    return found


@pytest.fixture
def convert(cyclegan: Translator) -> Convert:
    """`job.convert` with a small model and options by keyword. After each call the inputs must be what they were."""

    def run(
        source: Path | str,
        output: Path,
        model: Translator | None = None,
        progress: ProgressCallback | None = None,
        said: list[str] | None = None,
        **options: Any,
    ) -> ConversionResult:
        before = fingerprint(Path(source), output)
        try:
            shown = {} if progress is None else {"progress": progress}
            say = ([] if said is None else said).append
            return job.convert(model or cyclegan, source, output, ConversionOptions(**options), say=say, **shown)
        finally:
            assert fingerprint(Path(source), output) == before, "an input was changed"

    return run


@pytest.fixture
def source(tmp_path: Path, draw: Draw) -> Path:
    """A folder of five images of mixed sizes and formats, two of them in subfolders."""
    folder = tmp_path / "in"
    for seed, name in enumerate(("1.png", "2.jpg", "deep/er/3.webp", "deep/4.tif", "5.JPG")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(seed, 11 + 3 * seed, 9 + seed)).save(path, quality=95)
    return folder

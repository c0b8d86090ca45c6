"""Fixtures that the tests of the commands share: running a command, and models, runs and photos to run it on."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from translate import cli
from translate.evaluation.extractors import EXTRACTORS, ExtractorSpec
from translate.methods import METHODS
from translate.nn.pretrained import PublishedWeights
from translate.trained.folder import write_trained_model

from .reference_files import discriminator, generator, save

SMALL = ["--crop-size", "32", "--g-width", "4", "--d-width", "4", "--device", "cpu"]

Run = Callable[..., tuple[list[str], list[str]]]
Fails = Callable[..., list[str]]
Evaluate = Callable[..., tuple[int, str, str]]
Results = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def contents() -> dict[Path, bytes]:
    """All files and folders of the test, with the bytes of the files."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in Path("..").rglob("*")}


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed; the lines of stdout and stderr."""

    def go(*arguments: object) -> tuple[list[str], list[str]]:
        assert cli.run([str(argument) for argument in arguments]) == 0
        out, err = capfd.readouterr()
        return out.splitlines(), err.splitlines()

    return go


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Run a command and check how it fails: exit code, words, one line (and `more` lines), nothing written or changed."""

    def check(arguments: Iterable[object], code: int, *words: str, more: int = 0) -> list[str]:
        before = contents()
        assert cli.run([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == 1 + more, err
        assert lines[0].startswith("error: ")
        for word in words:
            assert word in err
        assert contents() == before, "something was written"
        return lines

    return check


def write_model(folder: Path, method: str, seen: int = 0, **settings: Any) -> Path:
    """Write the model folder of an untrained method."""
    cls = METHODS[method]
    small = {"g_width": 4, "d_width": 4, "crop_size": 32, "load_size": 32}
    folder.mkdir(parents=True)
    write_trained_model(
        folder, cls(cls.resolve_config(cls.Config(**{**small, **settings}))), title="nothing", seen=seen
    )
    return folder


@pytest.fixture(scope="session")
def one_way_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pix2pix, which translates in one direction."""
    return write_model(tmp_path_factory.mktemp("one-way") / "m", "pix2pix")


@pytest.fixture(scope="session")
def two_way_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained CycleGAN, which translates in both directions."""
    return write_model(tmp_path_factory.mktemp("two-way") / "m", "cyclegan", generator="resnet_3blocks")


@pytest.fixture
def cyclegan_run() -> Path:
    """A run folder with an untrained CycleGAN."""
    write_model(Path("run/model"), "cyclegan", seen=8, generator="resnet_1blocks", load_size=36)
    return Path("run")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, paired_root: Path) -> Path:
    """A run of two images."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert cli.run(["train", "pix2pix", str(paired_root), *SMALL, "--images", "2", "--run", str(folder)]) == 0
    return folder


@pytest.fixture
def run_folder(trained: Path) -> Path:
    """A copy of it, which the test may change."""
    return Path(shutil.copytree(trained, "run"))


@pytest.fixture
def pth() -> Path:
    """A generator of the reference."""
    return save("latest_net_G_A.pth", generator())


@pytest.fixture
def pth_folder() -> Path:
    """A folder of the reference: both directions of a CycleGAN."""
    for key, name in enumerate(("G_A", "G_B", "D_A", "D_B")):
        save(f"ref/latest_net_{name}.pth", generator(key=key) if key < 2 else discriminator(key=key))
    return Path("ref")


@pytest.fixture
def photos() -> Path:
    """Two good images."""
    Path("photos").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        Image.fromarray(noise(seed, 7, 9)).save(Path("photos") / name)
    return Path("photos")


@pytest.fixture
def mixed_photos() -> Path:
    """Two good images, one of them with transparency, a bad one and a text."""
    folder = Path("photos")
    folder.mkdir()
    for name, mode in (("a.png", "RGBA"), ("b.bmp", "RGB")):
        pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 4), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name)
    (folder / "bad.jpg").write_text("no image")
    (folder / "notes.txt").write_text("no image")
    return folder


def colours(folder: Path, *names: str) -> Path:
    """Write a folder of images of one colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (40, 40), "teal").save(folder / name)
    return folder


def row(lines: list[str], name: str) -> str:
    """The value in the line that begins with `name`."""
    (found,) = [line.removeprefix(name).strip() for line in lines if line.startswith(name)]
    return found


def pixels_of(path: Path) -> bytes:
    """The pixels alone: the mark beside them names the model."""
    with Image.open(path) as image:
        return image.tobytes()


# Evaluation.


def noise(seed: int, width: int = 40, height: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def constant(value: int) -> np.ndarray:
    return np.full((40, 40, 3), value, np.uint8)


def folder(path: str | Path, **images: np.ndarray) -> Path:
    """Write images as PNG by name; __ in a name is a folder."""
    for name, pixels in images.items():
        file = Path(path, *name.split("__")).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return Path(path)


def two_folders() -> list[object]:
    """Write images that are no pairs; the flags that name their folders."""
    folder("real", **{str(i): noise(i) for i in range(4)})
    folder("fake", **{f"x{i}": noise(10 + i) for i in range(5)})
    return ["--real", "real", "--fake", "fake"]


class Corners(nn.Module):
    """The four corners of an image, 12 values; logits: three of them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        corners = x[:, :, ::3, ::3].flatten(1).float() / 255
        return corners, corners[:, :3]


@pytest.fixture
def tiny_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extractor that looks at 4×4 pixels, in the place of EfficientNet-Lite0."""
    (tmp_path / "shipped.pth").write_bytes(b"")
    published = PublishedWeights("shipped.pth", 0, hashlib.sha256(b"").hexdigest(), "nowhere")
    spec = ExtractorSpec(
        lambda content: Corners(), published, "EL0", 4, "bicubic", "", lambda: tmp_path / "shipped.pth"
    )
    monkeypatch.setitem(EXTRACTORS, "efficientnet-lite0", spec)


@pytest.fixture
def evaluate(capfd: pytest.CaptureFixture[str], tiny_extractor: None) -> Evaluate:
    """Run `translate evaluate`; exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        device = [] if "--compare" in arguments else ["--device", "cpu"]
        return cli.run(["evaluate", *map(str, arguments), *device]), *capfd.readouterr()

    return call


@pytest.fixture
def results(evaluate: Evaluate) -> Results:
    """The object that `translate evaluate --json` prints."""

    def call(*arguments: object) -> dict[str, Any]:
        code, out, err = evaluate(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def records(evaluate: Evaluate) -> tuple[str, str]:
    """Evaluations of a folder near the real one and of one far from it."""
    folder("real", a=constant(10), b=constant(20), c=constant(30))
    for name, distance in (("near", 1), ("far", 50)):
        folder(name, a=constant(10 + distance), b=constant(21 + distance), c=constant(31 + distance))
        assert evaluate("--real", "real", "--fake", name, "--metrics", "l1,psnr", "--out", f"{name}.json")[0] == 0
    return "near.json", "far.json"


def metric_values(record: dict[str, Any]) -> dict[str, float]:
    """Values of the metrics in an evaluation, by name."""
    return {key: figure["value"] for key, figure in record["metrics"].items()}

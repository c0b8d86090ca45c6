"""`translate evaluate`: a model on its held-out images, one folder against another, and one evaluation against another."""

import hashlib
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import translate
from translate import cli
from translate.evaluation import extractors, label_scorers
from translate.evaluation.extractors import EXTRACTORS, ExtractorSpec
from translate.methods import METHODS
from translate.nn.pretrained import PublishedWeights
from translate.trained.folder import write_trained_model

Run = Callable[..., tuple[int, str, str]]
Figures = Callable[..., dict[str, Any]]

SIZES = {"g_width": 4, "d_width": 4, "crop_size": 32, "load_size": 32}


def noise(seed: int, width: int = 40, height: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def constant(value: int) -> np.ndarray:
    return np.full((40, 40, 3), value, np.uint8)


def folder(path: str | Path, **images: np.ndarray) -> Path:
    """Images as PNG by name; __ in a name is a folder."""
    for name, pixels in images.items():
        file = Path(path, *name.split("__")).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return Path(path)


def model(path: Path, method: str, **settings: Any) -> Path:
    torch.manual_seed(0)
    cls = METHODS[method]
    path.mkdir()
    write_trained_model(path, cls(cls.resolve_config(cls.Config(**{**SIZES, **settings}))), title="nothing", seen=0)
    return path


@pytest.fixture(scope="module")
def cyclegan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("two-way") / "m", "cyclegan", generator="resnet_3blocks")


@pytest.fixture(scope="module")
def pix2pix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("one-way") / "m", "pix2pix")


class Corners(nn.Module):
    """The four corners of an image, 12 values; logits: three of them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        corners = x[:, :, ::3, ::3].flatten(1).float() / 255
        return corners, corners[:, :3]


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and in the place of EfficientNet-Lite0 an extractor that looks at 4×4 pixels."""
    (tmp_path / "work").mkdir()
    (tmp_path / "shipped.pth").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "work")
    published = PublishedWeights("shipped.pth", 0, hashlib.sha256(b"").hexdigest(), "nowhere")
    kind = ExtractorSpec(
        lambda content: Corners(), published, "EL0", 4, "bicubic", "", lambda: tmp_path / "shipped.pth"
    )
    monkeypatch.setitem(EXTRACTORS, "efficientnet-lite0", kind)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `translate evaluate`; exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = cli.run(["evaluate", *map(str, arguments), *([] if "--compare" in arguments else ["--device", "cpu"])])
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def told(run: Run) -> Figures:
    """The object that `--json` prints."""

    def call(*arguments: object) -> dict[str, Any]:
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def fails(run: Run) -> Callable[..., None]:
    """Runs it and checks how it failed: exit code, one line with these words, nothing on stdout."""

    def call(arguments: list[object], code: int, *words: str) -> None:
        failed, out, err = run(*arguments)
        assert (failed, out, err.count("\n")) == (code, "", 1), err
        assert err.startswith("error: ")
        for word in words:
            assert word in err

    return call


def values(record: dict[str, Any]) -> dict[str, float]:
    return {key: figure["value"] for key, figure in record["metrics"].items()}


def two_folders() -> list[object]:
    folder("real", **{str(i): noise(i) for i in range(4)})
    folder("fake", **{f"x{i}": noise(10 + i) for i in range(5)})
    return ["--real", "real", "--fake", "fake"]


# One folder against another.


def test_pairs_by_hand(told: Figures) -> None:
    """Constant differences of 3 and 5 have a mean of 4 of 255, and a PSNR of 20 log₁₀(255 / d)."""
    folder("real", a=constant(10), b=constant(20))
    folder("fake", a=constant(13), b=constant(15))
    record = told("--real", "real", "--fake", "fake", "--metrics", "l1,psnr")
    assert values(record) == pytest.approx({"l1": 4.0, "psnr": 20 * math.log10(255) - 10 * math.log10(15)})
    assert record["images"] == [
        {"name": "a.png", "l1": 3, "psnr": pytest.approx(20 * math.log10(85))},
        {"name": "b.png", "l1": 5, "psnr": pytest.approx(20 * math.log10(51))},
    ]
    low, high = record["metrics"]["l1"]["interval"]
    assert 3 <= low <= 4 <= high <= 5


def test_folders_that_match_by_name_are_pairs_too(told: Figures) -> None:
    apart = told(*two_folders())
    assert values(apart).keys() == {"swd", "swd_40", "swd_20", "kid"}
    assert not apart["protocol"]["paired"]
    folder("twin", **{str(i): noise(10 + i) for i in range(4)})
    twins = told("--real", "real", "--fake", "twin")
    assert values(twins).keys() == {"l1", "psnr", "ssim", *values(apart)}
    assert twins["protocol"]["paired"]


def test_neither_names_nor_order_nor_format_change_a_figure(told: Figures) -> None:
    record = told(*two_folders())
    Path("other").mkdir()
    for i in range(5):
        Image.fromarray(noise(10 + i)).save(f"other/{9 - i}.bmp")
    again = told("--real", "real", "--fake", "other")
    assert values(again) == pytest.approx(values(record), rel=1e-9)
    assert again["subject"]["sha256"] == record["subject"]["sha256"]
    assert (record["protocol"]["output_format"], again["protocol"]["output_format"]) == ("5 png", "5 bmp")


def test_kid_by_hand(told: Figures) -> None:
    """Of sets of one colour each: features are constant, so MMD² is k(x, x) + k(y, y) − 2 k(x, y)."""
    folder("real", a=constant(0), b=constant(0), c=constant(0))
    folder("fake", d=constant(255), e=constant(255), f=constant(255))
    record = told("--real", "real", "--fake", "fake", "--metrics", "kid")
    assert values(record) == {"kid": pytest.approx(1 + (1 + 1) ** 3 - 2 * 1)}
    known = record["protocol"]
    assert (known["extractor"], known["extractor_sha256"]) == ("efficientnet-lite0", hashlib.sha256(b"").hexdigest())
    assert known["settings"]["kid"]["extractor"] == "efficientnet-lite0"


def test_people_are_shown_errors_units_and_directions(run: Run) -> None:
    folder("real", a=constant(10), b=constant(20), c=constant(0))
    folder("fake", a=constant(13), b=constant(15), c=constant(0))
    code, out, err = run("--real", "real", "--fake", "fake", "--metrics", "l1,psnr,kid")
    assert (code, err) == (0, "")
    head, features_of, empty, *rows = out.splitlines()
    assert head == "real: 3 images against 3 real ones, in pairs, as they are"
    assert features_of == "features of efficientnet-lite0, SHA-256 e3b0c442…"
    assert empty == ""
    assert [row.split()[:2] for row in rows] == [["L1", "↓"], ["PSNR", "↑"], ["KID-EL0", "↓"]]
    assert [row.rstrip().endswith(unit) for row, unit in zip(rows, ("of 255", "dB", ""), strict=True)] == [True] * 3
    assert "infinite" in rows[1]


# A model.


def test_a_paired_set(told: Figures, pix2pix: Path, paired_root: Path) -> None:
    """Figures are of what `convert` makes of the test images, held against their truths."""
    record = told(pix2pix, paired_root)
    assert values(record).keys() == {"l1", "psnr", "ssim"}  # KID needs three images
    known = record["protocol"]
    assert (known["split"], known["layout"], known["paired"], known["size"]) == ("test", "paired", True, 32)
    assert (known["input_images"], known["output_images"], known["real_images"]) == (2, 2, 2)
    assert record["subject"]["sha256"] == hashlib.sha256((pix2pix / "model.safetensors").read_bytes()).hexdigest()
    assert [row["name"] for row in record["images"]] == ["test/0.png", "test/1.png"]


def test_an_unpaired_set(run: Run, cyclegan: Path) -> None:
    """What matches by no name has no truth."""
    root = folder(
        "data",
        **{f"{side}__{side}{i}": noise(i + 50 * (side == "testB")) for side in ("testA", "testB") for i in range(3)},
    )
    code, out, err = run(cyclegan, root, "--json")
    assert code == 0
    assert values(json.loads(out)).keys() == {
        "swd", "swd_32", "swd_16", "kid", "edge_correlation", "cycle_psnr", "cycle_psnr_jpeg90"
    }  # fmt: skip
    assert "pairs" not in err


def test_hidden_truth(run: Run, told: Figures, cyclegan: Path, unpaired_root: Path) -> None:
    """An unpaired method whose test folders match by name is scored on pairs too, and that is said."""
    _, _, err = run(cyclegan, unpaired_root)
    assert "test holds pairs, which the training did not use; metrics against the true images are computed too" in err
    assert "left out: kid: 2 real images; it needs at least 3" in err
    assert values(told(cyclegan, unpaired_root)).keys() >= {"l1", "psnr", "ssim", "swd"}


def test_a_model_is_judged_by_what_convert_makes(told: Figures, cyclegan: Path, unpaired_root: Path) -> None:
    """The same figures as of the folder that `translate convert` writes."""
    direct = told(cyclegan, unpaired_root, "--size", "keep", "--metrics", "l1,swd")
    translate.convert(cyclegan, unpaired_root / "testA", "out", device="cpu", report=False)
    Path("out/manifest.jsonl").unlink()
    converted = told("--real", unpaired_root / "testB", "--fake", "out", "--metrics", "l1,swd")
    assert values(converted) == pytest.approx(values(direct), rel=1e-9)
    assert converted["subject"]["sha256"] == direct["subject"]["outputs_sha256"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_change_no_figure(
    told: Figures, cyclegan: Path, unpaired_root: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Also where a GPU is given many images at a time."""
    from translate.evaluation import cases

    wanted = values(told(cyclegan, unpaired_root, "--metrics", "l1,swd,edge_correlation"))
    batch_by_size = cases.batch_by_size
    monkeypatch.setattr(cases, "batch_by_size", lambda arrays, _: batch_by_size(arrays, batch_size))
    assert values(told(cyclegan, unpaired_root, "--metrics", "l1,swd,edge_correlation")) == pytest.approx(
        wanted, rel=1e-4
    )


def test_the_other_way(told: Figures, cyclegan: Path, unpaired_root: Path) -> None:
    """--to a translates b; with the folders swapped as well, a is again the first domain of the files."""
    there, back = (
        told(cyclegan, unpaired_root, "--metrics", "l1"),
        told(cyclegan, unpaired_root, "--to", "a", "--metrics", "l1"),
    )
    swapped = told(cyclegan, unpaired_root, "--to", "a", "--direction", "b2a", "--metrics", "l1")
    assert there["protocol"]["input_sha256"] == back["protocol"]["real_sha256"] == swapped["protocol"]["input_sha256"]
    assert values(there) != values(back)


def test_training_images_are_a_last_resort(run: Run, cyclegan: Path) -> None:
    root = folder("data", **{f"{side}__{side}{i}": noise(i) for side in ("trainA", "trainB") for i in range(3)})
    code, out, err = run(cyclegan, root, "--metrics", "swd", "--json")
    assert code == 0
    assert json.loads(out)["protocol"]["split"] == "train"
    assert "these are training images" in err
    folder("data", valA__1=noise(1), valA__2=noise(2), valB__3=noise(3), valB__4=noise(4))
    code, out, err = run(cyclegan, root, "--metrics", "swd", "--json")
    assert json.loads(out)["protocol"]["split"] == "val"
    assert "training images" not in err


def test_every_metric_can_be_asked_for(told: Figures, cyclegan: Path) -> None:
    """By its row's name or by that of one of its figures."""
    root = folder(
        "data",
        **{f"{side}__{i}": noise(i + len(side) * (side == "testB")) for side in ("testA", "testB") for i in range(4)},
    )
    names = "l1,psnr,ssim,kid,recall,swd,checkerboard,colour,edge_correlation,cycle_psnr,fgsm_2"
    record = told(cyclegan, root, "--metrics", names)
    assert values(record).keys() == {
        "l1", "psnr", "ssim", "kid", "precision", "recall", "swd", "swd_32", "swd_16", "checkerboard", "colour_shift",
        "colour_spread", "edge_correlation", "cycle_psnr", "cycle_psnr_jpeg90", "fgsm_1", "fgsm_2", "fgsm_4",
    }  # fmt: skip
    assert record["protocol"]["settings"]["precision_recall"]["k"] == 3


def test_a_run_keeps_its_figures(run: Run, tmp_path: Path, paired_root: Path) -> None:
    """In metrics.json beside its model; it was trained b to a, and so it is judged."""
    train = [
        "train",
        "pix2pix",
        str(paired_root),
        "--run",
        "run",
        "--direction",
        "b2a",
        "--images",
        "1",
        "--device",
        "cpu",
    ]
    assert cli.run([*train, *(f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items())]) == 0
    code, out, _ = run("run", paired_root, "--json", "--metrics", "l1")
    assert code == 0
    assert json.loads(Path("checkpoints/run/metrics.json").read_text()) == json.loads(out)
    assert json.loads(out)["protocol"]["direction"] == "b2a"
    run("run", paired_root, "--metrics", "l1", "--direction", "a2b", "--out", "figures/a2b.json")
    assert json.loads(Path("checkpoints/run/metrics.json").read_text()) == json.loads(out)
    assert json.loads(Path("figures/a2b.json").read_text())["protocol"]["direction"] == "a2b"


@pytest.mark.parametrize("name", ["model-best", "model-24", "copy"])
def test_every_model_of_a_run_knows_its_direction_and_preprocessing(
    run: Run, tmp_path: Path, paired_root: Path, name: str
) -> None:
    """The best model and a kept one write metrics.json into their run; a copy elsewhere has no run, and writes none."""
    cls = METHODS["pix2pix"]
    cfg = cls.Config(**SIZES, direction="b2a", preprocess="none")
    model = tmp_path / "run" / name if name != "copy" else tmp_path / name
    model.mkdir(parents=True)
    write_trained_model(model, cls(cls.resolve_config(cfg)), title="nothing", seen=0)
    if name != "copy":
        (tmp_path / "run" / "config.toml").write_text("", encoding="utf-8")
    before = sorted(model.iterdir())
    code, out, _ = run(model, paired_root, "--json", "--metrics", "l1")
    assert code == 0
    record = json.loads(out)
    assert record["protocol"]["direction"] == "b2a"
    assert record["protocol"]["size"] is None, "as they are"
    assert sorted(model.iterdir()) == before
    written = tmp_path / "run" / "metrics.json"
    assert json.loads(written.read_text()) == record if name != "copy" else not written.exists()


def test_a_model_folder_is_left_as_it_is(run: Run, pix2pix: Path, paired_root: Path) -> None:
    before = sorted(pix2pix.iterdir())
    assert run(pix2pix, paired_root, "--metrics", "l1")[0] == 0
    assert sorted(pix2pix.iterdir()) == before


def test_from_python_with_a_loaded_model(cyclegan: Path, unpaired_root: Path) -> None:
    said: list[str] = []
    loaded = translate.load(cyclegan, device="cpu")
    record = translate.evaluate(loaded, unpaired_root, metrics=["l1"], device="cpu", say=said.append)
    assert (
        record["metrics"]["l1"]
        == translate.evaluate(cyclegan, unpaired_root, metrics=["l1"], device="cpu")["metrics"]["l1"]
    )
    assert record["subject"]["model"] is None
    assert len(said) == 1


# Labels.


def test_classes_are_read_back(told: Figures, cyclegan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that leaves colours as they are keeps the classes that a colour tells: both are read rightly."""
    monkeypatch.setattr(label_scorers, "train_classifier", partial(label_scorers.train_classifier, steps=30))
    monkeypatch.setattr(METHODS["cyclegan"], "translate", lambda self, x, to, key=None: x)
    shades = {"dark": 30, "light": 220}
    root = folder(
        "data",
        **{
            f"{side}__{name}__{i}": np.clip(constant(value) + noise(i) % 20, 0, 255).astype(np.uint8)
            for side in ("trainA", "trainB", "testA", "testB") for name, value in shades.items() for i in range(4)
        },
    )  # fmt: skip
    record = told(cyclegan, root, "--metrics", "classification", "--size", 16)
    assert values(record) == {"top1_accuracy": 1.0}
    assert record["protocol"]["settings"]["classification"]["classes"] == 2
    assert len(record["protocol"]["settings"]["classification"]["sha256"]) == 64


def test_label_maps_are_read_back(told: Figures, cyclegan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left half dark, right half light, of labels 0 and 1; their maps are found by name, at half the size of the images."""
    monkeypatch.setattr(label_scorers, "train_segmenter", partial(label_scorers.train_segmenter, steps=60))
    monkeypatch.setattr(METHODS["cyclegan"], "translate", lambda self, x, to, key=None: x)
    pixels, classes = np.full((32, 32, 3), 30, np.uint8), np.zeros((16, 16), np.uint8)
    pixels[:, 16:], classes[:, 8:] = 220, 1
    for side in ("trainA", "trainB", "testA", "testB"):
        for i in range(3):
            folder("data", **{f"{side}__{side}{i}": pixels ^ np.uint8(i)})
            folder("maps", **{f"{side}__{side}{i}": classes})
    record = told(cyclegan, "data", "--metrics", "segmentation", "--labels", "maps", "--size", 16)
    assert values(record).keys() == {"pixel_accuracy", "class_accuracy", "class_iou"}
    assert values(record)["pixel_accuracy"] > 0.9


# Comparing.


@pytest.fixture
def records(run: Run) -> tuple[str, str]:
    """Of a folder near the real one and of one far from it."""
    folder("real", a=constant(10), b=constant(20), c=constant(30))
    for name, distance in (("near", 1), ("far", 50)):
        folder(name, a=constant(10 + distance), b=constant(21 + distance), c=constant(31 + distance))
        assert run("--real", "real", "--fake", name, "--metrics", "l1,psnr", "--out", f"{name}.json")[0] == 0
    return "near.json", "far.json"


def test_which_of_two_is_better(run: Run, records: tuple[str, str]) -> None:
    code, out, err = run("--compare", *records)
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["near.json", "far.json", "difference"]
    assert [row.split()[0] for row in rows] == ["l1", "psnr"]
    assert all(row.endswith("the first is better") for row in rows)
    assert run("--compare", records[1], records[0])[1].count("the second is better") == 2
    assert run("--compare", records[0], records[0])[1].count("within its error") == 2


def test_comparing_as_json(told: Figures, records: tuple[str, str]) -> None:
    row = told("--compare", *records)["metrics"]["l1"]
    assert row.keys() == {"first", "second", "error", "difference", "exceeds"}
    assert (row["difference"], row["exceeds"]) == (pytest.approx(49), True)


def test_unlike_evaluations_are_not_compared(run: Run, records: tuple[str, str]) -> None:
    run("--real", "real", "--fake", "far", "--metrics", "l1", "--size", "32", "--out", "small.json")
    code, out, err = run("--compare", records[0], "small.json")
    assert (code, out) == (2, "")
    assert (
        err.splitlines()[0]
        == "error: near.json and small.json were measured in different ways; evaluate one of them again:"
    )
    assert "  size: none, 32" in err.splitlines()


# What goes wrong.


def test_nothing_to_evaluate(fails: Callable[..., None], pix2pix: Path) -> None:
    for arguments in ([], [pix2pix], ["--real", "x"], [pix2pix, "x", "--real", "x", "--fake", "y"]):
        fails(arguments, 2, "give MODEL and ROOT, or --real DIR and --fake DIR")


def test_comparing_takes_no_images(fails: Callable[..., None], records: tuple[str, str]) -> None:
    fails(["--compare", *records, "--real", "real"], 2, "--compare takes two metrics.json and no images")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metrics", "vmaf"], ["--metrics vmaf: unknown; possible: l1"]),
        (["--metrics", "l1,"], ["names with commas"]),
        (["--metrics", "fid"], ["FID is defined on Inception's features", "--metrics kid", "--extractor inception"]),
        (["--metrics", "inception_score"], ["the Inception Score is defined on Inception's features"]),
        (["--extractor", "vgg"], ["--extractor vgg: unknown; possible: efficientnet-lite0"]),
        (["--size", "0"], ["--size 0: must be auto, keep or a number of pixels"]),
        (["--size", "large"], ["--size large"]),
        (["--direction", "up"], ["--direction up: must be a2b or b2a"]),
        (["--batch-size", "0"], ["--batch-size 0: must be at least 1"]),
        (["--metrics", "fgsm"], ["fgsm: needs a model and its inputs"]),
    ],
)
def test_wrong_usage(fails: Callable[..., None], flags: list[object], words: list[str]) -> None:
    fails([*two_folders(), *flags], 2, *words)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("kid", "kid: 2 real images; it needs at least 3"),
        ("precision_recall", "it needs at least 4"),
        ("ms_ssim", "sides of at least 176"),
    ],
)
def test_fewer_or_smaller_images_than_a_metric_can_bear(
    fails: Callable[..., None], paired_root: Path, pix2pix: Path, metric: str, words: str
) -> None:
    fails([pix2pix, paired_root, "--metrics", metric], 3, words)


def test_sets_of_unlike_number_where_pairs_are_needed(fails: Callable[..., None]) -> None:
    fails([*two_folders(), "--metrics", "l1"], 3, "l1: needs the true image of each output", "names match")


def test_pairs_of_unlike_sizes(fails: Callable[..., None], run: Run) -> None:
    folder("real", a=noise(1, 40, 40), b=noise(2))
    folder("fake", a=noise(3, 30, 40), b=noise(4))
    arguments = ["--real", "real", "--fake", "fake", "--metrics", "l1"]
    fails(arguments, 3, "l1: images of different shapes")
    assert run(*arguments, "--size", "32")[0] == 0
    fails([*arguments[:-1], "swd"], 3, "has", "pixels", "--size N resizes all to N×N")


def test_features_that_are_no_numbers(fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corners, "forward", lambda self, x: (torch.full((len(x), 4), torch.nan), None))
    fails([*two_folders(), "--metrics", "kid"], 3, "kid: the features of", "not finite")


def test_wrong_and_missing_weights(fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "_lacks_package", lambda kind: False)
    Path("other.pth").write_bytes(b"other")
    arguments = [*two_folders(), "--extractor", "inception", "--weights"]
    shown = hashlib.sha256(b"other").hexdigest()
    fails([*arguments, "other.pth"], 4, "other.pth", shown, EXTRACTORS["inception"].weights.sha256)
    fails([*arguments, "none.pth"], 4, "none.pth: no such file", "96 MB", EXTRACTORS["inception"].weights.sha256)


def test_a_missing_extra(fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "_lacks_package", lambda kind: True)
    fails([*two_folders(), "--extractor", "inception"], 2, "--extractor inception", "install image-translate[metrics]")


def test_without_the_extra_the_other_figures_are_given(told: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "_lacks_package", lambda kind: True)
    record = told(*two_folders())
    assert values(record).keys() == {"swd", "swd_40", "swd_20"}
    assert record["protocol"]["extractor"] is None


def test_no_such_data_or_model(fails: Callable[..., None], pix2pix: Path, paired_root: Path) -> None:
    fails([pix2pix, "no/where"], 3, "no/where: no such folder")
    fails([pix2pix, paired_root, "--split", "val"], 3, "val")
    fails(["no-model", paired_root], 4, "no-model: no such model")
    fails(["--real", "no/where", "--fake", "x"], 3, "no/where: no such folder")
    fails([pix2pix, paired_root, "--to", "a"], 2, "this model translates to b only")
    fails([pix2pix, paired_root, "--metrics", "cycle_psnr"], 2, "needs a model that translates both ways")


def test_images_that_allow_no_usual_metric(run: Run, cyclegan: Path) -> None:
    """One image on each side, of another name and too small for sliced distances."""
    folder("real", a=noise(1, 8, 8))
    folder("fake", b=noise(2, 8, 8))
    code, out, err = run("--real", "real", "--fake", "fake")
    assert (code, out) == (3, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["left out", "left out", "error"]


def test_a_bad_image_is_named(fails: Callable[..., None]) -> None:
    arguments = two_folders()
    Path("fake/bad.jpg").write_text("no picture")
    fails(arguments, 3, "bad.jpg", "not an image", "figures are of the whole set")


def test_labels_that_are_missing(fails: Callable[..., None], cyclegan: Path) -> None:
    folder("maps", x=noise(1))
    folder("data", **{f"{side}__{side}": noise(1) for side in ("trainA", "trainB", "testA", "testB")})
    arguments = [cyclegan, "data", "--metrics"]
    fails([*arguments, "classification"], 3, "not in a class folder", "trainB/CLASS/trainB.png")
    fails([*arguments, "segmentation"], 2, "segmentation: needs label maps", "--labels DIR")
    fails([*arguments, "segmentation", "--labels", "maps"], 3, "maps: no label map of data/trainB/trainB.png")


def test_a_class_that_no_real_image_has(fails: Callable[..., None], cyclegan: Path) -> None:
    folder("data", trainA__x__1=noise(1), trainB__x__2=noise(2), testA__y__3=noise(3), testB__x__4=noise(4))
    fails([cyclegan, "data", "--metrics", "classification"], 3, "class 'y' has no real image in the training split")

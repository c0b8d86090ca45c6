"""`translate evaluate`: a model on its held-out images, one folder against another, and one evaluation against another."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import translate
from translate import cli
from translate.evaluation import label_scorers
from translate.methods import METHODS
from translate.trained.folder import write_trained_model

from .conftest import (
    Evaluate,
    Results,
    constant,
    folder,
    metric_values,
    noise,
    two_folders,
)

NAMES = ("--truth", "names")
"""Flags for the unpaired set of the tests, whose test images of one name are pairs."""
SIZES = {"g_width": 4, "d_width": 4, "crop_size": 32, "load_size": 32}


def test_pairs_by_hand(results: Results) -> None:
    """Constant differences of 3 and 5 have a mean of 4 of 255, and a PSNR of 20 log₁₀(255 / d)."""
    folder("real", a=constant(10), b=constant(20))
    folder("fake", a=constant(13), b=constant(15))
    record = results("--real", "real", "--fake", "fake", "--metrics", "l1,psnr")
    assert metric_values(record) == pytest.approx({"l1": 4.0, "psnr": 20 * math.log10(255) - 10 * math.log10(15)})
    assert record["images"] == [
        {"name": "a.png", "l1": 3, "psnr": pytest.approx(20 * math.log10(85))},
        {"name": "b.png", "l1": 5, "psnr": pytest.approx(20 * math.log10(51))},
    ]
    low, high = record["metrics"]["l1"]["interval"]
    assert 3 <= low <= 4 <= high <= 5


def test_folders_that_match_by_name_are_pairs_too(results: Results) -> None:
    apart = results(*two_folders())
    assert metric_values(apart).keys() == {"swd", "swd_40", "swd_20", "kid"}
    assert not apart["protocol"]["paired"]
    folder("twin", **{str(i): noise(10 + i) for i in range(4)})
    twins = results("--real", "real", "--fake", "twin")
    assert metric_values(twins).keys() == {"l1", "psnr", "ssim", *metric_values(apart)}
    assert twins["protocol"]["paired"]


def test_neither_names_nor_order_nor_format_change_a_figure(results: Results) -> None:
    record = results(*two_folders())
    Path("other").mkdir()
    for i in range(5):
        Image.fromarray(noise(10 + i)).save(f"other/{9 - i}.bmp")
    again = results("--real", "real", "--fake", "other")
    assert metric_values(again) == pytest.approx(metric_values(record), rel=1e-9)
    assert again["subject"]["sha256"] == record["subject"]["sha256"]
    assert (record["protocol"]["output_format"], again["protocol"]["output_format"]) == ("5 png", "5 bmp")


def test_kid_by_hand(results: Results) -> None:
    """Sets of one colour each: features are constant, so MMD² is k(x, x) + k(y, y) − 2 k(x, y)."""
    folder("real", a=constant(0), b=constant(0), c=constant(0))
    folder("fake", d=constant(255), e=constant(255), f=constant(255))
    record = results("--real", "real", "--fake", "fake", "--metrics", "kid")
    assert metric_values(record) == {"kid": pytest.approx(1 + (1 + 1) ** 3 - 2 * 1)}
    known = record["protocol"]
    assert (known["extractor"], known["extractor_sha256"]) == ("efficientnet-lite0", hashlib.sha256(b"").hexdigest())
    assert known["settings"]["kid"]["extractor"] == "efficientnet-lite0"


@pytest.mark.parametrize("to", ["b", "a"])
def test_a_model_that_leaves_images_as_they_are_is_no_better_than_copying(
    results: Results, two_way_model: Path, unpaired_root: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """In either direction; training images are no pairs, so that they have no L1."""
    monkeypatch.setattr(METHODS["cyclegan"], "translate", lambda self, x, to, key=None: x)
    record = results(two_way_model, unpaired_root, "--metrics", "l1,swd", "--to", to, *NAMES)
    figures = {key: {name: row[name] for name in ("value", "error")} for key, row in record["metrics"].items()}
    assert record["copying"] == figures
    assert record["colour_map"].keys() == figures.keys()
    assert record["real"].keys() == {"swd", "swd_32", "swd_16"}
    assert record["protocol"]["trained_against"] == []
    side, spaced = to.upper(), {"a": (0, 2), "b": (0, 3)}[to]  # two of 5 training images of a, two of 7 of b
    Path("known").mkdir()
    for i in spaced:
        shutil.copy(unpaired_root / f"train{side}/{i}.png", "known")
    words = ["--real", unpaired_root / f"test{side}", "--fake", "known", "--metrics", "swd", "--size", 32]
    assert metric_values(results(*words)) == {key: row["value"] for key, row in record["real"].items()}


def test_references_of_pairs_side_by_side(results: Results, one_way_model: Path, paired_root: Path) -> None:
    """B is A with its colours inverted, before both are resized, which commutes but for rounding."""
    record = results(one_way_model, paired_root, "--metrics", "l1,swd")
    halves = (Image.open(paired_root / f"test/{i}.png").crop((0, 0, 40, 40)).resize((32, 32)) for i in (0, 1))
    by_hand = np.mean([np.abs(255 - 2.0 * np.asarray(half)).mean() for half in halves])
    assert record["copying"]["l1"]["value"] == pytest.approx(by_hand, abs=1)
    assert record["colour_map"].keys() == record["metrics"].keys()
    assert record["real"].keys() == {"swd", "swd_32", "swd_16"}


def test_folders_have_no_references(results: Results) -> None:
    assert results(*two_folders()).keys() == {"metrics", "protocol", "subject", "images"}


def test_without_training_images_copying_is_left(evaluate: Evaluate, two_way_model: Path, unpaired_root: Path) -> None:
    shutil.copytree(unpaired_root / "testA", "data/testA")
    shutil.copytree(unpaired_root / "testB", "data/testB")
    code, out, err = evaluate(two_way_model, "data", "--metrics", "swd", "--json")
    assert (code, json.loads(out).keys() & {"copying", "colour_map", "real"}) == (0, {"copying"})
    assert err.splitlines() == ["no reference colour map and real against real: data has no training images"]


def test_the_table_shows_errors_units_and_directions(evaluate: Evaluate) -> None:
    folder("real", a=constant(10), b=constant(20), c=constant(0))
    folder("fake", a=constant(13), b=constant(15), c=constant(0))
    code, out, err = evaluate("--real", "real", "--fake", "fake", "--metrics", "l1,psnr,kid")
    assert (code, err) == (0, "")
    head, features_of, empty, *rows = out.splitlines()
    assert head == "real: 3 images against 3 real images, in pairs, at their own size"
    assert features_of == "features of efficientnet-lite0, SHA-256 e3b0c442…"
    assert empty == ""
    assert [row.split()[:2] for row in rows] == [["L1", "↓"], ["PSNR", "↑"], ["KID-EL0", "↓"]]
    assert [row.rstrip().endswith(unit) for row, unit in zip(rows, ("of 255", "dB", ""), strict=True)] == [True] * 3
    assert "infinite" in rows[1]


def test_a_paired_set(results: Results, one_way_model: Path, paired_root: Path) -> None:
    """Figures are of what `convert` makes of the test images, held against their truths."""
    record = results(one_way_model, paired_root)
    assert metric_values(record).keys() == {"l1", "psnr", "ssim"}  # KID needs three images
    known = record["protocol"]
    assert (known["split"], known["layout"], known["paired"], known["size"]) == ("test", "paired", True, 32)
    assert (known["input_images"], known["output_images"], known["real_images"]) == (2, 2, 2)
    assert record["subject"]["sha256"] == hashlib.sha256((one_way_model / "model.safetensors").read_bytes()).hexdigest()
    assert [row["name"] for row in record["images"]] == ["test/0.png", "test/1.png"]


def test_an_unpaired_set(evaluate: Evaluate, two_way_model: Path) -> None:
    """Images that match by no name have no truth."""
    root = folder(
        "data",
        **{f"{side}__{side}{i}": noise(i + 50 * (side == "testB")) for side in ("testA", "testB") for i in range(3)},
    )
    code, out, err = evaluate(two_way_model, root, "--json")
    assert code == 0
    assert metric_values(json.loads(out)).keys() == {
        "swd", "swd_32", "swd_16", "kid", "edge_correlation", "cycle_psnr", "cycle_psnr_jpeg90"
    }  # fmt: skip
    assert (
        "left out: l1, psnr, ssim, which need the true image of each output: testA and testB in data do not have" in err
    )
    assert json.loads(out)["protocol"]["truth"] is None


def test_equal_names_alone_are_no_truth(evaluate: Evaluate, two_way_model: Path, unpaired_root: Path) -> None:
    """Cameras number alike: photos of one name in two folders need not show the same."""
    code, out, err = evaluate(two_way_model, unpaired_root, "--json")
    assert not metric_values(json.loads(out)).keys() & {"l1", "psnr", "ssim"}
    assert (json.loads(out)["protocol"]["paired"], json.loads(out)["protocol"]["truth"]) == (False, None)
    assert "left out: l1, psnr, ssim" in err
    assert "give --truth names" in err
    code, out, err = evaluate(two_way_model, unpaired_root, "--metrics", "l1")
    assert (code, out) == (3, "")
    assert "l1: needs the true image of each output; testA and testB" in err
    assert "--truth names" in err
    assert "psnr" not in evaluate(two_way_model, unpaired_root, "--metrics", "swd")[2]


def test_hidden_truth(evaluate: Evaluate, results: Results, two_way_model: Path, unpaired_root: Path) -> None:
    """An unpaired method whose test folders are pairs by name is scored on these too, if that is said, and says so."""
    _, _, err = evaluate(two_way_model, unpaired_root, *NAMES)
    assert "test holds pairs by name (--truth names)" in err
    assert "left out: kid: 2 real images; it needs at least 3" in err
    record = results(two_way_model, unpaired_root, *NAMES)
    assert metric_values(record).keys() >= {"l1", "psnr", "ssim", "swd"}
    assert (record["protocol"]["paired"], record["protocol"]["truth"]) == (True, "names")


def test_a_model_is_judged_by_what_convert_makes(results: Results, two_way_model: Path, unpaired_root: Path) -> None:
    """The same figures as of the folder that `translate convert` writes."""
    direct = results(two_way_model, unpaired_root, "--size", "keep", "--metrics", "l1,swd", *NAMES)
    translate.convert(two_way_model, unpaired_root / "testA", "out", device="cpu", report=False)
    Path("out/manifest.jsonl").unlink()
    converted = results("--real", unpaired_root / "testB", "--fake", "out", "--metrics", "l1,swd")
    assert metric_values(converted) == pytest.approx(metric_values(direct), rel=1e-9)
    assert converted["subject"]["sha256"] == direct["subject"]["outputs_sha256"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_change_no_figure(
    results: Results, two_way_model: Path, unpaired_root: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Also where a GPU is given many images at a time."""
    from translate.evaluation import cases

    wanted = metric_values(results(two_way_model, unpaired_root, "--metrics", "l1,swd,edge_correlation", *NAMES))
    batch_by_size = cases.batch_by_size
    monkeypatch.setattr(cases, "batch_by_size", lambda arrays, _: batch_by_size(arrays, batch_size))
    assert metric_values(
        results(two_way_model, unpaired_root, "--metrics", "l1,swd,edge_correlation", *NAMES)
    ) == pytest.approx(wanted, rel=1e-4)


def test_the_other_way(results: Results, two_way_model: Path, unpaired_root: Path) -> None:
    """--to a translates b; with the folders swapped as well, a is again the first domain of the files."""
    there, back = (
        results(two_way_model, unpaired_root, "--metrics", "l1", *NAMES),
        results(two_way_model, unpaired_root, "--to", "a", "--metrics", "l1", *NAMES),
    )
    swapped = results(two_way_model, unpaired_root, "--to", "a", "--direction", "b2a", "--metrics", "l1", *NAMES)
    assert there["protocol"]["input_sha256"] == back["protocol"]["real_sha256"] == swapped["protocol"]["input_sha256"]
    assert metric_values(there) != metric_values(back)


def test_training_images_are_a_last_resort(evaluate: Evaluate, two_way_model: Path) -> None:
    root = folder("data", **{f"{side}__{side}{i}": noise(i) for side in ("trainA", "trainB") for i in range(3)})
    code, out, err = evaluate(two_way_model, root, "--metrics", "swd", "--json")
    assert code == 0
    assert json.loads(out)["protocol"]["split"] == "train"
    assert "these are training images" in err
    folder("data", valA__1=noise(1), valA__2=noise(2), valB__3=noise(3), valB__4=noise(4))
    code, out, err = evaluate(two_way_model, root, "--metrics", "swd", "--json")
    assert json.loads(out)["protocol"]["split"] == "val"
    assert "training images" not in err


def test_every_metric_can_be_asked_for(results: Results, two_way_model: Path) -> None:
    """By its row's name or by that of one of its figures."""
    root = folder(
        "data",
        **{f"{side}__{i}": noise(i + len(side) * (side == "testB")) for side in ("testA", "testB") for i in range(4)},
    )
    names = "l1,psnr,ssim,kid,recall,swd,checkerboard,colour,edge_correlation,cycle_psnr,fgsm_2"
    record = results(two_way_model, root, "--metrics", names, *NAMES)
    assert metric_values(record).keys() == {
        "l1", "psnr", "ssim", "kid", "precision", "recall", "swd", "swd_32", "swd_16", "checkerboard", "colour_shift",
        "colour_spread", "edge_correlation", "cycle_psnr", "cycle_psnr_jpeg90", "fgsm_1", "fgsm_2", "fgsm_4",
    }  # fmt: skip
    assert record["protocol"]["settings"]["precision_recall"]["k"] == 3


def test_a_run_keeps_its_figures(evaluate: Evaluate, tmp_path: Path, paired_root: Path) -> None:
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
    code, out, _ = evaluate("run", paired_root, "--json", "--metrics", "l1")
    assert code == 0
    assert json.loads(Path("checkpoints/run/metrics.json").read_text()) == json.loads(out)
    assert json.loads(out)["protocol"]["direction"] == "b2a"
    evaluate("run", paired_root, "--metrics", "l1", "--direction", "a2b", "--out", "figures/a2b.json")
    assert json.loads(Path("checkpoints/run/metrics.json").read_text()) == json.loads(out)
    assert json.loads(Path("figures/a2b.json").read_text())["protocol"]["direction"] == "a2b"


@pytest.mark.parametrize("name", ["model-best", "model-24", "copy"])
def test_every_model_of_a_run_knows_its_direction_and_preprocessing(
    evaluate: Evaluate, tmp_path: Path, paired_root: Path, name: str
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
    code, out, _ = evaluate(model, paired_root, "--json", "--metrics", "l1")
    assert code == 0
    record = json.loads(out)
    assert record["protocol"]["direction"] == "b2a"
    assert record["protocol"]["size"] is None, "as they are"
    assert sorted(model.iterdir()) == before
    written = tmp_path / "run" / "metrics.json"
    assert json.loads(written.read_text()) == record if name != "copy" else not written.exists()


def test_networks_that_the_run_was_trained_against_are_named(
    results: Results, build: Callable[..., Path], tmp_path: Path, paired_root: Path
) -> None:
    """By the run's settings, since those of losses are not in the model."""
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "config.toml").write_text("lambda_features = 2.0\n", encoding="utf-8")
    build("pix2pix", folder=tmp_path / "run" / "model", generator="resnet_3blocks")
    known = results(tmp_path / "run" / "model", paired_root, "--metrics", "l1")["protocol"]
    assert known["trained_against"] == ["efficientnet-lite0"]


def test_a_model_folder_is_left_as_it_is(evaluate: Evaluate, one_way_model: Path, paired_root: Path) -> None:
    before = sorted(one_way_model.iterdir())
    assert evaluate(one_way_model, paired_root, "--metrics", "l1")[0] == 0
    assert sorted(one_way_model.iterdir()) == before


def test_from_python_with_a_loaded_model(two_way_model: Path, unpaired_root: Path) -> None:
    said: list[str] = []
    loaded = translate.load(two_way_model, device="cpu")
    options = {"metrics": ["l1"], "truth": "names", "device": "cpu"}
    record = translate.evaluate(loaded, unpaired_root, say=said.append, **options)
    assert record["metrics"]["l1"] == translate.evaluate(two_way_model, unpaired_root, **options)["metrics"]["l1"]
    assert record["subject"]["model"] is None
    assert len(said) == 1


def test_classes_are_read_back(results: Results, two_way_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    record = results(two_way_model, root, "--metrics", "classification", "--size", 16)
    assert metric_values(record) == {"top1_accuracy": 1.0}
    assert record["protocol"]["settings"]["classification"]["classes"] == 2
    assert len(record["protocol"]["settings"]["classification"]["sha256"]) == 64


def test_label_maps_are_read_back(results: Results, two_way_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left half dark, right half light, of labels 0 and 1; their maps are found by name, at half the size of the images."""
    monkeypatch.setattr(label_scorers, "train_segmenter", partial(label_scorers.train_segmenter, steps=60))
    monkeypatch.setattr(METHODS["cyclegan"], "translate", lambda self, x, to, key=None: x)
    pixels, classes = np.full((32, 32, 3), 30, np.uint8), np.zeros((16, 16), np.uint8)
    pixels[:, 16:], classes[:, 8:] = 220, 1
    for side in ("trainA", "trainB", "testA", "testB"):
        for i in range(3):
            folder("data", **{f"{side}__{side}{i}": pixels ^ np.uint8(i)})
            folder("maps", **{f"{side}__{side}{i}": classes})
    record = results(two_way_model, "data", "--metrics", "segmentation", "--labels", "maps", "--size", 16)
    assert metric_values(record).keys() == {"pixel_accuracy", "class_accuracy", "class_iou"}
    assert metric_values(record)["pixel_accuracy"] > 0.9


def test_which_of_two_is_better(evaluate: Evaluate, records: tuple[str, str]) -> None:
    code, out, err = evaluate("--compare", *records)
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["near.json", "far.json", "difference"]
    assert [row.split()[0] for row in rows] == ["l1", "psnr"]
    assert all(row.endswith("the first is better") for row in rows)
    assert evaluate("--compare", records[1], records[0])[1].count("the second is better") == 2
    assert evaluate("--compare", records[0], records[0])[1].count("no significant difference") == 2


def test_comparing_as_json(results: Results, records: tuple[str, str]) -> None:
    row = results("--compare", *records)["metrics"]["l1"]
    assert row.keys() == {"first", "second", "error", "difference", "exceeds"}
    assert (row["difference"], row["exceeds"]) == (pytest.approx(49), True)


def test_unlike_evaluations_are_not_compared(evaluate: Evaluate, records: tuple[str, str]) -> None:
    evaluate("--real", "real", "--fake", "far", "--metrics", "l1", "--size", "32", "--out", "small.json")
    code, out, err = evaluate("--compare", records[0], "small.json")
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith("error: near.json and small.json were measured in different ways")
    assert "  size: none, 32" in err.splitlines()

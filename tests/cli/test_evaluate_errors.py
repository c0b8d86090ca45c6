"""`translate evaluate`: usage, data, images and weights that it refuses."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from translate.evaluation import extractors
from translate.evaluation.extractors import EXTRACTORS

from .conftest import (
    Corners,
    Evaluate,
    Fails,
    Results,
    folder,
    metric_values,
    noise,
    two_folders,
)


@pytest.fixture
def fails(fails: Fails, tiny_extractor: None) -> Fails:
    """Check how `translate evaluate` fails."""

    def check(arguments: Iterable[object], code: int, *words: str, more: int = 0) -> list[str]:
        device = [] if "--compare" in arguments else ["--device", "cpu"]
        return fails(["evaluate", *arguments, *device], code, *words, more=more)

    return check


def test_nothing_to_evaluate(fails: Fails, one_way_model: Path) -> None:
    for arguments in ([], [one_way_model], ["--real", "x"], [one_way_model, "x", "--real", "x", "--fake", "y"]):
        fails(arguments, 2, "give MODEL and ROOT, or --real DIR and --fake DIR")


def test_comparing_takes_no_images(fails: Fails, records: tuple[str, str]) -> None:
    fails(["--compare", *records, "--real", "real"], 2, "--compare takes two metrics.json files")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metrics", "vmaf"], ["--metrics vmaf: unknown; possible: l1"]),
        (["--metrics", "l1,"], ["names separated by commas"]),
        (["--metrics", "fid"], ["FID is defined on Inception's features", "--metrics kid", "--extractor inception"]),
        (["--metrics", "inception_score"], ["the Inception Score is defined on Inception's features"]),
        (["--extractor", "vgg"], ["--extractor vgg: unknown; possible: efficientnet-lite0"]),
        (["--size", "0"], ["--size 0", "auto, keep"]),
        (["--size", "large"], ["--size large"]),
        (["--direction", "up"], ["--direction", "up", "a2b"]),
        (["--batch-size", "0"], ["--batch-size 0: must be at least 1"]),
        (["--metrics", "fgsm"], ["fgsm: needs a model and its inputs"]),
    ],
)
def test_wrong_usage(fails: Fails, flags: list[object], words: list[str]) -> None:
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
    fails: Fails, paired_root: Path, one_way_model: Path, metric: str, words: str
) -> None:
    fails([one_way_model, paired_root, "--metrics", metric], 3, words)


def test_flags_of_pairs_and_of_models_that_have_none(
    fails: Fails,
    evaluate: Evaluate,
    one_way_model: Path,
    two_way_model: Path,
    paired_root: Path,
    unpaired_root: Path,
) -> None:
    fails([one_way_model, paired_root, "--truth", "names"], 2, "--truth names: is for models of unpaired methods")
    fails([two_way_model, unpaired_root, "--skip-unmatched"], 2, "--skip-unmatched", "give --truth names too")
    shutil.copytree(unpaired_root / "testA", "data/testA")
    shutil.copytree(unpaired_root / "testB", "data/testB")
    Path("data/testB/1.png").rename("data/testB/other.png")
    arguments = [two_way_model, "data", "--metrics", "l1", "--truth", "names"]
    fails(arguments, 3, "no partner of the same name", "testA/1", "testB/other")
    code, _, err = evaluate(*arguments, "--skip-unmatched")
    assert code == 0
    assert "1 pairs are used, 2 images without a partner of their own are left out" in err


def test_sets_of_unlike_number_where_pairs_are_needed(fails: Fails) -> None:
    fails(
        [*two_folders(), "--metrics", "l1"],
        3,
        "l1: needs the true image of each output",
        "9 images have no partner",
        "fake/x0",
    )


def test_pairs_of_unlike_sizes(fails: Fails, evaluate: Evaluate) -> None:
    folder("real", a=noise(1, 40, 40), b=noise(2))
    folder("fake", a=noise(3, 30, 40), b=noise(4))
    arguments = ["--real", "real", "--fake", "fake", "--metrics", "l1"]
    fails(arguments, 3, "l1: 'a.png' has 30×40 pixels, but its true image 'a.png' has 40×40")
    assert evaluate(*arguments, "--size", "32")[0] == 0
    fails([*arguments[:-1], "swd"], 3, "has", "pixels", "--size N")


def test_features_that_are_no_numbers(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corners, "forward", lambda self, x: (torch.full((len(x), 4), torch.nan), None))
    fails([*two_folders(), "--metrics", "kid"], 3, "kid: the features of", "not finite")


def test_wrong_and_missing_weights(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "_missing_package", lambda spec: "")
    Path("other.pth").write_bytes(b"other")
    arguments = [*two_folders(), "--extractor", "inception", "--weights"]
    shown = hashlib.sha256(b"other").hexdigest()
    fails([*arguments, "other.pth"], 4, "other.pth", shown, EXTRACTORS["inception"].weights.sha256)
    fails([*arguments, "none.pth"], 4, "none.pth: no such file", "96 MB", EXTRACTORS["inception"].weights.sha256)


def test_a_missing_extra(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "_missing_package", lambda spec: "torch_fidelity")
    fails([*two_folders(), "--extractor", "inception"], 2, "--extractor inception", "install image-translate[metrics]")


def test_without_the_extra_the_other_figures_are_given(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "_missing_package", lambda spec: "torch_fidelity")
    record = results(*two_folders())
    assert metric_values(record).keys() == {"swd", "swd_40", "swd_20"}
    assert record["protocol"]["extractor"] is None


def test_no_such_data_or_model(fails: Fails, one_way_model: Path, paired_root: Path) -> None:
    fails([one_way_model, "no/where"], 3, "no/where: no such folder")
    fails([one_way_model, paired_root, "--split", "val"], 3, "val")
    fails(["no-model", paired_root], 4, "no-model: no such model")
    fails(["--real", "no/where", "--fake", "x"], 3, "no/where: no such folder")
    fails([one_way_model, paired_root, "--to", "a"], 2, "this model translates to b only")
    fails([one_way_model, paired_root, "--metrics", "cycle_psnr"], 2, "needs a model that translates both ways")


def test_images_that_allow_no_usual_metric(evaluate: Evaluate, two_way_model: Path) -> None:
    """One image on each side, of another name and too small for sliced distances."""
    folder("real", a=noise(1, 8, 8))
    folder("fake", b=noise(2, 8, 8))
    code, out, err = evaluate("--real", "real", "--fake", "fake")
    assert (code, out) == (3, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["left out", "left out", "left out", "error"]


def test_a_bad_image_is_named(fails: Fails) -> None:
    arguments = two_folders()
    Path("fake/bad.jpg").write_text("no image")
    fails(arguments, 3, "bad.jpg", "not an image")


def test_labels_that_are_missing(fails: Fails, two_way_model: Path) -> None:
    folder("maps", x=noise(1))
    folder("data", **{f"{side}__{side}": noise(1) for side in ("trainA", "trainB", "testA", "testB")})
    arguments = [two_way_model, "data", "--metrics"]
    fails([*arguments, "classification"], 3, "trainB/CLASS/trainB.png")
    fails([*arguments, "segmentation"], 2, "segmentation: needs label maps", "--labels DIR")
    fails([*arguments, "segmentation", "--labels", "maps"], 3, "maps: no label map of data/trainB/trainB.png")


def test_a_class_that_no_real_image_has(fails: Fails, two_way_model: Path) -> None:
    folder("data", trainA__x__1=noise(1), trainB__x__2=noise(2), testA__y__3=noise(3), testB__x__4=noise(4))
    fails([two_way_model, "data", "--metrics", "classification"], 3, "class 'y'")

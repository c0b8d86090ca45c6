"""Tests of the cases to evaluate: the size of images, and the domains that they are of."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from translate.errors import DataError
from translate.evaluation import cases
from translate.evaluation.cases import EvaluationOptions, case_from_folders


@pytest.mark.parametrize(
    ("size", "trained_on", "side"),
    [
        ("auto", {"crop_size": 256, "load_size": 286}, 256),
        ("auto", {"crop_size": 64, "load_size": 128}, 128),
        ("auto", {"crop_size": 32, "load_size": 32}, 32),
        ("auto", None, 256),
        ("keep", {"crop_size": 256, "load_size": 286}, None),
        (48, {"crop_size": 256, "load_size": 286}, 48),
    ],
)
def test_the_size_is_that_of_training(size, trained_on, side):
    """286 for 256 is the enlargement that crops are cut from; 128 for 64 is the scale of training."""
    assert cases._image_size(size, SimpleNamespace(trained_on=trained_on, preprocess=None)) == side
    assert cases._image_size("auto", SimpleNamespace(trained_on=trained_on, preprocess="none")) is None


def test_a_domain_called_a_is_translated_to_like_any_other(tmp_path, monkeypatch):
    """The inputs are the images of all other domains, though of two domains the first is called a everywhere else."""
    for part in ("train", "test"):
        for domain in "abc":
            (tmp_path / part / domain).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / part / domain / f"{domain}.png")
    monkeypatch.setattr(cases, "_translate_all", lambda model, inputs, options, progress: inputs)
    info = SimpleNamespace(method="stargan", direction=None, preprocess=None, networks={}, trained_on=None)
    model = SimpleNamespace(
        method=SimpleNamespace(layout="domains"), info=info, directions={"a": "a", "b": "b", "c": "c"}, sha256="",
        check_target=lambda to: None, source_domain=lambda to: to, value_range=lambda domain: None, device="cpu",
        label_format=lambda to: None, scale=lambda to: 1,
        input_channels=lambda to: 3, output_channels=lambda to: 3, precision=SimpleNamespace(name="fp32"),
        ensure_convolutions=lambda: None,
    )  # fmt: skip
    for to, others in (("a", ["b", "c"]), ("b", ["a", "c"])):
        case = cases.case_from_model(model, None, tmp_path, EvaluationOptions(to=to), lambda *_: None, lambda _: None)
        shown = case.subject.inputs.names, case.subject.real.names
        training = case.reference_sources.find_training()
        taught = ([ref.path for ref in refs] for refs in (training.a, training.b))
        for inputs, real in (shown, taught):
            assert ([Path(name).stem for name in inputs], [Path(name).stem for name in real]) == (others, [to])


# Two folders.


def case_of(tmp_path: Path, fakes: list[str], reals: list[str], **options: Any):
    """Return the case of two folders with images by these names; the shade of each is that of its first letter."""
    for folder, names in (("fake", fakes), ("real", reals)):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (12, 12), (ord(name[0]),) * 3).save(tmp_path / folder / f"{name}.png")
    return case_from_folders(tmp_path / "real", tmp_path / "fake", EvaluationOptions(**options))


def test_folders_whose_names_match_are_pairs(tmp_path):
    case = case_of(tmp_path, ["a", "b"], ["b", "a"])
    assert case.subject.truth is case.subject.real
    assert case.subject.truth.names == case.subject.outputs.names
    assert case.data == {"data": "real", "paired": True, "truth": "names"}
    assert (case.notices, case.subject.why_no_truth) == ((), "")


def test_folders_whose_names_differ_in_one_way_are_pairs_and_that_is_told(tmp_path):
    case = case_of(tmp_path, ["a_fake", "b_fake"], ["a_real", "b_real"])
    assert case.subject.truth.names == ("a_real.png", "b_real.png")
    assert "without the endings '_fake' and '_real'" in case.notices[0]


def test_a_surplus_image_is_named(tmp_path):
    case = case_of(tmp_path, ["a", "b"], ["a", "b", "surplus"])
    assert case.subject.truth is None
    assert "real/surplus" in case.subject.why_no_truth
    assert "--skip-unmatched" in case.subject.why_no_truth
    assert (len(case.subject.real), case.data["paired"], case.data["truth"]) == (3, False, None)
    with pytest.raises(DataError, match=r"--truth names: 1 images have no partner of the same name: real/surplus"):
        case_from_folders(tmp_path / "real", tmp_path / "fake", EvaluationOptions(truth="names"))
    skipped = case_from_folders(tmp_path / "real", tmp_path / "fake", EvaluationOptions(skip_unmatched=True))
    assert skipped.subject.truth.names == ("a.png", "b.png")
    assert "1 images without a partner of their own are left out: real/surplus.png" in skipped.notices[0].replace(
        "../", ""
    )


def test_pairs_are_left_out_where_that_is_asked_for(tmp_path):
    case = case_of(tmp_path, ["a", "b"], ["a", "b"], truth="none")
    assert (case.subject.truth, case.subject.why_no_truth) == (None, "--truth none")

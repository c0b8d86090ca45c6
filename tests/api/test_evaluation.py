"""Evaluation from Python: which metrics are computed by default, whose the weights are, and where results are written."""

import json
from pathlib import Path

import pytest

from translate.api import evaluation
from translate.errors import UsageError
from translate.evaluation.protocol import read_results
from translate.run_folder import CONFIG_FILE, METRICS_FILE


def evaluate(*arguments, **options):
    return evaluation.evaluate(*arguments, device="cpu", say=lambda line: None, **options)


@pytest.mark.parametrize(
    ("metrics", "extractor", "owner"),
    [
        (["lpips"], "efficientnet-lite0", "lpips"),
        (["lpips", "kid"], "efficientnet-lite0", "lpips"),  # whose weights come with its package
        (["kid"], "inception", "extractor"),
        (["lpips", "kid"], "inception", "extractor"),
        ([], "inception", "extractor"),
    ],
)
def test_a_weights_file_goes_to_the_network_that_needs_one(metrics, extractor, owner):
    of_extractor, of_lpips = evaluation._assign_weights("weights.pth", metrics, extractor)
    assert (of_extractor, of_lpips) == (
        (Path("weights.pth"), None) if owner == "extractor" else (None, Path("weights.pth"))
    )


@pytest.mark.parametrize("places", [{}, {"model": "m"}, {"root": "r"}, {"real": "x"}, {"model": "m", "fake": "y"}])
def test_either_a_model_and_data_or_two_folders(places):
    with pytest.raises(UsageError, match="MODEL and ROOT, or --real DIR and --fake DIR"):
        evaluate(**places, metrics=["l1"])


@pytest.mark.parametrize(("layout", "metric"), [("paired", "l1"), ("unpaired", "swd")])
def test_the_best_model_is_chosen_by_what_the_method_may_see(layout, metric):
    assert evaluation.default_best_by(layout) == metric


@pytest.mark.parametrize("name", ["model", "model-best"])
def test_results_of_a_model_in_a_run_are_written_into_the_run(build, paired_root, tmp_path, name):
    (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / CONFIG_FILE).write_text("")
    build("pix2pix", folder=tmp_path / "run" / name, generator="resnet_3blocks")
    results = evaluate(tmp_path / "run" / name, paired_root, metrics=["l1"])
    assert read_results(tmp_path / "run" / METRICS_FILE) == json.loads(json.dumps(results))
    assert not (tmp_path / "run" / name / METRICS_FILE).exists()


def test_results_are_written_where_they_are_asked_for(build, paired_root, tmp_path):
    model = build("pix2pix", generator="resnet_3blocks")
    results = evaluate(model, paired_root, metrics=["psnr"], out=tmp_path / "here.json")
    assert set(results["metrics"]) == {"psnr"}
    assert read_results(tmp_path / "here.json")["metrics"] == results["metrics"]
    same = evaluation.compare(tmp_path / "here.json", tmp_path / "here.json")["metrics"]["psnr"]
    assert (same["first"], same["difference"]) == (results["metrics"]["psnr"]["value"], 0)

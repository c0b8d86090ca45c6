"""Validation during training: which images it uses, which model is kept, when training stops."""

import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate import api, config
from translate.api.validation import ValidationEvaluator, combine_domains, split_for_validation
from translate.data import layouts
from translate.errors import Interrupted, UsageError
from translate.evaluation.uncertainty import Estimate
from translate.methods.cyclegan import CycleGAN
from translate.run_folder import BEST_MODEL
from translate.trained import find
from translate.training import checkpoint

from ..helpers import read_stats

SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "log_every": 4, "save_every": 4, "device": "cpu",
    "watch": False, "sample_every": 1000, "say": lambda line: None,
}  # fmt: skip


# The validation set.


def cyclegan_config(**flags):
    return CycleGAN.resolve_config(config.resolve(CycleGAN.Config, ("test", {"evaluate_every": 4, **flags})))


def divide(root, **flags):
    said = []
    train = layouts.find_split(root, "unpaired")
    return train, *split_for_validation(root, "unpaired", cyclegan_config(**flags), train, said.append), said


def test_val_images_are_used_first(unpaired_root, tmp_path):
    root = shutil.copytree(unpaired_root, tmp_path / "root")
    for domain in "AB":
        shutil.copytree(root / f"train{domain}", root / f"val{domain}")
    train, rest, validation_set, said = divide(root, hold_out=0.3)
    assert (validation_set.name, rest, said) == ("val", train, [])


def test_held_out_training_images_are_used_next(unpaired_root):
    train, rest, validation_set, said = divide(unpaired_root, hold_out=0.3)
    assert validation_set.name == "held out of train"
    assert len(rest.a) + len(validation_set.split.a) == len(train.a)
    assert said == []


def test_test_images_are_used_last_with_a_warning(unpaired_root, tmp_path):
    root = shutil.copytree(unpaired_root, tmp_path / "root")
    for domain in "AB":
        if not (root / f"test{domain}").exists():
            shutil.copytree(root / f"train{domain}", root / f"test{domain}")
    train, rest, validation_set, said = divide(root, evaluate_metrics="swd")
    assert (validation_set.name, rest) == ("test", train)
    assert len(said) == 1
    assert "test images choose the best model" in said[0]


def test_a_data_set_without_validation_images_is_refused(unpaired_root, tmp_path):
    root = tmp_path / "root"
    for domain in "AB":
        shutil.copytree(unpaired_root / f"train{domain}", root / f"train{domain}")
    with pytest.raises(UsageError, match=r"neither val nor test images; --hold-out 0.1 sets"):
        divide(root)
    assert divide(root, evaluate_every=None)[2] is None


def test_equal_names_are_true_images_only_where_that_is_said(season):
    """Of an unpaired set; a metric of pairs is refused before the first step, with the flag that allows it."""
    _, _, validation_set, said = divide(season)
    assert not validation_set.split.paired
    assert [line for line in said if "left out: l1, psnr, ssim" in line and "--truth names" in line]
    _, _, validation_set, said = divide(season, truth="names")
    assert validation_set.split.paired
    assert [line for line in said if "val holds pairs by name (--truth names)" in line]
    for flags in ({"evaluate_metrics": "swd,l1"}, {"best_by": "psnr"}, {"truth": "none", "evaluate_metrics": "swd,l1"}):
        cfg = cyclegan_config(**{"best_by": "swd", **flags})
        _, validation_set = split_for_validation(season, "unpaired", cfg, layouts.find_split(season, "unpaired"), print)
        with pytest.raises(UsageError, match=r"needs the true image of each output; .*--truth n"):
            ValidationEvaluator(season, validation_set, cfg, "unpaired", torch.device("cpu"))


def test_the_images_of_domains_and_of_noise_are_divided_like_others(domains_root, images_root):
    split = layouts.find_split(images_root, "images")
    rest, validation_set = split_for_validation(images_root, "images", cyclegan_config(hold_out=0.3), split, print)
    assert sorted([*rest.a, *validation_set.split.a], key=str) == sorted(split.a, key=str)
    assert not validation_set.split.paired
    split = layouts.find_split(domains_root, "domains")
    rest, validation_set = split_for_validation(domains_root, "domains", cyclegan_config(), split, lambda line: None)
    assert (rest, validation_set.name) == (split, "test")
    assert validation_set.split.labels == (0, 0, 1, 1, 2, 2)


def test_a_validation_set_without_images_of_a_domain_is_refused(domains_root):
    split = layouts.find_split(domains_root, "domains")
    with pytest.raises(UsageError, match=r"validation images of domain 'brown', and others; add some, or use a larger"):
        split_for_validation(domains_root, "domains", cyclegan_config(evaluate_images=2), split, lambda line: None)


def test_a_metric_of_several_domains_is_the_mean_over_them():
    """Errors as of independent terms: √(3² + 4²) / 2. The protocol keeps what is the same for both."""

    def measured(value, error, count):
        results = {
            "metrics": {}, "protocol": {"split": "val", "real_images": count, "settings": {"swd": {}}},
            "subject": {"model": None, "outputs_sha256": str(count)}, "images": [],
        }  # fmt: skip
        return {"swd": Estimate(value, error), "psnr": Estimate(math.inf, None)}, results

    both = {"x": measured(1.0, 3.0, 5), "y": measured(2.0, 4.0, 6)}
    estimates, results = combine_domains(both)
    assert (estimates["swd"].value, estimates["swd"].error) == (1.5, 2.5)
    assert estimates["psnr"].value == math.inf
    assert results["metrics"]["swd"] == {"value": 1.5, "error": 2.5, "interval": None}
    assert results["metrics"]["psnr"] == {"value": None, "error": None, "interval": None}
    assert results["protocol"] == {"split": "val", "to": "all", "settings": {"swd": {}}}
    assert results["subject"] == {"model": None}
    assert results["domains"] == {domain: each for domain, (_, each) in both.items()}


# Runs.


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """Data set whose val images match by name."""
    root = tmp_path_factory.mktemp("season")
    rng = np.random.default_rng(0)
    for folder, count in (("trainA", 5), ("trainB", 6), ("valA", 4), ("valB", 4)):
        (root / folder).mkdir()
        for n in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(root / folder / f"{n}.png")
    return root


def train(root, run, **flags):
    known = {"truth": "names", "generator": "resnet_3blocks"}
    flags = {"images": 12, "evaluate_every": 4, "ema_half_life": 4, **known, **flags}
    return translate.train("cyclegan", root, run=run, **{**SMALL, **flags})


@pytest.fixture(scope="module")
def whole(season, tmp_path_factory):
    """A run of 12 images that is validated after each 4. Tests may not change it."""
    run = tmp_path_factory.mktemp("whole")
    train(season, run)
    return run


@pytest.mark.slow
def test_metrics_equal_those_of_evaluate_and_the_best_model_has_the_best_of_them(season, whole):
    points = [point for point in read_stats(whole) if "val/swd" in point]
    assert [point["images"] for point in points] == [4, 8, 12]
    assert all(point["val_ema/swd"] != point["val/swd"] for point in points)
    assert {"val/l1", "val/ssim", "val/cycle_psnr", "time/validation_seconds"} <= points[0].keys()  # hidden truth too
    best = json.loads((whole / BEST_MODEL / "metrics.json").read_text())
    assert best["metrics"]["swd"]["value"] == min(point["val_ema/swd"] for point in points)
    assert best["protocol"]["split"] == "val"
    assert not best.keys() & {"copying", "colour_map", "real"}
    said: list[str] = []
    again = api.evaluate(whole / BEST_MODEL, season, split="val", metrics=["swd", "l1"], say=said.append)
    assert "the run was trained with --truth names" in said[0]
    for name in ("swd", "l1"):
        assert again["metrics"][name]["value"] == pytest.approx(best["metrics"][name]["value"], rel=1e-6)


def tiny_run(method, root, run, **flags):
    own = {**SMALL, "evaluate_every": 4, "images": 4, "hold_out": 0.4, "batch_size": 2, "log_every": 2, **flags}
    translate.train(method, root, run=run, **own)
    (point,) = [point for point in read_stats(run) if "val/swd" in point]
    return point, json.loads((run / BEST_MODEL / "metrics.json").read_text())


@pytest.mark.slow
def test_a_model_from_noise_is_validated_by_as_many_samples_as_there_are_real_images(images_root, tmp_path):
    said = []
    point, best = tiny_run("dcgan", images_root, tmp_path / "run", noise_size=4, hold_out=0.0, say=said.append)
    assert best["protocol"]["samples"] == best["protocol"]["real_images"] == 2
    assert best["protocol"]["split"] == "test"
    again = api.evaluate(tmp_path / "run" / BEST_MODEL, images_root, metrics=["swd"], say=None, device="cpu")
    assert again["metrics"]["swd"]["value"] == pytest.approx(point["val/swd"], rel=1e-6)


@pytest.mark.slow
def test_a_model_of_many_domains_is_validated_on_each(domains_root, tmp_path):
    flags = {"n_critic": 1, "hold_out": 0.0, "evaluate_metrics": "swd,edge_correlation"}
    point, best = tiny_run("stargan", domains_root, tmp_path / "run", **flags)
    domains = best["domains"]
    assert list(domains) == ["black", "blond", "brown"]
    assert [each["protocol"]["to"] for each in domains.values()] == list(domains)
    mean = sum(each["metrics"]["swd"]["value"] for each in domains.values()) / 3
    assert point["val/swd"] == best["metrics"]["swd"]["value"] == pytest.approx(mean, rel=1e-12)
    assert {"val/edge_correlation"} <= point.keys()
    assert (best["protocol"]["to"], best["protocol"]["split"]) == ("all", "test")


@pytest.mark.slow
def test_validation_does_not_change_the_weights_of_whole_or_resumed_runs(season, whole, tmp_path):
    train(season, tmp_path / "without", evaluate_every=None)
    for images in (6, 12):
        train(season, tmp_path / "cut", images=images)
    for run in ("without", "cut"):
        left, right = (place / "model" / "model.safetensors" for place in (whole, tmp_path / run))
        assert left.read_bytes() == right.read_bytes()
    ours, theirs = (checkpoint.load_newest(run, pytest.fail)["validation"] for run in (whole, tmp_path / "cut"))
    assert ours["best"] == theirs["best"]


@pytest.mark.slow
def test_a_run_without_improvement_stops_early_until_patience_grows(season, tmp_path, monkeypatch):
    monkeypatch.setattr("translate.api.validation.ValidationEvaluator.__call__", lambda *words: {"swd": 1.0})
    said = []
    assert train(season, tmp_path, images=100, patience=2, say=said.append).images == 12
    assert "no better for 2 validations" in said[-1]
    said.clear()
    assert train(season, tmp_path, images=100, patience=2, say=said.append).images == 12
    assert "stopped early after 12 images" in said[-1]
    assert train(season, tmp_path, images=100, patience=3, say=said.append).images == 16


@pytest.mark.slow
def test_a_signal_during_validation_stops_the_run_and_the_resumed_run_chooses_the_same_model(
    season, whole, tmp_path, monkeypatch
):
    read, calls = find.read_model, []

    def asked_to_stop(place):
        calls.append(place)
        if len(calls) == 4:  # the averages of the second validation
            os.kill(os.getpid(), signal.SIGTERM)
        return read(place)

    with monkeypatch.context() as patch:
        patch.setattr("translate.api.validation.find.read_model", asked_to_stop)
        with pytest.raises(Interrupted, match="stopped at 8 of 12"):
            train(season, tmp_path / "cut")
    assert checkpoint.load_newest(tmp_path / "cut", pytest.fail)["validation"]["due"]
    train(season, tmp_path / "cut")
    ours, theirs = (checkpoint.load_newest(run, pytest.fail)["validation"] for run in (whole, tmp_path / "cut"))
    assert ours == theirs
    assert [p["images"] for p in read_stats(tmp_path / "cut") if "val/swd" in p] == [4, 8, 12]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"evaluate_metrics": "beauty"}, "--metrics beauty: unknown"),
        ({"evaluate_metrics": "l1", "best_by": "swd"}, "--best-by swd: not among --evaluate-metrics l1"),
        ({"evaluate_metrics": "fid"}, "defined on Inception"),
    ],
)
def test_impossible_metrics_are_refused_before_the_first_step(flags, words, season, tmp_path):
    with pytest.raises(UsageError, match=words):
        train(season, tmp_path / "run", **flags)
    assert not (tmp_path / "run" / "stats.jsonl").exists()

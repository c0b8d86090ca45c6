"""Measuring a training on a fixed set: which images these are, which model is the best, and when to stop."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

import translate
from translate import api
from translate.api.validation import split_for_validation
from translate.data import layouts
from translate.data.split import ImageRef, Split
from translate.errors import DataError, Interrupted, UsageError
from translate.methods.cyclegan import CycleGAN
from translate.run_folder import BEST_MODEL
from translate.training import checkpoint
from translate.training.ema import EMA
from translate.training.validation import Validation, ValidationDeferred

SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "log_every": 4, "save_every": 4, "device": "cpu",
    "watch": False, "sample_every": 1000, "say": lambda line: None,
}  # fmt: skip


def refs(folder, names):
    return tuple(ImageRef(folder / f"{name}.png") for name in names)


class TestWhichImages:
    NAMES = [f"{n:03d}" for n in range(40)]

    def test_a_share_of_the_names_goes_in_both_domains(self, tmp_path):
        split = Split(refs(tmp_path / "A", self.NAMES), refs(tmp_path / "B", self.NAMES[:20]), paired=False)
        rest, aside = split.hold_out(0.2)
        names = [{ref.path.stem for ref in side} for side in (rest.a, aside.a, rest.b, aside.b)]
        assert len(aside.a) == 8
        assert names[0] | names[1] == set(self.NAMES)
        assert not (names[0] & names[1] or names[2] & names[1] or names[3] & names[0])

    def test_pairs_stay_together(self, tmp_path):
        split = Split(refs(tmp_path / "A", self.NAMES), refs(tmp_path / "B", self.NAMES), paired=True)
        for part in split.hold_out(0.1):
            assert [a.path.stem for a in part.a] == [b.path.stem for b in part.b]

    def test_one_more_file_moves_few_others(self, tmp_path):
        def aside(names):
            split = Split(refs(tmp_path / "A", names), refs(tmp_path / "B", names), paired=True)
            return {ref.path.stem for ref in split.hold_out(0.25)[1].a}

        assert len(aside(self.NAMES) ^ aside([*self.NAMES, "new"])) <= 2

    def test_a_domain_without_images_is_refused(self, tmp_path):
        split = Split(refs(tmp_path / "A", ["x"]), refs(tmp_path / "B", ["y"]), paired=False)
        with pytest.raises(DataError, match=r"--hold-out 0.5: of 1 and 1 images it leaves a domain without any"):
            split.hold_out(0.5)

    def test_a_subset_is_spread_evenly(self, tmp_path):
        split = Split(refs(tmp_path / "A", self.NAMES), refs(tmp_path / "B", self.NAMES), paired=True).subsample(4)
        assert [ref.path.stem for ref in split.a] == ["000", "010", "020", "030"] == [b.path.stem for b in split.b]

    def cfg(self, **flags):
        return CycleGAN.resolve_config(
            translate.config.resolve(CycleGAN.Config, ("test", {"evaluate_every": 4, **flags}))
        )

    def divided(self, root, **flags):
        said = []
        train = layouts.find_split(root, "unpaired")
        return train, *split_for_validation(root, "unpaired", self.cfg(**flags), train, said.append), said

    def test_val_comes_first(self, unpaired_root, tmp_path):
        root = shutil.copytree(unpaired_root, tmp_path / "root")
        for domain in "AB":
            shutil.copytree(root / f"train{domain}", root / f"val{domain}")
        train, rest, known, said = self.divided(root, hold_out=0.3)
        assert (known.name, rest, said) == ("val", train, [])

    def test_then_what_is_held_out(self, unpaired_root):
        train, rest, known, said = self.divided(unpaired_root, hold_out=0.3)
        assert known.name == "held out of train"
        assert len(rest.a) + len(known.split.a) == len(train.a)
        assert said == []

    def test_then_test_with_a_warning(self, unpaired_root, tmp_path):
        root = shutil.copytree(unpaired_root, tmp_path / "root")
        for domain in "AB":
            if not (root / f"test{domain}").exists():
                shutil.copytree(root / f"train{domain}", root / f"test{domain}")
        train, rest, known, said = self.divided(root)
        assert (known.name, rest) == ("test", train)
        assert len(said) == 1
        assert "test images choose the best model" in said[0]

    def test_else_it_cannot_be(self, unpaired_root, tmp_path):
        root = tmp_path / "root"
        for domain in "AB":
            shutil.copytree(unpaired_root / f"train{domain}", root / f"train{domain}")
        with pytest.raises(UsageError, match=r"neither val nor test images; --hold-out 0.1 sets"):
            self.divided(root)
        assert self.divided(root, evaluate_every=None)[2] is None


class Given:
    """Measures what it is told."""

    chosen = "score"

    def __init__(self, values, higher=False):
        self.values, self.higher = iter(values), higher

    def __call__(self, model, is_stopping):
        assert (model / "weights").read_text() == "now"
        if is_stopping():
            raise ValidationDeferred
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        (model / "metrics.json").write_text(str(value))
        return {"score": value}


def validation(tmp_path, values, *, higher=False, patience=None, said=None):
    def write(place):
        (place / "weights").write_text("now")

    averages = EMA(CycleGAN.on_meta(CycleGAN.Config()), (), 0)
    say = (lambda line: None) if said is None else said.append
    return Validation(Given(values, higher), tmp_path, write, averages, patience, say)


class TestWhichModel:
    @pytest.mark.parametrize(("higher", "best", "at"), [(False, 1.0, 3), (True, 5.0, 2)])
    def test_the_best_is_kept(self, higher, best, at, tmp_path):
        check = validation(tmp_path, [3.0, 5.0, 1.0, 1.0, 2.0], higher=higher)
        for images in range(1, 6):
            figures = check(images)
            assert set(figures) == {"val/score", "time/validation_seconds"}
        assert (check.best, check.best_at) == (best, at)
        assert (tmp_path / BEST_MODEL / "metrics.json").read_text() == str(best)
        assert [path.name for path in tmp_path.iterdir()] == [BEST_MODEL]

    def test_it_ends_after_so_many_that_were_no_better(self, tmp_path):
        check = validation(tmp_path, [3.0, 3.0, 2.0, 4.0, 4.0, 4.0], patience=3)
        ends = []
        for images in range(6):
            check(images)
            ends.append(check.should_stop)
        assert ends == [False, False, False, False, False, True]

    def test_its_state_goes_on(self, tmp_path):
        first, second = (validation(tmp_path, values) for values in ([3.0, 4.0], [3.5, 2.0]))
        for images in (1, 2):
            first(images)
        second.load_state(first.state())
        second(3)
        assert (second.best, second.best_at, second.misses) == (3.0, 1, 2)
        second(4)
        assert (second.best, second.best_at, second.misses) == (2.0, 4, 0)

    def test_another_figure_begins_anew(self, tmp_path):
        check = validation(tmp_path, [])
        check.load_state({"chosen": "other", "best": 0.0, "best_at": 7, "misses": 2})
        assert (check.best, check.misses) == (None, 0)

    def test_a_figure_that_cannot_be_had_is_said_once(self, tmp_path):
        said = []
        check = validation(tmp_path, [DataError("too few"), DataError("too few"), 1.0], said=said)
        assert set(check(1)) == {"time/validation_seconds"}
        check(2)
        assert said == ["warning: no validation after 1 images: too few"]
        check(3)
        assert check.best == 1.0

    def test_who_asks_for_the_end_does_not_wait_and_it_is_made_up_for(self, tmp_path):
        check, again = validation(tmp_path, [1.0]), validation(tmp_path, [2.0])
        assert set(check(1, lambda: True)) == {"time/validation_seconds"}
        again.load_state(check.state())
        assert again.is_deferred
        again(1)
        assert (again.best, again.is_deferred) == (2.0, False)


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """A set whose val folders match by name."""
    root = tmp_path_factory.mktemp("season")
    rng = np.random.default_rng(0)
    for folder, count in (("trainA", 5), ("trainB", 6), ("valA", 4), ("valB", 4)):
        (root / folder).mkdir()
        for n in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(root / folder / f"{n}.png")
    return root


def train(root, run, **flags):
    flags = {"images": 12, "evaluate_every": 4, "generator": "resnet_3blocks", "ema_half_life": 4, **flags}
    return translate.train("cyclegan", root, run=run, **{**SMALL, **flags})


def stats(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_figures_are_those_of_evaluate_and_the_best_model_is_the_one_that_had_them(season, tmp_path):
    train(season, tmp_path)
    points = [point for point in stats(tmp_path) if "val/swd" in point]
    assert [point["images"] for point in points] == [4, 8, 12]
    assert all(point["val_ema/swd"] != point["val/swd"] for point in points)
    assert {"val/l1", "val/ssim", "val/cycle_psnr", "time/validation_seconds"} <= points[0].keys()  # hidden truth too
    best = json.loads((tmp_path / BEST_MODEL / "metrics.json").read_text())
    assert best["metrics"]["swd"]["value"] == min(point["val_ema/swd"] for point in points)
    assert best["protocol"]["split"] == "val"
    again = api.evaluate(tmp_path / BEST_MODEL, season, split="val", metrics=["swd", "l1"], say=lambda line: None)
    for name in ("swd", "l1"):
        assert again["metrics"][name]["value"] == pytest.approx(best["metrics"][name]["value"], rel=1e-6)


def test_it_changes_nothing_of_the_training_and_a_cut_run_ends_alike(season, tmp_path):
    train(season, tmp_path / "with")
    train(season, tmp_path / "without", evaluate_every=None)
    for images in (6, 12):
        train(season, tmp_path / "cut", images=images)
    for run in ("without", "cut"):
        left, right = (tmp_path / place / "model" / "model.safetensors" for place in ("with", run))
        assert left.read_bytes() == right.read_bytes()
    whole, cut = (checkpoint.load_newest(tmp_path / run, pytest.fail)["validation"] for run in ("with", "cut"))
    assert whole["best"] == cut["best"]


def test_a_run_that_does_not_get_better_ends_early_and_stays_so(season, tmp_path, monkeypatch):
    monkeypatch.setattr("translate.api.validation.ValidationEvaluator.__call__", lambda *words: {"swd": 1.0})
    said = []
    assert train(season, tmp_path, images=100, patience=2, say=said.append).images == 12
    assert "no better for 2 validations" in said[-1]
    said.clear()
    assert train(season, tmp_path, images=100, patience=2, say=said.append).images == 12
    assert "stopped early after 12 images" in said[-1]
    assert train(season, tmp_path, images=100, patience=3, say=said.append).images == 16


def test_a_signal_in_a_validation_ends_the_run_and_the_best_is_that_of_an_uninterrupted_one(
    season, tmp_path, monkeypatch
):
    train(season, tmp_path / "whole")
    read, calls = translate.api.validating.translator.read, []

    def asked_to_stop(place):
        calls.append(place)
        if len(calls) == 4:  # the averages of the second validation
            os.kill(os.getpid(), signal.SIGTERM)
        return read(place)

    with monkeypatch.context() as patch:
        patch.setattr("translate.api.validation.translator.read", asked_to_stop)
        with pytest.raises(Interrupted, match="stopped at 8 of 12"):
            train(season, tmp_path / "cut")
    assert checkpoint.load_newest(tmp_path / "cut", pytest.fail)["validation"]["due"]
    train(season, tmp_path / "cut")
    whole, cut = (checkpoint.load_newest(tmp_path / run, pytest.fail)["validation"] for run in ("whole", "cut"))
    assert whole == cut
    assert [p["images"] for p in stats(tmp_path / "cut") if "val/swd" in p] == [4, 8, 12]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"evaluate_metrics": "beauty"}, "--metrics beauty: unknown"),
        ({"evaluate_metrics": "l1", "best_by": "swd"}, "--best-by swd: not among --evaluate-metrics l1"),
        ({"evaluate_metrics": "fid"}, "defined on Inception"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_first_step(flags, words, season, tmp_path):
    with pytest.raises(UsageError, match=words):
        train(season, tmp_path / "run", **flags)
    assert not (tmp_path / "run" / "stats.jsonl").exists()

"""Losses or weights that are no longer finite: the run rolls back once, then ends and names the images."""

import os

import pytest
import torch

from translate import run_folder
from translate.data.loader import Loader
from translate.errors import DivergedError
from translate.training import checkpoint

from ..helpers import read_stats
from .helpers import PowerCut, act_before_image, model_bytes, train_cyclegan

SEED = 0


def poison(monkeypatch, when):
    """NaN in the images of a batch for which `when(first image, seed of draws)` holds."""
    batches = Loader.batches

    def poisoned(self, start):
        for n, batch in enumerate(batches(self, start)):
            bad = when(start + n, self.context.sampler.seed)
            yield {name: x * float("nan") for name, x in batch.items()} if bad else batch

    monkeypatch.setattr(Loader, "batches", poisoned)


def test_a_run_is_rolled_back_once_and_goes_on_with_other_draws(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    said = []
    train_cyclegan(unpaired_root, tmp_path, said.append, images=10)
    (line,) = (line for line in said if "rolled back" in line)
    assert "g/cycle_a" in line
    assert "was not finite in step 6 (after 5 images)" in line
    assert "trainA" in line
    assert "rolled back to 4 images" in line
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    assert (state["images"], state["rollbacks"]) == (10, 1)
    assert all(torch.isfinite(x).all() for x in state["method"].values())
    stats = [line["images"] for line in read_stats(tmp_path)]
    assert stats == [2, 4, 6, 8, 10]


@pytest.mark.slow
def test_after_a_roll_back_the_order_dropout_and_keys_are_others(unpaired_root, tmp_path, monkeypatch):
    """The run that met the bad batch and one that did not part at the checkpoint and not before."""
    train_cyclegan(unpaired_root, tmp_path / "spared", images=10, keep_every=4)
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    train_cyclegan(unpaired_root, tmp_path / "met", images=10, keep_every=4)
    left, right = (checkpoint.load(tmp_path / run / "state-4.ckpt")["method"] for run in ("spared", "met"))
    assert all(torch.equal(x, right[name]) for name, x in left.items())
    assert model_bytes(tmp_path / "spared") != model_bytes(tmp_path / "met")


@pytest.mark.slow
def test_a_run_that_is_cut_after_its_roll_back_ends_with_the_same_bits(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    train_cyclegan(unpaired_root, tmp_path / "whole", images=10)
    for images in (6, 9, 10):
        train_cyclegan(unpaired_root, tmp_path / "cut", images=images)
    assert model_bytes(tmp_path / "whole") == model_bytes(tmp_path / "cut")


@pytest.mark.slow
def test_a_run_that_is_killed_in_its_roll_back_ends_with_the_same_bits(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 5 and seed == SEED)
    train_cyclegan(unpaired_root, tmp_path / "whole", images=10)
    for place in ("fsync", "rename"):  # before the state with the new draws is on disk, and after
        with monkeypatch.context() as patch:
            act_before_image(patch, 5, lambda place=place, patch=patch: patch.setattr(os, place, power_cut))
            with pytest.raises(PowerCut):
                train_cyclegan(unpaired_root, tmp_path / place, images=10)
        train_cyclegan(unpaired_root, tmp_path / place, images=10)
        assert model_bytes(tmp_path / "whole") == model_bytes(tmp_path / place)


def test_a_second_divergence_ends_the_run_and_names_the_images(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == (5 if seed == SEED else 7))
    seen, batches = [], Loader.batches

    def watched(self, start):
        for n, batch in enumerate(batches(self, start)):
            if start + n == 7 and self.context.sampler.seed != SEED:
                seen.extend(self.context.sampler.files(torch.tensor([7])))
            yield batch

    monkeypatch.setattr(Loader, "batches", watched)
    with pytest.raises(DivergedError, match=r"diverged again .*g/adv_ab.* step 8 \(after 7 images\)") as caught:
        train_cyclegan(unpaired_root, tmp_path, images=10)
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)
    assert len(seen) == 2
    assert all(repr(str(path)) in str(caught.value) for path in seen)
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    assert (state["images"], state["rollbacks"]) == (4, 1)
    with pytest.raises(DivergedError, match="diverged again"):  # the same command again: the count is in the checkpoint
        train_cyclegan(unpaired_root, tmp_path, images=10)


def test_a_divergence_before_the_first_checkpoint_ends_the_run(unpaired_root, tmp_path, monkeypatch):
    poison(monkeypatch, lambda n, seed: n == 1)
    with pytest.raises(DivergedError, match="before its first checkpoint"):
        train_cyclegan(unpaired_root, tmp_path, images=10)


def test_a_checkpoint_that_is_not_finite_is_nothing_to_go_back_to(unpaired_root, tmp_path, monkeypatch):
    train_cyclegan(unpaired_root, tmp_path, images=4)
    state = checkpoint.load_newest(tmp_path, pytest.fail)
    state["method"]["g_ab.model.1.weight"].view(-1)[0] = float("inf")
    checkpoint.save(tmp_path, state)
    with pytest.raises(DivergedError, match="the last checkpoint is not finite either"):
        train_cyclegan(unpaired_root, tmp_path, images=8)


def test_weights_that_are_not_finite_are_never_saved(unpaired_root, tmp_path, monkeypatch):
    """A rate so large that the weights overflow in the step before the save, while its losses were finite."""
    with pytest.raises(DivergedError, match="weights of g, weights of d was not finite in step 1"):
        train_cyclegan(unpaired_root, tmp_path, images=8, save_every=1, lr=1e39)
    assert run_folder.list_checkpoints(tmp_path) == []


def power_cut(*args):
    raise PowerCut

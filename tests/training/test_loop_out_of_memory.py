"""A step that runs out of memory: smaller micro-batches, or one line of advice."""

import pytest
import torch

import translate
from translate.errors import UsageError
from translate.methods.cyclegan import CycleGAN
from translate.training import checkpoint

from .helpers import SMALL, train_cyclegan


class Short:
    """CycleGAN's step, out of memory after its first update wherever a micro-batch is too large."""

    def __init__(self, most, step):
        self.most, self.at, self.real = most, step, CycleGAN.step

    def __call__(self, method, batch, clock, scheduled):
        for number, update in enumerate(self.real(method, batch, clock, scheduled)):
            if number == 1 and clock.step >= self.at and len(batch["a"]) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
            yield update


LARGE = {"batch_size": 4, "images": 16, "precision": "fp64", "save_every": 8}


def run_short(monkeypatch, short):
    monkeypatch.setattr(CycleGAN, "step", lambda method, *given: short(method, *given))


@pytest.mark.slow
@pytest.mark.parametrize(("most", "step", "parts"), [(2, 3, 2), (1, 0, 4)])
def test_out_of_memory_splits_the_batch_and_changes_nothing_else(
    most, step, parts, unpaired_root, tmp_path, monkeypatch
):
    train_cyclegan(unpaired_root, tmp_path / "roomy", **LARGE)
    run_short(monkeypatch, Short(most, step))
    said = []
    train_cyclegan(unpaired_root, tmp_path / "short", said.append, auto_batch=True, **LARGE)
    lines = [line for line in said if "out of memory" in line]
    assert len(lines) == (2 if most == 1 else 1)
    assert f"after {8 if step else 0} images with --accumulate {parts}" in lines[-1]
    left, right = (checkpoint.load_newest(tmp_path / run, pytest.fail) for run in ("roomy", "short"))
    assert right["accumulate"] == parts
    for name, x in left["method"].items():
        torch.testing.assert_close(x, right["method"][name], rtol=0, atol=1e-6)  # as in tests/contract
    said.clear()
    train_cyclegan(unpaired_root, tmp_path / "short", said.append, auto_batch=True, **{**LARGE, "images": 20})
    assert not [line for line in said if "out of memory" in line]  # what was learnt is kept


def test_out_of_memory_is_one_line_of_advice(unpaired_root, tmp_path, monkeypatch):
    run_short(monkeypatch, Short(1, 3))
    numbers = (
        r"--batch-size 4 --crop-size 32 --accumulate 1: [\d.]+ [GM]iB are free, this process has used [\d.]+ [GM]iB"
    )
    with pytest.raises(UsageError, match=rf"step 4 with {numbers}; use --accumulate 2 or --auto-batch on") as caught:
        train_cyclegan(unpaired_root, tmp_path, **LARGE)
    assert "\n" not in str(caught.value)
    assert checkpoint.load_newest(tmp_path, pytest.fail)["images"] == 8
    run_short(monkeypatch, Short(0, 0))
    with pytest.raises(UsageError, match="use a smaller --crop-size"):
        train_cyclegan(unpaired_root, tmp_path / "least", auto_batch=True, **LARGE)


def test_other_errors_of_a_step_are_not_taken_for_it(unpaired_root, tmp_path, monkeypatch):
    def broken(method, batch, clock, scheduled):
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(CycleGAN, "step", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train_cyclegan(unpaired_root, tmp_path, auto_batch=True, **LARGE)


def test_a_batch_whose_images_influence_each_other_is_not_split_by_itself(paired_root, tmp_path):
    with pytest.raises(UsageError, match=r"--auto-batch on: .*\(batch norm\).*--norm instance --dropout off"):
        translate.train("pix2pix", paired_root, run=tmp_path, say=pytest.fail, images=2, auto_batch=True, **SMALL)


def test_micro_batches_may_change_where_they_decide_nothing(unpaired_root, paired_root, tmp_path):
    train_cyclegan(unpaired_root, tmp_path / "a", images=4, batch_size=2)
    train_cyclegan(unpaired_root, tmp_path / "a", images=8, batch_size=2, accumulate=2)
    flags = {**SMALL, "batch_size": 2, "say": lambda line: None}
    translate.train("pix2pix", paired_root, run=tmp_path / "b", images=4, **flags)
    with pytest.raises(UsageError, match="accumulate: 1 in the run, 2 now"):
        translate.train("pix2pix", paired_root, run=tmp_path / "b", images=8, accumulate=2, **flags)

"""Loaders of the stages of a training's data, one after another: as CUT's whole images while the rate falls."""

import shutil
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch

from translate import api
from translate.api import training_data
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions, fixed_batch, preparation_batches
from translate.data.preprocessing import Preprocessing
from translate.methods import METHODS
from translate.methods.base import DataStage
from translate.training.schedule import Schedule

CPU = torch.device("cpu")


@pytest.fixture
def load(unpaired_root):
    def load(load_size: int) -> Loader:
        split = layouts.find_split(unpaired_root, "unpaired")
        recipe = Preprocessing(load_size, 16, True, (3, 3))
        return Loader(split, recipe, LoaderOptions(batch_size=2, seed=5), device=CPU, say=lambda line: None)

    return load


def two(load, image: int, later=None) -> list[training_data.StageLoader]:
    """Loaders of images of 20 pixels, and of 16 from `image` on."""
    return [
        training_data.StageLoader(0, lambda: load(20)),
        training_data.StageLoader(image, later or (lambda: load(16))),
    ]


def take(batches, count: int) -> list[torch.Tensor]:
    return [torch.cat([batch["a"], batch["b"]]).clone() for batch in islice(batches, count)]


@pytest.mark.parametrize("image", [5, 6])
def test_the_step_that_begins_at_the_image_or_after_it_is_the_first(load, image):
    """Of batches of 2: with 5, images 4 and 5 are still a batch of the first loader."""
    run = training_data.loop_data(two(load, image), {})
    whole = take(run.batches(0, 5), 6)
    first, later = take(load(20).batches(0), 3), take(load(16).batches(6), 3)
    torch.testing.assert_close(whole, first + later, rtol=0, atol=0)


@pytest.mark.parametrize("start", [2, 6, 10])
def test_a_run_that_goes_on_sees_what_one_that_was_not_stopped_sees(load, start):
    run = training_data.loop_data(two(load, 6), {})
    whole = take(run.batches(0, 5), 8)
    torch.testing.assert_close(take(run.batches(start, 5), 8 - start // 2), whole[start // 2 :], rtol=0, atol=0)


def test_other_draws_after_going_back_are_of_both_loaders(load):
    run = training_data.loop_data(two(load, 6), {})
    before, after = (take(run.batches(0, seed), 6) for seed in (5, 6))
    assert not any(torch.equal(x, y) for x, y in zip(before, after, strict=True))


def test_the_second_loader_is_made_once_and_only_when_it_is_needed(load):
    made = []
    run = training_data.loop_data(two(load, 4, later=lambda: made.append(load(16)) or made[-1]), {})
    assert (take(run.batches(0, 5), 2), len(made))[1] == 0
    take(run.batches(0, 5), 3)
    take(run.batches(4, 5), 1)
    assert len(made) == 1


def test_the_rate_falls_from_there():
    by_images = Schedule(10, 0, 0, images=100, decay_images=30)
    assert by_images.decays_from == 70
    assert [by_images.factor(n) for n in (70, 73, 100)] == [1, 0.9, 0]
    by_epochs = Schedule(10, 4, 3)
    assert by_epochs.decays_from == 40
    assert [by_epochs.factor(n) for n in (39, 40, 60)] == [1, 0.75, 0.25]


def test_three_stages_of_other_batches_follow_each_other(load, unpaired_root):
    """Batches of 2, then of 3 from image 5 on, that is from 6, then of 1 from image 10 on, that is from 12."""
    split, recipe = layouts.find_split(unpaired_root, "unpaired"), Preprocessing(20, 16, True, (3, 3))
    stages = [DataStage(image, 20, 16, size) for image, size in ((0, 2), (5, 3), (10, 1))]
    build = partial(Loader, device=CPU, say=lambda line: None)
    loaders = training_data.stage_loaders(stages, split, recipe, LoaderOptions(batch_size=2, seed=5), build)
    run = training_data.loop_data(loaders, {})
    sizes = [len(batch["a"]) for batch in islice(run.batches(0, 5), 8)]
    assert sizes == [2, 2, 2, 3, 3, 1, 1, 1]
    numbered = take(run.batches(0, 5), 8)
    for start, skipped in ((6, 3), (9, 4), (13, 6)):
        torch.testing.assert_close(take(run.batches(start, 5), 8 - skipped), numbered[skipped:], rtol=0, atol=0)


def test_images_to_prepare_from_are_evenly_spaced_and_readable(unpaired_root, tmp_path):
    root = shutil.copytree(unpaired_root, tmp_path / "data")
    split, recipe = layouts.find_split(root, "unpaired"), Preprocessing(20, 16, True, (3, 3))
    split.a[0].path.write_bytes(b"no image")
    batches = list(preparation_batches(split, recipe, 3, CPU, torch.float64))
    shown = fixed_batch(split, recipe, 3, CPU, torch.float64)
    assert len(batches) == 2, "the first image of domain a cannot be read"
    for n, batch in enumerate(batches, start=1):
        assert {name: x.shape for name, x in batch.items()} == {"a": (1, 3, 16, 16), "b": (1, 3, 16, 16)}
        for domain, image in batch.items():
            torch.testing.assert_close(image[0], shown[domain][n], rtol=0, atol=0)


def test_cut_has_a_second_stage_of_whole_images():
    cut = METHODS["cut"]
    cfg = replace(cut.Config(), load_size=36, crop_size=32, batch_size=2)
    assert cut.stages(cfg, 4, 2) == (DataStage(0, 36, 32, 2), DataStage(2, 32, 32, 2))
    assert len(cut.stages(replace(cfg, whole_in_decay=False), 4, 2)) == 1
    assert len(cut.stages(replace(cfg, load_size=32), 4, 2)) == 1


def test_a_training_with_stages_uses_both(unpaired_root, tmp_path, monkeypatch):
    seen, loop_data = [], training_data.loop_data
    monkeypatch.setattr(
        training_data, "loop_data", lambda stages, sample: seen.extend(stages) or loop_data(stages, sample)
    )
    small = {"crop_size": 32, "load_size": 36, "g_width": 2, "d_width": 2, "batch_size": 2, "device": "cpu"}
    flags = {**small, "images": 4, "decay_images": 2, "generator": "antialias_1blocks", "watch": False}
    api.train("cut", unpaired_root, run=tmp_path / "x", say=lambda line: None, **flags)
    assert [(stage.image, stage.loaders[0].context.preprocessing.load_size) for stage in seen] == [(0, 36), (2, 32)]

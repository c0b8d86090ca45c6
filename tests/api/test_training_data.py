"""Another loader for the last part of a run: CUT's whole images while the rate falls."""

from itertools import islice
from typing import ClassVar

import pytest
import torch

from translate import api
from translate.api import training_data
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.training.schedule import Schedule

CPU = torch.device("cpu")


@pytest.fixture
def load(unpaired_root):
    def load(load_size: int) -> Loader:
        split = layouts.find_split(unpaired_root, "unpaired")
        recipe = Preprocessing(load_size, 16, True, (3, 3))
        return Loader(split, recipe, LoaderOptions(batch_size=2, seed=5), device=CPU, say=lambda line: None)

    return load


def take(batches, count: int) -> list[torch.Tensor]:
    return [torch.cat([batch["a"], batch["b"]]).clone() for batch in islice(batches, count)]


@pytest.mark.parametrize("image", [5, 6])
def test_the_step_that_begins_at_the_image_or_after_it_is_the_first(load, image):
    """Of batches of 2: with 5, images 4 and 5 are still a batch of the first loader."""
    run = training_data.loop_data(load(20), {}, training_data.LaterLoader(image, lambda: load(16)))
    whole = take(run.batches(0, 5), 6)
    first, later = take(load(20).batches(0), 3), take(load(16).batches(6), 3)
    torch.testing.assert_close(whole, first + later, rtol=0, atol=0)


@pytest.mark.parametrize("start", [2, 6, 10])
def test_a_run_that_goes_on_sees_what_one_that_was_not_stopped_sees(load, start):
    run = training_data.loop_data(load(20), {}, training_data.LaterLoader(6, lambda: load(16)))
    whole = take(run.batches(0, 5), 8)
    torch.testing.assert_close(take(run.batches(start, 5), 8 - start // 2), whole[start // 2 :], rtol=0, atol=0)


def test_other_draws_after_going_back_are_of_both_loaders(load):
    run = training_data.loop_data(load(20), {}, training_data.LaterLoader(6, lambda: load(16)))
    before, after = (take(run.batches(0, seed), 6) for seed in (5, 6))
    assert not any(torch.equal(x, y) for x, y in zip(before, after, strict=True))


def test_the_second_loader_is_made_once_and_only_when_it_is_needed(load):
    made = []
    run = training_data.loop_data(load(20), {}, training_data.LaterLoader(4, lambda: made.append(load(16)) or made[-1]))
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


class RecordedLoader(training_data.LaterLoader):
    """A later loader that notes from which image on it is used, and the load size of its images."""

    asked: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, image, load):
        super().__init__(image, load)
        self.asked.append((self.image, self.load().context.preprocessing.load_size))


def test_cut_asks_for_it(unpaired_root, tmp_path, monkeypatch):
    monkeypatch.setattr(training_data, "LaterLoader", RecordedLoader)
    monkeypatch.setattr(RecordedLoader, "asked", asked := [])
    small = {"crop_size": 32, "load_size": 36, "g_width": 2, "d_width": 2, "batch_size": 2, "device": "cpu"}
    flags = {**small, "images": 4, "decay_images": 2, "generator": "antialias_1blocks", "watch": False}
    api.train("cut", unpaired_root, run=tmp_path / "x", say=lambda line: None, **flags)
    assert asked == [(2, 32)]
    api.train("cut", unpaired_root, run=tmp_path / "y", say=lambda line: None, **flags, whole_in_decay=False)
    assert len(asked) == 1

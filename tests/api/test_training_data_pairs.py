"""Batches of known pairs beside those of unpaired images: the same crops of both sides, for all loaders and processes."""

from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from translate import config
from translate.api import training_data
from translate.data import layouts
from translate.data.known_pairs import find_pairs
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.methods import METHODS
from translate.methods.base import DataStage

CPU = torch.device("cpu")
STAGES = (DataStage(0, 20, 16, 2), DataStage(6, 16, 16, 2))
RECIPE = Preprocessing(20, 16, True, (3, 3))


@pytest.fixture
def everything(paired_root):
    """Six images of a and of b, drawn apart; b is a with its colours inverted."""
    return layouts.find_split(paired_root, "unpaired")


@pytest.fixture
def pairs(paired_root, everything, tmp_path):
    """Four of them, known."""
    table = tmp_path / "pairs.csv"
    table.write_text("".join(f"{n}.png,{n}.png\n" for n in (0, 2, 3, 5)))
    return find_pairs(str(table), paired_root, everything, "a2b").split


def make_data(split, pairs, **options):
    """Return the training data of two stages; of tier resident unless the options say otherwise."""
    chosen = LoaderOptions(**{"batch_size": 2, "seed": 5, "tier": "resident", "workers": 0, **options})
    build = partial(Loader, device=CPU, say=lambda line: None)
    stages = [replace(stage, batch_size=chosen.batch_size) for stage in STAGES]
    return training_data.loop_data(training_data.stage_loaders(stages, split, RECIPE, chosen, build, pairs), {})


def take(data, count, start=0, seed=5):
    return [{name: x.clone() for name, x in batch.items()} for batch in islice(data.batches(start, seed), count)]


def same(first, second):
    return len(first) == len(second) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(first, second, strict=True)
    )


def test_pairs_are_what_a_loader_of_them_alone_gives(everything, pairs):
    options = LoaderOptions(batch_size=2, seed=training_data.pair_seed(5), tier="resident")
    alone = Loader(pairs, RECIPE, options, device=CPU, say=lambda line: None).batches(0)
    for batch, expected in zip(take(make_data(everything, pairs), 3), alone, strict=False):
        assert torch.equal(batch["pair_a"], expected["a"])
        assert torch.equal(batch["pair_b"], expected["b"])


@pytest.mark.parametrize("augment", [(), ("rotate", "affine")])
def test_both_sides_of_a_pair_are_cropped_flipped_and_augmented_alike(everything, pairs, augment):
    """b is the inverse of a before, so it is after: to the rounding of the resize to 8 bits, of each side by itself."""
    for batch in take(make_data(everything, pairs, augmentations=augment), 6):
        assert (batch["pair_a"] + batch["pair_b"]).abs().max() < 3 * 2 / 255
        assert (batch["a"] + batch["b"]).abs().max() > 0.1, "images drawn apart are not"


def test_unpaired_images_are_those_of_a_run_without_pairs(everything, pairs):
    with_pairs, without = (take(make_data(everything, known), 6) for known in (pairs, None))
    assert same([{name: batch[name] for name in "ab"} for batch in with_pairs], without)


@pytest.mark.parametrize(
    "options",
    [{"tier": "ram"}, {"tier": "stream"}, pytest.param({"tier": "stream", "workers": 1}, marks=pytest.mark.slow)],
)
def test_all_loaders_give_the_same_pairs(everything, pairs, options, quick_workers):
    assert same(take(make_data(everything, pairs, **options), 5), take(make_data(everything, pairs), 5))


def test_processes_share_the_pairs_of_a_step(everything, pairs):
    whole = take(make_data(everything, pairs, batch_size=4), 3)
    parts = [take(make_data(everything, pairs, rank=rank, world_size=2), 3) for rank in range(2)]
    joined = [{name: torch.cat([x[name], y[name]]) for name in x} for x, y in zip(*parts, strict=True)]
    assert same(joined, whole)


@pytest.mark.parametrize("start", [2, 6, 10])
def test_a_run_that_is_resumed_sees_the_same_pairs(everything, pairs, start):
    """Before, at and after the second stage, whose images are resized to the crop."""
    whole = take(make_data(everything, pairs), 8)
    assert same(take(make_data(everything, pairs), 8 - start // 2, start), whole[start // 2 :])


def test_every_pair_comes_once_before_one_comes_again(everything, pairs):
    """Of four pairs in batches of two: images 0 to 3 of the run are all of them, and 4 to 7."""
    colours = {
        tuple(np.round(x.mean((1, 2)).tolist(), 1))
        for batch in take(make_data(everything, pairs), 2)
        for x in batch["pair_a"]
    }
    assert len(colours) == 4
    files = make_data(everything, pairs).files
    names = [sorted(path.name for path in files(range(n, n + 4))) for n in (0, 4)]
    assert all({"0.png", "2.png", "3.png", "5.png"} <= set(found) for found in names)


def test_other_draws_after_a_rollback_are_of_the_pairs_too(everything, pairs):
    data = make_data(everything, pairs)
    before, after = (take(data, 4, seed=seed) for seed in (5, 6))
    assert not any(torch.equal(x["pair_a"], y["pair_a"]) for x, y in zip(before, after, strict=True))


def test_settings_without_pairs_have_none(paired_root, everything):
    for name, flags in (("cyclegan", {}), ("pix2pix", {})):
        cfg = config.resolve(METHODS[name].Config, ("test", flags))
        assert training_data.find_known_pairs(cfg, paired_root, everything, everything, print) is None

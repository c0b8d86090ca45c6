"""Training on known pairs beside unpaired images, for every method that can."""

import pytest
import torch

from translate import config
from translate.api.training_data import with_pair_images
from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training import checkpoint, memory_estimate

from ..helpers import distinct_methods

CPU = torch.device("cpu")
WITH_PAIRS = [name for name, cls in METHODS.items() if "pairs" in config.setting_names(cls.Config)]
FLAGS = {"pairs": "pairs.csv"}
UNCOUPLED = {"norm": "instance", "dropout": False, "batch_size": 4}


def micro_batches(tiny, name, engine, parts=1, count=2):
    """Those of the engine's next step, with pairs of other images beside the unpaired ones."""
    unpaired = tiny.engine_batch(name, engine, parts, count)
    pairs = tiny.batch(name, count, engine.images + 1000, engine.precision.weights)
    size = count // parts
    return [
        {**batch, **{f"pair_{side}": pairs[side][i * size : (i + 1) * size] for side in "ab"}}
        for i, batch in enumerate(unpaired)
    ]


def run(tiny, name, engine, steps, **sizes):
    for _ in range(steps):
        engine.step(micro_batches(tiny, name, engine, **sizes))


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_pairs_are_not_counted_as_images(name, tiny):
    engine = tiny.engine(name, **FLAGS)
    run(tiny, name, engine, 2)
    assert (engine.images, engine.steps) == (4, 2)


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_pairs_change_the_generators_and_a_weight_of_0_changes_nothing(name, tiny):
    """The discriminators see no pair: they only meet other generators. Four steps, for one of each kind."""
    ends = []
    for flags in ({}, {**FLAGS, "lambda_pairs": 0.0}, FLAGS):
        engine = tiny.engine(name, "fp64", norm="instance", **flags)
        for _ in range(4):
            batches = micro_batches(tiny, name, engine) if flags else tiny.engine_batch(name, engine)
            engine.step(batches)
        ends.append(engine.method.state_dict())
    without, unweighted, weighted = ends
    tiny.assert_equal_state(without, unweighted)
    assert any(not torch.equal(x, weighted[key]) for key, x in without.items() if key.startswith("g"))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_PAIRS)
def test_a_run_that_was_cut_equals_one_that_was_not(name, tiny, tmp_path):
    """With micro-batches; that phases and pools are saved is tested without pairs."""
    whole, first, second = (tiny.engine(name, dropout=True, generator="resnet_1blocks", **FLAGS) for _ in range(3))
    run(tiny, name, whole, 4, parts=2)
    run(tiny, name, first, 2, parts=2)
    second.load_state(checkpoint.load(checkpoint.save(tmp_path, first.state())))
    run(tiny, name, second, 2, parts=2)
    tiny.assert_equal_state(whole.state(), second.state())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WITH_PAIRS if name != "discogan"])
def test_micro_batches_are_one_large_batch(name, tiny):
    """All but discogan, whose feature matching couples a batch."""
    one, four = (tiny.engine(name, "fp64", **UNCOUPLED, **FLAGS) for _ in range(2))
    for engine, parts in ((one, 1), (four, 4)):
        run(tiny, name, engine, 2, parts=parts, count=4)
    for (key, left), right in zip(one.method.state_dict().items(), four.method.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-7, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WITH_PAIRS if name in distinct_methods()])
def test_the_memory_estimate_counts_pairs(name, tiny):
    """Images of them, and what generators that are wider than the discriminators keep of them."""
    sample = {"a": torch.zeros(1, 3, tiny.size, tiny.size), "b": torch.zeros(1, 3, 2 * tiny.size, tiny.size)}

    def estimate(**flags):
        cfg = tiny.config(name, g_width=16, nce_patches=4, **flags)
        example = with_pair_images(sample, cfg)
        return memory_estimate.estimate(METHODS[name], cfg, example, CPU, PRECISIONS["fp32"])

    without, with_pairs = estimate(), estimate(**FLAGS)
    image = 3 * tiny.size**2 * 4
    assert with_pairs.batch - without.batch == 2 * 2 * image
    assert with_pairs.activations > without.activations

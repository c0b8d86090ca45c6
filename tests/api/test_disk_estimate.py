"""Estimate of a run's disk space, against the files of real runs and by hand."""

from dataclasses import replace

import pytest

import translate
from translate.api.disk_estimate import MOMENTS, DiskEstimate, estimate_disk
from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training.optimizers import OPTIMIZERS

from ..helpers import own_settings, root_of

FIXED = 60_000
"""Bytes of names, of formats, and of small files at most."""


def estimate(name, planned=1, processes=1, precision="fp32", **settings):
    cls = METHODS[name]
    cfg = cls.resolve_config(cls.Config(**settings))
    return estimate_disk(cls.on_meta(cfg), cfg, PRECISIONS[precision], planned, processes)


def test_every_optimizer_has_a_number_of_moments():
    assert MOMENTS.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize(("name", "half_life"), [("pix2pix", 100), ("cyclegan", 0), ("dualgan", 0)])
def test_it_is_what_a_run_takes(name, half_life, request, tmp_path):
    """Adam and RMSprop, with and without averages, image pools and batch norm."""
    flags = {"crop_size": 32, "g_width": 16, "d_width": 16, "batch_size": 2, "ema_half_life": half_life}
    settings = own_settings(name, {**flags, "generator": "resnet_3blocks" if name == "cyclegan" else None})
    settings = {key: value for key, value in settings.items() if value is not None}
    root = request.getfixturevalue(root_of(name))
    run = translate.train(
        name, root, run=tmp_path / "run", device="cpu", watch=False, images=2, say=lambda line: None, **settings
    )
    expected = estimate(name, **settings)
    model = (run.path / "model" / "model.safetensors").stat().st_size
    (checkpoint,) = [path.stat().st_size for path in run.path.glob("state-*.ckpt")]
    assert model == pytest.approx(expected.model, abs=FIXED)
    assert checkpoint == pytest.approx(expected.checkpoint, rel=0.1, abs=FIXED)


def test_what_is_kept_is_counted():
    once = estimate("cyclegan", 1000)
    assert (once.models, once.checkpoints, once.sample_grids) == (1, 2, None)
    many = estimate("cyclegan", 1000, save_every=100, keep_every=250, evaluate_every=100)
    assert (many.models, many.checkpoints, many.sample_grids) == (6, 6, 11)
    assert many.total == 6 * many.model + 6 * many.checkpoint + 11 * many.sample_grid
    assert many.peak == many.total + many.model + many.checkpoint


def test_double_precision_takes_twice_as_much_and_each_process_has_its_buffers():
    single, double = estimate("cyclegan"), estimate("cyclegan", precision="fp64")
    assert double.model == 2 * single.model
    assert double.checkpoint == pytest.approx(2 * single.checkpoint, rel=1e-6)  # counters are integers all the same
    pools = 2 * 50 * 3 * 256 * 256 * 4
    assert estimate("cyclegan", processes=3).checkpoint - single.checkpoint == pytest.approx(2 * pools, rel=1e-3)


def test_the_line():
    disk = DiskEstimate(6_000_000, 1, 20_000_000, 2, 300_000, None)
    assert str(disk) == "about 46 MB on disk (model 6.0 MB, 2 checkpoints of 20 MB, sample grids of 300 kB)"
    assert str(replace(disk, models=3, sample_grids=10)) == (
        "about 61 MB on disk (3 models of 6.0 MB, 2 checkpoints of 20 MB, 10 sample grids of 300 kB)"
    )

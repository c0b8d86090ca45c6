"""PGGAN: how it grows, resumes in the middle of a fade, samples of a half-grown run, and what it refuses."""

import copy

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.base import Clock
from translate.methods.pggan import PGGAN, growth_at, level_batch_size
from translate.runtime.precision import PRECISIONS
from translate.trained import folder as model_folder
from translate.training import checkpoint
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import assert_equal_state

SMALL = {
    "crop_size": 16, "load_size": 16, "g_width": 4, "d_width": 4, "noise_size": 6, "batch_size": 2, "max_batch_size": 4,
    "stable_images": 8, "fade_images": 12,
}  # fmt: skip
"""4 px to image 8, 8 px fading to 20 and whole to 28, 16 px fading to 40."""


def small_config(**flags):
    return PGGAN.resolve_config(config.resolve(PGGAN.Config, ("test", {**SMALL, **flags})))


def at(images):
    return Clock(images=images, step=images // 4, epoch=0, progress=0.0)


def engine_of(**flags):
    cfg = small_config(**flags)
    return Engine(
        PGGAN(cfg), Schedule(10, 0, 0, images=60), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp32"],
        batch_size=4, ema_half_life=cfg.ema_half_life, stages=PGGAN.stages(cfg, 60, 60),
    )  # fmt: skip


def train(engine, images):
    """Train to so many images on noise of the sizes and batches of the stages."""
    while engine.images < images:
        level, _ = growth_at(engine.method.cfg, engine.images)
        count = level_batch_size(engine.method.cfg, level)
        key = keyed_random.image_keys(3, torch.arange(engine.images, engine.images + count))
        engine.step([{"a": keyed_random.uniform(key, "a", 3, 4 << level, 4 << level) * 2 - 1}])
    return engine


# Growth.


def test_levels_are_whole_and_fade_in_by_turns():
    cfg = small_config()
    timeline = {
        0: (0, 1),
        7: (0, 1),
        8: (1, 0),
        14: (1, 0.5),
        20: (1, 1),
        27: (1, 1),
        28: (2, 0),
        31: (2, 0.25),
        40: (2, 1),
    }
    assert {images: growth_at(cfg, images) for images in timeline} == timeline
    assert growth_at(cfg, 10**9) == (2, 1)
    method = PGGAN.on_meta(cfg)
    assert [method.phase(at(images)) for images in (0, 8, 20, 32)] == [
        "4 px penalty", "8 px fading penalty", "8 px penalty", "16 px fading penalty",
    ]  # fmt: skip
    assert method.scheduled_values(at(14)) == {"alpha": 0.5}


def test_stages_have_the_sizes_of_the_levels_and_batches_of_their_own():
    stages = PGGAN.stages(small_config(load_size=18), 100, 100)
    assert [(s.image, s.load_size, s.crop_size, s.batch_size) for s in stages] == [
        (0, 4, 4, 4), (8, 9, 8, 4), (20, 9, 8, 4), (28, 18, 16, 2), (40, 18, 16, 2),
    ]  # fmt: skip
    assert [s.image for s in PGGAN.stages(small_config(fade_images=0), 100, 100)] == [0, 8, 16]
    assert [level_batch_size(small_config(batch_size=3, max_batch_size=11), level) for level in range(3)] == [6, 6, 3]


def test_moments_start_anew_at_both_ends_of_a_fade():
    engine, restarted = engine_of(), []
    restarts = engine.method.restarts
    engine.method.restarts = lambda *stages: restarted.append(engine.images) or restarts(*stages)
    train(engine, 44)
    assert restarted == [8, 20, 28, 40]
    counts = {int(state["step"]) for optimizer in engine.optimizers.values() for state in optimizer.state.values()}
    assert counts == {2}  # of two steps of two images since 40


def test_layers_of_later_levels_wait():
    engine = engine_of()
    before = {name: p.clone() for name, p in engine.method.named_parameters()}
    train(engine, 8)
    moved = {name.split(".")[1:3][0] + name.split(".")[2] for name, p in engine.method.named_parameters()
             if not torch.equal(p, before[name])}  # fmt: skip
    assert moved == {"blocks0", "to_image0", "from_image0"}


def test_the_rate_is_larger_at_1024_pixels():
    method = PGGAN.on_meta(small_config(crop_size=1024, load_size=1024, stable_images=1, fade_images=1))
    assert [method.updates["g"].factor(at(images)) for images in (0, 14, 15)] == [1, 1, 1.5]


def test_networks_see_images_of_their_own_noise_and_reals_without_detail():
    method, seen = PGGAN(small_config()), []
    method.d.register_forward_hook(lambda _, given, out: seen.append(given[0].detach()))
    key, real = torch.arange(4), torch.rand(4, 3, 16, 16) * 2 - 1
    list(method.step({"a": real, "key": key}, at(14), {"alpha": torch.tensor(0.25)}))
    shown, for_d, for_g = seen
    at_level = F.avg_pool2d(real, 2)
    blurred = F.interpolate(F.avg_pool2d(at_level, 2), scale_factor=2)
    torch.testing.assert_close(shown, 0.75 * blurred + 0.25 * at_level)
    assert for_d.shape == for_g.shape == (4, 3, 8, 8) and not torch.equal(for_d, for_g)


@pytest.mark.parametrize(
    ("flags", "weight"), [({}, 0.001), ({"adversarial": "lsgan"}, 0), ({"lambda_drift": 0.5}, 0.5)]
)
def test_logits_of_real_images_are_kept_near_0(flags, weight):
    method = PGGAN(small_config(**flags))
    method.d.forward = lambda x, alpha=None: (
        3 + 0 * x.flatten(1).sum(1, keepdim=True) * method.d.blocks[0][1].bias.sum()
    )
    batch = {"a": torch.zeros(4, 3, 4, 4), "key": torch.arange(4)}
    _, losses = next(method.step(batch, at(0), {"alpha": torch.tensor(1.0)}))
    assert ("drift" in losses) == bool(weight)
    if weight:
        assert losses["drift"].item() == pytest.approx(9 * weight)


# Resume and models.


@pytest.mark.parametrize("cut", [12, 36])
def test_a_run_that_was_cut_in_a_fade_equals_one_that_was_not(cut, tmp_path):
    whole, first = train(engine_of(), 48), train(engine_of(), cut)
    assert 0 < growth_at(first.method.cfg, cut)[1] < 1
    path = checkpoint.save(tmp_path, first.state())
    second = engine_of()
    second.load_state(checkpoint.load(path))
    assert_equal_state(whole.state(), train(second, 48).state())


def test_a_half_grown_model_samples_at_its_level(tmp_path):
    engine = train(engine_of(), 16)
    key = torch.arange(3)
    with engine.ema.swapped_in():
        model_folder.write_trained_model(tmp_path, engine.method, title="test", seen=16)
        expected = engine.method.eval().sample(key)
    loaded = model_folder.read_model_folder(tmp_path).method.eval()
    assert expected.shape == (3, 3, 8, 8)
    assert torch.equal(loaded.sample(key), expected)
    assert loaded.g.grown == (1, pytest.approx(4 / 12))  # as in the last step
    torch.testing.assert_close(loaded.sample(key[1:2]), expected[1:2])


def test_the_grid_has_one_size_at_every_level():
    for images in (4, 16, 44):
        method = train(engine_of(), images).method.eval()
        batch = {"a": torch.rand(2, 3, 16, 16) * 2 - 1, "key": torch.arange(2)}
        columns = method.preview(batch)
        assert list(columns) == ["real", *(f"sample {n}" for n in range(1, 7))]
        assert {x.shape for x in columns.values()} == {(2, 3, 16, 16)}
        assert {x.shape for x in method.discriminator_outputs(batch).values()} == {(2, 1)}
        before = copy.deepcopy(method.state_dict())
        method.preview(batch)
        assert_equal_state(before, method.state_dict())


# Settings.


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"crop_size": 48}, "power of two from 8 to 1024 pixels; use --crop-size 32"),
        ({"crop_size": 4}, "use --crop-size 8"),
        ({"crop_size": 2048}, "use --crop-size 1024"),
        ({"direction": "b2a"}, "pggan has no domain b"),
        ({"preprocess": "none"}, "--preprocess none"),
        ({"batch_size": 4, "accumulate": 3}, "--accumulate 3"),
    ],
)
def test_settings_that_cannot_work_are_refused(flags, words):
    with pytest.raises(UsageError, match=words) as e:
        small_config(**flags)
    assert "\n" not in str(e.value)


def test_it_translates_nothing():
    with pytest.raises(UsageError, match="pggan generates images from noise"):
        PGGAN.on_meta(small_config()).translate(torch.zeros(1, 3, 16, 16), "b")

"""StyleGAN2: order and phases of its updates, style mixing, adaptive augmentation, truncated samples, and what it refuses."""

import pytest
import torch

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods import stylegan2
from translate.methods.base import Clock
from translate.methods.stylegan2 import StyleGAN2
from translate.runtime.precision import PRECISIONS
from translate.trained import folder as model_folder
from translate.training import checkpoint
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import assert_equal_state

COUNT = 4
SMALL = {
    "crop_size": 16, "load_size": 16, "g_width": 4, "d_width": 4, "noise_size": 6, "batch_size": COUNT, "full_width_size": 8,
    "path_every": 2, "r1_every": 3,
}  # fmt: skip


def small_config(**flags):
    return StyleGAN2.resolve_config(config.resolve(StyleGAN2.Config, ("test", {**SMALL, **flags})))


def engine_of(**flags):
    cfg = small_config(**flags)
    return Engine(
        StyleGAN2(cfg), Schedule(10, 0, 0, images=1000), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp32"],
        batch_size=COUNT, ema_half_life=cfg.ema_half_life,
    )  # fmt: skip


def batch_of(images, count=COUNT):
    key = keyed_random.image_keys(3, torch.arange(images, images + count))
    return {"a": keyed_random.uniform(key, "a", 3, 16, 16) * 2 - 1}


def train(engine, steps):
    for _ in range(steps):
        engine.step([batch_of(engine.images)])
    return engine


def at(step):
    return Clock(images=COUNT * step, step=step, epoch=0, progress=0.0)


def test_lazy_penalties_are_steps_of_their_own_after_those_of_the_game():
    method = StyleGAN2(small_config())
    batch = {**batch_of(0), "key": torch.arange(COUNT)}
    steps = [[(update, *losses) for update, losses in method.step(batch, at(n), {})] for n in range(4)]
    game = [("g", "adv"), ("d", "adv")]
    assert steps == [
        [("g", "adv"), ("g", "path"), ("d", "adv"), ("d", "r1")], game, [("g", "adv"), ("g", "path"), ("d", "adv")],
        [*game, ("d", "r1")],
    ]  # fmt: skip
    assert [method.phase(at(n)) for n in range(4)] == ["path r1", "", "path", "r1"]


def test_r1_gives_way_to_an_objective_with_a_penalty_of_its_own():
    assert small_config(adversarial="wgan-gp").lambda_r1 == 0
    assert small_config(adversarial="relativistic", lambda_r1=2.0).lambda_r1 == 2
    alone = StyleGAN2(small_config(adversarial="wgan-gp", lambda_path=0))
    assert [alone.phase(at(n)) for n in range(2)] == ["penalty", "penalty"]
    assert {update.lr for update in alone.updates.values()} == {2.5e-3}  # nothing lazy, so nothing to make up for


def test_styles_are_mixed_from_a_cut_on_by_the_share():
    """Of 2000 images nine tenths are mixed, and their cuts are even from 1 to 5 (4 standard deviations)."""
    method = StyleGAN2(small_config(style_mixing=0.9)).eval()
    codes = method.training_codes(torch.arange(2000), "g")
    first = method.g.mapping(method.latent_code(torch.arange(2000), "z of g"))
    counts = (codes == first[:, None]).all(2).sum(1)  # codes of the first style; 6 of 6 where nothing is mixed
    is_mixed = counts < 6
    assert abs(is_mixed.double().mean() - 0.9) < 4 * (0.09 / 2000) ** 0.5
    for cut in range(1, 6):
        assert abs((counts == cut).double().mean() - 0.18) < 4 * (0.18 * 0.82 / 2000) ** 0.5
    assert (codes[is_mixed][:, -1] != first[is_mixed]).any(1).all() and (codes[:, 0] == first).all()


def test_the_average_of_codes_follows_in_training_alone():
    method = StyleGAN2(small_config())
    method.eval().training_codes(torch.arange(4), "g")
    assert (method.g.mapping.average == 0).all()
    codes = method.train().training_codes(torch.arange(4), "g")
    torch.testing.assert_close(method.g.mapping.average, 0.005 * codes[:, 0].detach().mean(0))


@pytest.mark.parametrize(("share", "changed"), [(0.0, 0), (1.0, 400), (0.25, 100)])
def test_a_share_of_the_images_is_augmented(share, changed):
    """One row of the policy; 4 standard deviations."""
    method, x = StyleGAN2(small_config(diffaugment="color")), torch.rand(400, 3, 16, 16) * 2 - 1
    method.augmented_share.fill_(share)
    moved = (method.augment(x, torch.arange(400), "real") != x).flatten(1).any(1).sum()
    assert abs(moved - changed) <= 4 * (400 * share * (1 - share)) ** 0.5


def test_the_share_rises_where_the_discriminator_is_sure_and_falls_where_it_is_not(monkeypatch):
    monkeypatch.setattr(stylegan2, "ADAPTATION_IMAGES", 100)
    method, sure = StyleGAN2(small_config()), torch.tensor(1.0)
    shares = []
    for _ in range(6):
        method.adapt(sure, 10)
        shares.append(round(method.augmented_share.item(), 6))
    # The running mean 1 − 0.75ⁿ passes 0.6 in the fourth step.
    assert shares == [0, 0, 0, 0.1, 0.2, 0.3]
    for _ in range(9):
        method.adapt(-sure, 10)
    assert method.augmented_share == 0
    fixed = StyleGAN2(small_config(ada_target=0.0))
    fixed.adapt(sure, 10)
    assert fixed.augmented_share == 1


def test_a_run_that_was_cut_equals_one_that_was_not(tmp_path):
    whole, first = train(engine_of(), 5), train(engine_of(), 2)
    second = engine_of()
    second.load_state(checkpoint.load(checkpoint.save(tmp_path, first.state())))
    assert_equal_state(whole.state(), train(second, 3).state())


def test_a_model_folder_samples_what_the_run_does(tmp_path):
    engine, key = train(engine_of(), 2), torch.arange(3)
    with engine.ema.swapped_in():
        model_folder.write_trained_model(tmp_path, engine.method, title="test", seen=8)
        method = engine.method.eval()
        expected, cut = method.sample(key), method.sample_styles(method.styles(key, 0.5))
    loaded = model_folder.read_model_folder(tmp_path).method.eval()
    assert torch.equal(loaded.sample(key), expected)
    assert torch.equal(loaded.sample_styles(loaded.styles(key, 0.5)), cut)
    average = loaded.sample_styles(loaded.styles(key, 0.0))
    torch.testing.assert_close(average[:1].expand(3, -1, -1, -1), average)
    torch.testing.assert_close(loaded.sample(key[2:]), expected[2:], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"crop_size": 48}, "power of two from 8 to 1024 pixels; use --crop-size 32"),
        ({"precision": "fp16"}, "use bf16 or fp32"),
        ({"direction": "b2a"}, "stylegan2 has no domain b"),
        ({"adversarial": "hinge", "real_label": 0.9}, "no labels to smooth"),
    ],
)
def test_settings_that_cannot_work_are_refused(flags, words):
    with pytest.raises(UsageError, match=words):
        small_config(**flags)

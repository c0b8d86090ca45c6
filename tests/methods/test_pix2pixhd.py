"""pix2pixHD: a step by hand, its two stages, weights that it starts from, and the memory of large images."""

import pytest
import torch

from translate.errors import UsageError
from translate.methods.pix2pixhd import Pix2PixHD
from translate.runtime.precision import PRECISIONS
from translate.training import memory_estimate
from translate.training.engine import Engine
from translate.training.monitors import health_checks
from translate.training.schedule import Schedule

from ..helpers import SIZE, assert_equal_state, small_config
from .helpers import START, noise_batch

LOCAL = {"generator": "pix2pixhd_local_1downs_1blocks", "g_width": 2, "init_from": "a global generator"}
FIXED = 6


def method_of(**flags):
    """Return a small pix2pixHD in float64."""
    return Pix2PixHD(small_config("pix2pixhd", **flags)).double()


def engine_of(precision="fp64", **flags):
    """Return the engine of a small pix2pixHD."""
    method = Pix2PixHD(small_config("pix2pixhd", **flags))
    return Engine(
        method, Schedule(10, 0, 0, images=1000), seed=0, device=torch.device("cpu"), precision=PRECISIONS[precision],
        batch_size=2, ema_half_life=4,
    )  # fmt: skip


def train(engine, steps):
    """Run steps, and return the losses of each."""
    found = []
    for _ in range(steps):
        batch = noise_batch(2, engine.images)
        found.append(engine.step([{side: batch[side] for side in "ab"}]))
    return found


# A step.


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_a_step_by_hand(scales):
    """eq. 2 to 5: least squares, summed over the scales; 10 times the mean over scales of the L1 distances of four maps."""
    method, batch = method_of(discriminator=f"pix2pixhd_{scales}scales"), noise_batch()
    a, b = batch["a"], batch["b"]
    (first, g_losses), (second, d_losses) = method.step(batch, START, {})
    fake = method.g(a)
    (real_maps, on_real), (fake_maps, on_fake) = (method.d.features_and_logits(torch.cat([a, x], 1)) for x in (b, fake))
    assert (first, second) == ("g", "d")
    assert (set(g_losses), set(d_losses)) == ({"adv", "feature_matching"}, {"adv"})
    torch.testing.assert_close(g_losses["adv"], sum((x - 1).square().mean() for x in on_fake))
    halves = [0.5 * ((x - 1).square().mean() + y.square().mean()) for x, y in zip(on_real, on_fake, strict=True)]
    torch.testing.assert_close(d_losses["adv"], sum(halves))
    pairs = [(x, y) for one, other in zip(fake_maps, real_maps, strict=True) for x, y in zip(one, other, strict=True)]
    assert len(pairs) == 4 * scales
    torch.testing.assert_close(g_losses["feature_matching"], 10 / scales * sum((x - y).abs().mean() for x, y in pairs))


def test_the_weight_of_feature_matching_falls_with_the_number_of_layers():
    """4 / (layers + 1), as in the authors' code."""
    method = method_of(d_layers=1)
    maps = [[torch.ones(1, 1, 2, 2)] * 2] * 2
    zeros = [[torch.zeros(1, 1, 2, 2)] * 2] * 2
    assert method.feature_matching_loss(maps, zeros) == 10 * (4 / 2) * 2


def test_the_discriminators_learn_from_the_output_of_before_the_generator_s_update():
    """So both sides move from one point, as in the authors' code, though one after the other."""
    engine, batch = engine_of(), noise_batch(2, 0)
    fake = engine.method.g(batch["a"]).detach()
    with torch.no_grad():
        pairs = [engine.method.d(torch.cat([batch["a"], x], 1)) for x in (batch["b"], fake)]
    expected = sum(0.5 * ((x - 1).square().mean() + y.square().mean()) for x, y in zip(*pairs, strict=True))
    assert train(engine, 1)[0]["d/adv"] == pytest.approx(float(expected), rel=1e-10)
    assert (engine.method.g(batch["a"]) - fake).abs().max() > 1e-4


@pytest.mark.parametrize("scales", [1, 3])
def test_health_checks_know_that_losses_are_sums_over_the_scales(scales):
    """At chance each scale gives ½ to all images: the losses are ¼ for D, halved, and for G, times the scales."""
    method = method_of(discriminator=f"pix2pixhd_{scales}scales")
    points = [{"loss/d/adv": 0.25 * scales, "loss/g/adv": 0.25 * scales}]
    assert health_checks.discriminator_gaps(points, method) == {("d_gap", ""): pytest.approx(0)}
    assert health_checks.is_discriminator_fooled(points, method)
    assert not health_checks.is_discriminator_fooled([{"loss/g/adv": 0.26 * scales}], method)


def test_without_feature_matching_any_discriminator_will_do():
    method = method_of(discriminator="basic", lambda_feature_matching=0.0)
    (_, g_losses), _ = method.step(noise_batch(), START, {})
    assert set(g_losses) == {"adv"}


def test_one_random_change_can_be_shared_by_both_sides():
    method = method_of(share_augmentation=True, diffaugment="translation")
    (_, g_losses), (_, d_losses) = method.step(noise_batch(), START, {})
    logits = method.d(method.view(noise_batch(), method.g(noise_batch()["a"]), "g"))
    torch.testing.assert_close(g_losses["adv"], sum((x - 1).square().mean() for x in logits))
    on_real = method.d(method.view(noise_batch(), noise_batch()["b"], "g"))
    halves = [0.5 * ((x - 1).square().mean() + y.square().mean()) for x, y in zip(on_real, logits, strict=True)]
    torch.testing.assert_close(d_losses["adv"], sum(halves))


def test_inputs_may_have_many_channels():
    """As label maps have, one channel for each label and one for edges."""
    method = method_of(input_channels=36)
    batch = {**noise_batch(), "a": torch.zeros(2, 36, SIZE, SIZE, dtype=torch.float64)}
    assert all(loss.isfinite() for _, losses in method.step(batch, START, {}) for loss in losses.values())


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        ({"fix_global": 4, "init_from": "x"}, "use --generator pix2pixhd_local"),
        ({**LOCAL, "fix_global": 4, "init_from": None}, "give --init-from MODEL too"),
        ({"discriminator": "pixel"}, "use pix2pixhd, or --lambda-feature-matching 0"),
        ({"generator": "pix2pixhd_global", "crop_size": 40}, "use --crop-size 32"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_remedy(flags, remedy):
    with pytest.raises(UsageError, match=remedy) as error:
        small_config("pix2pixhd", **flags)
    assert "\n" not in str(error.value)


# The stages of the local enhancer.


def test_the_global_generator_is_fixed_for_the_first_images_and_then_all_learn_with_a_new_optimizer():
    engine = engine_of(**LOCAL, fix_global=FIXED)
    start = {key: p.clone() for key, p in engine.method.g.named_parameters()}
    keeps_graph = []
    engine.method.g.model.register_forward_hook(lambda net, x, y: keeps_graph.append(y.requires_grad))
    losses = train(engine, 3)
    moved = {key.split(".")[0] for key, p in engine.method.g.named_parameters() if not torch.equal(p, start[key])}
    assert moved == {"model1_1", "model1_2"}
    assert not engine.optimizers["g"].state
    losses += train(engine, 1)
    assert keeps_graph == [False] * 3  # afterwards its layers run one by one
    assert [sorted({name.split("/")[0] for name in one}) for one in losses] == [["d", "g_local"]] * 3 + [["d", "g"]]
    assert {float(state["step"]) for state in engine.optimizers["g"].state.values()} == {1.0}
    assert len(engine.optimizers["g"].state) == len(start)


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_a_run_that_was_cut_goes_on_bit_for_bit_across_the_end_of_the_fixed_part(cut):
    whole, first, second = (engine_of("fp32", **LOCAL, fix_global=FIXED) for _ in range(3))
    for engine in (whole, first, second):
        engine.method.float()
    train_single(whole, 6)
    train_single(first, cut)
    second.load_state(first.state())
    train_single(second, 6 - cut)
    assert_equal_state(whole.state(), second.state())


def train_single(engine, steps):
    for _ in range(steps):
        batch = noise_batch(2, engine.images)
        engine.step([{side: batch[side].float() for side in "ab"}])


def test_phases_name_what_a_step_does():
    method = method_of(**LOCAL, fix_global=FIXED, adversarial="wgan-gp", penalty_every=2)
    clocks = [START.__class__(images=2 * step, step=step, epoch=0, progress=0.0) for step in (0, 1, 3, 4)]
    assert [method.phase(clock) for clock in clocks] == ["fixed global penalty", "fixed global", "", "penalty"]


# Weights to start from.


def test_a_local_enhancer_starts_from_a_global_generator():
    whole, local = method_of(generator="pix2pixhd_global_1downs_1blocks", g_width=4), method_of(**LOCAL)
    assert whole.g.state_dict().keys() - local.g.state_dict().keys() == {"model.12.weight", "model.12.bias"}
    placed = local.initial_weights({"g": whole.g.state_dict()})["g"]
    assert placed.keys() == local.g.state_dict().keys()
    for key, x in placed.items():
        source = whole.g if key.startswith("model.") else local.g
        assert torch.equal(x, source.state_dict()[key]), key
    own = local.g.state_dict()
    assert local.initial_weights({"g": own})["g"] is own


def test_discriminators_of_fewer_scales_take_the_places_of_the_same_sizes():
    two, three = method_of(), method_of(discriminator="pix2pixhd_3scales", seed=1)
    placed = three.initial_weights({"d": two.d.state_dict()})["d"]
    assert placed.keys() == three.d.state_dict().keys()
    for key, x in placed.items():
        source = three.d if key.startswith("scale2") else two.d
        assert torch.equal(x, source.state_dict()[key]), key


# Memory.


LARGE = {
    "generator": "pix2pixhd_local", "g_width": 32, "d_width": 64, "discriminator": "pix2pixhd_3scales", "batch_size": 1,
    "preprocess": "scale_width", "load_size": 2048, "crop_size": 256,
}  # fmt: skip


def estimate(**flags):
    """Return the bytes for pairs of 2048×1024 pixels, without what convolutions take on a CPU beside their tensors."""
    cfg = small_config("pix2pixhd", **LARGE, **flags)
    example = {side: torch.empty(1, 3, 1024, 2048) for side in "ab"}
    device = torch.device("cpu")
    found = memory_estimate.estimate(Pix2PixHD, cfg, example, device, PRECISIONS[cfg.precision])
    return found.total - found.scratch


@pytest.mark.slow
def test_training_at_2048_by_1024_takes_less_than_4_gib_with_checkpointing():
    """As docs/methods/paired.md says, by the authors' networks at 1024p, in bf16; without it nearly twice as much."""
    checkpointed, plain = (estimate(precision="bf16", gradient_checkpointing=on) for on in (True, False))
    assert checkpointed < 4 * 2**30
    assert plain > 1.6 * checkpointed

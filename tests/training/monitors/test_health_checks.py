"""Sentinels: each trips on a training that goes wrong in its way, none on healthy ones, and none leaves a trace."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from translate import config
from translate.methods.base import DISCRIMINATOR, Method, Update
from translate.methods.configs import GanConfig
from translate.nn.losses import ADVERSARIAL
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.monitors.health_checks import (
    PERSISTENT_POINTS,
    HealthMonitor,
    chance_levels,
    correlation,
    variety,
)
from translate.training.schedule import Schedule

from ...helpers import SIZE
from ..helpers import smooth_tensors

CPU = torch.device("cpu")


SAMPLE = {"a": smooth_tensors(100), "b": smooth_tensors(200)}


@dataclass(frozen=True)
class ToyConfig(GanConfig):
    lambda_cycle: float = config.option(10.0, "of the way back", low=0)
    lambda_identity: float = config.option(0.5, "of the identity", low=0)


class Toy(Method):
    """Two given functions as translators; nothing is trained."""

    name = "toy"
    layout = "unpaired"
    Config = ToyConfig
    generator_names = {"b": "to_b", "a": "to_a"}

    def __init__(self, to_b, to_a=lambda x: x, **settings):
        super().__init__(replace(ToyConfig(), **settings))
        self.maps = {"b": to_b, "a": to_a}
        self.g = nn.Linear(1, 1)
        self.updates = {"g": Update(("g",)), "d": Update(("g",), role=DISCRIMINATOR)}

    def translate(self, x, to, key=None):
        assert not self.training
        assert not torch.is_grad_enabled()
        return self.maps[to](x)


class OneWay(Toy):
    layout = "paired"
    generator_names = {"b": "to_b"}


def at(method, images=50_000, planned=100_000):
    """An engine in the middle of a run."""
    engine = Engine(
        method,
        Schedule(10, 0, 0, images=planned),
        seed=0,
        device=CPU,
        precision=PRECISIONS["fp32"],
        batch_size=1,
    )
    engine.images = images
    return engine


def watched(method, sample=SAMPLE, **moment):
    return HealthMonitor(sample)(at(method, **moment))


def healthy_to_b(x):
    """Another image, as various, not inverted: mirrored and darkened colours, halfway to the original."""
    return 0.5 * x + 0.5 * x.flip(1) - 0.05


def test_correlation_is_that_of_the_definition():
    """Brightness of x: 0, 1, 2, 3; y = x²: covariance 15/4 · …, by hand r = Σ(x−1.5)(y−3.5) / √(5 · 49) = 15/√245."""
    x = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 1, 2, 2)
    assert correlation(x, x.square()).item() == pytest.approx(15 / math.sqrt(245), abs=1e-6)
    assert correlation(x, -5 * x + 7).item() == pytest.approx(-1, abs=1e-6)
    assert correlation(x, torch.full_like(x, 0.3)).item() == 0
    assert correlation(torch.cat([x, x]), torch.cat([x, -x])).tolist() == pytest.approx([1, -1], abs=1e-6)


def test_variety_is_a_share_of_the_variance_between_real_images():
    """Values ±1 against values ±2: a quarter of the variance. What is the same in all images does not count."""
    made, real = torch.ones(2, 1, 3, 3), 2 * torch.ones(2, 1, 3, 3)
    made[1], real[1] = -1, -2
    assert variety(made + torch.linspace(0, 9, 9).view(3, 3), real).item() == pytest.approx(0.25)
    assert variety(made, real, 0.5 * made).item() == pytest.approx(4)  # the least various of the sets counts


def test_an_inverting_generator_is_seen():
    scalars, advice = watched(Toy(lambda x: -x, healthy_to_b))
    assert scalars["watch/inversion_b"] == pytest.approx(-1, abs=1e-4)
    assert [line.split(" (")[0] for line in advice] == [
        "warning: images translated to domain b look like negatives of their inputs"
    ]
    assert "(correlation -1.00); start again with another --seed (now 0) or a larger --lambda-identity" in advice[0]


def test_where_the_truth_is_known_it_is_the_truth_that_counts():
    """A generator that must invert does well by inverting and ill by not doing it."""
    sample = {"a": SAMPLE["a"], "b": -SAMPLE["a"]}
    scalars, advice = watched(OneWay(lambda x: -x), sample)
    assert scalars["watch/inversion_b"] == pytest.approx(1, abs=1e-4)
    assert scalars["watch/error_b"] == 0
    assert not advice
    _, advice = watched(OneWay(lambda x: 0.5 * x), sample)
    assert ["negatives of the true ones" in line for line in advice] == [True]


def test_a_copying_generator_is_seen():
    """One level of 255 is 1/127.5: three levels are no copy, one is."""
    three, _ = watched(Toy(lambda x: x + 3 / 127.5, healthy_to_b))
    assert three["watch/change_b"] == pytest.approx(3, abs=1e-3)
    one, advice = watched(Toy(lambda x: x + 1 / 127.5, healthy_to_b))
    assert one["watch/change_b"] == pytest.approx(1, abs=1e-3)
    assert ["are copies of their inputs (mean difference 1.0 of 255)" in line for line in advice] == [True]
    assert "a smaller --lambda-identity (now 0.5) or a smaller --lambda-cycle (now 10.0)" in advice[0]


def test_a_copy_beside_the_truth_is_nearer_to_the_input_by_far():
    """Input 0, truth 20 levels above: an output at 3 is 17 from the truth and a copy, one at 8 is 12 from it and none."""
    base = SAMPLE["a"] * 0.5
    sample = {"a": base, "b": base + 20 / 127.5}
    assert ["copies" in line for line in watched(OneWay(lambda x: x + 3 / 127.5), sample)[1]] == [True]
    assert not watched(OneWay(lambda x: x + 8 / 127.5), sample)[1]
    assert not watched(OneWay(lambda x: x + 0.5 / 127.5), {"a": base, "b": base + 0.6 / 127.5})[1]


def test_a_collapsed_generator_is_seen():
    """All outputs one picture, but for a tenth of their differences: 1 % of the variance."""
    picture = smooth_tensors(7, 1)
    real = {"a": SAMPLE["a"], "b": SAMPLE["a"].flip(2)}
    scalars, advice = watched(Toy(lambda x: picture + 0.1 * x, healthy_to_b), real)
    assert scalars["watch/variety_b"] == pytest.approx(0.01, rel=0.01)
    assert ["domain b are nearly all the same (1.0% of" in line for line in advice] == [True]


def test_a_hidden_signal_is_seen():
    """The input, a hundredth as strong and under a checkerboard, decoded on the way back: perfect, and noise grows 100-fold.

    Back: 100 (x/100 + n) = x + 100 n, so the error with noise is 100 |n|; without it is 0: the ratio is 100.
    """
    board = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 * 2 - 1
    steganographer = Toy(lambda x: 0.01 * x * board, lambda y: 100 * y * board)
    scalars, advice = watched(steganographer)
    assert scalars["watch/hidden_a"] == pytest.approx(100, rel=1e-3)
    assert any("the cycle from domain a and back" in line for line in advice)


def test_the_way_back_of_the_identity_is_off_by_the_noise_alone():
    scalars, _ = watched(Toy(lambda x: x, lambda y: y))
    assert scalars["watch/hidden_a"] == pytest.approx(1, abs=1e-3)
    assert scalars["watch/hidden_b"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scale", [-1.0, -0.5, 0.0, 0.3])
def test_no_honest_way_back_is_worse_than_the_noise(scale):
    """Maps that pass noise on no larger than it came: at most 1, by the triangle inequality."""
    scalars, _ = watched(Toy(lambda x: scale * x, lambda y: y - 0.1))
    assert scalars["watch/hidden_a"] <= 1 + 1e-5


def test_a_healthy_method_trips_nothing():
    scalars, advice = watched(Toy(healthy_to_b, healthy_to_b))
    kinds = ("inversion", "change", "variety", "hidden")
    assert set(scalars) == {f"watch/{kind}_{domain}" for kind in kinds for domain in "ab"}
    assert not advice


def test_nothing_trips_before_the_training_has_settled():
    """Neither before a tenth of a long plan, nor before a thousand images of a short one."""
    method = Toy(lambda x: -x, healthy_to_b)
    for planned, settled in ((100_000, 10_000), (2000, 1000)):
        early, ready = (watched(method, images=images, planned=planned) for images in (settled - 1, settled))
        assert early[0] == ready[0]
        assert not early[1]
        assert ready[1]


def test_advice_comes_once_and_again_only_after_recovery():
    method = Toy(lambda x: -x, healthy_to_b)
    watch, engine = HealthMonitor(SAMPLE), at(method)
    said = []
    for to_b in (lambda x: -x, lambda x: -x, healthy_to_b, healthy_to_b, lambda x: -x):
        method.maps["b"] = to_b
        said.append(len(watch(engine)[1]))
    assert said == [1, 0, 0, 0, 1]


def test_domains_of_other_channels_and_a_single_sample():
    """Grey cannot be compared with colour value by value; one image has no variance between."""
    sample = {"a": SAMPLE["a"][:1], "b": SAMPLE["b"][:1, :1]}
    scalars, advice = watched(Toy(lambda x: x[:, :1], lambda y: y.repeat(1, 3, 1, 1)), sample)
    assert set(scalars) == {f"watch/{kind}_{domain}" for kind in ("inversion", "hidden") for domain in "ab"}
    assert not advice


@pytest.mark.parametrize(
    ("adversarial", "label", "lost", "won", "fooling"),
    [
        ("lsgan", 1.0, 0.25, 0, 0.25),  # D = ½ everywhere: ½ (¼ + ¼); G: (½ − 1)²
        ("lsgan", 0.9, 0.2025, 0, 0.3025),  # D = 0.45: 0.45²; 0.55²
        ("non-saturating", 1.0, math.log(2), 0, math.log(2)),  # D = ½
        ("minimax", 1.0, math.log(2), 0, -math.log(2)),
        ("maximum-likelihood", 1.0, math.log(2), 0, -1),  # D as the non-saturating one; odds of 1
        ("hinge", 1.0, 2, 0, 0),  # (1 − c) + (1 + c)
        ("relativistic", 1.0, math.log(2), 0, math.log(2)),  # D(x) − D(G) = 0, whatever each is
    ],
)
def test_what_a_discriminator_loses_at_chance(adversarial, label, lost, won, fooling):
    chance = chance_levels(ToyConfig(adversarial=adversarial, real_label=label))
    assert (chance.lost, chance.won, chance.fooling) == pytest.approx((lost, won, fooling), abs=1e-6)
    assert (chance.gap(lost), chance.gap(won)) == pytest.approx((0, 1), abs=1e-6)


def test_label_smoothing_leaves_a_rest_that_is_no_failure_to_tell():
    """The best cross-entropy against labels of 0.9 is their own entropy, halved: 0.1625."""
    chance = chance_levels(ToyConfig(adversarial="non-saturating", real_label=0.9))
    assert chance.won == pytest.approx(-0.5 * (0.9 * math.log(0.9) + 0.1 * math.log(0.1)), abs=1e-4)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_only_a_cost_with_an_end_has_a_gap(name):
    """All costs that have a least value are nowhere below 0; a critic's estimate falls as far as its logits go apart."""
    cost, sure = ADVERSARIAL[name], torch.tensor([1e4])
    assert (chance_levels(ToyConfig(adversarial=name)) is None) == bool(cost.discriminator_loss(sure, -sure) < 0)


def test_a_critics_distance_has_no_end_and_is_not_judged():
    watch = HealthMonitor(SAMPLE)
    method = Toy(healthy_to_b, healthy_to_b, adversarial="wgan-gp")
    watch.on_log({"loss/d/adv": -1e6, "loss/g/adv": 1e6})
    assert not any("d_gap" in name for name in watch(at(method))[0])


def gaps(points, **settings):
    """The sentinels after these log points: (discriminator's loss, generator's)."""
    method = Toy(healthy_to_b, healthy_to_b, **settings)
    watch = HealthMonitor(SAMPLE)
    for d, g in points:
        watch.on_log({"loss/d/adv_b": d, "loss/g/adv_ab": g, "loss/g/cycle_a": 3.0, "epoch": 1})
    return watch(at(method))


def test_a_discriminator_must_win_for_long():
    scalars, advice = gaps([(0.005, 0.9)] * 10)
    assert scalars["watch/d_gap_b"] == pytest.approx(1 - 0.005 / 0.25)
    assert ["the discriminator of domain b never" in line for line in advice] == [True]
    assert "(98.0%)" in advice[0]
    assert "--diffaugment color,translation,cutout or a smaller --lr (now 0.0002)" in advice[0]
    assert not gaps([(0.005, 0.9)] * 9)[1]
    assert not gaps([(0.005, 0.9)] * 5 + [(0.1, 0.9)] + [(0.005, 0.9)] * 4)[1]
    assert not gaps([(0.005, 0.1)] * 10)[1]  # where the generator fools it, it does not win
    assert gaps([(0.2, 0.3)] * 20 + [(0.005, 0.9)] * 10)[1]


def test_the_gap_of_a_paired_cost_in_words():
    """softplus(−3) = 0.0486: a lead of 3 on every pair is 93 % of the way from chance to certainty."""
    scalars, advice = gaps([(math.log1p(math.exp(-3)), 3.05)] * 10, adversarial="relativistic")
    assert scalars["watch/d_gap_b"] == pytest.approx(1 - math.log1p(math.exp(-3)) / math.log(2), abs=1e-6)
    assert not advice  # under 95 %
    assert gaps([(math.log1p(math.exp(-4)), 4.02)] * 10, adversarial="relativistic")[1]
    assert not gaps([(math.log1p(math.exp(-4)), 0.6)] * 10, adversarial="relativistic")[
        1
    ]  # log 2 or less: it is fooled


def test_a_gap_is_a_mean_over_the_log_points_that_have_it():
    """As of a method whose updates take turns, logged at each step."""
    watch = HealthMonitor(SAMPLE)
    for losses in ({"loss/d/adv_b": 0.05}, {"loss/g/adv_ab": 0.9}, {"loss/d/adv_b": 0.15}, {"loss/g/adv_ab": 0.9}):
        watch.on_log(losses)
    scalars, _ = watch(at(Toy(healthy_to_b, healthy_to_b)))
    assert scalars["watch/d_gap_b"] == pytest.approx(1 - 0.1 / 0.25)


def test_sides_are_told_apart_by_the_roles_of_updates():
    """Updates by other names, whose domains hold digits; the loss of a generator called d is no discriminator's."""
    method = Toy(healthy_to_b, healthy_to_b)
    method.updates = {"d": Update(("g",)), "critic": Update(("g",), role=DISCRIMINATOR)}
    watch = HealthMonitor(SAMPLE)
    watch.on_log({"loss/critic/adv_b2": 0.1, "loss/d/adv_b2": 0.005, "loss/critic/penalty": 9.0})
    scalars, _ = watch(at(method))
    assert {name: value for name, value in scalars.items() if "d_gap" in name} == {
        "watch/d_gap_b2": pytest.approx(1 - 0.1 / 0.25)
    }


def test_advice_leaves_out_what_is_done_already():
    _, advice = gaps([(0.005, 0.9)] * 10, diffaugment="color,translation,cutout")
    assert "diffaugment" not in advice[0]
    _, advice = watched(Toy(lambda x: x, healthy_to_b, lambda_identity=0.0))
    assert "(translate resume) with a smaller --lambda-cycle (now 10.0)" in advice[0]


"""Images to train on, where more are needed: until its running statistics fit, discogan makes the same of all images."""


def test_a_monitor_goes_on_where_its_state_was_taken():
    """The points that a persistent lead is judged by, and the problems that have been told."""
    monitor, other = HealthMonitor({}), HealthMonitor({})
    for n in range(PERSISTENT_POINTS + 2):
        monitor.on_log({"loss/d/adv": float(n), "lr/d": 1.0})
    monitor.load_state({**monitor.state(), "active": [("variety", "b")]})
    state = monitor.state()
    assert state["points"] == [{"loss/d/adv": float(n)} for n in range(2, PERSISTENT_POINTS + 2)]
    assert state["active"] == [("variety", "b")]
    other.load_state(state)
    assert other.state() == state
    other.on_log({"loss/d/adv": 99.0})
    assert other.state()["points"] == [*state["points"][1:], {"loss/d/adv": 99.0}]
    other.load_state({})
    assert other.state() == HealthMonitor({}).state()

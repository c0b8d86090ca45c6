import pytest
import torch

from translate.config import TrainConfig, resolve
from translate.errors import UsageError
from translate.training.schedule import Schedule

LR = 2e-4
PAPER = Schedule(per_epoch=10, epochs=100, decay_epochs=100)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(1, 2e-4), (100, 2e-4), (101, 1.980e-4), (150, 1.010e-4), (199, 3.96e-6), (200, 1.98e-6)]
)
def test_rates_of_the_reference(epoch, rate):
    """100 epochs constant and 100 down to zero, stepped at the end of each epoch: epoch e from 1 to 200."""
    first, last = (epoch - 1) * 10, epoch * 10 - 1
    assert LR * PAPER.factor(first) == pytest.approx(rate, rel=1e-3)
    assert PAPER.factor(first) == PAPER.factor(last)


@pytest.mark.parametrize(("epochs", "decay"), [(3, 4), (0, 5), (5, 0), (1, 1)])
def test_rates_are_those_of_a_lambda_scheduler_stepped_after_each_epoch(epochs, decay):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1 - max(0, e + 1 - epochs) / (decay + 1))
    plan = Schedule(per_epoch=7, epochs=epochs, decay_epochs=decay)
    for epoch in range(epochs + decay):
        assert plan.factor(epoch * 7 + 3) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("epoch", "rate"), [(1, 2e-4), (101, 2e-4), (102, 1.98e-4), (150, 1.02e-4), (200, 2e-6)])
def test_delayed_rates_fall_an_epoch_later(epoch, rate):
    """As in pix2pixHD's code, which takes lr / 100 off at the end of each epoch after the hundredth."""
    plan = Schedule(per_epoch=10, epochs=100, decay_epochs=100, rule="delayed")
    assert LR * plan.factor((epoch - 1) * 10) == LR * plan.factor(epoch * 10 - 1) == pytest.approx(rate)
    assert Schedule(10, 3, 0, rule="delayed").factor(30) == 1


def test_a_delayed_plan_of_images_is_that_of_the_reference():
    flags = {"images": 1000, "decay_images": 400}
    delayed, plain = (
        Schedule.from_config(resolve(TrainConfig, ("flags", {**flags, "schedule": rule})), per_epoch=7)
        for rule in ("delayed", "reference")
    )
    assert [delayed.factor(n) for n in range(0, 1001, 50)] == [plain.factor(n) for n in range(0, 1001, 50)]


def test_every_epoch_trains_and_none_more_than_the_one_before():
    factors = [PAPER.factor(n) for n in range(PAPER.planned)]
    assert min(factors) == pytest.approx(1 / 101)
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize(
    ("settings", "planned"),
    [
        ({"epochs": 3, "decay_epochs": 2}, 35),
        ({"epochs": 3, "decay_epochs": 0}, 21),
        ({"epochs": 3, "images": 5}, 5),
    ],
)
def test_a_plan_is_counted_in_epochs_unless_images_are_given(settings, planned):
    assert Schedule.from_config(resolve(TrainConfig, ("flags", settings)), per_epoch=7).planned == planned


def test_by_images_the_rate_is_constant():
    plan = Schedule.from_config(resolve(TrainConfig, ("flags", {"images": 1000})), per_epoch=7)
    assert {plan.factor(n) for n in range(1000)} == {1.0}


@pytest.mark.parametrize(
    ("images", "factor"), [(0, 1.0), (600, 1.0), (700, 0.75), (800, 0.5), (999, 1 / 400), (1000, 0)]
)
def test_by_images_the_rate_falls_to_zero_over_the_last(images, factor):
    plan = Schedule.from_config(resolve(TrainConfig, ("flags", {"images": 1000, "decay_images": 400})), per_epoch=7)
    assert plan.factor(images) == pytest.approx(factor)


def test_epochs_do_not_move_a_plan_of_images():
    one, other = (Schedule(per_epoch=e, epochs=e, decay_epochs=e, images=50, decay_images=20) for e in (1, 9))
    assert [one.factor(n) for n in range(50)] == [other.factor(n) for n in range(50)]


@pytest.mark.parametrize(("iterations", "decay"), [(200_000, 100_000), (200_500, 99_300), (3_000, 5_000)])
def test_as_stargan_s_authors_released_it_the_rate_hardly_falls(iterations, decay):
    """Simulated: every thousandth iteration of the last ones takes off what each of them should."""
    flags = {"images": 16 * iterations, "decay_images": 16 * decay, "schedule": "stargan-released"}
    plan = Schedule.from_config(resolve(TrainConfig, ("flags", flags)), per_epoch=7)
    rate, expected = 1.0, {}
    for i in range(1, iterations + 1):
        if i % 1000 == 0 and i > iterations - decay:
            rate -= 1 / decay
        if i % 500 < 2:
            expected[16 * i] = rate
    assert {images: plan.factor(images) for images in expected} == pytest.approx(expected)
    assert 0.999 - 1e-3 / 4 < rate < 1
    assert plan.factor(15) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "reference-2020", "images": 50},
        {"schedule": "stargan-released", "epochs": 5, "decay_epochs": 5},
        {"schedule": "stargan-released", "images": 50},
    ],
)
def test_a_rule_for_another_plan_is_refused(settings):
    with pytest.raises(UsageError, match=f"--schedule {settings['schedule']} is a rule for"):
        Schedule.from_config(resolve(TrainConfig, ("flags", settings)), per_epoch=7)

"""The adversarial loss of a config: its costs, its label and its gradient penalty."""

from functools import partial

import pytest
import torch
from torch import nn

from translate.nn import losses
from translate.nn.adversarial_loss import AdversarialLoss
from translate.nn.losses import ADVERSARIAL

KEY = torch.arange(2)
PENALISED = [name for name, cost in ADVERSARIAL.items() if cost.penalty_weight]
PAIRED = [name for name, cost in ADVERSARIAL.items() if cost.relativistic]


def images(seed, count=2):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 2)
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_losses_of_logits_in_half_precision_are_in_float32(name, half):
    """They are those of the same logits in float32; rounded, they would have three digits."""
    loss = AdversarialLoss(name)
    real, fake = (images(seed)[:, :1].to(half) for seed in range(2))
    for one, same in (
        (loss.generator_loss(fake, lambda: real), loss.generator_loss(fake.float(), lambda: real.float())),
        (loss.discriminator_loss(real, fake), loss.discriminator_loss(real.float(), fake.float())),
    ):
        assert one.dtype == torch.float32
        assert torch.equal(one, same)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_are_those_of_the_row(name, net):
    cost, loss, real, fake = ADVERSARIAL[name], AdversarialLoss(name), images(0), images(1)
    on_real, on_fake = net(real), net(fake)
    assert loss.discriminator_loss(on_real, on_fake) == cost.discriminator_loss(on_real, on_fake)
    assert loss.generator_loss(on_fake, lambda: on_real) == (
        cost.generator_loss(on_real, on_fake) if cost.relativistic else cost.generator_loss(on_fake)
    )


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_label_of_real_images_counts_for_the_discriminator_of_costs_that_have_one(name, net):
    cost, loss, real, fake = ADVERSARIAL[name], AdversarialLoss(name, real_label=0.9), images(0), images(1)
    on_real, on_fake = net(real), net(fake)
    smoothed = (
        cost.discriminator_loss(on_real, on_fake, target=0.9)
        if cost.supports_label_smoothing
        else cost.discriminator_loss(on_real, on_fake)
    )
    assert loss.discriminator_loss(on_real, on_fake) == smoothed
    assert (smoothed != cost.discriminator_loss(on_real, on_fake)) == cost.supports_label_smoothing
    assert loss.generator_loss(on_fake, lambda: on_real) == AdversarialLoss(name).generator_loss(
        on_fake, lambda: on_real
    )


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_generator_looks_at_real_images_only_where_they_are_paired(name, net):
    seen = []

    def d(x):
        seen.append((x, torch.is_grad_enabled()))
        return net(x)

    fake, real = images(1), images(0)
    AdversarialLoss(name).generator_loss(d(fake), lambda: d(real))
    assert [(x is real, graph) for x, graph in seen] == [(False, True)] + [(True, False)] * (name in PAIRED)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", PAIRED)
def test_the_generators_gradient_is_exact_without_the_graph_of_real_images(name, net):
    """Against both passes with a graph: what comes to the made images is the same to the last bit."""
    real, fake = images(0), images(1).requires_grad_()
    whole = ADVERSARIAL[name].generator_loss(net(real), net(fake))
    (expected,) = torch.autograd.grad(whole, fake)
    (got,) = torch.autograd.grad(AdversarialLoss(name).generator_loss(net(fake), lambda: net(real)), fake)
    assert torch.equal(got, expected)
    assert got.abs().max() > 0


@pytest.mark.parametrize("name", PAIRED)
def test_under_autocast_the_generator_is_taught_all_the_same(name, net):
    """The pass without a graph must not leave casts of the weights behind that the other pass would be cut off by."""
    net, real, fake = net.float(), images(0).float(), images(1).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        AdversarialLoss(name).generator_loss(net(fake), lambda: net(real)).backward()
    assert fake.grad.abs().max() > 0
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize(
    "settings", [{}, {"penalty_every": 3}, {"penalty_weight": 0.0}, {"penalty_weight": 2.0, "penalty_every": 1}]
)
def test_when_the_penalty_is_due(name, settings):
    cost, loss = ADVERSARIAL[name], AdversarialLoss(name, **settings)
    every = settings.get("penalty_every", cost.penalty_every)
    wanted = cost.penalty_weight and settings.get("penalty_weight", cost.penalty_weight)
    expected = [step for step in range(20) if wanted and step % every == 0]
    assert [step for step in range(20) if loss.has_penalty(step)] == expected
    assert [step for step in range(20) if loss.phase(step) == "penalty"] == expected
    assert {loss.phase(step) for step in range(20)} <= {"penalty", ""}


def test_defaults_by_hand():
    """wgan-gp: λ = 10 in every step. Relativistic: γ = 1, one step in eight."""
    due = {name: [step for step in range(17) if AdversarialLoss(name).has_penalty(step)] for name in ADVERSARIAL}
    assert due.pop("wgan-gp") == list(range(17))
    assert due.pop("relativistic") == [0, 8, 16]
    assert not any(due.values())


@pytest.mark.parametrize(
    ("settings", "factor"),
    [({}, 8.0), ({"penalty_weight": 0.5}, 4.0), ({"penalty_weight": 3.0, "penalty_every": 2}, 6.0)],
)
def test_the_penalty_has_its_weight_and_counts_for_the_steps_without(settings, factor, net):
    real, fake = images(0), images(1)
    plain = losses.zero_centred_penalty(net, real, fake, KEY)
    torch.testing.assert_close(
        AdversarialLoss("relativistic", **settings).penalty(net, real, fake, KEY), factor * plain
    )


def test_the_penalty_of_wgan_gp_is_ten_times_the_gradient_penalty(net):
    real, fake = images(0), images(1)
    plain = losses.gradient_penalty(net, real, fake, KEY)
    torch.testing.assert_close(AdversarialLoss("wgan-gp").penalty(net, real, fake, KEY), 10 * plain)


@pytest.mark.parametrize("name", PENALISED)
@pytest.mark.parametrize("every", [1, 2, 4, 8])
def test_a_lazy_penalty_is_on_average_that_of_every_step(name, every, net):
    """Its gradient, summed over eight steps in which nothing moves."""

    def total(loss):
        steps = [step for step in range(8) if loss.has_penalty(step)]
        summed = sum(loss.penalty(net, images(0), images(1), KEY) for _ in steps)
        return torch.autograd.grad(summed, net[0].weight)[0]

    torch.testing.assert_close(
        total(AdversarialLoss(name, penalty_every=every)), total(AdversarialLoss(name, penalty_every=1))
    )


def test_r1_and_r2_flatten_a_discriminator_by_hand():
    """D(x) = w · x and γ: the penalty is γ ‖w‖² (½ at real, ½ at made images), its gradient 2 γ w."""
    w = images(3, count=1).requires_grad_()
    penalty = AdversarialLoss("relativistic", penalty_weight=0.3, penalty_every=1).penalty(
        lambda x: (w * x).sum((1, 2, 3)), images(0), images(1), KEY
    )
    torch.testing.assert_close(penalty, 0.3 * w.square().sum())
    torch.testing.assert_close(torch.autograd.grad(penalty, w)[0], 0.6 * w.detach())


def test_a_name_that_is_no_cost():
    with pytest.raises(KeyError, match="lsgen"):
        AdversarialLoss("lsgen")


class TwoHeads(nn.Module):
    """The net of these tests and another one that sees half the size: a list of logits of two shapes."""

    def __init__(self, net):
        super().__init__()
        torch.manual_seed(1)
        self.heads = nn.ModuleList([net, nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 1, 2)).double()])

    def forward(self, x):
        return [head(x) for head in self.heads]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_of_several_heads_are_means_over_them(name, net):
    two, loss, real, fake = TwoHeads(net), AdversarialLoss(name), images(0), images(1)
    expected_d = [loss.discriminator_loss(head(real), head(fake)) for head in two.heads]
    expected_g = [loss.generator_loss(head(fake), partial(head, real)) for head in two.heads]
    torch.testing.assert_close(loss.discriminator_loss(two(real), two(fake)), torch.stack(expected_d).mean())
    torch.testing.assert_close(loss.generator_loss(two(fake), lambda: two(real)), torch.stack(expected_g).mean())


@pytest.mark.parametrize("name", PENALISED)
def test_the_penalty_of_two_equal_heads_is_that_of_their_sum_or_mean(name, net):
    """WGAN-GP sums the logits of an image, so that two equal heads are one critic of twice the slope; R1 takes their mean."""
    loss, real, fake = AdversarialLoss(name), images(0), images(1)
    once = loss.penalty(lambda x: 2 * net(x) if name == "wgan-gp" else net(x), real, fake, KEY)
    torch.testing.assert_close(loss.penalty(lambda x: [net(x), net(x)], real, fake, KEY), once)

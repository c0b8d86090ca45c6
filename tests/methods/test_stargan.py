"""StarGAN against a second one in plain PyTorch, written from the paper and the published facts of the authors' code alone."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate import keyed_random
from translate.errors import DataError, UsageError
from translate.methods.stargan import PAPER_LENGTH, StarGAN, permute_labels
from translate.nn.losses import domain_classification
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from .helpers import COUNT, NAMES, SIZE, clock_at, labelled_batch, small_stargan, stargan_config

KINDS = {"domains": True, "attributes": False}


def yields_of(method, batch, step):
    return list(method.step(batch, clock_at(step), {}))


# The double.


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        first, second = (
            [
                nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
                nn.InstanceNorm2d(channels, affine=True, track_running_stats=True),
            ]
            for _ in range(2)
        )
        self.main = nn.Sequential(*first, nn.ReLU(), *second)

    def forward(self, x):
        return x + self.main(x)


def double_generator(kinds, width):
    def unit(conv, channels):
        return [conv, nn.InstanceNorm2d(channels, affine=True, track_running_stats=True), nn.ReLU()]

    layers = unit(nn.Conv2d(3 + kinds, width, 7, 1, 3, bias=False), width)
    for cin in (width, 2 * width):
        layers += unit(nn.Conv2d(cin, 2 * cin, 4, 2, 1, bias=False), 2 * cin)
    layers += [Block(4 * width) for _ in range(6)]
    for cin in (4 * width, 2 * width):
        layers += unit(nn.ConvTranspose2d(cin, cin // 2, 4, 2, 1, bias=False), cin // 2)
    return nn.Sequential(*layers, nn.Conv2d(width, 3, 7, 1, 3, bias=False), nn.Tanh())


class DoubleDiscriminator(nn.Module):
    def __init__(self, kinds, width, layers, size):
        super().__init__()
        trunk, channels = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.01)], width
        for _ in range(layers - 1):
            trunk += [nn.Conv2d(channels, 2 * channels, 4, 2, 1), nn.LeakyReLU(0.01)]
            channels *= 2
        self.trunk = nn.Sequential(*trunk)
        self.src = nn.Conv2d(channels, 1, 3, 1, 1, bias=False)
        self.cls = nn.Conv2d(channels, kinds, size // 2**layers, bias=False)

    def forward(self, x):
        h = self.trunk(x)
        return self.src(h), self.cls(h).view(len(x), -1)


def copied(double, ours):
    pairs = list(zip(double.parameters(), ours.parameters(), strict=True))
    for p, q in pairs:
        assert p.shape == q.shape
        p.data = q.detach().clone()
    return double


class Double:
    """The authors' iteration, in their order; chance is given: the permutation, and the shares of the penalty's mixes."""

    def __init__(self, method, exclusive):
        width, kinds = method.cfg.g_width, len(method.domain_names)
        self.exclusive, self.kinds, self.iteration = exclusive, kinds, 0
        self.g = copied(double_generator(kinds, width), method.g)
        self.d = copied(DoubleDiscriminator(kinds, width, 5, SIZE), method.d)
        self.of_g, self.of_d = (torch.optim.Adam(net.parameters(), 1e-4, (0.5, 0.999)) for net in (self.g, self.d))

    def translated(self, x, c):
        c = c.view(len(c), -1, 1, 1).repeat(1, 1, x.shape[2], x.shape[3])
        return self.g(torch.cat([x, c], dim=1))

    def classified(self, logits, label):
        if self.exclusive:
            return F.cross_entropy(logits, label)
        entropy = -(label * logits.sigmoid().log() + (1 - label) * (1 - logits.sigmoid()).log())
        return entropy.sum() / len(logits)

    def vector(self, label):
        return F.one_hot(label, self.kinds).double() if self.exclusive else label

    def step(self, x, label, order, share, n_critic):
        target = label[order]
        losses = {}
        on_real, kind = self.d(x)
        made = self.translated(x, self.vector(target)).detach()
        losses["d/adv"] = self.d(made)[0].mean() - on_real.mean()
        losses["d/classification"] = self.classified(kind, label)
        mix = (share * x + (1 - share) * made).requires_grad_()
        out = self.d(mix)[0]
        (slope,) = torch.autograd.grad(out, mix, torch.ones_like(out), create_graph=True)
        norm = slope.view(len(x), -1).square().sum(1).sqrt()
        losses["d/penalty"] = 10 * (norm - 1).square().mean()
        self.of_d.zero_grad()
        sum(losses.values()).backward()
        self.of_d.step()
        self.iteration += 1
        if self.iteration % n_critic:
            return losses
        made = self.translated(x, self.vector(target))
        on_made, kind = self.d(made)
        back = self.translated(made, self.vector(label))
        own = {
            "g/adv": -on_made.mean(),
            "g/classification": self.classified(kind, target),
            "g/reconstruction": 10 * (x - back).abs().mean(),
        }
        self.of_g.zero_grad()
        sum(own.values()).backward()
        self.of_g.step()
        return losses | own


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_as_the_double_does(kind):
    """Six iterations, in two of which the generator learns too: every loss of each, and all weights in the end."""
    exclusive = KINDS[kind]
    engine = Engine(
        small_stargan(exclusive=exclusive, n_critic=3), Schedule(1, 0, 0, images=1000), seed=0, device=torch.device("cpu"),
        precision=PRECISIONS["fp64"], batch_size=COUNT,
    )  # fmt: skip
    double = Double(engine.method, exclusive)
    for step in range(6):
        batch = labelled_batch(exclusive, COUNT * step)
        key = keyed_random.image_keys(0, torch.arange(COUNT * step, COUNT * (step + 1)))
        order = keyed_random.bits(key, "target").argsort()
        share = keyed_random.uniform(key, "gradient penalty", 1, 1, 1).double()
        label = batch["label"] if exclusive else batch["label"].double()
        ours = engine.step([{name: batch[name] for name in ("a", "label")}])
        theirs = double.step(batch["a"], label, order, share, 3)
        assert ours.keys() == theirs.keys()
        assert len(ours) == (6 if step % 3 == 2 else 3)
        for name, loss in theirs.items():
            torch.testing.assert_close(ours[name], loss.detach(), rtol=0, atol=1e-10, msg=name)
    for mine, yours in ((engine.method.g, double.g), (engine.method.d, double.d)):
        for p, q in zip(mine.parameters(), yours.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-8)  # Adam scales rounding where gradients are 0


# The networks.


def test_the_networks_are_as_large_as_in_the_paper():
    """53.2 million weights for 128 pixels and five attributes."""
    cfg = StarGAN.with_labels(StarGAN.resolve_config(StarGAN.Config()), tuple("pqrst"), exclusive=False)
    method = StarGAN.on_meta(cfg)
    sizes = {name: sum(p.numel() for p in method.get_submodule(name).parameters()) for name in ("g", "d")}
    assert sizes == {"g": 8_430_528, "d": 44_762_048}
    assert sum(sizes.values()) == 53_192_576


def test_networks_start_from_torch_s_own_initial_weights():
    """Uniform to ±1/√(fan in), and norms at 1 and 0."""
    method = small_stargan()
    for conv in (m for m in method.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))):
        bound = conv.weight[0].numel() ** -0.5
        assert 0.9 * bound < conv.weight.abs().max() <= bound
        assert conv.bias is None or 0 < conv.bias.abs().max() <= bound
    norms = [m for m in method.g.modules() if type(m).__name__ == "AffineInstanceNorm2d"]
    assert len(norms) == 5 + 2 * 6
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_evaluation_is_as_training():
    """The authors never leave training mode: torch's own norms would go over to running statistics."""
    method, batch = small_stargan().double(), labelled_batch()
    assert torch.equal(
        method.train().translate(batch["a"], "winter").detach(), method.eval().translate(batch["a"], "winter").detach()
    )


# A step.


def test_the_generator_learns_in_every_fifth_step():
    method = small_stargan()
    order = [[name for name, _ in yields_of(method, labelled_batch(dtype=torch.float32), step)] for step in range(10)]
    assert order == [["d"]] * 4 + [["d", "g"]] + [["d"]] * 4 + [["d", "g"]]


@pytest.mark.parametrize(("n_critic", "phases"), [(1, ["penalty g"] * 3), (2, ["penalty", "penalty g", "penalty"])])
def test_the_phase_says_whether_it_learns(n_critic, phases):
    method = small_stargan(n_critic=n_critic)
    assert [method.phase(clock_at(step)) for step in range(3)] == phases


def test_lazy_penalties_and_critic_steps_go_together():
    method = small_stargan(n_critic=2, penalty_every=3)
    phases = [method.phase(clock_at(step)) for step in range(6)]
    assert phases == ["penalty", "g", "", "penalty g", "", "g"]
    for step, phase in enumerate(phases):
        losses = {
            f"{name}/{key}"
            for name, part in yields_of(method, labelled_batch(dtype=torch.float32), step)
            for key in part
        }
        assert ("d/penalty" in losses) == ("penalty" in phase)
        assert ("g/adv" in losses) == ("g" in phase.split())


def test_weights_multiply_their_losses():
    flags = {"lambda_cls": 3.0, "lambda_rec": 7.0, "lambda_penalty": 2.0}
    plain, other = ({f"{u}/{k}": v.item() for u, part in yields_of(small_stargan(**f).double(), labelled_batch(), 4)
                     for k, v in part.items()} for f in ({}, flags))  # fmt: skip
    ratios = {key: other[key] / plain[key] for key in plain}
    wanted = {
        "d/adv": 1,
        "d/classification": 3,
        "d/penalty": 0.2,
        "g/adv": 1,
        "g/classification": 3,
        "g/reconstruction": 0.7,
    }
    assert ratios == pytest.approx(wanted)


@pytest.mark.parametrize("adversarial", ["lsgan", "relativistic"])
def test_other_costs_see_the_same_images(adversarial):
    """With the costs that pair, too, real images stand beside the fakes."""
    method, batch = small_stargan(adversarial=adversarial).double(), labelled_batch()
    losses = dict(yields_of(method, batch, 4))["g"]
    target = permute_labels(method.label_vectors(batch["label"], torch.float64), batch["key"])
    on_fake, on_real = method.d(method.generate(batch["a"], target)), method.d(batch["a"])
    expected = (on_fake - 1).square().mean() if adversarial == "lsgan" else F.softplus(on_real - on_fake).mean()
    torch.testing.assert_close(losses["adv"], expected, rtol=0, atol=1e-12)


def test_classification_by_hand():
    """log 2 where the logits say nothing; a sum over attributes, a mean over images."""
    log2 = torch.tensor(2.0).log()
    nothing, label = torch.zeros(3, 2), torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    torch.testing.assert_close(domain_classification(nothing, label, attributes=False), log2)
    torch.testing.assert_close(domain_classification(nothing, label, attributes=True), 2 * log2)
    logits = torch.tensor([[2.0, -1.0]])  # of an image of the first domain; with the first attribute alone
    one_of_two = torch.log(1 + torch.tensor(-3.0).exp())
    each = torch.log(1 + torch.tensor(-2.0).exp()) + torch.log(1 + torch.tensor(-1.0).exp())
    torch.testing.assert_close(domain_classification(logits, label[:1], attributes=False), one_of_two)
    torch.testing.assert_close(domain_classification(logits, label[:1], attributes=True), each)


def test_targets_are_the_batch_s_own_labels_in_another_order():
    label = torch.arange(40.0).view(20, 2)
    orders = [permute_labels(label, keyed_random.image_keys(seed, torch.arange(20))) for seed in range(50)]
    assert all(torch.equal(order.sort(0).values, label) for order in orders)
    assert torch.equal(orders[0], permute_labels(label, keyed_random.image_keys(0, torch.arange(20))))
    assert len({tuple(order[:, 0].tolist()) for order in orders}) == 50
    staying = torch.stack([(order == label).all(1) for order in orders]).sum().item()
    assert 20 < staying < 90  # one of each permutation on average: 50, with a variance of 50


@pytest.mark.parametrize("kind", KINDS)
def test_labels_become_vectors(kind):
    method = small_stargan(exclusive=KINDS[kind])
    given = torch.tensor([2, 0]) if KINDS[kind] else torch.tensor([[0.0, 1, 1], [0, 0, 0]])
    expected = [[0, 0, 1], [1, 0, 0]] if KINDS[kind] else [[0, 1, 1], [0, 0, 0]]
    assert torch.equal(method.label_vectors(given, torch.float64), torch.tensor(expected, dtype=torch.float64))


# Settings.


def test_the_plan_is_the_authors_unless_another_is_asked_for():
    def plan(**flags):
        cfg = stargan_config(**flags)
        return cfg.images, cfg.decay_images, cfg.epochs, cfg.decay_epochs

    assert PAPER_LENGTH["images"] == 200_000 * 16
    assert plan() == (3_200_000, 1_600_000, 0, 0)
    assert plan(images=60) == (60, 0, 0, 0)  # by images the rate is constant, unless it is said otherwise
    assert plan(epochs=3) == (None, 0, 3, 0)
    assert plan(decay_epochs=2) == (None, 0, 0, 2)


def test_the_rate_falls_to_zero_unless_as_released():
    default, released = stargan_config(), stargan_config(schedule="stargan-released")
    assert Schedule.from_config(default, 1).factor(2_400_000) == 0.5
    assert Schedule.from_config(default, 1).factor(3_200_000) == 0
    assert Schedule.from_config(released, 1).factor(3_200_000) == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"input_channels": 1}, "--input-channels and --output-channels"),
        ({"range_b": "0:1"}, "--range-b"),
        ({"preprocess": "none"}, "--preprocess none"),
        ({"batch_size": 1}, "--batch-size 1"),
        ({"batch_size": 4, "accumulate": 4}, "--accumulate 4"),
        ({"crop_size": 130}, "use --crop-size 128"),
        ({"crop_size": 4}, "use --crop-size 8"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(flags, said):
    with pytest.raises(UsageError, match=re.escape(said)) as error:
        stargan_config(**flags)
    assert "\n" not in str(error.value)


def test_another_discriminator_is_refused():
    with pytest.raises(UsageError, match="discriminator is 'basic', but must be one of stargan"):
        stargan_config(discriminator="basic")


@pytest.mark.parametrize("crop", [8, 32, 36, 60, 64, 96, 100, 128, 256])
def test_it_trains_at_any_crop_that_the_generator_takes(crop):
    method = StarGAN.on_meta(
        stargan_config(crop_size=crop, load_size=crop, lambda_penalty=0)
    )  # autocast knows no meta device
    batch = {
        "a": torch.zeros(2, 3, crop, crop),
        "label": torch.zeros(2, dtype=torch.int64),
        "key": torch.zeros(2).long(),
    }
    batch = {name: x.to("meta") for name, x in batch.items()}
    assert [name for name, _ in method.step(batch, clock_at(4), {})] == ["d", "g"]


@pytest.mark.parametrize("generator", ["resnet_3blocks", "unet_32"])
def test_other_generators_take_the_labels_too(generator):
    method = small_stargan(generator=generator)
    assert [name for name, _ in yields_of(method, labelled_batch(dtype=torch.float32), 4)] == ["d", "g"]


def test_names_come_from_the_data():
    cfg = stargan_config()
    assert (cfg.domains, cfg.attributes) == ("autumn,summer,winter", False)
    assert StarGAN.with_labels(cfg, NAMES, exclusive=True) == cfg
    assert stargan_config(exclusive=False).attributes
    assert stargan_config(("smiling",), exclusive=False).domains == "smiling"  # it may be there or not


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        (("autumn", "winter"), UsageError, "--domains autumn,summer,winter: the data has autumn,winter"),
        (("a,b", "c"), DataError, "'a,b' cannot be the name"),
        (("all", "c"), DataError, "'all' cannot be the name"),
        (("autumn",), DataError, "only 'autumn'"),
    ],
)
def test_names_that_cannot_be_are_refused(names, error, said):
    with pytest.raises(error, match=re.escape(said)):
        StarGAN.with_labels(stargan_config(), names, exclusive=True)

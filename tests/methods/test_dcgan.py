"""DCGAN: parity with a plain double, the order and ratio of its updates, classes, samples, and what it refuses."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.base import Clock
from translate.methods.dcgan import DCGAN, DCGANConfig
from translate.methods.noise_images import SAMPLE_COLUMNS

from .helpers import CLASSES, COUNT, SIZE, dcgan_batch, dcgan_config, dcgan_engine, keyed_dcgan_batch, small_dcgan


def at(images_seen):
    return Clock(images=images_seen, step=images_seen // COUNT, epoch=0, progress=0.0)


def yields(method, clock):
    return [(update, *losses) for update, losses in method.step(keyed_dcgan_batch(), clock, {})]


# Parity.


class Double:
    """The recipe in plain PyTorch: its own networks, cross-entropy and optimizers."""

    def __init__(self, method, k=0, label=1.0, n_critic=1):
        def up(cin, cout):
            return [nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]

        def down(cin, cout):
            return [nn.Conv2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(0.2)]

        first = [nn.ConvTranspose2d(6 + k, 8, 4, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        self.g = nn.Sequential(*first, *up(8, 4), *up(4, 2), nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.Tanh()).double()
        first = [nn.Conv2d(3 + k, 2, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.d = nn.Sequential(*first, *down(2, 4), *down(4, 8), nn.Conv2d(8, 1, 4)).double()
        for net, ours in ((self.g, method.g), (self.d, method.d)):
            theirs = [x.clone() for x in ours.state_dict().values()]
            net.load_state_dict(dict(zip(net.state_dict(), theirs, strict=True)))
        self.adam_g, self.adam_d = (
            torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999)) for n in (self.g, self.d)
        )
        self.k, self.label, self.n_critic = k, label, n_critic

    def latent_code(self, key, label):
        z = torch.stack([keyed_random.uniform(one[None], "z", 6)[0] for one in key]).double() * 2 - 1
        hot = torch.stack([torch.tensor([float(i == c) for i in range(self.k)]) for c in label])
        return torch.cat([z, hot.double()], 1), hot.double()

    def step(self, number, batch, key):
        code, hot = self.latent_code(key, batch["label"])
        planes = torch.ones(COUNT, self.k, SIZE, SIZE, dtype=torch.float64) * hot[:, :, None, None]
        fake = self.g(code[:, :, None, None])

        def entropy(x, label):
            logits = self.d(torch.cat([x, planes], 1))
            return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

        losses = {"d/adv": (entropy(batch["a"], self.label) + entropy(fake.detach(), 0.0)) / 2}
        self.adam_d.zero_grad()
        losses["d/adv"].backward()
        self.adam_d.step()
        if number % self.n_critic == self.n_critic - 1:
            losses["g/adv"] = entropy(fake, 1.0)
            self.adam_g.zero_grad()
            losses["g/adv"].backward()
            self.adam_g.step()
        return losses


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ({}, {}),
        ({"classes": CLASSES}, {"k": 3}),
        ({"real_label": 0.9, "n_critic": 2}, {"label": 0.9, "n_critic": 2}),
    ],
    ids=["default", "classes", "smoothing, critics"],
)
def test_training_is_that_of_a_plain_double(flags, options):
    """Losses, weights and running statistics of each of six steps, and the samples at the end."""
    engine = dcgan_engine(**flags)
    double = Double(engine.method, **options)
    for number in range(6):
        key = keyed_random.image_keys(0, torch.arange(number * COUNT, (number + 1) * COUNT))
        ours, theirs = engine.step([dcgan_batch(number)]), double.step(number, dcgan_batch(number), key)
        assert ours.keys() == theirs.keys()
        for name, loss in theirs.items():
            torch.testing.assert_close(ours[name], loss.detach(), rtol=0, atol=1e-10, msg=name)
        for net, other in ((engine.method.g, double.g), (engine.method.d, double.d)):
            for x, y in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
                torch.testing.assert_close(x, y, rtol=0, atol=1e-10)
    label, method = torch.tensor([0, 1, 2, -1]), engine.method.eval()
    code, _ = double.latent_code(key, label)
    expected = double.g.eval()(code[:, :, None, None])
    made = method.sample(key, label if method.classes else None)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-10)


def test_the_paper_s_recipe():
    """Sec. 4 and fig. 1; the epochs of the authors' code."""
    cfg = DCGAN.resolve_config(config.resolve(DCGANConfig))
    assert (cfg.batch_size, cfg.lr, cfg.noise_size, cfg.crop_size, cfg.g_width) == (128, 2e-4, 100, 64, 128)
    assert (cfg.epochs, cfg.decay_epochs, cfg.flip, cfg.norm, cfg.adversarial) == (
        25,
        0,
        False,
        "batch",
        "non-saturating",
    )
    assert cfg.default_load_size == 64
    method = small_dcgan()
    assert {update.options["betas"] for update in method.updates.values()} == {(0.5, 0.999)}
    weights = [p for name, p in DCGAN(dcgan_config(g_width=16)).named_parameters() if p.ndim == 4]
    assert torch.cat([p.flatten() for p in weights]).std().item() == pytest.approx(0.02, rel=0.01)


# Order and ratio of updates.


def test_the_discriminator_is_first_and_both_see_the_same_fakes():
    method, seen = small_dcgan(), []
    method.d.register_forward_hook(lambda _, given, out: seen.append(given[0].detach().clone()))
    assert yields(method, at(0)) == [("d", "adv"), ("g", "adv")]
    real, fake, again = seen
    assert torch.equal(real, keyed_dcgan_batch()["a"])
    assert torch.equal(fake, again)
    expected = small_dcgan().g(2 * keyed_random.uniform(keyed_dcgan_batch()["key"], "z", 6) - 1)
    assert torch.equal(fake, expected)


def test_critics_are_steps_on_images_of_their_own():
    method = small_dcgan(n_critic=3)
    assert [len(yields(method, at(COUNT * n))) for n in range(6)] == [1, 1, 2, 1, 1, 2]
    assert [method.phase(at(COUNT * n)) for n in range(3)] == ["critic", "critic", ""]


def test_the_warm_up_is_counted_in_images():
    """10 images in steps of 4: the first three steps start before the tenth."""
    method = small_dcgan(d_warmup=10)
    assert [method.phase(at(COUNT * n)) for n in range(4)] == ["warm-up", "warm-up", "warm-up", ""]
    assert [len(yields(method, at(COUNT * n))) for n in range(4)] == [1, 1, 1, 2]
    engine = dcgan_engine(d_warmup=8)
    before = [p.clone() for p in engine.method.g.parameters()]
    moved = []
    for number in range(3):
        engine.step([dcgan_batch(number)])
        moved.append(not all(map(torch.equal, engine.method.g.parameters(), before)))
    assert moved == [False, False, True]


def test_a_lazy_penalty_has_a_phase_of_its_own():
    method = small_dcgan(adversarial="wgan-gp", norm="instance", penalty_every=2, n_critic=2)
    assert [method.phase(at(COUNT * n)) for n in range(2)] == ["critic penalty", ""]
    assert [yields(method, at(COUNT * n)) for n in range(2)] == [
        [("d", "adv", "penalty")],
        [("d", "adv"), ("g", "adv")],
    ]


# Costs.


class Says(nn.Module):
    """A discriminator whose logit is the mean brightness of what it sees, times a weight."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return self.gain * x.mean((1, 2, 3))


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_label_smoothing_by_hand(label):
    """Images of ½ and a generator of −½ under a weight of 4: logits 2 and −2. One-sided: fakes are asked for 0."""
    method, batch = small_dcgan(real_label=label), {**keyed_dcgan_batch(), "a": torch.full((COUNT, 3, SIZE, SIZE), 0.5)}
    method.d = Says(4.0)
    method.g.forward = lambda code: torch.full((COUNT, 3, SIZE, SIZE), -0.5, requires_grad=True)
    (_, d), (_, g) = method.step(batch, at(0), {})
    on_real = -label * math.log(1 / (1 + math.exp(-2))) - (1 - label) * math.log(1 / (1 + math.exp(2)))
    on_fake = -math.log(1 - 1 / (1 + math.exp(2)))
    assert d["adv"].item() == pytest.approx((on_real + on_fake) / 2, rel=1e-6)
    assert g["adv"].item() == pytest.approx(-math.log(1 / (1 + math.exp(2))), rel=1e-6)


def test_the_penalty_is_of_the_image_and_not_of_the_class():
    """A mean over 3 planes of the image and 3 of the class under a weight w: slope w / (6·32·32) at each of 3·32·32 values."""
    method = small_dcgan(adversarial="wgan-gp", norm="none", classes=CLASSES)
    method.d = Says(1000.0)
    _, losses = next(method.step(keyed_dcgan_batch(), at(0), {}))
    slope = 1000 / (6 * SIZE**2) * math.sqrt(3 * SIZE**2)
    assert losses["penalty"].item() == pytest.approx(10 * (slope - 1) ** 2, rel=1e-4)


def test_the_relativistic_cost_shows_the_generator_real_images():
    """softplus(real − fake) of images of 0.5 and −0.5 under a weight of 2."""
    method, batch = (
        small_dcgan(adversarial="relativistic", norm="none"),
        {**keyed_dcgan_batch(), "a": torch.full((COUNT, 3, SIZE, SIZE), 0.5)},
    )
    method.d = Says(2.0)
    method.g.forward = lambda code: torch.full((COUNT, 3, SIZE, SIZE), -0.5, requires_grad=True)
    (_, d), (_, g) = method.step(batch, at(0), {})
    assert d["adv"].item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)
    assert g["adv"].item() == pytest.approx(math.log1p(math.exp(2)), rel=1e-6)


def test_augmentation_changes_images_and_leaves_the_class_alone():
    method, seen = small_dcgan(diffaugment="color,cutout", classes=CLASSES), []
    method.d.register_forward_hook(lambda _, given, out: seen.append(given[0].detach()))
    yields(method, at(0))
    hot = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert len(seen) == 3
    for x in seen:
        assert torch.equal(x[:, 3:], hot[:, :, None, None].expand(-1, -1, SIZE, SIZE).float())
    assert not torch.equal(seen[0][:, :3], keyed_dcgan_batch()["a"])
    assert not torch.equal(seen[1], seen[2])  # the same fakes, changed by other draws


# Settings that are refused.


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"crop_size": 48}, "use --crop-size 32"),
        ({"crop_size": 100}, "use --crop-size 128"),
        ({"crop_size": 16}, "use --crop-size 32"),
        ({"input_channels": 1, "output_channels": 3}, "--output-channels 3: dcgan"),
        ({"preprocess": "none"}, "--preprocess none"),
        ({"direction": "b2a"}, "--direction b2a: dcgan has no domain b"),
        ({"range_b": "0:1"}, "--range-b: dcgan has no domain b"),
        ({"d_warmup": 100, "images": 100}, "--d-warmup 100 .*--images 100"),
        ({"adversarial": "wgan-gp"}, "use --norm instance or none"),
        ({"adversarial": "relativistic"}, "use --norm instance or none"),
        ({"adversarial": "hinge", "real_label": 0.9}, "no labels to smooth"),
    ],
)
def test_settings_that_cannot_work_are_refused(flags, words):
    with pytest.raises(UsageError, match=words) as e:
        dcgan_config(**flags)
    assert "\n" not in str(e.value)


def test_one_number_of_channels_says_both():
    cfg = dcgan_config(input_channels=1)
    assert cfg.output_channels == 1
    assert dcgan_config(input_channels=1, output_channels=1) == cfg
    assert DCGAN(cfg).eval().sample(torch.arange(2)).shape == (2, 1, SIZE, SIZE)


def test_it_translates_nothing():
    with pytest.raises(UsageError, match="use translate sample"):
        small_dcgan().translate(keyed_dcgan_batch()["a"], "b")
    assert dict(DCGAN.generator_names) == {} and DCGAN.sampling_networks == ("g",)


# The sample grid.


def test_the_grid_shows_real_images_and_samples_of_each_class():
    method, batch = small_dcgan().eval(), keyed_dcgan_batch()
    columns = method.preview(batch)
    assert list(columns) == ["real", *(f"sample {n}" for n in range(1, SAMPLE_COLUMNS + 1))]
    assert len({x.sum().item() for x in columns.values()}) == len(columns)
    method = small_dcgan(classes=CLASSES).eval()
    columns = method.preview(batch)
    assert list(columns) == ["real", "sample cat", "sample dog", "sample owl"]
    assert torch.equal(columns["sample dog"], method.sample(batch["key"], torch.ones(COUNT, dtype=torch.int64)))


def test_the_discriminator_is_judged_on_real_and_made_images():
    for flags in ({}, {"classes": CLASSES}):
        method, batch = small_dcgan(**flags).eval(), keyed_dcgan_batch()
        label = batch["label"] if flags else None
        judged = method.discriminator_outputs(batch)
        assert torch.equal(judged["real"], method.d(method.with_class_planes(batch["a"], label)))
        assert torch.equal(
            judged["fake"], method.d(method.with_class_planes(method.sample(batch["key"], label), label))
        )

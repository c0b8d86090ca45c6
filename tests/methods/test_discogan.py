"""DiscoGAN against a second one, written from the authors' rules on images in [0, 1], and its recipe point by point."""

import pytest
import torch
from torch import nn

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.discogan import DiscoGAN, DiscoGANConfig, feature_matching_loss, reconstruction_loss
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from .helpers import clock_at

SIZE = 64
SMALL = {"g_width": 2, "d_width": 2, "batch_size": 3}


def config_of(**flags):
    return DiscoGAN.resolve_config(config.resolve(DiscoGANConfig, ("test", {**SMALL, **flags})))


def images(step, count=3):
    """A batch of the step: noise in [−1, 1]."""
    key = keyed_random.image_keys(5, torch.arange(count * step, count * step + count))
    return {side: keyed_random.uniform(key, side, 3, SIZE, SIZE).double() * 2 - 1 for side in "ab"}


# The second DiscoGAN: every iteration computes everything and then takes one of two steps.


def generator(w):
    layers = [nn.Conv2d(3, w, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for n in (1, 2, 4):
        layers += [nn.Conv2d(n * w, 2 * n * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * n * w), nn.LeakyReLU(0.2)]
    for n in (4, 2, 1):
        layers += [nn.ConvTranspose2d(2 * n * w, n * w, 4, 2, 1, bias=False), nn.BatchNorm2d(n * w), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(w, 3, 4, 2, 1, bias=False), nn.Sigmoid()).double()


class Judge(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, w, 4, 2, 1, bias=False), nn.LeakyReLU(0.2))
        self.rest = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(n * w, 2 * n * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * n * w), nn.LeakyReLU(0.2)
            )
            for n in (1, 2, 4)
        )
        self.last = nn.Conv2d(8 * w, 1, 4, 1, 0, bias=False)
        self.double()

    def forward(self, x):
        x, maps = self.first(x), []
        for layer in self.rest:
            x = layer(x)
            maps.append(x)
        return self.last(x).sigmoid(), maps


class Twin:
    def __init__(self, method, *, curriculum):
        self.curriculum, self.iteration = curriculum, 0
        self.nets = {
            name: generator(2) if name.startswith("g") else Judge(2) for name in ("g_ab", "g_ba", "d_a", "d_b")
        }
        for name, net in self.nets.items():
            for theirs, ours in zip(net.parameters(), method.get_submodule(name).parameters(), strict=True):
                theirs.data.copy_(ours.data)
        self.optimizers = {
            side: torch.optim.Adam(
                [p for name, net in self.nets.items() if name.startswith(side) for p in net.parameters()],
                lr=2e-4, betas=(0.5, 0.999), weight_decay=1e-5, fused=False,
            )
            for side in "gd"
        }  # fmt: skip

    def step(self, a, b):
        g_ab, g_ba, d_a, d_b = (self.nets[name] for name in ("g_ab", "g_ba", "d_a", "d_b"))
        fake_b, fake_a = g_ab(a), g_ba(b)
        back_a, back_b = g_ba(fake_b), g_ab(fake_a)
        rate = 0.01 if self.iteration < self.curriculum else 0.5
        losses, bce, mse = {}, nn.BCELoss(), nn.MSELoss()
        for side, way, d, real, fake, image, back in (
            ("a", "ba", d_a, a, fake_a, a, back_a),
            ("b", "ab", d_b, b, fake_b, b, back_b),
        ):
            (on_real, wanted), (on_fake, made) = d(real), d(fake)
            yes, no = torch.ones_like(on_real), torch.zeros_like(on_real)
            losses[f"d/adv_{side}"] = 0.5 * bce(on_real, yes) + 0.5 * bce(on_fake, no)
            losses[f"g/adv_{way}"] = bce(on_fake, yes) * 0.1 * (1 - rate)
            features = 0
            for x, y in zip(wanted, made, strict=True):
                apart = (x.mean(0) - y.mean(0)) ** 2
                features = features + nn.HingeEmbeddingLoss()(apart, torch.ones_like(apart))
            losses[f"g/feature_matching_{side}"] = features * 0.9 * (1 - rate)
            losses[f"g/reconstruction_{side}"] = mse(back, image) * rate
        side = "d" if self.iteration % 3 == 0 else "g"
        for net in self.nets.values():
            net.zero_grad()
        losses = {name: loss for name, loss in losses.items() if name.startswith(side)}
        sum(losses.values()).backward()
        self.optimizers[side].step()
        self.iteration += 1
        return losses


def test_training_goes_where_the_authors_rules_lead():
    cfg = config_of(gan_curriculum=4)
    schedule = Schedule(per_epoch=30, epochs=50, decay_epochs=0)
    engine = Engine(
        DiscoGAN(cfg), schedule, seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"], batch_size=3
    )
    twin = Twin(engine.method, curriculum=4)
    for number in range(5):
        batch = images(number)
        expected = twin.step((batch["a"] + 1) / 2, (batch["b"] + 1) / 2)
        got = engine.step([batch])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < 1e-10, f"{number}: {name}"
        for name, net in twin.nets.items():
            for theirs, ours in zip(net.parameters(), engine.method.get_submodule(name).parameters(), strict=True):
                assert (ours - theirs).abs().max() < 1e-10, f"{number}: {name}"


# Special terms.


def test_features_are_compared_by_their_means_over_the_batch():
    """Means 2 and 0, 1 and 4: squares 4 and 9. Their mean is 6.5; a second map adds its own 1."""
    real = [torch.tensor([[1.0, 0.0], [3.0, 2.0]])[:, :, None, None], torch.ones(2, 1, 1, 1)]
    fake = [torch.tensor([[0.0, 8.0], [0.0, 0.0]])[:, :, None, None], torch.zeros(2, 1, 1, 1)]
    assert feature_matching_loss(real, fake) == 7.5
    assert feature_matching_loss(real, [x.flip(0) for x in real]) == 0  # which image has which features is all the same


def test_the_gradient_of_matched_features_is_the_derivative():
    x, y = torch.rand(2, 3, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda y: feature_matching_loss([x], [y]), y.requires_grad_())


def test_reconstruction_is_on_the_paper_s_scale():
    """White instead of black is off by 1, by 2 in [−1, 1]."""
    assert reconstruction_loss(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2)) == 1
    assert reconstruction_loss(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)) == 0.0625


# The recipe.


def test_discriminators_move_in_the_first_of_three_steps():
    method = DiscoGAN(config_of())
    moves = []
    for step in range(7):
        batch = {**{k: v.float() for k, v in images(step).items()}, "key": torch.arange(3)}
        moves += [name for name, _ in method.step(batch, clock_at(step, 3), {})]
    assert "".join(moves) == "dggdggd"


def test_reconstruction_counts_little_at_the_beginning():
    method = DiscoGAN.on_meta(config_of())
    assert [method.reconstruction_share(clock_at(step, 3)) for step in (0, 9_999, 10_000)] == [0.01, 0.01, 0.5]
    phases = {method.phase(clock_at(step, 3)) for step in (0, 1, 9_999, 10_000)}
    assert len(phases) == 3  # 9999 is the discriminators' turn
    assert method.phase(clock_at(1, 3)) != method.phase(clock_at(10_000, 3))


def test_a_lazy_penalty_counts_steps_of_the_discriminators():
    method = DiscoGAN.on_meta(config_of(adversarial="relativistic", norm="instance", penalty_every=2))
    due = [step for step in range(13) if "penalty" in method.phase(clock_at(step, 3))]
    assert due == [0, 6, 12]


def test_the_default_recipe_is_the_authors():
    cfg = DiscoGAN.resolve_config(DiscoGANConfig())
    assert (cfg.generator, cfg.discriminator, cfg.norm, cfg.dropout) == ("discogan", "discogan", "batch", False)
    assert (cfg.crop_size, cfg.default_load_size, cfg.flip, cfg.batch_size) == (64, 64, False, 64)
    assert (cfg.epochs, cfg.decay_epochs, cfg.update_interval, cfg.gan_curriculum) == (5000, 0, 3, 10_000)
    assert (cfg.starting_rate, cfg.default_rate, cfg.feature_share) == (0.01, 0.5, 0.9)
    for update in DiscoGAN.on_meta(cfg).updates.values():
        assert (update.optimizer, update.lr) == ("adam", 2e-4)
        assert update.options == {"betas": (0.5, 0.999), "weight_decay": 1e-5}


def test_its_images_always_influence_each_other():
    assert DiscoGAN.on_meta(config_of()).coupled == "batch norm"
    assert DiscoGAN.on_meta(config_of(norm="instance")).coupled == "feature matching"


@pytest.mark.parametrize("discriminator", ["pixel", "dualgan"])
def test_a_discriminator_without_features_is_refused(discriminator):
    with pytest.raises(UsageError, match=f"--discriminator {discriminator}"):
        config_of(discriminator=discriminator)


@pytest.mark.parametrize(("crop", "near"), [(72, 64), (16, 32)])
def test_a_crop_that_does_not_fit_is_refused_with_one_that_does(crop, near):
    with pytest.raises(UsageError, match=f"--crop-size {near}"):
        config_of(crop_size=crop)


def test_a_single_image_is_translated_by_running_statistics():
    method = DiscoGAN(config_of()).eval()
    x = images(0)["a"].float()
    with torch.no_grad():
        whole = method.translate(x, "b")
        assert (whole[:1] - method.translate(x[:1], "b")).abs().max() < 1e-5  # float32
        plain = nn.Sequential(*[m for m in method.g_ab.model if not isinstance(m, nn.BatchNorm2d)])
        assert (whole - plain(x)).abs().max() < 1e-4  # mean 0 and variance 1 until they are trained

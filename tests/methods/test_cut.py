"""CUT and FastCUT against another writing of them, from plain torch, and each part of the recipe by itself."""

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.cut import CUT, FastCUT
from translate.nn.init import normal_
from translate.nn.networks.antialias import AntialiasDiscriminator
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import contrast_locations, normalise_instances
from .helpers import START, noise_batch

CPU = torch.device("cpu")
SMALL = {"crop_size": 32, "load_size": 32, "g_width": 2, "d_width": 2, "batch_size": 2}


def made(name="cut", **flags):
    cls = METHODS[name]
    return cls(cls.resolve_config(config.resolve(cls.Config, ("small", SMALL), ("test", flags)))).double()


# The double: the authors' blurs by their definition, maps flipped as a whole, the −10, two optimizers.


def binomial(taps, channels, scale):
    taps = torch.tensor(taps, dtype=torch.float64)
    blur = taps[:, None] * taps
    return (blur / blur.sum() * scale).expand(channels, 1, -1, -1)


def blurred_down(x):
    return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), binomial([1, 2, 1], x.shape[1], 1), stride=2, groups=x.shape[1])


def blurred_up(x):
    padded, blur = F.pad(x, (1, 1, 1, 1), "replicate"), binomial([1, 3, 3, 1], x.shape[1], 4)
    return F.conv_transpose2d(padded, blur, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]


def layers_of(w, blocks):
    """The anti-aliased generator layer by layer, from its weights by name."""

    def conv(place, padding=0):
        return lambda x: F.conv2d(x, w[f"model.{place}.weight"], w[f"model.{place}.bias"], padding=padding)

    def block(place):
        def run(x):
            y = x
            for inner, act in ((1, F.relu), (5, lambda y: y)):
                y = F.pad(y, (1, 1, 1, 1), "reflect")
                y = F.conv2d(
                    y, w[f"model.{place}.conv_block.{inner}.weight"], w[f"model.{place}.conv_block.{inner}.bias"]
                )
                y = act(normalise_instances(y))
            return x + y

        return run

    reflected = lambda x: F.pad(x, (3, 3, 3, 3), "reflect")  # noqa: E731
    last = 12 + blocks
    return [
        reflected, conv(1), normalise_instances, F.relu,
        conv(4, 1), normalise_instances, F.relu, blurred_down,
        conv(8, 1), normalise_instances, F.relu, blurred_down,
        *[block(12 + n) for n in range(blocks)],
        blurred_up, conv(last + 1, 1), normalise_instances, F.relu,
        blurred_up, conv(last + 5, 1), normalise_instances, F.relu,
        reflected, conv(last + 9), torch.tanh,
    ]  # fmt: skip


def generated(w, x, blocks):
    for layer in layers_of(w, blocks):
        x = layer(x)
    return x


def judged(w, x):
    x = F.leaky_relu(F.conv2d(x, w["model.0.weight"], w["model.0.bias"], padding=1), 0.2)
    x = blurred_down(x)
    for place, halves in ((3, True), (7, True), (11, False)):
        x = F.conv2d(x, w[f"model.{place}.weight"], w[f"model.{place}.bias"], padding=1)
        x = F.leaky_relu(normalise_instances(x), 0.2)
        x = blurred_down(x) if halves else x
    return F.conv2d(x, w["model.14.weight"], w["model.14.bias"], padding=1)


def tapped(w, x, blocks):
    found = []
    for place, layer in enumerate(layers_of(w, blocks)[:17]):
        x = layer(x)
        if place in (0, 4, 8, 12, 16):
            found.append(x)
    return found


def projected(w, index, x):
    """(S, C) → (S, 256), of length 1 but for the authors' 1e-7."""
    x = F.relu(x @ w[f"heads.{index}.0.weight"].T + w[f"heads.{index}.0.bias"])
    x = x @ w[f"heads.{index}.2.weight"].T + w[f"heads.{index}.2.bias"]
    return x / (x.pow(2).sum(1, keepdim=True).pow(0.5) + 1e-7)


class Double:
    """The authors' step for batches of one: its own loop and three optimizers."""

    def __init__(self, method, blocks):
        self.cfg, self.blocks = method.cfg, blocks
        self.w = {
            net: {k: v.detach().clone().requires_grad_() for k, v in method.get_submodule(net).named_parameters()}
            for net in "gdf"
        }
        self.adams = {net: torch.optim.Adam(self.w[net].values(), 2e-4, betas=(0.5, 0.999)) for net in "gdf"}

    def nce(self, target, source, key, name, flipped):
        queries = tapped(self.w["g"], target, self.blocks)
        keys = tapped(self.w["g"], source, self.blocks)
        total = 0
        for index, (q, k) in enumerate(zip(queries, keys, strict=True)):
            q = q.flip(3) if flipped else q
            area = q.shape[2] * q.shape[3]
            at = keyed_random.bits(key, f"{name} {index}", area)[0].argsort(descending=True)[: self.cfg.nce_patches]
            q, k = (projected(self.w["f"], index, x[0].flatten(1).T[at]) for x in (q, k))
            total = total + contrast_locations(q, k) * self.cfg.lambda_nce
        return total / len(queries)

    def step(self, data):
        a, b, key, g, d = data["a"], data["b"], data["key"], self.w["g"], self.w["d"]
        flipped = self.cfg.flip_equivariance and bool(keyed_random.uniform(key, "flip")[0] < 0.5)
        real = torch.cat([a, b]) if self.cfg.nce_identity else a
        fake = generated(g, real.flip(3) if flipped else real, self.blocks)
        fake, same = fake[:1], fake[1:]
        logged = {"d/adv": 0.5 * ((judged(d, fake.detach()) ** 2).mean() + ((judged(d, b) - 1) ** 2).mean())}
        self.move(logged["d/adv"], "d")
        logged["g/adv"] = ((judged(d, fake) - 1) ** 2).mean()
        logged["g/nce"] = self.nce(fake, a, key, "a", flipped)
        if self.cfg.nce_identity:
            logged["g/nce"] = 0.5 * logged["g/nce"]
            logged["g/nce_identity"] = 0.5 * self.nce(same, b, key, "b", flipped)
        self.move(sum(loss for name, loss in logged.items() if name.startswith("g")), "gf")
        return logged

    def move(self, loss, networks):
        weights = [v for net in networks for v in self.w[net].values()]
        for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = grad
        for net in networks:
            self.adams[net].step()


def engine_of(method):
    return Engine(
        method, Schedule(per_epoch=10, epochs=0, decay_epochs=0, images=1000), seed=0, device=CPU,
        precision=PRECISIONS["fp64"], batch_size=method.cfg.batch_size,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["cut", "fastcut"])
def test_whole_steps_are_the_authors(name):
    """Losses and weights of three steps; of the images of FastCUT's, both mirrored ones and others."""
    method = made(name, batch_size=1, generator="antialias_5blocks", nce_patches=20)
    for net in (method.g, method.d, method.f):
        normal_(net, 1, gain=0.2)  # with the authors' gain, steps of Adam are as large as weights, and rounding grows
    for key, p in method.g.named_parameters():  # no vector is all zeros: there the authors' length has no gradient
        if key.endswith("bias"):
            p.data.fill_(0.1)
    double, engine = Double(method, 5), engine_of(method)
    turns = set()
    for step in range(3):
        images = {side: x for side, x in noise_batch(1, step, seed=7).items() if side != "key"}
        key = keyed_random.image_keys(engine.draw_seed, torch.arange(step, step + 1))
        turns.add(bool(keyed_random.uniform(key, "flip")[0] < 0.5))
        logged, expected = engine.step([images]), double.step({**images, "key": key})
        assert logged.keys() == expected.keys()
        for loss, value in expected.items():
            torch.testing.assert_close(logged[loss], value.detach(), rtol=0, atol=1e-10, msg=f"{step} {loss}")
    for net, weights in double.w.items():
        for key, weight in method.get_submodule(net).named_parameters():
            if f"{net}.{key}" not in DEAD:
                torch.testing.assert_close(weight, weights[key], rtol=0, atol=1e-10, msg=f"{net}.{key}")
    assert turns == {True, False}


BLOCKS = (f"{place}.conv_block.{inner}" for place in range(12, 17) for inner in (1, 5))
DEAD = {f"g.model.{place}.bias" for place in ("1", "18", "22", *BLOCKS)}
DEAD |= {f"d.model.{place}.bias" for place in (3, 7, 11)}
"""Biases in front of an instance norm: their gradient is zero but for rounding, of which Adam makes whole steps."""


# The recipe.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cut", {"epochs": 200, "decay_epochs": 200, "lambda_nce": 1.0, "nce_identity": True, "flip_equivariance": False}),
        ("fastcut", {"epochs": 150, "decay_epochs": 50, "lambda_nce": 10.0, "nce_identity": False, "flip_equivariance": True}),
    ],
)  # fmt: skip
def test_the_defaults_are_the_authors(name, expected):
    common = {
        "nce_patches": 256, "nce_temperature": 0.07, "adversarial": "lsgan", "norm": "instance", "dropout": False,
        "generator": "antialias_9blocks", "discriminator": "antialias", "lr": 2e-4, "batch_size": 1, "crop_size": 256,
        "whole_in_decay": True, "g_width": 64, "d_width": 64,
    }  # fmt: skip
    cfg = METHODS[name].Config()
    assert {key: getattr(cfg, key) for key in (*expected, *common)} == {**expected, **common}


@pytest.mark.parametrize(("name", "losses"), [("cut", {"adv", "nce", "nce_identity"}), ("fastcut", {"adv", "nce"})])
def test_the_discriminator_moves_first_and_generator_and_heads_together(name, losses):
    method = made(name)
    yields = [(update, set(parts)) for update, parts in method.step(noise_batch(seed=7), START, {})]
    assert yields == [("d", {"adv"}), ("g", losses)]
    assert {name: update.networks for name, update in method.updates.items()} == {"d": ("d",), "g": ("g", "f")}


def test_fastcut_is_cut_with_other_defaults_and_nothing_else():
    assert {name for name in vars(FastCUT) if not name.startswith("__")} == {"name", "summary", "Config"}
    flags = {"lambda_nce": 1.0, "nce_identity": True, "flip_equivariance": False}
    left, right = made("cut"), made("fastcut", **flags)
    for (_, ours), (_, theirs) in zip(
        left.step(noise_batch(seed=7), START, {}), right.step(noise_batch(seed=7), START, {}), strict=True
    ):
        assert {k: v.item() for k, v in ours.items()} == {k: v.item() for k, v in theirs.items()}


def test_both_contrasts_count_half():
    """An image of b in both places: then they differ by their places alone, and take every place where there are few."""
    method = made("cut", nce_patches=100_000)
    data = noise_batch(seed=7)
    data["a"] = data["b"]
    *_, (_, losses) = method.step(data, START, {})
    alone = made("cut", nce_patches=100_000, nce_identity=False)
    *_, (_, once) = alone.step(data, START, {})
    torch.testing.assert_close(losses["nce"], losses["nce_identity"], rtol=0, atol=1e-12)
    torch.testing.assert_close(losses["nce"] + losses["nce_identity"], once["nce"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("flipped", [None, torch.tensor([True])])
def test_whole_images_of_two_sizes_are_translated_one_by_one(flipped):
    """To what each becomes alone; images of one size in one pass become the same."""
    method = made("cut")
    a, b = (torch.rand(1, 3, *size, dtype=torch.float64) * 2 - 1 for size in ((32, 40), (24, 28)))
    for other in (b, a.flip(2)):
        fake, same = method.generate(a, other, flipped)
        for output, image in ((fake, a), (same, other)):
            assert output.shape == image.shape
            wanted = method.g(image if flipped is None else image.flip(3))
            torch.testing.assert_close(output, wanted, rtol=0, atol=1e-9)


def test_about_half_of_the_images_are_mirrored_each_by_its_own_key():
    method = made("fastcut")
    key = keyed_random.image_keys(3, torch.arange(1000))
    turns = keyed_random.uniform(key, "flip") < 0.5
    assert abs(turns.double().mean() - 0.5) < 4 * 0.5 / 1000**0.5
    pick = torch.tensor([int(turns.nonzero()[0]), int((~turns).nonzero()[0])])
    seen = []
    method.g.register_forward_pre_hook(lambda net, given: seen.append(given[0]))
    data = {**noise_batch(seed=7), "key": key[pick]}
    next(method.step(data, START, {}))
    assert torch.equal(seen[0][0], data["a"][0].flip(2))
    assert torch.equal(seen[0][1], data["a"][1])


def test_the_heads_fit_the_maps_of_the_papers_generator():
    cls = METHODS["cut"]
    method = cls.on_meta(cls.resolve_config(config.resolve(cls.Config)))
    assert [head[0].in_features for head in method.f.heads] == [3, 128, 256, 256, 256]
    sizes = [sum(p.numel() for p in net.parameters()) for net in (method.g, method.d, method.f)]
    heads = sum(cin * 256 + 256 + 256 * 256 + 256 for cin in (3, 128, 256, 256, 256))
    assert sizes == [11_378_179, 2_764_737, heads]
    assert isinstance(method.d, AntialiasDiscriminator)


# Settings that are refused.


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"generator": "unet_32"}, "residual blocks"),
        ({"input_channels": 1}, "--input-channels"),
        ({"crop_size": 30}, "multiples of 4"),
        ({"crop_size": 20}, "at least 24"),
        ({"adversarial": "wgan-gp", "norm": "batch"}, "--norm batch"),
    ],
)
def test_settings_that_cannot_work_are_refused(flags, words):
    with pytest.raises(UsageError, match=words) as caught:
        CUT.resolve_config(config.resolve(CUT.Config, ("small", SMALL), ("test", flags)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cut", "fastcut"])
def test_what_a_person_looks_at(name):
    method = made(name).eval()
    columns = method.preview(noise_batch(seed=7))
    assert list(columns) == ["real a", "fake b", *(["real b", "identity b"] if name == "cut" else [])]
    assert torch.equal(columns["fake b"], method.translate(noise_batch(seed=7)["a"], "b"))
    judged = method.discriminator_outputs(noise_batch(seed=7))
    assert torch.equal(judged["real"], method.d(noise_batch(seed=7)["b"]))
    assert torch.equal(judged["fake"], method.d(columns["fake b"]))

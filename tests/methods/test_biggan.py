"""BigGAN: its settings, truncation, standing statistics, regularisation, and batches in parts."""

import math

import pytest
import torch

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.biggan import STANDING_BATCH, BigGAN
from translate.nn.blocks import BatchNorm2d
from translate.nn.losses import orthogonal_regularisation
from translate.runtime.precision import PRECISIONS
from translate.trained import folder as model_folder
from translate.training.engine import Engine
from translate.training.micro_batches import split_batch
from translate.training.schedule import Schedule

from ..helpers import numbered_keys
from .helpers import clock_at

SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 2, "d_width": 2, "noise_size": 9, "shared_size": 3, "batch_size": 4,
    "standing_batches": 2, "n_critic": 1, "classes": "cat,dog,owl",
}  # fmt: skip


def config_of(**flags):
    return BigGAN.resolve_config(config.resolve(BigGAN.Config, ("test", {**SMALL, **flags})))


def engine_of(**flags):
    cfg = config_of(**flags)
    return Engine(
        BigGAN(cfg), Schedule(10, 0, 0, images=1000), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=cfg.batch_size,
    )  # fmt: skip


def batch_of(count=4):
    return {
        "a": keyed_random.uniform(numbered_keys(count), "a", 3, 32, 32).double() * 2 - 1, "label": torch.arange(count) % 3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"crop_size": 48}, "--crop-size 48: .* use --crop-size 32"),
        ({"crop_size": 512}, "use --crop-size 256"),
        ({"noise_size": 3}, "--noise-size 3: .* 4 parts"),
        ({"attention": 64}, "--attention 64: both networks have maps of 8, 16 pixels"),
        ({"attention": 8, "g_width": 1}, "--attention 8: its maps have 4 channels"),
        ({"direction": "b2a"}, "--direction b2a"),
        ({"batch_size": 4, "accumulate": 3}, "--accumulate 3 does not divide"),
    ],
)
def test_settings_that_do_not_work_together_are_refused(flags, words):
    with pytest.raises(UsageError, match=words):
        config_of(**flags)


def test_settings_that_follow_from_others():
    assert config_of().noise_size == 8, "a multiple of the 4 parts"
    assert config_of(hierarchical=False).noise_size == 9
    classes = BigGAN.with_labels(config_of(classes=None), ("x", "y"), exclusive=True).classes
    assert classes == "x,y"
    assert BigGAN.with_labels(config_of(classes=None), (), exclusive=True).classes is None
    with pytest.raises(UsageError, match="put the images of each class into a folder"):
        BigGAN.with_labels(config_of(classes=None), ("x", "y"), exclusive=False)


def test_noise_is_normal_within_the_truncation():
    """Its variance within four standard deviations of 1 − 2 t φ(t) / (2 Φ(t) − 1); every value within ± t."""
    method, key, t = BigGAN(config_of(noise_size=4000)), numbered_keys(20), 1.2
    z = method.noise(key, t).double()
    density, inside = math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi), math.erf(t / math.sqrt(2))
    variance = 1 - 2 * t * density / inside
    assert z.abs().max() <= t + 1e-6
    assert z.abs().max() > 0.99 * t
    assert abs(z.var() - variance) < 4 * math.sqrt((t**4 / 5 - variance**2) / z.numel())
    assert abs(method.noise(key, None).double().var() - 1) < 4 * math.sqrt(2 / z.numel())
    assert torch.equal(method.noise(key[3:4], t), method.noise(key, t)[3:4])


def test_samples_are_by_statistics_of_the_norms_over_many_batches():
    """The first norm sees a linear function of the noise: its mean over all codes of the standing batches."""
    method = BigGAN(config_of()).double().eval()
    with torch.no_grad():
        method.prepare_sampling(0.5)
        keys = [
            keyed_random.fold_in(torch.arange(n * STANDING_BATCH, (n + 1) * STANDING_BATCH), "standing statistics")
            for n in range(2)
        ]
        codes = torch.cat([method.noise(key, 0.5) for key in keys]).double()
        maps = method.g.first(codes[:, :2]).unflatten(1, (-1, 4, 4))
        torch.testing.assert_close(method.g.blocks[0].norm1.running_mean, maps.mean((0, 2, 3)))
        whole = method.sample(numbered_keys(3), torch.tensor([0, 1, 2]), truncation=0.5)
        single = method.sample(numbered_keys(3)[1:2], torch.tensor([1]), truncation=0.5)
        torch.testing.assert_close(whole[1:2], single, rtol=0, atol=1e-12)
        assert whole.abs().max() <= 1
        before = method.g.blocks[0].norm1.running_mean.clone()
        off = BigGAN(config_of(standing_batches=0)).double().eval()
        off.prepare_sampling(0.5)
        assert not off.g.blocks[0].norm1.running_mean.any()
        method.prepare_sampling(None)
        assert not torch.equal(before, method.g.blocks[0].norm1.running_mean)


@pytest.mark.parametrize("shared", [3, 0])
def test_all_weights_of_the_generator_but_those_of_classes_are_kept_orthogonal(shared):
    method = BigGAN(config_of(shared_size=shared))
    kept = {id(p) for p in method.regularised_weights()}
    names = {name for name, p in method.g.named_parameters() if p.ndim > 1 and id(p) not in kept}
    assert names == (
        {"shared.weight"}
        if shared
        else {f"blocks.{n}.norm{m}.{layer}.weight" for n in range(3) for m in (1, 2) for layer in ("gain", "shift")}
    )


def test_the_gradient_of_the_regularisation_is_the_authors():
    """2 (W Wᵀ ∘ (1 − I)) W, which their code adds to the gradients."""
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    orthogonal_regularisation([weight]).backward()
    w = weight.detach().flatten(1)
    torch.testing.assert_close(weight.grad.flatten(1), 2 * ((w @ w.T) * (1 - torch.eye(4))) @ w)
    assert orthogonal_regularisation([3 * torch.eye(4)]) == 0, "rows of any length"


def test_a_batch_in_parts_is_one_large_batch_where_statistics_are_fixed(monkeypatch):
    """Norms by running statistics and singular vectors as they are: nothing else couples the images."""
    monkeypatch.setattr("translate.nn.networks.biggan.iterate_power_method", lambda net: None)
    ends = []
    for parts in (1, 2):
        engine = engine_of()
        for module in engine.method.modules():
            if isinstance(module, BatchNorm2d):
                module.eval()
        for _ in range(2):
            engine.step(split_batch(batch_of(), parts))
        ends.append(engine.method.state_dict())
    for name, x in ends[0].items():
        torch.testing.assert_close(x, ends[1][name], rtol=0, atol=1e-9, msg=name)


def test_steps_of_the_discriminator_alone_have_a_phase_of_their_own():
    method = BigGAN(config_of(n_critic=3))
    assert [method.phase(clock_at(step)) for step in range(4)] == ["critic", "critic", "", "critic"]


def test_images_without_classes_are_all_of_one():
    method = BigGAN(config_of(classes=None)).eval()
    label = method.labels_of({"key": numbered_keys(3), "label": torch.full((3,), -1)})
    assert label.tolist() == [[1], [1], [1]]
    assert method.sample(numbered_keys(2), torch.tensor([5, 7])).shape == (2, 3, 32, 32)


def test_an_unknown_class_is_that_of_no_embedding():
    """As of a validation image whose folder the training data lacks."""
    label = BigGAN(config_of()).labels_of({"key": numbered_keys(2), "label": torch.tensor([-1, 1])})
    assert label.tolist() == [[False, False, False], [False, True, False]]


def test_a_model_folder_samples_what_the_run_does(tmp_path):
    method = BigGAN(config_of())
    model_folder.write_trained_model(tmp_path, method, title="test", seen=0)
    loaded, key = model_folder.read_model_folder(tmp_path).method.eval(), numbered_keys(2)
    method.eval()
    with torch.no_grad():
        for each in (method, loaded):
            each.prepare_sampling(1.0)
        images = [each.sample(key, torch.tensor([0, 2]), truncation=1.0) for each in (method, loaded)]
    assert torch.equal(*images)

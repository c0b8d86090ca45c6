"""Methods that make their pairs from photos: what each loss sees, what goes together, and the folders they are trained on."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

import translate
from translate import config, keyed_random
from translate.data.layouts import find_split
from translate.errors import UsageError
from translate.methods.building import build_generator
from translate.methods.photo_pairs import PhotoPairs, PhotoPairsConfig

from ..helpers import SIZE, small_settings
from .helpers import START, noise_batch

FLAGS = {
    "crop_size": SIZE, "load_size": SIZE, "g_width": 4, "d_width": 4, "generator": "resnet_3blocks", "norm": "instance",
}  # fmt: skip


@dataclass(frozen=True)
class DenoiseConfig(PhotoPairsConfig):
    """Config of the method below."""


class Denoise(PhotoPairs[DenoiseConfig]):
    """Inputs are photos with noise, half as bright."""

    name, Config = "denoise", DenoiseConfig

    def build_photo_generator(self):
        cfg = self.cfg
        return build_generator(cfg, cfg.input_channels, cfg.output_channels, cfg.seed, "g")

    def make_input(self, photo, key):
        return 0.5 * photo + 0.1 * keyed_random.normal(key, "noise", *photo.shape[1:]).to(photo.dtype)


def config_of(**flags):
    return Denoise.resolve_config(config.resolve(DenoiseConfig, ("test", {**FLAGS, **flags})))


def method_of(**flags):
    return Denoise(config_of(**flags)).double()


def test_a_paired_step_by_hand():
    """Pix2pix with the input that is made of the photo; domain b of the batch is not looked at."""
    method, batch = method_of(lambda_gan=0.5), noise_batch()
    photo, x = batch["a"], method.make_input(batch["a"], batch["key"])
    (first, d_losses), (second, g_losses) = method.step({"a": photo, "key": batch["key"]}, START, {})
    fake = method.g(x)
    on_real, on_fake = (method.d(torch.cat([x, image], 1)) for image in (photo, fake))
    assert (first, second) == ("d", "g")
    torch.testing.assert_close(d_losses["adv"], 0.5 * (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()))
    torch.testing.assert_close(g_losses["adv"], 0.5 * F.softplus(-on_fake).mean())
    torch.testing.assert_close(g_losses["l1"], 100 * (fake - photo).abs().mean())
    assert (set(d_losses), set(g_losses)) == ({"adv"}, {"adv", "l1"})


def test_a_cycle_step_by_hand():
    """The discriminator sees outputs and photos of b alone; made an input again, an output is compared with its input."""
    method, batch = method_of(loss="cycle", lambda_cycle=7.0), noise_batch()
    x = method.make_input(batch["a"], batch["key"])
    (_, d_losses), (_, g_losses) = method.step(batch, START, {})
    fake = method.g(x)
    on_real, on_fake = method.d(batch["b"]), method.d(fake)
    torch.testing.assert_close(d_losses["adv"], 0.5 * (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()))
    back = method.make_input(fake, batch["key"])
    torch.testing.assert_close(g_losses["cycle"], 7 * (back - x).abs().mean())
    torch.testing.assert_close(g_losses["adv"], F.softplus(-on_fake).mean())
    assert set(g_losses) == {"adv", "cycle"}


def test_a_cycle_step_never_compares_an_output_with_its_photo():
    """Two photos that give one input: the generator's losses are the same."""

    class Grey(Denoise):
        """Inputs are the mean of the channels."""

        def make_input(self, photo, key):
            return photo.mean(1, keepdim=True).expand_as(photo)

    method, batch = Grey(config_of(loss="cycle")).double(), noise_batch()
    losses = []
    for photo in (batch["a"], batch["a"].flip(1)):
        _, (_, found) = method.step({**batch, "a": photo}, START, {})
        losses.append(sum(found.values()))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)


def test_without_a_discriminator_there_is_one_update():
    method, batch = method_of(lambda_gan=0.0), noise_batch()
    ((name, losses),) = method.step(batch, START, {})
    assert (name, set(losses), set(method.updates)) == ("g", {"l1"}, {"g"})
    assert method.discriminator_outputs(batch) == {}


def test_the_discriminators_loss_does_not_reach_the_generator():
    for shared in (False, True):
        method = method_of(share_augmentation=shared, diffaugment="translation")
        _, losses = next(method.step(noise_batch(), START, {}))
        losses["adv"].backward()
        assert all(p.grad is None for p in method.g.parameters())
        assert any(p.grad.abs().max() > 0 for p in method.d.parameters())


def test_a_sample_is_a_pair_and_the_grid_shows_it():
    method, batch = method_of().eval(), noise_batch()
    x = method.make_input(batch["a"], batch["key"])
    pair, columns = method.sample_pairs(batch), method.preview(batch)
    assert torch.equal(pair["a"], x)
    assert torch.equal(pair["b"], batch["a"])
    assert list(columns) == ["input", "output", "truth"]
    assert torch.equal(columns["output"], method.translate(x, "b", batch["key"]))


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"input_channels": 1}, ["--input-channels 1", "--output-channels 3", "the same number"]),
        ({"range_a": "0:1", "range_b": "0:2"}, ["--range-a 0:1", "--range-b 0:2", "--range-a alone"]),
        ({"colour_start": True}, ["--colour-start on", "leave it out"]),
        ({"loss": "cycle", "lambda_gan": 0.0}, ["--lambda-gan 0", "--loss paired"]),
        ({"loss": "cycle", "lambda_lowpass": 1.0}, ["--loss cycle", "--lambda-lowpass", "set it to 0"]),
        (
            {"loss": "cycle", "preprocess": "none", "adversarial": "wgan-gp"},
            ["--preprocess none", "wgan-gp", "another --adversarial"],
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_a_remedy(flags, parts):
    with pytest.raises(UsageError) as caught:
        config_of(**flags)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("side", ["range_a", "range_b"])
def test_one_range_is_that_of_both_domains(side):
    cfg = config_of(**{side: "0:1000"})
    assert (cfg.range_a, cfg.range_b) == ("0:1000", "0:1000")


def test_a_plain_folder_is_enough(images_root, tmp_path):
    """Pairs for the validation are made of photos that are held out; the model is chosen by their distance from the truth."""
    small = small_settings(
        "colorize", device="cpu", images=4, evaluate_every=4, hold_out=0.3, evaluate_metrics="l1,psnr"
    )
    run = translate.train("colorize", images_root / "train", run=tmp_path / "run", say=None, **small)
    assert run.history[-1].keys() >= {"val/l1", "val/psnr"}
    assert (run.path / "model-best").is_dir()


def test_photos_that_are_drawn_apart(images_root, tmp_path):
    lines = []
    small = small_settings("colorize", device="cpu", images=4, loss="cycle")
    run = translate.train("colorize", images_root, run=tmp_path / "run", say=lines.append, **small)
    assert run.images == 4
    assert any("6 images of domain a and 6 images of domain b" in line for line in lines)


def test_two_domains_are_no_folder_of_photos(unpaired_root):
    with pytest.raises(translate.errors.DataError, match="two domains"):
        find_split(unpaired_root, "photos")
    with pytest.raises(UsageError, match="--direction b2a"):
        find_split(unpaired_root, "photos", direction="b2a")

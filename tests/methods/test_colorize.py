"""colorize: lightness that stays, in the files that are written too; its losses, recipe and refusals."""

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate import config
from translate.errors import UsageError
from translate.methods.colorize import Colorize, ColorizeConfig
from translate.nn.init import normal_
from translate.nn.lab import image_to_lab, lightness, shrinkage
from translate.nn.networks.colorizer import AB_SCALE, scaled_ab
from translate.training.monitors import health_rules

from ..helpers import read_deep, small_config, small_settings, write_array
from .helpers import START, noise_batch

BYTES, SHORTS = 255, 65535


def method_of(gain=None, **flags):
    """Return a small colorize in float64, without what would make two passes differ.

    gain: of the generator's weights; 1 makes colours far beyond the gamut.
    """
    flags = {"norm": "instance", "dropout": False, "generator": "unet_32", **flags}
    method = Colorize(small_config("colorize", **flags)).double()
    if gain is not None:
        normal_(method.g, 0, gain=gain)
    return method


@pytest.fixture(scope="module")
def run(photos_root, tmp_path_factory):
    """Return a short training of a small model that is computed in windows."""
    flags = {"norm": "instance", "dropout": False, "generator": "resize_unet_2levels_1blocks"}
    small = small_settings("colorize", device="cpu", images=2, **flags)
    return translate.train("colorize", photos_root, run=tmp_path_factory.mktemp("colorize") / "run", say=None, **small)


@pytest.fixture
def model(run):
    """Return the translator of the run with weights that fill the gamut."""
    model = run.translator("cpu")
    normal_(model.method.g, 0, gain=0.5)
    return model


def levels(lab_lightness, top):
    return lab_lightness / 100 * top


def lightness_of(pixels, top):
    """Return L* of pixels (H, W, 3) of integers, in levels of the type."""
    x = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None] / top * 2 - 1
    return levels(lightness(x), top)


def test_a_step_by_hand():
    """The L1 loss is of a* and b* as the network makes them, also where they are no colours and are shrunk in the output."""
    method, batch = method_of(gain=1.0), noise_batch()
    x = method.make_input(batch["a"], batch["key"])
    _, (_, losses) = method.step(batch, START, {})
    ab = method.g.net(lightness(x) / 50 - 1)
    assert (shrinkage(lightness(x), AB_SCALE * ab) < 1).double().mean() > 0.2
    torch.testing.assert_close(losses["l1"], 100 * (ab - image_to_lab(batch["a"])[1] / 110).abs().mean())


def test_the_input_is_grey_and_as_light_as_the_photo():
    method, batch = method_of(), noise_batch()
    x = method.make_input(batch["a"], batch["key"])
    assert torch.equal(x[:, :1].expand_as(x), x)
    torch.testing.assert_close(lightness(x), lightness(batch["a"]), rtol=0, atol=1e-9)


def test_outputs_have_the_lightness_of_the_input_and_colours_of_the_network():
    """A thousandth of L* is less than a level of 16 bits. A photo in colours and its grey image give the same."""
    method, batch = method_of(gain=1.0).eval(), noise_batch()
    x = method.make_input(batch["a"], batch["key"])
    with torch.no_grad():
        outputs = [method.translate(image, "b") for image in (x, batch["a"])]
        ab = method.g.predict_ab(x)
    assert (lightness(outputs[0]) - lightness(x)).abs().max() < 1e-3
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-9)
    factor = shrinkage(lightness(x), AB_SCALE * ab)
    torch.testing.assert_close(scaled_ab(outputs[0]), factor * ab, rtol=0, atol=2e-4)


def test_the_generator_learns_from_colours_beyond_the_gamut():
    """Their L1 loss has the gradient of a distance: it does not vanish where only the hue is seen."""
    method, batch = method_of(gain=1.0, lambda_gan=0.0), noise_batch()
    ((_, losses),) = method.step(batch, START, {})
    losses["l1"].backward()
    assert all(p.grad.isfinite().all() for p in method.g.parameters())
    assert method.g.net.model.model[-2].bias.grad.abs().min() > 1e-3


def test_files_keep_their_lightness_within_a_level(model, tmp_path):
    """Rounding red, green and blue to integers moves L* by up to 0.6 levels; grey files and files in colour, of both depths."""
    tops = {".png": BYTES, ".tif": SHORTS}
    given = {}
    for suffix, dtype in ((".png", np.uint8), (".tif", np.uint16)):
        for channels in (1, 3):
            name = f"{channels}{suffix}"
            given[name] = (
                np.random.default_rng(channels).integers(0, tops[suffix] + 1, (37, 41, channels)).astype(dtype)
            )
            write_array(tmp_path / "in" / name, given[name])
    translate.convert(model, tmp_path / "in", tmp_path / "out", say=None)
    for name, pixels in given.items():
        output, top = read_deep(tmp_path / "out" / name, 3).pixels, tops[name[1:]]
        assert output.dtype == pixels.dtype
        difference = lightness_of(output, top) - lightness_of(pixels.repeat(3 // pixels.shape[2], 2), top)
        assert difference.abs().max() <= 1
        assert np.ptp(output.astype(int), axis=2).mean() > top / 20  # it is coloured


def test_tiles_give_the_whole(model, tmp_path):
    """To the rounding of float32, which may turn a level."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    outputs = []
    for tile in ("off", 64):
        translate.convert(model, tmp_path / "x.png", tmp_path / f"{tile}.png", tile=tile, say=None)
        outputs.append(np.asarray(Image.open(tmp_path / f"{tile}.png")).astype(int))
    assert abs(outputs[0] - outputs[1]).max() <= 1


def test_an_evaluation_makes_the_input_of_the_photo(model, photos_root):
    """Copying is the grey photo, beside which its colours are missing: the values by hand."""
    found = translate.evaluate(model, photos_root, metrics=["l1", "psnr", "swd"], size="keep", say=None)
    errors = []
    for path in sorted((photos_root / "test").iterdir()):
        photo = np.asarray(Image.open(path).convert("RGB"))
        x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        grey = ((model.method.make_input(x, torch.zeros(1)) + 1) * 127.5).round()
        errors.append((grey - torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]).abs().mean().item())
    assert found["copying"]["l1"]["value"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert found["protocol"]["truth"] == "made"
    assert found["protocol"]["paired"]
    assert found["colour_map"]["swd"]["value"] > 0
    assert found["real"]["swd"]["value"] > 0


def test_a_model_folder_gives_the_same_colours_and_a_pth_is_refused(run, tmp_path):
    translate.export(run.path, tmp_path / "copy", say=None)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(translate.load(run.path)(image), translate.load(tmp_path / "copy")(image))
    with pytest.raises(UsageError, match="colorize; export a model folder"):
        translate.export(run.path, tmp_path / "g.pth", say=None)


def test_the_discriminator_is_shown_colours_alone_with_the_loss_cycle():
    method, batch = method_of(loss="cycle"), noise_batch()
    (_, d_losses), (_, g_losses) = method.step(batch, START, {})
    assert (set(d_losses), set(g_losses)) == ({"adv"}, {"adv"})  # the way back is exact by construction
    assert method.d.model[0].in_channels == 3


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"input_channels": 1}, ["--input-channels 1", "leave both at 3"]),
        ({"input_channels": 1, "output_channels": 1}, ["--output-channels 1", "leave both at 3"]),
        ({"residual": True}, ["--residual on", "leave it out"]),
    ],
)
def test_settings_that_make_no_colours_are_refused(flags, parts):
    with pytest.raises(UsageError) as caught:
        small_config("colorize", **flags)
    assert all(part in str(caught.value) for part in parts)


def test_advice_against_grey_outputs_is_not_a_loss_that_makes_them_greyer():
    line = health_rules.warning_line(("change", "b"), 1.0, small_config("colorize"), truth=True)
    assert "a larger --lambda-gan" in line
    assert "--lambda-l1" not in line
    assert "--lambda-cycle" not in line


def test_the_default_recipe_is_that_of_the_references_colour_preset():
    cfg = config.to_dict(Colorize.resolve_config(ColorizeConfig()))
    expected = {
        "generator": "unet_256", "norm": "batch", "dropout": True, "adversarial": "non-saturating", "lambda_l1": 100,
        "lambda_gan": 1, "loss": "paired", "discriminator": "basic", "lr": 2e-4, "batch_size": 1,
    }  # fmt: skip
    assert {key: cfg[key] for key in expected} == expected
    assert set(Colorize.presets) == {"paper", "modern", "quick"}

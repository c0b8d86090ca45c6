"""A trained model as a function: sizes, padding, noise, channels, and what the name of a model stands for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import translate
from translate import images
from translate.errors import ModelError, UsageError
from translate.nn import fast_conv
from translate.nn.tuned_conv import TunedConvolution
from translate.trained import image_layout, noise, translator
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]

SIZES = [(1, 1), (2, 3), (3, 2), (37, 91), (63, 65), (64, 64), (128, 64), (1, 2000), (2000, 1)]
ORIENTATION = 0x0112


@pytest.fixture(params=["cyclegan", "pix2pix"])
def model(request: pytest.FixtureRequest) -> Translator:
    return request.getfixturevalue(request.param)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """(1, C, H, W) in [-1, 1]."""
    return images.to_tensor(pixels)[None]


# Sizes and padding.


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_output_has_the_size_of_the_input(model: Translator, draw: Draw, width: int, height: int) -> None:
    image = Image.fromarray(draw(width, width, height))
    for to in model.directions:
        assert model(image, to=to).size == (width, height)
        assert model(tensor(np.asarray(image)), to=to).shape == (1, 3, height, width)


@settings(deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), multiple=st.sampled_from([1, 4, 8, 32]), more=st.integers(0, 2)
)
def test_padding_is_numpys_reflect_or_edge(height: int, width: int, multiple: int, more: int) -> None:
    minimum = multiple * (1 + more)
    x = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    expected = x
    for axis, length in ((1, height), (2, width)):
        extra = max(minimum, -(-length // multiple) * multiple) - length
        mode: Any = "reflect" if extra < length else "edge"
        expected = np.pad(expected, [(0, extra if n == axis else 0) for n in range(3)], mode)
    assert np.array_equal(image_layout.pad_to_size_rule(torch.from_numpy(x), multiple, minimum).numpy(), expected)


def test_padded_sizes_obey_the_rule_and_add_least(model: Translator) -> None:
    multiple, minimum = model.info.size["multiple_of"], model.info.size["minimum"]
    for length in range(1, 3 * minimum):
        padded, _ = model.padded_size(length, 1)
        assert padded % multiple == 0
        assert padded >= max(length, minimum)
        assert padded - multiple < max(length, minimum)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 64)])
def test_a_size_of_the_rule_goes_through_the_network_alone(
    model: Translator, draw: Draw, width: int, height: int
) -> None:
    pixels = draw(1, width, height)
    key = torch.tensor([noise.pixel_key(pixels, 0)])
    got = model(tensor(pixels), pixels="reference")
    with torch.inference_mode():
        assert torch.equal(got, model.method.translate(tensor(pixels), "b", key))


def test_padding_is_seen_by_the_network_and_cut_off_again(cyclegan: Translator, draw: Draw) -> None:
    pixels = draw(2, 13, 10)
    padded = np.pad(np.pad(pixels, [(0, 2), (0, 0), (0, 0)], "reflect"), [(0, 0), (0, 3), (0, 0)], "reflect")
    assert np.array_equal(cyclegan(Image.fromarray(pixels)), np.asarray(cyclegan(Image.fromarray(padded)))[:10, :13])


# Batches, pictures and tensors.


def test_a_batch_is_its_images_one_by_one(model: Translator, draw: Draw) -> None:
    batch = torch.cat([tensor(draw(seed, 37, 50)) for seed in range(4)])
    singles = torch.cat([model(x[None]) for x in batch])
    torch.testing.assert_close(model(batch), singles, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(batch.flip(0)), singles.flip(0), atol=1e-5, rtol=0)


def test_the_same_call_gives_the_same_bits(model: Translator, draw: Draw) -> None:
    x = tensor(draw(3, 37, 50))
    first = model(x)
    model(tensor(draw(4, 64, 64)))
    assert torch.equal(model(x), first)


def test_pictures_and_tensors_agree(model: Translator, draw: Draw) -> None:
    pixels = draw(5, 37, 50)
    picture, (x,) = model(Image.fromarray(pixels)), model(tensor(pixels))
    assert isinstance(picture, Image.Image)
    assert np.array_equal(images.to_uint8_array(x), np.asarray(picture))


def test_pixels_of_one_padded_size_share_a_batch(cyclegan: Translator, draw: Draw) -> None:
    pictures = [draw(seed, width, height) for seed, (width, height) in enumerate([(9, 12), (12, 9), (10, 11)])]
    together = cyclegan.translate_pixels(pictures, "b")
    for pixels, result in zip(pictures, together, strict=True):
        alone = np.asarray(cyclegan(Image.fromarray(pixels))).astype(int)
        assert np.abs(result.astype(int) - alone).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_tensor_keeps_its_type_and_stays_usable(cyclegan: Translator, draw: Draw, dtype: torch.dtype) -> None:
    out = cyclegan(tensor(draw(6)).to(dtype))
    assert out.dtype == dtype
    assert not out.is_inference()


def test_the_two_directions_are_two_networks(cyclegan: Translator, draw: Draw) -> None:
    x = tensor(draw(7, 16, 16))
    with torch.inference_mode():
        assert torch.equal(cyclegan(x, to="a", pixels="reference"), cyclegan.method.get_submodule("g_ba")(x))
        assert torch.equal(cyclegan(x, to="b", pixels="reference"), cyclegan.method.get_submodule("g_ab")(x))
        assert not torch.equal(cyclegan(x, to="a"), cyclegan(x, to="b"))


@pytest.mark.parametrize("to", ["a", "c", ""])
def test_a_domain_the_model_does_not_have_is_refused(pix2pix: Translator, draw: Draw, to: str) -> None:
    with pytest.raises(UsageError, match=repr(to)):
        pix2pix(Image.fromarray(draw()), to=to)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 8, 8, 3)])
def test_a_tensor_of_another_shape_is_refused(cyclegan: Translator, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"\(N, 3, H, W\)"):
        cyclegan(torch.zeros(shape))


def test_bf16_is_close_to_fp32(cyclegan_folder: Path, cyclegan: Translator, draw: Draw) -> None:
    half = translator.load(cyclegan_folder, device="cpu", precision="bf16")
    x = tensor(draw(8, 16, 16))
    torch.testing.assert_close(half(x), cyclegan(x), atol=0.05, rtol=0)


# Noise.


def test_noise_is_the_same_for_the_same_picture_and_seed(pix2pix: Translator, draw: Draw) -> None:
    image = Image.fromarray(draw(9, 50, 37))
    first = np.asarray(pix2pix(image, seed=3))
    torch.manual_seed(99)
    pix2pix(Image.fromarray(draw(10, 50, 37)), seed=3)
    assert np.array_equal(pix2pix(image, seed=3), first)


def test_another_seed_gives_other_noise(pix2pix: Translator, cyclegan: Translator, draw: Draw) -> None:
    image = Image.fromarray(draw(11, 50, 37))
    assert len({pix2pix(image, seed=seed).tobytes() for seed in range(4)}) == 4
    assert cyclegan(image, seed=0).tobytes() == cyclegan(image, seed=1).tobytes()  # it has no dropout


def test_noise_depends_on_nothing_else_in_the_batch(pix2pix: Translator, draw: Draw) -> None:
    batch = [draw(seed, 37, 50) for seed in range(3)]
    masks = [pix2pix.translate_pixels([pixels], "b", seed=5)[0].astype(int) for pixels in batch]
    for order in ([2, 0, 1], [1, 1, 0]):
        for place, result in zip(order, pix2pix.translate_pixels([batch[i] for i in order], "b", seed=5), strict=True):
            assert np.abs(result.astype(int) - masks[place]).max() <= 1


def test_noise_leaves_torchs_own_generator_alone(pix2pix: Translator, draw: Draw) -> None:
    before = torch.get_rng_state()
    pix2pix(Image.fromarray(draw()))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_changed_value_is_another_picture(draw: Draw) -> None:
    pixels = draw(12)
    other = pixels.copy()
    other[0, 0, 0] ^= 1
    keys = {noise.pixel_key(*arguments) for arguments in [(pixels, 0), (other, 0), (pixels, 1), (pixels, 0, 1)]}
    assert len(keys) == 4
    assert noise.pixel_key(np.asfortranarray(pixels), 0) in keys


# Channels, transparency, orientation.


def test_a_grey_model_reads_colour_and_writes_grey(grey: Translator, draw: Draw) -> None:
    image = Image.fromarray(draw(13))
    assert grey(image).mode == "L"
    assert np.array_equal(grey(image), grey(image.convert("L")))
    assert grey(torch.zeros(2, 1, 9, 7)).shape == (2, 1, 9, 7)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB"])
def test_a_colour_model_reads_every_mode_and_writes_rgb(cyclegan: Translator, draw: Draw, mode: str) -> None:
    image = Image.fromarray(draw(14)).convert("L" if mode == "1" else "RGB").convert(mode) if mode != "LAB" else None
    image = image or Image.frombytes("LAB", (12, 10), draw(14).tobytes())
    out = cyclegan(image)
    assert (out.mode, out.size) == ("RGB", image.size)
    if mode != "LAB":
        assert np.array_equal(out, cyclegan(image.convert("RGB")))


def test_each_direction_has_its_own_channels(build: Build, draw: Draw) -> None:
    folder = build("cyclegan", generator="resnet_3blocks", input_channels=1, output_channels=3, lambda_identity=0.0)
    model = translator.load(folder, device="cpu")
    image = Image.fromarray(draw(15))
    assert (model(image, to="b").mode, model(image, to="a").mode) == ("RGB", "L")
    assert np.array_equal(model(image, to="b"), model(image.convert("L"), to="b"))


@pytest.mark.parametrize(("mode", "kind", "expected"), [
    ("RGBA", "cyclegan", "RGBA"), ("LA", "cyclegan", "RGBA"), ("RGBA", "grey", "LA"), ("LA", "grey", "LA"),
])  # fmt: skip
def test_alpha_is_carried(request: pytest.FixtureRequest, draw: Draw, mode: str, kind: str, expected: str) -> None:
    model = request.getfixturevalue(kind)
    image = Image.fromarray(draw(16, channels=4)).convert(mode)
    out = model(image)
    assert out.mode == expected
    assert np.array_equal(out.getchannel("A"), image.getchannel("A"))


def test_what_lies_under_alpha_is_seen_on_white(cyclegan: Translator, draw: Draw) -> None:
    rgba = draw(17, channels=4)
    rgba[:, :6, 3], rgba[:, 6:, 3] = 0, 255
    hidden = rgba.copy()
    hidden[:, :6, :3] = 255
    out = cyclegan(Image.fromarray(rgba))
    assert np.array_equal(out.convert("RGB"), cyclegan(Image.fromarray(hidden[:, :, :3])))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(cyclegan: Translator, draw: Draw, orientation: int) -> None:
    image = Image.fromarray(draw(18, 14, 9))
    image.getexif()[ORIENTATION] = orientation
    upright = ImageOps.exif_transpose(image)
    out = cyclegan(image)
    assert out.size == ((14, 9) if orientation < 5 else (9, 14))
    assert np.array_equal(out, cyclegan(Image.fromarray(np.asarray(upright))))
    assert out.getexif().get(ORIENTATION, 1) == 1


# Which folder a name means.


def test_model_folder_run_folder_and_bare_name(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    place = tmp_path / "checkpoints" / "mine" / "model"
    place.mkdir(parents=True)
    build("cyclegan", generator="resnet_3blocks", folder=place)
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(draw())
    results = {
        translate.load(model, device="cpu")(image).tobytes()
        for model in (place, str(place), place.parent, "checkpoints/mine", "mine", Path("mine"))
    }
    assert len(results) == 1


def test_an_existing_path_wins_over_checkpoints(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for parent, method in ((tmp_path, "cyclegan"), (tmp_path / "checkpoints", "pix2pix")):
        (parent / "mine").mkdir(parents=True)
        build(method, folder=parent / "mine")
    monkeypatch.chdir(tmp_path)
    loaded = translate.load("mine", device="cpu")
    assert loaded.directions == ("b", "a")
    assert loaded.name == "mine"  # as it was typed


@pytest.mark.parametrize("name", ["nowhere", "no/where", "/no/where"])
def test_an_unknown_model_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=name) as caught:
        translate.load(name)
    assert "checkpoints" in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        translate.load(tmp_path)


@pytest.mark.parametrize("name", ["fp8", "", "float32"])
def test_an_unknown_precision_is_refused(cyclegan_folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="precision"):
        translator.load(cyclegan_folder, device="cpu", precision=name)


def test_the_fast_way_gives_what_the_exact_one_gives_to_rounding(
    model: Translator, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both by one model in turn, whose weights lie in memory as each wants them."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 16)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)
    pixels = draw(3, 64, 64)
    x = tensor(pixels)
    exact, fast = model(x, pixels="reference"), model(x)
    assert not torch.equal(fast, exact)
    torch.testing.assert_close(fast, exact, rtol=0, atol=1e-4)
    (rounded,) = model.translate_pixels([pixels], "b")
    assert np.abs(rounded.astype(int) - images.to_uint8_array(exact[0])).max() <= 1
    assert torch.equal(model(x, pixels="reference"), exact)
    with pytest.raises(UsageError, match="--pixels exact: unknown"):
        model(x, pixels="exact")


# How convolutions are computed.


def winograd_layers(model: Translator) -> list[bool]:
    return [
        x.algorithm != "direct"
        for x in model.method.modules()
        if isinstance(x, TunedConvolution) and x.is_winograd_shape
    ]


def test_the_first_image_makes_the_choice_and_the_references_pixels_none(
    cyclegan_folder: Path, draw: Draw, faster: Callable[[str], None]
) -> None:
    faster("direct")
    model = translator.load(cyclegan_folder, device="cpu")
    x = tensor(draw(3, 64, 64))
    model(x, pixels="reference")
    assert (model.convolutions, all(winograd_layers(model))) == ({}, True)
    model(x)
    assert list((model.convolutions or {}).values()) == ["direct"]
    assert not any(winograd_layers(model))  # of both generators


def test_chosen_convolutions_are_those_that_are_asked_for_bit_for_bit(
    cyclegan_folder: Path, draw: Draw, faster: Callable[[str], None]
) -> None:
    x, outputs = tensor(draw(3, 64, 64)), {}
    for algorithm in ("direct", "winograd"):
        faster(algorithm)
        chosen = translator.load(cyclegan_folder, device="cpu")(x)
        faster("winograd" if algorithm == "direct" else "direct")
        outputs[algorithm] = translator.load(cyclegan_folder, device="cpu", convolution=algorithm)(x)
        assert torch.equal(outputs[algorithm], chosen)
    assert not torch.equal(outputs["direct"], outputs["winograd"])
    torch.testing.assert_close(outputs["direct"], outputs["winograd"], rtol=0, atol=1e-4)


def test_a_choice_is_one_for_all_sizes(cyclegan_folder: Path, draw: Draw, faster: Callable[[str], None]) -> None:
    faster("winograd")
    models = [translator.load(cyclegan_folder, device="cpu") for _ in range(2)]
    for model, side in zip(models, (8, 200), strict=True):
        model(tensor(draw(3, side, side)))
    assert models[0].convolutions == models[1].convolutions


def test_an_unknown_convolution_is_refused(cyclegan_folder: Path) -> None:
    with pytest.raises(UsageError, match="--convolution fft: unknown; possible: auto, direct, winograd"):
        translator.load(cyclegan_folder, device="cpu", convolution="fft")


def test_channels_lie_last_on_the_cpu_alone(cyclegan_folder: Path) -> None:
    """On CUDA it has not been measured."""
    model = translator.load(cyclegan_folder, device="cpu", precision="bf16")
    assert model.prefers_channels_last
    model.device = torch.device("cuda", 0)
    assert not model.prefers_channels_last

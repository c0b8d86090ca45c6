"""Several outputs of one input (`--samples`), and outputs in the style of an example image (`--style`)."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translate.conversion.cluster.worker import JobSpec
from translate.conversion.item import ItemConverter
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.conversion.manifest import Manifest
from translate.errors import UsageError
from translate.trained import translator
from translate.trained.translator import Translator

from ..pages import Page
from .output_folder import assert_clean, lines, save, tree

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def bicyclegan(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """With weights eight times as large: else its codes would change no integer."""
    model = translator.load(build("bicyclegan", crop_size=32, load_size=32, e_width=4), device="cpu")
    with torch.no_grad():
        for parameter in model.method.parameters():
            if not parameter.is_meta:
                parameter.mul_(8)
    return model


@pytest.fixture
def photos(tmp_path: Path, draw: Draw) -> Path:
    for seed, name in enumerate(("1.png", "deep/2.jpg", "3.tif")):
        save(tmp_path / "photos" / name, draw(seed, 20, 36))
    return tmp_path / "photos"


def names_of(folder: Path) -> set[str]:
    return set(tree(folder))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


# Outputs.


def test_each_input_has_so_many_outputs_that_python_gives_too(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = convert(photos, out, bicyclegan, samples=3, format="png", seed=4)
    stems = ("1", "deep/2", "3")
    assert names_of(out) == {f"{stem}-{number}.png" for stem in stems for number in range(3)}
    assert (result.done, result.skipped, result.failures) == (9, 0, {})
    for line in lines(out):
        expected = bicyclegan(photos / line["input"], seed=4, sample=line["sample"])
        assert np.array_equal(pixels(out / line["output"]), expected)
    for stem in stems:
        assert len({pixels(out / f"{stem}-{number}.png").tobytes() for number in range(3)}) == 3
    assert_clean(out)


def test_the_only_output_is_the_first_of_several(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    convert(photos, tmp_path / "one", bicyclegan)
    convert(photos, tmp_path / "several", bicyclegan, samples=2)
    assert tree(tmp_path / "one")["deep/2.jpg"] == tree(tmp_path / "several")["deep/2-0.jpg"]
    assert all("sample" not in line for line in lines(tmp_path / "one"))


def test_a_model_with_dropout_has_samples_too(
    convert: Convert, pix2pix: Translator, photos: Path, tmp_path: Path
) -> None:
    convert(photos, tmp_path / "out", pix2pix, samples=2, format="png")
    assert np.array_equal(pixels(tmp_path / "out" / "1-1.png"), pix2pix(photos / "1.png", sample=1))
    assert not np.array_equal(pix2pix(photos / "1.png", sample=1), pix2pix(photos / "1.png"))


def test_noise_is_that_of_the_pixels_the_seed_and_the_number(bicyclegan: Translator, draw: Draw) -> None:
    image = draw(1, 32, 32)
    assert np.array_equal(bicyclegan(image, sample=2), bicyclegan(image.copy(), sample=2))
    others = [bicyclegan(image), bicyclegan(image, seed=1, sample=2), bicyclegan(image, sample=3)]
    assert not any(np.array_equal(other, bicyclegan(image, sample=2)) for other in others)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    both = bicyclegan(torch.cat([tensor, -tensor]), sample=2)
    torch.testing.assert_close(both[:1], bicyclegan(tensor, sample=2), rtol=0, atol=1e-5)


# The same command again.


def test_more_samples_add_to_those_that_are_there(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    convert(photos, out, bicyclegan, samples=2)
    before = tree(out)
    assert convert(photos, out, bicyclegan, samples=3).skipped == 6
    assert before.items() <= tree(out).items()
    assert convert(photos, out, bicyclegan, samples=3).done == 0
    assert convert(photos, out, bicyclegan, samples=2).done == 0
    (out / "1-1.png").unlink()
    result = convert(photos, out, bicyclegan, samples=2)
    assert (result.done, result.skipped) == (1, 5)
    assert before.items() <= tree(out).items()
    assert convert(photos, out, bicyclegan, samples=2, overwrite=True).done == 6


def test_an_input_is_done_when_all_its_outputs_are(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    """A limit counts inputs, and a changed input has all its outputs made again."""
    out = tmp_path / "out"
    assert convert(photos, out, bicyclegan, samples=2, limit=1).done == 2
    assert names_of(out) == {"1-0.png", "1-1.png"}
    convert(photos, out, bicyclegan, samples=2)
    save(photos / "3.tif", np.zeros((20, 36, 3), np.uint8))
    assert convert(photos, out, bicyclegan, samples=2).done == 2
    planned = convert(photos, tmp_path / "none", bicyclegan, samples=2, dry_run=True, limit=2).planned
    assert [item.output for item in planned] == ["1-0.png", "1-1.png", "3-0.tif", "3-1.tif"]
    assert not (tmp_path / "none").exists()


def test_a_job_that_is_stopped_again_and_again_loses_and_doubles_nothing(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time before its second rename: the line is there, and the output is not."""
    convert(photos, tmp_path / "whole", bicyclegan, samples=3)
    out, replace = tmp_path / "out", os.replace

    class Killed(BaseException):
        """A kill: no handler of errors sees it."""

    for _ in range(8):
        renames: list[Any] = []

        def dies(source: Any, target: Any, renames: list[Any] = renames) -> None:
            renames.append(target)
            if len(renames) > 1:
                raise Killed
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "replace", dies)
            convert(photos, out, bicyclegan, samples=3)
    convert(photos, out, bicyclegan, samples=3)
    assert tree(out) == tree(tmp_path / "whole")
    last = {(line["input"], line["sample"]): line["output"] for line in lines(out)}
    assert Counter(last.values()) == Counter(names_of(out))
    assert_clean(out)


def test_shards_make_together_what_one_job_makes(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    convert(photos, tmp_path / "whole", bicyclegan, samples=2)
    for index in range(3):
        convert(photos, tmp_path / "out", bicyclegan, samples=2, shard=f"{index}/3")
    merged = convert(photos, tmp_path / "out", bicyclegan, merge=True)
    assert merged.skipped == 6
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert [(line["input"], line["sample"]) for line in lines(tmp_path / "out")] == [
        (name, number) for name in ("1.png", "3.tif", "deep/2.jpg") for number in range(2)
    ]
    assert convert(photos, tmp_path / "out", bicyclegan, samples=2).done == 0


def test_names_never_meet(convert: Convert, bicyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    """Inputs of one stem, and one that is called like another's sample, beside a job without samples."""
    source, out = tmp_path / "in", tmp_path / "out"
    for seed, name in enumerate(("a.png", "a.jpg", "a-0.png", "b-0.png", "b.png")):
        save(source / name, draw(seed, 20, 36))
    convert(source, out, bicyclegan, format="png")
    single = tree(out)
    convert(source, out, bicyclegan, format="png", samples=2)
    both = tree(out)
    assert single.items() <= both.items()
    assert {line["output"] for line in lines(out)} == set(both)
    assert len(both) == len(lines(out)) == 5 + 10
    assert convert(source, out, bicyclegan, format="png").done == 0
    assert convert(source, out, bicyclegan, format="png", samples=2).done == 0


def test_a_bad_input_fails_once_in_the_result(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    (photos / "bad.png").write_text("no image")
    result = convert(photos, tmp_path / "out", bicyclegan, samples=2)
    assert result.failures == {"bad.png": "not an image"}
    assert result.done == 6
    failed = [line for line in lines(tmp_path / "out") if line["status"] == "failed"]
    assert [(line["input"], line["sample"]) for line in failed] == [("bad.png", 0), ("bad.png", 1)]


def test_the_report_shows_samples_side_by_side(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    path = convert(photos, tmp_path / "out", bicyclegan, samples=3, report=True).report
    assert path is not None
    page = Page(path)
    assert page.values("a", "href") == [
        f"{stem}-{number}.{ext}" for stem, ext in (("1", "png"), ("3", "tif"), ("deep/2", "jpg")) for number in range(3)
    ]
    assert len(page.pictures()) == 3 * (1 + 3)
    assert page.counts()["converted"] == "9"


# Styles.


def test_outputs_get_the_style_of_an_example(
    convert: Convert, bicyclegan: Translator, photos: Path, draw: Draw, tmp_path: Path
) -> None:
    for seed, name in ((7, "first.png"), (8, "second.png")):
        save(tmp_path / name, draw(seed, 32, 32))
    out = tmp_path / "out"
    convert(photos, out, bicyclegan, style=tmp_path / "first.png", format="png")
    expected = bicyclegan(photos / "1.png", style=draw(7, 32, 32))
    assert np.array_equal(pixels(out / "1.png"), expected)
    with Image.open(tmp_path / "first.png") as opened:
        assert np.array_equal(bicyclegan(photos / "1.png", style=opened), expected)
    assert np.array_equal(bicyclegan(photos / "1.png", seed=9, style=tmp_path / "first.png"), expected)
    assert convert(photos, out, bicyclegan, style=tmp_path / "first.png", format="png").done == 0
    assert convert(photos, out, bicyclegan, style=tmp_path / "second.png", format="png").done == 3
    (line, *_) = lines(out)
    assert len(line["settings"]["style"]) == 64


def test_a_style_of_another_domain_is_refused_by_its_folder(
    convert: Convert, build: Callable[..., Path], photos: Path, draw: Draw, tmp_path: Path
) -> None:
    model = translator.load(build("starganv2", domains="blond,dark", batch_size=2), device="cpu")
    for folder in ("dark", "blond", "examples"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "1.png", draw(7, 32, 32))
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"lies in a folder of domain dark, .* or translate --to dark$"):
        convert(photos, out, model, to="blond", style=tmp_path / "dark" / "1.png")
    assert not out.exists()
    for folder in ("blond", "examples"):
        convert(photos, out / folder, model, to="blond", style=tmp_path / folder / "1.png")


def test_spade_with_codes_takes_styles_and_samples(
    convert: Convert, build: Callable[..., Path], photos: Path, draw: Draw, tmp_path: Path
) -> None:
    """Its folder holds the encoder; without --vae on it has neither, and says so."""
    small = {"generator": "spade_2ups", "crop_size": 32, "load_size": 32, "g_width": 2}
    model = translator.load(build("spade", vae=True, **small), device="cpu")
    with torch.no_grad():
        for parameter in model.method.e.mean.parameters():
            parameter.mul_(64)  # else codes would change no integer
    for seed, name in ((7, "first.png"), (8, "second.png")):
        save(tmp_path / name, draw(seed, 32, 32))
    made = [pixels(tmp_path / "out" / "1.png") for name in ("first", "second")
            if convert(photos, tmp_path / "out", model, style=tmp_path / f"{name}.png", format="png").done == 3]  # fmt: skip
    assert np.array_equal(made[0], model(photos / "1.png", style=draw(7, 32, 32)))
    assert not np.array_equal(*made)
    plain = translator.load(build("spade", **small), device="cpu")
    for options, words in (({"style": photos / "1.png"}, "takes no style"), ({"samples": 2}, "has no latent code")):
        with pytest.raises(UsageError, match=f"spade without --vae on {words}"):
            convert(photos, tmp_path / "none", plain, **options)


def test_a_style_is_seen_at_the_size_of_the_training(bicyclegan: Translator) -> None:
    """Plain colours stay what they are at every size, so their code does too."""
    small, large = (np.full((side, 2 * side, 3), (200, 30, 90), np.uint8) for side in (16, 80))
    torch.testing.assert_close(bicyclegan.encode_style(small), bicyclegan.encode_style(large), rtol=0, atol=1e-5)


def test_workers_get_the_style_by_value(bicyclegan: Translator, photos: Path, tmp_path: Path) -> None:
    example = photos / "1.png"
    options = ConversionOptions(style=example, format="png")
    converter = ItemConverter(bicyclegan, photos, tmp_path, options)
    spec = JobSpec.from_converter(converter, tmp_path / "probe", b"", gpu=False)
    example.rename(photos / "moved.png")
    worker = spec.build_converter()
    assert worker.settings == converter.settings
    (item,) = Manifest(tmp_path, "", {}).plan(["moved.png"], "png")
    (ours,), (theirs,) = (each.translate([each.read(item)]) for each in (converter, worker))
    assert json.dumps(ours.result.pixels.tolist()) == json.dumps(theirs.result.pixels.tolist())  # type: ignore[union-attr]


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 2}, "--samples: cyclegan has no latent code, and no dropout in conversion"),
        ({"style": "IMAGE"}, "--style: cyclegan takes no style of an example image; leave it out"),
    ],
)
def test_models_without_noise_or_encoder_refuse_them(
    convert: Convert, photos: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    if "style" in options:
        options = {"style": photos / "1.png"}
    with pytest.raises(UsageError, match=message) as error:
        convert(photos, tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_pix2pix_whose_dropout_is_off_has_one_output(pix2pix_folder: Path, photos: Path) -> None:
    model = translator.load(pix2pix_folder, device="cpu", dropout="off")
    with pytest.raises(UsageError, match="--samples: pix2pix has no latent code, and no dropout"):
        model(photos / "1.png", sample=1)
    with pytest.raises(UsageError, match="--style: pix2pix takes no style"):
        model(photos / "1.png", style=photos / "1.png")


@pytest.mark.parametrize("style", ["missing.png", "text.png"])
def test_a_style_that_cannot_be_read_is_named(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path, style: str
) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UsageError, match=f"--style .*{style}: (no such file|not an image)$"):
        convert(photos, tmp_path / "out", bicyclegan, style=tmp_path / style)


def test_samples_need_a_folder_and_leave_no_choice_to_a_style(
    convert: Convert, bicyclegan: Translator, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"--samples writes several files, but .* is one; give a folder"):
        convert(photos / "1.png", tmp_path / "out.png", bicyclegan, samples=2)
    with pytest.raises(UsageError, match="--samples --style: a style leaves no choice"):
        ConversionOptions(samples=2, style=photos / "1.png")
    with pytest.raises(UsageError, match="a style of 2 images; give a single one"):
        bicyclegan(photos / "1.png", style=torch.zeros(2, 3, 32, 32))

"""Images from noise: the same numbers give the same images, whatever else is made, and a folder is never mixed."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate import api
from translate.conversion import sampling
from translate.conversion.sampling import ImageSampler, SamplingOptions
from translate.errors import Interrupted, ModelError, UsageError
from translate.trained import find, translator

from ..helpers import list_files

CPU = torch.device("cpu")
TINY = {"crop_size": 32, "load_size": 32, "noise_size": 8}


@pytest.fixture(scope="module")
def plain(build) -> Path:
    return build("dcgan", **TINY)


@pytest.fixture(scope="module")
def classy(build) -> Path:
    return build("dcgan", classes="cat,dog,owl", **TINY)


def sampler(folder: Path) -> ImageSampler:
    return ImageSampler(find.read_model(folder), CPU)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_an_image_is_a_function_of_its_number_and_the_seed_alone(plain):
    made = sampler(plain)
    whole = made(range(6), seed=3)
    assert whole.shape == (6, 3, 32, 32)
    assert whole.abs().max() <= 1
    torch.testing.assert_close(made([4, 1], seed=3), whole[[4, 1]], rtol=0, atol=1e-5)  # float32
    assert not torch.allclose(whole[0], whole[1])
    assert not torch.allclose(made([0], seed=4), whole[:1])


def test_a_folder_holds_the_images_of_the_sampler(plain, tmp_path):
    made = sampling.sample_images(sampler(plain), tmp_path / "out", SamplingOptions(count=5, seed=2, batch_size=2))
    assert (made.done, made.skipped) == (5, 0)
    assert list_files(tmp_path / "out") == [*(f"00000{n}.png" for n in range(5)), "samples.json"]
    expected = sampler(plain)(range(5), seed=2)
    for n in range(5):
        scaled = ((expected[n].permute(1, 2, 0).double() + 1) * 127.5).round().numpy()
        assert np.abs(pixels(tmp_path / "out" / f"00000{n}.png") - scaled).max() <= 1


def test_classes_have_folders_and_take_turns(classy, tmp_path):
    made = sampling.sample_images(sampler(classy), tmp_path, SamplingOptions(count=5))
    assert made.classes == {"cat": 2, "dog": 2, "owl": 1}
    assert list_files(tmp_path) == [
        "cat/000000.png", "cat/000003.png", "dog/000001.png", "dog/000004.png", "owl/000002.png", "samples.json",
    ]  # fmt: skip


def test_one_class_alone(classy, tmp_path):
    sampling.sample_images(sampler(classy), tmp_path, SamplingOptions(count=2, of_class="owl"))
    assert list_files(tmp_path) == ["owl/000000.png", "owl/000001.png", "samples.json"]
    dogs, owls = (sampler(classy)(range(2), of_class=name) for name in ("dog", "owl"))
    assert not torch.allclose(dogs, owls)


def test_the_same_call_makes_only_what_is_missing(plain, tmp_path):
    sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=4))
    first = {name: (tmp_path / name).read_bytes() for name in list_files(tmp_path)}
    (tmp_path / "000001.png").unlink()
    (tmp_path / "000003.png").unlink()
    kept = (tmp_path / "000002.png").stat().st_mtime_ns
    made = sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=5))
    assert (made.done, made.skipped) == (3, 2)
    assert (tmp_path / "000002.png").stat().st_mtime_ns == kept
    for name, content in first.items():
        assert (tmp_path / name).read_bytes() == content


def test_samples_of_another_seed_model_or_class_are_not_mixed(plain, classy, tmp_path):
    sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=2))
    before = {name: (tmp_path / name).read_bytes() for name in list_files(tmp_path)}
    for folder, choice in ((plain, SamplingOptions(count=2, seed=1)), (classy, SamplingOptions(count=2))):
        with pytest.raises(UsageError, match="holds samples of another model, seed, class, text or truncation"):
            sampling.sample_images(sampler(folder), tmp_path, choice)
    assert {name: (tmp_path / name).read_bytes() for name in list_files(tmp_path)} == before
    sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=2, seed=1, overwrite=True))
    assert (tmp_path / "000000.png").read_bytes() != before["000000.png"]


def test_pictures_of_somebody_else_are_not_replaced(plain, tmp_path):
    (tmp_path / "000001.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="holds images of these names already"):
        sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=2))
    assert list_files(tmp_path) == ["000001.png"]
    assert (tmp_path / "000001.png").read_bytes() == b"mine"


def test_a_linked_folder_of_a_class_is_not_followed(classy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dog").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="dog: is a link"):
        sampling.sample_images(sampler(classy), tmp_path / "out", SamplingOptions(count=5))
    assert list_files(tmp_path) == ["out/samples.json"]


def test_a_sheet_has_all_of_them(plain, tmp_path):
    made = sampling.sample_images(sampler(plain), tmp_path / "sheet.png", SamplingOptions(count=10))
    assert made.done == 10
    sheet = pixels(tmp_path / "sheet.png")
    assert sheet.shape == (2 * 34 + 2, 8 * 34 + 2, 3)
    ninth = ((sampler(plain)([9])[0].permute(1, 2, 0).double() + 1) * 127.5).round().numpy()
    assert np.abs(sheet[36:68, 36:68] - ninth).max() <= 1
    with pytest.raises(UsageError, match="exists; --overwrite"):
        sampling.sample_images(sampler(plain), tmp_path / "sheet.png", SamplingOptions(count=1))


def test_a_signal_stops_between_batches_and_nothing_is_lost(plain, tmp_path):
    def stop(done: int, failed: int, total: int) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="3 images"):
        sampling.sample_images(
            sampler(plain), tmp_path, SamplingOptions(count=4, batch_size=1), lambda *counts: stop(*counts)
        )
    assert list_files(tmp_path) == ["000000.png", "samples.json"]
    assert sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=4)).skipped == 1


def test_images_say_that_a_model_made_them(plain, tmp_path):
    sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=1))
    assert b"trainedAlgorithmicMedia" in (tmp_path / "000000.png").read_bytes()
    sampling.sample_images(sampler(plain), tmp_path, SamplingOptions(count=1, mark=False, overwrite=True))
    assert b"trainedAlgorithmicMedia" not in (tmp_path / "000000.png").read_bytes()


def test_what_cannot_be(plain, classy, cyclegan_folder, tmp_path):
    with pytest.raises(ModelError, match="use translate convert"):
        sampler(cyclegan_folder)
    with pytest.raises(ModelError, match="use translate sample"):
        translator.load(plain)
    for folder, name, hint in ((plain, "cat", "no classes"), (classy, "cow", "cat, dog, owl")):
        with pytest.raises(UsageError, match=hint):
            sampling.sample_images(sampler(folder), tmp_path, SamplingOptions(of_class=name))
    for values in ({"count": 0}, {"batch_size": 0}, {"format": "bmp"}, {"quality": 101}):
        with pytest.raises(UsageError, match=next(iter(values)).replace("_", "-")):
            SamplingOptions(**values)
    with pytest.raises(UsageError, match=r"sheet is a PNG"):
        sampling.sample_images(sampler(plain), tmp_path / "sheet.jpg", SamplingOptions(count=1))
    assert list(tmp_path.iterdir()) == []


def test_the_command(plain, tmp_path, capsys):
    from translate import cli

    assert cli.run(["sample", str(plain), str(tmp_path / "x"), "--count", "3", "--json", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["skipped"], told["output"]) == (3, 0, str(tmp_path / "x"))
    assert cli.run(["sample", str(plain), str(tmp_path / "x"), "--class", "cat"]) == 2
    assert cli.run(["sample", str(tmp_path / "none"), str(tmp_path / "y")]) == 4
    assert api.sample(plain, tmp_path / "x", count=3).skipped == 3

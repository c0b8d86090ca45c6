"""What a user gets wrong: the contract's exit code, one clear line that names the thing and the remedy, nothing left behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import translate
from translate import api, atomic, cli
from translate.methods import METHODS
from translate.trained.folder import write_trained_model

SMALL = ["--crop-size", "32", "--g-width", "4", "--d-width", "4", "--device", "cpu"]
CYCLEGAN = ["--generator", "resnet_3blocks"]

Fails = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs the command and checks how it failed: exit code, words, one line (and `more` lines), nothing written."""

    def check(arguments: Iterable[object], code: int, *words: str, more: int = 0) -> list[str]:
        before = everything()
        assert cli.run([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == 1 + more, err
        assert lines[0].startswith("error: ")
        for word in words:
            assert word in err
        assert everything() == before, "something was left behind"
        return lines

    return check


def everything() -> set[Path]:
    """What lies in the test's folder."""
    return set(Path("..").rglob("*"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pix2pix: one direction."""
    folder = tmp_path_factory.mktemp("model")
    cls = METHODS["pix2pix"]
    cfg = cls.resolve_config(cls.Config(g_width=4, d_width=4, crop_size=32, load_size=32))
    write_trained_model(folder, cls(cfg), title="nothing", seen=0)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, paired_root: Path) -> Path:
    """A run of two images."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert cli.run(["train", "pix2pix", str(paired_root), *SMALL, "--images", "2", "--run", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained: Path) -> Path:
    """A copy of it, to do with as one likes."""
    return Path(shutil.copytree(trained, "run"))


@pytest.fixture
def photos() -> Path:
    """Two good images, a bad one and a text."""
    folder = Path("photos")
    folder.mkdir()
    for name in ("a.png", "b.bmp"):
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 7, 4), dtype=np.uint8)).convert(
            "RGBA" if name == "a.png" else "RGB"
        ).save(folder / name)
    (folder / "bad.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


def colours(folder: Path, *names: str) -> Path:
    """A folder of plain images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (40, 40), "teal").save(folder / name)
    return folder


# Data.


def test_a_missing_folder(fails: Fails) -> None:
    fails(["train", "cyclegan", "no/where", *SMALL, *CYCLEGAN], 3, "no/where", "trainA/ and trainB/")


@pytest.mark.parametrize(("method", "flags"), [("cyclegan", CYCLEGAN), ("pix2pix", [])])
@pytest.mark.parametrize("empty", ["trainA", "trainB"])
def test_an_empty_domain(fails: Fails, method: str, flags: list[str], empty: str) -> None:
    for name in ("trainA", "trainB"):
        colours(Path("data", name), *([] if name == empty else ["1.png"]))
    fails(["train", method, "data", *SMALL, *flags], 3, f"data/{empty}", "no images", "png")


@pytest.mark.parametrize("method", [name for name, cls in METHODS.items() if cls.layout in ("paired", "unpaired")])
def test_a_missing_domain(fails: Fails, method: str) -> None:
    colours(Path("data", "trainA"), "1.png")
    fails(["train", method, "data", "--device", "cpu"], 3, "data/trainB", "no such folder")


def test_noise_needs_one_heap_of_images(fails: Fails) -> None:
    colours(Path("data", "trainA"), "1.png")
    colours(Path("data", "trainB"), "1.png")
    fails(["train", "dcgan", "data", "--device", "cpu"], 3, "data", "data/trainA")
    Path("nothing").mkdir()
    fails(["train", "dcgan", "nothing", "--device", "cpu"], 3, "nothing", "no images")


def test_many_domains_need_two(fails: Fails) -> None:
    fails(["train", "stargan", "data", "--device", "cpu"], 3, "data", "train/<domain>/")
    colours(Path("data", "train", "only"), "1.png")
    fails(["train", "stargan", "data", "--device", "cpu"], 3, "data/train: 1 folders", "two or more")
    colours(Path("data", "train", "all"), "1.png")
    fails(["train", "stargan", "data", "--device", "cpu"], 3, "'all'", "rename")


def test_a_direction_that_is_none(fails: Fails) -> None:
    colours(Path("data", "train"), "1.png")
    fails(["train", "dcgan", "data", "--direction", "b2a", "--device", "cpu"], 2, "--direction b2a")


def test_figures_during_training_of_what_has_no_truth_or_target(fails: Fails) -> None:
    colours(Path("data", "train"), "1.png")
    fails(["train", "dcgan", "data", "--evaluate-every", "8", "--device", "cpu"], 2, "--evaluate-every 8")


def test_a_folder_without_the_layout(fails: Fails) -> None:
    colours(Path("data"), "1.png")
    fails(["train", "cyclegan", "data", *SMALL, *CYCLEGAN], 3, "data", "trainA/ and trainB/")


def test_a_file_as_the_folder(fails: Fails) -> None:
    Path("data").write_text("")
    fails(["train", "cyclegan", "data", *SMALL, *CYCLEGAN], 3, "data")


def test_pairs_without_a_partner(fails: Fails) -> None:
    colours(Path("data", "trainA"), "1.png", "2.png", "only.png")
    colours(Path("data", "trainB"), "1.png", "2.jpg", "other.png")
    fails(["train", "pix2pix", "data", *SMALL], 3, "data", "trainA/only", "trainB/other", "cyclegan")


def test_two_partners(fails: Fails) -> None:
    colours(Path("data", "trainA"), "1.png", "1.jpg")
    colours(Path("data", "trainB"), "1.png")
    fails(["train", "pix2pix", "data", *SMALL], 3, "1.png", "1.jpg", "rename")


def test_no_image_of_a_domain_can_be_read(fails: Fails) -> None:
    colours(Path("data", "trainA"), "1.png")
    colours(Path("data", "trainB"))
    Path("data/trainB/1.png").write_text("no picture")
    before = everything()
    assert cli.run(["train", "cyclegan", "data", *SMALL, *CYCLEGAN]) == 3
    assert everything() == before


def test_conversion_without_images(fails: Fails, model: Path) -> None:
    for source in ("nowhere", "no*where", "."):
        fails(["convert", model, source, "out"], 3, source)


# Flags.


@pytest.mark.parametrize(("arguments", "words"), [
    (["train", "pix2pix", "data", "--crop-sise", "32"], ["--crop-sise", "--crop-size"]),
    (["train", "pix2pix", "data", "--lambda-cycle", "1"], ["--lambda-cycle"]),
    (["train", "cyclegan", "data", "--lambda-l1", "1"], ["--lambda-l1"]),
    (["train", "pix2pix", "data", "--epochs", "ten"], ["--epochs", "ten"]),
    (["train", "pix2pix", "data", "--epochs"], ["--epochs"]),
    (["train", "pix2pix", "data", "--flip", "maybe"], ["--flip", "maybe", "on"]),
    (["train", "pix2pix", "data", "--generator", "unet_100"], ["unet_100", "unet_128"]),
    (["train", "pix2pix", "data", "--adversarial", "wasserstein"], ["wasserstein", "wgan-gp"]),
    (["train", "pix2pix", "data", "--precision", "fp8"], ["fp8", "bf16"]),
    (["train", "pix2pix", "data", "--direction", "atob"], ["atob", "a2b"]),
    (["train", "pix2pix"], ["ROOT"]),
    (["train", "pix2pix", "data", "more"], ["more"]),
    (["train", "pixtopix", "data"], ["pixtopix", "pix2pix"]),
    (["train", "pix2pix", "data", "--preset", "modern"], ["modern", "paper"]),
    (["train", "pix2pix", "data", "--epochs", "-1"], ["epochs", "-1", "at least 0"]),
    (["train", "pix2pix", "data", "--images", "0"], ["images", "0", "at least 1"]),
    (["train", "pix2pix", "data", "--lr", "nan"], ["lr", "nan"]),
    (["train", "pix2pix", "data", "--real-label", "1.5"], ["real_label", "1.5"]),
    (["convert", "m", "in"], ["OUTPUT"]),
    (["convert", "m", "in", "out", "--overwite"], ["--overwite", "--overwrite"]),
    (["convert", "m", "in", "out", "--limit", "some"], ["--limit", "some"]),
    (["convert", "m", "in", "out", "--format", "bmp"], ["--format", "bmp", "png"]),
    (["convert", "m", "in", "out", "--quality", "101"], ["--quality", "101"]),
    (["convert", "m", "in", "out", "--limit", "0"], ["--limit", "0"]),
    (["resume"], ["RUN"]),
    (["demo", "--minutes", "0"], ["--minutes", "0"]),
    (["demo", "--minute", "1"], ["--minute", "--minutes"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)  # fmt: skip
def test_wrong_flags(fails: Fails, arguments: list[str], words: list[str]) -> None:
    fails(arguments, 2, *words)


@pytest.mark.parametrize("command", ["doctor", "augment", "x"])
def test_commands_that_have_not_come_yet(fails: Fails, command: str) -> None:
    fails([command], 2, command, "convert", "train")
    fails([command, "a", "--b"], 2, command)


def test_the_help_that_is_named_lists_the_flag(fails: Fails, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, flag in (
        (["train", "pix2pix", "d", "--crop-sise", "1"], "--crop-size"),
        (["convert", "--fmt"], "--format"),
    ):
        (line,) = fails(arguments, 2)
        named = re.search(r"translate ((?:[a-z0-9]+ )+--help)", line)
        assert named, line
        assert cli.run(named[1].split()) == 0
        assert flag in capfd.readouterr().out


# Settings.


@pytest.mark.parametrize(("content", "words"), [
    ("crop_sise = 32", ["crop_sise", "crop_size"]), ("[net]\nepochs = 1", ["net"]), ("epochs = 'ten'", ["epochs", "ten"]),
    ("epochs = 1.5", ["epochs", "1.5"]), ("epochs = true", ["epochs", "True"]), ("lr = 'small'", ["lr", "small"]),
    ("flip = 'yes'", ["flip", "yes", "on"]), ("flip = 1", ["flip"]), ("flip = [true]", ["flip"]),
    ("flip = {}", ["flip"]), ("norm = 3", ["norm", "3"]), ("norm = 'layer'", ["norm", "layer", "instance"]),
    ("norm = ['batch']", ["norm"]), ("device = 0", ["device", "0"]), ("epochs = 1979-05-27", ["epochs"]),
    ("lambda_cycle = 1", ["lambda_cycle"]), ("method = 'cyclegan'", ["cyclegan", "pix2pix"]), ("method = 3", ["3"]),
    ("epochs = ", ["TOML"]), ("epochs = 1\nepochs = 2", ["TOML"]), ("\x00", ["TOML"]),
])  # fmt: skip
def test_a_wrong_settings_file(fails: Fails, paired_root: Path, content: str, words: list[str]) -> None:
    Path("s.toml").write_text(content, encoding="utf-8")
    fails(["train", "pix2pix", paired_root, *SMALL, "--config", "s.toml"], 2, "s.toml", *words)


def test_a_settings_file_that_is_none(fails: Fails, paired_root: Path) -> None:
    Path("folder").mkdir()
    Path("latin.toml").write_bytes(b"norm = '\xff'")
    for name in ("nowhere.toml", "folder", "latin.toml"):
        fails(["train", "pix2pix", paired_root, *SMALL, "--config", name], 2, name, "TOML")


PIX2PIX, BOTH = ["pix2pix"], ["pix2pix", "cyclegan"]
COMBINATIONS: list[tuple[list[str], list[str], list[str]]] = [
    (BOTH, ["--crop-size", "64", "--load-size", "48"], ["--crop-size 64", "--load-size 48"]),
    (BOTH, ["--crop-size", "30"], ["--crop-size 30", "multiple"]),
    (BOTH, ["--crop-size", "16", "--load-size", "16"], ["--crop-size 16", "24", "--discriminator pixel"]),
    (BOTH, ["--crop-size", "20", "--load-size", "20", "--generator", "resnet_6blocks"], ["--crop-size 20", "24"]),
    (PIX2PIX, ["--crop-size", "128", "--generator", "unet_256"], ["--crop-size 128", "unet_256", "256"]),
    (BOTH, ["--adversarial", "wgan-gp", "--norm", "batch"], ["wgan-gp", "batch", "--norm instance"]),
    (BOTH, ["--adversarial", "hinge", "--real-label", "0.9"], ["--real-label 0.9", "hinge"]),
    (BOTH, ["--batch-size", "4", "--accumulate", "3"], ["--accumulate 3", "--batch-size 4"]),
    (BOTH, ["--device", "tpu"], ["--device tpu", "cuda", "cpu"]),
    (BOTH, ["--device", "cuda:99"], ["--device cuda:99", "cpu"]),
    (BOTH, ["--device", "meta"], ["--device meta", "cpu"]),
    (BOTH, ["--epochs", "0", "--decay-epochs", "0"], ["--epochs", "--decay-epochs"]),
    (BOTH, ["--input-channels", "0"], ["input_channels", "1"]),
    (BOTH, ["--range-a", "9"], ["9", "LOW:HIGH"]),
    (BOTH, ["--range-b", "5:5"], ["5:5", "less"]),
    (BOTH, ["--background", "nocolour"], ["--background", "#rrggbb"]),
    (BOTH, ["--decoder", "nvjpeg"], ["nvjpeg", "CUDA", "pillow"]),
    (["cyclegan"], ["--preprocess", "none"], ["--preprocess none", "--pool-size 0"]),
    (["cyclegan"], ["--input-channels", "1"], ["--lambda-identity", "1", "3"]),
    (BOTH, ["--adversarial", "wgan-gp", "--norm", "instance", "--precision", "fp16"], ["fp16", "wgan-gp", "bf16"]),
]


@pytest.mark.parametrize(
    ("method", "flags", "words"),
    [(method, flags, words) for methods, flags, words in COMBINATIONS for method in methods],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_settings_that_do_not_go_together(
    fails: Fails, paired_root: Path, method: str, flags: list[str], words: list[str]
) -> None:
    fails(["train", method, paired_root, *flags], 2, *words)


@pytest.mark.parametrize("crop", [2, 8, 22, 25, 28, 30, 36, 50, 66, 100])
@pytest.mark.parametrize("name", METHODS)
def test_a_proposed_setting_is_accepted(fails: Fails, paired_root: Path, name: str, crop: int) -> None:
    """What the line about a crop size proposes is not refused in its turn."""
    cls = METHODS[name]
    flags = {"crop_size": crop}
    try:
        cls.resolve_config(cls.Config(**flags))
        return
    except translate.errors.UsageError:
        (line,) = fails(["train", name, paired_root, "--crop-size", crop], 2, f"--crop-size {crop}")
    proposed = line.split(";")[-1]
    sizes = [int(size) for size in re.findall(r"--crop-size (\d+)", proposed)]
    networks = re.findall(r"--(generator|discriminator) (\w+)", proposed)
    sizes += [2 * int(multiple) for multiple in re.findall(r"multiple of (\d+)", proposed)]
    assert sizes or networks
    for size in sizes:
        cls.resolve_config(cls.Config(crop_size=size))
    for kind, network in networks:
        cls.resolve_config(cls.Config(crop_size=crop, **{kind: network}))


# Models and runs.


@pytest.mark.parametrize("name", ["nowhere", "no/where"])
def test_an_unknown_model(fails: Fails, photos: Path, name: str) -> None:
    fails(["convert", name, photos, "out"], 4, name, "checkpoints")


def test_a_damaged_model(fails: Fails, photos: Path, model: Path) -> None:
    shutil.copytree(model, "broken")
    Path("broken", "model.safetensors").write_bytes(b"broken")
    fails(["convert", "broken", photos, "out"], 4, "broken")


def test_a_start_from_another_model(fails: Fails, paired_root: Path, model: Path) -> None:
    fails(["train", "pix2pix", paired_root, *SMALL, "--init-from", "nowhere"], 4, "nowhere")
    flags = ["--crop-size", "32", "--g-width", "5", "--device", "cpu"]
    fails(["train", "pix2pix", paired_root, *flags, "--init-from", model], 2, "--init-from", "--g-width")


def test_a_direction_the_model_does_not_have(fails: Fails, photos: Path, model: Path) -> None:
    fails(["convert", model, photos, "out", "--to", "a"], 2, "'a'", "b")


@pytest.mark.parametrize("flags", [["--device", "tpu"], ["--device", "cuda:99"], ["--precision", "fp8"]])
def test_a_machine_that_is_not_there(fails: Fails, photos: Path, model: Path, flags: list[str]) -> None:
    fails(["convert", model, photos, "out", *flags], 2, *flags)


def test_an_output_that_is_the_input(fails: Fails, photos: Path, model: Path) -> None:
    Path("link").symlink_to(photos)
    for output in ("photos", "photos/../photos", "link"):
        fails(["convert", model, photos, output], 2, output)


@pytest.mark.parametrize("name", ["nowhere", "no/where", "/no/where"])
def test_resume_of_no_run(fails: Fails, name: str) -> None:
    fails(["resume", name], 4, name, "translate train")


def test_resume_of_a_folder_that_is_no_run(fails: Fails, model: Path) -> None:
    fails(["resume", model], 4, str(model))


@pytest.mark.parametrize("content", ["", "method = 'pix2pix'", "method = 'nothing'\nroot = 'x'\nprocesses = 1", "x ="])
def test_resume_of_a_run_with_damaged_settings(run: Path, content: str, capfd: pytest.CaptureFixture[str]) -> None:
    (run / "config.toml").write_text(content)
    before = everything()
    assert cli.run(["resume", str(run)]) in (2, 4)
    (line,) = capfd.readouterr().err.splitlines()
    assert "config.toml" in line
    assert everything() == before


def test_resume_with_wrong_flags(fails: Fails, run: Path) -> None:
    fails(["resume", run, "--crop-sise", "32"], 2, "crop_sise", "crop_size")
    fails(["resume", run, "--lr", "small"], 2, "--lr small")
    fails(["resume", run, "--crop-size", "30", "--load-size", "30"], 2, "--crop-size 30")


def test_other_settings_in_the_same_run(fails: Fails, run: Path, paired_root: Path) -> None:
    def command(*flags: str, images: int = 2, method: str = "pix2pix") -> list[object]:
        return ["train", method, paired_root, *SMALL, "--images", images, "--run", run, *flags]

    lines = fails(command("--lambda-l1", "7", "--seed", "1"), 2, "translate resume", more=3)
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["seed", "lambda_l1"]
    assert "100.0 in the run, 7.0 now" in lines[2]
    fails(command(images=1), 2, "images: 2 in the run, 1 now", more=2)
    fails(command("--batch-size", "2"), 2, "--batch-size: 1 in the run, 2 now", more=2)
    fails(command(*CYCLEGAN, method="cyclegan"), 2, "method: pix2pix in the run, cyclegan now", more=2)
    assert cli.run([str(word) for word in command("--log-every", "1", "--workers", "1")]) == 0  # these decide nothing


def test_a_run_that_is_in_use(fails: Fails, run: Path, paired_root: Path, photos: Path, model: Path) -> None:
    with atomic.lock_folder(run, ""):
        fails(["resume", run], 5, str(run), f"process {os.getpid()}", "--run")
        fails(["train", "pix2pix", paired_root, *SMALL, "--images", "9", "--run", run], 5, str(run))
    Path("out").mkdir()
    with atomic.lock_folder(Path("out"), ""):
        fails(["convert", model, photos, "out"], 5, "out", f"process {os.getpid()}")


def test_damaged_checkpoints(fails: Fails, run: Path, paired_root: Path) -> None:
    for path in run.glob("state-*.ckpt"):
        path.write_bytes(path.read_bytes()[:-1])
    before = everything()
    assert cli.run(["train", "pix2pix", str(paired_root), *SMALL, "--images", "9", "--run", str(run)]) == 4
    assert everything() == before


def test_a_folder_that_cannot_be_made(fails: Fails, paired_root: Path, photos: Path, model: Path) -> None:
    Path("file").write_text("")
    fails(["train", "pix2pix", paired_root, *SMALL, "--run", "file/run"], 6, "file/run")
    fails(["convert", model, photos, "file/out"], 6, "file/out")


def test_an_interrupt_before_the_work(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "convert", interrupt)
    fails(["convert", "m", "in", "out"], 130, "interrupted")


# What is said where nothing is wrong.


def test_some_images_failed(capfd: pytest.CaptureFixture[str], photos: Path, model: Path) -> None:
    assert cli.run(["convert", str(model), str(photos), "out", "--format", "jpg"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "failed: 'bad.jpg': not an image"
    assert "1 images: jpg holds no transparency" in err
    assert re.search(r"^2 converted, 1 failed, 1 other files passed over.*; output in out$", err, re.MULTILINE)
    (photos / "bad.jpg").unlink()
    assert cli.run(["convert", str(model), str(photos), "out", "--format", "jpg"]) == 0
    assert "0 converted, 2 done before" in capfd.readouterr().err


def test_a_long_list_of_failures_is_cut_and_counted(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    Path("photos").mkdir()
    for n in range(30):
        Path(f"photos/{n:02}.jpg").write_text("no picture")
    assert cli.run(["convert", str(model), "photos", "out"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert sum(line.startswith("failed: ") for line in lines) == 20
    assert any("10 more" in line for line in lines)
    assert len(Path("out/manifest.jsonl").read_text().splitlines()) == 30


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_json_is_all_there_is_on_stdout(
    capfd: pytest.CaptureFixture[str], photos: Path, model: Path, flags: list[str]
) -> None:
    code = cli.run(["convert", str(model), str(photos), "out", "--json", *flags])
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert isinstance(result, dict)
    assert len(out.splitlines()) == 1
    if flags:
        assert (code, result["done"], len(result["planned"])) == (0, 0, 3)
        assert not Path("out").exists()
    else:
        assert (code, result["done"], result["failed"]) == (1, 2, 1)
        assert result["failures"] == {"bad.jpg": "not an image"}
    assert err


def test_json_and_an_error(fails: Fails, photos: Path) -> None:
    fails(["convert", "nowhere", photos, "out", "--json"], 4, "nowhere")


@pytest.mark.parametrize("name", [b"\xff.png", b"\x1b[31m.png", b"new\nline.png", "猫.png".encode()])
def test_a_dry_run_prints_one_line_for_each_image(capsys: pytest.CaptureFixture[str], model: Path, name: bytes) -> None:
    colours(Path("photos"), "plain.png", "x.png")
    os.rename("photos/x.png", b"photos/" + name)
    assert cli.run(["convert", str(model), "photos", "out", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert "plain.png → plain.png" in out
    assert "\x1b" not in out


def test_a_finished_run_says_so(capfd: pytest.CaptureFixture[str], run: Path, paired_root: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert cli.run(["train", "pix2pix", str(paired_root), *SMALL, "--images", "2", "--run", str(run)]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "finished after 2 images" in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def flags_of(config: type) -> list[str]:
    return ["--" + f.name.replace("_", "-") for f in fields(config)]


HELP: list[tuple[list[str], list[str]]] = [
    ([], ["demo", "train", "resume", "convert", "--version"]),
    (["demo"], ["--out", "--minutes"]),
    (["train"], list(METHODS)),
    *((["train", name], ["--run", "--config", "--preset", *flags_of(METHODS[name].Config)]) for name in METHODS),
    (["resume"], ["RUN"]),
    (["convert"], ["MODEL", "INPUT", "OUTPUT", "--to", "--format", "--quality", "--batch-size", "--overwrite", "--dry-run",
                   "--limit", "--max-pixels", "--seed", "--device", "--precision", "--json"]),
]  # fmt: skip


@pytest.mark.parametrize(("command", "named"), HELP, ids=lambda words: " ".join(words) or "translate")
def test_help_names_everything(capfd: pytest.CaptureFixture[str], command: list[str], named: list[str]) -> None:
    assert cli.run([*command, "--help"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert set(named) <= set(re.findall(r"[\w-]+", out))


def test_help_and_version_need_no_torch() -> None:
    code = """
import sys, translate
from translate.cli import run
assert translate.__version__ and run(["--help"]) == run(["--version"]) == 0
print(sorted({"torch", "numpy", "PIL"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [translate.__version__, "[]"]


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "translate", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{translate.__version__}\n"

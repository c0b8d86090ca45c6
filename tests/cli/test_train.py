"""`translate train`: data, settings and models that it refuses, and what it says of a run that is finished."""

import re
from pathlib import Path

import pytest

import translate
from translate import cli
from translate.methods import METHODS

from .conftest import (
    SMALL,
    Fails,
    Run,
    colours,
    contents,
    row,
)

CYCLEGAN = ["--generator", "resnet_3blocks"]


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


def test_noise_needs_one_folder_of_images(fails: Fails) -> None:
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


def test_a_direction_without_two_domains(fails: Fails) -> None:
    colours(Path("data", "train"), "1.png")
    fails(["train", "dcgan", "data", "--direction", "b2a", "--device", "cpu"], 2, "--direction b2a")


def test_validation_without_images_for_it(fails: Fails) -> None:
    colours(Path("data", "train"), "1.png")
    fails(["train", "dcgan", "data", "--evaluate-every", "8", "--device", "cpu"], 2, "--evaluate-every 8", "--hold-out")


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
    Path("data/trainB/1.png").write_text("no image")
    before = contents()
    assert cli.run(["train", "cyclegan", "data", *SMALL, *CYCLEGAN]) == 3
    assert contents() == before


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


def test_a_settings_file_that_cannot_be_read(fails: Fails, paired_root: Path) -> None:
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
    (BOTH, ["--input-channels", "0"], ["--input-channels 0", "1"]),
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
def test_settings_that_exclude_each_other(
    fails: Fails, paired_root: Path, method: str, flags: list[str], words: list[str]
) -> None:
    fails(["train", method, paired_root, *flags], 2, *words)


@pytest.mark.parametrize("crop", [2, 8, 22, 25, 28, 30, 36, 50, 66, 100])
@pytest.mark.parametrize("name", METHODS)
def test_a_proposed_setting_is_accepted(fails: Fails, paired_root: Path, name: str, crop: int) -> None:
    """A size or network that the error about a crop size proposes is not refused in turn."""
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


def test_a_start_from_another_model(fails: Fails, paired_root: Path, one_way_model: Path) -> None:
    fails(["train", "pix2pix", paired_root, *SMALL, "--init-from", "nowhere"], 4, "nowhere")
    flags = ["--crop-size", "32", "--g-width", "5", "--device", "cpu"]
    fails(["train", "pix2pix", paired_root, *flags, "--init-from", one_way_model], 2, "--init-from", "--g-width")


def test_train_takes_the_networks_from_the_model(run: Run, fails: Fails, pth_folder: Path, unpaired_root: Path) -> None:
    start = [
        "train",
        "cyclegan",
        unpaired_root,
        "--init-from",
        pth_folder,
        "--crop-size",
        "32",
        "--images",
        "1",
        "--device",
        "cpu",
    ]
    fails([*start, "--run", "bad", "--g-width", "8"], 2, "--init-from ref", "--g-width")
    err = run(*start, "--run", "runs/new")[1]
    assert err[0] == "starting from ref: g_ab, g_ba, d_b, d_a"
    out, _ = run("status", "runs/new")
    assert row(out, "generator").startswith("resnet_1blocks, width 4")
    assert row(out, "trained on").startswith(f"{unpaired_root.name}, 1 images")


def test_other_settings_in_the_same_run(fails: Fails, run_folder: Path, paired_root: Path) -> None:
    def command(*flags: str, images: int = 2, method: str = "pix2pix") -> list[object]:
        return ["train", method, paired_root, *SMALL, "--images", images, "--run", run_folder, *flags]

    lines = fails(command("--lambda-l1", "7", "--seed", "1"), 2, "translate resume", more=3)
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["--seed", "--lambda-l1"]
    assert "100.0 in the run, 7.0 now" in lines[2]
    fails(command(images=1), 2, "images: 2 in the run, 1 now", more=2)
    fails(command("--batch-size", "2"), 2, "--batch-size: 1 in the run, 2 now", more=2)
    fails(command(*CYCLEGAN, method="cyclegan"), 2, "method: pix2pix in the run, cyclegan now", more=2)
    assert cli.run([str(word) for word in command("--log-every", "1", "--workers", "1")]) == 0  # these decide nothing


def test_damaged_checkpoints(fails: Fails, run_folder: Path, paired_root: Path) -> None:
    for path in run_folder.glob("state-*.ckpt"):
        path.write_bytes(path.read_bytes()[:-1])
    before = contents()
    assert cli.run(["train", "pix2pix", str(paired_root), *SMALL, "--images", "9", "--run", str(run_folder)]) == 4
    assert contents() == before


def test_a_folder_that_cannot_be_made(fails: Fails, paired_root: Path, mixed_photos: Path, one_way_model: Path) -> None:
    Path("file").write_text("")
    fails(["train", "pix2pix", paired_root, *SMALL, "--run", "file/run"], 6, "file/run")
    fails(["convert", one_way_model, mixed_photos, "file/out"], 6, "file/out")


def test_a_finished_run_says_so(capfd: pytest.CaptureFixture[str], run_folder: Path, paired_root: Path) -> None:
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    assert cli.run(["train", "pix2pix", str(paired_root), *SMALL, "--images", "2", "--run", str(run_folder)]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "finished after 2 images" in err
    assert {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()} == before

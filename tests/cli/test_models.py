"""import-weights, status, export and convert on models of the reference: what is said, what is written, how they fail."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import translate
from translate import cli
from translate.methods import METHODS
from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, find
from translate.trained.folder import write_trained_model

Run = Callable[..., tuple[list[str], list[str]]]
Fails = Callable[..., str]

NOTICE = "a U-Net's weights do not tell whether it has dropout"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def contents() -> dict[Path, bytes]:
    """What lies in the test's folder."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in Path("..").rglob("*")}


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed; the lines of stdout and stderr."""

    def go(*arguments: object) -> tuple[list[str], list[str]]:
        assert cli.run([str(argument) for argument in arguments]) == 0
        out, err = capfd.readouterr()
        return out.splitlines(), err.splitlines()

    return go


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command and checks how it failed: exit code, words, one line, and nothing written or changed."""

    def check(arguments: Iterable[object], code: int, *words: str) -> str:
        before = contents()
        assert cli.run([str(argument) for argument in arguments]) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1, err
        for word in words:
            assert word in err
        assert contents() == before, "something was written"
        return err

    return check


def generator(name: str = "resnet_1blocks", norm: str = "instance", *, key: int = 0, **options: Any) -> nn.Module:
    network = find(name)
    assert network is not None
    return normal_(network(*options.pop("channels", (3, 3)), 4, norm, **options), key, gain=0.2).eval()


def discriminator(name: str = "basic", norm: str = "instance", channels: int = 3, *, key: int = 0) -> nn.Module:
    return normal_(DISCRIMINATORS[name](channels, 4, norm, 3), key)


def save(path: str, net: nn.Module) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return Path(path)


@pytest.fixture
def pth() -> Path:
    return save("latest_net_G_A.pth", generator())


@pytest.fixture
def ref() -> Path:
    """A folder of the reference: both ways of a CycleGAN."""
    for key, name in enumerate(("G_A", "G_B", "D_A", "D_B")):
        save(f"ref/latest_net_{name}.pth", generator(key=key) if key < 2 else discriminator(key=key))
    return Path("ref")


@pytest.fixture
def trained() -> Path:
    """A run folder with an untrained CycleGAN."""
    cls = METHODS["cyclegan"]
    cfg = cls.resolve_config(cls.Config(generator="resnet_1blocks", g_width=4, d_width=4, crop_size=32, load_size=36))
    Path("run/model").mkdir(parents=True)
    write_trained_model(Path("run/model"), cls(cfg), title="nothing", seen=8)
    return Path("run")


@pytest.fixture
def photos() -> Path:
    Path("photos").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(Path("photos") / name)
    return Path("photos")


def row(lines: list[str], name: str) -> str:
    """What the line that begins with `name` says."""
    (found,) = [line.removeprefix(name).strip() for line in lines if line.startswith(name)]
    return found


# import-weights.


def test_an_import_shows_what_was_found(run: Run, ref: Path) -> None:
    out, err = run("import-weights", ref, "new/model")
    assert err == []
    assert out == run("status", "new/model")[0]
    assert row(out, "method") == "cyclegan"
    assert row(out, "translates") == "a (3 channels) → b (3), b (3 channels) → a (3)"
    assert row(out, "generator").startswith("resnet_1blocks, width 4, instance norm")
    assert row(out, "discriminators").startswith("d_a, d_b: basic, width 4, instance norm")
    assert all(f"latest_net_{name}.pth" in row(out, "imported from") for name in ("G_A", "G_B", "D_A", "D_B"))
    assert {path.name for path in Path("new").iterdir()} == {"model"}


def test_an_assumption_is_one_line_on_stderr(run: Run) -> None:
    path = save("latest_net_G.pth", generator("unet_32", "batch"))
    out, err = run("import-weights", path, "model")
    assert len(err) == 1
    assert NOTICE in err[0]
    assert "--dropout on|off" in err[0]
    assert row(out, "dropout").startswith("on")
    for dropout in ("on", "off"):
        out, err = run("import-weights", path, "model", "--dropout", dropout, "--overwrite")
        assert err == []
        assert row(out, "dropout").startswith(dropout)
    out, err = run("import-weights", path, "model", "--norm-statistics", "running", "--overwrite")
    assert row(out, "norm_statistics").startswith("running")


def test_an_epoch_is_chosen(run: Run, fails: Fails) -> None:
    for epoch in ("5", "10", "iter_1000"):
        save(f"ref/{epoch}_net_G.pth", generator())
    assert row(run("import-weights", "ref", "model")[0], "imported from") == "10_net_G.pth"
    for epoch in ("5", "iter_1000"):
        out, _ = run("import-weights", "ref", "model", "--epoch", epoch, "--overwrite")
        assert row(out, "imported from") == f"{epoch}_net_G.pth"
    fails(["import-weights", "ref", "other", "--epoch", "7"], 4, "ref", "'7'", "iter_1000, 5, 10")
    fails(["import-weights", "ref/5_net_G.pth", "other", "--epoch", "5"], 2, "--epoch 5", "single file")


def test_a_model_is_replaced_only_when_asked(run: Run, fails: Fails, pth: Path) -> None:
    run("import-weights", pth, "model")
    before = contents()
    fails(["import-weights", pth, "model"], 2, "model: holds a model already", "--overwrite")
    other = save("other.pth", generator(key=1))
    run("import-weights", other, "model", "--overwrite")
    after = contents()
    assert {path for path in after if before.get(path) != after[path]} == {
        Path("../work/other.pth"), *(Path("../work/model") / name for name in ("README.md", "config.json",
                                                                            "model.safetensors"))}  # fmt: skip
    assert not [path for path in Path().iterdir() if path.name.startswith(".")], "nothing half-done is left"


def test_an_import_without_discriminators_replaces_one_with_them(run: Run, ref: Path, pth: Path) -> None:
    run("import-weights", ref, "model")
    out, _ = run("import-weights", pth, "model", "--overwrite")
    assert not [line for line in out if line.startswith("discriminators")]
    assert {path.name for path in Path("model").iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_an_empty_folder_is_filled(run: Run, pth: Path) -> None:
    Path("model").mkdir()
    run("import-weights", pth, "model")
    assert Path("model/config.json").is_file()


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_what_is_no_model_is_never_replaced(fails: Fails, run: Run, pth: Path, trained: Path, flags: list[str]) -> None:
    Path("file").write_text("mine")
    fails(["import-weights", pth, "file", *flags], 2, "file: is a file")
    Path("photos").mkdir()
    Path("photos/mine.jpg").write_text("mine")
    fails(["import-weights", pth, "photos", *flags], 2, "photos", "mine.jpg", "new folder")
    run("import-weights", pth, "model")
    Path("model/notes.txt").write_text("mine")
    fails(["import-weights", pth, "model", *flags], 2, "model", "notes.txt")
    Path("full/sub").mkdir(parents=True)
    fails(["import-weights", pth, "full", *flags], 2, "full", "sub")
    fails(["import-weights", pth, trained, *flags], 2, "run")
    fails(["import-weights", pth, ".", *flags], 2, ": holds more than a model")


def test_an_import_into_its_own_source_is_refused(fails: Fails, ref: Path) -> None:
    for flags in ([], ["--overwrite"]):
        fails(["import-weights", ref, ref, *flags], 2, "latest_net_D_A.pth")
        fails(["import-weights", ref / "latest_net_G_A.pth", ref / "latest_net_G_A.pth", *flags], 2, "is a file")


def test_a_failed_import_leaves_the_old_model(fails: Fails, run: Run, pth: Path) -> None:
    run("import-weights", pth, "model")
    Path("bad.pth").write_bytes(b"no weights")
    fails(["import-weights", "bad.pth", "model", "--overwrite"], 4, "bad.pth")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.pth", "model"], 4, ["nowhere.pth", "no such file"]),
        (["nowhere/", "model"], 4, ["nowhere", "no such file"]),
        (["empty", "model"], 4, ["empty", "_net_", "G_A"]),
        (["latest_net_G_A.pth", "model", "--dropout", "maybe"], 2, ["--dropout maybe", "on or off"]),
        (["latest_net_G_A.pth", "model", "--dropout", "on"], 2, ["--dropout on", "latest_net_G_A.pth", "without"]),
        (
            ["latest_net_G_A.pth", "model", "--norm-statistics", "batch"],
            2,
            ["--norm-statistics batch", "sample, running"],
        ),
        (["latest_net_G_A.pth"], 2, ["FOLDER"]),
        (["latest_net_G_A.pth", "model", "--width", "4"], 2, ["--width"]),
    ],
)
def test_imports_that_cannot_be(fails: Fails, pth: Path, arguments: list[str], code: int, words: list[str]) -> None:
    Path("empty").mkdir()
    fails(["import-weights", *arguments], code, *words)


class Code:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path("was run"),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_every_command_refuses_a_pickle_with_code(fails: Fails, photos: Path, zipped: bool) -> None:
    torch.save({**generator().state_dict(), "x": Code()}, "x.pth", _use_new_zipfile_serialization=zipped)
    for arguments in (
        ["import-weights", "x.pth", "model"],
        ["status", "x.pth"],
        ["export", "x.pth", "y.pth"],
        ["convert", "x.pth", photos, "out"],
    ):
        fails(arguments, 4, "x.pth: refused", "code")
    assert not Path("was run").exists()


# status.


def test_status_of_a_file_a_model_and_a_run(run: Run, pth: Path, trained: Path) -> None:
    out, err = run("status", pth)
    assert err == []
    assert row(out, "model") == "latest_net_G_A.pth"
    assert row(out, "translates") == "a (3 channels) → b (3)"
    weights = sum(p.numel() for p in generator().parameters())
    assert row(out, "weights") == f"{weights:,} parameters, float32"
    assert row(out, "sizes") == "any; padded to multiples of 4, at least 8"
    assert row(out, "norm_statistics").startswith("sample")
    assert row(out, "dropout").startswith("off")
    assert row(out, "imported from") == "latest_net_G_A.pth"
    for place in (trained, trained / "model"):
        out, _ = run("status", place)
        assert row(out, "model") == "run/model"
        assert row(out, "trained on") == "nothing, 8 images, 32 px"
        assert row(out, "weights") == f"{2 * weights:,} parameters, float32"
        assert row(out, "translates") == "a (3 channels) → b (3), b (3 channels) → a (3)"
        assert not [line for line in out if line.startswith("imported")]


def test_status_by_the_name_of_a_run(run: Run, trained: Path) -> None:
    Path("checkpoints").mkdir()
    trained.rename("checkpoints/mine")
    assert row(run("status", "mine")[0], "model") == "checkpoints/mine/model"


def test_status_by_the_name_of_a_folder_of_the_reference(run: Run, ref: Path) -> None:
    Path("checkpoints").mkdir()
    ref.rename("checkpoints/horse2zebra")
    assert row(run("status", "horse2zebra")[0], "translates").endswith("b (3 channels) → a (3)")


def test_status_as_json_is_one_object_with_all_there_is_to_know(run: Run, ref: Path, trained: Path) -> None:
    run("import-weights", ref, "model")
    for place in (ref, ref / "latest_net_G_B.pth", "model", trained):
        out, err = run("status", place, "--json")
        assert err == []
        (line,) = out
        known = json.loads(line)
        assert known["method"] == "cyclegan"
        assert known["networks"]["generator"] == "resnet_1blocks"
        assert (known["norm_statistics"], known["dropout"], known["dtype"]) == ("sample", "off", "float32")
        assert set(known["directions"]) == ({"b"} if str(place).endswith(".pth") else {"a", "b"})
        assert known["discriminators"] == (["d_a", "d_b"] if place in (ref, "model") else [])
        assert ("imported_from" in known, "trained_on" in known) == (place != trained, place == trained)
        assert len(known["sha256"]) == 64
        assert known["notices"] == []


def test_status_tells_what_was_assumed(run: Run) -> None:
    path = save("latest_net_G.pth", generator("unet_32"))
    out, err = run("status", path)
    assert err == []
    assert NOTICE in row(out, "note")
    (notice,) = json.loads(run("status", path, "--json")[0][0])["notices"]
    assert NOTICE in notice


def test_status_of_double_precision(run: Run) -> None:
    """Statistics of batch norm are no parameters, and their counter has no precision."""
    net = generator("unet_16", "batch").double()
    parameters = sum(p.numel() for p in net.parameters())
    assert row(run("status", save("x.pth", net))[0], "weights") == f"{parameters:,} parameters, float64"


def test_status_of_no_model(fails: Fails) -> None:
    Path("empty").mkdir()
    Path("text.pth").write_text("no weights")
    fails(["status", "nowhere"], 4, "nowhere: no such model")
    fails(["status", "empty"], 4, "empty: ")
    fails(["status", "text.pth"], 4, "text.pth")
    fails(["status", "text.pth", "--json"], 4, "text.pth")
    fails(["status"], 2, "MODEL")


# export.


def test_an_export_says_where_it_is(run: Run, pth: Path, trained: Path) -> None:
    out, err = run("export", pth, "deep/er/copy.pth")
    assert out == []
    assert err[-1] == "wrote deep/er/copy.pth"
    assert "resnet_1blocks" in err[0]
    written, given = (torch.load(path, weights_only=True) for path in ("deep/er/copy.pth", pth))
    assert list(written) == list(given)
    assert all(torch.equal(written[key], given[key]) for key in given)
    for to in ("a", "b"):
        run("export", trained, f"{to}.pth", "--to", to)
    assert Path("a.pth").read_bytes() != Path("b.pth").read_bytes()
    assert [path.name for path in Path("deep/er").iterdir()] == ["copy.pth"]


def seen(path: Path) -> bytes:
    """The pixels alone: the mark beside them names the model."""
    with Image.open(path) as image:
        return image.tobytes()


def test_an_exported_file_is_a_model_again(run: Run, trained: Path, photos: Path) -> None:
    run("export", trained, "b.pth")
    run("export", trained, "a.pth", "--to", "a")
    for name, model, to in (("1", trained, "b"), ("2", "b.pth", "b"), ("3", trained, "a"), ("4", "a.pth", "b")):
        run("convert", model, photos, name, "--to", to, "--device", "cpu")
    for first, second in (("1", "2"), ("3", "4")):
        assert seen(Path(first, "a.png")) == seen(Path(second, "a.png"))
    assert seen(Path("1", "a.png")) != seen(Path("3", "a.png"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("x.onnx", ["x.onnx", ".pth"]),
        ("x.pt2", ["x.pt2", ".pth"]),
        ("there.pth", ["there.pth: exists", "--overwrite"]),
    ],
)
def test_targets_that_cannot_be(fails: Fails, pth: Path, target: str, words: list[str]) -> None:
    Path("there.pth").write_text("mine")
    fails(["export", pth, target], 2, *words)


def test_a_file_is_replaced_when_asked(run: Run, pth: Path) -> None:
    Path("there.pth").write_text("mine")
    run("export", pth, "there.pth", "--overwrite")
    assert torch.load("there.pth", weights_only=True).keys() == generator().state_dict().keys()


@pytest.mark.parametrize(("dtype", "bits"), [("fp16", torch.float16), ("bf16", torch.bfloat16), (None, torch.float32)])
def test_a_folder_holds_the_rounded_weights_and_nothing_else(
    run: Run, trained: Path, photos: Path, dtype: str | None, bits: torch.dtype
) -> None:
    flags = ["--dtype", dtype] if dtype else []
    assert run("export", trained, "deep/small", *flags)[1] == ["wrote deep/small"]
    given, made = (load_file(folder / "model.safetensors") for folder in (trained / "model", Path("deep/small")))
    assert made.keys() == given.keys()
    assert all(torch.equal(made[key], given[key].to(bits)) for key in given)
    assert json.loads(Path("deep/small/config.json").read_text()) == json.loads(
        (trained / "model/config.json").read_text()
    )
    assert sorted(path.name for path in Path("deep/small").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    for to in ("a", "b"):
        run("convert", "deep/small", photos, f"made {to}", "--to", to, "--device", "cpu")
        assert list(Path(f"made {to}").glob("*.png"))


def test_half_precision_halves_the_file(run: Run, trained: Path) -> None:
    run("export", trained, "half", "--dtype", "fp16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (Path("half"), trained / "model")]
    assert 0.5 < sizes[0] / sizes[1] < 0.6  # names are not halved


def test_a_model_folder_is_replaced_when_asked_and_nothing_else_ever(fails: Fails, run: Run, trained: Path) -> None:
    run("export", trained, "there")
    fails(["export", trained, "there"], 2, "there: holds a model already", "--overwrite")
    run("export", trained, "there", "--overwrite", "--dtype", "fp16")
    Path("mine").mkdir()
    Path("mine/note.txt").write_text("mine")
    fails(["export", trained, "mine", "--overwrite"], 2, "mine: holds more than a model (note.txt)")


def test_flags_of_the_other_format(fails: Fails, trained: Path) -> None:
    fails(["export", trained, "x.pth", "--dtype", "fp16"], 2, "--dtype fp16", "model folders")
    fails(["export", trained, "x", "--to", "a"], 2, "--to a", "all directions")
    fails(["export", trained, "x", "--dtype", "int8"], 2, "--dtype int8", "fp32, fp16, bf16")


def test_directions_that_a_model_does_not_have(fails: Fails, run: Run, pth: Path, ref: Path, photos: Path) -> None:
    run("import-weights", pth, "one")
    for model in (pth, "one", ref / "latest_net_G_B.pth"):
        fails(["export", model, "x.pth", "--to", "a"], 2, "--to a", str(model), "to b")
        fails(["convert", model, photos, "out", "--to", "a"], 2, "to b only", "'a'")
    fails(["export", ref, "x.pth", "--to", "c"], 2, "--to c", "b and a")
    fails(["export", "nowhere", "x.pth"], 4, "nowhere")


# Discriminators alone.


def test_discriminators_alone_can_be_kept_but_translate_nothing(run: Run, fails: Fails, photos: Path) -> None:
    for side in "AB":
        save(f"ref/latest_net_D_{side}.pth", discriminator())
    out, err = run("import-weights", "ref", "model")
    assert err == []
    assert out == run("status", "model")[0]
    assert row(out, "discriminators").startswith("d_a, d_b: basic")
    assert json.loads(run("status", "model", "--json")[0][0])["directions"] == {}
    for model in ("model", "ref", "ref/latest_net_D_A.pth"):
        fails(["convert", model, photos, "out"], 4, "discriminators only")
        fails(["export", model, "x.pth"], 2, "discriminators only")


# convert.


def test_a_file_of_the_reference_converts_without_a_flag(run: Run, photos: Path, pth: Path) -> None:
    out, err = run("convert", pth, photos, "out")
    assert out == []
    assert err[-1].startswith("2 converted")
    model = translate.load(pth, device="cpu")
    for name in ("a.png", "b.png"):
        with Image.open(photos / name) as source, Image.open(Path("out") / name) as made:
            assert np.array_equal(np.asarray(made), np.asarray(model(source)))
    assert "0 converted, 2 done before" in run("convert", pth, photos, "out")[1][-1]
    run("convert", pth, photos / "a.png", "one.png")
    assert Path("one.png").read_bytes() == Path("out/a.png").read_bytes()


def test_the_whole_folder_converts_both_ways(run: Run, photos: Path, ref: Path) -> None:
    for to in ("a", "b"):
        run("convert", ref, photos, to, "--to", to)
    assert seen(Path("a/a.png")) != seen(Path("b/a.png"))
    run("convert", ref / "latest_net_G_B.pth", photos, "single")
    assert seen(Path("single/a.png")) == seen(Path("a/a.png"))


def test_what_is_assumed_is_said_when_converting(run: Run, photos: Path) -> None:
    path = save("latest_net_G.pth", generator("unet_64", "batch", dropout=True))
    err = run("convert", path, photos, "on")[1]
    assert [NOTICE in line for line in err] == [True, False]
    out, err = run("convert", path, photos, "json", "--json")
    assert NOTICE in err[0]
    assert json.loads(out[0])["done"] == 2
    err = run("convert", path, photos, "off", "--dropout", "off")[1]
    assert not any(NOTICE in line for line in err)
    run("import-weights", path, "model", "--dropout", "off")
    err = run("convert", "model", photos, "model_off")[1]
    assert len(err) == 1
    made = {name: seen(Path(name, "a.png")) for name in ("on", "json", "off", "model_off")}
    assert made["on"] == made["json"]
    assert made["off"] == made["model_off"] != made["on"]


def test_flags_of_test_time_make_the_images_anew(run: Run, photos: Path) -> None:
    path = save("latest_net_G.pth", generator("unet_64", "batch", dropout=True))
    for flags in (
        [], ["--dropout", "off"], ["--dropout", "off", "--norm-statistics", "running"], ["--pixels", "reference"],
        ["--precision", "fp64"],
    ):  # fmt: skip
        assert run("convert", path, photos, "out", *flags)[1][-1].startswith("2 converted"), flags
        assert run("convert", path, photos, "out", *flags)[1][-1].startswith("0 converted, 2 done before"), flags


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dropout", "on"], ["--dropout on", "latest_net_G_A.pth", "without dropout"]),
        (["--dropout", "yes"], ["--dropout yes", "on or off"]),
        (["--norm-statistics", "batch"], ["--norm-statistics batch", "sample, running"]),
        (["--pixels", "floor"], ["--pixels floor", "rounded, reference"]),
    ],
)
def test_test_time_that_cannot_be(fails: Fails, pth: Path, photos: Path, flags: list[str], words: list[str]) -> None:
    fails(["convert", pth, photos, "out", *flags], 2, *words)


def test_channels_that_pictures_do_not_have(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Arrays have them, and are translated; photos fail one by one."""
    path = save("x.pth", generator(channels=(4, 2)))
    np.save(photos / "four.npy", np.zeros((9, 11, 4), np.uint8))
    assert cli.run([str(x) for x in ("convert", path, photos, "out", "--device", "cpu")]) == 1
    assert "has 3 channels, but 4 are wanted" in capfd.readouterr().err
    assert np.load("out/four.npy").shape == (9, 11, 2)


# train.


def test_train_takes_the_networks_from_the_model(run: Run, fails: Fails, ref: Path, unpaired_root: Path) -> None:
    start = [
        "train",
        "cyclegan",
        unpaired_root,
        "--init-from",
        ref,
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


# Help.


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ([], {"import-weights", "export", "status"}),
        (["import-weights"], {"--epoch", "--dropout", "--norm-statistics", "--overwrite"}),
        (["export"], {"--to", "--overwrite"}),
        (["status"], {"--json"}),
        (["convert"], {"--dropout", "--norm-statistics", "--pixels"}),
    ],
)
def test_help_names_the_flags(run: Run, command: list[str], named: set[str]) -> None:
    out, err = run(*command, "--help")
    assert err == []
    assert named <= set(re.findall(r"[\w-]+", "\n".join(out)))

"""What version 0.1.0 wrote is loaded, resumed and counted as done.

Only the public surface is used: `import translate`, its command line and its errors. The files are described in
tests/fixtures/v0_1/README.md. Outputs are compared with a tolerance, for CPUs differ in the last bits.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import load_file

import translate
from translate import cli
from translate.errors import UsageError

from ..helpers import read_stats

KEPT = Path(__file__).parents[1] / "fixtures" / "v0_1"

CYCLEGAN = {
    "images": 8, "batch_size": 1, "crop_size": 32, "generator": "resnet_1blocks", "discriminator": "n_layers",
    "d_layers": 1, "g_width": 2, "d_width": 2, "pool_size": 2, "ema_half_life": 4, "precision": "fp64", "lr": 0.002,
    "log_every": 1, "save_every": 4, "sample_every": 4, "device": "cpu", "threads": 1,
}  # fmt: skip
PIX2PIX = {
    "images": 8, "batch_size": 2, "crop_size": 32, "generator": "resnet_3blocks", "discriminator": "n_layers",
    "d_layers": 1, "g_width": 2, "d_width": 2, "dropout": "on", "lr": 0.01, "log_every": 2, "save_every": 4,
    "sample_every": 4, "evaluate_every": 2, "device": "cpu", "threads": 1,
}  # fmt: skip
RUNS = {"cyclegan": ("unpaired", CYCLEGAN, 5), "pix2pix": ("paired", PIX2PIX, 6)}
"""Method → its data, its flags, and the images it had seen when it was stopped."""

EXACT = ("loss/", "grad/", "lr/")
"""Scalars that do not depend on the clock or the memory."""

BOUNDS = {"cyclegan": 1e-4, "pix2pix": 1e-3}
"""How far scalars may be from those kept, relative to them: in float64, and in float32. With the instructions of older CPUs
(ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default) they are 2e-6 and 3e-7 apart; another draw of an image
pool shows as 5e-2."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A copy of all files. Its time stamps are not those that the manifests know, as in a fresh checkout."""
    folder = shutil.copytree(KEPT, tmp_path / "kept")
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


def command(method: str, folder: Path) -> list[str]:
    """The words that started the run."""
    data, flags, _ = RUNS[method]
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["train", method, str(folder / "data" / data), "--run", str(folder / "runs" / method), *words]


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def assert_same_points(points: list[dict], expected: list[dict], rtol: float) -> None:
    assert [point["images"] for point in points] == [point["images"] for point in expected]
    for point, known in zip(points, expected, strict=True):
        names = [name for name in known if name.startswith(EXACT)]
        assert names
        np.testing.assert_allclose([point[n] for n in names], [known[n] for n in names], rtol=rtol, err_msg=str(names))


def pixels(path: Path) -> np.ndarray:
    """Decoded values; of an animation, all frames."""
    if path.suffix == ".tiff":
        return tifffile.imread(path)
    with Image.open(path) as image:
        frames = [np.asarray(image.seek(n) or image.convert("RGBA")) for n in range(getattr(image, "n_frames", 1))]
    return np.stack(frames)


def assert_same_pixels(path: Path, expected: Path) -> None:
    """Up to rounding: one step of 8 bits, or as much of 16."""
    ours, known = pixels(path), pixels(expected)
    assert (ours.shape, ours.dtype) == (known.shape, known.dtype), path.name
    step = 1 if known.dtype == np.uint8 else 257
    assert np.abs(ours.astype(int) - known.astype(int)).max() <= step, path.name


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time stamp of every file below a folder."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


# Runs.


@pytest.mark.parametrize("place", ["runs/cyclegan", "runs/pix2pix", "runs/cyclegan/model", "runs/pix2pix/model-best"])
def test_a_run_loads(place, kept):
    model = translate.load(kept / place, device="cpu")
    image = Image.open(kept / "conversion/in/photo.png")
    for to in ("b", "a") if "cyclegan" in place else ("b",):
        assert model(image, to=to).size == image.size


@pytest.mark.parametrize("method", RUNS)
def test_status_reads_a_run(method, kept, capsys):
    run = kept / "runs" / method
    assert cli.run(["status", str(run), "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    data, flags, images = RUNS[method]
    told = known["run"]
    expected = [method, f"/data/{data}", "stopped", images, 8]
    assert [told[key] for key in ("method", "data", "state", "images", "planned")] == expected
    assert told["checkpoint"]["images"] == images
    assert told["curves"]["loss/g/" + ("l1" if method == "pix2pix" else "cycle_a")]["now"] > 0
    assert (known["method"], known["networks"]["generator"]) == (method, flags["generator"])
    assert cli.run(["status", str(run)]) == 0
    assert method in capsys.readouterr().out


@pytest.mark.parametrize("method", RUNS)
def test_the_same_command_resumes_and_ends(method, kept):
    run = kept / "runs" / method
    before = read_stats(run)
    assert cli.run(command(method, kept)) == 0
    points = read_stats(run)
    assert points[: len(before)] == before
    assert points[-1]["images"] == 8
    assert (run / "state-8.ckpt").is_file()
    assert read_json(run / "model/config.json")["trained_on"]["images"] == 8
    ended = content(run)
    assert cli.run(command(method, kept)) == 0
    assert ended == content(run)


@pytest.mark.parametrize("changed", [False, True])
def test_the_data_is_known_again(changed, kept, capfd):
    """By its fingerprint: a run says so where the data set is another one than at its start."""
    if changed:
        path = kept / "data/paired/train/0.png"
        path.rename(path.with_name("renamed.png"))
    assert cli.run(command("pix2pix", kept)) == 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == changed


@pytest.mark.parametrize("method", RUNS)
def test_other_settings_are_refused(method, kept, capfd):
    """Those of the run are known: what decides the weights may not change."""
    run = kept / "runs" / method
    before = content(run)
    assert cli.run([*command(method, kept), "--seed", "1"]) == 2
    assert "seed" in capfd.readouterr().err
    assert content(run) == before


def test_a_resumed_run_ends_where_one_without_a_stop_does(kept):
    """Weights, moments, EMA, image pools, order and random draws are all taken up: in float64 it shows on any CPU.

    With the instructions of older CPUs weights are 3e-10 apart; without the EMA's state 4e-7, so early in a training.
    """
    run = kept / "runs/cyclegan"
    assert cli.run(command("cyclegan", kept)) == 0
    ours, known = (load_file(path / "model.safetensors") for path in (run / "model", kept / "cyclegan_end"))
    assert ours.keys() == known.keys()
    for key, weights in known.items():
        np.testing.assert_allclose(ours[key], weights, rtol=0, atol=2e-8, err_msg=key)
    assert_same_points(read_stats(run), read_stats(kept / "cyclegan_end"), rtol=BOUNDS["cyclegan"])


@pytest.mark.parametrize("method", RUNS)
def test_a_training_from_the_start_is_what_it_was(method, kept, tmp_path):
    """Its first losses, and what the gradients are."""
    data, flags, images = RUNS[method]
    known = read_stats(kept / "runs" / method)
    run = translate.train(method, kept / "data" / data, run=tmp_path / "new", **{**flags, "images": images})
    assert_same_points(read_stats(run.path), known, rtol=BOUNDS[method])


@pytest.mark.parametrize("method", RUNS)
def test_resume_goes_on_from_what_is_recorded(method, kept):
    run, data = kept / "runs" / method, RUNS[method][0]
    config = run / "config.toml"
    recorded = config.read_text(encoding="utf-8")
    config.write_text(recorded.replace(f'"/data/{data}"', json.dumps(str(kept / "data" / data))), encoding="utf-8")
    assert config.read_text(encoding="utf-8") != recorded
    assert cli.run(["resume", str(run), "--images", "10"]) == 0
    assert (run / "state-10.ckpt").is_file()
    assert read_stats(run)[-1]["images"] == 10


def test_the_best_model_is_remembered(kept):
    """Only a better one may take its place: the state knows how good it was."""
    run = kept / "runs/pix2pix"
    known = read_json(run / "model-best/metrics.json")["metrics"]["l1"]["value"]
    (run / "model-best/metrics.json").write_text("{}")
    weights = (run / "model-best/model.safetensors").read_bytes()
    assert cli.run(command("pix2pix", kept)) == 0
    now = read_stats(run)[-1]["val/l1"]
    assert (now < known) == ((run / "model-best/model.safetensors").read_bytes() != weights)


def test_a_run_is_a_config_file_and_an_initial_model(kept, tmp_path):
    run = kept / "runs/pix2pix"
    flags = {"images": 2, "init_from": str(run), "config": run / "config.toml", "lr": 0.0}
    new = translate.train("pix2pix", kept / "data/paired", run=tmp_path / "new", **flags)
    ours, known = (load_file(path / "model/model.safetensors") for path in (new.path, run))
    assert all(np.array_equal(ours[key], value) for key, value in known.items() if key.endswith(".weight"))


# Models.


def test_a_model_folder_converts_as_it_did(kept, tmp_path):
    """Dropout is on in this model: its masks are drawn by the seed and the pixels, as ever."""
    names = ["photo.png", "clash.png", "clash.bmp.png", "grey.png", "alpha.png", "sub/palette.png", "sub/deep.tiff"]
    result = translate.convert(kept / "models/pix2pix", kept / "conversion/in", tmp_path / "out", device="cpu")
    assert (result.done, result.failures) == (9, {})
    for name in names:
        assert_same_pixels(tmp_path / "out" / name, kept / "conversion/out" / name)
    for name in ("turned.jpg", "moving.gif"):  # decoded and encoded by libraries that may change
        assert_same_size(tmp_path / "out" / name, kept / "conversion/out" / name)


def assert_same_size(path: Path, expected: Path) -> None:
    with Image.open(path) as ours, Image.open(expected) as known:
        assert (ours.size, getattr(ours, "n_frames", 1)) == (known.size, getattr(known, "n_frames", 1))


@pytest.mark.parametrize("to", ["black", "blond", "brown"])
def test_a_model_knows_its_domains(to, kept, tmp_path):
    source, target = kept / "conversion/in/photo.png", tmp_path / "out.png"
    assert cli.run(["convert", str(kept / "models/stargan"), str(source), str(target), "--to", to]) == 0
    assert_same_pixels(target, kept / "domains" / f"{to}.png")
    other = kept / "domains" / ("blond.png" if to == "black" else "black.png")
    assert np.abs(pixels(target).astype(int) - pixels(other)).max() > 10  # or the test above would say nothing


@pytest.mark.parametrize("name", ["pix2pix", "stargan", "dcgan"])
def test_status_reads_a_model(name, kept, capsys):
    assert cli.run(["status", str(kept / "models" / name), "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    config = read_json(kept / "models" / name / "config.json")
    for key in ("method", "version", "networks", "size", "domains", "trained_on"):
        assert known[key] == config[key]


@pytest.mark.parametrize("name", ["pix2pix", "stargan", "dcgan"])
def test_an_exported_copy_has_the_same_weights(name, kept, tmp_path):
    translate.export(kept / "models" / name, tmp_path / "copy")
    ours, known = ((path / "model.safetensors").read_bytes() for path in (tmp_path / "copy", kept / "models" / name))
    assert ours == known


# Outputs.


def test_a_conversion_counts_as_done(kept):
    model, source, out = (kept / name for name in ("models/pix2pix", "conversion/in", "conversion/out"))
    before = content(out)
    result = translate.convert(model, source, out, device="cpu")
    assert (result.done, result.skipped, result.failures) == (0, 9, {})
    assert content(out) == before  # the manifest has no line more
    other = translate.convert(model, source, out, device="cpu", seed=1, dry_run=True)
    assert len(other.planned) == 9  # with other settings nothing counts


def test_what_has_changed_is_converted_anew(kept):
    model, source, out = (kept / name for name in ("models/pix2pix", "conversion/in", "conversion/out"))
    before = content(out)
    Image.new("RGB", (20, 20), "red").save(source / "clash.bmp")
    assert cli.run(["convert", str(model), str(source), str(out)]) == 0
    after = content(out)
    changed = {str(out / name) for name in ("manifest.jsonl", "clash.bmp.png")}
    assert before.keys() == after.keys()
    assert {path for path in after if after[path] != before[path]} == changed


@pytest.mark.parametrize("merged", [False, True])
def test_shards_count_as_done(merged, kept):
    model, source, out = (kept / name for name in ("models/pix2pix", "shards/in", "shards/out"))
    if merged:
        result = translate.convert(model, source, out, device="cpu", merge=True)
        assert (result.skipped, [*result.failures]) == (3, ["broken.png"])
        assert [path.name for path in out.glob("*.jsonl")] == ["manifest.jsonl"]
    images = {path.name: path.read_bytes() for path in out.glob("*.tiff")}
    result = translate.convert(model, source, out, device="cpu", format="tiff")
    assert (result.done, result.skipped, [*result.failures]) == (0, 3, ["broken.png"])
    assert {path.name: path.read_bytes() for path in out.glob("*.tiff")} == images


def test_samples_count_as_done(kept):
    before = content(kept / "samples")
    made = translate.sample(kept / "models/dcgan", kept / "samples", count=6, seed=3, device="cpu")
    assert (made.done, made.skipped) == (0, 6)
    after = content(kept / "samples")
    assert {path: data for path, (data, _) in after.items()} == {path: data for path, (data, _) in before.items()}
    with pytest.raises(UsageError, match="samples"):
        translate.sample(kept / "models/dcgan", kept / "samples", count=6, seed=4, device="cpu")


def test_samples_are_what_they_were(kept, tmp_path):
    translate.sample(kept / "models/dcgan", tmp_path / "out", count=6, seed=3, device="cpu")
    expected = sorted(path.relative_to(kept / "samples") for path in (kept / "samples").rglob("*.png"))
    assert len(expected) == 6
    for name in expected:
        assert_same_pixels(tmp_path / "out" / name, kept / "samples" / name)


# Evaluations.


def test_an_evaluation_gives_what_it_gave(kept, tmp_path):
    known = read_json(kept / "evaluation.json")
    words = [str(kept / "models/pix2pix"), str(kept / "data/paired"), "--split", "val", "--metrics", "l1,psnr,ssim"]
    assert cli.run(["evaluate", *words, "--device", "cpu", "--out", str(tmp_path / "new.json")]) == 0
    ours = read_json(tmp_path / "new.json")
    for name, figure in known["metrics"].items():
        assert ours["metrics"][name]["value"] == pytest.approx(figure["value"], rel=1e-3), name
    assert {k: v for k, v in ours["protocol"].items() if k in known["protocol"] and k != "code"} == {
        k: v for k, v in known["protocol"].items() if k != "code"
    }
    assert ours["subject"]["sha256"] == known["subject"]["sha256"]


@pytest.mark.parametrize("place", ["evaluation.json", "runs/pix2pix/model-best/metrics.json"])
def test_an_evaluation_is_compared(place, kept, tmp_path, capsys):
    known = read_json(kept / place)
    better = json.loads(json.dumps(known))
    better["metrics"]["l1"]["value"] -= 30
    (tmp_path / "better.json").write_text(json.dumps(better))
    assert cli.run(["evaluate", "--compare", str(kept / place), str(tmp_path / "better.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found["l1"]["difference"] == pytest.approx(-30)
    assert found["l1"]["exceeds"]
    assert found["psnr"]["difference"] == 0


def test_a_run_is_evaluated(kept):
    result = translate.evaluate(kept / "runs/pix2pix", kept / "data/paired", metrics=["l1"], split="val", device="cpu")
    assert result["metrics"]["l1"]["value"] > 0
    assert result["protocol"]["size"] == 32  # the size of training, as the run knows it
    assert read_json(kept / "runs/pix2pix/metrics.json") == result

"""Models by ONNX Runtime: what is refused, what is kept between runs, and images beside those of torch."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate import api, user_cache
from translate.conversion import job
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionOptions
from translate.conversion.output_paths import ItemKey
from translate.errors import UsageError
from translate.trained import translator
from translate.trained.exported import runtime_translator
from translate.trained.exported.onnx_session import OnnxSession
from translate.trained.folder import read_model_folder

from .helpers import metadata_of, negating_file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "image-translate" / "onnx"


@pytest.fixture
def negating(monkeypatch):
    """ONNX Runtime's part played by a function that gives the negative; the directions that were opened."""
    opened = []

    def open_session(model, to, say):
        opened.append(to)
        return lambda image: -1.5 * image

    monkeypatch.setattr(runtime_translator, "open_session", open_session)
    monkeypatch.setattr(runtime_translator, "import_extra", lambda *names: None)
    return opened


def load(folder, **options):
    return api.load(folder, runtime="onnx", say=None, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda"}, "--device cuda --runtime onnx"),
        ({"precision": "bf16"}, "--precision bf16 --runtime onnx"),
        ({"convolution": "winograd"}, "--convolution winograd --runtime onnx"),
        ({"runtime": "tpu"}, "--runtime tpu: unknown; possible: torch, onnx"),
    ],
)
def test_options_that_it_does_not_have(negating, cyclegan_folder, options, words):
    with pytest.raises(UsageError, match=words):
        load(cyclegan_folder, **options) if "runtime" not in options else api.load(cyclegan_folder, **options)


def test_noise_is_refused(negating, build, pix2pix_folder):
    with pytest.raises(UsageError, match=r"--runtime onnx: .* dropout .* use --dropout off"):
        load(pix2pix_folder)
    assert load(pix2pix_folder, dropout="off").runtime == "onnx"
    with pytest.raises(UsageError, match="--runtime onnx: bicyclegan draws latent codes"):
        load(build("bicyclegan", crop_size=32, load_size=32))


def test_the_runtime_computes_whole_images(negating, cyclegan_folder):
    model = load(cyclegan_folder)
    x = torch.rand(2, 3, 9, 13) * 2 - 1  # beyond ±2/3 it is clamped
    assert torch.allclose(model(x, "a"), (-1.5 * x).clamp(-1, 1))
    assert negating == ["a"]
    with pytest.raises(UsageError, match="--pixels reference --runtime onnx"):
        model(x, "a", pixels="reference")


def test_a_conversion_records_the_runtime(negating, cyclegan_folder, source, tmp_path):
    """What torch has made is made again by the other runtime, and is then done; tiles are torch's, which the manifest says."""
    out = tmp_path / "out"
    own, other = translator.load(cyclegan_folder, device="cpu"), load(cyclegan_folder)
    options = ConversionOptions(format="png", tile=32)
    assert job.convert(own, source, out, options).done == 5
    result = job.convert(other, source, out, options)
    assert (result.done, result.skipped) == (5, 0)
    assert job.convert(other, source, out, options).skipped == 5
    line = Manifest(out, "", {}).last_line(ItemKey("1.png"))
    assert line["settings"]["runtime"] == "onnx"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 36, 3), np.uint8)).save(tmp_path / "large.png")
    assert job.convert(other, tmp_path / "large.png", out, options).notices == {
        "large: translated in tiles, by the layers of torch": 1
    }
    with pytest.raises(UsageError, match="--cluster auto --runtime onnx"):
        job.convert(other, source, out, ConversionOptions(cluster="auto"))


def test_the_key_follows_weights_description_and_domain(build, cyclegan_folder, monkeypatch):
    monkeypatch.setattr(runtime_translator, "version", lambda name: "1")
    one, same = (read_model_folder(cyclegan_folder) for _ in range(2))
    other = read_model_folder(build("cyclegan", generator="resnet_3blocks", seed=1))
    changed = one.with_inference_settings(None, "running")
    key = runtime_translator.file_key
    assert key(one, "b") == key(same, "b")
    assert len({key(one, "b"), key(one, "a"), key(other, "b"), key(changed, "b")}) == 4
    before = key(one, "b")
    monkeypatch.setattr(runtime_translator, "version", lambda name: "2")
    assert key(one, "b") != before


def test_a_file_is_kept_and_damage_is_exported_again(cyclegan_folder, monkeypatch, cache):
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    pytest.importorskip("onnxscript", reason="needs the extra export")
    model, exports, said = read_model_folder(cyclegan_folder), [], []

    def build_onnx(given, spec, name):
        exports.append(spec.to)
        return negating_file(metadata_of(given, to=spec.to, weights_sha256=given.sha256)), "largest difference 0"

    monkeypatch.setattr(runtime_translator, "build_onnx", build_onnx)
    for to in ("b", "a", "b", "b"):
        session = runtime_translator.open_session(model, to, said.append)
        assert isinstance(session, OnnxSession)
    assert exports == ["b", "a"]
    assert [line for line in said if "kept as" in line and str(cache) in line]
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    runtime_translator.open_session(model, "b", said.append)
    wrong = negating_file(metadata_of(model, to="b"))  # of other weights
    (cache / f"{runtime_translator.file_key(model, 'b')}.onnx").write_bytes(wrong)
    runtime_translator.open_session(model, "b", said.append)
    assert exports == ["b", "a", "b", "b"]


CASES = {
    "cyclegan": ({"generator": "resnet_1blocks"}, "a"),
    "stargan": ({"domains": "x,y"}, "all"),
    "superres": ({"generator": "srresnet_1blocks"}, "b"),
    "pix2pix": ({"generator": "unet_32", "dropout": True}, "b"),
    "colorize": ({}, "b"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in ("cyclegan", "stargan") else pytest.mark.hours) for n in CASES],
)
def test_images_are_those_of_torch(build, tmp_path, draw, name, cache):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    settings, to = CASES[name]
    folder = build(name, crop_size=32, load_size=32, **settings)
    for i in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(draw(i, 33 + i, 21)).save(tmp_path / "in" / f"{i}.png")
    options = {"format": "png", "dropout": "off", "device": "cpu", "say": None, "to": to}
    assert translate.convert(folder, tmp_path / "in", tmp_path / "own", **options).done == 3
    assert translate.convert(folder, tmp_path / "in", tmp_path / "onnx", runtime="onnx", **options).done == 3
    for i in range(3):
        first, second = (np.asarray(Image.open(tmp_path / out / f"{i}.png")).astype(int) for out in ("own", "onnx"))
        assert first.shape == second.shape
        assert np.abs(first - second).max() <= 1  # a rounding may turn
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    own, other = (api.load(folder, device="cpu", dropout="off", runtime=r, say=None) for r in ("torch", "onnx"))
    if own.input_channels(to) == 3:
        assert (own(x, to) - other(x, to)).abs().max() < 1e-4
    assert len(list(cache.iterdir())) == (2 if to == "all" else 1)


def test_only_the_newest_files_are_kept(cache):
    for i in range(5):
        assert user_cache.write_cached_bytes(f"onnx/{i}", b"x") == cache / str(i)
    for i in range(5):
        os.utime(cache / str(i), (i, i))
    user_cache.mark_used("onnx/0")
    user_cache.keep_newest("onnx", 2)
    assert sorted(path.name for path in cache.iterdir()) == ["0", "4"]
    assert user_cache.read_cached_bytes("onnx/3") is None

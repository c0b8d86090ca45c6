"""A folder of images to a folder of images: names, journal, bad files, stops and full disks. Inputs are never touched."""

import errno
import hashlib
import json
import os
import pickle
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import translate
from translate import atomic, images
from translate.conversion import job
from translate.conversion import output_paths as names_of
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.errors import BusyError, DataError, Interrupted, StorageError, UsageError
from translate.trained.translator import Translator

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]

CONTRACT_FIELDS = {"input", "output", "status", "error", "seconds", "sha256"}
ORIENTATION = 0x0112


def tree(folder: Path) -> dict[str, bytes]:
    """The files of an output folder by relative path, without manifests."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def lines(folder: Path) -> list[dict[str, Any]]:
    """The manifest, line by line."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def last(folder: Path) -> dict[str, dict[str, Any]]:
    """Input → its last line."""
    return {line["input"]: line for line in lines(folder)}


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, **options)
    return path


def assert_clean(folder: Path) -> None:
    """Only images and the manifest are left."""
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in left if name.startswith(".") or name == "run.lock"]


# What comes out.


def test_the_tree_is_mirrored(convert: Convert, source: Path, tmp_path: Path) -> None:
    result = convert(source, tmp_path / "out")
    names = {"1.png", "2.jpg", "deep/er/3.webp", "deep/4.tif", "5.JPG"}
    assert tree(tmp_path / "out").keys() == names
    assert (result.done, result.skipped, result.others, result.failures) == (5, 0, 0, {})
    for name in names:
        with Image.open(tmp_path / "out" / name) as made, Image.open(source / name) as given:
            assert (made.size, made.format) == (given.size, given.format)
    assert_clean(tmp_path / "out")


def test_a_folder_gives_what_python_gives(convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", format="png", to="a")
    for name, entry in last(tmp_path / "out").items():
        with Image.open(source / name) as given, Image.open(tmp_path / "out" / entry["output"]) as made:
            assert np.array_equal(made, cyclegan(given, to="a"))


def test_nothing_is_capped(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for n in range(60):
        save(tmp_path / "in" / f"{n}.png", draw(n, 8, 8))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert result.done == len(tree(tmp_path / "out")) == len(lines(tmp_path / "out")) == 60


def test_an_output_depends_on_nothing_else_in_the_folder(
    convert: Convert, pix2pix: Translator, source: Path, tmp_path: Path
) -> None:
    convert(source, tmp_path / "all", pix2pix, batch_size=4)
    together = tree(tmp_path / "all")
    for name, data in together.items():
        convert(source / name, tmp_path / "one" / name, pix2pix)
        assert (tmp_path / "one" / name).read_bytes() == data
    convert(source, tmp_path / "two", pix2pix, limit=2)
    convert(source, tmp_path / "two", pix2pix)
    assert tree(tmp_path / "two") == together


def modes() -> Iterator[tuple[str, Image.Image, dict[str, Any]]]:
    """(file name, image, options) of every Pillow mode that a readable format can hold, in an odd size."""
    rgb = np.random.default_rng(1).integers(0, 256, (7, 13, 3), dtype=np.uint8)
    image, wide = Image.fromarray(rgb), rgb[:, :, 0].astype(np.uint16) * 257
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(rgb[:, :, 1]))
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    yield "1.png", image.convert("1"), {}
    yield "L.png", image.convert("L"), {}
    yield "LA.png", clear.convert("LA"), {}
    yield "P.png", palette, {}
    yield "P-clear.png", palette, {"transparency": 3}
    yield "P.gif", palette, {}
    yield "RGB.ppm", image, {}
    yield "L.pgm", image.convert("L"), {}
    yield "RGB.bmp", image, {}
    yield "RGBA.png", clear, {}
    yield "RGBA.webp", clear, {"lossless": True}
    yield "RGB.avif", image, {}
    yield "CMYK.jpg", image.convert("CMYK"), {}
    yield "CMYK.tiff", image.convert("CMYK"), {}
    yield "YCbCr.tiff", image.convert("YCbCr"), {"compression": "tiff_deflate"}
    yield "LAB.tiff", Image.frombytes("LAB", (13, 7), rgb.tobytes()), {}
    yield "I16.png", Image.fromarray(wide), {}
    yield "I16.tiff", Image.fromarray(wide), {}
    yield "I16B.tiff", Image.frombytes("I;16B", (13, 7), wide.astype(">u2").tobytes()), {}
    yield "I.tiff", Image.fromarray(wide.astype(np.int32)), {}
    yield "F.tiff", Image.fromarray(wide.astype(np.float32) / 65535), {}


@pytest.mark.parametrize("kind", ["cyclegan", "grey"])
def test_every_mode_of_pillow(request: pytest.FixtureRequest, convert: Convert, tmp_path: Path, kind: str) -> None:
    model, folder = request.getfixturevalue(kind), tmp_path / "in"
    folder.mkdir()
    for name, image, options in modes():
        image.save(folder / name, **options)
    result = convert(folder, tmp_path / "out", model, format="png")
    assert result.failures == {}
    for name, entry in last(tmp_path / "out").items():
        with Image.open(folder / name) as given, Image.open(tmp_path / "out" / entry["output"]) as made:
            assert made.size == (13, 7)
            wide = name[0] in "IF"  # more than 8 bits: kept, and then cut down by Pillow here
            difference = np.asarray(
                images.read(tmp_path / "out" / entry["output"], model.input_channels("b")).pixels, int
            )
            difference -= np.asarray(images.from_pil_image(model(given), model.input_channels("b")).pixels, int)
            assert np.abs(difference).max() <= wide, name
            assert ("A" in made.getbands()) == (name in ("LA.png", "P-clear.png", "RGBA.png", "RGBA.webp"))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (1, 300), (300, 1), (37, 91)])
def test_odd_sizes(convert: Convert, draw: Draw, tmp_path: Path, width: int, height: int) -> None:
    path = save(tmp_path / "in" / "x.png", draw(1, width, height))
    assert convert(path.parent, tmp_path / "out").done == 1
    with Image.open(tmp_path / "out" / "x.png") as made:
        assert made.size == (width, height)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fmt", ["keep", "tiff", "png", "jpg"])
def test_arrays(convert: Convert, draw: Draw, tmp_path: Path, dtype: Any, channels: int, fmt: str) -> None:
    """The three scales hold the same picture; results keep the depth as far as their format holds it."""
    pixels = draw(2, channels=channels)
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "x.npy", (pixels.astype(np.float64) * scale).astype(dtype))
    result = convert(tmp_path / "in", tmp_path / "out", format=fmt)
    (made,) = tree(tmp_path / "out")
    holds = images.WRITERS["npy" if fmt == "keep" else fmt].depths
    wanted = np.dtype(dtype).name
    kept = wanted if wanted in holds else holds[-1]
    expected = [f"{fmt} does not hold {wanted} values; they are scaled to {kept}"] if kept != wanted else []
    expected += [f"{fmt} holds no transparency, so it is on white"] if channels == 4 and fmt == "jpg" else []
    expected += ["npy holds no XMP, so it is not marked as made by a model"] if fmt == "keep" else []
    assert result.notices == dict.fromkeys(expected, 1)
    picture = images.read(tmp_path / "out" / made, how=images.Reading(3, deep=True))
    assert picture.pixels.dtype.name == kept
    convert(save(tmp_path / "as_png" / "x.png", pixels).parent, tmp_path / "out8")
    usual = images.read(tmp_path / "out8" / "x.png", 3)
    if fmt != "jpg":
        difference = images.to_uint8(picture.pixels).astype(int) - usual.pixels
        assert np.abs(difference).max() <= (1 if channels < 4 else 4)  # composited twice
        assert (picture.alpha is None) == (channels < 4)


@pytest.mark.parametrize("fmt", ["png", "tiff", "npy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_16_bit_ramp_keeps_its_levels(tmp_path: Path, fmt: str, channels: int) -> None:
    """Read, brought to [-1, 1], back to 16 bits and written: what a network that changes nothing would do."""
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(channels, axis=2)
    (tmp_path / f"x.{fmt}").write_bytes(images.encode(images.Picture(ramp), fmt))
    read = images.read(tmp_path / f"x.{fmt}", how=images.Reading(channels, deep=True)).pixels
    assert np.array_equal(read, ramp)
    back = images.to_array(images.to_tensor(read).double(), read.dtype)
    assert len(np.unique(back)) >= 65_000
    assert np.abs(back.astype(int) - ramp).max() <= 1


@pytest.mark.parametrize("ext", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_applied_once(
    convert: Convert, cyclegan: Translator, draw: Draw, tmp_path: Path, ext: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(tmp_path / "in" / f"x.{ext}", draw(3, 14, 9), exif=exif)
    convert(tmp_path / "in", tmp_path / "out", format="png")
    with Image.open(tmp_path / "in" / f"x.{ext}") as given, Image.open(tmp_path / "out" / "x.png") as made:
        assert made.size == ((14, 9) if orientation < 5 else (9, 14))
        assert made.getexif().get(ORIENTATION, 1) == 1
        assert np.array_equal(made, cyclegan(Image.fromarray(np.asarray(ImageOps.exif_transpose(given)))))


def test_the_first_frame_of_an_animation(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    frames = [Image.fromarray(draw(seed)) for seed in range(3)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "x.gif", save_all=True, append_images=frames[1:])
    result = convert(tmp_path / "in", tmp_path / "out", first_frame=True)
    assert result.notices == {"first of 3 frames": 1}
    with Image.open(tmp_path / "out" / "x.gif") as made:
        assert (made.format, made.size, getattr(made, "n_frames", 1)) == ("GIF", (12, 10), 1)


# Formats and names.


@pytest.mark.parametrize("fmt", [name for name, writer in images.WRITERS.items() if writer.format])
def test_each_format_is_written(convert: Convert, source: Path, tmp_path: Path, fmt: str) -> None:
    result = convert(source, tmp_path / "out", format=fmt)
    assert (result.done, result.failures) == (5, {})
    assert {Path(name).suffix for name in tree(tmp_path / "out")} == {f".{fmt}"}
    for name in tree(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as made:
            assert made.format == images.WRITERS[fmt].format


@pytest.mark.parametrize("fmt", ["jpg", "webp", "avif"])
def test_quality(convert: Convert, draw: Draw, tmp_path: Path, fmt: str) -> None:
    path = save(tmp_path / "in" / "x.png", draw(4, 40, 40))
    for quality in (10, 100):
        convert(path.parent, tmp_path / str(quality), format=fmt, quality=quality)
    small, large = (len(next(iter(tree(tmp_path / q).values()))) for q in ("10", "100"))
    assert small < large


@pytest.mark.parametrize(("given", "made", "fmt"), [
    ("x.png", "x.png", "PNG"), ("x.JPG", "x.JPG", "JPEG"), ("x.jpeg", "x.jpeg", "JPEG"), ("x.TIF", "x.TIF", "TIFF"),
    ("x.webp", "x.webp", "WEBP"), ("x.gif", "x.gif", "GIF"), ("x.avif", "x.avif", "AVIF"),
    ("x.bmp", "x.png", "PNG"), ("x.PPM", "x.png", "PNG"), ("x.tar.png", "x.tar.png", "PNG"),
])  # fmt: skip
def test_keep_keeps_the_format(convert: Convert, draw: Draw, tmp_path: Path, given: str, made: str, fmt: str) -> None:
    save(tmp_path / "in" / given, draw(5))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert list(tree(tmp_path / "out")) == [made]
    with Image.open(tmp_path / "out" / made) as image:
        assert image.format == fmt
    ext = given.rsplit(".")[-1].lower()
    assert result.notices == ({f"{ext} is written as png": 1} if given != made else {})


def test_the_content_decides_how_a_file_is_read(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in" / "x.jpg", draw(6), format="PNG")
    assert convert(tmp_path / "in", tmp_path / "out").failures == {}
    with Image.open(tmp_path / "out" / "x.jpg") as made:
        assert made.format == "JPEG"


def test_transparency_is_carried_where_the_format_can(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    pixels = draw(7, channels=4)
    for ext in ("png", "webp", "tiff", "avif"):
        save(tmp_path / "in" / f"x.{ext}", pixels, **({"lossless": True} if ext == "webp" else {}))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert result.notices == {}
    for ext in ("png", "tiff", "webp"):
        with Image.open(tmp_path / "out" / f"x.{ext}") as made:
            assert np.array_equal(made.getchannel("A"), pixels[:, :, 3])
    result = convert(tmp_path / "in" / "x.png", tmp_path / "flat", format="jpg")
    assert result.notices == {"jpg holds no transparency, so it is on white": 1}


def names(inputs: list[str], fmt: str, kept: dict[str, str] | None = None) -> dict[str, str]:
    return {item.input: item.output for item in names_of.plan_outputs(sorted(inputs), fmt, kept or {})}


@pytest.mark.parametrize(("fmt", "expected"), [
    ("png", {"a.jpg": "a.png"}),
    ("png", {"a.JPG": "a.png", "b.Png": "b.png", "c.d.jpg": "c.d.png"}),
    ("png", {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "sub/a.jpg": "sub/a.png"}),
    ("png", {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "sub/a.jpg": "sub/a.png", "a.jpg.png": "a.jpg.png.png"}),
    ("png", {"a.eps": "a.eps.png", "a.jpg": "a.jpg.png"}),
    ("jpg", {"a.jpeg": "a.jpeg.jpg", "a.jpg": "a.jpg.jpg", "a.JPG": "a.JPG.jpg"}),
    ("keep", {"a.jpg": "a.jpg", "a.png": "a.png", "a.JPG": "a.JPG", "a.tif": "a.tif", "a.tiff": "a.tiff"}),
    ("keep", {"a.bmp": "a.bmp.png", "a.png": "a.png", "a.ppm": "a.ppm.png"}),
    ("keep", {"a.bmp": "a.png", "b.npy": "b.npy"}),
])  # fmt: skip
def test_inputs_that_would_share_a_name_keep_their_extension(fmt: str, expected: dict[str, str]) -> None:
    assert names(list(expected), fmt) == expected


STEMS = ["a", "a.png", "a.bmp", "a.bmp.png", "a.jpg", "b", "a.png/x", "a.png/a"]
LISTING = st.sets(
    st.builds("{}.{}".format, st.sampled_from(STEMS), st.sampled_from(["png", "jpg", "bmp", "eps", "JPG"])), min_size=1
)


def folders(names: Iterable[str]) -> set[str]:
    return {parent.as_posix() for name in names for parent in Path(name).parents}


def possible(inputs: set[str]) -> set[str]:
    """A listing without files that are called like a folder of others."""
    return inputs - folders(inputs)


FORMAT = st.sampled_from(["keep", "png", "jpg", "jpeg"])


@settings(deadline=None)
@given(inputs=LISTING, fmt=FORMAT)
def test_every_input_has_an_output_of_its_own(inputs: set[str], fmt: str) -> None:
    inputs = possible(inputs)
    outputs = names(list(inputs), fmt)
    assert outputs.keys() == inputs
    assert len(set(outputs.values())) == len(inputs)
    assert not folders(outputs.values()) & set(outputs.values())  # a name cannot be a file and a folder
    done = dict(sorted(outputs.items())[::2])
    assert names(list(inputs), fmt, done) == outputs  # stopped half-way, a run goes on as if it had not been


@settings(deadline=None)
@given(before=LISTING, more=LISTING, fmt=FORMAT)
def test_what_is_done_keeps_its_name_and_nobody_else_gets_it(before: set[str], more: set[str], fmt: str) -> None:
    more = possible(before | more)
    before = before & more
    kept = names(list(before), fmt)
    outputs = names(list(more), fmt, kept)
    assert {name: outputs[name] for name in before} == kept
    assert len(set(outputs.values())) == len(outputs)
    assert names(list(more), fmt, outputs) == outputs


def test_a_clash_is_decided_over_the_whole_listing(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.jpg", "a.png", "b.png", "sub/a.jpg")):
        save(tmp_path / "in" / name, draw(seed))
    convert(tmp_path / "in", tmp_path / "whole", format="png")
    assert tree(tmp_path / "whole").keys() == {"a.jpg.png", "a.png.png", "b.png", "sub/a.png"}
    for _ in range(4):
        assert convert(tmp_path / "in", tmp_path / "parts", format="png", limit=1).done == 1
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_a_new_input_does_not_take_the_name_of_an_older_one(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.bmp", draw(1))
    convert(tmp_path / "in", tmp_path / "out")
    first = tree(tmp_path / "out")
    save(tmp_path / "in" / "a.png", draw(2))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert (result.done, result.skipped, result.failures) == (1, 1, {})
    assert tree(tmp_path / "out").items() > first.items()
    assert convert(tmp_path / "in", tmp_path / "out").skipped == 2


def test_a_folder_that_is_called_like_an_image(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed, name in enumerate(("x.bmp", "x.png/y.png", "z.png")):
        save(tmp_path / "in" / name, draw(seed))
    result = convert(tmp_path / "in", tmp_path / "out")
    assert (result.done, result.failures) == (3, {})
    assert {"x.png/y.png", "z.png"} < tree(tmp_path / "out").keys()


def test_a_file_in_the_way_of_a_folder_fails_that_image_only(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.png", "sub/b.png", "z.png")):
        save(tmp_path / "in" / name, draw(seed))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_bytes(b"mine")
    result = convert(tmp_path / "in", tmp_path / "out")
    assert result.failures.keys() == {"sub/b.png"}
    assert tree(tmp_path / "out").keys() == {"a.png", "sub", "z.png"}


@pytest.mark.parametrize("name", ["ü ñ 猫.png", "-rf.png", "new\nline.png", "\x1b[31mred.png", "%s{}.png", b"\xff.png"])
def test_strange_names(convert: Convert, draw: Draw, tmp_path: Path, name: str | bytes) -> None:
    name = os.fsdecode(name)
    save(tmp_path / "in" / "x.png", draw(8)).rename(tmp_path / "in" / name)
    assert convert(tmp_path / "in", tmp_path / "out").done == 1
    assert list(tree(tmp_path / "out")) == [name]
    assert convert(tmp_path / "in", tmp_path / "out").skipped == 1


def test_a_name_that_grows_too_long_fails_alone(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    long = "n" * 249
    for seed, name in enumerate((f"{long}.jpg", f"{long}.png", "short.png")):
        save(tmp_path / "in" / name, draw(seed))
    result = convert(tmp_path / "in", tmp_path / "out", format="png")
    assert result.failures == dict.fromkeys((f"{long}.jpg", f"{long}.png"), os.strerror(errno.ENAMETOOLONG))
    assert list(tree(tmp_path / "out")) == ["short.png"]
    assert {line["status"] for name, line in last(tmp_path / "out").items() if name != "short.png"} == {"failed"}


# Bad files.


@pytest.fixture
def bad(source: Path, draw: Draw) -> dict[str, str]:
    """Bad files among good ones: name → a word of the reason that is given."""
    whole = save(source / "whole.jpg", draw(9, 40, 40)).read_bytes()
    (source / "whole.jpg").unlink()
    (source / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "empty.png").write_bytes(b"")
    (source / "text.jpg").write_text("no picture")
    (source / "photo.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (source / "drawing.EPS").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    save(source / "disguised.png", draw(9), format="PCX")  # Pillow could open it, but was not asked to
    (source / "layers.psd").write_bytes(b"8BPS")
    np.save(source / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (source / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    np.save(source / "line.npy", np.zeros(7))
    np.save(source / "nothing.npy", np.zeros((0, 5, 3), np.uint8))
    np.savez(source / "zip.npz", np.zeros((5, 5)))
    (source / "zip.npz").rename(source / "zip.npy")
    os.mkfifo(source / "pipe.jpg")
    (source / "dangling.png").symlink_to("nowhere.png")
    (source / "loop.png").symlink_to("loop.png")
    return {
        "cut.jpg": "damaged", "empty.png": "empty", "text.jpg": "not an image", "disguised.png": "not an image",
        "photo.jpg": "format not allowed", "drawing.EPS": "format not allowed", "layers.psd": "format not allowed",
        "objects.npy": "", "pickle.npy": "", "line.npy": "shape", "nothing.npy": "shape", "zip.npy": "",
        "pipe.jpg": "not a regular file", "dangling.png": "", "loop.png": "",
    }  # fmt: skip


def test_bad_files_are_listed_once_and_stop_nothing(
    convert: Convert, source: Path, bad: dict[str, str], tmp_path: Path
) -> None:
    result = convert(source, tmp_path / "out")
    assert (result.done, len(tree(tmp_path / "out"))) == (5, 5)
    assert result.failures.keys() == bad.keys()
    assert sorted(line["input"] for line in lines(tmp_path / "out") if line["status"] == "failed") == sorted(bad)
    for name, word in bad.items():
        entry = last(tmp_path / "out")[name]
        assert (entry["status"], entry["error"], entry["sha256"]) == ("failed", result.failures[name], None)
        assert word in entry["error"]
        assert entry["error"]
        assert "\n" not in entry["error"]


def test_a_repaired_file_is_converted_the_next_time(convert: Convert, source: Path, draw: Draw, tmp_path: Path) -> None:
    (source / "x.png").write_bytes(b"")
    assert convert(source, tmp_path / "out").failures == {"x.png": "empty file"}
    save(source / "x.png", draw(10))
    result = convert(source, tmp_path / "out")
    assert (result.done, result.skipped, result.failures) == (1, 5, {})
    assert last(tmp_path / "out")["x.png"]["status"] == "done"


def test_other_files_are_counted_and_hidden_ones_are_not(convert: Convert, source: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "deep/no extension", "deep/x.zip", ".hidden.png", ".git/x.png"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("no picture")
    result = convert(source, tmp_path / "out")
    assert (result.done, result.others, result.failures) == (5, 3, {})
    assert len(lines(tmp_path / "out")) == 5


def test_links_to_images_are_read_and_linked_folders_left_alone(
    convert: Convert, source: Path, draw: Draw, tmp_path: Path
) -> None:
    save(tmp_path / "elsewhere" / "x.png", draw(11))
    (source / "link.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (source / "folder").symlink_to(tmp_path / "elsewhere")
    (source / "round").symlink_to(source)
    convert(source, tmp_path / "out")
    assert tree(tmp_path / "out").keys() == {"1.png", "2.jpg", "deep/er/3.webp", "deep/4.tif", "5.JPG", "link.png"}
    assert not (tmp_path / "out" / "link.png").is_symlink()


def test_larger_images_are_refused(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in" / "large.png", draw(12, 11, 10))
    save(tmp_path / "in" / "small.png", draw(13, 10, 10))
    np.save(tmp_path / "in" / "large.npy", draw(12, 11, 10))
    result = convert(tmp_path / "in", tmp_path / "out", max_pixels=100)
    assert result.failures.keys() == {"large.png", "large.npy"}
    assert all("100 pixels" in reason and "--max-pixels" in reason for reason in result.failures.values())
    assert convert(tmp_path / "in", tmp_path / "out", max_pixels=110).failures == {}


def test_a_raised_limit_is_the_only_one(convert: Convert, tmp_path: Path) -> None:
    """Pillow has a limit of its own. The file is no more than a header, so it must fail for that."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.pgm").write_bytes(b"P5 20000 20000 255\n")
    assert "--max-pixels" in convert(tmp_path / "in", tmp_path / "out").failures["x.pgm"]
    assert "max-pixels" not in convert(tmp_path / "in", tmp_path / "out", max_pixels=10**9).failures["x.pgm"]


def test_an_image_the_network_fails_on_is_listed(
    convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("out of\nmemory")

    with monkeypatch.context() as patch:
        patch.setattr(cyclegan, "translate_pixels", fail)
        result = convert(source, tmp_path / "out")
        assert set(result.failures.values()) == {"out of memory"}
        assert (result.done, len(result.failures)) == (0, 5)
        assert convert(source / "1.png", tmp_path / "x.png").failures == {"1.png": "out of memory"}
    assert convert(source, tmp_path / "out").done == 5


# The journal.


def test_a_line_has_the_fields_of_the_contract(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    for line in lines(tmp_path / "out"):
        assert line.keys() >= CONTRACT_FIELDS
        assert (line["status"], line["error"]) == ("done", None)
        assert line["seconds"] >= 0
        assert (source / line["input"]).is_file()
        assert hashlib.sha256((tmp_path / "out" / line["output"]).read_bytes()).hexdigest() == line["sha256"]


def test_a_second_run_does_nothing(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    before = times(tmp_path / "out"), (tmp_path / "out" / "manifest.jsonl").read_bytes()
    result = convert(source, tmp_path / "out")
    assert (result.done, result.skipped) == (0, 5)
    assert (times(tmp_path / "out"), (tmp_path / "out" / "manifest.jsonl").read_bytes()) == before


def test_a_moved_pair_of_folders_is_still_done(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    (tmp_path / "far").mkdir()
    for folder in (source, tmp_path / "out"):
        folder.rename(tmp_path / "far" / folder.name)
    assert convert(tmp_path / "far" / "in", tmp_path / "far" / "out").skipped == 5


def test_outputs_copied_without_their_times_are_still_done(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    for name in tree(tmp_path / "out"):
        os.utime(tmp_path / "out" / name, ns=(1, 1))
    assert convert(source, tmp_path / "out").skipped == 5


def test_an_input_copied_without_its_time_is_still_done(convert: Convert, source: Path, tmp_path: Path) -> None:
    """Its content is what counts."""
    convert(source, tmp_path / "out")
    os.utime(source / "1.png", ns=(1, 1))
    assert convert(source, tmp_path / "out").skipped == 5


@pytest.mark.parametrize(
    "change", ["input", "input of the same length", "missing", "shorter", "same length", "last line"]
)
def test_what_no_longer_fits_is_made_anew(
    convert: Convert, source: Path, draw: Draw, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "out"
    convert(source, out)
    good = tree(out)
    made = out / "1.png"
    if change == "input":
        save(source / "1.png", draw(14))
    elif change == "input of the same length":
        data = bytearray((source / "1.png").read_bytes())
        data[-6] ^= 1  # in the checksum of the end chunk, which no decoder minds
        (source / "1.png").write_bytes(data)
        os.utime(source / "1.png", ns=(1, 1))
    elif change == "missing":
        made.unlink()
    elif change == "shorter":
        made.write_bytes(good["1.png"][:-1])
    elif change == "same length":
        made.write_bytes(bytes(len(good["1.png"])))
        os.utime(made, ns=(1, 1))
    else:
        line = {**last(out)["1.png"], "status": "failed", "error": "by hand", "sha256": None}
        with open(out / "manifest.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    number = len(lines(out))
    result = convert(source, out)
    assert (result.done, result.skipped, result.failures) == (1, 4, {})
    assert [line["input"] for line in lines(out)[number:]] == ["1.png"]
    assert (tree(out) == good) == (change != "input")
    assert convert(source, out).skipped == 5


@pytest.mark.parametrize("change", ["model", "seed", "to", "quality"])
def test_another_model_or_setting_makes_all_anew(
    convert: Convert, cyclegan: Translator, pix2pix: Translator, source: Path, tmp_path: Path, change: str
) -> None:
    first: dict[str, Any] = {"model": cyclegan if change != "seed" else pix2pix, "format": "webp"}
    second = {
        **first,
        **{"model": {"model": pix2pix}, "seed": {"seed": 1}, "to": {"to": "a"}}.get(change, {"quality": 9}),
    }
    convert(source, tmp_path / "out", **first)
    result = convert(source, tmp_path / "out", **second)
    assert (result.done, result.skipped, result.failures) == (5, 0, {})
    convert(source, tmp_path / "fresh", **second)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_the_same_weights_elsewhere_are_the_same_model(
    convert: Convert, cyclegan_folder: Path, source: Path, tmp_path: Path
) -> None:
    convert(source, tmp_path / "out")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((cyclegan_folder / name).read_bytes())
    assert translate.convert(tmp_path, source, tmp_path / "out", device="cpu").skipped == 5


@pytest.mark.parametrize("missing", [1, 20, 10_000])
def test_a_half_written_last_line_is_survived(convert: Convert, source: Path, tmp_path: Path, missing: int) -> None:
    convert(source, tmp_path / "out")
    good, path = tree(tmp_path / "out"), tmp_path / "out" / "manifest.jsonl"
    whole = path.read_bytes()
    lost = whole.splitlines()[-1]
    path.write_bytes(whole[: -min(missing, len(lost))])
    kept = path.read_bytes()
    result = convert(source, tmp_path / "out", overwrite=False)
    redone = 0 if missing == 1 else 1  # without its line feed a line is whole
    assert (result.done + len(result.failures), result.skipped) == (redone, 5 - redone)
    assert tree(tmp_path / "out") == good
    assert path.read_bytes().startswith(kept)
    if redone:
        assert json.loads(path.read_bytes().splitlines()[-1])["input"] == json.loads(lost)["input"]


@pytest.mark.parametrize(
    "line",
    [b"{}", b"null", b"[1]", b"\xff", b'{"input": "1.png"}', b'{"input": ["1.png"], "status": "done", "output": "1.png"}',
     b'{"input": "1.png", "output": "1.png", "status": "done", "error": null, "seconds": 0, "sha256": null}',
     b'{"input": "1.png", "output": "../1.png", "status": "done", "error": null, "seconds": 0, "sha256": null}'],
)  # fmt: skip
def test_strange_lines_are_passed_over(convert: Convert, source: Path, tmp_path: Path, line: bytes) -> None:
    """Lines of another version, or of nobody. The image that they name is made anew, in the output folder."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_bytes(line + b"\n")
    result = convert(source, tmp_path / "out")
    assert (result.done, result.failures) == (5, {})
    assert not (tmp_path / "1.png").exists()
    assert convert(source, tmp_path / "out").skipped == 5


# Stops, kills and full disks.


class Killed(BaseException):
    """Stands for the end of the process at that point."""


@pytest.mark.parametrize("place", ["before the rename", "after the rename", "before the line"])
def test_a_run_killed_while_writing_is_made_whole(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    convert(source, tmp_path / "whole")
    replace, calls = os.replace, []

    def killing(a: Path, b: Path) -> None:
        calls.append(b)
        if place == "after the rename":
            replace(a, b)
        if len(calls) == 3:
            raise Killed
        replace(a, b) if place != "after the rename" else None

    def killing_journal(self: job.Manifest, new: Iterable[dict[str, Any]]) -> None:
        for line in new:
            calls.append(line["input"])
            if len(calls) == 3:
                raise Killed
            add(self, [line])

    add = job.Manifest.add
    with monkeypatch.context() as patch:
        if place == "before the line":
            patch.setattr(job.Manifest, "add", killing_journal)
        else:
            patch.setattr(atomic.os, "replace", killing)
        with pytest.raises(Killed):
            convert(source, tmp_path / "out")
    (tmp_path / "out" / "deep").mkdir(exist_ok=True)
    for left in (".translate-1-abcd", "deep/.translate-1-abcd"):  # a killed process cannot clean up
        (tmp_path / "out" / left).write_bytes(b"half")
    assert tree(tmp_path / "out") != tree(tmp_path / "whole")
    result = convert(source, tmp_path / "out")
    assert result.failures == {}
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert_clean(tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(
    convert: Convert, cyclegan: Translator, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for seed in range(60):
        save(tmp_path / "in" / f"{seed}.png", draw(seed))

    def stop(finished: int, failed: int, total: int) -> None:
        if finished == 5:
            signal.raise_signal(number)

    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        convert(tmp_path / "in", tmp_path / "out", progress=stop)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) == handler
    made = tree(tmp_path / "out")
    assert 5 <= len(made) < 60
    assert len(lines(tmp_path / "out")) == len(made)
    assert f" {60 - len(made)} images to go" in str(caught.value)
    assert_clean(tmp_path / "out")
    calls, translate_pixels = [], cyclegan.translate_pixels
    monkeypatch.setattr(cyclegan, "translate_pixels", lambda *a, **k: calls.append(1) or translate_pixels(*a, **k))
    assert convert(tmp_path / "in", tmp_path / "out").skipped == len(made)
    assert len(calls) == 60 - len(made)
    convert(tmp_path / "in", tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    stage, calls = atomic.stage, []

    def failing(path: Path, *args: Any) -> Path:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(error, os.strerror(error))
        return stage(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "stage", failing)
        with pytest.raises(StorageError, match=str(tmp_path / "out")) as caught:
            convert(source, tmp_path / "out")
    assert caught.value.exit_code == 6
    assert os.strerror(error) in str(caught.value)
    assert_clean(tmp_path / "out")
    assert convert(source, tmp_path / "out").done == 3
    convert(source, tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_disk_that_cannot_take_the_journal_ends_the_run(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (source / "1.png").write_bytes(b"")  # to fail in the journal is another path than to succeed in it
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError):
            convert(source, tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    assert convert(source, tmp_path / "out").done == 4


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_an_output_that_cannot_be_made(convert: Convert, source: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for path in (source, source / "1.png"):
        with pytest.raises(StorageError, match="file") as caught:
            convert(path, tmp_path / "file" / "out" / below)
        assert caught.value.exit_code == 6
    with pytest.raises(StorageError):
        convert(source / "1.png", tmp_path / "file" / "out.png")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_two_runs_in_one_folder(convert: Convert, source: Path, tmp_path: Path) -> None:
    with atomic.lock_folder(tmp_path / "out", ""), pytest.raises(BusyError, match=f"process {os.getpid()}") as caught:
        convert(source, tmp_path / "out")
    assert caught.value.exit_code == 5
    (tmp_path / "out" / "run.lock").write_text("process 1 on mars")  # of a process that was killed
    assert convert(source, tmp_path / "out").done == 5
    assert_clean(tmp_path / "out")


def test_a_reader_never_sees_a_broken_output(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    for seed in range(100):
        save(tmp_path / "in" / f"{seed}.png", draw(seed, 30, 30))
    broken: list[str] = []
    seen: set[str] = set()
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            for path in (tmp_path / "out").glob("*.png"):
                try:
                    Image.open(path).load()
                    seen.add(path.name)
                except OSError as e:
                    broken.append(f"{path.name}: {e}")

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        convert(tmp_path / "in", tmp_path / "out")
        convert(tmp_path / "in", tmp_path / "out", overwrite=True, to="a")
    finally:
        ended.set()
        reader.join()
    assert broken == []
    assert seen


def test_memory_does_not_grow_with_the_folder(
    convert: Convert, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the writing, only a few pictures exist at a time: read ahead, waiting, being written."""
    for seed in range(150):
        save(tmp_path / "in" / f"{seed}.png", draw(seed, 8 + 4 * (seed % 9), 8))
    read, stage = images.read, atomic.stage
    alive: weakref.WeakSet[images.Picture] = weakref.WeakSet()
    most = 0

    class Counted(images.Picture):
        __hash__ = object.__hash__

    def counting(*args: Any, **how: Any) -> images.Picture:
        nonlocal most
        picture = read(*args, **how)
        counted = Counted(picture.pixels, picture.alpha, picture.notices)
        alive.add(counted)
        most = max(most, len(alive))
        return counted

    def slow(*args: Any) -> Path:
        time.sleep(0.003)
        return stage(*args)

    monkeypatch.setattr(images, "read", counting)
    monkeypatch.setattr(atomic, "stage", slow)
    assert convert(tmp_path / "in", tmp_path / "out").done == 150
    assert most <= 60


def test_the_process_keeps_its_warnings(
    convert: Convert, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's are silenced while a file is read. Here one thread begins before another ends, and ends after it."""
    for seed in range(2):
        save(tmp_path / "in" / f"{seed}.png", draw(seed))
    read, decode = images.read, images.from_pil_image
    both, ended = threading.Event(), threading.Event()
    begun: list[int] = []

    def waiting(*args: Any) -> images.Picture:
        begun.append(1)
        if len(begun) == 1:
            both.wait(600)
        else:
            both.set()
            ended.wait(600)
        return decode(*args)

    def noting(*args: Any, **how: Any) -> images.Picture:
        try:
            return read(*args, **how)
        finally:
            ended.set()

    monkeypatch.setattr(images, "from_pil_image", waiting)
    monkeypatch.setattr(images, "read", noting)
    before = list(warnings.filters)
    assert convert(tmp_path / "in", tmp_path / "out").done == 2
    assert warnings.filters == before


# Whose files.


def test_an_output_of_somebody_else_is_left_alone(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_bytes(b"mine")
    for _ in range(2):
        result = convert(source, tmp_path / "out")
        assert result.failures.keys() == {"1.png"}
        assert result.failures["1.png"].startswith("exists")
        assert (tmp_path / "out" / "1.png").read_bytes() == b"mine"
    assert (result.done, result.skipped) == (0, 4)
    assert convert(source, tmp_path / "out", overwrite=True).done == 5
    assert convert(source, tmp_path / "out").skipped == 5


def test_overwrite_makes_all_anew(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    good = tree(tmp_path / "out")
    result = convert(source, tmp_path / "out", overwrite=True)
    assert (result.done, result.skipped) == (5, 0)
    assert tree(tmp_path / "out") == good
    assert len(lines(tmp_path / "out")) == 10


@pytest.mark.parametrize("kind", ["the same", "a link", "by another way"])
@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"format": "webp"}, {"dry_run": True}], ids=str)
def test_the_input_folder_is_no_output_folder(
    convert: Convert, source: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    (tmp_path / "link").symlink_to(source)
    output = {"the same": source, "a link": tmp_path / "link"}.get(kind, source / "deep" / "..")
    before = tree(source)
    with pytest.raises(UsageError):
        convert(source, output, **options)
    assert tree(source) == before


@pytest.mark.parametrize("kind", ["the same", "a link", "a hard link"])
def test_the_input_file_is_no_output_file(convert: Convert, source: Path, tmp_path: Path, kind: str) -> None:
    path = source / "1.png"
    output = {"the same": path}.get(kind, tmp_path / "x.png")
    if kind == "a link":
        output.symlink_to(path)
    elif kind == "a hard link":
        os.link(path, output)
    before = path.read_bytes()
    try:
        convert(path, output, overwrite=True)
    except UsageError:
        assert kind != "a hard link"
    assert path.read_bytes() == before


def test_links_from_the_output_into_the_input_lead_nowhere(convert: Convert, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "1.png").symlink_to(source / "1.png")
    os.link(source / "2.jpg", out / "2.jpg")
    (out / "deep" / "er").symlink_to(source / "deep" / "er")
    assert convert(source, out).failures.keys() == {"1.png", "2.jpg", "deep/er/3.webp"}
    convert(source, out, overwrite=True)


@pytest.mark.parametrize("limit", [None, 1])
def test_a_linked_folder_in_the_output_replaces_no_input(
    convert: Convert, draw: Draw, tmp_path: Path, limit: int | None
) -> None:
    for seed, name in enumerate(("a/x.png", "b/x.png")):
        save(tmp_path / "in" / name, draw(seed))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "in" / "b")
    assert "a/x.png" in convert(tmp_path / "in", tmp_path / "out", overwrite=True, limit=limit).failures


def test_an_output_inside_the_input_is_no_input(convert: Convert, source: Path) -> None:
    for _ in range(2):
        result = convert(source, source / "deep" / "out")
        assert result.failures == {}
    assert (result.done, result.skipped, result.others) == (0, 5, 0)
    assert len(tree(source / "deep" / "out")) == 5


def test_an_input_inside_the_output_works(convert: Convert, source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path).done == 5
    assert convert(source, tmp_path).skipped == 5


# Options.


def test_a_dry_run_writes_nothing(convert: Convert, source: Path, tmp_path: Path) -> None:
    result = convert(source, tmp_path / "out", dry_run=True, format="png")
    assert not (tmp_path / "out").exists()
    planned = {item.input: item.output for item in result.planned}
    convert(source, tmp_path / "out", format="png", limit=2)
    before = times(tmp_path / "out")
    result = convert(source, tmp_path / "out", dry_run=True, format="png")
    assert (result.done, result.skipped, len(result.planned)) == (0, 2, 3)
    assert times(tmp_path / "out") == before
    assert len(convert(source, tmp_path / "out", dry_run=True, format="png", limit=1).planned) == 1
    convert(source, tmp_path / "out", format="png")
    assert {name: line["output"] for name, line in last(tmp_path / "out").items()} == planned


def test_a_dry_run_plans_what_the_run_does(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    for options in ({}, {"overwrite": True}, {"seed": 1}, {"overwrite": True, "limit": 2}):
        planned = convert(source, tmp_path / "out", dry_run=True, **options).planned
        assert convert(source, tmp_path / "out", **options).done == len(planned)


def test_limit(convert: Convert, source: Path, tmp_path: Path) -> None:
    for done, left in ((2, 3), (2, 1), (1, 0), (0, 0)):
        assert convert(source, tmp_path / "out", limit=2).done == done
        assert len(tree(tmp_path / "out")) == 5 - left


@pytest.mark.parametrize("name", ["x.webp", "sub/x.PNG", "x.jpeg"])
def test_one_image_into_a_file(convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "made" / name
    result = convert(source / "1.png", target)
    assert (result.done, result.failures) == (1, {})
    assert [path for path in (tmp_path / "made").rglob("*") if path.is_file()] == [target]
    with Image.open(target) as made, Image.open(source / "1.png") as given:
        assert made.format == images.WRITERS[images.writer_for(images.extension(target)) or ""].format
        assert made.size == given.size
        if made.format == "PNG":
            assert np.array_equal(made, cyclegan(given))


def test_one_image_into_a_file_that_is_there(convert: Convert, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    target.write_bytes(b"mine")
    result = convert(source / "1.png", target)
    assert result.failures["1.png"].startswith("exists")
    assert target.read_bytes() == b"mine"
    assert convert(source / "1.png", target, overwrite=True).done == 1


@pytest.mark.parametrize("name", ["out", "out.png/", "v1.2", "of 2024.05"])
def test_one_image_into_a_folder(convert: Convert, source: Path, tmp_path: Path, name: str) -> None:
    """An OUTPUT without an image extension, or that is a folder, is a folder."""
    target = tmp_path / name
    if name.endswith("/"):
        target.mkdir()
    assert convert(source / "deep" / "4.tif", target).done == 1
    assert tree(target).keys() == {"4.tif"}
    assert last(target).keys() == {"4.tif"}


@pytest.mark.parametrize("name", ["x.bmp", "x.eps", "x.ppm"])
def test_one_image_into_a_format_that_is_not_written(convert: Convert, source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="png"):
        convert(source / "1.png", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_one_bad_image_into_a_file(convert: Convert, source: Path, tmp_path: Path) -> None:
    (source / "x.png").write_text("no picture")
    assert convert(source / "x.png", tmp_path / "y.png").failures == {"x.png": "not an image"}
    (source / "x.eps").write_text("no picture")
    assert convert(source / "x.eps", tmp_path / "y.png").failures == {"x.eps": "format not allowed"}
    assert not (tmp_path / "y.png").exists()


@pytest.mark.parametrize(("pattern", "expected"), [
    ("*.png", {"1.png"}), ("[12].*", {"1.png", "2.jpg"}), ("deep/*", {"4.tif"}), ("d*/er/*.webp", {"deep/er/3.webp"}),
    ("**/*.[tw]*", {"deep/er/3.webp", "deep/4.tif"}), ("?.JPG", {"5.JPG"}),
])  # fmt: skip
def test_a_glob(convert: Convert, source: Path, tmp_path: Path, pattern: str, expected: set[str]) -> None:
    convert(f"{source}/{pattern}", tmp_path / "out")
    assert tree(tmp_path / "out").keys() == expected


def test_names_with_the_signs_of_a_glob_are_names_first(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in [1]" / "a [2].png", draw(15))
    assert convert(tmp_path / "in [1]", tmp_path / "out").done == 1
    assert convert(tmp_path / "in [1]" / "a [2].png", tmp_path / "other").done == 1


@pytest.mark.parametrize("kind", ["empty", "other files", "hidden", "missing", "no match", "one other file"])
def test_nothing_to_convert(convert: Convert, tmp_path: Path, kind: str) -> None:
    source: Path | str = tmp_path / "in"
    (tmp_path / "in").mkdir()
    if kind == "missing":
        source = tmp_path / "nowhere"
    elif kind == "no match":
        source = f"{tmp_path}/in/*.png"
    elif kind != "empty":
        name = {"other files": "x.txt", "hidden": ".x.png", "one other file": "x.txt"}[kind]
        (tmp_path / "in" / name).write_bytes(b"x")
        source = tmp_path / "in" / name if kind == "one other file" else source
    for options in ({}, {"dry_run": True}):
        with pytest.raises(DataError) as caught:
            convert(source, tmp_path / "out", **options)
        assert str(source) in str(caught.value)
        assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    for name in (source, source / "1.png"):
        with pytest.raises(UsageError, match="out"):
            convert(name, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("options", [
    {"format": "bmp"}, {"format": ""}, {"format": "PNG "}, {"quality": 0}, {"quality": 101}, {"batch_size": 0},
    {"limit": 0}, {"max_pixels": 0},
], ids=str)  # fmt: skip
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--" + next(iter(options)).replace("_", "-")):
        ConversionOptions(**options)


def test_options_from_python(cyclegan: Translator, source: Path, tmp_path: Path) -> None:
    assert translate.convert(cyclegan, source, tmp_path / "out", format="png", to="a").done == 5
    with pytest.raises(UsageError, match="fromat"):
        translate.convert(cyclegan, source, tmp_path / "out", fromat="png")


def test_a_domain_the_model_does_not_have(convert: Convert, pix2pix: Translator, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'a'") as caught:
        convert(source, tmp_path / "out", pix2pix, to="a")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_progress_counts_up_to_all(convert: Convert, source: Path, tmp_path: Path) -> None:
    (source / "bad.png").write_bytes(b"")
    seen: list[tuple[int, int, int]] = []
    convert(source, tmp_path / "out", progress=lambda *counts: seen.append(counts))
    assert seen[0] == (0, 0, 6)
    assert seen[-1] == (6, 1, 6)
    assert seen == sorted(seen)

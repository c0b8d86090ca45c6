"""A folder of images to a folder of images: pixels, formats, bad files, dry runs and single images."""

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from translate import images, locks
from translate.conversion.job import ConversionResult
from translate.errors import BusyError, UsageError
from translate.trained.translator import Translator

from .output_folder import assert_clean, last, lines, save, times, tree

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]

ORIENTATION = 0x0112


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
    assert result.failures.keys() == {"I.tiff"}  # 32-bit signed integers have no scale of their own
    assert "--input-range LOW:HIGH" in result.failures["I.tiff"]
    for name, entry in last(tmp_path / "out").items():
        if name in result.failures:
            continue
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


def test_two_runs_in_one_folder(convert: Convert, source: Path, tmp_path: Path) -> None:
    with locks.lock_folder(tmp_path / "out", ""), pytest.raises(BusyError, match=f"process {os.getpid()}") as caught:
        convert(source, tmp_path / "out")
    assert caught.value.exit_code == 5
    (tmp_path / "out" / "run.lock").write_text("process 1 on mars")  # of a process that was killed
    assert convert(source, tmp_path / "out").done == 5
    assert_clean(tmp_path / "out")


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

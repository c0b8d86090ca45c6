"""JPEG files decoded on a device; here the device is the CPU, and Pillow stands for nvJPEG."""

import pytest
import torch
from PIL import Image

from translate.data import layouts
from translate.data.nvjpeg import NvjpegDecoder
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.errors import DataError

from ..helpers import write_smooth_image
from .helpers import (
    CPU,
    RULES,
    SIZES,
    decode_with_pillow,
    first_batches,
    make_loader,
    make_stream_dataset,
    same_batches,
)

# JPEG finished on a device; here the device is the CPU and nvJPEG is Pillow.


def finished(split, preprocessing, numbers):
    """What the workers and the device make of images of the run, and what was skipped."""
    raw = make_stream_dataset(split, preprocessing, True).load_batch(numbers)
    rows, more = NvjpegDecoder(make_stream_dataset(split, preprocessing, True), CPU, decode_with_pillow)(
        [found for found, _ in raw], numbers
    )
    skipped = {path: why for _, some in raw for path, why in some.items()}
    return raw, rows, skipped | more


def expected(split, preprocessing, numbers):
    rows = make_stream_dataset(split, preprocessing, False).load_batch(numbers)
    return [found for found, _ in rows], {path: why for _, some in rows for path, why in some.items()}


@pytest.fixture(params=["unpaired", "paired", "halves", "images"])
def jpegs(request, tmp_path):
    if request.param == "halves":
        for i, (height, width) in enumerate(SIZES):
            write_smooth_image(tmp_path / "train" / f"{i}.jpg", height, 2 * width + i % 2, i)
        return layouts.find_split(tmp_path, "paired")
    for i, (height, width) in enumerate(SIZES):
        write_smooth_image(tmp_path / "trainA" / f"{i}.jpg", height, width, i)
        write_smooth_image(tmp_path / "trainB" / f"{i}.jpg", width, height, 9 + i)
    return layouts.find_split(tmp_path / ("trainA" if request.param == "images" else ""), request.param)


@pytest.mark.parametrize("rule", RULES)
def test_the_decoder_gives_what_workers_give(jpegs, rule):
    preprocessing = Preprocessing(24, 18, True, (3, 3), rule, resize="torch")
    numbers = list(range(3, 12))
    raw, rows, skipped = finished(jpegs, preprocessing, numbers)
    assert all(x.ndim == 1 for found, _ in raw for x in found.values())  # nothing was decoded by the worker
    assert same_batches(rows, expected(jpegs, preprocessing, numbers)[0])
    assert not skipped


def test_the_decoder_replaces_a_damaged_file_and_names_it(tmp_path):
    for i in range(5):
        for folder in ("trainA", "trainB"):
            write_smooth_image(tmp_path / folder / f"{i}.jpg", 60, 60, i, quality=95)
    for bad in (tmp_path / "trainA/1.jpg", tmp_path / "trainA/2.jpg", tmp_path / "trainB/4.jpg"):
        bad.write_bytes(bad.read_bytes()[:-300])
    for layout in ("unpaired", "paired"):
        split = layouts.find_split(tmp_path, layout)
        preprocessing = Preprocessing(24, 18, True, (3, 3), resize="torch")
        numbers = list(range(15))
        _, rows, skipped = finished(split, preprocessing, numbers)
        wanted, bad = expected(split, preprocessing, numbers)
        assert same_batches(rows, wanted)
        assert skipped == bad
        assert {f"{path.parent.name}/{path.name}" for path in skipped} >= {"trainA/1.jpg", "trainA/2.jpg"}


def test_the_decoder_labels_what_it_shows(tmp_path):
    for domain in "xyz":
        for i in range(2):
            write_smooth_image(tmp_path / "train" / domain / f"{i}.jpg", 60, 60, ord(domain) + i, quality=95)
    bad = tmp_path / "train/x/1.jpg"  # in its place one of y is shown
    bad.write_bytes(bad.read_bytes()[:-300])
    split, numbers = layouts.find_split(tmp_path, "domains"), list(range(12))
    preprocessing = Preprocessing(24, 18, True, (3, 3), resize="torch")
    _, rows, skipped = finished(split, preprocessing, numbers)
    assert same_batches(rows, expected(split, preprocessing, numbers)[0])
    assert list(skipped) == [bad]
    places = Sampler(split, 0).indices(torch.tensor(numbers))[0].tolist()
    assert [int(row["label"]) for row in rows] == [1 if place == 1 else place // 2 for place in places]


def test_the_decoder_says_when_the_last_good_file_is_gone(tmp_path):
    for folder in ("trainA", "trainB"):
        write_smooth_image(tmp_path / folder / "0.jpg", 60, 60, 0, quality=95)
    split, preprocessing = layouts.find_split(tmp_path, "unpaired"), Preprocessing(24, 18, True, (3, 3), resize="torch")
    raw = [found for found, _ in make_stream_dataset(split, preprocessing, True).load_batch([0, 1])]
    raw[1]["b"] = raw[1]["b"][:-300]
    (tmp_path / "trainB/0.jpg").unlink()
    with pytest.raises(DataError, match=r"none of the images .* can be read any more, among them '.*trainB/0\.jpg'"):
        NvjpegDecoder(make_stream_dataset(split, preprocessing, True), CPU, decode_with_pillow)(raw, [0, 1])


@pytest.mark.parametrize("layout", ["unpaired", "paired"])
def test_the_decoder_takes_jpeg_beside_png(layout, tmp_path):
    for i, (height, width) in enumerate(SIZES):
        write_smooth_image(tmp_path / "trainA" / f"{i}.{'jpg' if i % 2 else 'png'}", height, width, i)
        write_smooth_image(tmp_path / "trainB" / f"{i}.{'jpg' if i % 3 else 'png'}", width, height, 9 + i)
    split = layouts.find_split(tmp_path, layout)
    preprocessing = Preprocessing(24, 18, True, (3, 3), resize="torch")
    numbers = list(range(10))
    raw, rows, _ = finished(split, preprocessing, numbers)
    assert {x.ndim for found, _ in raw for x in found.values()} == {1, 3}
    assert same_batches(rows, expected(split, preprocessing, numbers)[0])


def test_the_decoder_makes_grey_of_grey_files(tmp_path):
    for i in range(3):
        write_smooth_image(tmp_path / "trainA" / f"{i}.jpg", 30, 30, i)
        with Image.open(tmp_path / "trainA" / f"{i}.jpg") as image:
            grey = image.convert("L")
        (tmp_path / "trainB").mkdir(exist_ok=True)
        grey.save(tmp_path / "trainB" / f"{i}.jpg")
    split = layouts.find_split(tmp_path, "unpaired")
    preprocessing = Preprocessing(24, 18, True, (3, 1), resize="torch")
    _, rows, _ = finished(split, preprocessing, [0, 1, 2, 3])
    assert {x.shape for row in rows for x in row.values()} == {(3, 18, 18), (1, 18, 18)}
    assert same_batches(rows, expected(split, preprocessing, [0, 1, 2, 3])[0])


def test_the_stream_tier_starts_with_nvjpeg(jpegs, monkeypatch):
    """All of it but nvJPEG itself."""
    monkeypatch.setattr("translate.data.nvjpeg.decode_on", lambda device: decode_with_pillow)
    preprocessing = Preprocessing(24, 18, True, (3, 3), decoder="nvjpeg", resize="torch")
    plain = Preprocessing(24, 18, True, (3, 3), resize="torch")
    streamed = first_batches(make_loader(jpegs, preprocessing, tier="stream", batch_size=3).batches(0), 4)
    assert same_batches(streamed, first_batches(make_loader(jpegs, plain, batch_size=3).batches(0), 4))

"""JPEG files decoded on a device; here the device is the CPU, and Pillow stands for nvJPEG."""

import io
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.nvjpeg import NvjpegDecoder
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.data.stream_dataset import StreamDataset
from translate.errors import DataError

CPU = torch.device("cpu")


def make(
    split,
    preprocessing,
    *,
    tier="resident",
    batch_size=1,
    seed=0,
    workers=0,
    said=None,
    dtype=torch.float32,
    device=CPU,
    **options,
):
    say = (said if said is not None else []).append
    options = LoaderOptions(batch_size=batch_size, seed=seed, tier=tier, workers=workers, **options)
    return Loader(split, preprocessing, options, device=device, dtype=dtype, say=say)


def take(batches, count):
    """The first batches; those of a tier with their numbers, those of a loader without."""
    taken = (batch[1] if isinstance(batch, tuple) else batch for batch in batches)
    return [{name: x.clone() for name, x in batch.items()} for batch in islice(taken, count)]


def same(first, second):
    return len(first) == len(second) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(first, second, strict=True)
    )


def photo(path, height, width, seed, *, like=None, **options):
    """A smooth image; `like` another of another size."""
    coarse = np.random.default_rng(seed if like is None else like).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)


SIZES = [(31, 50), (64, 33), (20, 20), (18, 41), (90, 27)]
"""Heights and widths, upright and across, some with a side below the load size."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """unpaired: A and B of many sizes. paired: twins of A's sizes and others. halves: side by side, odd widths too."""
    root = tmp_path_factory.mktemp("sizes")
    for i, (height, width) in enumerate(SIZES):
        photo(root / "unpaired/trainA" / f"{i}.png", height, width, i)
        photo(root / "paired/trainA" / f"{i}.png", height, width, i)
        photo(root / "paired/trainB" / f"{i}.png", *SIZES[(i + 1) % len(SIZES)], 50 + i)
        photo(root / "halves/train" / f"{i}.png", height, 2 * width + i % 2, i)
    for i, (height, width) in enumerate(SIZES[1:]):
        photo(root / "unpaired/trainB" / f"{i}.png", width, height, 20 + i)
    return root


@pytest.fixture(params=["unpaired", "paired", "halves"])
def split(request, roots):
    return layouts.find_split(roots / request.param, "unpaired" if request.param == "unpaired" else "paired")


RULES = ["resize_and_crop", "crop", "scale_width_and_crop", "none"]


# JPEG finished on a device; here the device is the CPU and nvJPEG is Pillow.


def by_pillow(contents, channels):
    decoded = []
    for data in contents:
        try:
            with Image.open(io.BytesIO(data.numpy().tobytes())) as image:
                array = np.array(image.convert("RGB" if channels == 3 else "L"))
        except OSError as e:
            raise RuntimeError("nvJPEG: damaged") from e
        decoded.append(torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1))
    return decoded


def dataset(split, preprocessing, contents):
    return StreamDataset(split, preprocessing, Sampler(split, 0), keep_encoded=contents)


def finished(split, preprocessing, numbers):
    """What the workers and the device make of images of the run, and what was skipped."""
    raw = dataset(split, preprocessing, True).load_batch(numbers)
    rows, more = NvjpegDecoder(dataset(split, preprocessing, True), CPU, by_pillow)(
        [found for found, _ in raw], numbers
    )
    skipped = {path: why for _, some in raw for path, why in some.items()}
    return raw, rows, skipped | more


def expected(split, preprocessing, numbers):
    rows = dataset(split, preprocessing, False).load_batch(numbers)
    return [found for found, _ in rows], {path: why for _, some in rows for path, why in some.items()}


@pytest.fixture(params=["unpaired", "paired", "halves", "images"])
def jpegs(request, tmp_path):
    if request.param == "halves":
        for i, (height, width) in enumerate(SIZES):
            photo(tmp_path / "train" / f"{i}.jpg", height, 2 * width + i % 2, i)
        return layouts.find_split(tmp_path, "paired")
    for i, (height, width) in enumerate(SIZES):
        photo(tmp_path / "trainA" / f"{i}.jpg", height, width, i)
        photo(tmp_path / "trainB" / f"{i}.jpg", width, height, 9 + i)
    return layouts.find_split(tmp_path / ("trainA" if request.param == "images" else ""), request.param)


@pytest.mark.parametrize("rule", RULES)
def test_the_decoder_gives_what_workers_give(jpegs, rule):
    preprocessing = Preprocessing(24, 18, True, (3, 3), rule, resize="torch")
    numbers = list(range(3, 12))
    raw, rows, skipped = finished(jpegs, preprocessing, numbers)
    assert all(x.ndim == 1 for found, _ in raw for x in found.values())  # nothing was decoded by the worker
    assert same(rows, expected(jpegs, preprocessing, numbers)[0])
    assert not skipped


def test_the_decoder_replaces_a_damaged_file_and_names_it(tmp_path):
    for i in range(5):
        for folder in ("trainA", "trainB"):
            photo(tmp_path / folder / f"{i}.jpg", 60, 60, i, quality=95)
    for bad in (tmp_path / "trainA/1.jpg", tmp_path / "trainA/2.jpg", tmp_path / "trainB/4.jpg"):
        bad.write_bytes(bad.read_bytes()[:-300])
    for layout in ("unpaired", "paired"):
        split = layouts.find_split(tmp_path, layout)
        preprocessing = Preprocessing(24, 18, True, (3, 3), resize="torch")
        numbers = list(range(15))
        _, rows, skipped = finished(split, preprocessing, numbers)
        wanted, bad = expected(split, preprocessing, numbers)
        assert same(rows, wanted)
        assert skipped == bad
        assert {f"{path.parent.name}/{path.name}" for path in skipped} >= {"trainA/1.jpg", "trainA/2.jpg"}


def test_the_decoder_labels_what_it_shows(tmp_path):
    for domain in "xyz":
        for i in range(2):
            photo(tmp_path / "train" / domain / f"{i}.jpg", 60, 60, ord(domain) + i, quality=95)
    bad = tmp_path / "train/x/1.jpg"  # in its place one of y is shown
    bad.write_bytes(bad.read_bytes()[:-300])
    split, numbers = layouts.find_split(tmp_path, "domains"), list(range(12))
    preprocessing = Preprocessing(24, 18, True, (3, 3), resize="torch")
    _, rows, skipped = finished(split, preprocessing, numbers)
    assert same(rows, expected(split, preprocessing, numbers)[0])
    assert list(skipped) == [bad]
    places = Sampler(split, 0).indices(torch.tensor(numbers))[0].tolist()
    assert [int(row["label"]) for row in rows] == [1 if place == 1 else place // 2 for place in places]


def test_the_decoder_says_when_the_last_good_file_is_gone(tmp_path):
    for folder in ("trainA", "trainB"):
        photo(tmp_path / folder / "0.jpg", 60, 60, 0, quality=95)
    split, preprocessing = layouts.find_split(tmp_path, "unpaired"), Preprocessing(24, 18, True, (3, 3), resize="torch")
    raw = [found for found, _ in dataset(split, preprocessing, True).load_batch([0, 1])]
    raw[1]["b"] = raw[1]["b"][:-300]
    (tmp_path / "trainB/0.jpg").unlink()
    with pytest.raises(DataError, match=r"none of the images .* can be read any more, among them '.*trainB/0\.jpg'"):
        NvjpegDecoder(dataset(split, preprocessing, True), CPU, by_pillow)(raw, [0, 1])


@pytest.mark.parametrize("layout", ["unpaired", "paired"])
def test_the_decoder_takes_jpeg_beside_png(layout, tmp_path):
    for i, (height, width) in enumerate(SIZES):
        photo(tmp_path / "trainA" / f"{i}.{'jpg' if i % 2 else 'png'}", height, width, i)
        photo(tmp_path / "trainB" / f"{i}.{'jpg' if i % 3 else 'png'}", width, height, 9 + i)
    split = layouts.find_split(tmp_path, layout)
    preprocessing = Preprocessing(24, 18, True, (3, 3), resize="torch")
    numbers = list(range(10))
    raw, rows, _ = finished(split, preprocessing, numbers)
    assert {x.ndim for found, _ in raw for x in found.values()} == {1, 3}
    assert same(rows, expected(split, preprocessing, numbers)[0])


def test_the_decoder_makes_grey_of_grey_files(tmp_path):
    for i in range(3):
        photo(tmp_path / "trainA" / f"{i}.jpg", 30, 30, i)
        with Image.open(tmp_path / "trainA" / f"{i}.jpg") as image:
            grey = image.convert("L")
        (tmp_path / "trainB").mkdir(exist_ok=True)
        grey.save(tmp_path / "trainB" / f"{i}.jpg")
    split = layouts.find_split(tmp_path, "unpaired")
    preprocessing = Preprocessing(24, 18, True, (3, 1), resize="torch")
    _, rows, _ = finished(split, preprocessing, [0, 1, 2, 3])
    assert {x.shape for row in rows for x in row.values()} == {(3, 18, 18), (1, 18, 18)}
    assert same(rows, expected(split, preprocessing, [0, 1, 2, 3])[0])


def test_the_stream_tier_starts_with_nvjpeg(jpegs, monkeypatch):
    """All of it but nvJPEG itself."""
    monkeypatch.setattr("translate.data.nvjpeg.decode_on", lambda device: by_pillow)
    preprocessing = Preprocessing(24, 18, True, (3, 3), decoder="nvjpeg", resize="torch")
    plain = Preprocessing(24, 18, True, (3, 3), resize="torch")
    streamed = take(make(jpegs, preprocessing, tier="stream", batch_size=3).batches(0), 4)
    assert same(streamed, take(make(jpegs, plain, batch_size=3).batches(0), 4))

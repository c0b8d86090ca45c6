"""The three tiers, decoders and resizers against each other, and what happens when files or workers go away."""

import io
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.data import albumentations_recipe, layouts, stream_dataset
from translate.data.in_memory import InMemorySource
from translate.data.loader import Loader, LoaderOptions, fixed_batch
from translate.data.loader_context import RING_SIZE, LoaderContext, prefetch_on_stream, prefetch_to_device
from translate.data.nvjpeg import NvjpegDecoder
from translate.data.preprocessing import DECODERS, RESIZERS, Preprocessing, load_image, load_pair
from translate.data.sampler import BatchSampler, Sampler
from translate.data.split import ImageRef, Split
from translate.data.stream_dataset import StreamDataset
from translate.data.streaming import StreamingSource
from translate.errors import DataError, UsageError
from translate.images import Reading
from translate.runtime import transfer

CPU = torch.device("cpu")
TIERS = ["resident", "ram", "stream"]
PHOTOS = sorted((Path(__file__).parents[2] / "datasets" / "earth_season").rglob("*.jpg"))


def make(
    split,
    recipe,
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
    return Loader(split, recipe, options, device=device, dtype=dtype, say=say)


def take(batches, count):
    """The first batches; those of a tier with their numbers, those of a loader without."""
    taken = (batch[1] if isinstance(batch, tuple) else batch for batch in batches)
    return [{name: x.clone() for name, x in batch.items()} for batch in islice(taken, count)]


def same(first, second):
    return len(first) == len(second) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(first, second, strict=True)
    )


def source(split, recipe, batch_size=2, seed=0):
    order = Sampler(split, seed)
    return LoaderContext(
        split, recipe, order, BatchSampler(order, batch_size), CPU, torch.float32, lambda line: None, workers=0
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


# What the rules make of sizes.


def expected_size(rule, height, width, load_size, crop_size):
    """By the reference's own arithmetic."""
    if rule == "resize_and_crop":
        return load_size, load_size
    if rule == "scale_width_and_crop":
        return int(max(load_size * height / width, crop_size)), load_size
    if rule == "none":
        return int(round(height / 4) * 4), int(round(width / 4) * 4)
    return height, width


RULES = ["resize_and_crop", "crop", "scale_width_and_crop", "none"]


def crops(image, size):
    """Every square of an image (C, H, W), as bytes."""
    height, width = image.shape[1:]
    places = ((top, left) for top in range(height - size + 1) for left in range(width - size + 1))
    return {image[:, y : y + size, x : x + size].tobytes() for y, x in places}


@pytest.mark.parametrize("rule", RULES)
def test_images_are_cut_from_what_the_reference_would_load(rule, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    recipe = Preprocessing(22, 18, False, (3, 3), rule)
    order = Sampler(split, 0)
    for n, batch in enumerate(take(make(split, recipe).batches(0), 8)):
        for name, refs, i in zip("ab", (split.a, split.b), order(n), strict=True):
            with Image.open(refs[i].path) as file:
                height, width = expected_size(rule, file.height, file.width, 22, 18)
                loaded = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
            got = images.quantize(batch[name][0]).numpy()
            if rule == "none":
                assert np.array_equal(got, loaded)
            else:
                assert got.shape == (3, 18, 18)
                assert got.tobytes() in crops(loaded, 18)


@pytest.mark.parametrize("rule", RULES)
def test_tiers_give_the_same_bits_by_every_rule(split, rule):
    recipe = Preprocessing(22, 18, True, (3, 3), rule)
    size = 1 if rule == "none" else 3
    resident, ram, streamed = (take(make(split, recipe, tier=tier, batch_size=size).batches(2), 7) for tier in TIERS)
    assert same(resident, ram)
    assert same(resident, streamed)


@pytest.mark.parametrize("rule", ["none", "crop"])
def test_what_a_worker_hands_over_is_what_was_asked_for(rule, split):
    """Stacked where images are of one size, one by one where they are not."""
    images_of_run = dataset(split, Preprocessing(22, 18, True, (3, 3), rule), False)
    handed, skipped = stream_dataset._answer(images_of_run, list(range(9)))
    assert isinstance(handed, dict) == (rule == "crop")
    assert same(stream_dataset._unstacked(handed), [found for found, _ in images_of_run.load_batch(list(range(9)))])
    assert not skipped


@pytest.mark.parametrize("tier", TIERS)
def test_images_of_other_sizes_in_one_batch_are_a_data_error(tier, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    loader = make(split, Preprocessing(22, 18, True, (3, 3), "none"), tier=tier, batch_size=2)
    with pytest.raises(DataError) as caught:
        take(loader.batches(0), 9)
    assert "--batch-size 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tier", TIERS)
def test_both_sides_of_a_pair_share_their_geometry(tier, rule, tmp_path):
    """B is A, so batches must be equal whatever is drawn."""
    for i, (height, width) in enumerate(SIZES):
        for folder in ("trainA", "trainB"):
            photo(tmp_path / folder / f"{i}.png", height, width, i)
    split = layouts.find_split(tmp_path, "paired")
    for batch in take(make(split, Preprocessing(30, 18, True, (3, 3), rule), tier=tier).batches(0), 10):
        assert torch.equal(batch["a"], batch["b"])
        assert batch["a"].std() > 0.05


@pytest.mark.parametrize("tier", TIERS)
def test_twins_of_other_sizes_get_the_size_of_a(tier, roots):
    split = layouts.find_split(roots / "paired", "paired")
    order = Sampler(split, 0)
    loader = make(split, Preprocessing(22, 18, False, (3, 3), "none"), tier=tier)
    for n, batch in enumerate(take(loader.batches(0), 5)):
        height, width = expected_size("none", *SIZES[order(n)[0]], 22, 18)
        assert batch["a"].shape == batch["b"].shape == (1, 3, height, width)
        with Image.open(split.b[order(n)[1]].path) as file:
            b = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC))
        assert np.array_equal(images.to_uint8_array(batch["b"][0]), b)


@pytest.mark.parametrize("bad", ["trainA", "trainB"])
@pytest.mark.parametrize("rule", RULES)
def test_a_bad_file_in_the_fixed_batch_is_white_and_as_large_as_its_partner(rule, bad, tmp_path):
    for folder in ("trainA", "trainB"):
        photo(tmp_path / folder / "0.png", 40, 61, 0)
    (tmp_path / bad / "0.png").write_text("no image")
    for layout in ("paired", "unpaired"):
        split = layouts.find_split(tmp_path, layout)
        batch = fixed_batch(split, Preprocessing(32, 24, False, (3, 3), rule), 1, CPU, torch.float32)
        assert batch["a"].shape == batch["b"].shape == ((1, 3, 40, 60) if rule == "none" else (1, 3, 24, 24))
        assert (batch[bad[-1].lower()] == 1).all()


def test_a_fixed_batch_without_a_good_file_is_white(tmp_path):
    for folder in ("trainA", "trainB"):
        photo(tmp_path / folder / "0.png", 40, 60, 0)
        (tmp_path / folder / "0.png").write_text("no image")
    for rule in RULES:
        batch = fixed_batch(
            layouts.find_split(tmp_path, "paired"), Preprocessing(32, 24, False, (3, 1), rule), 1, CPU, torch.float32
        )
        size = 32 if rule == "none" else 24
        assert torch.equal(batch["a"], torch.ones(1, 3, size, size))
        assert torch.equal(batch["b"], torch.ones(1, 1, size, size))


@pytest.mark.parametrize("size", [(10, 40), (40, 10), (17, 18), (5, 5)])
def test_crop_enlarges_what_is_smaller_than_the_crop(size, tmp_path):
    photo(tmp_path / "x.png", *size, 0)
    image = load_image(ImageRef(tmp_path / "x.png"), Preprocessing(99, 18, False, (3, 3), "crop"), 0)
    height, width = image.shape[1:]
    assert min(height, width) == 18
    assert abs(height / width - size[0] / size[1]) <= 0.5 / 18 * max(1, size[0] / size[1])


def test_none_rounds_to_what_the_network_takes(tmp_path):
    photo(tmp_path / "x.png", 47, 130, 0)
    ref = ImageRef(tmp_path / "x.png")
    shapes = {}
    for multiple in (1, 4, 32, 64, 256):
        recipe = Preprocessing(9, 9, False, (3, 3), "none", multiple_of=multiple)
        shapes[multiple] = load_image(ref, recipe, 0).shape[1:]
    assert shapes == {1: (47, 130), 4: (48, 128), 32: (32, 128), 64: (64, 128), 256: (256, 256)}


@pytest.mark.parametrize("rule", ["scale_width_and_crop", "crop", "none"])
def test_the_fixed_batch_shows_both_sides_of_a_pair_alike(rule, tmp_path):
    """Twins of other sizes: what B shows beside A is the same part of the same picture."""
    for i, (height, width) in enumerate([(40, 40), (36, 60), (64, 40)]):
        photo(tmp_path / "trainA" / f"{i}.png", height, width, i)
        with Image.open(tmp_path / "trainA" / f"{i}.png") as a:
            large = a.resize((2 * width, height * 3), Image.Resampling.BICUBIC)
        (tmp_path / "trainB").mkdir(exist_ok=True)
        large.save(tmp_path / "trainB" / f"{i}.png")
    split = layouts.find_split(tmp_path, "paired")
    batch = fixed_batch(split, Preprocessing(32, 24, False, (3, 3), rule), 3, CPU, torch.float32)
    assert batch["a"].shape == batch["b"].shape
    assert (batch["a"] - batch["b"]).abs().mean() < 0.02


# Decoders and resizers.


def close(x, y):
    """At most 3 of 255 apart on 99.9 % of values."""
    assert x.shape == y.shape
    assert x.dtype == y.dtype
    return ((x.int() - y.int()).abs() <= 3).float().mean() >= 0.999


@pytest.mark.parametrize("size", [(286, 286), (100, 140), (64, 64), (400, 300)])
def test_resizers_agree(size):
    assert PHOTOS
    for path in PHOTOS[:4]:
        image = DECODERS["pillow"](path, Reading(3, deep=True))
        assert close(RESIZERS["pillow"](image, *size), RESIZERS["torch"](image, *size))


@pytest.mark.parametrize("resizer", RESIZERS)
@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16, torch.float32])
def test_resizers_keep_constants_and_depth(resizer, depth):
    value = images.FULL_RANGES[depth][1]
    for constant in (0, value, value / 4 if depth == torch.float32 else value // 4):
        image = torch.full((2, 9, 14), 0.0).add(constant).to(torch.float32)
        image = image.to(torch.int32).to(depth) if depth != torch.float32 else image
        for size in ((5, 6), (20, 33)):
            resized = RESIZERS[resizer](image, *size)
            assert resized.dtype == depth
            torch.testing.assert_close(resized.double(), torch.full((2, *size), float(constant), dtype=torch.float64),
                                       rtol=1e-6, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("resizer", RESIZERS)
@pytest.mark.parametrize(
    "depth",
    [
        torch.uint8,
        torch.uint16,
        torch.float32,
    ],
)
def test_an_edge_stays_within_the_range(resizer, depth):
    """A bicubic filter overshoots at edges; what it gives is still an image."""
    top = images.FULL_RANGES[depth][1]
    image = torch.zeros(1, 20, 20)
    image[:, :, 10:] = top
    image = image if depth == torch.float32 else image.to(torch.int32).to(depth)
    x = images.normalize(RESIZERS[resizer](image, 40, 40), torch.float32)
    assert x.min() >= -1
    assert x.max() <= 1


@pytest.fixture
def torchcodec():
    pytest.importorskip("torchcodec", reason="needs torchcodec: install image-translate[gpu]")


def test_torchcodec_decodes_photos_as_pillow_does(torchcodec):
    for path in PHOTOS:
        for channels in (1, 3):
            how = Reading(channels, deep=True)
            assert close(DECODERS["torchcodec"](path, how), DECODERS["pillow"](path, how))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_torchcodec_decodes_jpeg_of_every_mode_as_pillow_does(mode, channels, subsampling, tmp_path, torchcodec):
    photo(tmp_path / "x.png", 61, 47, 0)
    options = {} if mode == "L" else {"subsampling": subsampling}
    with Image.open(tmp_path / "x.png") as image:
        image.convert(mode).save(tmp_path / "x.jpg", quality=92, **options)
    how = Reading(channels, deep=True)
    assert close(DECODERS["torchcodec"](tmp_path / "x.jpg", how), DECODERS["pillow"](tmp_path / "x.jpg", how))


def oriented(path, orientation, how):
    """A JPEG whose orientation is said in Exif at the front, in Exif behind a large profile, or in XMP."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((48, 32))
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    image.save(buffer, "JPEG", quality=95, **({"xmp": xmp.encode()} if how == "xmp" else {"exif": exif.tobytes()}))
    data = buffer.getvalue()
    if how == "late":  # a comment of 6,000 bytes before it
        data = data[:2] + b"\xff\xfe" + (6002).to_bytes(2, "big") + bytes(6000) + data[2:]
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("how", "orientation"),
    [(how, orientation) for how in ("front", "late", "xmp") for orientation in (1, 3, 6)],
)
def test_torchcodec_sees_rotated_photos_as_pillow_does(orientation, how, tmp_path, torchcodec):
    oriented(tmp_path / "x.jpg", orientation, how)
    by_pillow, by_torchcodec = (
        DECODERS[name](tmp_path / "x.jpg", Reading(3, deep=True)) for name in ("pillow", "torchcodec")
    )
    assert by_pillow.shape == ((3, 48, 32) if orientation == 6 else (3, 32, 48))
    assert close(by_torchcodec, by_pillow)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_torchcodec_skips_what_pillow_skips_and_says_its_reason(share, tmp_path, torchcodec):
    photo(tmp_path / "x.jpg", 200, 200, 0, quality=95)
    data = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[: int(share * len(data))])
    results = [
        load_image(ImageRef(tmp_path / "x.jpg"), Preprocessing(32, 32, False, (3, 3), decoder=name), 0)
        for name in ("pillow", "torchcodec")
    ]
    assert all(isinstance(x, images.ImageError) for x in results)
    assert str(results[0]) == str(results[1])


def test_tiers_give_the_same_bits_by_every_decoder_and_resizer(tmp_path):
    for i in range(4):
        photo(tmp_path / "trainA" / f"{i}.jpg", 40 + i, 50, i, quality=90)
        photo(tmp_path / "trainB" / f"{i}.png", 40, 50 - i, i)
    split = layouts.find_split(tmp_path, "unpaired")
    decoders = ["pillow"]
    try:
        import torchcodec  # noqa: F401

        decoders.append("torchcodec")
    except ImportError:
        pass
    for decoder in decoders:
        for resize in RESIZERS:
            recipe = Preprocessing(24, 20, True, (3, 3), decoder=decoder, resize=resize)
            made = [take(make(split, recipe, tier=tier, batch_size=3).batches(0), 4) for tier in TIERS]
            assert same(made[0], made[1])
            assert same(made[0], made[2])


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


def dataset(split, recipe, contents):
    return StreamDataset(split, recipe, Sampler(split, 0), keep_encoded=contents)


def finished(split, recipe, numbers):
    """What the workers and the device make of images of the run, and what was skipped."""
    raw = dataset(split, recipe, True).load_batch(numbers)
    rows, more = NvjpegDecoder(dataset(split, recipe, True), CPU, by_pillow)([found for found, _ in raw], numbers)
    skipped = {path: why for _, some in raw for path, why in some.items()}
    return raw, rows, skipped | more


def expected(split, recipe, numbers):
    rows = dataset(split, recipe, False).load_batch(numbers)
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
def test_the_finisher_gives_what_workers_give(jpegs, rule):
    recipe = Preprocessing(24, 18, True, (3, 3), rule, resize="torch")
    numbers = list(range(3, 12))
    raw, rows, skipped = finished(jpegs, recipe, numbers)
    assert all(x.ndim == 1 for found, _ in raw for x in found.values())  # nothing was decoded by the worker
    assert same(rows, expected(jpegs, recipe, numbers)[0])
    assert not skipped


def test_the_finisher_replaces_a_damaged_file_and_names_it(tmp_path):
    for i in range(5):
        for folder in ("trainA", "trainB"):
            photo(tmp_path / folder / f"{i}.jpg", 60, 60, i, quality=95)
    for bad in (tmp_path / "trainA/1.jpg", tmp_path / "trainA/2.jpg", tmp_path / "trainB/4.jpg"):
        bad.write_bytes(bad.read_bytes()[:-300])
    for layout in ("unpaired", "paired"):
        split = layouts.find_split(tmp_path, layout)
        recipe = Preprocessing(24, 18, True, (3, 3), resize="torch")
        numbers = list(range(15))
        _, rows, skipped = finished(split, recipe, numbers)
        wanted, bad = expected(split, recipe, numbers)
        assert same(rows, wanted)
        assert skipped == bad
        assert {f"{path.parent.name}/{path.name}" for path in skipped} >= {"trainA/1.jpg", "trainA/2.jpg"}


def test_the_finisher_labels_what_it_shows(tmp_path):
    for domain in "xyz":
        for i in range(2):
            photo(tmp_path / "train" / domain / f"{i}.jpg", 60, 60, ord(domain) + i, quality=95)
    bad = tmp_path / "train/x/1.jpg"  # in its place one of y is shown
    bad.write_bytes(bad.read_bytes()[:-300])
    split, numbers = layouts.find_split(tmp_path, "domains"), list(range(12))
    recipe = Preprocessing(24, 18, True, (3, 3), resize="torch")
    _, rows, skipped = finished(split, recipe, numbers)
    assert same(rows, expected(split, recipe, numbers)[0])
    assert list(skipped) == [bad]
    places = Sampler(split, 0).indices(torch.tensor(numbers))[0].tolist()
    assert [int(row["label"]) for row in rows] == [1 if place == 1 else place // 2 for place in places]


def test_the_finisher_says_when_the_last_good_file_is_gone(tmp_path):
    for folder in ("trainA", "trainB"):
        photo(tmp_path / folder / "0.jpg", 60, 60, 0, quality=95)
    split, recipe = layouts.find_split(tmp_path, "unpaired"), Preprocessing(24, 18, True, (3, 3), resize="torch")
    raw = [found for found, _ in dataset(split, recipe, True).load_batch([0, 1])]
    raw[1]["b"] = raw[1]["b"][:-300]
    (tmp_path / "trainB/0.jpg").unlink()
    with pytest.raises(DataError, match=r"none of the images .* can be read any more, among them '.*trainB/0\.jpg'"):
        NvjpegDecoder(dataset(split, recipe, True), CPU, by_pillow)(raw, [0, 1])


@pytest.mark.parametrize("layout", ["unpaired", "paired"])
def test_the_finisher_takes_jpeg_beside_png(layout, tmp_path):
    for i, (height, width) in enumerate(SIZES):
        photo(tmp_path / "trainA" / f"{i}.{'jpg' if i % 2 else 'png'}", height, width, i)
        photo(tmp_path / "trainB" / f"{i}.{'jpg' if i % 3 else 'png'}", width, height, 9 + i)
    split = layouts.find_split(tmp_path, layout)
    recipe = Preprocessing(24, 18, True, (3, 3), resize="torch")
    numbers = list(range(10))
    raw, rows, _ = finished(split, recipe, numbers)
    assert {x.ndim for found, _ in raw for x in found.values()} == {1, 3}
    assert same(rows, expected(split, recipe, numbers)[0])


def test_the_finisher_makes_grey_of_grey_files(tmp_path):
    for i in range(3):
        photo(tmp_path / "trainA" / f"{i}.jpg", 30, 30, i)
        with Image.open(tmp_path / "trainA" / f"{i}.jpg") as image:
            grey = image.convert("L")
        (tmp_path / "trainB").mkdir(exist_ok=True)
        grey.save(tmp_path / "trainB" / f"{i}.jpg")
    split = layouts.find_split(tmp_path, "unpaired")
    recipe = Preprocessing(24, 18, True, (3, 1), resize="torch")
    _, rows, _ = finished(split, recipe, [0, 1, 2, 3])
    assert {x.shape for row in rows for x in row.values()} == {(3, 18, 18), (1, 18, 18)}
    assert same(rows, expected(split, recipe, [0, 1, 2, 3])[0])


def test_the_stream_tier_starts_with_nvjpeg(jpegs, monkeypatch):
    """All of it but nvJPEG itself."""
    monkeypatch.setattr("translate.data.nvjpeg.decode_on", lambda device: by_pillow)
    recipe = Preprocessing(24, 18, True, (3, 3), decoder="nvjpeg", resize="torch")
    plain = Preprocessing(24, 18, True, (3, 3), resize="torch")
    streamed = take(make(jpegs, recipe, tier="stream", batch_size=3).batches(0), 4)
    assert same(streamed, take(make(jpegs, plain, batch_size=3).batches(0), 4))


# The way to a device: the same code with the CPU as the device.


def test_what_is_sent_is_received():
    sender = transfer.BatchTransfer(CPU, RING_SIZE)
    batches = [{"a": torch.full((2, 3), float(i)), "b": torch.full((1,), -i)} for i in range(10)]
    for batch in batches:
        assert same([sender.receive(sender.send(batch))], [batch])


def test_batches_are_sent_ahead_in_order(roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    asked = []

    def stored():
        for i in range(9):
            asked.append(i)
            yield torch.tensor([i]), {"a": torch.full((1, 3, 2, 2), i, dtype=torch.uint8)}

    came = []
    for numbers, batch in prefetch_to_device(source(split, Preprocessing(22, 18, True, (3, 3))), stored()):
        assert len(asked) == int(numbers) + 2 or int(numbers) == 8  # the next one is already on its way
        assert torch.equal(batch["a"], torch.full((1, 3, 2, 2), int(numbers) / 255 * 2 - 1))
        came.append(int(numbers))
    assert came[:8] == list(range(8))


@pytest.mark.parametrize("rule", RULES)
def test_the_ways_to_a_device_give_the_same_bits(split, rule):
    """Cut on the host and sent, or gathered; of images of one size and of many."""
    recipe = Preprocessing(22, 18, True, (3, 3), rule)
    memory = InMemorySource(source(split, recipe, 1 if rule == "none" else 3), on_device=True)
    assert memory.stores["a"].uniform == (rule == "resize_and_crop")
    sliced = take(memory._sliced(4), 9)
    assert same(take(memory._gathered(4), 9), sliced)
    assert same(take(prefetch_to_device(memory.context, memory.crop_on_host(4)), 9), sliced)
    assert same(take(prefetch_to_device(memory.context, StreamingSource(memory.context)._stacked(4)), 9), sliced)


class Streams:
    """Stands for CUDA's streams and events: what is done on which stream, and what waits for what, in `log`."""

    def __init__(self, monkeypatch):
        self.log, self.current = [], "main"
        for name in ("Stream", "Event", "stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda x, on: self.log.append(f"{on.name} holds {int(x)}"))

    def Stream(self, device):  # noqa: N802
        return self._named("side")

    def current_stream(self, device):
        return self._named(self.current)

    def _named(self, name):
        def waits(what):
            self.log.append(f"{name} waits for {what.name}")

        return SimpleNamespace(name=name, wait_stream=waits, wait_event=waits)

    def Event(self):  # noqa: N802
        event = SimpleNamespace(name="nothing")
        event.record = lambda: setattr(event, "name", self.log[-1])
        return event

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        yield
        self.current = before


def test_batches_that_are_made_on_a_device_are_made_ahead_on_a_stream_of_their_own(monkeypatch):
    """Each is waited for by the stream that uses it, and held for it, but the one after it is begun first."""
    streams = Streams(monkeypatch)
    log = streams.log

    def batches():
        for n in range(9):
            log.append(f"{streams.current} makes {n}")
            yield {"a": torch.tensor(n)}

    for batch in islice(prefetch_on_stream(batches(), torch.device("cuda")), 2):
        log.append(f"{streams.current} uses {int(batch['a'])}")
    assert log == [
        "side waits for main", "side makes 0",
        "side makes 1", "main waits for side makes 0", "main holds 0", "main uses 0",
        "side makes 2", "main waits for side makes 1", "main holds 1", "main uses 1",
    ]  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("tier", TIERS)
def test_batches_on_cuda_are_those_of_the_cpu(tier, roots):
    """With effects too: to the rounding of another device."""
    split = layouts.find_split(roots / "unpaired", "unpaired")
    for options in ({}, {"augmentations": ("rotate", "color")}):
        build = partial(make, split, Preprocessing(22, 18, True, (3, 3)), tier=tier, batch_size=3, **options)
        there, here = (take(build(device=torch.device(kind)).batches(0), 12) for kind in ("cuda", "cpu"))
        for x, y in zip(there, here, strict=True):
            for name in y:
                torch.testing.assert_close(x[name].cpu(), y[name], rtol=0, atol=1e-3 if options else 1e-6)


# Sampling.


@pytest.mark.parametrize(("a", "b"), [(7, 7), (3, 7), (7, 3)])
def test_permute_both_shows_every_image_of_both_domains(a, b):
    order = Sampler(Split((ImageRef(None),) * a, (ImageRef(None),) * b, False), 0, "permute-both")
    for epoch in range(4):
        drawn = [order(n) for n in range(7 * epoch, 7 * epoch + 7)]
        for side, count in enumerate((a, b)):
            counts = np.bincount([pair[side] for pair in drawn], minlength=count)
            assert counts.min() >= 7 // count
            assert counts.max() <= -(-7 // count)
    partners = {tuple(order(n) for n in range(7 * e, 7 * e + 7)) for e in range(4)}
    assert len(partners) == 4
    assert any(x != y for x, y in (order(n) for n in range(28)))


def test_permute_both_leaves_a_as_it_is_and_partners_together():
    split = Split((ImageRef(None),) * 5, (ImageRef(None),) * 5, False)
    numbers = torch.arange(40)
    assert torch.equal(Sampler(split, 1, "permute-both").indices(numbers)[0], Sampler(split, 1).indices(numbers)[0])
    pairs = Sampler(Split(split.a, split.b, True), 1, "permute-both").indices(numbers)
    assert torch.equal(*pairs)


@pytest.mark.parametrize("tier", TIERS)
def test_permute_both_reaches_the_batches(tier, roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    recipe = Preprocessing(18, 18, False, (3, 3))
    order = Sampler(split, 0, "permute-both")
    for n, batch in enumerate(take(make(split, recipe, tier=tier, sampling="permute-both").batches(0), 10)):
        assert torch.equal(batch["b"][0], images.normalize(load_image(split.b[order(n)[1]], recipe, 1), torch.float32))


# Files that are bad, or go away.


def numbered(root, count=6, folders=("trainA", "trainB")):
    for folder in folders:
        for i in range(count):
            photo(root / folder / f"{i}.png", 24, 24, i)
    return layouts.find_split(root, "unpaired")


RECIPE = Preprocessing(20, 16, True, (3, 3))


@pytest.mark.parametrize("tier", TIERS)
def test_strict_stops_at_a_bad_file_and_names_it(tier, tmp_path):
    split = numbered(tmp_path)
    bad = tmp_path / "trainA" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError) as caught:
        take(make(split, RECIPE, tier=tier, strict=True).batches(0), 6)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_strict_says_one_line_whatever_the_name(tier, tmp_path):
    split = numbered(tmp_path)
    bad = tmp_path / "trainA" / "0\n.png"
    bad.write_text("no image")
    with pytest.raises(DataError) as caught:
        take(make(layouts.find_split(tmp_path, "unpaired"), RECIPE, tier=tier, strict=True).batches(0), 7)
    assert "\n" not in str(caught.value)
    assert len(split.a) == 6


def test_files_that_vanish_are_said_in_one_line_whatever_their_names(tmp_path):
    photo(tmp_path / "trainA" / "0\n.png", 24, 24, 0)
    photo(tmp_path / "trainB" / "0.png", 24, 24, 0)
    batches = make(layouts.find_split(tmp_path, "unpaired"), RECIPE, tier="stream").batches(0)
    next(batches)
    shutil.rmtree(tmp_path / "trainA")
    with pytest.raises(DataError) as caught:
        take(batches, 40)
    assert "\n" not in str(caught.value)
    assert repr(str(tmp_path / "trainA" / "0\n.png")) in str(caught.value)


def test_a_folder_without_a_good_file_is_said_in_one_line_whatever_its_name(tmp_path):
    root = tmp_path / "two\nlines"
    split = numbered(root)
    for path in (root / "trainA").iterdir():
        path.write_text("no image")
    for tier in TIERS:
        with pytest.raises(DataError) as caught:
            make(split, RECIPE, tier=tier)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tier", TIERS)
def test_skipped_files_are_counted_once(tier, tmp_path):
    split = numbered(tmp_path)
    for name in ("trainA/1.png", "trainA/4.png", "trainB/0.png"):
        (tmp_path / name).write_text("no image")
    loader = make(split, RECIPE, tier=tier)
    take(loader.batches(0), 60)
    assert loader.skipped == 3


@pytest.mark.parametrize("workers", [0, pytest.param(1, id="a worker", marks=pytest.mark.slow)])
def test_files_that_vanish_are_one_error_and_no_endless_loop(workers, tmp_path):
    split = numbered(tmp_path)
    loader = make(split, RECIPE, tier="stream", workers=workers)
    batches = loader.batches(0)
    next(batches)
    shutil.rmtree(tmp_path / "trainB")
    with pytest.raises(DataError) as caught:
        take(batches, 3000)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "trainB") in str(caught.value)


def test_a_file_that_vanishes_is_replaced_and_said(tmp_path):
    split = numbered(tmp_path)
    said = []
    loader = make(split, RECIPE, tier="stream", said=said)
    batches = loader.batches(0)
    next(batches)
    (tmp_path / "trainA" / "2.png").unlink()
    assert len(take(batches, 60)) == 60
    assert [line for line in said if "2.png" in line and "no such file" in line]


DYING = """
import os, signal, sys, time
from pathlib import Path
import torch
from translate.data import layouts
from translate.data.preprocessing import Preprocessing
from translate.data.loader import Loader, LoaderOptions
from translate.errors import DataError

if __name__ == "__main__":
    split = layouts.find_split(Path(sys.argv[1]), "unpaired")
    options = LoaderOptions(batch_size=1, seed=0, tier="stream", workers=1)
    loader = Loader(split, Preprocessing(20, 16, True, (3, 3)), options, device=torch.device("cpu"))
    batches = loader.batches(0)
    next(batches)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    (pid,) = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    print("killed", pid, flush=True)
    os.kill(pid, signal.SIGKILL)
    try:
        if sys.argv[2] == "computing":
            time.sleep(1)
        for _ in range(3000):
            next(batches)
    except DataError as e:
        print("DataError", e, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
@pytest.mark.parametrize(
    "at",
    ["waiting", "computing"],
)
def test_a_worker_that_dies_is_one_line_with_its_number(at, tmp_path):
    """Whether a batch is waited for or a step computes. In a process of its own, for the signal may end it anywhere."""
    numbered(tmp_path)
    (tmp_path / "dying.py").write_text(DYING)
    command = [sys.executable, str(tmp_path / "dying.py"), str(tmp_path), at]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[2])
    lines = [line for line in done.stdout.splitlines() if line.startswith(("killed", "DataError"))]
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert len(lines) == 2
    assert f"process {lines[0].split()[1]}" in lines[1]


# Recipes of albumentations.


@pytest.fixture
def blur(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("transforms:\n  - HorizontalFlip: {p: 0.5}\n  - GaussNoise: {p: 0.7}\n  - Rotate: {p: 0.5}\n")
    return albumentations_recipe.load_recipe(path)


@pytest.mark.slow
def test_a_recipe_of_albumentations_gives_the_same_whatever_the_workers_and_the_start(blur, tmp_path):
    split = numbered(tmp_path)
    build = partial(make, split, RECIPE, tier="stream", batch_size=2, albumentations=blur)
    whole = take(build().batches(0), 8)
    assert same(take(build(workers=2).batches(0), 8), whole)
    assert same(take(build().batches(6), 5), whole[3:])
    assert not same(take(make(split, RECIPE, tier="stream", batch_size=2).batches(0), 8), whole)


@pytest.mark.parametrize("tier", ["resident", "ram"])
def test_a_recipe_of_albumentations_is_refused_where_images_are_kept(tier, blur, tmp_path):
    with pytest.raises(UsageError, match="--loader stream"):
        make(numbered(tmp_path), RECIPE, tier=tier, albumentations=blur)


def test_a_recipe_of_albumentations_streams_by_itself(blur, tmp_path):
    assert make(numbered(tmp_path), RECIPE, tier="auto", albumentations=blur).tier == "stream"


@pytest.mark.slow
def test_what_a_recipe_leaves_too_small_is_one_line_from_a_worker_too(tmp_path):
    """Image 0 is large enough, others are not."""
    for folder in ("trainA", "trainB"):
        for i in range(6):
            photo(tmp_path / folder / f"{i}.png", 64 if folder == "trainB" else 20 + 20 * i, 64, i)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "transforms:\n  - Crop: {x_min: 0, y_min: 10, x_max: 64, y_max: 64, pad_if_needed: false, p: 0.6}\n"
    )
    split = layouts.find_split(tmp_path, "unpaired")
    recipe = Preprocessing(64, 16, False, (3, 3), "crop")
    with pytest.raises((UsageError, DataError)) as caught:
        take(
            make(
                split, recipe, tier="stream", workers=1, albumentations=albumentations_recipe.load_recipe(path)
            ).batches(0),
            40,
        )
    assert "\n" not in str(caught.value)


def test_a_pair_is_decoded_as_its_halves_are(roots):
    split = layouts.find_split(roots / "halves", "paired")
    recipe = Preprocessing(22, 18, True, (3, 3))
    for a, b in zip(split.a, split.b, strict=True):
        alone = load_image(a, recipe, 0), load_image(b, recipe, 1)
        assert all(torch.equal(x, y) for x, y in zip(load_pair(a, b, recipe), alone, strict=True))

"""Load sizes, decoders and resizers, against the reference and against each other."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.data import layouts
from translate.data.preprocessing import DECODERS, PREPROCESS, RESIZERS, Preprocessing, load_image, load_pair
from translate.data.split import ImageRef
from translate.images import Reading

from ..helpers import write_smooth_image
from .helpers import load_square

PHOTOS = sorted((Path(__file__).parents[2] / "datasets" / "earth_season").rglob("*.jpg"))


@pytest.mark.parametrize("size", [(10, 40), (40, 10), (17, 18), (5, 5)])
def test_crop_enlarges_what_is_smaller_than_the_crop(size, tmp_path):
    write_smooth_image(tmp_path / "x.png", *size, 0)
    image = load_image(ImageRef(tmp_path / "x.png"), Preprocessing(99, 18, False, (3, 3), "crop"), 0)
    height, width = image.shape[1:]
    assert min(height, width) == 18
    assert abs(height / width - size[0] / size[1]) <= 0.5 / 18 * max(1, size[0] / size[1])


def test_none_rounds_to_what_the_network_takes(tmp_path):
    write_smooth_image(tmp_path / "x.png", 47, 130, 0)
    ref = ImageRef(tmp_path / "x.png")
    shapes = {}
    for multiple in (1, 4, 32, 64, 256):
        preprocessing = Preprocessing(9, 9, False, (3, 3), "none", multiple_of=multiple)
        shapes[multiple] = load_image(ref, preprocessing, 0).shape[1:]
    assert shapes == {1: (47, 130), 4: (48, 128), 32: (32, 128), 64: (64, 128), 256: (256, 256)}


def test_none_only_rounds_where_that_is_enough():
    """As it did before images were enlarged: a side of a U-Net's multiple is large enough, whatever it was."""
    assert PREPROCESS["none"](20, 130, Preprocessing(9, 9, False, (3, 3), "none", multiple_of=64, minimum=64)) == (
        64,
        128,
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((24, 24), (24, 24)),
        ((22, 100), (24, 100)),
        ((12, 200), (24, 400)),  # twice as large, of the same shape
        ((200, 12), (400, 24)),
        ((1, 1), (24, 24)),
        ((25, 31), (24, 32)),
        ((47, 130), (48, 128)),  # large enough: only rounded
    ],
)
def test_none_enlarges_what_is_smaller_than_the_networks_take(size, expected):
    preprocessing = Preprocessing(9, 9, False, (3, 3), "none", multiple_of=4, minimum=22)
    assert PREPROCESS["none"](*size, preprocessing) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 2048), (512, 1024)),  # Cityscapes at the authors' 512p
        ((300, 200), (1536, 1024)),
        ((200, 300), (688, 1024)),  # 1024 · 2/3 = 682.67 pixels, 42.67 times 16
        ((81, 2048), (48, 1024)),  # 40.5 pixels, 2.53 times 16
        ((100, 4096), (32, 1024)),  # 25 pixels, 1.56 times 16
        (
            (20, 1024),
            (32, 1632),
        ),  # 16 are too few: enlarged to 32 without a change of the shape, 1638 pixels, 102.4 times 16
    ],
)
def test_scale_width_keeps_the_shape_and_rounds_to_what_the_network_takes(size, expected):
    preprocessing = Preprocessing(1024, 9, False, (3, 3), "scale_width", multiple_of=16, minimum=32)
    assert PREPROCESS["scale_width"](*size, preprocessing) == expected


def test_scale_width_rounds_the_load_size_too_and_crops_nothing(tmp_path):
    write_smooth_image(tmp_path / "x.png", 47, 130, 0)
    preprocessing = Preprocessing(100, 9, True, (3, 3), "scale_width", multiple_of=16)
    assert load_image(ImageRef(tmp_path / "x.png"), preprocessing, 0).shape[1:] == (32, 96)
    assert preprocessing.random_crop_size is None


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
    write_smooth_image(tmp_path / "x.png", 61, 47, 0)
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
    rdf, tiff = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://ns.adobe.com/tiff/1.0/"
    described = f'<rdf:Description rdf:about="" xmlns:tiff="{tiff}" tiff:Orientation="{orientation}"/>'
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">{described}</rdf:RDF></x:xmpmeta>'
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
    """Of a file that lacks only its last lines, both show the rest."""
    write_smooth_image(tmp_path / "x.jpg", 200, 200, 0, quality=95)
    data = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[: int(share * len(data))])
    results = [
        load_image(ImageRef(tmp_path / "x.jpg"), Preprocessing(32, 32, False, (3, 3), decoder=name), 0)
        for name in ("pillow", "torchcodec")
    ]
    if share == 0.99:
        assert close(*results)
        return
    assert all(isinstance(x, images.ImageError) for x in results)
    assert str(results[0]) == str(results[1])


# JPEG finished on a device; here the device is the CPU and nvJPEG is Pillow.


def test_a_pair_is_decoded_as_its_halves_are(roots):
    split = layouts.find_split(roots / "halves", "paired")
    preprocessing = Preprocessing(22, 18, True, (3, 3))
    for a, b in zip(split.a, split.b, strict=True):
        alone = load_image(a, preprocessing, 0), load_image(b, preprocessing, 1)
        assert all(torch.equal(x, y) for x, y in zip(load_pair(a, b, preprocessing), alone, strict=True))


# One file.


@pytest.mark.parametrize(("width", "size"), [(8, 4), (9, 4), (10, 5), (2, 3), (3, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_halves_meet_at_half_the_width(channels, width, size, tmp_path):
    """Rounded down, so the right one takes the column that is left over, as in the reference."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, width), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    for half, columns in (("left", slice(0, width // 2)), ("right", slice(width // 2, width))):
        expected = Image.fromarray(pixels[:, columns]).resize((size, size), Image.Resampling.BICUBIC)
        decoded = load_square(ImageRef(tmp_path / "x.png", half), channels, size)
        assert torch.equal(decoded, torch.from_numpy(np.array(expected)).expand(channels, -1, -1))


@pytest.mark.parametrize("half", ["left", "right"])
def test_one_pixel_has_no_halves(half, tmp_path):
    Image.new("RGB", (1, 5)).save(tmp_path / "x.png")
    reason = load_square(ImageRef(tmp_path / "x.png", half), 3, 4)
    assert isinstance(reason, images.ImageError)
    assert "too narrow" in str(reason)


def test_images_of_any_shape_become_squares(tmp_path):
    Image.new("RGB", (3, 50), (9, 8, 7)).save(tmp_path / "x.png")
    square = load_square(ImageRef(tmp_path / "x.png"), 3, 6)
    assert torch.equal(square, torch.tensor([9, 8, 7], dtype=torch.uint8)[:, None, None].expand(3, 6, 6))

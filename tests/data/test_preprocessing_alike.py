"""Training, evaluation, conversion and Python read a file alike: colour profile, orientation, damage; each decoder too."""

import io
import struct
import sys
import types
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from translate import images
from translate.data.preprocessing import DECODERS, Preprocessing, load_image, read_plain_jpeg
from translate.data.split import ImageRef
from translate.dataset_check.probe import probe_image, read_header
from translate.evaluation.image_sets import ReadOptions, read_image_set
from translate.images import Reading

HEIGHT, WIDTH = 24, 32
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_profile():
    """sRGB's profile with red and green of a wider space, so that it changes colours."""
    count = struct.unpack_from(">I", SRGB, 128)[0]
    out = bytearray(SRGB)
    for i in range(count):
        name, at, _ = struct.unpack_from(">4sII", SRGB, 132 + 12 * i)
        if name in (b"rXYZ", b"gXYZ"):
            values = (0.60974, 0.31111, 0.01947) if name == b"rXYZ" else (0.20528, 0.62567, 0.06087)
            out[at + 8 : at + 20] = struct.pack(">3i", *(round(value * 65536) for value in values))
    return bytes(out)


def picture(mode="RGB"):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([x * 8, y * 10, (x + y) * 4], axis=2).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def saved(format, mode="RGB", **options):
    buffer = io.BytesIO()
    picture(mode).save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation):
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def insert_jpeg(data, segment):
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def insert_png(data, kind, chunk):
    return (
        data[:33]
        + struct.pack(">I", len(chunk))
        + kind
        + chunk
        + struct.pack(">I", zlib.crc32(kind + chunk))
        + data[33:]
    )


CUT_EXIF = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
"""EXIF whose directory says that it has 65,535 entries and holds one: orientation 6."""
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description \
xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/></rdf:RDF></x:xmpmeta>'
)
FILES = {  # content, and whether any decoder shows it as it is seen
    "plain.jpg": (saved("JPEG"), True),
    "progressive.jpg": (saved("JPEG", progressive=True), True),
    "srgb.jpg": (saved("JPEG", icc_profile=SRGB), True),
    "upright.jpg": (saved("JPEG", exif=exif(1)), True),
    "junk_profile.jpg": (saved("JPEG", icc_profile=b"no profile at all"), True),
    "wide.jpg": (saved("JPEG", icc_profile=wide_profile()), False),
    "turned.jpg": (saved("JPEG", exif=exif(6)), False),
    "turned_by_xmp.jpg": (saved("JPEG", xmp=XMP), False),
    "turned_and_wide.jpg": (saved("JPEG", exif=exif(3), icc_profile=wide_profile()), False),
    "cut_exif.jpg": (insert_jpeg(saved("JPEG"), CUT_EXIF), False),
    "cmyk.jpg": (saved("JPEG", "CMYK"), False),
    "rgb.jpg": (saved("JPEG", keep_rgb=True), False),
    "no_end.jpg": (saved("JPEG")[:-2], False),
    "junk_exif.png": (insert_png(saved("PNG"), b"eXIf", b"garbage!"), False),
    "junk_text.png": (insert_png(saved("PNG"), b"tEXt", b"Raw profile type exif\0\nexif\n  14\nzzzz\n"), False),
    "wide.png": (saved("PNG", icc_profile=wide_profile()), False),
    "wide_palette.png": (saved("PNG", "P", icc_profile=wide_profile()), False),
    "wide_alpha.png": (saved("PNG", "RGBA", icc_profile=wide_profile()), False),
    "junk.webp": (saved("WEBP", exif=b"Exif\0\0junkjunk", lossless=True), False),
    "wide.tif": (saved("TIFF", icc_profile=wide_profile()), False),
}


def path_of(name, folder):
    path = folder / name
    path.write_bytes(FILES[name][0])
    return path


def decode_without_looking(data, mode="RGB"):
    """A decoder that knows neither EXIF nor profiles, and fills in what is missing."""
    with Image.open(io.BytesIO(data + b"\xff\xd9")) as image:
        return torch.from_numpy(np.array(image.convert("RGB" if mode == "RGB" else "L"))).permute(2, 0, 1)


@pytest.fixture
def torchcodec(monkeypatch):
    """A stand-in for torchcodec."""
    decoders = types.ModuleType("torchcodec.decoders")
    decoders.decode_jpeg = decode_without_looking
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_same_pixels_everywhere(name, tmp_path, torchcodec):
    path = path_of(name, tmp_path)
    expected = images.read(path, how=Reading(3, deep=True, metadata=True)).pixels  # as in conversion
    as_tensor = torch.from_numpy(expected.copy()).permute(2, 0, 1)
    assert np.array_equal(images.read(path).pixels, expected)
    for decoder in DECODERS:
        assert torch.equal(DECODERS[decoder](path, Reading(3, deep=True)), as_tensor), decoder
    preprocessing = Preprocessing(1, 1, False, (3, 3), "none", multiple_of=1)
    assert torch.equal(load_image(ImageRef(path), preprocessing, 0), as_tensor)
    (evaluated,) = read_image_set([ImageRef(path)], tmp_path, ReadOptions()).stored
    assert torch.equal(evaluated, as_tensor)
    probed = probe_image(path, None)
    assert (probed.error, probed.height, probed.width) == ("", *expected.shape[:2])
    header = read_header(path)
    assert (header.height, header.width) == expected.shape[:2]
    if name != "no_end.jpg":  # Pillow itself cannot load it
        for load in (False, True):
            with warnings.catch_warnings(), Image.open(path) as image:
                if load:
                    image.load()
                assert np.array_equal(images.from_opened(image, Reading(3)).pixels, expected)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".jpg")])
def test_only_what_every_decoder_shows_alike_is_given_to_others(name, tmp_path):
    path = path_of(name, tmp_path)
    plain = read_plain_jpeg(path, Reading(3, deep=True))
    assert plain == (FILES[name][0] if FILES[name][1] else None)


def test_a_profile_changes_colours_and_srgb_does_not(tmp_path):
    plain = images.read(path_of("plain.jpg", tmp_path)).pixels.astype(int)
    assert np.array_equal(images.read(path_of("srgb.jpg", tmp_path)).pixels, plain)
    assert np.abs(images.read(path_of("wide.jpg", tmp_path)).pixels - plain).max() > 20


def test_stored_values_stay_where_their_range_is_declared(tmp_path):
    path = path_of("wide.jpg", tmp_path)
    plain = images.read(path_of("plain.jpg", tmp_path)).pixels
    how = Reading(3, deep=True, value_range=(0, 255))
    assert np.array_equal(images.read(path, how=how).pixels, plain)
    assert read_plain_jpeg(path, how) is not None


def test_data_check_names_damaged_files_that_are_read(tmp_path):
    assert probe_image(path_of("no_end.jpg", tmp_path), None).damage == (
        "damaged: its last bytes are missing, but no pixel",
    )
    assert probe_image(path_of("plain.jpg", tmp_path), None).damage == ()

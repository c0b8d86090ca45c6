"""Colour profiles: what ImageCms makes of them against the formulas of their definitions."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from translate.images import Metadata, from_pil_image, supported_by, to_srgb
from translate.images.metadata.icc import srgb_profile

from .. import photos

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
PRIMARIES = {  # x, y of red, green and blue, and the exponent of the curves
    "adobe": ([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], 563 / 256),
    "p3": ([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], 461 / 256),
}
SRGB = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_d50(primaries):
    """Linear RGB → XYZ as seen under D50, by Bradford's adaptation (ICC.1, annex E)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, D65)
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ D65)) @ BRADFORD
    return adapt @ matrix


def fixed(values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc(space, tags):
    """Return a profile of version 2 with these tags."""
    names = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"x\0",
    }
    names |= {b"wtpt": b"XYZ " + bytes(4) + fixed(D50)} | tags
    table, body = b"", b""
    for name, data in names.items():
        table += name + struct.pack(">II", 132 + 12 * len(names) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(names)) + table + body


def gamma(exponent):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


def rgb_profile(name):
    primaries, exponent = PRIMARIES[name]
    matrix = to_d50(primaries)
    tags = {b"rgb"[i : i + 1] + b"XYZ": b"XYZ " + bytes(4) + fixed(matrix[:, i]) for i in range(3)}
    return icc(b"RGB ", tags | {b"rgb"[i : i + 1] + b"TRC": gamma(exponent) for i in range(3)})


def grey_profile(exponent):
    return icc(b"GRAY", {b"kTRC": gamma(exponent)})


def srgb_of(linear):
    """0 to 255, by IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected(pixels, name):
    primaries, exponent = PRIMARIES[name]
    linear = (pixels / 255) ** exponent
    return srgb_of(linear @ (np.linalg.inv(to_d50(SRGB)) @ to_d50(primaries)).T)


def cube():
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(18, -1, 3)


@pytest.mark.parametrize("name", PRIMARIES)
def test_colours_become_those_of_the_formula(name):
    pixels = cube()
    seen, metadata = to_srgb(Image.fromarray(pixels), Metadata(icc=rgb_profile(name)))
    formula = expected(pixels, name)
    assert np.abs(np.asarray(seen) - formula).max() <= 2
    assert np.abs(formula - pixels).max() > 20  # so that there is something to convert
    assert metadata.icc == srgb_profile()
    assert metadata.notices == ()


def test_srgb_stays_bit_for_bit_with_its_own_profile():
    dated = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    primaries = to_d50(SRGB)
    curve = b"curv" + bytes(4) + struct.pack(">I", 1024)
    steps = np.linspace(0, 1, 1024)
    linear = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    curve += np.round(linear * 65535).astype(">u2").tobytes()  # a table, as in the common file of 1998
    tags = {b"rgb"[i : i + 1] + b"XYZ": b"XYZ " + bytes(4) + fixed(primaries[:, i]) for i in range(3)}
    tabled = icc(b"RGB ", tags | {b"rgb"[i : i + 1] + b"TRC": curve for i in range(3)})
    for profile in (dated, tabled, srgb_profile()):
        seen, metadata = to_srgb(Image.fromarray(cube()), Metadata(icc=profile))
        assert np.array_equal(np.asarray(seen), cube())
        assert metadata.icc == profile


def test_greys_of_a_grey_profile_become_those_of_srgb_and_stay_grey():
    ramp = np.arange(256, dtype=np.uint8)[None]
    seen, metadata = to_srgb(Image.fromarray(ramp), Metadata(icc=grey_profile(1.0)))
    assert seen.mode == "L"
    assert np.abs(np.asarray(seen) - srgb_of(ramp / 255)).max() <= 0.501
    assert supported_by(metadata, "png", 1) == (Metadata(), [])  # greys without a profile count as those of sRGB
    assert supported_by(metadata, "png", 3)[0].icc == srgb_profile()


def test_transparency_palettes_and_transparent_colours_survive():
    pixels = cube()[:, :16]
    alpha = np.arange(18 * 16, dtype=np.uint8).reshape(18, 16)
    carried = Metadata(icc=rgb_profile("adobe"))
    rgb, _ = to_srgb(Image.fromarray(pixels), carried)
    rgba, _ = to_srgb(Image.fromarray(np.dstack([pixels, alpha])), carried)
    assert np.array_equal(np.asarray(rgba), np.dstack([np.asarray(rgb), alpha]))
    palette = Image.fromarray(pixels).quantize(256)
    seen, _ = to_srgb(palette, carried)
    assert np.array_equal(np.asarray(seen), np.asarray(to_srgb(palette.convert("RGB"), carried)[0]))
    keyed = Image.fromarray(pixels)
    keyed.info["transparency"] = tuple(map(int, pixels[3, 4]))
    decoded = from_pil_image(to_srgb(keyed, carried)[0])
    assert np.array_equal(decoded.alpha == 0, (pixels == pixels[3, 4]).all(axis=2))
    grey_alpha = Image.fromarray(np.dstack([alpha, alpha[::-1]]), "LA")
    seen, _ = to_srgb(grey_alpha, Metadata(icc=grey_profile(1.0)))
    assert np.array_equal(np.asarray(seen)[:, :, 1], alpha[::-1])


def test_deeper_values_stay_in_their_own_profile():
    for array in (np.zeros((4, 4), np.uint16), np.zeros((4, 4), np.float32)):
        carried = Metadata(icc=grey_profile(1.8))
        image = Image.fromarray(array)
        seen, metadata = to_srgb(image, carried)
        assert seen is image
        assert metadata is carried
        assert supported_by(metadata, "tiff", 1)[1] == []
        assert supported_by(metadata, "tiff", 3)[1] == ["its colour profile does not fit the output"]


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        (b"noise" * 50, "is damaged"),
        (grey_profile(2.2), "is for GRAY and not for RGB"),
        (icc(b"RGB ", {}), "cannot be used"),
    ],
    ids=["damaged", "other", "empty"],
)
def test_a_profile_that_cannot_be_used_counts_as_none_with_a_notice(profile, reason):
    image = Image.fromarray(photos.smooth())
    seen, metadata = to_srgb(image, Metadata(icc=profile))
    assert np.array_equal(np.asarray(seen), photos.smooth())
    assert metadata.icc is None
    (notice,) = metadata.notices
    assert notice.startswith(f"its colour profile {reason}")


def test_exif_and_xmp_say_srgb_after_the_conversion():
    made = Image.Exif()
    made.get_ifd(0x8769).update({0xA001: 0xFFFF})
    packet = photos.xmp(b'exif:ColorSpace="65535"')
    carried = Metadata(exif=made.tobytes()[6:], xmp=packet, icc=rgb_profile("adobe"))
    _, metadata = to_srgb(Image.fromarray(photos.smooth()), carried)
    read = Image.Exif()
    read.load(metadata.exif)
    assert read.get_ifd(0x8769)[0xA001] == 1
    assert b'exif:ColorSpace="1"' in metadata.xmp
    _, untouched = to_srgb(Image.fromarray(photos.smooth()), Metadata(exif=carried.exif, icc=srgb_profile()))
    assert untouched.exif == carried.exif

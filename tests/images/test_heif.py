"""HEIC files, AVIF files of more than 8 bits, and files of several pictures."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from translate import images
from translate.images import ImageError, Mark, Metadata, Picture, Reading, heif, reading
from translate.images.metadata import icc

MARK = Mark("image-translate 9", "cyclegan", "0123")
DEEP = Reading(deep=True, metadata=True)


def gradient() -> np.ndarray:
    """(48, 64, 3): red grows to the right, green falls downwards, blue is even."""
    down, across = np.mgrid[0:48, 0:64]
    return np.stack([across * 4, 250 - down * 5, np.full_like(down, 90)], axis=2).astype(np.uint8)


def saved(path: Path, pixels: np.ndarray | None = None, metadata: Metadata | None = None) -> Path:
    pytest.importorskip("pillow_heif")
    path.write_bytes(images.encode(Picture(gradient() if pixels is None else pixels, metadata=metadata), "heic"))
    return path


@pytest.mark.parametrize("ext", ["heic", "heif", "hif"])
def test_a_written_file_is_read_back(ext: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a.{ext}", metadata=Metadata(dpi=(300, 300)).with_mark(MARK))
    picture = images.read(path, how=DEEP)
    assert np.abs(picture.pixels.astype(int) - gradient()).max() <= 12  # HEVC at 4:2:0
    assert picture.metadata is not None and picture.metadata.dpi == (300, 300)
    mark = picture.metadata.found_mark()
    assert mark is not None and (mark.system, mark.version) == ("cyclegan", "0123")
    assert images.read_size(path) == (48, 64)
    assert images.format_of_content(path.read_bytes()[:64]) == "heic"
    assert picture.notices == []


def test_transparency_and_grey_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    alpha = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    (tmp_path / "a.heic").write_bytes(images.encode(Picture(gradient(), alpha), "heic"))
    found = images.read(tmp_path / "a.heic").alpha
    assert found is not None and np.abs(found.astype(int) - alpha).max() <= 12
    path = saved(tmp_path / "b.heic", gradient()[:, :, :1])
    assert np.abs(images.read(path, channels=1).pixels.astype(int) - gradient()[:, :, :1]).max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_upright_and_the_metadata_say_so(orientation: int, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(gradient())
    pillow_heif.from_pillow(stored).save(tmp_path / "a.heic", exif=exif.tobytes())
    stored.save(tmp_path / "a.png", exif=exif.tobytes())
    turned, expected = (images.read(tmp_path / name, how=DEEP) for name in ("a.heic", "a.png"))
    assert turned.pixels.shape == expected.pixels.shape
    assert np.abs(turned.pixels.astype(int) - expected.pixels).max() <= 12
    assert turned.metadata is not None and turned.metadata.orientation == 1


def test_a_colour_profile_is_used_and_replaced(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")
    heif_file = pillow_heif.from_pillow(Image.fromarray(gradient()))
    heif_file.save(tmp_path / "a.heic", icc_profile=swapped)
    picture = images.read(tmp_path / "a.heic", how=DEEP)
    assert picture.metadata is not None and picture.metadata.icc == icc.srgb_profile()
    assert np.abs(picture.pixels[:, :, 1].astype(int) - gradient()[:, :, 0]).max() <= 20  # red and green are swapped


def test_ten_bits_of_heic_are_read_in_full(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    values = np.tile((np.arange(64) * 16).astype(np.uint16)[None, :, None], (48, 1, 3))
    deep = pillow_heif.from_bytes(mode="RGB;16", size=(64, 48), data=(values << 6).tobytes())
    deep.save(tmp_path / "a.heic", quality=-1, chroma=444)
    picture = images.read(tmp_path / "a.heic", how=DEEP)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels / 65535 - values / 1023).max() <= 2 / 1023  # rounding of its YCbCr
    shallow = images.read(tmp_path / "a.heic").pixels
    assert shallow.dtype == np.uint8 and np.abs(shallow / 255 - values / 1023).max() <= 1 / 200


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_of_all_depths_is_read_in_full(bits: int, tmp_path: Path) -> None:
    top = 2**bits - 1
    values = np.tile((np.arange(64) * top // 63)[None, :, None], (48, 1, 3)).astype(
        np.uint8 if bits == 8 else np.uint16
    )
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(values, level=100, bitspersample=bits))
    pixels = images.read(tmp_path / "a.avif", how=DEEP).pixels
    assert pixels.dtype == values.dtype
    assert np.abs(pixels / np.iinfo(pixels.dtype).max - values / top).max() <= 1 / top


# Several pictures in one file.


def test_the_other_pictures_of_an_mpo_are_said(tmp_path: Path) -> None:
    first = Image.fromarray(gradient())
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[first.rotate(180)], quality=95)
    picture = images.read(tmp_path / "a.jpg", how=DEEP)
    assert np.abs(picture.pixels.astype(int) - gradient()).max() <= 20
    assert picture.notices == ["the main one of its 2 pictures; the others are not kept"]


@pytest.mark.parametrize("namespace", ["http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/"])
def test_a_gain_map_is_said_and_its_description_dropped(namespace: str, tmp_path: Path) -> None:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:m="{namespace}" m:Version="1.0"/></rdf:RDF></x:xmpmeta>'
    )
    Image.fromarray(gradient()).save(tmp_path / "a.jpg", xmp=packet.encode())
    picture = images.read(tmp_path / "a.jpg", how=DEEP)
    assert picture.notices == [heif.GAIN_MAP_NOTICE]
    assert picture.metadata is not None and picture.metadata.xmp is not None
    assert namespace.encode() not in picture.metadata.xmp.replace(b"xmlns:m=", b"").replace(namespace.encode(), b"", 1)


def test_the_main_picture_of_several_is_read(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    several = pillow_heif.from_pillow(Image.fromarray(gradient()[::-1].copy()))
    several.add_from_pillow(Image.fromarray(gradient()))
    several.save(tmp_path / "a.heic", primary_index=1)
    picture = images.read(tmp_path / "a.heic", how=DEEP)
    assert np.abs(picture.pixels.astype(int) - gradient()).max() <= 12
    assert picture.notices == ["the main one of its 2 pictures; the others are not kept"]


def test_gain_maps_depth_maps_and_wide_colours_of_heic_are_said() -> None:
    image = Image.new("RGB", (4, 4))
    image.info = {
        "aux": {"urn:com:apple:photo:2020:aux:hdrgainmap": [2]}, "depth_images": [object()],
        "nclx_profile": {"color_primaries": 12, "transfer_characteristics": 13},
    }  # fmt: skip
    assert heif.notices(image) == [
        heif.GAIN_MAP_NOTICE,
        "its depth map is not kept: it is of its old pixels",
        "its colours are of other primaries than those of sRGB, and are taken for sRGB",
    ]
    image.info = {"nclx_profile": {"color_primaries": 9, "transfer_characteristics": 16}}
    assert heif.notices(image) == ["its values are of high dynamic range (PQ), and are taken for sRGB"]
    image.info = {"nclx_profile": {"color_primaries": 1, "transfer_characteristics": 13}}
    assert heif.notices(image) == []


# Hostile and missing.

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_without_the_extra_a_line_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CAN_READ_HEIF", False)
    monkeypatch.setattr(reading, "PILLOW_FORMATS", ("JPEG", "PNG"))
    (tmp_path / "a.jpg").write_bytes(HEAD)
    with pytest.raises(ImageError, match="pillow-heif opens; run: uv sync --extra heic"):
        images.read(tmp_path / "a.jpg")
    assert "uv sync --extra heic" in images.refusal("a.HEIC")
    assert images.refusal("a.psd") == "format not allowed"


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_ends_early_is_an_image_error(keep: float, tmp_path: Path) -> None:
    data = saved(tmp_path / "a.heic").read_bytes()
    (tmp_path / "b.heic").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ImageError):
        images.read(tmp_path / "b.heic")


@pytest.mark.parametrize("side", [20_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    data = saved(tmp_path / "a.heic").read_bytes()
    at = data.index(b"ispe") + 8
    (tmp_path / "b.heic").write_bytes(data[:at] + 2 * side.to_bytes(4, "big") + data[at + 8 :])
    with pytest.raises(ImageError):
        images.read(tmp_path / "b.heic")
    with pytest.raises(ImageError, match="--max-pixels"):
        images.read(tmp_path / "a.heic", max_pixels=100)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_are_an_image_or_an_image_error(seed: int, tmp_path: Path) -> None:
    data = bytearray(saved(tmp_path / "a.heic").read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(data), 8):
        data[at] = rng.integers(256)
    (tmp_path / "b.heic").write_bytes(data)
    try:
        assert images.read(tmp_path / "b.heic", how=DEEP).pixels.ndim == 3
    except ImageError as e:
        assert "\n" not in str(e)


def test_a_length_that_lies_is_not_believed() -> None:
    assert images.format_of_content(b"\xff\xff\xff\xff" + HEAD[4:]) == "heic"
    assert images.format_of_content(b"\xff\xff\xff\xffftypmif1\0\0\0\0avif") == "avif"
    assert images.format_of_content(b"\0\0\0\x10ftypmp42\0\0\0\0") == ""

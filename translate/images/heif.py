"""HEIC files (HEIF with HEVC), by pillow-heif of the extra `heic`, which is imported where a file needs it.

Also the values of more than 8 bits of HEIC and AVIF files. Pixels come upright: libheif turns them by the file's own properties
(ISO/IEC 23008-12, section 6.5), which take precedence over EXIF.
"""

from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from translate.images.formats import CAN_READ_HEIF, HEIF_BRANDS, ImageError

PILLOW_NAME = "HEIF"

_GAIN_MAPS = ("urn:com:apple:photo:2020:aux:hdrgainmap", "tmap")
_SRGB_PRIMARIES, _HDR_TRANSFERS = 1, {16: "PQ", 18: "HLG"}
"""Codes of ITU-T H.273: primaries of sRGB; transfer functions of high dynamic range."""
_UNSPECIFIED = 2


def register() -> None:
    """Let Pillow open and save HEIC files, if the package is installed; it is imported with the first file."""
    if CAN_READ_HEIF:
        Image.register_open(PILLOW_NAME, _open, _accept)  # type: ignore[arg-type]
        Image.register_save(PILLOW_NAME, _save)


def _accept(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def _open(file: IO[bytes], name: str | bytes) -> Image.Image:
    from pillow_heif import HeifImageFile

    return HeifImageFile(file, name)


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    import pillow_heif

    options: dict[str, Any] = image.encoderinfo
    pixels = image.convert("RGBA" if image.mode in ("LA", "RGBA") else image.mode)
    kept = {key: value for key, value in options.items() if key in ("quality", "exif", "xmp", "icc_profile")}
    # without libheif's own orientation: that of EXIF is upright
    pillow_heif.from_pillow(pixels).save(file, **kept)


def bit_depth(path: Path, image: Image.Image) -> int:
    """Return the bits of the values of an opened HEIC or AVIF file."""
    if image.format == PILLOW_NAME:
        return int(image.info.get("bit_depth", 8))
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    at = head.find(b"av1C")
    if at < 0 or at + 6 >= len(head):
        return 8
    flags = head[at + 6]  # AV1-ISOBMFF, section 2.3.3: tier, high bit depth, 12 bits, …
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def read_deep(path: Path, image: Image.Image) -> tuple[np.ndarray, int]:
    """Return the values of an opened HEIC or AVIF file of more than 8 bits, and the largest possible one.

    (H, W) or (H, W, C) uint16; those of HEIC are upright, those of AVIF as stored. ImageError if they cannot be decoded.
    """
    top = 2 ** bit_depth(path, image) - 1
    try:
        if image.format == PILLOW_NAME:
            import pillow_heif

            opened = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
            return np.asarray(opened), top
        import imagecodecs

        return imagecodecs.avif_decode(path.read_bytes(), index=0), top
    except Exception as e:  # decoders raise several kinds
        raise ImageError(f"damaged image: {e}") from None


def notices(image: Image.Image) -> list[str]:
    """Return a notice for each part of an opened HEIC file that is not kept, or is taken for something else."""
    info, found = image.info, []
    parts = {str(name) for name in info.get("aux", ())} | {
        str(group.get("type")) for group in info.get("entity_groups", ())
    }
    if any(part in _GAIN_MAPS for part in parts):
        found.append(GAIN_MAP_NOTICE)
    if any(info.get("depth_images", ())):
        found.append("its depth map is not kept: it is of its old pixels")
    colours = info.get("nclx_profile") or {}
    if info.get("icc_profile"):
        return found
    transfer = _HDR_TRANSFERS.get(int(colours.get("transfer_characteristics", 0)))
    if transfer is not None:
        found.append(f"its values are of high dynamic range ({transfer}), and are taken for sRGB")
    elif int(colours.get("color_primaries", _SRGB_PRIMARIES)) not in (_SRGB_PRIMARIES, _UNSPECIFIED):
        found.append("its colours are of other primaries than those of sRGB, and are taken for sRGB")
    return found


GAIN_MAP_NOTICE = "its gain map (HDR) is not kept: it is of its old pixels"
"""Notice of a file with a second image that turns it into one of high dynamic range."""

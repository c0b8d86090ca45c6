"""Image files by extension: the formats that are read and those that are refused; what a file's first bytes say."""

import os
from importlib.util import find_spec
from pathlib import Path

FORMATS = {
    "jpg": "jpg", "jpeg": "jpg", "jpe": "jpg", "jif": "jpg", "jfi": "jpg", "jfif": "jpg",
    "png": "png", "apng": "png",
    "webp": "webp",
    "bmp": "bmp", "dib": "bmp",
    "tif": "tiff", "tiff": "tiff", "btf": "tiff", "tf8": "tiff",
    "ppm": "ppm", "pgm": "pgm", "pbm": "pbm", "pnm": "pnm",
    "avif": "avif", "avifs": "avif",
    "gif": "gif",
    "npy": "npy",
}  # fmt: skip
"""Extension, in lower case, of files that are opened → the usual extension of its format."""

READABLE_FORMATS = ", ".join(dict.fromkeys(FORMATS.values()))
"""Formats of these files by their usual extensions, for messages; without that of the extra `heic`."""

HEIF_EXTENSIONS = ("heic", "heif", "hif")
"""Extensions of files that pillow-heif opens."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands, in bytes 8 to 12, of such files."""
HEIF_MISSING = "HEIC, which pillow-heif opens; run: uv sync --extra heic"
"""Reason why a HEIC file is not opened where the package is missing."""
CAN_READ_HEIF = find_spec("pillow_heif") is not None
"""True if HEIC files are opened: the extra `heic` is installed."""
if CAN_READ_HEIF:
    FORMATS |= dict.fromkeys(HEIF_EXTENSIONS, "heic")

READABLE_EXTENSIONS = frozenset(FORMATS)
"""Extensions, in lower case, of files that are opened."""

REFUSED_EXTENSIONS = (
    frozenset({
        "eps", "ps", "pdf", "ai", "fits", "fit", "psd", "psb", "xcf", "blp", "wmf", "emf", "hdf", "h5", "grib",
        "jp2", "j2k", "j2c", "jpc", "jpf", "jpm", "jpx", "jxr", "hdp", "wdp", "pcx", "tga", "icns", "ico", "cur", "dds",
        "dcx", "fli", "flc", "fpx", "gbr", "im", "iptc", "mic", "mpo", "jps", "pns", "mpeg", "msp", "pcd", "pict",
        "pixar", "qoi", "sgi", "spi", "sun", "ras", "xbm", "xpm", "xv", "svg", "svgz", "heic", "heif", "hif", "jxl",
        "dcm", "exr", "hdr", "pfm", "pam", "wbmp",
        # camera raws
        "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "iiq", "kdc", "mef", "mos", "mrw", "nef", "nrw", "orf",
        "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
    }) - READABLE_EXTENSIONS
)  # fmt: skip
"""Extensions of image formats that are not opened: some can run programs, others are rarely images."""

IMAGE_EXTENSIONS = READABLE_EXTENSIONS | REFUSED_EXTENSIONS
"""Extensions of all known image formats."""

ALIASES = {"jpeg": "jpg", "tif": "tiff"}
"""Other names of formats that are written, for `--format`."""

WRITER_NAMES = ("png", "jpg", "webp", "avif", "tiff", "gif", "npy", "heic", *ALIASES)
"""Names for `--format`: rows of `writing.WRITERS`, heic whether its extra is installed or not, and aliases."""

MAX_PIXELS = 178_956_970
"""Largest number of pixels of an image by default: Pillow's own limit against decompression bombs."""


class ImageError(Exception):
    """Error of a file that cannot be read or written as an image; its text is one line without the file's name."""


class ChannelCountError(ImageError):
    """Error of an image that has another number of channels than is wanted."""


def refusal(path: str | os.PathLike[str]) -> str:
    """Return the reason why a file of a refused extension is not opened."""
    missing = f": {HEIF_MISSING}" if extension(path) in HEIF_EXTENSIONS else ""
    return f"format not allowed{missing}"


def extension(path: str | os.PathLike[str]) -> str:
    """Return the extension in lower case, without the dot."""
    return os.path.splitext(path)[1][1:].lower()  # noqa: PTH122 (faster than a Path)


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Raise ImageError for an image of more than `max_pixels`."""
    if height * width > max_pixels:
        raise ImageError(f"{width}×{height} is more than {max_pixels} pixels; raise --max-pixels to allow it")


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the usual extension of a file's format, by its own: jpg for jfif; empty for extensions that are not readable."""
    return FORMATS.get(extension(path), "")


_FIRST_BYTES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x93NUMPY",
)  # fmt: skip
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF87a", "gif"), (b"GIF89a", "gif"), (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"), (b"II+\0", "tiff"), (b"MM\0+", "tiff"), (b"\x93NUMPY", "npy"), (b"BM", "bmp"), (b"P4", "pbm"),
    (b"P1", "pbm"), (b"P5", "pgm"), (b"P2", "pgm"), (b"P6", "ppm"), (b"P3", "ppm"),
)  # fmt: skip
"""First bytes → usual extension of the formats that are opened, but for those whose bytes 4 to 12 name them."""


def format_of_content(content: bytes) -> str:
    """Return the usual extension of the format that the first bytes of a file are of; empty for others."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[4:8] == b"ftyp":
        end = min(int.from_bytes(content[:4], "big"), len(content))
        brands = [content[8:12], *(content[at : at + 4] for at in range(16, end, 4))]
        if any(brand in (b"avif", b"avis") for brand in brands):
            return "avif"
        if brands[0] in HEIF_BRANDS:
            return "heic"
    return next((name for start, name in _SIGNATURES if content.startswith(start)), "")


def looks_like_image(path: Path) -> bool:
    """Return whether a regular file begins as images do, whatever its name; the shortest signatures are not looked for."""
    try:
        if not path.is_file():  # opening a pipe would block for ever
            return False
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    is_webp = head[:4] == b"RIFF" and head[8:] == b"WEBP"
    return head.startswith(_FIRST_BYTES) or is_webp or (head[4:8] == b"ftyp" and head[8:] in _BRANDS)

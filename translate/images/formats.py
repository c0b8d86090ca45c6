"""Which files are images, by their extension, and where they lie."""

import os
from pathlib import Path

READABLE_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "avif", "gif", "npy"}
)
"""Extensions, in lower case, of the files that are opened."""

REFUSED_EXTENSIONS = frozenset(
    {
        "eps", "ps", "pdf", "fits", "fit", "psd", "blp", "wmf", "emf", "hdf", "h5", "grib", "jp2", "j2k",
        "jpx", "pcx", "tga", "icns", "ico", "cur", "dds", "dcx", "fli", "flc", "fpx", "gbr", "im", "iptc",
        "mic", "mpo", "mpeg", "msp", "pcd", "pict", "pixar", "qoi", "sgi", "spi", "sun", "ras", "xbm", "xpm",
        "xv", "svg", "svgz", "heic", "heif", "jxl", "dcm"
    }
)  # fmt: skip
"""Extensions of known image formats that are not opened: some run programs, others are rarely what they seem."""

IMAGE_EXTENSIONS = READABLE_EXTENSIONS | REFUSED_EXTENSIONS
"""Extensions that say that a file is an image."""

MAX_PIXELS = 178_956_970
"""Images of more pixels are refused unless asked for: Pillow's own limit against decompression bombs."""


class ImageError(Exception):
    """Why a file cannot be read or written as an image, in one line without its name."""


def extension(path: str | os.PathLike[str]) -> str:
    """The extension in lower case, without the dot."""
    return Path(path).suffix[1:].lower()


def check_size(height: int, width: int, max_pixels: int) -> None:
    """ImageError where an image is larger than allowed."""
    if height * width > max_pixels:
        raise ImageError(f"{width}×{height} is more than {max_pixels} pixels; raise --max-pixels to allow it")


def list_images(root: Path) -> list[Path]:
    """Regular files below a folder whose extension is readable, sorted by relative path; linked folders are not entered."""
    return [path for path in list_files(root) if extension(path) in READABLE_EXTENSIONS]


def list_files(root: Path, *, irregular: bool = False, unreadable: dict[str, str] | None = None) -> list[Path]:
    """Regular files (or links to such) below a folder, sorted by relative path; hidden files are passed over.

    With `irregular` also what cannot be read: dangling links, pipes, devices. Folders that cannot be listed are put into
    `unreadable`, with the reason.
    """

    def note(error: OSError) -> None:
        if unreadable is not None:
            unreadable[Path(error.filename).relative_to(root).as_posix()] = error.strerror or str(error)

    found = []
    for folder, subfolders, names in os.walk(root, onerror=note):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and (irregular or path.is_file()):
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())

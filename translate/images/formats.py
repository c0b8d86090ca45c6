"""Image files by extension: the formats that are read and those that are refused, and lists of files in a folder."""

import os
from pathlib import Path

READABLE_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "avif", "gif", "npy"}
)
"""Extensions, in lower case, of files that are opened."""

REFUSED_EXTENSIONS = frozenset(
    {
        "eps", "ps", "pdf", "fits", "fit", "psd", "blp", "wmf", "emf", "hdf", "h5", "grib", "jp2", "j2k",
        "jpx", "pcx", "tga", "icns", "ico", "cur", "dds", "dcx", "fli", "flc", "fpx", "gbr", "im", "iptc",
        "mic", "mpo", "mpeg", "msp", "pcd", "pict", "pixar", "qoi", "sgi", "spi", "sun", "ras", "xbm", "xpm",
        "xv", "svg", "svgz", "heic", "heif", "jxl", "dcm"
    }
)  # fmt: skip
"""Extensions of image formats that are not opened: some can run programs, others are rarely images."""

IMAGE_EXTENSIONS = READABLE_EXTENSIONS | REFUSED_EXTENSIONS
"""Extensions of all known image formats."""

MAX_PIXELS = 178_956_970
"""Largest number of pixels of an image by default: Pillow's own limit against decompression bombs."""


class ImageError(Exception):
    """Error of a file that cannot be read or written as an image; its text is one line without the file's name."""


def extension(path: str | os.PathLike[str]) -> str:
    """Return the extension in lower case, without the dot."""
    return Path(path).suffix[1:].lower()


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Raise ImageError for an image of more than `max_pixels`."""
    if height * width > max_pixels:
        raise ImageError(f"{width}×{height} is more than {max_pixels} pixels; raise --max-pixels to allow it")


def list_images(root: Path) -> list[Path]:
    """Return the files below a folder whose extension is readable, sorted by relative path; linked folders are not entered."""
    return [path for path in list_files(root) if extension(path) in READABLE_EXTENSIONS]


def list_files(root: Path, *, irregular: bool = False, unreadable: dict[str, str] | None = None) -> list[Path]:
    """Return the regular files below a folder, and links to such, sorted by relative path, without hidden ones.

    With `irregular` also dangling links, pipes and devices. Folders that cannot be listed are put into `unreadable`:
    relative path → reason.
    """

    def note(error: OSError) -> None:
        if unreadable is not None:
            unreadable[Path(error.filename).relative_to(root).as_posix()] = error.strerror or str(error)

    paths = []
    for folder, subfolders, names in os.walk(root, onerror=note):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and (irregular or path.is_file()):
                paths.append(path)
    return sorted(paths, key=lambda path: path.relative_to(root).as_posix())

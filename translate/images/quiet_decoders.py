"""Silence of the libraries that decode images: what is wrong with a file is told by an ImageError or a notice, and once."""

import ctypes
import logging
import threading
import warnings
from contextlib import suppress

from PIL import _imaging

_noted = threading.local()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _note_error(module: bytes, text: bytes, values: int) -> None:
    """Note that libtiff has found an error, in place of its line on stderr."""
    _noted.error = True


def silence_decoders() -> None:
    """Switch off what decoders print by themselves: log lines, Python warnings, and libtiff's lines on stderr.

    libtiff is reached through Pillow's own library. Where the platform does not let its functions be found (Windows), its
    lines stay, and no error is noted.
    """
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")  # on odd metadata in files that are readable all the same
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(_note_error)
        library.TIFFSetWarningHandler(None)


def take_tiff_error() -> bool:
    """Return whether libtiff has found an error in this thread since the last call: some it decodes in spite of it."""
    found = getattr(_noted, "error", False)
    _noted.error = False
    return found

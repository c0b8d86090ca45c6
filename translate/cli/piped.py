"""Images on standard input and standard output: `translate convert MODEL - -`."""

import errno
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from translate import images
from translate.conversion.options import ConversionResult
from translate.errors import DataError, StorageError, UsageError

STREAM = "-"
"""Name of standard input as INPUT, and of standard output as OUTPUT."""
DEFAULT_FORMAT = "png"
"""Format on standard output, which has no name to tell one by."""


def convert_piped(
    convert: Callable[..., ConversionResult], source: str, target: Path, options: dict[str, Any]
) -> ConversionResult:
    """Convert one image from standard input, to standard output, or both, and return the result.

    convert: function of the input's path, the output's path and options. Nothing is written to standard output where the
    conversion fails. UsageError for a terminal in the place of a pipe and for options of folders, DataError for input that is
    no image.
    """
    _check_options(options)
    is_piped_out = str(target) == STREAM
    if is_piped_out and sys.stdout.isatty():
        raise UsageError(f"OUTPUT {STREAM}: standard output is a terminal; add > FILE, or give a file")
    with tempfile.TemporaryDirectory(prefix="translate-") as scratch:
        if source == STREAM:
            source = str(_read_input(Path(scratch)))
        elif not Path(source).is_file():
            raise DataError(f"{source}: no such file; OUTPUT {STREAM} takes one image")
        wanted = options.pop("format", None) if is_piped_out else None
        extension = images.format_of(source) if wanted == "keep" else wanted or DEFAULT_FORMAT
        written = Path(scratch, f"stdout.{images.writer_for(extension) or DEFAULT_FORMAT}") if is_piped_out else target
        if written.is_dir() or images.extension(written) not in images.IMAGE_EXTENSIONS:
            raise UsageError(
                f"{written}: is no name of an image file, and an image from standard input has none of its own"
            )
        result = convert(source, written, options)
        if is_piped_out and written.exists():
            _write_output(written.read_bytes())
            result.output = Path(STREAM)
    return result


def _check_options(options: dict[str, Any]) -> None:
    """Raise UsageError for options that are for folders."""
    for name in ("dry_run", "shard", "merge", "limit"):
        if options.get(name):
            raise UsageError(f"--{name.replace('_', '-')}: is for folders; leave it out with {STREAM}")


def _read_input(folder: Path) -> Path:
    """Write standard input to a file whose extension is that of its format, and return its path."""
    if sys.stdin.isatty():
        raise UsageError(f"INPUT {STREAM}: standard input is a terminal; pipe an image into it, or give a file")
    content = sys.stdin.buffer.read()
    name = images.format_of_content(content)
    if not name:
        found = "is empty" if not content else "holds no image of a known format"
        raise DataError(f"standard input {found}; readable: {images.READABLE_FORMATS}")
    path = folder / f"stdin.{name}"
    path.write_bytes(content)
    return path


def _write_output(content: bytes) -> None:
    """Write to standard output. BrokenPipeError where its reader has gone, StorageError where it cannot be written."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as e:
        if e.errno == errno.EPIPE:
            raise
        raise StorageError(f"standard output cannot be written: {e.strerror}") from None

"""Extraction of untrusted archives: every member is checked before the first is written; images and notes are kept."""

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from translate import atomic, images
from translate.catalog.download import CHUNK, TaskProgress, no_progress
from translate.errors import DataError, StorageError, TranslateError
from translate.text import one_line


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits that no archive of photos exceeds, but an archive bomb does."""

    entries: int = 500_000
    bytes: int = 1 << 38
    """Unpacked bytes."""
    ratio: int = 100
    """Ratio of unpacked to packed bytes: images hardly shrink."""
    small: int = 100 << 20
    """Unpacked bytes below which the ratio does not matter."""
    depth: int = 16
    """Levels of folders."""


@dataclass(frozen=True)
class ExtractionResult:
    """Number of files that were extracted, and of those passed over, which are neither images nor notes."""

    kept: int
    passed_over: int


@dataclass(frozen=True)
class _Member:
    """File in an archive."""

    parts: tuple[str, ...]
    size: int
    handle: Any


NOTE_NAMES = re.compile(r"(readme|licen[cs]e|copying|copyright|notice|citation|terms)[^/]*", re.IGNORECASE)
NOTE_EXTENSIONS = ("", "txt", "md", "rst")
SPLIT_NAMES = re.compile(r"(train|test|val)[AB]?")
BAD_CHARACTERS = re.compile(r"[\\:\x00-\x1f\x7f]")


def extract(
    archive: Path, folder: Path, limits: ArchiveLimits = ArchiveLimits(), progress: TaskProgress = no_progress
) -> ExtractionResult:
    """Extract the images and notes of a zip or tar into a folder, without folders that surround all images.

    Raise DataError before anything is written if any member is unsafe, and StorageError where there is no room.
    """
    try:
        with open(archive, "rb") as file:
            head = file.read(8)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with zipfile.ZipFile(archive) as opened:
                members = _zip_members(opened, archive, limits)
                return _write(members, opened.open, archive, folder, progress)
        with _uncompressed(archive, head) as stream:
            metered = _MeteredStream(stream)
            with tarfile.open(fileobj=metered, mode="r:") as opened_tar:  # type: ignore[call-overload]
                members = _tar_members(opened_tar, metered, archive, limits)
                return _write(members, opened_tar.extractfile, archive, folder, progress)
    except TranslateError:
        raise
    except Exception as e:  # a damaged archive makes the readers raise a dozen kinds
        raise DataError(f"{archive.name}: damaged, or not a zip or tar: {one_line(e)}") from None


def _refusal(archive: Path, name: str, reason: str) -> DataError:
    return DataError(f"{archive.name}: refused, nothing was unpacked: {name[:100]!r} {reason}")


# Checking.


def _zip_members(opened: zipfile.ZipFile, archive: Path, limits: ArchiveLimits) -> list[_Member]:
    checker = _MemberChecker(archive, limits)
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & 1:
            raise _refusal(archive, info.filename, "is encrypted")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(archive, info.filename, "is a link or device, not a file")
        checker.add(info.orig_filename, info.is_dir(), info.file_size, info)
    return checker.members


def _tar_members(
    opened: tarfile.TarFile, metered: "_MeteredStream", archive: Path, limits: ArchiveLimits
) -> list[_Member]:
    checker = _MemberChecker(archive, limits)
    for info in opened:
        metered.left = HEADER_BYTES
        if not (info.isfile() or info.isdir()) or info.issparse():
            raise _refusal(archive, info.name, "is a link, device, pipe or sparse file, not a file")
        checker.add(info.name, info.isdir(), info.size, info)
        if hasattr(tarfile, "data_filter"):  # Python's own rules, from 3.11.4 on, in addition to ours
            try:
                tarfile.data_filter(info, "/nowhere")
            except tarfile.FilterError as e:
                raise _refusal(archive, info.name, f"is unsafe: {one_line(e)}") from None
    metered.left = None
    return checker.members


class _MemberChecker:
    """Checker that collects the files of an archive; DataError at the first member that is unsafe."""

    def __init__(self, archive: Path, limits: ArchiveLimits) -> None:
        self.archive, self.limits = archive, limits
        self.packed = archive.stat().st_size
        self.members: list[_Member] = []
        self.entries = self.bytes = 0
        self.spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Path with case and Unicode form folded → path as it is spelled, of files and of the folders that hold them."""
        self.taken: set[tuple[str, ...]] = set()
        """Folded paths of files."""

    def add(self, name: str, is_folder: bool, size: int, handle: Any) -> None:
        """Check a member, and collect it if it is a file."""
        self.entries += 1
        self.bytes += size
        if self.entries > self.limits.entries:
            raise _refusal(self.archive, name, f"is one of more than {self.limits.entries} members")
        if self.bytes > self.limits.bytes or self.bytes > max(self.limits.small, self.limits.ratio * self.packed):
            raise _refusal(self.archive, name, f"makes it {self.bytes} bytes, from {self.packed}: a bomb")
        parts = self._parts(name)
        for depth in range(1, len(parts) + 1):
            folded = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts[:depth])
            is_file = depth == len(parts) and not is_folder
            # A folder may come again, spelled alike; a file may not, nor lie within a file.
            spelling = self.spelled.get(folded)
            if folded in self.taken or (spelling is not None and (is_file or spelling != parts[:depth])):
                raise _refusal(self.archive, name, "is there twice, or differs from another only by case")
            self.spelled[folded] = parts[:depth]
            if is_file:
                self.taken.add(folded)
        if parts and not is_folder:
            self.members.append(_Member(parts, size, handle))

    def _parts(self, name: str) -> tuple[str, ...]:
        """Split a path into its components; DataError where it is unsafe, too long or too deep."""
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
            raise _refusal(self.archive, name, "leads out of the folder")
        if BAD_CHARACTERS.search(name):
            raise _refusal(self.archive, name, "has characters that not every system allows in a name")
        if len(parts) > self.limits.depth:
            raise _refusal(self.archive, name, f"lies more than {self.limits.depth} folders deep")
        try:
            if any(len(part.encode()) > 255 for part in parts):
                raise _refusal(self.archive, name, "is too long a name")
        except UnicodeEncodeError:
            raise _refusal(self.archive, name, "is not a name in UTF-8") from None
        return parts


@contextmanager
def _uncompressed(archive: Path, head: bytes) -> Iterator[IO[bytes]]:
    """Open the uncompressed bytes of a tar, by its first bytes."""
    openers: dict[bytes, Callable[[Path], Any]] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ\x00": lzma.open,
    }
    with next((opener for magic, opener in openers.items() if head.startswith(magic)), lambda p: open(p, "rb"))(
        archive
    ) as stream:
        yield stream


HEADER_BYTES = 1 << 17
"""Largest header of one member of a tar, with long names and the like."""


class _MeteredStream:
    """Stream that lets tarfile read a bounded number of bytes for one header: a crafted header asks for gigabytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.left: int | None = HEADER_BYTES
        """Bytes until the next member; None once the headers have been read."""

    def read(self, size: int) -> bytes:
        if self.left is not None:
            if not 0 <= size <= self.left:
                raise tarfile.ReadError("a header is too long")
            self.left -= size
        return self.stream.read(size)

    def seek(self, offset: int) -> int:
        return self.stream.seek(offset)

    def tell(self) -> int:
        return self.stream.tell()


# Writing.


def _write(
    members: list[_Member], open_member: Callable[[Any], Any], archive: Path, folder: Path, progress: TaskProgress
) -> ExtractionResult:
    targets = _targets(members)
    needed = sum(member.size for member in targets.values())
    with atomic.storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < needed:
            raise StorageError(f"{folder}: {needed} bytes are needed to unpack; make room, or choose another --root")
    for count, (parts, member) in enumerate(targets.items()):
        target = folder.joinpath(*parts)
        with atomic.storage_errors(folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            output = open(target, "xb", buffering=0)  # noqa: SIM115 (closed below)
        with output, open_member(member.handle) as source:
            while chunk := source.read(CHUNK):
                with atomic.storage_errors(folder):
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[output.write(rest) :]
        progress(f"unpacking {archive.name}", count + 1, len(targets), "files")
    return ExtractionResult(len(targets), len(members) - len(targets))


def _targets(members: list[_Member]) -> dict[tuple[str, ...], _Member]:
    """Map paths in the folder to the files that are kept: images, and notes about them.

    Folders that surround all images are dropped. What systems leave behind (`__MACOSX/`, `._x.jpg`) is not kept.
    """
    visible = [m for m in members if not any(part.startswith((".", "__MACOSX")) for part in m.parts)]
    pictures = [m for m in visible if images.extension(m.parts[-1]) in images.READABLE_EXTENSIONS]
    notes = [
        m for m in visible if images.extension(m.parts[-1]) in NOTE_EXTENSIONS and NOTE_NAMES.fullmatch(m.parts[-1])
    ]
    prefix = _common_folders(pictures)
    targets = {member.parts[len(prefix) :]: member for member in pictures}
    for member in notes:
        inside = member.parts[: len(prefix)] == prefix
        targets.setdefault(member.parts[len(prefix) :] if inside else member.parts, member)
    return targets


def _common_folders(members: list[_Member]) -> tuple[str, ...]:
    """Folders that surround all of the members and are no split."""
    prefix: tuple[str, ...] = ()
    while True:
        depth = len(prefix)
        tops = {member.parts[depth] if len(member.parts) > depth + 1 else "" for member in members}
        if len(tops) != 1 or "" in tops or any(map(SPLIT_NAMES.fullmatch, tops)):
            return prefix
        prefix += tuple(tops)

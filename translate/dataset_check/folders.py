"""Folders of a data set: which domains and splits there are, and the files in them."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from translate import images
from translate.data import labels
from translate.data.layouts import SPLITS
from translate.data.pairing import NameMatch, match_names
from translate.data.split import evenly_spaced
from translate.dataset_check.probe import ProbedImage, probe_image, why_not_regular

PAIRED_FROM = 0.5
"""Fraction of the larger domain's images with a partner, from which two folders are taken for pairs."""
TIMED = 64
"""Files of each folder whose decoding is timed."""
IMAGE_OF_OTHER_NAME = "image without an image's extension"
"""Reason for passing over a file that looks like an image, but has another name."""
BLOCK = 256
"""Files that are decoded before Ctrl-C is answered and progress reported."""


@dataclass
class DomainFolder:
    """Folder of one domain of one split, with its files and, once they are decoded, what was found in them."""

    split: str
    domain: str
    """Name of the domain; `a` where there is but one, `ab` where each file holds both domains side by side."""
    path: Path
    kind: str
    """`twin` of the other domain's, `joined` side by side, `domain` among others, or `one` for all."""
    files: list[Path] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    """Paths with the name of an image that are not opened, and the reasons."""
    probed: list[ProbedImage] = field(default_factory=list)

    @property
    def side_by_side(self) -> bool:
        """True where each file holds both domains side by side."""
        return self.kind == "joined"

    @property
    def readable(self) -> list[ProbedImage]:
        """Images that could be decoded."""
        return [item for item in self.probed if not item.error]

    def chosen(self, limit: int | None) -> list[Path]:
        """Return the files to decode: at most `limit` of them, evenly spaced; None: all."""
        count = len(self.files)
        return [self.files[i] for i in evenly_spaced(count, limit or count)]

    def size(self, item: ProbedImage) -> tuple[int, int]:
        """Width and height of one image of a domain: of half the file where files hold both."""
        return (item.width // 2 if self.side_by_side else item.width), item.height

    def match(self, other: "DomainFolder") -> NameMatch:
        """Match the files with those of another folder by name, as paired methods do."""
        return match_names(self.files, other.files, (self.path, other.path))


def find_folders(root: Path, layout: str | None) -> list[DomainFolder]:
    """Find the folders of a layout, by what there is if `layout` is None; their files are not listed yet."""
    there = [split for split in SPLITS if (root / split).is_dir()]
    if layout in ("images", "captions", "photos"):
        return [DomainFolder(split, "a", root / split, "one") for split in there] or [
            DomainFolder("train", "a", root, "one")
        ]
    if layout == "domains" or (layout is None and _looks_like_domains(root)):
        if (root / labels.ATTRIBUTE_TABLE).is_file():
            return [DomainFolder(split, "a", root / split, "one") for split in there]
        return [
            DomainFolder(split, path.name, path, "domain")
            for split in there
            for path in labels.subfolders(root / split)
        ]
    folders = []
    for split in SPLITS:
        twins = [DomainFolder(split, name.lower(), root / f"{split}{name}", "twin") for name in "AB"]
        if any(folder.path.is_dir() for folder in twins):
            folders += twins
        elif split in there:
            folders.append(DomainFolder(split, "ab", root / split, "joined"))
    return folders if folders or layout else [DomainFolder("train", "a", root, "one")]


def _looks_like_domains(root: Path) -> bool:
    """Return whether there is a table of attributes, or two or more folders in train and no image beside them."""
    train = root / "train"
    if not train.is_dir() or (root / "trainA").is_dir() or (root / "trainB").is_dir():
        return False
    return (root / labels.ATTRIBUTE_TABLE).is_file() or (
        len(labels.subfolders(train)) > 1 and not labels.loose_images(train)
    )


def list_files(folder: DomainFolder) -> None:
    """Fill `files` and `passed_over` with what lies in the folder."""
    notes = images.WalkNotes()
    for path in images.list_files(folder.path, irregular=True, notes=notes):
        if images.extension(path) in images.REFUSED_EXTENSIONS:
            folder.passed_over.append((path, "format not allowed"))
        elif images.extension(path) in images.READABLE_EXTENSIONS:
            if reason := why_not_regular(path):
                folder.passed_over.append((path, reason))
            else:
                folder.files.append(path)
        elif images.looks_like_image(path):
            folder.passed_over.append((path, IMAGE_OF_OTHER_NAME))
    folder.passed_over += [(folder.path / name, "linked folder that is listed already") for name in notes.repeated]
    for name in notes.folders:
        if images.extension(name) in images.IMAGE_EXTENSIONS:
            folder.passed_over.append((folder.path / name, "folder named like an image"))


def probe_folders(
    folders: Iterable[DomainFolder], load_size: int, limit: int | None, say: Callable[[str], None]
) -> Iterator[ProbedImage]:
    """Decode the files of each folder, at most `limit` of them, and yield what was found in each, once it is in `probed`."""
    for folder in folders:
        yield from _probe_files(folder, load_size, limit, say)


def _probe_files(
    folder: DomainFolder, load_size: int, limit: int | None, say: Callable[[str], None]
) -> Iterator[ProbedImage]:
    """Decode the files on all cores, and fill `probed`; of an image only a few numbers are kept."""
    chosen = folder.chosen(limit)
    timed = {chosen[i] for i in evenly_spaced(len(chosen), TIMED)}
    reported = time.monotonic()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for start in range(0, len(chosen), BLOCK):
            block = chosen[start : start + BLOCK]
            for item in pool.map(
                lambda path: probe_image(path, load_size if path in timed else None, folder.side_by_side), block
            ):
                folder.probed.append(item)
                yield item
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                say(f"checked {len(folder.probed)} of {len(chosen)} files of {folder.path.name}")
    finally:
        pool.shutdown(cancel_futures=True)


def twin_folders(folders: Iterable[DomainFolder]) -> Iterator[tuple[str, DomainFolder, DomainFolder]]:
    """Yield the splits that have a folder for each of two domains, with the folders of a and b."""
    twins = [folder for folder in folders if folder.kind == "twin"]
    for split in SPLITS:
        if both := [folder for folder in twins if folder.split == split]:
            yield split, both[0], both[1]


def detect_layouts(root: Path, folders: list[DomainFolder]) -> list[str]:
    """Layouts for which the folder can be used, the likeliest first; empty where there is none."""
    if any(folder.side_by_side for folder in folders):
        return ["paired", "unpaired"]
    for _, a, b in twin_folders(folders):
        matched = len(a.match(b).pairs)
        paired = matched and matched >= PAIRED_FROM * max(len(a.files), len(b.files))
        return ["paired", "unpaired"] if paired else ["unpaired"]
    if _looks_like_domains(root):
        return ["domains", "images"]
    return ["images"] if folders[0].files else []

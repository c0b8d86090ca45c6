"""What is wrong with a data folder, before a day of training tells."""

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from translate import config, images
from translate.data import labels
from translate.data.layouts import LAYOUT_CONTENTS, SPLITS
from translate.data.split import ImageRef, Split
from translate.dataset_check import messages, near_duplicates
from translate.dataset_check.messages import MAX_ASPECT, MAX_IMBALANCE
from translate.dataset_check.probe import ProbedImage, probe_image, read_header, why_not_regular
from translate.errors import DataError
from translate.runtime import devices, memory

Say = Callable[[str], None]

PAIRED_FROM = 0.5
"""Share of the images of the larger domain that have a partner, from which twin folders are taken for pairs."""
TIMED = 64
"""Files of each folder whose decoding is timed."""
PROBED, LISTED = 32, 20_000
"""Headers and names of each domain that the quick check reads."""
WORKERS = 2
"""Of the stream tier, by default."""


@dataclass(frozen=True)
class CheckOptions:
    """How to check."""

    layout: str | None = None
    """A row of LAYOUTS; None: what the folder looks like."""
    load_size: int = config.default_load_size(256)
    crop_size: int = 256
    distance: int = 4
    """Bits of the perceptual hashes in which near-duplicates may differ."""
    limit: int | None = None
    """Files of each folder that are decoded, evenly spread; None: all."""


@dataclass
class DomainFolder:
    """One domain of one split; `a` where there is but one, `ab` where each file holds both domains side by side."""

    split: str
    domain: str
    path: Path
    kind: str
    """`twin` of the other domain's, `joined` side by side, `domain` among others, or `one` for all."""
    files: list[Path] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    """What has the name of an image but is not opened, and why."""
    found: list[ProbedImage] = field(default_factory=list)

    @property
    def half(self) -> bool:
        return self.kind == "joined"

    @property
    def good(self) -> list[ProbedImage]:
        return [item for item in self.found if not item.error]

    def size(self, item: ProbedImage) -> tuple[int, int]:
        """Width and height of one image of a domain."""
        return (item.width // 2 if self.half else item.width), item.height


def check_dataset(root: Path, settings: CheckOptions, say: Say) -> dict[str, Any]:
    """All that can be told of a data folder, as `--json` prints it; paths are relative to it. Nothing in it is changed.

    `error_messages` names what makes training impossible, `warning_messages` what a person should know. DataError if there is no folder.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; give the folder that holds {LAYOUT_CONTENTS[settings.layout or 'unpaired']}"
        )
    folders = find_folders(root, settings.layout)
    for folder in folders:
        _list(folder)
    for folder in folders:
        _decode(folder, settings, say)
    layouts = [settings.layout] if settings.layout else _layouts(root, folders)
    report: dict[str, Any] = {"root": str(root), "layouts": layouts}
    report["side_by_side"] = any(folder.half for folder in folders)
    report |= {"load_size": settings.load_size, "crop_size": settings.crop_size, "splits": {}}
    for folder in folders:
        report["splits"].setdefault(folder.split, {})[folder.domain] = _facts(root, folder, settings)
    report["pairs"] = _pairs(root, folders) if "paired" in layouts else {}
    report["near_duplicates"] = _near_duplicates(root, folders, settings.distance)
    report["imbalance"] = _imbalance(folders)
    report["memory"], report["decoding"] = _memory(folders, settings), _decoding(folders)
    certain = settings.layout or ("domains" if "domains" in layouts else None)
    report["errors"] = list(messages.error_messages(root, report, certain))
    report["warnings"] = list(messages.warning_messages(report))
    return report


def bad_files(root: Path, report: dict[str, Any]) -> list[Path]:
    """Files with the name of an image that training opens, but cannot read, and what is no regular file."""
    facts = [facts for split in report["splits"].values() for facts in split.values()]
    bad = [row["path"] for f in facts for row in f["unreadable"]]
    bad += [row["path"] for f in facts for row in f["passed_over"] if not row["reason"].startswith(_HARMLESS)]
    return [root / path for path in sorted(set(bad))]


_HARMLESS = ("format not allowed", "folder", "linked folder")


# Which folders there are, and what lies in them.


def find_folders(root: Path, layout: str | None) -> list[DomainFolder]:
    """The folders of a layout, empty; by what there is if none is named."""
    there = [split for split in SPLITS if (root / split).is_dir()]
    if layout == "images":
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
    """A table of attributes, or two folders or more in train and nothing else."""
    train = root / "train"
    if not train.is_dir() or (root / "trainA").is_dir() or (root / "trainB").is_dir():
        return False
    return (root / labels.ATTRIBUTE_TABLE).is_file() or (
        len(labels.subfolders(train)) > 1 and not labels.loose_images(train)
    )


def _list(folder: DomainFolder) -> None:
    for path in images.list_files(folder.path, irregular=True):
        if images.extension(path) in images.REFUSED_EXTENSIONS:
            folder.passed_over.append((path, "format not allowed"))
        elif images.extension(path) in images.READABLE_EXTENSIONS:
            if wrong := why_not_regular(path):
                folder.passed_over.append((path, wrong))
            else:
                folder.files.append(path)
    for place, names, _ in os.walk(folder.path):
        names[:] = [name for name in names if not name.startswith(".")]
        for path in (Path(place, name) for name in names):
            if path.is_symlink():
                folder.passed_over.append((path, "linked folder, not entered"))
            elif images.extension(path) in images.IMAGE_EXTENSIONS:
                folder.passed_over.append((path, "folder named like an image"))


def _decode(folder: DomainFolder, settings: CheckOptions, say: Say) -> None:
    """On all cores; of what was decoded only a few numbers are kept."""
    count = len(folder.files)
    chosen = _spread(folder.files, min(count, settings.limit or count))
    timed = set(_spread(chosen, min(TIMED, len(chosen))))
    said = time.monotonic()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for start in range(0, len(chosen), 256):  # few at a time, so that Ctrl-C has little to wait for
            block = chosen[start : start + 256]
            folder.found += pool.map(
                lambda path: probe_image(path, settings.load_size if path in timed else None, folder.half), block
            )
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"checked {len(folder.found)} of {len(chosen)} files of {folder.path.name}")
    finally:
        pool.shutdown(cancel_futures=True)


def _spread(paths: list[Path], count: int) -> list[Path]:
    return [paths[i * len(paths) // count] for i in range(count)]


def _stems(folder: DomainFolder) -> dict[str, list[Path]]:
    """Relative path without extension → files; pairs have it in common."""
    stems: dict[str, list[Path]] = {}
    for path in folder.files:
        relative = PurePosixPath(path.relative_to(folder.path).as_posix())
        stems.setdefault(str(relative.with_suffix("")), []).append(path)
    return stems


def _twins(folders: list[DomainFolder]) -> Iterator[tuple[str, DomainFolder, DomainFolder]]:
    for split in SPLITS:
        both = [folder for folder in folders if folder.split == split and folder.kind == "twin"]
        if both:
            yield split, both[0], both[1]


def _layouts(root: Path, folders: list[DomainFolder]) -> list[str]:
    """Those that training would take the folder for."""
    if any(folder.half for folder in folders):
        return ["paired", "unpaired"]
    for _, a, b in _twins(folders):
        matched = len(_stems(a).keys() & _stems(b).keys())
        paired = matched and matched >= PAIRED_FROM * max(len(a.files), len(b.files))
        return ["paired", "unpaired"] if paired else ["unpaired"]
    if _looks_like_domains(root):
        return ["domains", "images"]
    return ["images"] if folders[0].files else []


# The parts of the report.


def _facts(root: Path, folder: DomainFolder, settings: CheckOptions) -> dict[str, Any]:
    """One folder: what is in it and what is odd about it."""
    good = folder.good
    sizes = np.array([folder.size(item) for item in good]).reshape(-1, 2)
    aspects = [width / height for width, height in sizes.tolist() if width]
    kinds = Counter(kind for item in good for kind in item.kinds)
    return {
        "folder": folder.path.relative_to(root).as_posix(),
        "files": len(folder.files),
        "checked": len(folder.found),
        "readable": len(good),
        "unreadable": [{"path": _name(root, f.path), "error": f.error} for f in folder.found if f.error],
        "passed_over": [{"path": _name(root, path), "reason": reason} for path, reason in folder.passed_over],
        "kinds": dict(sorted(kinds.items())),
        "size": {
            name: [int(x) for x in of(sizes, axis=0)]
            for name, of in (("min", np.min), ("median", np.median), ("max", np.max))
        }
        if good
        else None,
        "smaller_than_crop": int((sizes.min(1) < settings.crop_size).sum()) if good else 0,
        "smaller_than_load": int((sizes.min(1) < settings.load_size).sum()) if good else 0,
        "aspect": {"min": round(min(aspects), 3), "max": round(max(aspects), 3)} if aspects else None,
        "extreme_aspect": sum(max(aspect, 1 / aspect) > MAX_ASPECT for aspect in aspects),
    }


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _pairs(root: Path, folders: list[DomainFolder]) -> dict[str, Any]:
    """Of each split: how many pairs, files without a partner or with two, and pairs whose sides differ in size."""
    pairs = {}
    for folder in folders:
        if folder.half:
            odd = [_name(root, item.path) for item in folder.good if item.width % 2]
            pairs[folder.split] = {"matched": len(folder.files), "unmatched": [], "ambiguous": [], "sizes_differ": odd}
    for split, a, b in _twins(folders):
        stems_a, stems_b = _stems(a), _stems(b)
        sizes = {item.path: a.size(item) for item in (*a.good, *b.good)}
        lonely = [stems_a[stem] for stem in stems_a.keys() - stems_b.keys()]
        lonely += [stems_b[stem] for stem in stems_b.keys() - stems_a.keys()]
        common = sorted(stems_a.keys() & stems_b.keys())
        both = [(stems_a[stem][0], stems_b[stem][0]) for stem in common]
        pairs[split] = {
            "matched": len(common),
            "unmatched": sorted(_name(root, path) for paths in lonely for path in paths),
            "ambiguous": sorted(
                _name(root, path)
                for stems in (stems_a, stems_b)
                for paths in stems.values()
                for path in paths
                if len(paths) > 1
            ),
            "sizes_differ": [
                stem for stem, (x, y) in zip(common, both, strict=True) if sizes.get(x, 0) != sizes.get(y, 0)
                if x in sizes and y in sizes
            ],
        }  # fmt: skip
    return pairs


def _near_duplicates(root: Path, folders: list[DomainFolder], distance: int) -> dict[str, Any]:
    """Of each domain: groups of images that look the same; images of a split with such beside them, or in train too."""
    report = {}
    for domain in sorted({folder.domain for folder in folders}):
        items = [(folder.split, item) for folder in folders if folder.domain == domain for item in folder.good]
        hashes = np.array([item.hash_and_thumbnail[0] for _, item in items], np.uint64)
        thumbnails = np.array([np.frombuffer(item.hash_and_thumbnail[1], np.uint8) for _, item in items])
        found = near_duplicates.group_near_duplicates(hashes, thumbnails, distance) if items else []
        within: Counter[str] = Counter()
        in_train: Counter[str] = Counter()
        for group in found:
            splits = Counter(items[i][0] for i in group)
            within.update({split: n for split, n in splits.items() if n > 1})
            if "train" in splits:
                in_train.update({split: n for split, n in splits.items() if split != "train"})
        names = [[_name(root, items[i][1].path) for i in group] for group in found]
        report[domain] = {"within": dict(within), "in_train": dict(in_train), "groups": names}
    return report


def _imbalance(folders: list[DomainFolder]) -> dict[str, float]:
    """Of each split with several domains: images of the largest one over those of the smallest."""
    domains = [folder for folder in folders if folder.kind in ("twin", "domain")]
    counts = {split: sorted(len(folder.files) for folder in domains if folder.split == split) for split in SPLITS}
    return {split: round(n[-1] / n[0], 2) for split, n in counts.items() if len(n) > 1 and n[0]}


def _memory(folders: list[DomainFolder], settings: CheckOptions) -> dict[str, Any]:
    """Bytes that each tier needs for the training images at load size, beside what is free."""
    needed, largest = 0, 0
    for folder in (folder for folder in folders if folder.split == "train" and folder.good):
        each = [item.values * settings.load_size**2 * (2 if folder.half else 1) for item in folder.good]
        needed += sum(each) * len(folder.files) // len(each)
        largest = max(largest, *(item.values * item.width * item.height for item in folder.good))
    main = torch.device("cpu")
    device = devices.resolve_device("auto")
    free, free_main = memory.free_memory(device), memory.free_memory(main)
    rows = {"resident": (needed, free), "ram": (needed, free_main), "stream": (largest * WORKERS, free_main)}
    tiers = {name: {"bytes": size, "free": room, "fits": size <= room // 2} for name, (size, room) in rows.items()}
    chosen = next((name for name in ("resident", "ram") if tiers[name]["fits"]), "stream")
    return {"device": str(device), **tiers, "automatic": chosen}


def _decoding(folders: list[DomainFolder]) -> dict[str, Any]:
    """Processor time to decode and resize what one epoch of training takes, from the files that were timed."""
    train = [folder for folder in folders if folder.split == "train"]
    counts = [len(folder.files) for folder in train]
    beside = any(folder.kind == "twin" for folder in train)  # each domain is shown as often as the largest has images
    epoch = max(counts) if beside else sum(counts)
    timed = 0
    per_epoch = 0.0
    for folder, count in zip(train, counts, strict=True):
        seconds = [item.seconds for item in folder.good if item.seconds]
        timed += len(seconds)
        per_epoch += (epoch if beside else count) * sum(seconds) / max(len(seconds), 1)
    return {"timed": timed, "images_per_epoch": epoch, "cpu_seconds_per_epoch": round(per_epoch, 3)}


# At the start of training.


def quick_check(root: Path, split: Split, crop_size: int | None) -> list[str]:
    """What a person should know before training, from a bounded number of headers and names: one line each."""
    lines = []
    sides = {"a": split.a, "b": split.b} if split.b else {"a": split.a}
    for name, refs in sides.items():
        small, known = _count_small(refs, crop_size)
        if small:
            share = "all" if small == known else f"about {100 * small / known:.0f} %"
            which = f" of domain {name}" if split.b else ""
            lines.append(
                f"data: {share} of the images{which} are smaller than the crop of {crop_size} px and are enlarged; "
                f"a smaller --crop-size shows them as they are"
            )
    counts = sorted(len(refs) for refs in sides.values())
    if not split.paired and counts[-1] > MAX_IMBALANCE * counts[0]:
        lines.append(f"data: one domain has {counts[-1]} images, the other {counts[0]}, which are repeated as often")
    labelled = sorted((len(places), label) for label, places in split.indices_by_label().items() if label >= 0)
    if labelled and labelled[-1][0] > MAX_IMBALANCE * labelled[0][0]:
        (few, rare), (many, common) = labelled[0], labelled[-1]
        lines.append(
            f"data: {split.label_names[common]} has {many} images, {split.label_names[rare]} {few}, which are seen as much more seldom"
        )
    formats = _formats_passed_over(root)
    if formats:
        each = ", ".join(f"{n} {ext}" for ext, n in sorted(formats.items()))
        lines.append(
            f"data: files of formats that are not read are passed over ({each}); convert them to png to use them"
        )
    return lines


def _count_small(refs: tuple[ImageRef, ...], crop_size: int | None) -> tuple[int, int]:
    """How many of the images whose headers were read are smaller than the crop, and how many were read."""
    if crop_size is None:
        return 0, 0
    count = min(PROBED, len(refs))
    chosen = [refs[i * len(refs) // count] for i in range(count)]
    heads = [(ref, read_header(ref.path, frames=False)) for ref in chosen]
    sides = [min(head.width // 2 if ref.half else head.width, head.height) for ref, head in heads if head]
    return sum(side < crop_size for side in sides), len(sides)


def _formats_passed_over(root: Path) -> Counter[str]:
    """Extension → files of the training folders, among the first that are listed."""
    found: Counter[str] = Counter()
    for folder in (folder for folder in find_folders(root, None) if folder.split == "train"):
        extensions = map(images.extension, itertools.islice(_names(folder.path), LISTED))
        found.update(ext for ext in extensions if ext in images.REFUSED_EXTENSIONS)
    return found


def _names(folder: Path) -> Iterator[str]:
    """Of files below a folder, one by one: a folder of a million is not read to its end first."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield entry.name

"""Sections of the report on a data folder, as plain data."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from translate.data.layouts import SPLITS
from translate.data.loader import LoaderOptions, choose_tier, fits_in_memory
from translate.data.pairing import relative_stem
from translate.data.value_scan import combine_statistics, has_fixed_scale, range_of_set
from translate.dataset_check import near_duplicates
from translate.dataset_check.folders import DomainFolder, twin_folders
from translate.dataset_check.label_look import describe_looks
from translate.dataset_check.messages import MAX_ASPECT
from translate.dataset_check.probe import ProbedImage
from translate.runtime import devices, memory
from translate.text import printable


def folder_section(root: Path, folder: DomainFolder, load_size: int, crop_size: int) -> dict[str, Any]:
    """Describe one folder: its files, their sizes and kinds, and how many are odd in some way."""
    readable, relative = folder.readable, folder.path.relative_to(root).as_posix()
    sizes = np.array([folder.size(item) for item in readable]).reshape(-1, 2)
    aspects = [width / height for width, height in sizes.tolist() if width]
    kinds = Counter(kind for item in readable for kind in item.kinds)
    return {
        "folder": relative,
        "files": len(folder.files),
        "checked": len(folder.probed),
        "readable": len(readable),
        "unreadable": [
            {"path": _relative(root, item.path), "error": item.error} for item in folder.probed if item.error
        ],
        "damaged": [
            {"path": _relative(root, item.path), "damage": ", ".join(item.damage)} for item in readable if item.damage
        ],
        "passed_over": [{"path": _relative(root, path), "reason": reason} for path, reason in folder.passed_over],
        "kinds": dict(sorted(kinds.items())),
        "size": {
            name: [int(x) for x in statistic(sizes, axis=0)]
            for name, statistic in (("min", np.min), ("median", np.median), ("max", np.max))
        }
        if readable
        else None,
        "smaller_than_crop": int((sizes.min(1) < crop_size).sum()) if readable else 0,
        "smaller_than_load": int((sizes.min(1) < load_size).sum()) if readable else 0,
        "aspect": {"min": round(min(aspects), 3), "max": round(max(aspects), 3)} if aspects else None,
        "extreme_aspect": sum(max(aspect, 1 / aspect) > MAX_ASPECT for aspect in aspects),
        "values": _values(readable),
        "label_maps": describe_looks(printable(relative), [item.labels for item in readable]),
    }


def _values(readable: list[ProbedImage]) -> dict[str, Any] | None:
    """Describe the values of the images of a folder: their types and limits, the range they stand in, pixels without one."""
    measured = [item.values for item in readable if item.values is not None]
    if not measured:
        return None
    values = combine_statistics(measured)
    scales = {m.scale for m in measured}
    is_typed = None not in scales and len(scales) == 1
    fixed = {has_fixed_scale(np.dtype(name)) for name in values.types}
    span = range_of_set(values) if False in fixed else None
    return {
        "types": values.types,
        "low": values.low,
        "high": values.high,
        "type_range": list(scales.pop() or ()) if is_typed else None,
        "mixed": len(fixed) > 1,
        "range_of_set": None if span is None else list(span),
        "without_value": sum(m.empty > 0 for m in measured),
        "share_without_value": round(values.empty_share, 4),
        "mostly_without_value": sum(m.empty > m.pixels / 2 for m in measured),
    }


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def pairs_section(root: Path, folders: list[DomainFolder]) -> dict[str, Any]:
    """Describe the pairs of each split: their number, files with no partner or several, and pairs whose sizes differ."""
    pairs = {}
    for folder in folders:
        if folder.side_by_side:
            odd = [_relative(root, item.path) for item in folder.readable if item.width % 2]
            none: dict[str, Any] = {"rule": None, "unmatched": [], "ambiguous": []}
            pairs[folder.split] = {"matched": len(folder.files), **none, "sizes_differ": odd}
    for split, a, b in twin_folders(folders):
        pairs[split] = _twin_pairs(root, a, b)
    return pairs


def _twin_pairs(root: Path, a: DomainFolder, b: DomainFolder) -> dict[str, Any]:
    match = a.match(b)
    sizes = {item.path: folder.size(item) for folder in (a, b) for item in folder.readable}
    known = [(x, y) for x, y in match.pairs if x in sizes and y in sizes]
    return {
        "matched": len(match.pairs),
        "rule": match.rule or None,
        "unmatched": sorted(_relative(root, path) for paths in match.unmatched for path in paths),
        "ambiguous": sorted(_relative(root, path) for paths in match.ambiguous for path in paths),
        "sizes_differ": [relative_stem(x, a.path) for x, y in known if sizes[x] != sizes[y]],
    }


def near_duplicates_section(root: Path, folders: list[DomainFolder], distance: int) -> dict[str, Any]:
    """Describe the near-duplicates of each domain: groups, images of a split that have some, and images that train has too."""
    report = {}
    for domain in sorted({folder.domain for folder in folders}):
        items = [(folder.split, item) for folder in folders if folder.domain == domain for item in folder.readable]
        hashes = np.array([item.hash_and_thumbnail[0] for _, item in items], np.uint64)
        thumbnails = np.array([np.frombuffer(item.hash_and_thumbnail[1], np.uint8) for _, item in items])
        groups = near_duplicates.group_near_duplicates(hashes, thumbnails, distance) if items else []
        within: Counter[str] = Counter()
        in_train: Counter[str] = Counter()
        for group in groups:
            splits = Counter(items[i][0] for i in group)
            within.update({split: n for split, n in splits.items() if n > 1})
            if "train" in splits:
                in_train.update({split: n for split, n in splits.items() if split != "train"})
        names = [[_relative(root, items[i][1].path) for i in group] for group in groups]
        report[domain] = {"within": dict(within), "in_train": dict(in_train), "groups": names}
    return report


def imbalance_section(folders: list[DomainFolder]) -> dict[str, float]:
    """Map each split with several domains to the images of its largest domain over those of its smallest."""
    domains = [folder for folder in folders if folder.kind in ("twin", "domain")]
    counts = {split: sorted(len(folder.files) for folder in domains if folder.split == split) for split in SPLITS}
    return {split: round(n[-1] / n[0], 2) for split, n in counts.items() if len(n) > 1 and n[0]}


def memory_section(folders: list[DomainFolder], load_size: int) -> dict[str, Any]:
    """Describe the bytes that each tier needs for the training images at load size, and the bytes that are free."""
    needed, largest = 0, 0
    for folder in (folder for folder in folders if folder.split == "train" and folder.readable):
        each = [item.bytes_per_pixel * load_size**2 * (2 if folder.side_by_side else 1) for item in folder.readable]
        needed += sum(each) * len(folder.files) // len(each)
        largest = max(largest, *(item.bytes_per_pixel * item.width * item.height for item in folder.readable))
    device = devices.resolve_device("auto")
    free, free_host = memory.free_memory(device), memory.free_memory(torch.device("cpu"))
    streamed = largest * LoaderOptions.workers
    rows = {"resident": (needed, free), "ram": (needed, free_host), "stream": (streamed, free_host)}
    tiers = {
        name: {"bytes": size, "free": room, "fits": fits_in_memory(size, room)} for name, (size, room) in rows.items()
    }
    return {"device": str(device), **tiers, "automatic": choose_tier(needed, free, free_host)}


def decoding_section(folders: list[DomainFolder]) -> dict[str, Any]:
    """Describe the processor time to decode and resize the images of one epoch, from the files that were timed."""
    train = [folder for folder in folders if folder.split == "train"]
    counts = [len(folder.files) for folder in train]
    two_domains = any(folder.kind == "twin" for folder in train)  # each is shown as often as the larger has images
    epoch = max(counts) if two_domains else sum(counts)
    timed = 0
    per_epoch = 0.0
    for folder, count in zip(train, counts, strict=True):
        seconds = [item.seconds for item in folder.readable if item.seconds]
        timed += len(seconds)
        per_epoch += (epoch if two_domains else count) * sum(seconds) / max(len(seconds), 1)
    return {"timed": timed, "images_per_epoch": epoch, "cpu_seconds_per_epoch": round(per_epoch, 3)}

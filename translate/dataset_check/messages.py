"""Errors and warnings of the report on a data folder, in words."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from translate import images
from translate.data.layouts import LAYOUT_CONTENTS, LAYOUTS_WITHOUT_B, find_split
from translate.data.value_scan import MIN_FILLED, format_value
from translate.errors import DataError
from translate.text import join_names, printable

MAX_IMBALANCE = 3
"""Ratio of the domains' numbers of images above which a warning is given."""
MAX_ASPECT = 2
"""Ratio of the longer side to the shorter above which a warning is given, since resizing to a square distorts."""


def error_messages(root: Path, report: dict[str, Any], layout: str | None) -> Iterator[str]:
    """Yield what makes training impossible; `layout` is the one that was requested, or the only one possible, else None."""
    train = report["splits"].get("train", {}).values()
    if layout in LAYOUTS_WITHOUT_B:
        yield from _layout_errors(root, layout, report["splits"])
    else:
        yield from _missing_folders(root, train, layout)
    for facts in train:
        if facts["files"] and not facts["readable"]:
            place = printable(root / facts["folder"])
            yield f"{place}: none of the {facts['checked']} images that were checked can be read; fix or replace them"
    pairs = report["pairs"].get("train")
    if layout == "paired" and pairs and all(facts["files"] for facts in train):
        if not pairs["matched"]:
            yield f"{printable(root)}: trainA and trainB have no name in common; give both images of a pair the same name"
        elif lost := pairs["unmatched"] + pairs["ambiguous"]:
            yield (
                f"{printable(root)}: {len(lost)} training images have no partner of their own ({join_names(lost)}), "
                f"which paired methods refuse; rename or move them, or train with --skip-unmatched"
            )


def _layout_errors(root: Path, layout: str, splits: Iterable[str]) -> Iterator[str]:
    """Yield the errors that training would raise, for each split that is there."""
    for split in dict.fromkeys(("train", *splits)):
        try:
            find_split(root, layout, split)
        except DataError as e:
            yield str(e)


def _missing_folders(root: Path, train: Collection[dict[str, Any]], layout: str | None) -> Iterator[str]:
    """Yield errors for folders of two domains that are missing or empty."""
    if not train:
        yield f"{printable(root)}: nothing to train on; it must hold {LAYOUT_CONTENTS[layout or 'unpaired']}"
    for facts in train:
        place = printable(root / facts["folder"])
        if not (root / facts["folder"]).is_dir():
            yield f"{place}: no such folder; both domains need one"
        elif not facts["files"]:
            yield f"{place}: no images in it; put some there ({images.READABLE_FORMATS})"


def warning_messages(report: dict[str, Any]) -> Iterator[str]:
    """Yield what a person should know, but training copes with."""
    for split, domains in report["splits"].items():
        for facts in domains.values():
            yield from _folder_warnings(split, facts, report)
    for split, pairs in report["pairs"].items():
        if paths := pairs["unmatched"]:
            yield (
                f"{split}: {len(paths)} images without a partner of the same name ({join_names(paths)}); paired methods refuse "
                f"the folder until they are renamed or moved, or leave them out with --skip-unmatched"
            )
        if paths := pairs["ambiguous"]:
            yield f"{split}: images that share the name of a pair ({join_names(paths)}); rename all but one of each"
        if stems := pairs["sizes_differ"]:
            yield (
                f"{split}: {len(stems)} pairs whose images differ in size ({join_names(stems)}); b is resized to the size "
                f"of a"
            )
    for domain, duplicates in report["near_duplicates"].items():
        for split, count in duplicates["in_train"].items():
            yield f"{split} {domain}: {count} images look like images of train; metrics on them are too good"
    for split, ratio in report["imbalance"].items():
        if split == "train" and ratio > MAX_IMBALANCE and "domains" in report["layouts"]:
            yield f"train: one domain has {ratio:g} times as many images as another, and is shown that much more often"
        elif split == "train" and ratio > MAX_IMBALANCE and "paired" not in report["layouts"]:
            yield f"train: one domain has {ratio:g} times as many images as the other, whose images are repeated to match"


def _folder_warnings(split: str, facts: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    """Yield the warnings on one folder."""
    place, count = printable(facts["folder"]), facts["readable"]
    if facts["unreadable"]:
        bad = facts["unreadable"]
        reasons = [f"{printable(row['path'])}: {row['error']}" for row in bad]
        yield f"{place}: {len(bad)} files cannot be read ({join_names(reasons)}); training skips them"
    if facts["damaged"]:
        kept = [f"{printable(row['path'])}: {row['damage']}" for row in facts["damaged"]]
        yield f"{place}: {len(kept)} files are damaged but are read ({join_names(kept)}); save them anew"
    if facts["passed_over"]:
        counts = Counter(row["reason"] for row in facts["passed_over"])
        why = ", ".join(f"{n} × {reason}" for reason, n in counts.items())
        yield f"{place}: {counts.total()} skipped: {why}"
    if facts["smaller_than_crop"] and split == "train":
        small = facts["smaller_than_crop"]
        share = f"all {count}" if small == count else f"{small} of {count}"
        yield (
            f"{place}: {share} images are smaller than the crop of {report['crop_size']} px and are enlarged; a smaller "
            f"--crop-size trains faster and loses no detail"
        )
    if facts["extreme_aspect"]:
        yield (
            f"{place}: {facts['extreme_aspect']} images are more than {MAX_ASPECT} times as long as wide and are distorted "
            f"to a square; --preprocess scale_width_and_crop or crop keeps their shape"
        )
    if facts["values"]:
        yield from _value_warnings(place, facts, split)
    if facts["label_maps"] and split == "train" and not (report["label_maps"] and facts["folder"] == "trainA"):
        yield facts["label_maps"]
    if 0 < facts["kinds"].get("grey", 0) < count:
        yield f"{place}: {facts['kinds']['grey']} of {count} images are grey, the others are in colour"
    if report["side_by_side"] and facts["size"] and facts["size"]["median"][0] < 0.6 * facts["size"]["median"][1]:
        yield (
            f"{place}: is taken for side-by-side pairs, but its files are not wider than high; if each is one image, use "
            f"--layout images, or trainA/ and trainB/"
        )


def _value_warnings(place: str, facts: dict[str, Any], split: str) -> Iterator[str]:
    """Yield the warnings on the range of values in a folder, and on pixels without a value."""
    values, count = facts["values"], facts["readable"]
    flag = {"A": "--range-a", "B": "--range-b"}.get(facts["folder"].removeprefix(split), "--range-a")
    low, high, span = values["low"], values["high"], values["type_range"]
    if low is None:
        yield f"{place}: no pixel has a value"
        return
    limits = f"{format_value(low)} to {format_value(high)}"
    kinds = " and ".join(f"{count} {kind}" for kind, count in values["types"].items())
    if split == "train" and values["range_of_set"] and values["mixed"]:
        yield (
            f"{place}: {kinds} files with values from {limits} have no scale in common; training refuses them unless {flag} "
            f"declares one"
        )
    elif split == "train" and values["range_of_set"]:
        yield (
            f"{place}: {kinds} files have no scale of their own; training takes the range of the whole set, {limits}, unless "
            f"{flag} declares one"
        )
    elif split == "train" and span and 0 < (filled := (high - low) / (span[1] - span[0])) < MIN_FILLED:
        yield (
            f"{place}: all values lie from {limits}, {filled:.1%} of the range {span[0]:g} to {span[1]:g} that −1 to 1 stand "
            f"for; {flag} {format_value(low)}:{format_value(high)} uses all of it"
        )
    if values["without_value"]:
        yield (
            f"{place}: pixels without a value (NoData or not a number) in {values['without_value']} of {count} files, "
            f"{values['share_without_value']:.2%} of all; they enter training as the middle of the range"
        )
    if values["mostly_without_value"]:
        yield (
            f"{place}: mostly NoData in {values['mostly_without_value']} of {count} files, most of whose crops teach nothing; "
            f"remove them, or cut other tiles"
        )

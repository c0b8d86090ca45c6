"""Quick check of a data folder at the start of a training, from a bounded number of headers and names."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from translate import images
from translate.data.split import ImageRef, Split, evenly_spaced
from translate.data.value_scan import MIN_FILLED
from translate.dataset_check.folders import find_folders
from translate.dataset_check.label_look import describe_looks, label_look
from translate.dataset_check.messages import MAX_IMBALANCE
from translate.dataset_check.probe import read_header
from translate.images import ImageError, ValueRange
from translate.images.value_statistics import may_hold_16_bits
from translate.text import join_names

HEADERS_READ, NAMES_READ = 32, 20_000
"""Headers of each domain, and file names of each folder, that are read at most."""
FILES_MEASURED = 8
"""Files of each domain whose values are measured."""


def quick_check(
    root: Path,
    split: Split,
    crop_size: int | None,
    minimum: int = 1,
    ranges: Sequence[ValueRange | None] = (),
    *,
    label_maps: bool = False,
) -> list[str]:
    """Return notices on the training images, one line each.

    `crop_size` is None where images stay whole; these are at least of `minimum` pixels a side when they are trained on.
    `ranges`: declared ranges of values by domain, if there are any. `label_maps`: domain a is read as label maps.
    """
    return [
        *_side_by_side(split),
        *_small_images(split, crop_size, minimum),
        *(() if label_maps else (*_narrow_values(split, ranges), *_label_maps(split))),
        *_imbalance(split),
        *_passed_over(root),
    ]


def _narrow_values(split: Split, ranges: Sequence[ValueRange | None]) -> Iterator[str]:
    """Name domains whose 16-bit files fill little of the range of their type, by some of the files."""
    for domain, declared in itertools.zip_longest(split.domains, ranges[: len(split.domains)]):
        refs = split.refs(domain)
        chosen = [refs[i] for i in evenly_spaced(len(refs), FILES_MEASURED)] if declared is None else []
        found = [pixels for ref in chosen if (pixels := _deep_pixels(ref)) is not None]
        if not found or len(found) < len(chosen):
            continue
        low, high = min(int(x.min()) for x in found), max(int(x.max()) for x in found)
        filled = (high - low) / 65535
        if 0 < filled < MIN_FILLED:
            yield (
                f"data: the values of domain {domain} lie from {low} to {high} in {len(found)} files, {filled:.1%} of the "
                f"range 0 to 65535 that −1 to 1 stand for; --range-{domain} {low}:{high} uses all of it"
            )


def _label_maps(split: Split) -> Iterator[str]:
    """Name domain a of pairs whose images look like label maps, by some of the files."""
    if not split.paired or split.a[0].half:
        return
    looks = [label_look(split.a[i].path) for i in evenly_spaced(len(split.a), FILES_MEASURED)]
    if line := describe_looks("data: domain a", looks):
        yield line


def _deep_pixels(ref: ImageRef) -> np.ndarray | None:
    """Return the pixels of a file of 16 bits; None for other files and those that cannot be read."""
    if not may_hold_16_bits(ref.path):
        return None
    try:
        pixels = images.read(ref.path, how=images.Reading(deep=True)).pixels
    except ImageError:
        return None
    return pixels if pixels.dtype == np.uint16 else None


def _side_by_side(split: Split) -> Iterator[str]:
    if split.a[0].half:
        yield "data: each file holds A and B side by side: its left half is an image of A, its right half one of B"


def _small_images(split: Split, crop_size: int | None, minimum: int) -> Iterator[str]:
    least = minimum if crop_size is None else crop_size
    for domain in split.domains:
        refs = split.refs(domain)
        sides = [_shorter_side(refs[i]) for i in evenly_spaced(len(refs), HEADERS_READ)]
        known = [side for side in sides if side is not None]
        if small := sum(side < least for side in known):
            share = "all" if small == len(known) else f"about {100 * small / len(known):.0f} %"
            which = f" of domain {domain}" if split.b else ""
            images_of = f"data: {share} of the images{which} are smaller than"
            if crop_size is None:
                yield f"{images_of} {least} px, the least that the networks take, and are enlarged to it"
            else:
                yield (
                    f"{images_of} the crop of {crop_size} px and are enlarged; a smaller --crop-size shows them as they are"
                )


def _shorter_side(ref: ImageRef) -> int | None:
    """Shorter side in pixels, from the file's header; None where it cannot be read."""
    header = read_header(ref.path, frames=False)
    return min(header.width // 2 if ref.half else header.width, header.height) if header else None


def _imbalance(split: Split) -> Iterator[str]:
    few, many = min(len(split.a), len(split.b)), max(len(split.a), len(split.b))
    if split.b and not split.paired and many > MAX_IMBALANCE * few:
        yield f"data: one domain has {many} images, the other {few}, which are repeated to match"
    labelled = sorted((len(indices), label) for label, indices in split.indices_by_label().items() if label >= 0)
    if labelled and labelled[-1][0] > MAX_IMBALANCE * labelled[0][0]:
        (few, rare), (many, common) = labelled[0], labelled[-1]
        yield (
            f"data: {split.label_names[common]} has {many} images, {split.label_names[rare]} {few}, which are shown less often "
            f"by as much"
        )


def _passed_over(root: Path) -> Iterator[str]:
    """Name the files in the training folders that are not used though they are images, from the first that are listed."""
    refused: Counter[str] = Counter()
    renamed: list[str] = []
    for folder in (folder for folder in find_folders(root, None) if folder.split == "train"):
        for path, _ in itertools.islice(images.walk_files(folder.path), NAMES_READ):
            extension = images.extension(path)
            if extension in images.REFUSED_EXTENSIONS:
                refused[extension] += 1
            elif extension not in images.READABLE_EXTENSIONS and images.looks_like_image(path):
                renamed.append(path.relative_to(root).as_posix())
    if refused:
        each = ", ".join(f"{n} {ext}" for ext, n in sorted(refused.items()))
        yield f"data: files of formats that are not read are skipped ({each}); convert them to png to use them"
    if renamed:
        yield (
            f"data: {len(renamed)} files look like images but do not have an image's extension, and are skipped: "
            f"{join_names(sorted(renamed))}; rename them to use them"
        )

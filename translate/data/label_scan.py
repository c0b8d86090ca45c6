"""Scan of the label maps of a data set before a training: their values are those of classes, and which settings they need."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from translate import images, user_cache
from translate.data.split import ImageRef
from translate.errors import DataError
from translate.images import ImageError, LabelError, LabelFormat
from translate.text import printable

_RULE = 1
"""Version of what is scanned: a change makes earlier results in the cache void."""


@dataclass(frozen=True)
class LabelScan:
    """Findings in the label maps of a data set that decide settings."""

    has_unknown: bool
    """True where pixels have no label."""
    palette: images.Palette | None
    """Colours of the first map, if it is a palette image."""


def scan_label_maps(refs: Sequence[ImageRef], labels: LabelFormat, say: Callable[[str], None]) -> LabelScan:
    """Read all label maps, on all cores; maps that cannot be read are left to the loader.

    DataError, which names the file, for a value or colour that is none of a class, for an instance map of another size, and for
    files with A and B side by side.
    """
    if refs[0].half:
        raise DataError(
            f"{refs[0].path.parent}: label maps need files of their own; put them into trainA/, and the images into trainB/"
        )
    palette = images.palette_of_image(refs[0].path, labels.count)
    name = f"label-maps/{_fingerprint(refs, labels)}.json"
    if isinstance(known := user_cache.read_cached(name), bool):
        return LabelScan(known, palette)
    has_unknown, reported = False, time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, found in enumerate(pool.map(lambda ref: _scan(ref, labels), refs), 1):
            if isinstance(found, DataError):
                pool.shutdown(cancel_futures=True)
                raise found
            has_unknown |= found
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                say(f"checked {number} of {len(refs)} label maps")
    user_cache.write_cached(name, has_unknown)
    return LabelScan(has_unknown, palette)


def _scan(ref: ImageRef, labels: LabelFormat) -> bool | DataError:
    """Return whether a map has pixels without a label, or why it is none of these classes."""
    how = images.Reading(1, labels=replace(labels, unknown=True, edges=False))
    try:
        pixels = images.read(ref.path, how=how).pixels
        if ref.instances is not None:
            images.check_instance_size(ref.instances, images.read_size(ref.instances), pixels.shape[:2])
    except LabelError as e:
        remedy = "fix the file, or --label-count, --ignore-index and --palette"
        return DataError(
            f"{printable(ref.path)}: {e}; {remedy}" if ";" not in str(e) else f"{printable(ref.path)}: {e}"
        )
    except ImageError:
        return False
    return bool((pixels == labels.count).any())


def _fingerprint(refs: Sequence[ImageRef], labels: LabelFormat) -> str:
    """Hash the names, sizes and modification times of the files, wherever the folder lies, and the format."""
    lines = [f"rule {_RULE} {labels}"]
    for path in [ref.path for ref in refs] + [ref.instances for ref in refs if ref.instances]:
        stat = path.stat()
        lines.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]

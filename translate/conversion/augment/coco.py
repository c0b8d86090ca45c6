"""Labels in COCO's JSON: boxes, outlines and keypoints of all images of a split in one file."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from translate import records
from translate.conversion.augment.labelled_set import LabelledSet
from translate.errors import DataError
from translate.text import printable


@dataclass(frozen=True)
class CocoFile:
    """Checked file in COCO's format."""

    path: str
    document: dict[str, Any]
    images: Sequence[str]
    """Path of the image of each entry of its `images`."""
    content: bytes
    has_places: bool = True
    is_shared: bool = True

    def outputs(self, made: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the document with entries for translations: those of their images, with ids and file names of their own.

        All other fields, of boxes, outlines and keypoints too, are as they are.
        """
        entries, annotations = self.document["images"], self.document["annotations"]
        next_image, next_annotation = (
            1 + max((entry["id"] for entry in of), default=0) for of in (entries, annotations)
        )
        of_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in annotations:
            of_image.setdefault(annotation["image_id"], []).append(annotation)
        more_images, more_annotations = [], []
        for entry, image in zip(entries, self.images, strict=True):
            for translation in made.get(image, ()):
                name = PurePosixPath(entry["file_name"].replace("\\", "/")).with_name(PurePosixPath(translation).name)
                more_images.append({**entry, "id": next_image, "file_name": name.as_posix()})
                for annotation in of_image.get(entry["id"], ()):
                    more_annotations.append({**annotation, "id": next_annotation, "image_id": next_image})
                    next_annotation += 1
                next_image += 1
        changed = {"images": entries + more_images, "annotations": annotations + more_annotations}
        yield self.path, lambda: json.dumps({**self.document, **changed}).encode() if more_images else self.content


def read_coco(labelled: LabelledSet, path: str) -> CocoFile | None:
    """Read and check a file in COCO's format; None for other JSON. DataError names what is wrong in it."""
    name = printable(path)
    try:
        content = (labelled.root / path).read_bytes()
        document = records.parse_json(content)
    except ValueError as e:
        raise DataError(f"{name}: is no JSON: {e}") from None
    if not (isinstance(document, dict) and {"images", "annotations"} <= document.keys()):
        return None
    entries, annotations = document["images"], document["annotations"]
    for kind, values in (("images", entries), ("annotations", annotations)):
        if not records.is_list_of(values, lambda value: isinstance(value, dict)):
            raise DataError(f"{name}: its {kind} are no list of objects, as COCO has them")
        _check_ids(name, kind, values)
    ids = {entry["id"] for entry in entries}
    for annotation in annotations:
        if annotation.get("image_id") not in ids:
            raise DataError(
                f"{name}: annotation {annotation['id']} is of image {records.shown(annotation.get('image_id'))}, which its "
                f"images do not have; remove the annotation"
            )
    images = []
    for entry in entries:
        if not records.is_text(entry.get("file_name")):
            raise DataError(f"{name}: image {entry['id']} has no file_name")
        images.append(labelled.find_name(entry["file_name"], path))
    if twice := _repeated(images):
        raise DataError(f"{name}: {len(twice)} files have several entries in its images, as {printable(twice[0])!r}")
    return CocoFile(path, document, images, content)


def _check_ids(name: str, kind: str, values: Sequence[Mapping[str, Any]]) -> None:
    """Raise DataError unless each entry has a whole number of its own as its id."""
    for number, value in enumerate(values):
        if not records.is_count(value.get("id")):
            found = records.shown(value.get("id"))
            hint = "; panoptic files are not supported" if "segments_info" in value else ""
            raise DataError(f"{name}: entry {number} of its {kind} has the id {found}, which is no whole number{hint}")
    if twice := _repeated([value["id"] for value in values]):
        raise DataError(
            f"{name}: {len(twice)} ids of its {kind} are there several times, as {twice[0]}; give each its own"
        )


def _repeated(values: Sequence[Any]) -> list[Any]:
    """Return the values that are there more than once."""
    return [value for value, count in Counter(values).items() if count > 1]

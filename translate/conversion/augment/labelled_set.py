"""A labelled set of images: which files are images, masks and other labels, and which split and class each image is of."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from translate import images
from translate.conversion.inputs import check_output_folder
from translate.errors import DataError, UsageError
from translate.text import join_names, printable

TRAIN = "train"
SPLITS = {
    "train": TRAIN, "training": TRAIN, "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
"""Names of folders and parts of names of label files, without digits at their end as in train2017 → split."""

IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "jpegimages"})
"""Folders that stand for no class, in lower case: they hold images beside folders of labels."""
LABEL_FOLDERS = frozenset(
    {
        "labels", "label", "annotations", "annotation", "masks", "mask", "segmentation", "segmentations", "segmentationclass",
        "segmentationobject",
    }
)  # fmt: skip
"""Folders of labels, in lower case, where their files have the names of images."""
MASK_SUFFIXES = ("_mask", "-mask", "_label", "_labels", "_seg")
"""Ends of the names of masks that lie beside their images."""

Key = tuple[str, ...]
"""Folders and stem of a file, without the folders that an image and its labels do not share."""


@dataclass(frozen=True)
class LabelledImage:
    """Image of a labelled set."""

    path: str
    """Relative to the set, with `/`."""
    key: Key
    split: str = ""
    """train, val or test; empty where no folder and no label file says it."""
    label: str = ""
    """Folder of its class; empty without one."""


@dataclass(frozen=True)
class Mask:
    """Image whose pixels are labels of another image."""

    path: str
    image: str
    """Path of the image that it belongs to."""
    suffix: str = ""
    """End of its stem behind that of the image."""


@dataclass
class LabelledSet:
    """Files of a labelled set."""

    root: Path
    images: dict[str, LabelledImage] = field(default_factory=dict)
    """Path → image, sorted."""
    masks: list[Mask] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Paths of the files that are no images."""

    def __post_init__(self) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_key: dict[Key, list[str]] = defaultdict(list)
        for path, image in self.images.items():
            self._by_name[PurePosixPath(path).name].append(path)
            self._by_key[image.key].append(path)

    def with_splits(self, named_by: Mapping[str, Iterable[str]]) -> "LabelledSet":
        """Return the set with the splits of label files for images that lie in no folder of a split.

        named_by: label file → images that it names. An image that a file of held-out images names is never of train.
        """
        found: dict[str, set[str]] = defaultdict(set)
        for file, paths in named_by.items():
            if split := split_of_name(file):
                for path in paths:
                    found[path].add(split)
        images = {
            path: image if image.split else replace(image, split=min(found[path] - {TRAIN} or found[path], default=""))
            for path, image in self.images.items()
        }
        return LabelledSet(self.root, images, self.masks, self.others)

    def training_images(self) -> list[LabelledImage]:
        """Return the images that may be translated: those of train, or all where the set has no splits."""
        if not any(image.split for image in self.images.values()):
            return list(self.images.values())
        return [image for image in self.images.values() if image.split == TRAIN]

    def find_key(self, key: Key, file: str) -> str | None:
        """Return the image of a key; None without one. DataError where several have it, so that `file` could be of any."""
        found = self._by_key.get(key, [])
        if len(found) > 1:
            raise DataError(
                f"{printable(file)}: may belong to {join_names(found)}, which differ in their extension alone; rename one"
            )
        return found[0] if found else None

    def find_name(self, name: str, file: str) -> str:
        """Return the image that a label file names: relative to the file or the set, or by the end of its path.

        DataError where there is none, or several.
        """
        name = name.replace("\\", "/")
        parts = [part for part in PurePosixPath(name).parts if part != "."]
        for folder in (PurePosixPath(file).parent, PurePosixPath()):
            if (path := folder.joinpath(*parts).as_posix()) in self.images:
                return path
        ends = [path for path in self._by_name.get(PurePosixPath(name).name, ()) if _ends_with(path, parts)]
        if len(ends) > 1 and (split := split_of_path(file) or split_of_name(file)):
            ends = [path for path in ends if self.images[path].split == split] or ends
        if len(ends) != 1:
            reason = (
                f"may be {join_names(ends)}; give its path"
                if ends
                else "is no image of the set; add it, or remove the entry"
            )
            raise DataError(f"{printable(file)}: names {printable(name)!r}, which {reason}")
        return ends[0]


def _ends_with(path: str, parts: Sequence[str]) -> bool:
    return PurePosixPath(path).parts[-len(parts) :] == tuple(parts)


def split_of_path(path: str) -> str:
    """Return the split of a file by the first of its folders that is named as one; empty without."""
    names = (SPLITS.get(folder.rstrip("0123456789").casefold()) for folder in PurePosixPath(path).parent.parts)
    return next(filter(None, names), "")


def split_of_name(path: str) -> str:
    """Return the split that a word in the name of a label file says, as in instances_train2017.json; empty without."""
    words = re.split("[^A-Za-z]+", PurePosixPath(path).stem)
    return next(filter(None, (SPLITS.get(word.casefold()) for word in words)), "")


def image_key(path: str) -> Key:
    """Return the key of an image."""
    pure = PurePosixPath(path)
    return (*(folder for folder in pure.parent.parts if folder.casefold() not in IMAGE_FOLDERS), pure.stem)


def label_key(path: str) -> Key:
    """Return the key of a file of labels, which is that of its image."""
    pure = PurePosixPath(path)
    left_out = IMAGE_FOLDERS | LABEL_FOLDERS
    return (*(folder for folder in pure.parent.parts if folder.casefold() not in left_out), pure.stem)


def is_in_label_folder(path: str) -> bool:
    """Return True for a file below a folder of labels, by its name."""
    return any(folder.casefold() in LABEL_FOLDERS for folder in PurePosixPath(path).parent.parts)


def _class_of(key: Key) -> str:
    """Return the class of an image: its folders, without that of the split."""
    return "/".join(folder for folder in key[:-1] if not split_of_path(f"{folder}/x"))


def list_labelled_set(root: Path, output: Path) -> LabelledSet:
    """List a labelled set. DataError without images, UsageError where the output folder lies in it or holds it."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    check_output_folder(root, output)
    if root.resolve() in output.resolve().parents or output.resolve() in root.resolve().parents:
        raise UsageError(f"{output}: lies in {root}, or holds it; give another folder for the augmented set")
    notes = images.WalkNotes()
    found = [path.relative_to(root).as_posix() for path in images.list_files(root, notes=notes)]
    for folder, reason in notes.unreadable.items():
        raise DataError(f"{root / folder}: cannot be listed: {reason}")
    pictures = [path for path in found if images.extension(path) in images.READABLE_EXTENSIONS]
    masks = _find_masks(pictures)
    of_masks = {mask.path for mask in masks}
    kept = [path for path in pictures if path not in of_masks]
    if not kept:
        raise DataError(f"{root}: no images; readable: {images.READABLE_FORMATS}")
    described = {}
    for path in kept:
        key = image_key(path)
        described[path] = LabelledImage(path, key, split_of_path(path), _class_of(key))
    return LabelledSet(root, described, masks, [path for path in found if path not in set(pictures)])


def _find_masks(paths: Sequence[str]) -> list[Mask]:
    """Return the masks among images: those in a folder of labels, or with the ending of a mask, that have the name of an image.

    DataError for a file in a folder of masks that has the name of none, or may be of several.
    """
    inside = [path for path in paths if is_in_label_folder(path)]
    beside = {path: end for path in paths if (end := _mask_suffix(path)) and not is_in_label_folder(path)}
    candidates = {*inside, *beside}
    pictures = {path: LabelledImage(path, image_key(path)) for path in paths if path not in candidates}
    of = LabelledSet(Path(), pictures)
    masks, orphans = [], []
    for path in inside:
        image, end = of.find_key(label_key(path), path), ""
        if image is None and (end := _mask_suffix(path)):
            image = of.find_key(_without(label_key(path), end), path)
        if image is None:
            orphans.append(path)
        else:
            masks.append(Mask(path, image, end))
    folders = {_label_folder(mask.path) for mask in masks}
    for path in orphans:
        if _label_folder(path) in folders:
            raise DataError(
                f"{printable(path)}: is in a folder of masks, but no image has its name; add it, or remove the mask"
            )
    for path, end in beside.items():
        if (image := of.find_key(_without(image_key(path), end), path)) is not None:
            masks.append(Mask(path, image, end))
    return masks


def _mask_suffix(path: str) -> str:
    stem = PurePosixPath(path).stem.casefold()
    return next((PurePosixPath(path).stem[-len(end) :] for end in MASK_SUFFIXES if stem.endswith(end)), "")


def _without(key: Key, end: str) -> Key:
    return (*key[:-1], key[-1][: -len(end)])


def _label_folder(path: str) -> str:
    """Return the path of a file down to its first folder of labels."""
    parts = PurePosixPath(path).parts
    depth = next(number for number, part in enumerate(parts) if part.casefold() in LABEL_FOLDERS)
    return "/".join(parts[: depth + 1])

"""Layouts of data folders: which images belong to which domain, decided by names alone. No image is opened here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from translate import images
from translate.caption_tokens import caption_of_folder
from translate.data import captions, labels, pairing
from translate.data.split import ImageRef, Split
from translate.errors import DataError, UsageError
from translate.text import join_names, nfc

SPLITS = ("train", "val", "test")


def find_split(
    root: Path, layout: str, split: str = "train", direction: str = "a2b", *, skip_unmatched: bool = False
) -> Split:
    """Find the images of `split` ("train", "val" or "test") in a data folder.

    `skip_unmatched`: leave out images of layout paired that have no partner. Raise DataError where the folder does not hold
    such a layout, and UsageError where `direction` is b2a but the layout has no domains a and b to swap.
    """
    if direction == "b2a" and layout in LAYOUTS_WITHOUT_B:
        raise UsageError(
            f"--direction b2a swaps two domains, and data of layout {layout} has no such two; leave it out"
        )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds {LAYOUT_CONTENTS[layout]}")
    read = partial(read_paired, skip_unmatched=skip_unmatched) if layout == "paired" else LAYOUTS[layout]
    images_of_split = read(root, split)
    return images_of_split.swapped() if direction == "b2a" else images_of_split


def held_out_split(root: Path, layout: str, direction: str = "a2b", *, skip_unmatched: bool = False) -> Split | None:
    """Find the validation split, else the test split; None where the folder has neither."""
    split = next((split for split in ("val", "test") if has_split(root, split)), None)
    return find_split(root, layout, split, direction, skip_unmatched=skip_unmatched) if split else None


def has_split(root: Path, split: str) -> bool:
    """Return whether there is a folder for a split, by the names of any layout."""
    return (root / split).is_dir() or (root / f"{split}A").is_dir()


def has_twin_folders(root: Path, split: str) -> bool:
    """Return whether A and B of a split are in folders of their own, rather than side by side in each file."""
    return (root / f"{split}A").is_dir() or (root / f"{split}B").is_dir()


def _list_nonempty(path: Path, layout: str) -> list[Path]:
    """List the images of a folder; DataError where there are none."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; {path.parent} must hold {LAYOUT_CONTENTS[layout]}")
    paths = images.list_images(path)
    if not paths:
        raise DataError(f"{path}: no images in it; put some there ({images.READABLE_FORMATS})")
    return paths


def _halves(paths: list[Path], paired: bool) -> Split:
    return Split(tuple(ImageRef(p, "left") for p in paths), tuple(ImageRef(p, "right") for p in paths), paired)


def _side_by_side(root: Path, split: str, layout: str) -> list[Path] | None:
    """List the files of root/split with A on the left and B on the right; None where there are folders for A and B."""
    if has_twin_folders(root, split) or not (root / split).is_dir():
        return None
    _check_side_by_side(root, split)
    return _list_nonempty(root / split, layout)


def _check_side_by_side(root: Path, split: str) -> None:
    """Raise DataError where a folder holds just two folders of images: they are two domains, and no halves of images."""
    folder = root / split
    if labels.loose_images(folder):
        return
    names = [path.name for path in labels.subfolders(folder) if images.list_images(path)]
    if len(names) != 2:
        return
    held = f"{folder}: holds the folders {join_names(names)}, not files with A and B side by side"
    twins = f"{split}A", f"{split}B"
    if sorted(name.casefold() for name in names) == [name.casefold() for name in twins]:
        raise DataError(f"{held}; give {folder} instead of {root}, or move the two folders up")
    raise DataError(f"{held}; for two domains rename them to {root / twins[0]} and {root / twins[1]}")


def read_unpaired(root: Path, split: str) -> Split:
    """Read splitA/ and splitB/, or side-by-side files whose halves are drawn independently."""
    joined = _side_by_side(root, split, "unpaired")
    if joined is not None:
        return _halves(joined, paired=False)
    a, b = _list_nonempty(root / f"{split}A", "unpaired"), _list_nonempty(root / f"{split}B", "unpaired")
    return Split(tuple(map(ImageRef, a)), tuple(map(ImageRef, b)), paired=False)


def read_paired(root: Path, split: str, skip_unmatched: bool = False) -> Split:
    """Read splitA/ and splitB/, whose files match by name (see `pairing.match_names`), or side-by-side files.

    Raise DataError where an image has no partner, or shares its name with another of its domain; with `skip_unmatched` only
    where there is no pair at all.
    """
    joined = _side_by_side(root, split, "paired")
    if joined is not None:
        return _halves(joined, paired=True)
    folders = root / f"{split}A", root / f"{split}B"
    a, b = (_list_nonempty(folder, "paired") for folder in folders)
    match = pairing.match_names(a, b, folders)
    if not match.is_one_to_one and not (skip_unmatched and match.pairs):
        raise DataError(
            f"{root}: {pairing.describe_mismatch(match, folders)}, or use an unpaired method such as cyclegan"
        )
    refs_a, refs_b = (tuple(ImageRef(pair[side]) for pair in match.pairs) for side in (0, 1))
    return Split(refs_a, refs_b, paired=True, notices=tuple(pairing.describe_match(match, folders)))


def read_domains(root: Path, split: str) -> Split:
    """Read split/<domain>/…, labelled with the domains of train in sorted order; or split/ and a table of attributes."""
    if (root / labels.ATTRIBUTE_TABLE).is_file():
        return _read_with_table(root, split)
    names = _domain_names(root, "train")
    own = {nfc(name): name for name in _domain_names(root, split)}
    if unknown := [name for key, name in own.items() if key not in map(nfc, names)]:
        raise DataError(
            f"{root / split / unknown[0]}: no domain of train, which has {', '.join(names)}; rename or remove the folder"
        )
    folders = [root / split / own.get(nfc(name), name) for name in names]  # val and test may lack some of them
    labelled = [
        (label, path)
        for label, folder in enumerate(folders)
        if folder.is_dir()
        for path in _list_nonempty(folder, "domains")
    ]
    return Split(tuple(ImageRef(path) for _, path in labelled), (), False, tuple(label for label, _ in labelled), names)


def _domain_names(root: Path, split: str) -> tuple[str, ...]:
    """Names of the domain folders of a split; DataError where train has fewer than two, or images lie beside the folders."""
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {root} must hold {LAYOUT_CONTENTS['domains']}")
    if loose := labels.loose_images(folder):
        raise DataError(
            f"{loose[0]}: is in no domain's folder; move it into one, or write {labels.ATTRIBUTE_TABLE}: {root} must hold "
            f"{LAYOUT_CONTENTS['domains']}"
        )
    names = tuple(path.name for path in labels.subfolders(folder))
    if len(names) < (2 if split == "train" else 1):
        raise DataError(f"{folder}: {len(names)} folders in it; {root} must hold {LAYOUT_CONTENTS['domains']}")
    labels.check_label_names(names, folder)
    return names


def _read_with_table(root: Path, split: str) -> Split:
    """Read split/ with the rows of the table of attributes, which may hold those of other splits too."""
    paths = _list_nonempty(root / split, "domains")
    others = [name for name in SPLITS if name != split and (root / name).is_dir()]
    listed = {split: paths} | {name: images.list_images(root / name) for name in others}
    relative = {name: [nfc(path.relative_to(root / name).as_posix()) for path in of] for name, of in listed.items()}
    table = root / labels.ATTRIBUTE_TABLE
    names, rows = labels.read_attribute_table(table, {name: frozenset(of) for name, of in relative.items()})
    if missing := [path for path in relative[split] if path not in rows]:
        raise DataError(
            f"{table}: no row for {len(missing)} images of {split}/, among them {missing[0]!r}; add rows, or remove the images"
        )
    return Split(tuple(map(ImageRef, paths)), (), False, tuple(rows[path] for path in relative[split]), names)


def read_image_folder(root: Path, split: str) -> Split:
    """Read any folder of images: ROOT/train if there is one, else ROOT.

    Images are labelled with the subfolders of train where all of its images lie in two or more; −1 is one that train lacks.
    """
    folder = _folder_of_images(root, split)
    paths = _list_nonempty(folder, "images")
    train = folder if split == "train" else root / "train"
    names = labels.class_names(train, paths if split == "train" else images.list_images(train))
    numbers = {nfc(name): i for i, name in enumerate(names)}
    known = tuple(numbers.get(nfc(labels.class_of(folder, path)), -1) for path in paths) if names else ()
    return Split(tuple(map(ImageRef, paths)), (), False, known, names)


def read_captioned(root: Path, split: str) -> Split:
    """Read any folder of images with captions: ROOT/train if there is one, else ROOT.

    Captions are in captions.txt or captions.csv, in this folder or in ROOT, or are the names of two or more subfolders in which
    all images lie. Labels are the tokens of an image's captions, one after another, or their embeddings where captions.npy has
    them (`captions.caption_labels`).
    """
    folder = _folder_of_images(root, split)
    paths = _list_nonempty(folder, "captions")
    refs = tuple(map(ImageRef, paths))
    table = captions.find_caption_file((folder, root))
    if table is None:
        names = labels.class_names(folder, paths)
        if not names:
            raise DataError(
                f"{folder}: no {' or '.join(captions.CAPTION_FILES)} there or in {root}, and no subfolders whose names are "
                f"captions; write one of the files"
            )
        labels.check_label_names(names, folder)
        of_images = [[captions.Caption(caption_of_folder(labels.class_of(folder, path)))] for path in paths]
        return Split(refs, (), False, captions.caption_labels(of_images), names)
    relative = [nfc(path.relative_to(table.parent).as_posix()) for path in paths]
    everything = {nfc(path.relative_to(table.parent).as_posix()) for path in images.list_images(table.parent)}
    known = captions.read_captions(table, everything)
    if missing := [path for path in relative if path not in known]:
        raise DataError(
            f"{table}: no caption for {len(missing)} images, among them {missing[0]!r}; add lines, or remove the images"
        )
    size = len(known[relative[0]][0].embedding)
    return Split(refs, (), False, captions.caption_labels([known[path] for path in relative]), embedding_size=size)


def read_photos(root: Path, split: str) -> Split:
    """Read any folder of photos, of which a method makes its pairs: ROOT/train if there is one, else ROOT."""
    paths = _list_nonempty(_folder_of_images(root, split), "photos")
    return Split(tuple(map(ImageRef, paths)), (), False)


def _folder_of_images(root: Path, split: str) -> Path:
    """Folder of a split's images; DataError where it would be the root itself, which holds other splits or two domains."""
    if split != "train" or (root / "train").is_dir():
        return root / split
    twins = [f"{name}{side}" for name in SPLITS for side in "AB" if (root / f"{name}{side}").is_dir()]
    if twins:
        raise DataError(
            f"{root}: holds {' and '.join(twins[:2])}, which are two domains; give one, as {root / twins[0]}"
        )
    if held := [name for name in SPLITS if (root / name).is_dir()]:
        raise DataError(f"{root}: holds {held[0]}/, but no train/; put the images to train on into {root / 'train'}")
    return root


LAYOUTS: dict[str, Callable[[Path, str], Split]] = {
    "unpaired": read_unpaired,
    "paired": read_paired,
    "domains": read_domains,
    "images": read_image_folder,
    "captions": read_captioned,
    "photos": read_photos,
}
LAYOUTS_WITHOUT_B = ("domains", "images", "captions", "photos")
"""Layouts without two domains a and b."""
LAYOUTS_WITH_TRUTH = ("paired", "photos")
"""Layouts that show the true output of each input to the training."""

LAYOUT_CONTENTS = {
    "unpaired": "trainA/ and trainB/, or train/ with A and B side by side in each file",
    "paired": "trainA/ and trainB/ with the same names, or train/ with A and B side by side in each file",
    "domains": f"train/<domain>/ with images for each of two or more domains, or train/ and {labels.ATTRIBUTE_TABLE} with a "
    "row for each",
    "images": "images",
    "captions": "images with captions.txt or captions.csv, or in folders whose names are captions",
    "photos": "photos",
}
"""Contents that the folder of each layout must have, in words for messages."""

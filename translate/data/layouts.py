"""Which images of a folder belong to which domain. No image is opened here: layouts are decided by names alone."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from translate import images
from translate.data import labels
from translate.data.split import ImageRef, Split
from translate.errors import DataError, UsageError

SPLITS = ("train", "val", "test")


def find_split(root: Path, layout: str, split: str = "train", direction: str = "a2b") -> Split:
    """The images of a split; DataError if the folder does not hold such a layout.

    UsageError where there are no two domains that direction b2a could swap.
    """
    if direction == "b2a" and layout in LAYOUTS_WITHOUT_B:
        raise UsageError(
            f"--direction b2a swaps two domains, and data of layout {layout} has no such two; leave it out"
        )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds {LAYOUT_CONTENTS[layout]}")
    found = LAYOUTS[layout](root, split)
    return found.swapped() if direction == "b2a" else found


def held_out_split(root: Path, layout: str, direction: str = "a2b") -> Split | None:
    """The validation split, else the test split, else None."""
    split = next((split for split in ("val", "test") if has_split(root, split)), None)
    return find_split(root, layout, split, direction) if split else None


def has_split(root: Path, split: str) -> bool:
    """Whether there is a folder of a split, by the names of any layout."""
    return (root / split).is_dir() or (root / f"{split}A").is_dir()


def _folder(path: Path, layout: str) -> list[Path]:
    """The images of a folder that must have some."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; {path.parent} must hold {LAYOUT_CONTENTS[layout]}")
    found = images.list_images(path)
    if not found:
        raise DataError(f"{path}: no images in it; put some there ({', '.join(sorted(images.READABLE_EXTENSIONS))})")
    return found


def _halves(paths: list[Path], paired: bool) -> Split:
    return Split(tuple(ImageRef(p, "left") for p in paths), tuple(ImageRef(p, "right") for p in paths), paired)


def _side_by_side(root: Path, split: str, layout: str) -> list[Path] | None:
    """Files of root/split with A on the left and B on the right; None where twin folders are there."""
    if (root / f"{split}A").is_dir() or (root / f"{split}B").is_dir() or not (root / split).is_dir():
        return None
    return _folder(root / split, layout)


def unpaired(root: Path, split: str) -> Split:
    """splitA/ and splitB/, or side-by-side files whose halves are drawn apart."""
    joined = _side_by_side(root, split, "unpaired")
    if joined is not None:
        return _halves(joined, paired=False)
    a, b = _folder(root / f"{split}A", "unpaired"), _folder(root / f"{split}B", "unpaired")
    return Split(tuple(map(ImageRef, a)), tuple(map(ImageRef, b)), paired=False)


def paired(root: Path, split: str) -> Split:
    """splitA/ and splitB/ whose files match by relative path without extension, or side-by-side files."""
    joined = _side_by_side(root, split, "paired")
    if joined is not None:
        return _halves(joined, paired=True)
    a, b = root / f"{split}A", root / f"{split}B"
    stems_a, stems_b = _by_stem(_folder(a, "paired"), a), _by_stem(_folder(b, "paired"), b)
    lonely = [f"{a.name}/{s}" for s in stems_a.keys() - stems_b.keys()]
    lonely += [f"{b.name}/{s}" for s in stems_b.keys() - stems_a.keys()]
    if lonely:
        some = ", ".join(sorted(lonely)[:5]) + (", …" if len(lonely) > 5 else "")
        raise DataError(
            f"{root}: {len(lonely)} images have no partner of the same name: {some}; rename or remove them, or use an "
            f"unpaired method such as cyclegan"
        )
    stems = sorted(stems_a)
    return Split(tuple(ImageRef(stems_a[s]) for s in stems), tuple(ImageRef(stems_b[s]) for s in stems), paired=True)


def _by_stem(paths: list[Path], root: Path) -> dict[str, Path]:
    """Relative path without extension → file; DataError where two files share it."""
    stems: dict[str, Path] = {}
    for path in paths:
        name = relative_stem(path, root)
        if name in stems:
            raise DataError(f"{path} and {stems[name].name} would be the same pair; rename one of them")
        stems[name] = path
    return stems


def relative_stem(path: Path, root: Path) -> str:
    """What files are matched by: the path below a folder, without extension."""
    return str(PurePosixPath(path.relative_to(root).as_posix()).with_suffix(""))


def domains(root: Path, split: str) -> Split:
    """split/<domain>/…, labelled with the domains of train in sorted order; or as a table of attributes says."""
    if (root / labels.ATTRIBUTE_TABLE).is_file():
        return _by_table(root, split)
    names = _domain_names(root, "train")
    if unknown := [name for name in _domain_names(root, split) if name not in names]:
        raise DataError(
            f"{root / split / unknown[0]}: train has no such domain, but {', '.join(names)}; rename or remove it"
        )
    folders = [root / split / name for name in names]  # of which another split than train may lack some
    found = [(i, path) for i, folder in enumerate(folders) if folder.is_dir() for path in _folder(folder, "domains")]
    return Split(tuple(ImageRef(path) for _, path in found), (), False, tuple(label for label, _ in found), names)


def _domain_names(root: Path, split: str) -> tuple[str, ...]:
    """Of train, two at least. DataError where images lie beside the folders."""
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {root} must hold {LAYOUT_CONTENTS['domains']}")
    if loose := labels.loose_images(folder):
        raise DataError(
            f"{loose[0]}: lies in no domain's folder; move it into one, or write {labels.ATTRIBUTE_TABLE}: {root} must hold "
            f"{LAYOUT_CONTENTS['domains']}"
        )
    names = tuple(path.name for path in labels.subfolders(folder))
    if len(names) < (2 if split == "train" else 1):
        raise DataError(f"{folder}: {len(names)} folders in it; {root} must hold {LAYOUT_CONTENTS['domains']}")
    labels.check_label_names(names, folder)
    return names


def _by_table(root: Path, split: str) -> Split:
    """The images of split/ with the rows of the table, which may say more: of the images of other splits."""
    wanted = _folder(root / split, "domains")
    others = [name for name in SPLITS if name != split and (root / name).is_dir()]
    listed = {split: wanted} | {name: images.list_images(root / name) for name in others}
    below = {name: [path.relative_to(root / name).as_posix() for path in paths] for name, paths in listed.items()}
    names, rows = labels.read_attribute_table(
        root / labels.ATTRIBUTE_TABLE, {name: frozenset(paths) for name, paths in below.items()}
    )
    if lost := [path for path in below[split] if path not in rows]:
        raise DataError(
            f"{root / labels.ATTRIBUTE_TABLE}: no row for {len(lost)} images of {split}/, among them {lost[0]!r}; add them, or remove "
            f"the images"
        )
    return Split(tuple(map(ImageRef, wanted)), (), False, tuple(rows[path] for path in below[split]), names)


def one_folder(root: Path, split: str) -> Split:
    """Any folder of images: ROOT/train if there is one, else ROOT.

    Labelled with the subfolders of train where all of its images lie in two or more; −1 is one that train lacks.
    """
    folder = _folder_of_images(root, split)
    paths = _folder(folder, "images")
    train = folder if split == "train" else root / "train"
    names = labels.class_names(train, paths if split == "train" else images.list_images(train))
    numbers = {name: i for i, name in enumerate(names)}
    known = tuple(numbers.get(labels.class_of(folder, path), -1) for path in paths) if names else ()
    return Split(tuple(map(ImageRef, paths)), (), False, known, names)


def _folder_of_images(root: Path, split: str) -> Path:
    """DataError where the root itself would be taken, but holds more than one thing."""
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
    "unpaired": unpaired,
    "paired": paired,
    "domains": domains,
    "images": one_folder,
}
LAYOUTS_WITHOUT_B = ("domains", "images")
"""Layouts without two domains called a and b."""

LAYOUT_CONTENTS = {
    "unpaired": "trainA/ and trainB/, or train/ with A and B side by side in each file",
    "paired": "trainA/ and trainB/ with the same names, or train/ with A and B side by side in each file",
    "domains": f"train/<domain>/ with images for each of two or more domains, or train/ and {labels.ATTRIBUTE_TABLE} with a row for each",
    "images": "images",
}
"""What the folder of each layout must hold, in words."""

"""Inputs of a conversion: files by relative path, and the division into shards."""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from translate import images, videos
from translate.errors import DataError, UsageError
from translate.text import join_names

LOOKED_AT = 10_000
"""Files with other names, at most, whose first bytes are read."""


@dataclass(frozen=True)
class Listing:
    """Inputs of a conversion."""

    root: Path
    """Folder that paths are relative to."""
    inputs: tuple[str, ...]
    """Sorted paths with `/` of files that are images by their extension, also of formats that are not allowed."""
    others: int = 0
    """Number of other files."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Folder that cannot be listed → reason."""
    notices: tuple[str, ...] = ()
    """Lines on what is passed over though a user may take it for an input."""
    source: str = ""
    """INPUT as a user gave it."""


def list_inputs(source: str | Path, output: Path, may_be_empty: bool = False) -> Listing:
    """List an image, a folder with all its subfolders, or a glob; files below `output` are left out.

    DataError if there are no images, unless the input `may_be_empty`; UsageError if the output is the input.
    """
    path, pattern = Path(source), str(source)
    notes = images.WalkNotes()
    if path.is_dir():
        root, found = path, list_folder(path, output, notes)
    elif path.exists():
        root, found = path.parent, [path.name]
    elif glob.has_magic(pattern):
        root = Path(*_until_magic(Path(pattern).parts))
        matches = sorted({Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file()})
        found = [p.relative_to(root).as_posix() for p in matches]
        if not found:
            raise DataError(f"{source}: no file matches")
    else:
        raise DataError(f"{source}: no such file or folder")
    check_output_folder(root, output)
    if not path.is_dir():
        found = _without_outputs(found, root, output)
    inputs = tuple(filter(is_input, found))
    others = [name for name in found if not is_input(name)] if len(inputs) < len(found) else []
    clips = list(filter(videos.is_video, others))
    if clips and not inputs and not may_be_empty:
        raise UsageError(f"{source}: videos need PyAV: {videos.INSTALL}")
    if not inputs and not notes.unreadable and not may_be_empty:
        raise DataError(f"{source}: no images to convert; readable: {images.READABLE_FORMATS}")
    return Listing(root, inputs, len(others), notes.unreadable, (*_notices(root, others, clips, notes),), str(source))


def is_input(name: str | os.PathLike[str]) -> bool:
    """Return True if a file is an image by its extension, also of a format that is not allowed, or a video that can be read."""
    ext = images.extension(name)
    return ext in images.IMAGE_EXTENSIONS or (ext in videos.VIDEO_FORMATS and videos.can_read_videos())


def list_folder(root: Path, output: Path, notes: images.WalkNotes) -> list[str]:
    """Return the sorted paths with `/` of all files below a folder that are not in the output folder."""
    return _without_outputs(images.list_names(root, irregular=True, notes=notes), root, output)


def _without_outputs(names: list[str], root: Path, output: Path) -> list[str]:
    """Return the names that are not in the output folder, even by way of links."""
    if _inside(output, root):
        within = _folders_inside(names, root, output)
        names = [name for name in names if not _leads_into(name, root, output, within)]
    if root.resolve() == output.resolve() or _inside(root, output):
        return names
    within = _folders_inside(names, root, output)
    return [name for name in names if not within[_folder_of(name)]]


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def _folders_inside(names: list[str], root: Path, output: Path) -> dict[str, bool]:
    """Return for each folder of the names whether what it holds is in the output folder."""
    return {folder: _inside(root / folder / "x", output) for folder in set(map(_folder_of, names))}


def _leads_into(name: str, root: Path, output: Path, within: Mapping[str, bool]) -> bool:
    """Return whether a file, or what it is a link to, is in the output folder."""
    path = os.path.join(root, name)
    return _inside(Path(path), output) if os.path.islink(path) else within[_folder_of(name)]  # noqa: PTH114 (faster)


def _notices(root: Path, others: list[str], clips: list[str], notes: images.WalkNotes) -> Iterator[str]:
    """Name the other files that look like images, the videos that cannot be read, and the links that were not entered."""
    if clips:
        yield f"{len(clips)} videos are left out: {join_names(clips)}; to convert them: {videos.INSTALL}"
    if hidden := [name for name in others[:LOOKED_AT] if images.looks_like_image(root / name)]:
        yield f"{len(hidden)} files are ignored for their names but look like images: {join_names(hidden)}; rename them"
    if notes.repeated:
        yield (
            f"{len(notes.repeated)} linked folders are not entered, since they lead to a folder that is listed already: "
            f"{join_names(notes.repeated)}"
        )


def check_output_folder(root: Path, output: Path) -> None:
    """Raise UsageError if the output folder is a file, or the input folder."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is a file; give a folder for the outputs")
    if output.is_dir() and output.resolve() == root.resolve():
        raise UsageError(f"{output}: the output folder is the input folder; give another folder")


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    """Yield the parts of a path up to the first with a wildcard."""
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _inside(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a job, which as many processes or machines convert at the same time."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(f"--shard {self.index}/{self.count}: I must be from 0 to N - 1")

    @property
    def name(self) -> str:
        """Name of the shard in file names; empty if it is the only one."""
        return f"{self.index}-of-{self.count}" if self.count > 1 else ""

    @property
    def manifest(self) -> str:
        """File name of its manifest."""
        return f"manifest-{self.name}.jsonl" if self.name else "manifest.jsonl"

    def contains(self, name: str) -> bool:
        """Return True if an input belongs to this shard: by a hash of its relative path, whatever other inputs there are."""
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index


WHOLE = Shard(0, 1)


def resolve_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> tuple[Shard, str]:
    """Return the shard that `--shard I/N` asks for, else that of torchrun or a Slurm array, and the name of its origin.

    UsageError if the text is not I/N with I from 0 to N − 1.
    """
    if text is not None:
        numbers = text.split("/")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise UsageError(f"--shard {text}: must be I/N, for example 0/4")
        return Shard(int(numbers[0]), int(numbers[1])), "--shard"
    if "SLURM_ARRAY_TASK_ID" in environment:
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
        count = int(environment["SLURM_ARRAY_TASK_COUNT"])
        return Shard((int(environment["SLURM_ARRAY_TASK_ID"]) - first) // step, count), "SLURM_ARRAY_TASK_ID"
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return Shard(int(environment["RANK"]), int(environment["WORLD_SIZE"])), "RANK"
    return WHOLE, ""

"""Protection of files that a conversion must not overwrite."""

import os
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from translate.conversion.output_paths import Item
from translate.images import ImageError


class InputFiles:
    """The real paths of all inputs, `names` below `root`: with `in`.

    Outputs are asked for, whose real paths are below `output` but for links: only the inputs there are kept, since millions of
    paths take gigabytes.
    """

    def __init__(self, root: Path, names: Sequence[str], output: Path) -> None:
        self.root, self.names = os.fspath(root), names
        self.below = os.path.join(os.path.realpath(output), "")
        self.kept = {path for path in self._real_paths() if path.startswith(self.below)}

    def __contains__(self, path: object) -> bool:
        return path in (self.kept if str(path).startswith(self.below) else self._all)

    def _real_paths(self) -> Iterator[str]:
        folders: dict[str, str] = {}
        for name in self.names:
            folder, _, last = name.rpartition("/")
            if folder not in folders:
                folders[folder] = os.path.realpath(os.path.join(self.root, folder))
            path = os.path.join(folders[folder], last)
            yield os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114 (faster)

    @cached_property
    def _all(self) -> set[str]:
        return set(self._real_paths())


@dataclass(frozen=True)
class OverwriteGuard:
    """Guard of inputs, and of files that this job did not write."""

    output: Path
    inputs: Container[str]
    """Real paths of all inputs."""
    was_written: Callable[[str], bool]
    """Function that returns whether the job has written an output of this name, relative to the folder."""
    overwrite: bool
    """True if files that are not inputs may be replaced."""

    def check(self, item: Item) -> None:
        """Raise ImageError if the output must not be written."""
        target = self.output / item.output
        if os.path.realpath(target) in self.inputs:
            raise ImageError(f"the output {item.output} would replace an input")
        if (link := linked_folder(self.output, target)) is not None:
            raise ImageError(f"{link} is a link, which outputs do not follow; remove it")
        if os.path.lexists(target) and not self.overwrite and not self.was_written(item.output):
            raise ImageError(f"exists: {item.output} was not written by this job; --overwrite replaces it")


def linked_folder(folder: Path, target: Path) -> Path | None:
    """Return the first folder on the way up from `target` to `folder`, which holds it, that is a link; None if none is."""
    between = target.relative_to(folder).parents
    return next((folder / parent for parent in between if parent.parts and (folder / parent).is_symlink()), None)

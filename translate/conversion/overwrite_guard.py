"""Protection of files that a conversion must not overwrite."""

import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from translate.conversion.output_paths import Item
from translate.images import ImageError


@dataclass(frozen=True)
class OverwriteGuard:
    """Guard of inputs, and of files that this job did not write."""

    output: Path
    inputs: Set[str]
    """Real paths of all inputs."""
    known_outputs: Set[str]
    """Outputs in the manifests, relative to the folder."""
    overwrite: bool
    """True if files that are not inputs may be replaced."""

    def check(self, item: Item) -> None:
        """Raise ImageError if the output must not be written."""
        target = self.output / item.output
        if os.path.realpath(target) in self.inputs:
            raise ImageError(f"the output {item.output} would replace an input")
        if (link := linked_folder(self.output, target)) is not None:
            raise ImageError(f"{link} is a link, which outputs do not follow; remove it")
        if os.path.lexists(target) and not self.overwrite and item.output not in self.known_outputs:
            raise ImageError(f"exists: {item.output} was not written by this job; --overwrite replaces it")


def linked_folder(folder: Path, target: Path) -> Path | None:
    """Return the first folder on the way up from `target` to `folder`, which holds it, that is a link; None if none is."""
    between = target.relative_to(folder).parents
    return next((folder / parent for parent in between if parent.parts and (folder / parent).is_symlink()), None)

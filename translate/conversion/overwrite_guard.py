"""What a job may not write over."""

import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from translate.conversion.output_paths import Item
from translate.images import ImageError


@dataclass(frozen=True)
class OverwriteGuard:
    """Keeps inputs, and files that this job has not made, from being replaced."""

    output: Path
    inputs: Set[str]
    """Real paths of all inputs."""
    known_outputs: Set[str]
    """Outputs that the journals know, by their names below the folder."""
    overwrite: bool
    """Whether other files than inputs may be replaced."""

    def check(self, item: Item) -> None:
        """ImageError where the output may not be made."""
        target = self.output / item.output
        if os.path.realpath(target) in self.inputs:
            raise ImageError(f"the output {item.output} would replace an input")
        if os.path.lexists(target) and not self.overwrite and item.output not in self.known_outputs:
            raise ImageError(f"exists: {item.output} was not made by this job; --overwrite replaces it")

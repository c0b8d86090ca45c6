"""Style of an example image, for models with an encoder of styles."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Style:
    """Style of an example image."""

    code: Tensor
    """Code that the model's encoder gives it."""
    sha256: str
    """SHA-256 of the file."""

"""Classes of images as settings and as tensors, for methods that are given the class of an image."""

import torch
from torch import Tensor

from translate.errors import UsageError


def classes_of_data(given: str | None, names: tuple[str, ...], exclusive: bool, method: str, remedy: str) -> str | None:
    """Return the names of the data's labels as the setting `classes` has them; None where there are fewer than two.

    given: classes that the settings ask for; None: those of the data. exclusive: an image has one of the labels. remedy: words
    that say what to do where the labels are no classes. UsageError there, and if the settings ask for other classes.
    """
    if names and not exclusive:
        raise UsageError(f"{method} needs classes, of which an image has one, but the data has attributes; {remedy}")
    if with_comma := [name for name in names if "," in name]:
        raise UsageError(f"class {with_comma[0]!r} has a comma in its name; rename it, or {remedy}")
    classes = ",".join(names) if len(names) > 1 else None
    if given not in (None, classes):
        raise UsageError(f"--classes {given}: the data has {classes or 'none'}; leave it out")
    return classes


def one_hot(label: Tensor, count: int) -> Tensor:
    """Return labels (N,) as bool (N, count); none is true where the label is −1, of a class that is not known."""
    return label[:, None] == torch.arange(count, device=label.device)

"""Data types of outputs, from those of their inputs."""

from collections.abc import Sequence

import numpy as np

from translate import images


def output_type(
    given: images.StoredType, declared: images.ValueRange | None, allowed_depths: Sequence[str]
) -> images.StoredType:
    """Return the data type and range of an output, from those of its input (`given`).

    An output has the type of its input. Where a range is declared (for the target domain, or else for the input), it has that,
    in a type that holds it (`images.type_for_range`); else that of the type. Where the format does not hold the type, values
    are scaled to the full range of the next best one.
    """
    if declared is not None:
        wanted = images.StoredType(images.type_for_range(declared, given.dtype), declared)
    elif images.type_range(given.dtype) is None:  # signed, though the target has no negative values
        wanted = images.StoredType(np.dtype(np.uint8 if given.dtype.itemsize == 1 else np.uint16))
    else:
        wanted = images.StoredType(given.dtype)
    if wanted.dtype.name in allowed_depths:
        return wanted
    if wanted.dtype.kind == "f" and "float32" in allowed_depths:
        return images.StoredType(np.dtype(np.float32), declared)
    deep = "uint16" in allowed_depths and wanted.dtype.itemsize > 1
    return images.StoredType(np.dtype(np.uint16 if deep else np.uint8))

"""Choice of the labelled images of semi-supervised learning: a few of each class, the others lose their labels."""

from dataclasses import replace

from translate import keyed_random
from translate.data.split import Split
from translate.errors import UsageError

UNKNOWN = -1
"""Label of images whose class is not shown."""


def divide_labelled(split: Split, count: int | None, seed: int) -> tuple[Split, Split]:
    """Return all images of a split, of which only the chosen ones have labels, and the chosen ones alone.

    split: images with classes. count: labelled images, as many of each class, one more of the first ones where that is not
    possible; None: all that have a class. The seed decides which they are. UsageError where a class has too few, or gets none.
    """
    groups = {label: split.indices_by_label().get(label, []) for label in range(len(split.label_names))}
    if count is None:
        chosen = sorted(i for indices in groups.values() for i in indices)
    else:
        if count < len(groups):
            raise UsageError(
                f"--labelled {count}: the data has {len(groups)} classes, and each needs an image; give at least {len(groups)}"
            )
        chosen = []
        for label, indices in groups.items():
            share = count // len(groups) + (label < count % len(groups))
            if len(indices) < share:
                fewest = min(map(len, groups.values()))
                raise UsageError(
                    f"--labelled {count}: takes {share} images of {split.label_names[label]}, which has {len(indices)}; "
                    f"give at most {fewest * len(groups)}"
                )
            order = keyed_random.permutation(len(indices), seed, "labelled", label)[:share]
            chosen += [indices[i] for i in order.tolist()]
    kept = set(chosen)
    hidden = tuple(label if i in kept else UNKNOWN for i, label in enumerate(split.labels))
    labelled = replace(
        split, a=tuple(split.a[i] for i in sorted(kept)), labels=tuple(split.labels[i] for i in sorted(kept))
    )
    return replace(split, labels=hidden), labelled

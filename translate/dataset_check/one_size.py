"""Check that whole images fit together in a training, from all of their headers, before the first step."""

from collections.abc import Iterable, Iterator

from translate.data.preprocessing import PREPROCESS, Preprocessing
from translate.data.split import ImageRef, Split
from translate.dataset_check.probe import read_header
from translate.errors import DataError


def check_one_size(split: Split, preprocessing: Preprocessing, batch_size: int, reason: str) -> None:
    """Raise DataError where whole images (`config.WHOLE_IMAGES`) are loaded at several sizes but must be of one.

    The images of a domain must if several of them form a batch, and those of both domains if the method has a `reason`. The
    b of a pair has the size of its a. Files whose header cannot be read are left out: loading them says why.
    """
    if preprocessing.random_crop_size is not None or (batch_size == 1 and not reason):
        return
    domains = ("a",) if split.paired else split.domains
    groups = [[ref for domain in domains for ref in split.refs(domain)]] if reason else map(split.refs, domains)
    for refs in groups:
        first: tuple[ImageRef, tuple[int, int]] | None = None
        for ref, size in _loaded_sizes(refs, preprocessing):
            if first is None:
                first = ref, size
            elif size != first[1]:
                raise DataError(
                    f"--preprocess {preprocessing.preprocess} loads {first[0].path} at {first[1][1]}×{first[1][0]} pixels and "
                    f"{ref.path} at {size[1]}×{size[0]}; {reason or 'a batch holds images of one size'}: use "
                    f"{'' if reason else '--batch-size 1, or '}a --preprocess that crops"
                )


def _loaded_sizes(refs: Iterable[ImageRef], preprocessing: Preprocessing) -> Iterator[tuple[ImageRef, tuple[int, int]]]:
    """Yield images with the height and width at which they are loaded."""
    for ref in refs:
        header = read_header(ref.path, frames=False)
        if header is not None and not (ref.half and header.width < 2):
            right = header.width - header.width // 2  # of an odd width, the right half has the middle column
            width = {"": header.width, "left": header.width // 2, "right": right}[ref.half]
            yield ref, PREPROCESS[preprocessing.preprocess](header.height, width, preprocessing)

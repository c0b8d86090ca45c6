"""Values of reference beside those of a model: of copying the input, of mapping its colours alone, and of real images.

They are computed on the same test images by the same metrics, and kept in the user's cache.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import images, records
from translate.data.split import ImageRef, Split, evenly_spaced
from translate.errors import DataError
from translate.evaluation.evaluator import Evaluator, Subject
from translate.evaluation.image_sets import ImageSet, ReadOptions, read_image_set
from translate.evaluation.made_inputs import InputMaker
from translate.evaluation.metrics import METRICS
from translate.evaluation.uncertainty import Estimate
from translate.nn.colour_map import PixelStatistics, optimal_transport_map
from translate.user_cache import read_cached, write_cached
from translate.version import __version__

TRAINING_IMAGES = 256
"""Images of each domain, evenly spaced over the training split, from which the colour map is taken at most."""

NEEDS_OF_PAIRS = ("pairs", "pairs, border", "pairs, weights")
"""Rows of NEEDS that compare each output with its true image."""

REFERENCE_NEEDS = (*NEEDS_OF_PAIRS, "features", "logits", "images", "images by place")
"""Rows of NEEDS with values of reference. Metrics against the input, which copying wins by definition, and of the model itself
have none."""


@dataclass(frozen=True)
class ReferenceSources:
    """Images beside those under evaluation, from which references are made."""

    root: Path
    """Data folder."""
    find_training: Callable[[], Split]
    """Find the training images: those of the inputs' domain as a, those of the target domain as b. DataError without any."""
    read_inputs: ReadOptions
    """Options with which images of the inputs' domain are read."""
    read_outputs: ReadOptions
    """Options with which images of the target domain are read."""
    is_training: bool = False
    """True if the images under evaluation are the training images."""
    maker: InputMaker | None = None
    """Rule by which inputs are made of photos; None where inputs are files."""

    def read_input(self, ref: ImageRef) -> ImageSet:
        """Read the file of an input; or make it of its photo, as an image of the photo's size."""
        if self.maker is None:
            return read_image_set((ref,), self.root, self.read_inputs)
        return self.maker.make_copies(read_image_set((ref,), self.root, self.read_outputs))


@dataclass(frozen=True)
class Reference:
    """Row of REFERENCES: images in the place of a model's."""

    title: str
    """Name for tables and messages."""
    training: Callable[[Subject, ReferenceSources], tuple[Sequence[ImageRef], Sequence[ImageRef]]]
    """Choose the training images of the inputs' and of the target domain that it is made from. DataError without any."""
    make: Callable[[Subject, ReferenceSources, Sequence[ImageRef], Sequence[ImageRef]], ImageSet]
    """Make the images, from the training images chosen. DataError where that is not possible."""
    in_pairs: bool
    """True if its images belong to the inputs, in their order."""


def _no_training(subject: Subject, sources: ReferenceSources) -> tuple[Sequence[ImageRef], Sequence[ImageRef]]:
    return (), ()


def _training_of_both(subject: Subject, sources: ReferenceSources) -> tuple[Sequence[ImageRef], Sequence[ImageRef]]:
    split = sources.find_training()
    a, b = (tuple(refs[i] for i in evenly_spaced(len(refs), TRAINING_IMAGES)) for refs in (split.a, split.b))
    return a, b


def _training_of_target(subject: Subject, sources: ReferenceSources) -> tuple[Sequence[ImageRef], Sequence[ImageRef]]:
    """Choose as many as there are outputs, where there are: values that depend on the number of images then compare."""
    if sources.is_training:
        raise DataError("the images under evaluation are training images themselves")
    refs = sources.find_training().b
    return (), tuple(refs[i] for i in evenly_spaced(len(refs), len(subject.outputs)))


def copy_inputs(subject: Subject, sources: ReferenceSources, a: Sequence[ImageRef], b: Sequence[ImageRef]) -> ImageSet:
    """Return the inputs as they are, with the channels of the target domain: grey as colour, colour as grey (BT.601)."""
    inputs = _inputs_of(subject)
    if inputs.labels is not None:
        raise DataError("the inputs are label maps")
    converted = tuple(_with_channels(inputs.pixels(i)[0], sources.read_outputs.channels) for i in range(len(inputs)))
    return ImageSet(inputs.names, converted, formats="8 bits, lossless")


def _with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Convert an image (C, H, W) uint8. DataError unless the numbers of channels agree or are 1 and 3."""
    if len(pixels) == channels:
        return pixels
    if (len(pixels), channels) == (1, 3):
        return pixels.repeat(3, 1, 1)
    if (len(pixels), channels) == (3, 1):
        grey = torch.einsum("chw,c->hw", pixels.double(), torch.from_numpy(images.LUMA))
        return grey.round()[None].to(torch.uint8)
    raise DataError(f"the domains have {len(pixels)} and {channels} channels")


def map_colours(subject: Subject, sources: ReferenceSources, a: Sequence[ImageRef], b: Sequence[ImageRef]) -> ImageSet:
    """Return the inputs under the linear optimal-transport map between the pixels of training images of the two domains.

    DataError unless the domains have as many channels.
    """
    if sources.read_inputs.labels is not None:
        raise DataError("the inputs are label maps")
    inputs, channels = _inputs_of(subject), (sources.read_inputs.channels, sources.read_outputs.channels)
    if channels[0] != channels[1]:
        raise DataError(f"the domains have {channels[0]} and {channels[1]} channels")
    source = PixelStatistics.of(sources.read_input(ref).normalized(0) for ref in a)
    target = PixelStatistics.of(read_image_set((ref,), sources.root, sources.read_outputs).normalized(0) for ref in b)
    matrix, bias = optimal_transport_map(source, target)
    mapped = []
    for i in range(len(inputs)):
        x = inputs.normalized(i)[0].double()
        mapped.append(images.quantize(torch.einsum("dc,chw->dhw", matrix, x) + bias[:, None, None]))
    return ImageSet(inputs.names, tuple(mapped), formats="8 bits, lossless")


def _real_images(subject: Subject, sources: ReferenceSources, a: Sequence[ImageRef], b: Sequence[ImageRef]) -> ImageSet:
    return read_image_set(b, sources.root, sources.read_outputs)


def _inputs_of(subject: Subject) -> ImageSet:
    assert subject.copied_inputs is not None  # a case of a model has them
    return subject.copied_inputs


REFERENCES = {
    "copying": Reference("copying", _no_training, copy_inputs, in_pairs=True),
    "colour_map": Reference("colour map", _training_of_both, map_colours, in_pairs=True),
    "real": Reference("real against real", _training_of_target, _real_images, in_pairs=False),
}
"""Table of the references, by their key in the results."""


def compute_references(
    evaluator: Evaluator, sources: ReferenceSources, say: Callable[[str], None]
) -> dict[str, dict[str, Estimate]]:
    """Compute the values of each reference, for the metrics that the evaluator has computed: reference → key → estimate.

    A reference that the images do not allow is left out, and a line says why; so is a metric of it.
    """
    found: dict[str, dict[str, Estimate]] = {}
    missing: dict[str, list[str]] = {}
    test_images = _digest_of_test_images(evaluator.subject)
    for name, reference in REFERENCES.items():
        if reference.in_pairs and evaluator.subject.copied_inputs is None:  # images from noise
            continue
        rows = [row for row in evaluator.settings if _has_reference(row, reference)]
        try:
            values = _values(evaluator, sources, name, rows, test_images, say) if rows else {}
        except (DataError, OSError) as e:
            missing.setdefault(str(e), []).append(reference.title)
            values = {}
        found |= {name: values} if values else {}
    for reason, titles in missing.items():
        say(f"no reference {' and '.join(titles)}: {reason}")
    return found


def _has_reference(row: str, reference: Reference) -> bool:
    needs = METRICS[row].needs
    return needs in REFERENCE_NEEDS and (reference.in_pairs or needs not in NEEDS_OF_PAIRS)


def _values(
    evaluator: Evaluator,
    sources: ReferenceSources,
    name: str,
    rows: Sequence[str],
    test_images: str,
    say: Callable[[str], None],
) -> dict[str, Estimate]:
    """Return the values of one reference, from the cache where they are there; images are made once, if at all."""
    reference = REFERENCES[name]
    a, b = reference.training(evaluator.subject, sources)
    known = {
        "reference": name,
        "test images": test_images,
        "training images": [_digest_of_files(refs) for refs in (a, b)],
        "read": [
            [options.size, options.channels, options.value_range]
            for options in (sources.read_inputs, sources.read_outputs)
        ],
        "inputs made by": sources.maker.description if sources.maker else None,
        "seed": evaluator.seed,
        "device": torch.device(evaluator.device).type,
        "code": [__version__, _digest_of_code()],
    }
    made: Evaluator | None = None
    values: dict[str, Estimate] = {}
    for row in rows:
        key = json.dumps([known, row, evaluator.settings[row]], sort_keys=True)
        place = f"references/{hashlib.sha256(key.encode()).hexdigest()}.json"
        estimates = _from_json(read_cached(place))
        if estimates is None:
            if made is None:
                outputs = reference.make(evaluator.subject, sources, a, b)
                made = evaluator.with_outputs(outputs, in_pairs=reference.in_pairs)
            try:
                estimates = made.compute(row)
            except DataError as e:
                say(f"left out of the reference {reference.title}: {e}")
                continue
            write_cached(place, {key: [each.value, each.error] for key, each in estimates.items()})
        values |= {key: Estimate(each.value, each.error) for key, each in estimates.items()}
    return values


def _from_json(content: Any) -> dict[str, Estimate] | None:
    """Return the estimates that a file of the cache holds; None unless it holds such."""
    if not records.is_table_of(content, partial(records.is_list_of, is_valid=_is_figure)):
        return None
    if not content or not all(len(row) == 2 and row[0] is not None for row in content.values()):
        return None
    return {key: Estimate(*row) for key, row in content.items()}


def _is_figure(value: Any) -> bool:
    return value is None or records.is_number(value)


def _digest_of_test_images(subject: Subject) -> str:
    """Return the SHA-256 of inputs, if any, and real images in 8 bits, in their order, and of whether they are pairs."""
    digest = hashlib.sha256(str(subject.truth is not None).encode())
    for image_set in filter(None, (subject.copied_inputs, subject.real)):
        digest.update(b"set")
        for image in image_set:
            digest.update(f"{tuple(image.shape)}".encode() + image.numpy().tobytes())
    return digest.hexdigest()


def _digest_of_files(refs: Sequence[ImageRef]) -> str:
    digest = hashlib.sha256()
    for ref in refs:
        digest.update(ref.half.encode() + hashlib.sha256(ref.path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _digest_of_code() -> str:
    """Return the SHA-256 of the source of all metrics and of the colour map: another version of one is another value."""
    place = Path(__file__).parent
    paths = [*sorted(place.glob("*.py")), place.parent / "nn" / "colour_map.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()

"""Comparison of an exported file with the model that it was made from, on images of three sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from translate.errors import ModelError
from translate.trained.exported.graph import GraphSpec, TranslationGraph
from translate.trained.folder import TrainedModel
from translate.trained.image_layout import padded_length

TOLERANCES = {"fp32": 1e-4, "fp16": 0.1}
"""Largest difference that is accepted, of values in [-1, 1]. In fp32 rounding gives about 1e-6, and a wrong operation far
more. In fp16 a number has 11 bits, 5e-4 of its value, and a few dozen layers with norms add to that."""
MAX_LEVELS = {"fp32": 1, "fp16": 13}
"""The same in steps of 8 bits: rounding may turn, since 1e-4 is less than a step; fp16's 0.1 is 13 steps."""
USUAL_SIDE = 64
"""Side of the smallest image, in pixels, where the size rule asks for none that is larger."""


@dataclass(frozen=True)
class Difference:
    """Largest difference between the outputs of a file and of the model."""

    largest: float
    """In values of [-1, 1], or in steps of 8 bits."""
    sizes: tuple[tuple[int, int, int], ...]
    """Batch, height and width of the images."""
    is_8_bit: bool

    def __str__(self) -> str:
        sizes = ", ".join(f"{n}×{height}×{width}" for n, height, width in self.sizes)
        unit = " of 255" if self.is_8_bit else ""
        return f"largest difference {self.largest:.2g}{unit} on images of {sizes}"


def compare(model: TrainedModel, spec: GraphSpec, run: Callable[[Tensor], Tensor]) -> Difference:
    """Compare what `run` gives with the model, by its own layers in float32 and without noise.

    ModelError if the difference is larger than TOLERANCES, or one gives values that are not finite.
    """
    graph = TranslationGraph(model, GraphSpec(spec.to, "fp32", spec.with_preprocessing), plain=False).eval()
    sizes, largest = image_sizes(model.info.size, spec.with_preprocessing), 0.0
    for size in sizes:
        given = graph.example(*size)
        with torch.inference_mode():
            wanted = graph(given)
        found = run(given)
        if found.shape != wanted.shape:
            raise ModelError(
                f"{model.source}: the exported file gives {tuple(found.shape)} for {size}, not {tuple(wanted.shape)}"
            )
        largest = max(largest, (found.double() - wanted.double()).abs().nan_to_num(float("inf")).max().item())
    difference = Difference(largest, sizes, spec.with_preprocessing)
    limit = (MAX_LEVELS if spec.with_preprocessing else TOLERANCES)[spec.dtype]
    if not largest <= limit:
        raise ModelError(
            f"{model.source}: the exported file differs from the model: {difference}, more than {limit:g}; it was not written"
            + ("; use --dtype fp32" if spec.dtype == "fp16" else "")
        )
    return difference


def image_sizes(rule: dict[str, int], with_preprocessing: bool) -> tuple[tuple[int, int, int], ...]:
    """Return batch, height and width of three images by a size rule; with preprocessing of sizes that need padding."""
    step, base = padded_length(1, rule["multiple_of"], 16), padded_length(USUAL_SIDE, **rule)
    off = 3 if with_preprocessing else 0
    return (1, base - off, base), (2, base, base + step + off), (1, base + step - off, base - off)


def run_program(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return the function that a `.pt2` file holds. For files that this process has written: torch unpickles them."""
    import io

    program: Any = torch.export.load(io.BytesIO(content)).module()

    def run(image: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = program(image)
        return found

    return run

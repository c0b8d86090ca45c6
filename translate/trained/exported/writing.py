"""Files that `translate export` writes: ONNX, and programs of torch.export. Both take any height, width and batch size."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx.experimental import _config

from translate.errors import UsageError
from translate.text import file_size, one_line
from translate.trained.exported.graph import TranslationGraph
from translate.trained.exported.metadata import INPUT, OUTPUT
from translate.trained.extras import import_extra
from translate.trained.folder import TrainedModel

OPSET = 20
"""Version of ONNX's operations: ONNX Runtime has them from 1.17 on."""
MAX_BYTES = 2**31
"""Size that a file of ONNX stays below: its format counts bytes in 31 bits."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Context without the exporter's warnings: they are about its own insides."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def trace(model: TrainedModel, graph: TranslationGraph) -> torch.export.ExportedProgram:
    """Trace a graph for all sizes. UsageError if torch cannot, as for networks of plug-ins whose code depends on sizes."""
    batch = torch.export.Dim("batch", min=1)
    if graph.spec.with_preprocessing:
        height, width = (torch.export.Dim(name, min=1) for name in ("height", "width"))
        dims, sides = {0: batch, 1: height, 2: width}, (53, 71)
    else:
        step, least = graph.size["multiple_of"], -(-graph.size["minimum"] // graph.size["multiple_of"])
        height, width = (step * torch.export.Dim(name, min=least) for name in ("height", "width"))
        dims, sides = {0: batch, 2: height, 3: width}, (step * (2 * least + 9), step * (2 * least + 13))
    example = graph.example(2, *sides)
    try:
        # Sizes are treated as unknown, so that no branch is taken by whether one of them is 1.
        with _quiet(), torch.no_grad(), _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            return torch.export.export(graph, (example,), dynamic_shapes=(dims,), strict=False)
    except Exception as e:  # torch raises errors of many classes
        raise UsageError(
            f"{model.source}: its {model.info.generator_name} cannot be exported: torch.export says: {one_line(e)[:300]}"
        ) from None


def encode_program(program: torch.export.ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """Return a program as a `.pt2` file; its metadata are extra files, by name."""
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer, extra_files=dict(metadata))
    return buffer.getvalue()


def encode_onnx(program: torch.export.ExportedProgram, metadata: Mapping[str, str], scale: int) -> bytes:
    """Return a program as an ONNX file. UsageError if the extra `export` is not installed."""
    import_extra("export", ".onnx", "onnxscript", "onnx")
    with _quiet(), torch.no_grad():
        converted = torch.onnx.export(
            program, dynamo=True, verbose=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
        )  # fmt: skip
    assert converted is not None, "a program"
    proto = converted.model_proto
    _tidy(proto, metadata, scale)
    if (size := proto.ByteSize()) >= MAX_BYTES:
        raise UsageError(
            f".onnx: the model has {file_size(size)}, and a file of ONNX less than 2 GB; use --dtype fp16 or .pt2"
        )
    return proto.SerializeToString(deterministic=True)


def _tidy(proto: Any, metadata: Mapping[str, str], scale: int) -> None:
    """Name the sizes, describe the model, and remove what tells of this machine: the paths in the exporter's notes."""
    del proto.graph.value_info[:]
    for part in (proto.graph, *proto.functions):
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
        del part.metadata_props[:]
    for tensor in (*proto.graph.input, *proto.graph.output):
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    for values, larger in ((proto.graph.input[0], 1), (proto.graph.output[0], scale)):
        prefix = "" if larger == 1 else f"{larger}_"
        names = iter(("batch", f"{prefix}height", f"{prefix}width"))
        for dim in values.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.dim_param = next(names)
    proto.producer_name, _, proto.producer_version = metadata["producer"].partition(" ")
    proto.graph.name = "translation"
    proto.graph.doc_string = f"{metadata['model_name']}. Sizes: {metadata['size_rule']}."
    del proto.metadata_props[:]
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value

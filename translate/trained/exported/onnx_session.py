"""ONNX files in use: the checks before one is run, and ONNX Runtime.

A file is data: an interpreter of known operations runs it. What would reach beyond it is refused: weights in
other files, which may be any files of the machine, operations of other libraries, and loops, which may never end. A file that
asks for more memory than is free gets an error instead of what others need.
"""

import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translate.errors import ModelError
from translate.runtime.memory import free_memory
from translate.text import memory_size, one_line, printable
from translate.trained.exported.metadata import INPUT
from translate.trained.extras import import_extra

KNOWN_DOMAINS = ("", "ai.onnx")
"""Domains of ONNX's own operations, which exported files are made of."""
ENDLESS = ("Loop", "Scan")
"""Operations that repeat others as often as the file or the image says; no exported file has them."""


class OnnxSession:
    """ONNX file, ready to run on the CPU; it may be called from several threads.

    Args:
        source: Name of the file, for messages.
        content: The file. ModelError if it is damaged, or needs more than what is in it.
        threads: Threads that it computes with; None: those of torch.

    UsageError if the extra `export` is not installed.
    """

    def __init__(self, source: object, content: bytes, threads: int | None = None) -> None:
        runtime = import_extra("export", f"{source}", "onnxruntime", "onnx")
        self.source = source
        self.metadata = _checked_metadata(source, content)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # none: errors are raised
        _limit_memory(runtime)
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # errors of many classes, which have no base of their own
            raise ModelError(f"{source}: ONNX Runtime cannot use it: {_reason(e)}") from None
        if [given.name for given in self._session.get_inputs()] != [INPUT] or len(self._session.get_outputs()) != 1:
            raise ModelError(f"{source}: does not have one input, {INPUT}, and one output")

    def __call__(self, image: Tensor) -> Tensor:
        """Return the output for an input on the CPU. RuntimeError where ONNX Runtime fails, as when memory runs out."""
        try:
            (output,) = self._session.run(None, {INPUT: np.ascontiguousarray(image.numpy())})
        except Exception as e:
            raise RuntimeError(f"ONNX Runtime: {_reason(e)}") from None
        return torch.from_numpy(output)


@cache
def _limit_memory(runtime: ModuleType) -> None:
    """Let all sessions of the process together take no more memory than is free now.

    Linux promises a process more than there is, and kills some program when it is used.
    """
    place = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    limit = runtime.OrtArenaCfg({"max_mem": free_memory(torch.device("cpu"))})
    runtime.create_and_register_allocator(place, limit)


def _reason(error: Exception) -> str:
    """Return what ONNX Runtime says in one line."""
    found = re.search(r"Available memory of (\d+) is smaller than requested bytes of (\d+)", str(error))
    if found is None:
        return one_line(error)[:300]
    free, asked = (memory_size(int(count)) for count in found.groups())
    return f"Failed to allocate memory: {asked} asked for, {free} free"


def _checked_metadata(source: object, content: bytes) -> dict[str, str]:
    """Return the entries of a file's description. ModelError where it is damaged or would reach beyond itself."""
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
    except Exception as e:  # those of protobuf, by its version
        raise ModelError(f"{source}: not an ONNX file, or a damaged one ({type(e).__name__})") from None
    for graph in _graphs(proto):
        for node in graph.node:
            if node.op_type in ENDLESS:
                raise ModelError(f"{source}: refused: its operation {node.op_type} may repeat others without end")
            if node.domain not in KNOWN_DOMAINS:
                raise ModelError(
                    f"{source}: refused: its operation {printable(node.op_type)} is of the library {printable(node.domain)}"
                )
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(
                f"{source}: refused: its weight {printable(tensor.name)} is in another file; export it as one file"
            )
    return {entry.key: entry.value for entry in proto.metadata_props}


def _graphs(proto: Any) -> Iterator[Any]:
    """Yield the graph of a file, its functions, and all graphs inside their nodes, however deep."""
    waiting = [proto.graph, *proto.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(proto: Any) -> Iterator[Any]:
    """Yield all stored tensors of a file."""
    for graph in _graphs(proto):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from [attribute.t] if attribute.HasField("t") else []
                yield from attribute.tensors
                sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                for each in (*sparse, *attribute.sparse_tensors):
                    yield from (each.values, each.indices)

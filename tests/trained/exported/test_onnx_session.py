"""ONNX files are data: what would reach beyond the file is refused before it is opened."""

from pathlib import Path

import numpy as np
import pytest
import torch

from translate.errors import ModelError
from translate.runtime.memory import is_out_of_memory
from translate.trained.exported.onnx_session import OnnxSession

from .helpers import negating_file

pytest.importorskip("onnxruntime", reason="needs the extra export")
onnx = pytest.importorskip("onnx", reason="needs the extra export")


def external(name: str) -> "onnx.TensorProto":
    """A weight that claims to be in another file."""
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def nested(graph: "onnx.GraphProto") -> "onnx.NodeProto":
    """A node with a graph inside."""
    return onnx.helper.make_node("If", ["condition"], ["x"], then_branch=graph, else_branch=graph)


def test_a_file_runs() -> None:
    session = OnnxSession("x.onnx", negating_file({"name": "value"}))
    assert session.metadata == {"name": "value"}
    x = torch.rand(2, 3, 5, 7)
    assert torch.equal(session(x), -x)


def test_an_input_that_it_cannot_take_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="ONNX Runtime: "):
        OnnxSession("x.onnx", negating_file({}))(torch.rand(2, 4, 5, 7))


def field(number: int, content: bytes) -> bytes:
    """A message inside another, as protobuf writes it."""
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def nested_deeply(levels: int) -> bytes:
    """A file whose graph has a node that has a graph, and so on."""
    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(6, graph)))  # GraphProto.node, NodeProto.attribute, AttributeProto.g
    return field(7, graph)


def hostile() -> dict[str, tuple[bytes, str]]:
    inner = onnx.helper.make_graph([], "inner", [], [], initializer=[external("deep")])
    foreign = onnx.helper.make_node("Shell", ["image"], ["y"], domain="com.example")
    foreign_inner = onnx.helper.make_graph([foreign], "inner", [], [])
    constant = onnx.helper.make_node("Constant", [], ["c"], value=external("constant"))
    claimed = onnx.TensorProto(
        name="claimed", data_type=onnx.TensorProto.FLOAT, dims=[2**17, 2**17]
    )  # 64 GiB, without one value
    added = onnx.helper.make_node("Add", ["claimed", "image"], ["sum"])
    loop = onnx.helper.make_node("Loop", ["", ""], ["c"], body=onnx.helper.make_graph([], "inner", [], []))
    file = negating_file({})
    return {
        "a weight of another file": (negating_file({}, initializer=[external("weight")]), "weight weight is in another file"),
        "a weight in a branch": (negating_file({}, nested(inner)), "deep is in another file"),
        "a constant of another file": (negating_file({}, constant), "constant is in another file"),
        "an operation of a library": (negating_file({}, foreign, domains=("com.example",)), "is of the library com"),
        "an operation in a branch": (negating_file({}, nested(foreign_inner)), "Shell is of the library"),
        "a loop": (negating_file({}, loop), "its operation Loop may repeat others without end"),
        "an unknown operation": (negating_file({}, onnx.helper.make_node("Nothing", ["image"], ["y"])), "cannot use it"),
        "a weight of 64 GiB in 200 bytes": (negating_file({}, added, initializer=[claimed]), "cannot use it"),
        "ten thousand graphs in each other": (nested_deeply(10_000), "not an ONNX file"),
        "half of a file": (file[: len(file) // 2], "x.onnx: "),
        "text": (b"no model at all", "not an ONNX file"),
        "nothing": (b"", "x.onnx: "),
    }  # fmt: skip


@pytest.mark.parametrize("kind", hostile())
def test_what_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    monkeypatch.chdir(tmp_path / "in")
    content, words = hostile()[kind]
    with pytest.raises(ModelError, match=words) as caught:
        OnnxSession("x.onnx", content)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_file_that_asks_for_more_memory_than_is_free_is_told_so() -> None:
    """12 TiB by a constant of 32 bytes; what it takes by the way is far less."""
    sizes = onnx.numpy_helper.from_array(np.array([1, 3, 2**37, 8]), "sizes")
    large = onnx.helper.make_node("ConstantOfShape", ["sizes"], ["large"])
    mean = onnx.helper.make_node("ReduceMean", ["large"], ["mean"], keepdims=0)
    session = OnnxSession("x.onnx", negating_file({}, large, mean, initializer=[sizes], offset="mean"))
    with pytest.raises(
        RuntimeError, match=r"^ONNX Runtime: Failed to allocate memory: 12288\.0 GiB asked for, .* free$"
    ) as caught:
        session(torch.rand(1, 3, 4, 4))
    assert is_out_of_memory(caught.value)
    assert "\n" not in str(caught.value)

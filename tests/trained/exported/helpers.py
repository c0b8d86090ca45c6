"""ONNX files made by hand, for tests without the exporter."""

from typing import Any

from translate.trained.exported.metadata import ExportRecord, make_metadata
from translate.trained.folder import TrainedModel


def negating_file(
    metadata: dict[str, str], *nodes: Any, domains: tuple[str, ...] = (), offset: str | None = None, **graph: Any
) -> bytes:
    """Return a file that gives the negative of its input, an image in [-1, 1]; further nodes and stored tensors, if given.

    offset: name of a tensor that is added to the output.
    """
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 3, "height", "width"]
    last = [helper.make_node("Add", ["negative", offset], ["translation"])] if offset else []
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("Neg", ["image"], ["negative" if offset else "translation"]), *nodes, *last],
            "translation",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("translation", TensorProto.FLOAT, shape)],
            **graph,
        ),
        opset_imports=[helper.make_opsetid("", 20), *(helper.make_opsetid(name, 1) for name in domains)],
        ir_version=10,
    )
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    assert onnx is not None
    return proto.SerializeToString()


def metadata_of(model: TrainedModel, to: str = "b", **changes: Any) -> dict[str, str]:
    """Return the metadata of an exported model."""
    record = ExportRecord(
        **{"to": to, "dtype": "fp32", "with_preprocessing": False, "weights_sha256": "0" * 64, **changes}
    )
    return make_metadata(model.info, record, 1)

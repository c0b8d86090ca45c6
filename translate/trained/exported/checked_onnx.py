"""ONNX files of trained models that were compared with the model before anything uses them."""

from translate.trained.exported.graph import GraphSpec, TranslationGraph
from translate.trained.exported.metadata import ExportRecord, make_metadata
from translate.trained.exported.onnx_session import OnnxSession
from translate.trained.exported.parity import Difference, compare
from translate.trained.exported.writing import encode_onnx, trace
from translate.trained.extras import import_extra
from translate.trained.folder import TrainedModel


def build_onnx(model: TrainedModel, spec: GraphSpec, name: object) -> tuple[bytes, Difference]:
    """Return a model as an ONNX file, and its difference to the model on images of three sizes.

    name: Name of the file or flag, for messages. UsageError where the model cannot be exported or the extra `export` is not
    installed; ModelError if the file differs from the model by more than `parity.TOLERANCES`.
    """
    import_extra("export", f"{name}", "onnx", "onnxscript", "onnxruntime")
    traced = TranslationGraph(model, spec).eval()
    scale = traced.generator.scale
    record = ExportRecord(spec.to, spec.dtype, spec.with_preprocessing, model.sha256)
    content = encode_onnx(trace(model, traced), make_metadata(model.info, record, scale), scale)
    return content, compare(model, spec, OnnxSession(name, content))

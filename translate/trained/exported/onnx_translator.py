"""Translator whose network is an ONNX file, computed by ONNX Runtime on the CPU."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import config, images
from translate.errors import ModelError, UsageError
from translate.methods import Method, find_recorded
from translate.nn.base import clamp_to_image_range
from translate.trained.exported.metadata import ExportRecord, read_metadata
from translate.trained.exported.onnx_session import OnnxSession
from translate.trained.folder import TrainedModel, check_info
from translate.trained.model_info import ModelInfo
from translate.trained.translator import Translator


class OnnxTranslator(Translator):
    """Translator of one direction, on the CPU, without noise. Its networks are shapes only, on the meta device."""

    def __init__(self, model: TrainedModel, record: ExportRecord) -> None:
        self.record = record
        super().__init__(model, torch.device("cpu"), "fp32", "direct", torch.device("meta"))

    @property
    def prefers_channels_last(self) -> bool:
        return False

    def check_target(self, to: str) -> None:
        if to != self.record.to:
            raise UsageError(f"--to {to}: {self.source} translates to {self.record.to} only; use --to {self.record.to}")


class _RunGraph:
    """The function `translate` of a method, computed by an ONNX file; on the meta device by the method's own layers."""

    def __init__(self, method: Method[Any], record: ExportRecord, session: OnnxSession) -> None:
        self.by_layers, self.record, self.session = method.translate, record, session

    def __call__(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        if x.is_meta:  # memory is measured
            return self.by_layers(x, to, None)
        if not self.record.with_preprocessing:
            return clamp_to_image_range(self.session(x.float()))
        pixels = self.session(images.quantize(x).permute(0, 2, 3, 1).contiguous())
        return images.normalize(pixels.permute(0, 3, 1, 2), torch.float32)


def load_onnx(
    path: Path, device: str = "auto", precision: str = "fp32", behaviour: tuple[object, object] = (None, None)
) -> OnnxTranslator:
    """Load an ONNX file that `translate export` has written. Nothing in it is code: operations of others are refused.

    behaviour: dropout and norm statistics, which are fixed in a file: None. ModelError where it is damaged or was not made by
    `translate export`; UsageError for another device than the CPU, another precision or behaviour than the file's own, and
    where the extra `export` is not installed.
    """
    if behaviour != (None, None):
        raise UsageError(
            f"{path}: its dropout and norms are fixed; give these flags with the model that it was made from"
        )
    if device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {device}: {path} runs on the CPU; leave it out, or give the model that it was made from"
        )
    if precision not in ("auto", "fp32"):
        raise UsageError(f"--precision {precision}: the arithmetic of {path} is fixed; leave it out")
    try:
        content = path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path}: cannot be read: {e.strerror}") from None
    session = OnnxSession(path, content)
    return make_translator(path, session, hashlib.sha256(content).hexdigest())


def make_translator(source: Path, session: OnnxSession, sha256: str) -> OnnxTranslator:
    """Return the translator that an opened ONNX file describes. ModelError where its description is damaged."""
    try:
        info, record = read_metadata(session.metadata)
    except ValueError as e:
        raise ModelError(f"{source}: {e}") from None
    method = _method(source, info, record)
    attribute = info.directions.get(record.to, next(iter(info.directions.values())))
    info = replace(info, directions={record.to: attribute}, dropout="off")
    notices = []
    if record.with_preprocessing:
        notices.append(
            f"{source}: has its preprocessing inside and computes with 8 bits: of deeper images the rest is lost"
        )
    method.translate = _RunGraph(method, record, session)  # type: ignore[method-assign]
    return OnnxTranslator(TrainedModel(source, method, info, sha256, notices=notices), record)


def _method(source: Path, info: ModelInfo, record: ExportRecord) -> Method[Any]:
    """Build the method that a description is of, on the meta device, as one without noise, styles and tiles."""
    cls = find_recorded(source, info.method, info.networks)
    try:
        method = cls.on_meta(config.resolve(cls.Config, (f"{source}", info.networks)))
        if not info.directions:
            raise ValueError("it has no directions")
        check_info(info, method)
        method.target_domains(record.to)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as e:
        raise ModelError(f"{source}: its description is not one of {info.method}: {' '.join(str(e).split())}") from None
    method.has_noise, method.style_networks = False, ()
    method.generator_sees_image_alone = False  # tiles need the layers of a network
    return method

"""Translator of a torch model whose whole images ONNX Runtime computes, by a file that is exported once and kept.

The file lies in the user's cache folder. Its name says which weights and which code it was made from, so that a change of
either makes a new one.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate import user_cache
from translate.errors import ModelError, UsageError
from translate.nn.base import clamp_to_image_range
from translate.text import file_size
from translate.trained.exported.checked_onnx import build_onnx
from translate.trained.exported.graph import GraphSpec, resolve_direction
from translate.trained.exported.metadata import SPEC
from translate.trained.exported.onnx_session import OnnxSession
from translate.trained.extras import import_extra
from translate.trained.folder import TrainedModel
from translate.trained.noise import has_active_dropout
from translate.trained.pixel_modes import check_pixel_mode
from translate.trained.translator import Translator

CACHE = "onnx"
"""Folder of the exported files in the user's cache folder."""
KEPT_FILES = 16
"""Files that are kept there; those that were used longest ago are removed."""
PACKAGES = ("torch", "onnx", "onnxscript")
"""Packages that the content of a file depends on."""

SayLine = Callable[[str], None]


class RuntimeTranslator(Translator):
    """Translator by ONNX Runtime on the CPU in float32, for models without noise.

    Parts of tiled images are computed by the layers of torch: their norms need the statistics of the whole image, which a file
    does not take.

    Args:
        model: The trained model. UsageError if its images depend on noise, or it cannot be exported.
        say: Gets a line when a model is exported, which takes seconds.
    """

    runtime = "onnx"

    def __init__(self, model: TrainedModel, say: SayLine) -> None:
        import_extra("export", "--runtime onnx", "onnxruntime", "onnx", "onnxscript")
        super().__init__(model, torch.device("cpu"), "fp32", "direct")
        self._model, self._say = model, say
        self._sessions: dict[str, OnnxSession] = {}
        self._check_noise()

    @property
    def prefers_channels_last(self) -> bool:
        return False

    def check_target(self, to: str) -> None:
        """Raise UsageError if the model does not translate to `to`, and open or export the files that this needs."""
        for target in self.method.target_domains(to):
            self._session(target)

    def check_pixels(self, pixels: str) -> None:
        check_pixel_mode(pixels)
        if pixels == "reference":
            raise UsageError(
                "--pixels reference --runtime onnx: the reference's last bits are those of torch; leave one of them out"
            )

    def _translate(self, batch: Tensor, to: str, key: Tensor) -> Tensor:
        return clamp_to_image_range(self._session(to)(batch))

    def _check_noise(self) -> None:
        """Raise UsageError for a model whose images depend on noise, which exported files leave out."""
        if self.method.has_noise:
            raise UsageError(
                f"--runtime onnx: {self.info.method} draws latent codes, which an exported file leaves out; use --runtime torch"
            )
        networks = [self.method.get_submodule(attribute) for attribute in self.info.directions.values()]
        if any(map(has_active_dropout, networks)):
            raise UsageError(
                "--runtime onnx: the model has dropout in conversion, which an exported file leaves out; use --dropout off or "
                "--runtime torch"
            )

    def _session(self, to: str) -> OnnxSession:
        if to not in self._sessions:
            self._sessions[to] = open_session(self._model, resolve_direction(self._model, to), self._say)
        return self._sessions[to]


def load_with_runtime(model: TrainedModel, device: str, precision: str, convolution: str, say: SayLine) -> Translator:
    """Return the translator of a model by ONNX Runtime. UsageError for another device, precision or convolution than it has."""
    for flag, value, possible in (
        ("--device", device, ("auto", "cpu")),
        ("--precision", precision, ("auto", "fp32")),
        ("--convolution", convolution, ("auto", "direct")),
    ):
        if value not in possible:
            raise UsageError(
                f"{flag} {value} --runtime onnx: ONNX Runtime computes here on the CPU, in fp32, by its own convolutions; "
                f"leave one of them out"
            )
    return RuntimeTranslator(model, say)


def open_session(model: TrainedModel, to: str, say: SayLine) -> OnnxSession:
    """Open the kept file of a model and a single target domain; export it first if there is none that can be used."""
    name = f"{CACHE}/{file_key(model, to)}.onnx"
    kept = user_cache.read_cached_bytes(name)
    session = None if kept is None else _opened(name, kept, model, to)
    if session is not None:
        user_cache.mark_used(name)
        return session
    say(f"--runtime onnx: exporting {model.info.title} for ONNX Runtime, once for these weights")
    content, difference = build_onnx(model, GraphSpec(to), "--runtime onnx")
    place = user_cache.write_cached_bytes(name, content)
    user_cache.keep_newest(CACHE, KEPT_FILES)
    where = f"kept as {place}" if place else "not kept: the cache folder cannot be written"
    say(f"--runtime onnx: {difference}; {file_size(len(content))}, {where}")
    return OnnxSession(name, content)


def _opened(name: str, content: bytes, model: TrainedModel, to: str) -> OnnxSession | None:
    """Return the session of a kept file; None if it is damaged or of other weights."""
    try:
        session = OnnxSession(name, content)
        record = json.loads(session.metadata.get(SPEC, "null"))
    except (ModelError, ValueError):
        return None
    wanted = {"to": to, "weights_sha256": model.sha256}
    return session if isinstance(record, dict) and wanted.items() <= record.items() else None


def file_key(model: TrainedModel, to: str) -> str:
    """Return the key of a file: a hash of the weights, the description, the target domain, the code and the exporter."""
    parts = [model.sha256, model.info.to_json(), to, _code_hash(), *(f"{name} {version(name)}" for name in PACKAGES)]
    parts += _plugin_hashes(model)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _code_hash() -> str:
    """Return the SHA-256 of the source files of this package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[2].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _plugin_hashes(model: TrainedModel) -> Iterator[str]:
    """Yield the SHA-256 of each file outside torch and this package that has code of the model's networks and method."""
    classes: set[type[Any]] = {*type(model.method).__mro__, *(type(module) for module in model.method.modules())}
    for name in sorted({cls.__module__ for cls in classes}):
        if name.partition(".")[0] not in ("torch", "translate", "builtins", "abc", "typing"):
            file = getattr(sys.modules.get(name), "__file__", None)
            yield hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else name

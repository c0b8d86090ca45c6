"""What makes a part of a job in another process, on this machine or another one."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.options import ConversionOptions
from translate.conversion.output_paths import Item
from translate.conversion.pipeline import THREADS, Pipeline
from translate.errors import UsageError
from translate.runtime import devices, signals
from translate.trained.folder import TrainedModel, build_method, collect_weights
from translate.trained.model_info import ModelInfo
from translate.trained.translator import Translator
from translate.version import __version__


@dataclass(frozen=True)
class JobSpec:
    """All that a worker must know: the model, by value, and what is made with it."""

    version: str
    """Of the package."""
    info: ModelInfo
    sha256: str
    precision: str
    weights: bytes
    """Of the generators that conversion needs, as safetensors keeps them."""
    converter_class: type[ItemConverter]
    root: Path
    output: Path
    options: ConversionOptions
    tag: str
    probe: Path
    """A file in the output folder."""
    token: bytes
    """Its content."""
    gpu: bool

    @classmethod
    def from_converter(cls, converter: ItemConverter, probe: Path, token: bytes, *, gpu: bool) -> "JobSpec":
        """To do elsewhere what this maker does here."""
        model = converter.translator
        weights = safetensors.torch.save(collect_weights(model.method, dict.fromkeys(model.info.directions.values())))
        return cls(
            __version__, model.info, model.sha256, model.precision.name, weights, type(converter),
            converter.root.absolute(), converter.output.absolute(), converter.options, converter.tag, probe, token, gpu,
        )  # fmt: skip

    def check(self) -> None:
        """UsageError where this machine has another version or other folders."""
        node = platform.node()
        if self.version != __version__:
            raise UsageError(
                f"--cluster: {node} has image-translate {__version__}, not {self.version}; "
                f"install the same version on all nodes"
            )
        if not self.root.is_dir() or not self.probe.is_file() or self.probe.read_bytes() != self.token:
            raise UsageError(
                f"--cluster: {node} does not see {self.root} and {self.output} of the machine that the job was started on; "
                f"use folders on a file system that all nodes share"
            )

    def converter(self) -> ItemConverter:
        """The maker, on this machine."""
        method = build_method(Path("the model"), self.info, safetensors.torch.load(self.weights))
        model = TrainedModel(Path("the model"), method, self.info, self.sha256)
        translator = Translator(model, devices.resolve_device("cuda" if self.gpu else "cpu"), self.precision)
        return self.converter_class(translator, self.root, self.output, self.options, tag=self.tag)


class Worker:
    """Holds the model and makes what it is given. `stop` may be called while another method runs."""

    def __init__(self) -> None:
        self.stopped = signals.StopRequest()

    def start(self, order: JobSpec) -> list[StagedOutput]:
        """Gets ready; makes nothing yet. UsageError where this machine cannot do the job."""
        order.check()
        if not order.gpu:
            torch.set_num_threads(1)
        self.threads = THREADS if order.gpu else 2
        self.converter = order.converter()
        return []

    def convert(self, items: Sequence[Item]) -> list[StagedOutput]:
        """Outputs under temporary names, and what failed; once stopped, only what had been begun. StorageError."""
        made: list[StagedOutput] = []
        Pipeline(self.converter, _checked_before, items, made.append, self.threads).run(self.stopped)
        return made

    def stop(self) -> None:
        """Nothing more is begun."""
        self.stopped.signal = 1


def _checked_before(item: Item) -> None:
    """The driver has, before it handed the item out."""

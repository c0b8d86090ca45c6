"""Worker: converts a part of a job in another process, on this machine or another one."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from translate.conversion.example_style import Style
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.options import ConversionOptions
from translate.conversion.output_paths import Item
from translate.conversion.pipeline import THREADS, Pipeline
from translate.convolution_choice import ConvolutionRecord, ConvolutionSetting
from translate.errors import UsageError
from translate.nn.tuned_conv import DIRECT
from translate.runtime import devices, signals
from translate.trained.folder import TrainedModel, build_method, collect_weights, exported_networks
from translate.trained.model_info import ModelInfo
from translate.trained.translator import Translator
from translate.version import __version__


@dataclass(frozen=True)
class JobSpec:
    """All that a worker needs: the model, by value, and the job."""

    version: str
    """Version of the package."""
    info: ModelInfo
    sha256: str
    precision: str
    convolution: ConvolutionSetting
    convolutions: ConvolutionRecord | None
    """Record of the job, by which all workers compute convolutions alike."""
    weights: bytes
    """Weights of the generators, as the content of a safetensors file."""
    converter_class: type[ItemConverter]
    root: Path
    output: Path
    options: ConversionOptions
    tag: str
    style: Style | None
    """Style by value: its image need not be on the nodes."""
    probe: Path
    """File in the output folder."""
    token: bytes
    """Content of the probe."""
    gpu: bool

    @classmethod
    def from_converter(cls, converter: ItemConverter, probe: Path, token: bytes, *, gpu: bool) -> "JobSpec":
        """Describe the job of a converter for another process."""
        model = converter.translator
        weights = safetensors.torch.save(collect_weights(model.method, exported_networks(model.info, model.method)))
        can_choose = gpu or model.device.type == "cpu"  # the driver cannot time what its workers compute with
        return cls(
            __version__, model.info, model.sha256, model.precision.name,
            model.convolution_setting if can_choose else ConvolutionSetting(DIRECT), model.convolutions, weights,
            type(converter),
            converter.root.absolute(), converter.output.absolute(), converter.options, converter.tag, converter.style, probe,
            token, gpu,
        )  # fmt: skip

    def check(self) -> None:
        """Raise UsageError if this machine has another version or other folders."""
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

    def build_converter(self) -> ItemConverter:
        """Build the converter on this machine."""
        method = build_method(Path("the model"), self.info, safetensors.torch.load(self.weights))
        model = TrainedModel(Path("the model"), method, self.info, self.sha256)
        device = devices.resolve_device("cuda" if self.gpu else "cpu")
        translator = Translator(model, device, self.precision)
        translator.convolution_setting = self.convolution
        translator.choose_convolutions(self.convolutions)
        return self.converter_class(translator, self.root, self.output, self.options, tag=self.tag, style=self.style)


class Worker:
    """Ray actor that holds the model and converts chunks. `stop` may be called while another method runs."""

    def __init__(self) -> None:
        self.stopped = signals.StopRequest()

    def start(self, job_spec: JobSpec) -> list[StagedOutput]:
        """Load the model. UsageError if this machine cannot do the job."""
        job_spec.check()
        if not job_spec.gpu:
            torch.set_num_threads(1)
        self.threads = THREADS if job_spec.gpu else 2
        self.converter = job_spec.build_converter()
        return []

    def convert(self, items: Sequence[Item]) -> list[StagedOutput]:
        """Convert items to outputs under temporary names, and failures; once stopped, only items that were started.

        StorageError if outputs cannot be written.
        """
        outputs: list[StagedOutput] = []
        Pipeline(self.converter, _checked_before, items, outputs.append, self.threads).run(self.stopped)
        return outputs

    def stop(self) -> None:
        """Stop: start no other item."""
        self.stopped.signal = 1


def _checked_before(item: Item) -> None:
    """Check nothing: the driver has checked the item."""

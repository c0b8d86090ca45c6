"""CUDA graphs: runners of a training step, which launch its kernels anew each time, or record them once and replay them.

A step is some thousand small kernels, and where they take less time than the host takes to launch them, the device waits. A
graph is launched as a whole. It always runs the kernels that it was recorded with, on the same addresses, with the same Python
numbers. So whatever changes from step to step is passed in tensors that stay at their address.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from translate.errors import UsageError
from translate.methods.base import Batch
from translate.runtime import devices, distributed
from translate.runtime.precision import Precision

WARMUP_STEPS = 3
"""Steps of each phase and shape that are launched before one is recorded: memory, cuDNN's choices and moments then exist."""
MAX_SHAPES = 8
"""Number of batch shapes that are recorded at most. Each graph holds memory of its own."""

Scalar = float | Tensor
"""A number of a step: a Python number, or a 0-dim tensor on the device."""
BatchShapes = tuple[tuple[tuple[str, torch.Size, torch.dtype], ...], ...]
"""Names, shapes and types of the tensors of each micro-batch."""


@dataclass(frozen=True)
class StepInputs:
    """Inputs of a step: all that its work depends on beside weights, buffers and optimizers."""

    phase: str
    """The method's phase: steps of one phase run the same operations."""
    batches: Sequence[Batch]
    """Micro-batches on the device, with their keys."""
    scalars: Mapping[str, float]
    """Numbers that change from step to step."""
    seed: int
    """Seed of torch's generators."""


@dataclass(frozen=True)
class StepOutputs:
    """Outputs of a step: 0-dim tensors on the device."""

    losses: dict[str, Tensor]
    """update/name → loss."""
    gradient_norms: dict[str, Tensor]
    """Update → norm of its gradient."""

    def copy(self) -> "StepOutputs":
        """Return a copy in memory of its own."""
        return StepOutputs(
            *({name: x.clone() for name, x in values.items()} for values in (self.losses, self.gradient_norms))
        )


StepFn = Callable[[Sequence[Batch], Mapping[str, Scalar]], StepOutputs]
"""Work of a step on the device: (batches, scalars) → outputs."""


class StepRunner(Protocol):
    """Runner of one step after another; all runners compute the same."""

    def __call__(self, work: StepFn, inputs: StepInputs) -> StepOutputs:
        """Run a step, with torch's generators seeded."""
        ...

    def invalidate(self) -> None:
        """Drop recordings; to be called when tensors that the work uses have been replaced."""
        ...


class DeviceScalars:
    """Named numbers as 0-dim tensors that keep their address, filled for each step by a kernel, not by a copy from the host."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.real = (
            torch.float32 if device.type == "cuda" else torch.float64
        )  # fused Adam on CUDA reads its rate as float32
        self._tensors: dict[str, Tensor] = {}

    def __call__(self, scalars: Mapping[str, float]) -> Mapping[str, Scalar]:
        """Return the tensors, filled with the numbers: int64 for integers, else floating point."""
        for name, value in scalars.items():
            if name not in self._tensors:
                dtype = torch.int64 if isinstance(value, int) else self.real
                self._tensors[name] = torch.empty((), dtype=dtype, device=self.device)
            self._tensors[name].fill_(value)
        return self._tensors


class EagerRunner:
    """Runner that launches the kernels of each step anew."""

    def __init__(self, device: torch.device) -> None:
        # On CUDA tensors, as a graph has them, so that both give the same bits; elsewhere Python numbers.
        self.scalars: Callable[[Mapping[str, float]], Mapping[str, Scalar]] = (
            DeviceScalars(device) if device.type == "cuda" else dict
        )

    def __call__(self, work: StepFn, inputs: StepInputs) -> StepOutputs:
        torch.manual_seed(inputs.seed)
        return work(inputs.batches, self.scalars(inputs.scalars))

    def invalidate(self) -> None:
        pass


class GraphRecorder(Protocol):
    """Recorder of work on a device."""

    def on_capture_stream(self) -> AbstractContextManager[Any]:
        """Launch the work within the block on the stream on which it will be recorded."""
        ...

    def record(self, work: Callable[[], StepOutputs]) -> tuple[Callable[[], None], StepOutputs]:
        """Record the work without executing it; returns the function that executes it, and where it leaves its outputs."""
        ...

    def invalidate(self) -> None:
        """Release the memory of all recordings."""
        ...


class CudaGraphRecorder:
    """Recorder of CUDA graphs, on one stream and with one memory pool, since they are replayed one after another."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, devices.new_stream(device)
        self.pool = devices.new_graph_pool()

    @contextmanager
    def on_capture_stream(self) -> Iterator[None]:
        current = devices.current_stream(self.device)
        self.stream.wait_stream(current)
        try:
            with devices.on_stream(self.stream):
                yield
        finally:
            current.wait_stream(self.stream)

    def record(self, work: Callable[[], StepOutputs]) -> tuple[Callable[[], None], StepOutputs]:
        graph = devices.new_graph()
        with devices.capture(graph, self.pool, self.stream):
            outputs = work()
        return graph.replay, outputs

    def invalidate(self) -> None:
        self.pool = devices.new_graph_pool()  # the old one is gone with the last graph in it


@dataclass(frozen=True)
class RecordedStep:
    """Recording of a step of one phase and shape."""

    batches: Sequence[Batch]
    """Tensors from which it reads its batches."""
    replay: Callable[[], None]
    outputs: StepOutputs
    """Tensors in which it leaves its outputs."""


class GraphRunner:
    """Runner that launches the steps of each phase and shape WARMUP_STEPS times, then records one, and replays it from then on.

    Recording executes nothing: the step in which that is done is replayed like those after it. Where it fails, or there are too
    many shapes, `say` gets a line, and all steps are launched from there on.
    """

    def __init__(self, device: torch.device, recorder: GraphRecorder, say: Callable[[str], None]) -> None:
        self.eager, self.scalars, self.recorder, self.say = EagerRunner(device), DeviceScalars(device), recorder, say
        self.eager.scalars = self.scalars  # so that optimizers have the rate of the last step, launched or replayed
        self.is_disabled = False
        self._launched: Counter[tuple[str, BatchShapes]] = Counter()
        self._recorded: dict[tuple[str, BatchShapes], RecordedStep] = {}
        self._batches: dict[BatchShapes, Sequence[Batch]] = {}
        """Tensors from which recordings of some shapes read their batches, in every phase. At first they hold zeros: a class, a
        token and a value of a pixel for whatever executes what it records."""

    def __call__(self, work: StepFn, inputs: StepInputs) -> StepOutputs:
        recorded = None if self.is_disabled else self._find(work, inputs)
        if recorded is None:
            with nullcontext() if self.is_disabled else self.recorder.on_capture_stream():
                return self.eager(work, inputs)
        _fill(recorded.batches, inputs.batches)
        self.scalars(inputs.scalars)
        torch.manual_seed(inputs.seed)  # a replay takes the seed of now: torch hands it to the graph with each one
        recorded.replay()
        return recorded.outputs.copy()  # the next replay writes over it

    def invalidate(self) -> None:
        self._launched.clear()
        self._recorded.clear()
        self._batches.clear()
        self.recorder.invalidate()

    def _find(self, work: StepFn, inputs: StepInputs) -> RecordedStep | None:
        """Return the recording of a step, made now if its warm-up is over; None: the step is to be launched."""
        shapes = _shapes(inputs.batches)
        key = inputs.phase, shapes
        if key not in self._recorded:
            if shapes not in self._batches:
                if len(self._batches) == MAX_SHAPES:
                    self._disable(f"batches have more than {MAX_SHAPES} shapes")
                    return None
                self._batches[shapes] = [{n: torch.zeros_like(x) for n, x in batch.items()} for batch in inputs.batches]
            self._launched[key] += 1
            if self._launched[key] <= WARMUP_STEPS or not self._record(key, work, inputs):
                return None
        return self._recorded[key]

    def _record(self, key: tuple[str, BatchShapes], work: StepFn, inputs: StepInputs) -> bool:
        """Record a step; False where that failed."""
        batches, scalars = self._batches[key[1]], self.scalars(inputs.scalars)
        try:
            replay, outputs = self.recorder.record(lambda: work(batches, scalars))
        except Exception as e:  # an error of the work itself is raised again when it is launched
            self._disable(f"recording a step failed ({_first_line(e)})")
            return False
        self._recorded[key] = RecordedStep(batches, replay, outputs)
        return True

    def _disable(self, reason: str) -> None:
        self.is_disabled = True
        self.invalidate()
        self.say(f"{NO_GRAPHS}: {reason}")


NO_GRAPHS = "steps run without CUDA graphs"


def build_runner(choice: str, device: torch.device, precision: Precision, say: Callable[[str], None]) -> StepRunner:
    """Return the runner of a training's steps; `choice` is on, off, or auto: off, until graphs have been measured on a GPU.

    Where graphs are asked for and not possible, `say` gets a line with the reason; without CUDA it is a UsageError.
    """
    if choice != "on":
        return EagerRunner(device)
    if device.type != "cuda":
        raise UsageError(f"--graph on: CUDA graphs need a CUDA device, not {device.type}; leave the flag out")
    if distributed.world_size() > 1:
        say(f"{NO_GRAPHS}: the exchange between several processes cannot be recorded")
        return EagerRunner(device)
    if precision.name == "fp16":
        say(f"{NO_GRAPHS}: the loss scale of fp16 is updated on the host in each step; bf16 needs none")
        return EagerRunner(device)
    return GraphRunner(device, CudaGraphRecorder(device), say)


def _shapes(batches: Sequence[Batch]) -> BatchShapes:
    return tuple(tuple((name, x.shape, x.dtype) for name, x in batch.items()) for batch in batches)


def _fill(targets: Sequence[Batch], batches: Sequence[Batch]) -> None:
    for target, batch in zip(targets, batches, strict=True):
        for name, x in batch.items():
            target[name].copy_(x)


def _first_line(error: BaseException) -> str:
    """Return the first line of the error that came first: breaking off a recording may raise another one."""
    while error.__context__ is not None and not error.__suppress_context__:
        error = error.__context__
    return next(iter(str(error).splitlines()), type(error).__name__)

"""How a step's work on the device is run: launched anew by the host each time, or recorded once as a CUDA graph and replayed.

A step is some thousand small kernels, and where they take less time than the host takes to launch them, the device waits. A
graph is launched as a whole. What it was recorded with stays as it was: the kernels, the places of all tensors, and every
Python number. So whatever changes from step to step is handed over in tensors that stay in their place.
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
from translate.runtime import distributed
from translate.runtime.precision import Precision

WARMUP_STEPS = 3
"""Steps of each kind that are launched before one is recorded: memory, cuDNN's choices and optimizers' moments then exist."""
MAX_SHAPES = 8
"""Different shapes of batches that are recorded. Each graph holds memory of its own."""

Scalar = float | Tensor
"""A number of a step: Python's, or a 0-dim tensor on the device."""
BatchShapes = tuple[tuple[tuple[str, torch.Size, torch.dtype], ...], ...]


@dataclass(frozen=True)
class StepInputs:
    """All that a step's work depends on beside weights, buffers and optimizers."""

    phase: str
    """The method's phase: work of one kind is the same operations."""
    batches: Sequence[Batch]
    """Micro-batches on the device, with their keys."""
    scalars: Mapping[str, float]
    """What changes from step to step."""
    seed: int
    """Of torch's generators."""


@dataclass(frozen=True)
class StepOutputs:
    """What a step tells, 0-dim tensors on the device."""

    losses: dict[str, Tensor]
    gradient_norms: dict[str, Tensor]
    """Their norms."""

    def copy(self) -> "StepOutputs":
        return StepOutputs(
            *({name: x.clone() for name, x in told.items()} for told in (self.losses, self.gradient_norms))
        )


StepFn = Callable[[Sequence[Batch], Mapping[str, Scalar]], StepOutputs]
"""A step's work on the device: (batches, numbers) → what it tells."""


class StepRunner(Protocol):
    """Runs the work of one step after another; all of them tell and do the same."""

    def __call__(self, work: StepFn, given: StepInputs) -> StepOutputs: ...

    def invalidate(self) -> None:
        """To be called where tensors that the work uses have been replaced."""
        ...


class DeviceScalars:
    """Named numbers as 0-dim tensors that keep their place: filled anew for each step, with no copy from the host."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.real = torch.float32 if device.type == "cuda" else torch.float64  # fused Adam on CUDA reads its rate so
        self._held: dict[str, Tensor] = {}

    def __call__(self, numbers: Mapping[str, float]) -> Mapping[str, Scalar]:
        for name, value in numbers.items():
            if name not in self._held:
                dtype = torch.int64 if isinstance(value, int) else self.real
                self._held[name] = torch.empty((), dtype=dtype, device=self.device)
            self._held[name].fill_(value)
        return self._held


class EagerRunner:
    """Launches the work anew each time."""

    def __init__(self, device: torch.device) -> None:
        # On CUDA as a graph has them, so that both give the same bits; elsewhere as they are.
        self.scalars: Callable[[Mapping[str, float]], Mapping[str, Scalar]] = (
            DeviceScalars(device) if device.type == "cuda" else dict
        )

    def __call__(self, work: StepFn, given: StepInputs) -> StepOutputs:
        torch.manual_seed(given.seed)
        return work(given.batches, self.scalars(given.scalars))

    def invalidate(self) -> None:
        pass


class GraphRecorder(Protocol):
    """What records work on a device."""

    def on_capture_stream(self) -> AbstractContextManager[Any]:
        """Within it work is launched where it will be recorded."""
        ...

    def record(self, work: Callable[[], StepOutputs]) -> tuple[Callable[[], None], StepOutputs]:
        """Goes through the work without executing it: what executes it, and where it then leaves what it tells."""
        ...

    def invalidate(self) -> None:
        """All that was recorded is given up."""
        ...


class CudaGraphRecorder:
    """Records CUDA graphs, on one stream and into one pool of memory, for they are replayed one after another."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def on_capture_stream(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            current.wait_stream(self.stream)

    def record(self, work: Callable[[], StepOutputs]) -> tuple[Callable[[], None], StepOutputs]:
        graph = torch.cuda.CUDAGraph()
        # Whatever other threads do on the device meanwhile is no reason to break off.
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            told = work()
        return graph.replay, told

    def invalidate(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()  # the old one is gone with the last graph in it


@dataclass(frozen=True)
class RecordedStep:
    """Work that was recorded."""

    batches: Sequence[Batch]
    """Where it reads its batches."""
    replay: Callable[[], None]
    outputs: StepOutputs
    """Where it leaves what it tells."""


class GraphRunner:
    """Launches the work of each kind and shape WARM_UP times, then records it, and from then on replays it.

    Recording executes nothing: the step in which that is done is replayed like those after it. Where it fails, or shapes are
    too many, a line says so and all work is launched from there on.
    """

    def __init__(self, device: torch.device, recorder: GraphRecorder, say: Callable[[str], None]) -> None:
        self.eager, self.scalars, self.recorder, self.say = EagerRunner(device), DeviceScalars(device), recorder, say
        self.is_disabled = False
        self._launched: Counter[tuple[str, BatchShapes]] = Counter()
        self._recorded: dict[tuple[str, BatchShapes], RecordedStep] = {}
        self._batches: dict[BatchShapes, Sequence[Batch]] = {}
        """Where work of some shapes reads its batches, whatever its kind."""

    def __call__(self, work: StepFn, given: StepInputs) -> StepOutputs:
        recorded = None if self.is_disabled else self._find(work, given)
        if recorded is None:
            with nullcontext() if self.is_disabled else self.recorder.on_capture_stream():
                return self.eager(work, given)
        _fill(recorded.batches, given.batches)
        self.scalars(given.scalars)
        torch.manual_seed(given.seed)  # a replay takes the seed of now: torch hands it to the graph with each one
        recorded.replay()
        return recorded.outputs.copy()  # the next replay writes over it

    def invalidate(self) -> None:
        self._launched.clear()
        self._recorded.clear()
        self._batches.clear()
        self.recorder.invalidate()

    def _find(self, work: StepFn, given: StepInputs) -> RecordedStep | None:
        """The work as it was recorded, or is now if it is time; None: it is to be launched."""
        shapes = _shapes(given.batches)
        key = given.phase, shapes
        if key not in self._recorded:
            if shapes not in self._batches:
                if len(self._batches) == MAX_SHAPES:
                    self._give_up(f"batches are of more than {MAX_SHAPES} shapes")
                    return None
                places = [{name: torch.empty_like(x) for name, x in batch.items()} for batch in given.batches]
                self._batches[shapes] = places
            self._launched[key] += 1
            if self._launched[key] <= WARMUP_STEPS or not self._record(key, work, given):
                return None
        return self._recorded[key]

    def _record(self, key: tuple[str, BatchShapes], work: StepFn, given: StepInputs) -> bool:
        """Whether that was possible."""
        batches, numbers = self._batches[key[1]], self.scalars(given.scalars)
        try:
            replay, told = self.recorder.record(lambda: work(batches, numbers))
        except Exception as e:  # whatever it is: where the work is at fault it raises again when it is launched
            self._give_up(f"recording a step failed ({_first_line(e)})")
            return False
        self._recorded[key] = RecordedStep(batches, replay, told)
        return True

    def _give_up(self, reason: str) -> None:
        self.is_disabled = True
        self.invalidate()
        self.say(f"{NO_GRAPHS}: {reason}")


NO_GRAPHS = "steps are launched one by one, without CUDA graphs"


def build_runner(choice: str, device: torch.device, precision: Precision, say: Callable[[str], None]) -> StepRunner:
    """What runs the steps of a training: auto is graphs on CUDA, off elsewhere. `say` is told where they cannot be had.

    UsageError where they are asked for (on) and the device knows none.
    """
    if choice == "on" and device.type != "cuda":
        raise UsageError(f"--graph on: there are CUDA graphs on CUDA devices only, not on {device.type}; leave it out")
    if choice == "off" or device.type != "cuda":
        return EagerRunner(device)
    if distributed.world_size() > 1:
        say(f"{NO_GRAPHS}: what several processes exchange is not recorded")
        return EagerRunner(device)
    if precision.name == "fp16":
        say(f"{NO_GRAPHS}: the host looks after the scale of fp16's losses in each step; bf16 has none")
        return EagerRunner(device)
    return GraphRunner(device, CudaGraphRecorder(device), say)


def _shapes(batches: Sequence[Batch]) -> BatchShapes:
    return tuple(tuple((name, x.shape, x.dtype) for name, x in batch.items()) for batch in batches)


def _fill(places: Sequence[Batch], batches: Sequence[Batch]) -> None:
    for place, batch in zip(places, batches, strict=True):
        for name, x in batch.items():
            place[name].copy_(x)


def _first_line(error: BaseException) -> str:
    """Of the error that came first: breaking off a recording may raise another one."""
    while error.__context__ is not None and not error.__suppress_context__:
        error = error.__context__
    return next(iter(str(error).splitlines()), type(error).__name__)

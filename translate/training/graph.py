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

from translate import runtime
from translate.errors import UsageError
from translate.methods.base import Batch
from translate.runtime import Precision

WARM_UP = 3
"""Steps of each kind that are launched before one is recorded: memory, cuDNN's choices and optimizers' moments then exist."""
MOST_SHAPES = 8
"""Different shapes of batches that are recorded. Each graph holds memory of its own."""

Number = float | Tensor
"""A number of a step: Python's, or a 0-dim tensor on the device."""
Shapes = tuple[tuple[tuple[str, torch.Size, torch.dtype], ...], ...]


@dataclass(frozen=True)
class Given:
    """All that a step's work depends on beside weights, buffers and optimizers."""

    kind: str
    """The method's phase: work of one kind is the same operations."""
    batches: Sequence[Batch]
    """Micro-batches on the device, with their keys."""
    numbers: Mapping[str, float]
    """What changes from step to step."""
    seed: int
    """Of torch's generators."""


@dataclass(frozen=True)
class Told:
    """What a step tells, 0-dim tensors on the device."""

    losses: dict[str, Tensor]
    gradients: dict[str, Tensor]
    """Their norms."""

    def copy(self) -> "Told":
        return Told(*({name: x.clone() for name, x in told.items()} for told in (self.losses, self.gradients)))


Work = Callable[[Sequence[Batch], Mapping[str, Number]], Told]
"""A step's work on the device: (batches, numbers) → what it tells."""


class Runner(Protocol):
    """Runs the work of one step after another; all of them tell and do the same."""

    def __call__(self, work: Work, given: Given) -> Told: ...

    def forget(self) -> None:
        """To be called where tensors that the work uses have been replaced."""
        ...


class Numbers:
    """Named numbers as 0-dim tensors that keep their place: filled anew for each step, with no copy from the host."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.real = torch.float32 if device.type == "cuda" else torch.float64  # fused Adam on CUDA reads its rate so
        self._held: dict[str, Tensor] = {}

    def __call__(self, numbers: Mapping[str, float]) -> Mapping[str, Number]:
        for name, value in numbers.items():
            if name not in self._held:
                dtype = torch.int64 if isinstance(value, int) else self.real
                self._held[name] = torch.empty((), dtype=dtype, device=self.device)
            self._held[name].fill_(value)
        return self._held


class Eager:
    """Launches the work anew each time."""

    def __init__(self, device: torch.device) -> None:
        # On CUDA as a graph has them, so that both give the same bits; elsewhere as they are.
        self.numbers: Callable[[Mapping[str, float]], Mapping[str, Number]] = (
            Numbers(device) if device.type == "cuda" else dict
        )

    def __call__(self, work: Work, given: Given) -> Told:
        torch.manual_seed(given.seed)
        return work(given.batches, self.numbers(given.numbers))

    def forget(self) -> None:
        pass


class Recorder(Protocol):
    """What records work on a device."""

    def aside(self) -> AbstractContextManager[Any]:
        """Within it work is launched where it will be recorded."""
        ...

    def record(self, work: Callable[[], Told]) -> tuple[Callable[[], None], Told]:
        """Goes through the work without executing it: what executes it, and where it then leaves what it tells."""
        ...

    def forget(self) -> None:
        """All that was recorded is given up."""
        ...


class CudaRecorder:
    """Records CUDA graphs, on one stream and into one pool of memory, for they are replayed one after another."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            current.wait_stream(self.stream)

    def record(self, work: Callable[[], Told]) -> tuple[Callable[[], None], Told]:
        graph = torch.cuda.CUDAGraph()
        # Whatever other threads do on the device meanwhile is no reason to break off.
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            told = work()
        return graph.replay, told

    def forget(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()  # the old one is gone with the last graph in it


@dataclass(frozen=True)
class Recorded:
    """Work that was recorded."""

    batches: Sequence[Batch]
    """Where it reads its batches."""
    replay: Callable[[], None]
    told: Told
    """Where it leaves what it tells."""


class Captured:
    """Launches the work of each kind and shape WARM_UP times, then records it, and from then on replays it.

    Recording executes nothing: the step in which that is done is replayed like those after it. Where it fails, or shapes are
    too many, a line says so and all work is launched from there on.
    """

    def __init__(self, device: torch.device, recorder: Recorder, say: Callable[[str], None]) -> None:
        self.eager, self.numbers, self.recorder, self.say = Eager(device), Numbers(device), recorder, say
        self.gave_up = False
        self._launched: Counter[tuple[str, Shapes]] = Counter()
        self._recorded: dict[tuple[str, Shapes], Recorded] = {}
        self._batches: dict[Shapes, Sequence[Batch]] = {}
        """Where work of some shapes reads its batches, whatever its kind."""

    def __call__(self, work: Work, given: Given) -> Told:
        recorded = None if self.gave_up else self._find(work, given)
        if recorded is None:
            with nullcontext() if self.gave_up else self.recorder.aside():
                return self.eager(work, given)
        _fill(recorded.batches, given.batches)
        self.numbers(given.numbers)
        torch.manual_seed(given.seed)  # a replay takes the seed of now: torch hands it to the graph with each one
        recorded.replay()
        return recorded.told.copy()  # the next replay writes over it

    def forget(self) -> None:
        self._launched.clear()
        self._recorded.clear()
        self._batches.clear()
        self.recorder.forget()

    def _find(self, work: Work, given: Given) -> Recorded | None:
        """The work as it was recorded, or is now if it is time; None: it is to be launched."""
        shapes = _shapes(given.batches)
        key = given.kind, shapes
        if key not in self._recorded:
            if shapes not in self._batches:
                if len(self._batches) == MOST_SHAPES:
                    self._give_up(f"batches are of more than {MOST_SHAPES} shapes")
                    return None
                places = [{name: torch.empty_like(x) for name, x in batch.items()} for batch in given.batches]
                self._batches[shapes] = places
            self._launched[key] += 1
            if self._launched[key] <= WARM_UP or not self._record(key, work, given):
                return None
        return self._recorded[key]

    def _record(self, key: tuple[str, Shapes], work: Work, given: Given) -> bool:
        """Whether that was possible."""
        batches, numbers = self._batches[key[1]], self.numbers(given.numbers)
        try:
            replay, told = self.recorder.record(lambda: work(batches, numbers))
        except Exception as e:  # whatever it is: where the work is at fault it raises again when it is launched
            self._give_up(f"recording a step failed ({_first_line(e)})")
            return False
        self._recorded[key] = Recorded(batches, replay, told)
        return True

    def _give_up(self, reason: str) -> None:
        self.gave_up = True
        self.forget()
        self.say(f"{OFF}: {reason}")


OFF = "steps are launched one by one, without CUDA graphs"


def runner(choice: str, device: torch.device, precision: Precision, say: Callable[[str], None]) -> Runner:
    """What runs the steps of a training: auto is graphs on CUDA, off elsewhere. `say` is told where they cannot be had.

    UsageError where they are asked for (on) and the device knows none.
    """
    if choice == "on" and device.type != "cuda":
        raise UsageError(f"--graph on: there are CUDA graphs on CUDA devices only, not on {device.type}; leave it out")
    if choice == "off" or device.type != "cuda":
        return Eager(device)
    if runtime.world_size() > 1:
        say(f"{OFF}: what several processes exchange is not recorded")
        return Eager(device)
    if precision.name == "fp16":
        say(f"{OFF}: the host looks after the scale of fp16's losses in each step; bf16 has none")
        return Eager(device)
    return Captured(device, CudaRecorder(device), say)


def _shapes(batches: Sequence[Batch]) -> Shapes:
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

"""Where and how tensors are computed: device, precision, optimizers, seeds, processes, signals."""

import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from translate import noise
from translate.errors import UsageError


def pick_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda, cuda:N or mps; UsageError if this machine has no such."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: no such device; use auto, cpu, cuda, cuda:N or mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"--device {name}: no such device; use auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = device.index if device.index is not None else local_rank() % max(count, 1)
        if index >= count:
            raise UsageError(f"--device {name}: this machine has {count} CUDA devices; use --device auto or cpu")
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no Metal device; use --device auto or cpu")
    return device


@dataclass(frozen=True)
class Precision:
    """What weights are kept in, and what autocast computes in (None: the same)."""

    name: str
    weights: torch.dtype
    compute: torch.dtype | None

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        return nullcontext() if self.compute is None else torch.autocast(device.type, self.compute)


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("fp32", torch.float32, None),
    "bf16": Precision("bf16", torch.float32, torch.bfloat16),
    "fp16": Precision("fp16", torch.float32, torch.float16),
    "fp64": Precision("fp64", torch.float64, None),
}


def pick_precision(name: str, device: torch.device) -> Precision:
    """A row of PRECISIONS; auto is bf16 on GPUs that compute in it, else fp32."""
    if name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: unknown; possible: auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def choose_tf32(device: torch.device, precision: Precision) -> None:
    """On CUDA float32 is multiplied in TF32, unless fp64 is asked for or torch is told to be deterministic."""
    if device.type != "cuda":
        return
    tf32 = precision.weights == torch.float32 and not torch.are_deterministic_algorithms_enabled()
    # These two set torch's older and newer flags alike. Where only the newer ones (`fp32_precision`) are set, reading an older
    # one raises, and torch.compile reads them.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def trying_algorithms(device: torch.device) -> Iterator[None]:
    """Within it cuDNN tries its algorithms on each shape that is new and keeps the fastest: for work on few shapes.

    Nothing changes on other devices than CUDA, or where torch is told to be deterministic.
    """
    before = torch.backends.cudnn.benchmark
    tries = device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = before or tries
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def lies_channels_last(choice: str, device: torch.device, precision: Precision) -> bool:
    """Whether images lie in memory with their channels last; auto: on CUDA in half precision, as its matrix units read them."""
    return choice == "on" or (choice == "auto" and device.type == "cuda" and precision.compute is not None)


def _adam(parameters: list[nn.Parameter], lr: float, **options: Any) -> torch.optim.Optimizer:
    kind = parameters[0].device.type
    if kind == "cuda":  # the fused one is the same capturable or not: torch wants the word to let a graph be captured
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
    return torch.optim.Adam(parameters, lr, fused=kind in ("cpu", "cuda"), capturable=kind == "cuda", **options)


class RMSProp(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1 has it: s ← decay · s + (1 − decay) g², from s = 1 on, and w ← w − lr · g / √(s + eps).

    torch's begins with s = 0, so that its first step is 1/√(1 − decay) times the rate however small the gradient is, and adds
    eps behind the root.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, *, decay: float = 0.9, eps: float = 1e-10
    ) -> None:
        super().__init__(parameters, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["square"] = torch.ones_like(p)
                square = state["square"]
                square.lerp_(p.grad.square(), 1 - group["decay"])
                p.addcdiv_(group["lr"] * p.grad, (square + group["eps"]).sqrt(), value=-1)  # the rate may be a tensor


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": _adam, "rmsprop": RMSProp}


def seed_of_draws(seed: int, rollbacks: int) -> int:
    """What all draws of a run are derived from: its seed, and after a roll-back another one."""
    return noise.mix(seed, "rollback", rollbacks) if rollbacks else seed


def seed_of_step(seed: int, step: int, rank: int) -> int:
    """What torch's global generators are seeded with for one step, so that dropout is a function of seed, step and rank."""
    return noise.mix(seed, "step", step, rank)


def environment(device: torch.device) -> dict[str, str | int | bool]:
    """What the last bits of the weights depend on beside the settings: versions, device and how it computes."""
    known: dict[str, str | int | bool] = {"torch": str(torch.__version__), "processes": world_size()}
    if device.type == "cuda":
        known |= {
            "device": torch.cuda.get_device_name(device),
            "CUDA": str(torch.version.cuda),
            "cuDNN": torch.backends.cudnn.version() or "none",
            "TF32": torch.backends.cudnn.allow_tf32,
        }
    else:
        known |= {
            "device": f"{device.type} ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})",
            "threads": torch.get_num_threads(),
        }
    return {**known, "deterministic": torch.are_deterministic_algorithms_enabled()}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is known in two environments and not equal, as "threads 4 instead of 2"."""
    both = [name for name in now if name in before]
    return [f"{name} {now[name]} instead of {before[name]}" for name in both if now[name] != before[name]]


# Processes: started by torchrun, which sets RANK, WORLD_SIZE and LOCAL_RANK. Without it there is one.


def _has_company() -> bool:
    """Whether this process was started as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def start_processes(device: torch.device) -> None:
    """Joins the processes that torchrun started; nothing for a single one.

    What processes agree on goes through gloo also beside NCCL: it waits for no device, and notices at once that one is gone.
    """
    if not _has_company() or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        dist.init_process_group(backend)
        return
    # torchrun on one machine: what its store holds outlives a restart, addresses of processes that are gone among it
    store, number, count = next(iter(dist.rendezvous("env://")))
    store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=count)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Every process gets the tensors of the first."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Gradients become their mean over processes, by one flat all-reduce. Those that are None are None everywhere."""
    if world_size() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= world_size()
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))


def mean(x: Tensor) -> Tensor:
    """The mean of x over processes."""
    if world_size() == 1:
        return x
    total = x.clone()
    dist.all_reduce(total)
    return total / world_size()


def gather(value: Any) -> list[Any]:
    """The value of every process, in order of rank, on the first; elsewhere an empty list."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.gather_object(value, values if rank() == 0 else None, dst=0)
    return values if rank() == 0 else []


def everyones(value: Any) -> list[Any]:
    """The value of every process, in order of rank, on all of them."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], Any]) -> Any:
    """What `make` gives in the first process, on all of them: the others need not see its files."""
    if world_size() == 1:
        return make()
    box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_batch(x: Tensor) -> Tensor:
    """x (N, …) of every process, in order of rank: (N · processes, …), without gradient."""
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def own_part(x: Tensor) -> Tensor:
    """The reverse of `gather_batch`: what this process gave."""
    return x.chunk(world_size())[rank()]


def agree(flag: int) -> int:
    """The largest of the processes' flags: all of them do what one of them must."""
    if world_size() == 1:
        return flag
    tensor = torch.tensor(flag)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def is_lost_process(error: BaseException) -> bool:
    """Whether an operation between processes failed because another one has ended, or never came."""
    if isinstance(error, (dist.DistNetworkError, dist.DistStoreError, dist.DistBackendError)):
        return True
    return _has_company() and isinstance(error, RuntimeError) and "gloo" in str(error).lower()


def free_memory(device: torch.device) -> int:
    """Bytes that can still be used on the device (for the CPU: of main memory)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        values = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(values["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30  # Windows tells only through its own API: a cautious guess


def used_memory(device: torch.device) -> int | None:
    """The most bytes of the device's memory that this process has held; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def release_memory(device: torch.device) -> None:
    """Gives back what torch keeps for later use."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an operation failed for want of memory: a class of its own on CUDA, a RuntimeError elsewhere."""
    text = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        sign in text for sign in ("can't allocate memory", "out of memory", "_ALLOC_FAILED")
    )


class Sender:
    """Copies batches from the host to a device; on CUDA by a stream of its own, beside the computation.

    `ring` batches may be on the way at a time: their pinned buffers are used in turn.
    """

    def __init__(self, device: torch.device, ring: int) -> None:
        self.device, self.ring, self.turn = device, ring, 0
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pinned: list[dict[str, Tensor]] = [{} for _ in range(ring)]
        self._sent: list[torch.cuda.Event | None] = [None] * ring

    def send(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """Starts the copies; what `receive` takes."""
        turn = self.turn = (self.turn + 1) % self.ring
        if self.stream is None:
            return {name: x.to(self.device) for name, x in batch.items()}, turn
        if (event := self._sent[turn]) is not None:
            event.synchronize()  # of a copy that was started `ring` batches ago
        with torch.cuda.stream(self.stream):
            sent = {name: self._pin(name, x, turn).to(self.device, non_blocking=True) for name, x in batch.items()}
            event = self._sent[turn] = torch.cuda.Event()
            event.record()
        return sent, turn

    def _pin(self, name: str, x: Tensor, turn: int) -> Tensor:
        """The tensor in a pinned buffer."""
        held = self._pinned[turn].get(name)
        if held is None or held.shape != x.shape or held.dtype != x.dtype:
            held = self._pinned[turn][name] = torch.empty_like(x, pin_memory=True)
        return held.copy_(x)

    def receive(self, sent: tuple[dict[str, Tensor], int]) -> dict[str, Tensor]:
        """The batch on the device, for work that is started from now on."""
        batch, turn = sent
        event = self._sent[turn]
        if event is not None:
            take_over(batch, event, self.device)
        return batch


def take_over(batch: Mapping[str, Tensor], done: torch.cuda.Event, device: torch.device) -> None:
    """Makes a batch of another stream fit for work that is started from now on: it waits for the event, the host does not."""
    current = torch.cuda.current_stream(device)
    current.wait_event(done)
    for x in batch.values():
        x.record_stream(current)  # or its memory could be given away while it is still read


def sent(x: Tensor, device: torch.device) -> Tensor:
    """x of the host on the device; the host does not wait for the copy."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


class Stop:
    """Set by a first SIGINT, SIGTERM or SIGHUP, for the work to end cleanly; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)  # every file is written under another name first, so what is there is whole
        self.signal = number


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Signals set the yielded Stop instead of raising, inside the block. Only a main thread can catch signals.

    A SIGHUP that is ignored already stays so: that is what nohup asks for.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    caught = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
        caught.append(signal.SIGHUP)
    before: Mapping[int, Any] = {number: signal.signal(number, stop._receive) for number in caught}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""One training step of any method: the losses it yields, backward, all-reduce, optimizer. Knows no method and no task."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from translate import noise, runtime
from translate.errors import DivergedError
from translate.methods.base import Batch, Clock, Losses, Method, Step
from translate.runtime import OPTIMIZERS, Precision
from translate.training.schedule import Schedule


class Engine:
    """Trains a method. Its whole state is the method's, the optimizers', the scalers' and two counters."""

    def __init__(
        self,
        method: Method,
        schedule: Schedule,
        *,
        seed: int,
        device: torch.device,
        precision: Precision,
        batch_size: int,
    ) -> None:
        self.method = method.to(device, precision.weights)
        self.schedule, self.seed, self.device, self.precision = schedule, seed, device, precision
        self.batch_size = batch_size * runtime.world_size()
        self.images = self.steps = 0
        self.parameters = {name: _parameters(method, update.networks) for name, update in method.updates.items()}
        self.optimizers = {
            name: OPTIMIZERS[update.optimizer](self.parameters[name], update.lr, **update.options)
            for name, update in method.updates.items()
        }
        self.scalers = {
            name: torch.amp.GradScaler(device.type, enabled=precision.name == "fp16") for name in method.updates
        }
        self.dirty = False
        self.broken = torch.zeros((), dtype=torch.int64, device=device)
        self._phases: dict[str, list[tuple[str, ...]]] = {}
        runtime.broadcast([*method.parameters(), *method.buffers()])

    @property
    def clock(self) -> Clock:
        planned = max(self.schedule.planned, 1)
        return Clock(self.images, self.steps, self.images // self.schedule.per_epoch, self.images / planned)

    @property
    def finished(self) -> bool:
        return self.images >= self.schedule.planned

    def rates(self) -> dict[str, float]:
        """The learning rate of each update at this moment."""
        factor = self.schedule.factor(self.images)
        return {name: update.lr * factor for name, update in self.method.updates.items()}

    def step(self, micro_batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Runs the method's step once on all micro-batches together.

        They advance in lockstep from yield to yield; each yield is one optimizer step. Returns the losses by
        "update/name", means over the micro-batches, on the device.
        """
        clock = self.clock
        if self.images == 0:
            self.method.prepare(micro_batches[0])
        runtime.seed_step(self.seed, self.steps, runtime.rank())
        for name, rate in self.rates().items():
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate
        self.dirty = True
        keyed = list(self._with_keys(micro_batches))
        running = [self.method.step(batch, clock) for batch in keyed]
        logged: dict[str, Tensor] = {}
        yields: list[tuple[str, ...]] = []
        try:
            while (update := self._advance(running, logged, yields)) is not None:
                self._apply(update)
        finally:
            for generator in running:
                generator.close()
        self._check_phase(self.method.phase(clock), yields)
        self.images += self.batch_size
        self.steps += 1
        self.dirty = False
        return logged

    def _with_keys(self, micro_batches: Sequence[Batch]) -> Iterator[Batch]:
        """Each batch with the key (N,) of every image: a function of the seed and its number in the run."""
        first = self.images + runtime.rank() * self.batch_size // runtime.world_size()
        for batch in micro_batches:
            count = len(next(iter(batch.values())))
            numbers = torch.arange(first, first + count, device=self.device)
            yield {**batch, "key": noise.keys(self.seed, numbers)}
            first += count

    def _advance(self, running: list[Step], logged: dict[str, Tensor], yields: list[tuple[str, ...]]) -> str | None:
        """Runs every micro-batch to its next yield and backward through its losses; the update's name, None at the end."""
        update: str | None = None
        for number, generator in enumerate(running):
            with self.precision.autocast(self.device):
                item = next(generator, None)
                self._check_modes()
            name, losses = item if item is not None else (None, {})
            if number == 0:
                update = name
                if name is not None:
                    self._expect(name, losses, yields)
            elif name != update:
                raise RuntimeError(f"micro-batches disagree on the update: {update!r} and {name!r}")
            if name is None:
                continue
            losses = {key: loss.to(torch.promote_types(loss.dtype, torch.float32)) for key, loss in losses.items()}
            total = torch.stack(list(losses.values())).sum()
            share = total / len(running)
            self.scalers[name].scale(share).backward(inputs=self.parameters[name])
            self._watch(total)
            for key, loss in losses.items():
                part = loss.detach() / len(running)
                logged[f"{name}/{key}"] = logged[f"{name}/{key}"] + part if number else part
        return update

    def _expect(self, name: str, losses: Losses, yields: list[tuple[str, ...]]) -> None:
        """Records a yield; before anything is reduced it must be what the phase yielded the first time."""
        if not losses:
            raise RuntimeError(f"update {name!r} was yielded without a loss")
        yields.append((name, *losses))
        known = self._phases.get(self.method.phase(self.clock))
        if known is not None and known[len(yields) - 1 : len(yields)] != yields[-1:]:
            raise RuntimeError(f"a phase must always yield the same: {known} the first time, now {yields}")
        for parameter in self.parameters[name]:
            parameter.grad = None

    def _check_modes(self) -> None:
        if not torch.is_grad_enabled():
            raise RuntimeError("a step must not yield within no_grad")
        autocast = torch.is_autocast_enabled(self.device.type)
        if autocast != (self.precision.compute is not None):
            raise RuntimeError("a step must not yield within autocast")

    def _watch(self, total: Tensor) -> None:
        """Remembers, on the device, the first step whose losses were not finite (plus one; 0 is none)."""
        bad = (~torch.isfinite(total.detach())) & (self.broken == 0)
        self.broken = torch.where(bad, torch.full_like(self.broken, self.steps + 1), self.broken)

    def check_finite(self) -> None:
        """DivergedError if a loss of any step so far was not finite. Waits for the device."""
        step = int(self.broken)
        if step:
            images = (step - 1) * self.batch_size
            raise DivergedError(
                f"training diverged: a loss was not a finite number in step {step} (after {images} images); the last "
                f"checkpoint is whole: go on from it with a lower --lr"
            )

    def _apply(self, update: str) -> None:
        """One optimizer step over the update's networks."""
        parameters, optimizer, scaler = self.parameters[update], self.optimizers[update], self.scalers[update]
        if self.method.phase(self.clock) not in self._phases:
            self._check_reached(update)
        runtime.mean_gradients(parameters)
        scaler.step(optimizer)
        scaler.update()

    def _check_reached(self, update: str) -> None:
        for name in self.method.updates[update].networks:
            if all(p.grad is None for p in self.method.get_submodule(name).parameters()):
                raise RuntimeError(
                    f"update {update!r} gave network {name!r} no gradient: is its output made under no_grad?"
                )

    def _check_phase(self, phase: str, yields: list[tuple[str, ...]]) -> None:
        if not yields:
            raise RuntimeError("a step must yield at least one update")
        if self._phases.setdefault(phase, yields) != yields:
            raise RuntimeError(
                f"a phase must always yield the same: {self._phases[phase]} the first time, now {yields}"
            )

    def state(self) -> dict[str, Any]:
        """Everything that decides the rest of the run; only between steps. Buffers are kept for every process."""
        assert not self.dirty, "a step was broken off; its state is no state to save"
        method = self.method.state_dict()
        return {
            "images": self.images,
            "steps": self.steps,
            "method": method,
            "buffers": runtime.gather({name: buffer.cpu() for name, buffer in self.method.named_buffers()}),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The reverse of `state`, for any number of processes."""
        self.images, self.steps = state["images"], state["steps"]
        self.method.load_state_dict(state["method"])
        mine = state["buffers"][runtime.rank() % len(state["buffers"])]
        with torch.no_grad():
            for name, buffer in self.method.named_buffers():
                buffer.copy_(mine[name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, scaler in self.scalers.items():
            if scaler.is_enabled():
                scaler.load_state_dict(state["scalers"][name])


def _parameters(method: Method, networks: Sequence[str]) -> list[nn.Parameter]:
    """All parameters of the networks, each once."""
    return list(dict.fromkeys(p for name in networks for p in method.get_submodule(name).parameters()))


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """A batch as `parts` micro-batches of equal size."""
    chunks = {name: tensor.chunk(parts) for name, tensor in batch.items()}
    return [{name: chunk[i] for name, chunk in chunks.items()} for i in range(parts)]

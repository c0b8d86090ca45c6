"""One training step of any method: the losses it yields, backward, all-reduce, optimizer. Knows no method and no task."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.methods.base import Batch, Clock, Losses, Method, Step
from translate.runtime import distributed
from translate.runtime.precision import Precision, cudnn_benchmark
from translate.training.cuda_graphs import EagerRunner, Scalar, StepInputs, StepOutputs, StepRunner
from translate.training.ema import EMA
from translate.training.nonfinite import Divergence, NonFiniteTracker, all_finite
from translate.training.optimizers import build_optimizers, load_optimizer_state, optimizer_state, parameters_by_update
from translate.training.schedule import Schedule


class Engine:
    """Trains a method. Its whole state is the method's, the optimizers', the scalers' and three counters."""

    def __init__(
        self,
        method: Method,
        schedule: Schedule,
        *,
        seed: int,
        device: torch.device,
        precision: Precision,
        batch_size: int,
        ema_half_life: int = 0,
        channels_last: bool = False,
        compiled: bool = False,
        fixed_size: bool = False,
        runner: StepRunner | None = None,
    ) -> None:
        """Ends with the same weights in every process.

        `ema_half_life`: in images, of the averages of the method's `ema` networks (0: none). `channels_last`: how weights and
        images lie in memory. `compiled`: networks run through torch.compile in training; a look at them from outside does not.
        `fixed_size`: all images are of one, so that it pays to try what is fastest for it. `runner`: how a step is run on the
        device; None: launched anew each time.
        """
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.method = method.to(device, precision.weights)
        if channels_last:
            self.method.to(memory_format=torch.channels_last)
        self.schedule, self.seed, self.device, self.precision = schedule, seed, device, precision
        self.batch_size = batch_size * distributed.world_size()
        self.images = self.steps = 0
        self.rollbacks = 0
        """How often the run went back to a checkpoint because its numbers were no longer finite; part of every draw."""
        self.parameters = parameters_by_update(method)
        self.optimizers = build_optimizers(method, self.parameters)
        self.scalers = self._new_scalers()
        self.mid_step = False
        self.nonfinite = NonFiniteTracker(device)
        self.gradient_norms: dict[str, Tensor] = {}
        """Norm of the last gradient of each update, on the device; none in fp16, where scaled ones may overflow."""
        self.fixed_size = fixed_size
        self.runner = runner or EagerRunner(device)
        self._numbers: Mapping[str, Scalar] = {}
        self._phases: dict[str, list[tuple[str, ...]]] = {}
        distributed.broadcast([*method.parameters(), *method.buffers()])
        self.ema = EMA(method, method.ema, ema_half_life)
        self.compiled = compiled
        if compiled:
            for network in _networks(method):
                network.compile()

    def _new_scalers(self) -> dict[str, torch.amp.GradScaler]:
        enabled = self.precision.name == "fp16"
        return {name: torch.amp.GradScaler(self.device.type, enabled=enabled) for name in self.method.updates}

    @property
    def draw_seed(self) -> int:
        """The seed of every random draw from here on: another one after each roll-back."""
        return seed_after_rollbacks(self.seed, self.rollbacks)

    @property
    def clock(self) -> Clock:
        planned = max(self.schedule.planned, 1)
        return Clock(self.images, self.steps, self.images // self.schedule.per_epoch, self.images / planned)

    @property
    def finished(self) -> bool:
        return self.images >= self.schedule.planned

    def learning_rates(self) -> dict[str, float]:
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
        self.mid_step = True
        given = StepInputs(
            self.method.phase(clock),
            list(self._with_image_keys(micro_batches)),
            self._changing(),
            step_seed(self.draw_seed, self.steps, distributed.rank()),
        )
        with cudnn_benchmark(self.device) if self.fixed_size else nullcontext():
            told = self.runner(partial(self._work, clock), given)
        self.gradient_norms = told.gradient_norms
        self.images += self.batch_size
        self.steps += 1
        self.mid_step = False
        return told.losses

    def _changing(self) -> dict[str, float]:
        """The numbers that change from step to step: its number, the rate of each update, and how far averages move."""
        numbers = {"step": self.steps, **{f"rate of {name}": rate for name, rate in self.learning_rates().items()}}
        if self.ema:
            numbers["share"] = 1 - self.ema.decay(self.images + self.batch_size, self.batch_size)
        return numbers

    def _work(self, clock: Clock, batches: Sequence[Batch], numbers: Mapping[str, Scalar]) -> StepOutputs:
        """A step's work on the device. It may be recorded and replayed: then no Python is run, so nothing here may depend on
        what changes from step to step, but for the tensors that are handed over.
        """
        self._numbers, self.gradient_norms = numbers, {}
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = numbers[f"rate of {name}"]
        running = [self.method.step(batch, clock) for batch in batches]
        logged: dict[str, Tensor] = {}
        yields: list[tuple[str, ...]] = []
        try:
            while (update := self._advance(running, logged, yields)) is not None:
                self._apply(update)
        finally:
            for generator in running:
                generator.close()
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()  # of a step that was broken off
        self._check_phase(self.method.phase(clock), yields)
        if self.ema:
            self.ema.update(numbers["share"])
        return StepOutputs(logged, self.gradient_norms)

    def with_keys(self, sample: Batch) -> Batch:
        """A batch to look at, with a key (N,) for each image: its place, so that the noise is the same each time."""
        return {**sample, "key": torch.arange(len(next(iter(sample.values()))), device=self.device)}

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """For a look at the method that leaves no trace: in evaluation mode, without gradients, at the precision of training.

        Uncompiled, because each size and mode would be compiled anew.
        """
        eager = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        self.method.eval()
        try:
            with torch.no_grad(), eager, self.precision.autocast(self.device):
                yield
        finally:
            self.method.train()

    def _with_image_keys(self, micro_batches: Sequence[Batch]) -> Iterator[Batch]:
        """Each batch with the key (N,) of every image: a function of the seed and its number in the run."""
        first = self.images + distributed.rank() * self.batch_size // distributed.world_size()
        for batch in micro_batches:
            count = len(next(iter(batch.values())))
            numbers = torch.arange(first, first + count, device=self.device)
            laid = {name: self._to_memory_format(x) for name, x in batch.items()}
            yield {**laid, "key": keyed_random.image_keys(self.draw_seed, numbers)}
            first += count

    def _to_memory_format(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self.memory_format) if x.dim() == 4 else x

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
            values = torch.stack(list(losses.values()))
            share = values.sum() / len(running)
            self.scalers[name].scale(share).backward(inputs=self.parameters[name])
            self.nonfinite.record([f"{name}/{key}" for key in losses], values.detach(), self._numbers["step"])
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

    def _check_modes(self) -> None:
        if not torch.is_grad_enabled():
            raise RuntimeError("a step must not yield within no_grad")
        autocast = torch.is_autocast_enabled(self.device.type)
        if autocast != (self.precision.compute is not None):
            raise RuntimeError("a step must not yield within autocast")

    def find_divergence(self, *, weights: bool = False) -> Divergence | None:
        """The first step whose losses or gradients were not finite, and with `weights` the last if weights now are not.

        Waits for the device. All processes get an answer where one of them does.
        """
        found = self.nonfinite.first()
        if found is None and weights and (broken := self.nonfinite_weights()):
            found = self.steps - 1, broken
        if not distributed.all_reduce_max(found is not None):
            return None
        step, what = min(one for one in distributed.all_gather_object(found) if one is not None)
        return Divergence(step + 1, self.images - (self.steps - step) * self.batch_size, what)

    def nonfinite_weights(self) -> tuple[str, ...]:
        """The updates whose weights, or what their optimizers keep of them, are not finite. Waits for the device."""
        broken = []
        for name, parameters in self.parameters.items():
            kept = self.optimizers[name].state.values()
            moments = [x for held in kept for key, x in held.items() if isinstance(x, Tensor) and key != "step"]
            if not all_finite([*(p.detach() for p in parameters), *moments]):
                broken.append(f"weights of {name}")
        return tuple(broken)

    def _apply(self, update: str) -> None:
        """One optimizer step over the update's networks."""
        parameters, optimizer, scaler = self.parameters[update], self.optimizers[update], self.scalers[update]
        if self.method.phase(self.clock) not in self._phases:
            self._check_reached(update)
        distributed.average_gradients(parameters)
        if not scaler.is_enabled():  # a scaler skips steps whose gradients overflow: no divergence
            norm = nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
            self.gradient_norms[update] = norm
            self.nonfinite.record([f"gradient of {update}"], norm[None], self._numbers["step"])
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()  # at once, or gradients would be held while the next forward pass takes the most memory

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
        assert not self.mid_step, "a step was broken off; its state is no state to save"
        method = self.method.state_dict()
        return {
            "images": self.images,
            "steps": self.steps,
            "rollbacks": self.rollbacks,
            "method": method,
            "averages": self.ema.state(),
            "buffers": distributed.gather_object({name: buffer.cpu() for name, buffer in self.method.named_buffers()}),
            "optimizers": {name: optimizer_state(optimizer) for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The reverse of `state`, for any number of processes; also after a step that was broken off."""
        self.images, self.steps = state["images"], state["steps"]
        self.rollbacks = state.get("rollbacks", 0)  # not in checkpoints of before there were any
        self.method.load_state_dict(state["method"])
        mine = state["buffers"][distributed.rank() % len(state["buffers"])]
        with torch.no_grad():
            for name, buffer in self.method.named_buffers():
                buffer.copy_(mine[name])
        self.ema.load_state(state.get("averages", {}))
        for name, optimizer in self.optimizers.items():
            load_optimizer_state(optimizer, state["optimizers"][name])
        self.runner.invalidate()  # the optimizers' moments are other tensors now
        self.scalers = self._new_scalers()  # an old one would remember what the step that was broken off had done
        for name, scaler in self.scalers.items():
            if scaler.is_enabled():
                scaler.load_state_dict(state["scalers"][name])
        self.nonfinite.reset()
        self.mid_step = False


def _networks(method: Method) -> list[nn.Module]:
    """Every network of the updates, once."""
    names = dict.fromkeys(name for update in method.updates.values() for name in update.networks)
    return [method.get_submodule(name) for name in names]


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """A batch as `parts` micro-batches of equal size."""
    chunks = {name: tensor.chunk(parts) for name, tensor in batch.items()}
    return [{name: chunk[i] for name, chunk in chunks.items()} for i in range(parts)]


def seed_after_rollbacks(seed: int, rollbacks: int) -> int:
    """What all draws of a run are derived from: its seed, and after a roll-back another one."""
    return keyed_random.derive_key(seed, "rollback", rollbacks) if rollbacks else seed


def step_seed(seed: int, step: int, rank: int) -> int:
    """What torch's global generators are seeded with for one step, so that dropout is a function of seed, step and rank."""
    return keyed_random.derive_key(seed, "step", step, rank)

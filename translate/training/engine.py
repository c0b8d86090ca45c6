"""Engine: one training step of any method, from the losses it yields to the optimizer. Knows no method and no task."""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from translate import keyed_random
from translate.methods.base import Batch, Clock, DataStage, Losses, Method, Step
from translate.nn.frozen import freeze
from translate.runtime import distributed
from translate.runtime.precision import Precision, cudnn_benchmark
from translate.training.cuda_graphs import EagerRunner, Scalar, StepInputs, StepOutputs, StepRunner
from translate.training.ema import EMA
from translate.training.micro_batches import next_losses
from translate.training.nonfinite import Divergence, NonFiniteTracker, all_finite
from translate.training.optimizers import build_optimizers, load_optimizer_state, optimizer_state, parameters_by_update
from translate.training.schedule import Schedule

SCHEDULED = "scheduled "
"""Prefix of the method's scheduled values among the numbers of a step."""


class Engine:
    """Trainer of a method. Its state is that of the method, the averages, the optimizers, the scalers, and four counters."""

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
        stages: Sequence[DataStage] = (),
    ) -> None:
        """Move the method to the device; every process gets the weights of the first.

        Args:
            seed: decides every random draw.
            batch_size: images of the first step in each process; a later step may be given more or fewer.
            ema_half_life: half-life, in images, of the averages of the method's `ema` networks; 0: none are kept.
            channels_last: keep weights and images in the channels-last memory format.
            compiled: compile the networks with torch.compile; `evaluation_mode` runs them uncompiled.
            fixed_size: all images have one size, so that cuDNN's benchmark mode pays.
            runner: runs a step on the device; None: launches its kernels anew each time.
            stages: stages of the training data, whose changes the method is asked about; none where the data never changes.
        """
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.method = _placed(method, device, precision, channels_last)
        self.schedule, self.seed, self.device, self.precision = schedule, seed, device, precision
        self.batch_size = batch_size * distributed.world_size()
        """Images of the last step, over all processes; of the first one before it."""
        self.images = self.steps = 0
        self.stages, self.stage = tuple(stages), 0
        """Stages of the data, and the number of that of the last step."""
        self._step_sizes: list[tuple[int, int, int]] = []
        """Images and steps before the first step of each size, and that size, in this process's part of the run."""
        self.rollbacks = 0
        """Times that the run rolled back to a checkpoint because its numbers were no longer finite; part of every draw."""
        self.parameters = parameters_by_update(method)
        self.optimizers = build_optimizers(method, self.parameters)
        self.scalers = self._new_scalers()
        self.mid_step = False
        self.nonfinite = NonFiniteTracker(device)
        self.gradient_norms: dict[str, Tensor] = {}
        """Update → norm of its last gradient, on the device; empty in fp16, where scaled gradients may overflow."""
        self.fixed_size = fixed_size
        self.runner = runner or EagerRunner(device)
        self._scalars: Mapping[str, Scalar] = {}
        self._phases: dict[str, list[tuple[str, ...]]] = {}
        self._broadcast_weights()
        self.ema = EMA(method, method.ema, ema_half_life)
        self.compiled = compiled
        if compiled:
            keyed_random.compile_names_as_constants()
            for network in _networks(method):
                network.compile()

    def _broadcast_weights(self) -> None:
        """Send the first process's weights and buffers to the others, but for those of frozen networks."""
        distributed.broadcast([*self.method.parameters(), *self._unfrozen_buffers().values()])

    def _unfrozen_buffers(self) -> dict[str, Tensor]:
        """Return the method's buffers by name, without those of frozen networks."""
        networks = map(self.method.get_submodule, self.method.frozen_networks)
        frozen = {id(x) for network in networks for x in network.buffers()}
        return {name: x for name, x in self.method.named_buffers() if id(x) not in frozen}

    def _new_scalers(self) -> dict[str, torch.amp.GradScaler]:
        enabled = self.precision.name == "fp16"
        return {name: torch.amp.GradScaler(self.device.type, enabled=enabled) for name in self.method.updates}

    @property
    def draw_seed(self) -> int:
        """Seed of every random draw from here on; another one after each rollback."""
        return seed_after_rollbacks(self.seed, self.rollbacks)

    @property
    def clock(self) -> Clock:
        """Time of the next step: images seen, steps, epochs, and progress."""
        planned = max(self.schedule.planned, 1)
        return Clock(self.images, self.steps, self.images // self.schedule.per_epoch, self.images / planned)

    @property
    def finished(self) -> bool:
        """True once the planned number of images has been seen."""
        return self.images >= self.schedule.planned

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each update for the next step."""
        factor, clock = self.schedule.factor(self.images), self.clock
        return {name: update.lr * factor * update.factor(clock) for name, update in self.method.updates.items()}

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        """Let the method prepare itself from training images, before the first step; return lines that say what was done.

        batches: of `Method.preparation_images` images, on the device.
        """
        with torch.no_grad():
            lines = self.method.prepare(batches)
        self._broadcast_weights()
        self.ema.load_state({})
        return lines

    def step(self, micro_batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Run one step of the method on all micro-batches together, and return its losses.

        The micro-batches advance in lockstep from yield to yield; each yield is one optimizer step. The losses are 0-dim
        tensors on the device, by "update/name", means over the micro-batches. RuntimeError where the step breaks the contract
        of `Method.step`, as by a yield without a loss.
        """
        clock = self.clock
        self._enter_stage()
        self._count_step(sum(len(next(iter(batch.values()))) for batch in micro_batches) * distributed.world_size())
        self.mid_step = True
        inputs = StepInputs(
            self.method.phase(clock),
            list(self._with_image_keys(micro_batches)),
            self._step_scalars(),
            step_seed(self.draw_seed, self.steps, distributed.rank()),
        )
        with cudnn_benchmark(self.device) if self.fixed_size else nullcontext():
            outputs = self.runner(partial(self._work, clock), inputs)
        self.gradient_norms = outputs.gradient_norms
        self.images += self.batch_size
        self.steps += 1
        self.mid_step = False
        return outputs.losses

    def _enter_stage(self) -> None:
        """Begin a new stage of the data where the next step is the first of it: recordings and some moments are dropped."""
        stage = max((n for n, stage in enumerate(self.stages) if stage.image <= self.images), default=0)
        if stage == self.stage:
            return
        for name in self.method.restarts(self.stages[self.stage], self.stages[stage]):
            self.optimizers[name].state.clear()
        self.runner.invalidate()
        self.stage = stage

    def _count_step(self, images: int) -> None:
        """Note how many images the next step is given, over all processes."""
        if not self._step_sizes or self._step_sizes[-1][2] != images:
            self._step_sizes.append((self.images, self.steps, images))
        self.batch_size = images

    def _step_scalars(self) -> dict[str, float]:
        """Return the numbers that change from step to step: images, the rate of each update, the weight of the EMA, …"""
        scalars: dict[str, float] = {"images": self.images}
        for name, rate in self.learning_rates().items():
            groups = self.optimizers[name].param_groups
            scalars |= {_rate_name(name, group): rate * group.get("factor", 1.0) for group in groups}
        scalars |= {f"{SCHEDULED}{name}": value for name, value in self.method.scheduled_values(self.clock).items()}
        if self.ema:
            scalars["share"] = 1 - self.ema.decay(self.images + self.batch_size, self.batch_size)
        return scalars

    def _work(self, clock: Clock, batches: Sequence[Batch], scalars: Mapping[str, Scalar]) -> StepOutputs:
        """Do the work of a step on the device.

        It may be recorded once and replayed, and a replay runs no Python: nothing here may depend on what changes from step to
        step, but for the tensors among the arguments.
        """
        self._scalars, self.gradient_norms = scalars, {}
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = scalars[_rate_name(name, group)]
        scheduled = {
            name.removeprefix(SCHEDULED): torch.as_tensor(value, dtype=torch.float32, device=self.device)
            for name, value in scalars.items()
            if name.startswith(SCHEDULED)
        }
        steps = [self.method.training_step(batch, clock, scheduled) for batch in batches]
        losses: dict[str, Tensor] = {}
        yields: list[tuple[str, ...]] = []
        try:
            while (update := self._backward(steps, losses, yields)) is not None:
                self._apply(update)
        finally:
            for step in steps:
                step.close()
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()  # of a step that was broken off
        self._check_phase(self.method.phase(clock), yields)
        if self.ema:
            self.ema.update(scalars["share"])
        return StepOutputs(losses, self.gradient_norms)

    def with_keys(self, sample: Batch) -> Batch:
        """Return a batch with a key (N,) for each image: its index, so that the noise is the same each time."""
        return {**sample, "key": torch.arange(len(next(iter(sample.values()))), device=self.device)}

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """Put the method into evaluation mode within the block: without gradients, at the precision of training.

        Networks run uncompiled, because each size and mode would be compiled anew.
        """
        eager = torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        self.method.eval()
        try:
            with torch.no_grad(), eager, self.precision.autocast(self.device):
                yield
        finally:
            self.method.train()

    def _with_image_keys(self, micro_batches: Sequence[Batch]) -> Iterator[Batch]:
        """Yield each batch with the key (N,) of every image, a function of the seed and of the image's number in the run."""
        first = self.images + distributed.rank() * self.batch_size // distributed.world_size()
        for batch in micro_batches:
            count = len(next(iter(batch.values())))
            numbers = torch.arange(first, first + count, device=self.device)
            laid = {name: self._to_memory_format(x) for name, x in batch.items()}
            yield {**laid, "key": keyed_random.image_keys(self.draw_seed, numbers)}
            first += count

    def _to_memory_format(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self.memory_format) if x.dim() == 4 else x

    def _backward(self, steps: Sequence[Step], logged: dict[str, Tensor], yields: list[tuple[str, ...]]) -> str | None:
        """Run every micro-batch to its next yield and backward through its losses; the update's name, None at the end.

        `logged` gets the losses, means over the micro-batches; `yields` what was yielded.
        """
        update: str | None = None
        for number, (update, losses) in enumerate(next_losses(steps, self.precision, self.device)):
            if number == 0:
                self._expect(update, losses, yields)
            losses = {key: loss.to(torch.promote_types(loss.dtype, torch.float32)) for key, loss in losses.items()}
            values = torch.stack(list(losses.values()))
            share = values.sum() / len(steps)
            self.scalers[update].scale(share).backward(inputs=self.parameters[update])
            self.nonfinite.record([f"{update}/{key}" for key in losses], values.detach(), self._scalars["images"])
            for key, loss in losses.items():
                part, name = loss.detach() / len(steps), f"{update}/{key}"
                logged[name] = logged[name] + part if number else part
        return update

    def _expect(self, name: str, losses: Losses, yields: list[tuple[str, ...]]) -> None:
        """Record a yield; RuntimeError unless the phase yielded the same before, so that processes reduce the same tensors."""
        if not losses:
            raise RuntimeError(f"update {name!r} was yielded without a loss")
        yields.append((name, *losses))
        known = self._phases.get(self.method.phase(self.clock))
        if known is not None and known[len(yields) - 1 : len(yields)] != yields[-1:]:
            raise RuntimeError(f"a phase must always yield the same: {known} the first time, now {yields}")

    def find_divergence(self, *, weights: bool = False) -> Divergence | None:
        """Return the first step whose losses or gradients were not finite, with `weights` also the last if weights are not.

        None where all are finite. Waits for the device. All processes get an answer where one of them does.
        """
        found = self.nonfinite.first()
        if found is None and weights and (broken := self.nonfinite_weights()):
            found = self.images - self.batch_size, broken
        if not distributed.all_reduce_max(found is not None):
            return None
        images, names = min(one for one in distributed.all_gather_object(found) if one is not None)
        return Divergence(self._step_after(images) + 1, images, names)

    def _step_after(self, images: int) -> int:
        """Return the number, from 0, of the step that was done after so many images."""
        begun, steps, size = next(known for known in reversed(self._step_sizes) if known[0] <= images)
        return steps + (images - begun) // size

    def nonfinite_weights(self) -> tuple[str, ...]:
        """Return the updates with weights or optimizer moments that are not finite. Waits for the device."""
        broken = []
        for name, parameters in self.parameters.items():
            states = self.optimizers[name].state.values()
            moments = [x for state in states for key, x in state.items() if isinstance(x, Tensor) and key != "step"]
            if not all_finite([*(p.detach() for p in parameters), *moments]):
                broken.append(f"weights of {name}")
        return tuple(broken)

    def _apply(self, update: str) -> None:
        """Do one optimizer step over the update's networks, with gradients averaged over processes."""
        parameters, optimizer, scaler = self.parameters[update], self.optimizers[update], self.scalers[update]
        if self.method.phase(self.clock) not in self._phases:
            self._check_reached(update)
        distributed.average_gradients(parameters)
        if not scaler.is_enabled():  # a scaler skips steps whose gradients overflow: no divergence
            norm = nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
            self.gradient_norms[update] = norm
            self.nonfinite.record([f"gradient of {update}"], norm[None], self._scalars["images"])
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()  # at once, or gradients would be held while the next forward pass takes the most memory

    def _check_reached(self, update: str) -> None:
        own = self.method.updates[update]
        for name in (name for name in own.networks if name not in own.optional_networks):
            if all(p.grad is None for p in self.method.get_submodule(name).parameters()):
                raise RuntimeError(
                    f"update {update!r} gave network {name!r} no gradient; its output may have been computed under no_grad"
                )

    def _check_phase(self, phase: str, yields: list[tuple[str, ...]]) -> None:
        if not yields:
            raise RuntimeError("a step must yield at least one update")
        if self._phases.setdefault(phase, yields) != yields:
            raise RuntimeError(
                f"a phase must always yield the same: {self._phases[phase]} the first time, now {yields}"
            )

    def state(self) -> dict[str, Any]:
        """Return everything that decides the rest of the run; only between steps.

        `method` holds the parameters and buffers of the first process, and `buffers`, for each process, those that differ from
        these: what is equal on all of them, as image pools are, is stored once.
        """
        assert not self.mid_step, "a step was broken off; its state is no state to save"
        method = self.method.state_dict()
        return {
            "images": self.images,
            "steps": self.steps,
            "rollbacks": self.rollbacks,
            "stage": self.stage,
            "method": method,
            "averages": self.ema.state(),
            "buffers": distributed.gather_object(self._own_buffers(stored=method)),
            "optimizers": {name: optimizer_state(optimizer) for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def _own_buffers(self, stored: Container[str]) -> dict[str, Tensor]:
        """Return the buffers whose bits differ from the first process's, and those that are not `stored` in its state dict."""
        buffers = self._unfrozen_buffers()
        digests = {name: tensor_digest(x) for name, x in buffers.items()} if distributed.world_size() > 1 else {}
        first = distributed.broadcast_object(lambda: digests)
        return {
            name: x.cpu() for name, x in buffers.items() if name not in stored or digests.get(name) != first.get(name)
        }

    def load_weights(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Start from weights by network, the first process's in all; averages start from them too."""
        for network, tensors in self.method.initial_weights(weights).items():
            self.method.get_submodule(network).load_state_dict(tensors)
        self._broadcast_weights()
        self.ema.load_state({})

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned, for any number of processes; also after a step that was broken off.

        States of version 0.1 hold all buffers of every process in `buffers`.
        """
        self.images, self.steps = state["images"], state["steps"]
        self.rollbacks, self.stage = state.get("rollbacks", 0), state.get("stage", 0)  # older checkpoints have none
        self._step_sizes.clear()
        self.method.load_state_dict(state["method"])
        own = state["buffers"][distributed.rank() % len(state["buffers"])]
        buffers = dict(self.method.named_buffers())
        with torch.no_grad():
            for name, x in own.items():
                buffers[name].copy_(x)
        self.ema.load_state(state.get("averages", {}))
        for name, optimizer in self.optimizers.items():
            load_optimizer_state(optimizer, state["optimizers"][name])
        self.runner.invalidate()  # the optimizers' moments are other tensors now
        self.scalers = self._new_scalers()  # an old one would remember the step that was broken off
        for name, scaler in self.scalers.items():
            if scaler.is_enabled():
                scaler.load_state_dict(state["scalers"][name])
        self.nonfinite.reset()
        self.mid_step = False


def _rate_name(update: str, group: Mapping[str, Any]) -> str:
    """Return the name, among the numbers of a step, of the learning rate of a group of an update's parameters."""
    return f"rate of {update} times {group['factor']}" if "factor" in group else f"rate of {update}"


def _placed(method: Method, device: torch.device, precision: Precision, channels_last: bool) -> Method:
    """Freeze the method's frozen networks, and move all networks to the device, the type of weights and the memory format."""
    for name in method.frozen_networks:
        freeze(method.get_submodule(name))
    method.to(device, precision.weights)
    if channels_last:
        method.to(memory_format=torch.channels_last)
    return method


def tensor_digest(x: Tensor) -> bytes:
    """Return the SHA-256 of a tensor's bits."""
    data = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(data.numpy().data).digest()


def _networks(method: Method) -> list[nn.Module]:
    """Return every network of the updates, once."""
    names = dict.fromkeys(name for update in method.updates.values() for name in update.networks)
    return [method.get_submodule(name) for name in names]


def seed_after_rollbacks(seed: int, rollbacks: int) -> int:
    """Return the seed that all draws of a run are derived from: its own, and another one after each rollback."""
    return keyed_random.derive_key(seed, "rollback", rollbacks) if rollbacks else seed


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of torch's global generators for one step, so that dropout depends on seed, step and rank alone."""
    return keyed_random.derive_key(seed, "step", step, rank)

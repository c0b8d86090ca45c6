"""The engine's own rules, tried with methods that break them."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from translate import runtime
from translate.config import TrainConfig
from translate.errors import DivergedError
from translate.methods.base import Method, Update
from translate.training.engine import Engine, split_batch
from translate.training.schedule import Schedule

CPU = torch.device("cpu")


@dataclass(frozen=True)
class NoConfig(TrainConfig):
    pass


class Line(Method):
    """y = w x; the loss of update "g" is w, so each step of SGD or Adam lowers it."""

    Config = NoConfig

    def __init__(self):
        super().__init__(NoConfig())
        self.g, self.d = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.updates = {"g": Update(("g",), 0.1), "d": Update(("d",), 0.1)}

    def step(self, batch, clock):
        yield "g", {"loss": self.g(batch["a"]).mean()}
        yield "d", {"loss": self.d(batch["a"]).mean()}


def engine(method, **options):
    schedule = options.pop("schedule", Schedule(10, 0, 0, images=100))
    precision = runtime.PRECISIONS["fp32"]
    return Engine(method, schedule, seed=0, device=CPU, precision=precision, batch_size=options.pop("batch_size", 2))


def batch(n=2):
    return {"a": torch.ones(n, 1)}


def test_adam_moves_a_weight_by_its_rate():
    """Adam's first step is lr · g / (|g| + eps), whatever the gradient's size."""
    method = Line()
    before = method.g.weight.item()
    engine(method).step([batch()])
    assert method.g.weight.item() == pytest.approx(before - 0.1, abs=1e-6)


def test_the_rate_follows_the_schedule():
    method = Line()
    run = engine(method, schedule=Schedule(2, epochs=1, decay_epochs=1))
    assert run.rates() == {"g": 0.1, "d": 0.1}
    run.step([batch()])
    before = method.g.weight.item()
    run.step([batch()])  # the second and last epoch: half the rate
    assert run.finished
    assert before - method.g.weight.item() == pytest.approx(0.05, abs=1e-6)


def test_losses_are_means_over_micro_batches():
    method = Line()
    with torch.no_grad():
        method.g.weight.fill_(1.0)
    losses = engine(method).step(split_batch({"a": torch.tensor([[1.0], [3.0]])}, 2))
    assert losses["g/loss"].item() == pytest.approx(2.0)


def test_micro_batches_share_the_clock_and_get_their_own_keys():
    seen = []

    class Watching(Line):
        def step(self, batch, clock):
            seen.append((clock, batch["key"].tolist()))
            yield from super().step(batch, clock)

    run = engine(Watching())
    run.step(split_batch(batch(), 2))
    run.step([batch()])
    assert [clock.images for clock, _ in seen] == [0, 0, 2]
    assert [clock.step for clock, _ in seen] == [0, 0, 1]
    keys = [key for _, of_batch in seen for key in of_batch]
    assert len(set(keys)) == 4


def step_of(body):
    """The engine running Line with another step."""

    class Other(Line):
        step = body

    return engine(Other())


def test_a_fake_made_without_gradient_is_found():
    def step(self, batch, clock):
        with torch.no_grad():
            fake = self.g(batch["a"])
        yield "g", {"loss": self.d(fake).mean()}

    with pytest.raises(RuntimeError, match="gave network 'g' no gradient"):
        step_of(step).step([batch()])


def test_a_yield_within_no_grad_is_found():
    def step(self, batch, clock):
        loss = self.g(batch["a"]).mean()
        with torch.no_grad():
            yield "g", {"loss": loss}

    with pytest.raises(RuntimeError, match="must not yield within no_grad"):
        step_of(step).step([batch()])
    torch.set_grad_enabled(True)


def test_a_yield_within_autocast_is_found():
    def step(self, batch, clock):
        loss = self.g(batch["a"]).mean()
        with torch.autocast("cpu", torch.bfloat16):
            yield "g", {"loss": loss}

    with pytest.raises(RuntimeError, match="must not yield within autocast"):
        step_of(step).step([batch()])


def test_an_update_without_losses_is_found():
    def step(self, batch, clock):
        yield "g", {}

    with pytest.raises(RuntimeError, match="without a loss"):
        step_of(step).step([batch()])


def test_a_step_without_updates_is_found():
    def step(self, batch, clock):
        return
        yield

    with pytest.raises(RuntimeError, match="at least one update"):
        step_of(step).step([batch()])


def test_micro_batches_that_disagree_are_found():
    def step(self, batch, clock):
        name = "g" if batch["a"].sum() > 0 else "d"
        yield name, {"loss": getattr(self, name)(batch["a"]).mean()}

    with pytest.raises(RuntimeError, match="micro-batches disagree"):
        step_of(step).step([{"a": torch.ones(1, 1)}, {"a": -torch.ones(1, 1)}])


def test_a_branch_that_no_phase_names_is_found():
    def step(self, batch, clock):
        yield "g", {"loss": self.g(batch["a"]).mean()}
        if clock.step % 2:
            yield "d", {"loss": self.d(batch["a"]).mean()}

    run = step_of(step)
    run.step([batch()])
    with pytest.raises(RuntimeError, match="a phase must always yield the same"):
        run.step([batch()])


def test_a_branch_that_a_phase_names_may_be_taken():
    class Lazy(Line):
        def phase(self, clock):
            return "both" if clock.step % 2 else "one"

        def step(self, batch, clock):
            yield "g", {"loss": self.g(batch["a"]).mean()}
            if clock.step % 2:
                yield "d", {"loss": self.d(batch["a"]).mean()}

    run = engine(Lazy())
    assert [len(run.step([batch()])) for _ in range(4)] == [1, 2, 1, 2]


def test_a_step_that_was_broken_off_is_no_state_to_save():
    def step(self, batch, clock):
        yield "g", {"loss": self.g(batch["a"]).mean()}
        raise ValueError("broken off")

    run = step_of(step)
    with pytest.raises(ValueError, match="broken off"):
        run.step([batch()])
    with pytest.raises(AssertionError, match="no state to save"):
        run.state()


def test_a_loss_that_is_not_finite_is_found_and_its_step_named():
    run = engine(Line())
    run.step([batch()])
    run.check_finite()
    run.step([{"a": torch.full((2, 1), float("nan"))}])
    run.step([batch()])
    with pytest.raises(DivergedError, match=r"step 2 \(after 2 images\)") as caught:
        run.check_finite()
    assert caught.value.exit_code == 7


def test_prepare_runs_once_with_the_first_batch():
    seen = []

    class Prepared(Line):
        def prepare(self, batch):
            seen.append(len(batch["a"]))

    run = engine(Prepared())
    run.step([batch()])
    run.step([batch()])
    assert seen == [2]


def test_dropout_is_a_function_of_seed_and_step():
    class Dropping(Line):
        def step(self, batch, clock):
            kept = nn.functional.dropout(torch.ones(1000), 0.5)
            self.masks.append(kept.bool())
            yield "g", {"loss": self.g(batch["a"]).mean()}

    masks = []
    for _ in range(2):
        method = Dropping()
        method.masks = []
        run = engine(method)
        run.step([batch()])
        run.step([batch()])
        masks.append(method.masks)
    assert torch.equal(masks[0][0], masks[1][0])
    assert torch.equal(masks[0][1], masks[1][1])
    assert not torch.equal(masks[0][0], masks[0][1])

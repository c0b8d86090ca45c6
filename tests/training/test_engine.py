"""The engine's own rules, tried with methods that break them."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from translate.config import TrainConfig
from translate.methods.base import DataStage, Method, Update
from translate.runtime import distributed
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine, tensor_digest
from translate.training.micro_batches import split_batch
from translate.training.nonfinite import Divergence
from translate.training.optimizers import OPTIMIZERS
from translate.training.schedule import Schedule

from ..helpers import assert_equal_state

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

    def step(self, batch, clock, scheduled):
        yield "g", {"loss": self.g(batch["a"]).mean()}
        yield "d", {"loss": self.d(batch["a"]).mean()}


def engine(method, **options):
    schedule = options.pop("schedule", Schedule(10, 0, 0, images=100))
    precision = PRECISIONS[options.pop("precision", "fp32")]
    return Engine(
        method, schedule, seed=0, device=CPU, precision=precision, batch_size=options.pop("batch_size", 2), **options
    )


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
    assert run.learning_rates() == {"g": 0.1, "d": 0.1}
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
        def step(self, batch, clock, scheduled):
            seen.append((clock, batch["key"].tolist()))
            yield from super().step(batch, clock, scheduled)

    run = engine(Watching())
    run.step(split_batch(batch(), 2))
    run.step([batch()])
    assert [clock.images for clock, _ in seen] == [0, 0, 2]
    assert [clock.step for clock, _ in seen] == [0, 0, 1]
    keys = [key for _, of_batch in seen for key in of_batch]
    assert len(set(keys)) == 4


def step_of(body, **options):
    """The engine running Line with another step."""

    class Other(Line):
        step = body

    return engine(Other(), **options)


def test_a_fake_made_without_gradient_is_found():
    def step(self, batch, clock, scheduled):
        with torch.no_grad():
            fake = self.g(batch["a"])
        yield "g", {"loss": self.d(fake).mean()}

    with pytest.raises(RuntimeError, match="gave network 'g' no gradient"):
        step_of(step).step([batch()])


def test_a_yield_within_no_grad_is_found():
    def step(self, batch, clock, scheduled):
        loss = self.g(batch["a"]).mean()
        with torch.no_grad():
            yield "g", {"loss": loss}

    with pytest.raises(RuntimeError, match="must not yield within no_grad"):
        step_of(step).step([batch()])
    torch.set_grad_enabled(True)


def test_a_yield_within_autocast_is_found():
    def step(self, batch, clock, scheduled):
        loss = self.g(batch["a"]).mean()
        with torch.autocast("cpu", torch.bfloat16):
            yield "g", {"loss": loss}

    with pytest.raises(RuntimeError, match="must not yield within autocast"):
        step_of(step).step([batch()])


def test_an_update_without_losses_is_found():
    def step(self, batch, clock, scheduled):
        yield "g", {}

    with pytest.raises(RuntimeError, match="without a loss"):
        step_of(step).step([batch()])


def test_a_step_without_updates_is_found():
    def step(self, batch, clock, scheduled):
        return
        yield

    with pytest.raises(RuntimeError, match="at least one update"):
        step_of(step).step([batch()])


def test_micro_batches_that_disagree_are_found():
    def step(self, batch, clock, scheduled):
        name = "g" if batch["a"].sum() > 0 else "d"
        yield name, {"loss": getattr(self, name)(batch["a"]).mean()}

    with pytest.raises(RuntimeError, match="micro-batches disagree"):
        step_of(step).step([{"a": torch.ones(1, 1)}, {"a": -torch.ones(1, 1)}])


def test_a_branch_that_no_phase_names_is_found():
    def step(self, batch, clock, scheduled):
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

        def step(self, batch, clock, scheduled):
            yield "g", {"loss": self.g(batch["a"]).mean()}
            if clock.step % 2:
                yield "d", {"loss": self.d(batch["a"]).mean()}

    run = engine(Lazy())
    assert [len(run.step([batch()])) for _ in range(4)] == [1, 2, 1, 2]


def test_a_step_that_was_broken_off_is_no_state_to_save():
    def step(self, batch, clock, scheduled):
        yield "g", {"loss": self.g(batch["a"]).mean()}
        raise ValueError("broken off")

    run = step_of(step)
    with pytest.raises(ValueError, match="broken off"):
        run.step([batch()])
    with pytest.raises(AssertionError, match="no state to save"):
        run.state()


def test_the_first_loss_that_is_not_finite_and_its_step_are_named():
    run = engine(Line())
    run.step([batch()])
    assert run.find_divergence() is None
    run.step([{"a": torch.full((2, 1), float("nan"))}])
    run.step([batch()])
    assert run.find_divergence() == Divergence(2, 2, ("g/loss", "gradient of g", "d/loss", "gradient of d"))


def test_one_loss_of_many_is_named():
    def step(self, batch, clock, scheduled):
        x = self.g(batch["a"]).mean()
        yield "g", {"good": x, "bad": (x - x.detach()) * 1e38 * 1e38 + x, "worse": x * float("inf")}

    run = step_of(step)
    run.step([batch()])
    assert run.find_divergence().names == ("g/worse", "gradient of g")


def test_a_gradient_that_is_not_finite_is_found_while_its_loss_is():
    """The root of 0 is 0, and its slope is infinite."""

    def step(self, batch, clock, scheduled):
        zero = self.g.weight - self.g.weight.detach()
        yield "g", {"loss": zero.square().sqrt().sum()}

    run = step_of(step)
    losses = run.step([batch()])
    assert losses["g/loss"] == 0
    assert run.find_divergence() == Divergence(1, 0, ("gradient of g",))


def test_the_step_is_right_after_the_batch_has_changed():
    first = engine(Line(), batch_size=1)
    for _ in range(3):
        first.step([batch(1)])
    run = engine(Line(), batch_size=2)
    run.load_state(first.state())
    run.step([batch()])
    run.step([{"a": torch.full((2, 1), float("inf"))}])
    assert (run.find_divergence().step, run.find_divergence().images) == (5, 5)


def test_gradients_that_overflow_in_fp16_are_skipped_and_no_divergence():
    def step(self, batch, clock, scheduled):
        yield "g", {"loss": self.g(batch["a"]).float().mean() * 1e35}

    run = step_of(step, precision="fp16")
    before = run.method.g.weight.item()
    run.step([batch()])
    assert run.method.g.weight.item() == before
    assert run.find_divergence(weights=True) is None
    assert run.gradient_norms == {}


def test_a_step_that_was_broken_off_in_its_optimizer_leaves_nothing_in_the_scaler(monkeypatch):
    """With a gradient of ½ the first moment is (1 − 0.5) · ½; the old scaler would forget to divide by its 65,536."""
    monkeypatch.setitem(OPTIMIZERS, "adam", torch.optim.Adam)  # as on devices that have no fused one

    def step(self, batch, clock, scheduled):
        yield "g", {"loss": self.g(batch["a"]).float().mean()}

    run = step_of(step, precision="fp16")
    state = copy.deepcopy(run.state())

    def full():
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(run.optimizers["g"], "step", full)
        with pytest.raises(MemoryError):
            run.step([{"a": torch.full((2, 1), 0.5)}])
    run.load_state(state)
    run.step([{"a": torch.full((2, 1), 0.5)}])
    assert run.optimizers["g"].state[run.method.g.weight]["exp_avg"].item() == 0.25


def test_the_norm_of_each_updates_gradient_is_told():
    """The slope of mean(w · (3, 3)) in w is 3, and of the second step's update of "d" too."""
    run = engine(Line())
    run.step([{"a": torch.full((2, 1), 3.0)}])
    assert {name: norm.item() for name, norm in run.gradient_norms.items()} == {"g": 3.0, "d": 3.0}


def test_weights_and_moments_that_are_not_finite_are_found():
    run = engine(Line())
    run.step([batch()])
    assert run.nonfinite_weights() == ()
    run.optimizers["d"].state[run.method.d.weight]["exp_avg"].fill_(float("nan"))
    assert run.find_divergence() is None
    assert run.find_divergence(weights=True) == Divergence(1, 0, ("weights of d",))


def test_after_a_roll_back_every_draw_is_another_and_before_it_none():
    seen = []

    class Watching(Line):
        def step(self, batch, clock, scheduled):
            seen.append((batch["key"].tolist(), torch.rand(()).item()))
            yield from super().step(batch, clock, scheduled)

    for rollbacks in (0, 1, 2, 1):
        run = engine(Watching())
        run.rollbacks = rollbacks
        run.step([batch()])
    assert seen[1] == seen[3]
    for kind in zip(*seen[:3], strict=True):
        assert len(set(map(str, kind))) == 3
    assert engine(Line()).draw_seed == 0


def test_a_method_prepares_its_weights_from_images_and_the_averages_start_from_them():
    class Prepared(Line):
        ema = ("g",)

        def prepare(self, batches):
            self.g.weight.fill_(sum(float(batch["a"].sum()) for batch in batches))
            return ["prepared"]

    run = engine(Prepared(), ema_half_life=5)
    assert run.prepare([batch(2), batch(3)]) == ["prepared"]
    assert run.method.g.weight.item() == run.ema.networks["g"].weight.item() == 5


def test_an_update_has_a_factor_of_its_own_beside_that_of_the_schedule():
    """A warm-up over four images, within a schedule whose last two epochs have two thirds and one third of the rate."""
    method = Line()
    method.updates["d"] = Update(("d",), 0.1, factor=lambda clock: min(1.0, clock.images / 4))
    run = engine(method, schedule=Schedule(2, epochs=1, decay_epochs=2))
    rates = []
    for _ in range(3):
        rates.append(run.learning_rates())
        run.step([batch()])
    assert [rate["g"] for rate in rates] == pytest.approx([0.1, 0.2 / 3, 0.1 / 3])
    assert [rate["d"] for rate in rates] == pytest.approx([0, 0.1 / 3, 0.1 / 3])
    assert method.d.weight.item() != Line().d.weight.item()


def test_scheduled_values_reach_the_step_as_tensors_of_the_moment():
    seen = []

    class Fading(Line):
        def scheduled_values(self, clock):
            return {"alpha": clock.images / 8, "sharpness": 2.0}

        def step(self, batch, clock, scheduled):
            seen.append({name: value.item() for name, value in scheduled.items()})
            assert all(isinstance(value, torch.Tensor) and value.ndim == 0 for value in scheduled.values())
            yield "g", {"loss": scheduled["alpha"] * self.g(batch["a"]).mean()}

    run = engine(Fading())
    for _ in range(3):
        run.step([batch()])
    assert seen == [{"alpha": alpha, "sharpness": 2.0} for alpha in (0, 0.25, 0.5)]


class Growing(Line):
    """Three stages of the data; the optimizer of "d" starts anew with the second."""

    def restarts(self, before, now):
        return ("d",) if (before.crop_size, now.crop_size) == (8, 16) else ()


STAGES = [DataStage(0, 8, 8, 2), DataStage(3, 16, 16, 3), DataStage(10, 32, 32, 1)]
"""The second begins with the step after 4 images, the third with that after 10."""


def growing(method=Growing):
    torch.manual_seed(0)
    return Engine(
        method(), Schedule(10, 0, 0, images=100), seed=0, device=CPU, precision=PRECISIONS["fp32"], batch_size=2,
        stages=STAGES,
    )  # fmt: skip


def optimizer_steps(run):
    """How often each optimizer has moved its weight since it began."""
    return {name: int(next(iter(optimizer.state.values()))["step"]) for name, optimizer in run.optimizers.items()}


def test_images_are_counted_by_what_a_step_is_given_and_a_stage_restarts_what_the_method_says():
    run, counts, done = growing(), [], []
    for size in (2, 2, 3, 3, 1, 1):
        run.step([batch(size)])
        counts.append(run.images)
        done.append((run.stage, *optimizer_steps(run).values()))
    assert counts == [2, 4, 7, 10, 11, 12]
    assert done == [(0, 1, 1), (0, 2, 2), (1, 3, 1), (1, 4, 2), (2, 5, 3), (2, 6, 4)]


@pytest.mark.parametrize("stopped_after", [1, 2, 3, 4])
def test_a_run_that_was_stopped_at_a_change_of_stage_ends_with_the_same_bits(stopped_after):
    sizes = (2, 2, 3, 3, 1)
    whole, first = growing(), growing()
    for size in sizes:
        whole.step([batch(size)])
    for size in sizes[:stopped_after]:
        first.step([batch(size)])
    resumed = growing()
    resumed.load_state(copy.deepcopy(first.state()))
    for size in sizes[stopped_after:]:
        resumed.step([batch(size)])
    assert_equal_state(resumed.state(), whole.state())


def test_the_step_of_a_divergence_is_told_where_steps_have_different_sizes():
    """Steps begin after 0, 2, 4, 7, 10 and 11 images; the fifth, a step of one image, has a loss that is not finite."""

    class Diverging(Growing):
        def step(self, batch, clock, scheduled):
            yield "g", {"loss": self.g(batch["a"]).mean() * (float("nan") if clock.images == 10 else 1)}
            yield "d", {"loss": self.d(batch["a"]).mean()}

    run = growing(Diverging)
    for size in (2, 2, 3, 3, 1, 1):
        run.step([batch(size)])
    assert run.find_divergence() == Divergence(5, 10, ("g/loss", "gradient of g"))


class WithFeatures(Line):
    """Line with a helper network whose weights are given, with a batch norm and a layer inside a layer."""

    frozen_networks = ("features",)

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.BatchNorm1d(1)))

    def step(self, batch, clock, scheduled):
        yield "g", {"loss": self.features(self.g(batch["a"])).mean()}
        yield "d", {"loss": self.d(batch["a"]).mean()}


def test_a_frozen_network_passes_gradients_on_and_is_neither_trained_nor_saved(monkeypatch):
    method = WithFeatures()
    before = copy.deepcopy(method.features.state_dict())
    sent = []
    monkeypatch.setattr(distributed, "broadcast", sent.extend)
    run, start = engine(method), method.g.weight.item()
    run.step([batch()])
    assert method.g.weight.item() != start
    assert dict(method.features.named_buffers()).keys() == before.keys()
    for name, x in method.features.named_buffers():
        torch.testing.assert_close(x, before[name], rtol=0, atol=0)
    assert not list(method.features.parameters())
    assert {id(x) for x in sent} == {id(method.g.weight), id(method.d.weight)}
    state = run.state()
    assert state["method"].keys() == {"g.weight", "d.weight"}
    assert state["buffers"] == [{}]
    engine(WithFeatures()).load_state(state)
    with run.evaluation_mode():
        pass
    assert method.g.training and not method.features.training and not method.features[1][0].training


def test_a_method_puts_the_weights_that_it_starts_from_in_their_place():
    """As an enhancer that contains another model's generator."""

    class Enhancer(Line):
        def initial_weights(self, given):
            return {"d": {"weight": 2 * given["g"]["weight"]}}

    run = engine(Enhancer())
    start = run.method.g.weight.item()
    run.load_weights({"g": {"weight": torch.tensor([[7.0]])}})
    assert (run.method.g.weight.item(), run.method.d.weight.item()) == (start, 14)


def test_dropout_is_a_function_of_seed_and_step():
    class Dropping(Line):
        def step(self, batch, clock, scheduled):
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


class WithBuffers(Line):
    """A pool that is equal in all processes, a counter of each process, and a scratch pad that no state dict holds."""

    def __init__(self, counter=0.0):
        super().__init__()
        self.register_buffer("pool", torch.arange(4.0))
        self.register_buffer("counter", torch.tensor(counter))
        self.register_buffer("scratch", torch.tensor(counter + 1), persistent=False)


def buffer_values(method):
    return {name: buffer.tolist() for name, buffer in method.named_buffers()}


def test_a_state_holds_equal_buffers_once_and_gives_each_process_its_own(monkeypatch):
    """Process 1 stores what differs from process 0. A third gets the buffers of the first, as of two there were."""
    first, second = (engine(WithBuffers(counter)) for counter in (1.0, 2.0))
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "world_size", lambda: 2)
        patch.setattr(
            distributed, "broadcast_object", lambda make: {n: tensor_digest(x) for n, x in first.method.named_buffers()}
        )
        patch.setattr(distributed, "gather_object", lambda value: [value])
        (own,), (other,) = first.state()["buffers"], second.state()["buffers"]
    assert (own.keys(), other.keys()) == ({"scratch"}, {"counter", "scratch"})
    state = {**first.state(), "buffers": [own, other]}
    for rank, source in enumerate((first, second, first)):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        loaded = engine(WithBuffers(9.0))
        loaded.load_state(state)
        assert buffer_values(loaded.method) == buffer_values(source.method), rank


def test_a_state_of_version_0_1_with_all_buffers_of_each_process_loads(monkeypatch):
    first, second = (engine(WithBuffers(counter)) for counter in (1.0, 2.0))
    state = {**first.state(), "buffers": [dict(run.method.named_buffers()) for run in (first, second)]}
    for rank, source in enumerate((first, second)):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        loaded = engine(WithBuffers(9.0))
        loaded.load_state(state)
        assert buffer_values(loaded.method) == buffer_values(source.method), rank


def test_one_process_stores_no_buffer_twice():
    assert engine(WithBuffers()).state()["buffers"][0].keys() == {"scratch"}


def test_a_digest_is_of_the_bits():
    """−0 equals 0, and no NaN equals itself, but bits decide."""
    zero, nan = torch.zeros(2), torch.full((2,), torch.nan)
    assert tensor_digest(nan) == tensor_digest(nan.clone())
    assert tensor_digest(zero) != tensor_digest(-zero)
    assert tensor_digest(torch.arange(6).view(2, 3).T) == tensor_digest(torch.tensor([[0, 3], [1, 4], [2, 5]]))
    assert tensor_digest(torch.tensor(True)) != tensor_digest(torch.tensor(False))


def test_weights_to_start_from_are_those_of_the_averages():
    method = Line()
    method.ema = ("g",)
    run = Engine(
        method,
        Schedule(10, 0, 0, images=100),
        seed=0,
        device=CPU,
        precision=PRECISIONS["fp32"],
        batch_size=2,
        ema_half_life=5,
    )
    run.load_weights({"g": {"weight": torch.tensor([[7.0]])}})
    assert (method.g.weight.item(), run.ema.networks["g"].weight.item()) == (7, 7)

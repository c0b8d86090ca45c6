"""Training on a GPU, as far as it can be proved without one: no operation mixes devices, and nothing waits for the device."""

import importlib

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from translate.api.presets import sized_settings
from translate.data.batch_augment import BATCH_AUGMENTATIONS, apply_augmentations
from translate.errors import UsageError
from translate.methods import METHODS
from translate.nn.features import FeatureNetwork
from translate.runtime.precision import PRECISIONS
from translate.training.cuda_graphs import CudaGraphRecorder, GraphRunner
from translate.training.engine import Engine

from ..helpers import small_config
from .harness import CUDA, DeviceWatch, case_of, cuda_without_device, empty_batch, fake_engine, watched_steps

EVERY_DAY = {("pix2pix", "bf16"), ("stargan", "bf16")}
"""Methods and precisions that the tests of every day take: a pair of networks; a penalty in float32 and labels."""
MODERN = [name for name, cls in METHODS.items() if "modern" in cls.presets]
PENALTY = {
    "adversarial": "relativistic", "norm": "instance", "diffaugment": "color,translation,cutout",
    "augment": ",".join(BATCH_AUGMENTATIONS),
}  # fmt: skip
PENALTY_WEIGHTS = ("lambda_r1", "lambda_path")
"""Settings of penalties that are differentiated twice, and so in float32, beside that of an adversarial loss."""


def is_refused(name, precision):
    """Does the method refuse to train in the precision?"""
    try:
        small_config(name, precision=precision)
    except UsageError as error:
        if f"--precision {precision}" not in str(error):
            raise
        return True
    return False


CASES = [
    case_of(name, precision, every_day=(name, precision) in EVERY_DAY)
    for name in METHODS
    for precision in ("fp32", "bf16", "fp16")
    if not is_refused(name, precision)  # no such training can be
]


@pytest.fixture(scope="module")
def kornia():
    """Imported while tensors are real: what its modules keep would else be fake for all other tests."""
    for name in ("kornia.enhance", "kornia.geometry.transform"):
        importlib.import_module(name)


@pytest.fixture(autouse=True)
def cuda():
    with cuda_without_device():
        yield


def check_types(engine, losses, watch):
    """Weights, moments, averages and means of losses stay in float32; convolutions compute in the precision's type."""
    compute = engine.precision.compute or torch.float32
    loss = getattr(engine.method, "adversarial_loss", None)  # else of a cost of its own
    has_own = any(getattr(engine.method.cfg, weight, None) for weight in PENALTY_WEIGHTS)
    has_penalty = has_own or (loss is not None and any(map(loss.has_penalty, range(engine.steps))))
    in_float32 = {torch.float32} if has_penalty else set()
    assert watch.dtypes["convolution"] == {compute} | in_float32
    assert watch.reductions == {torch.float32}
    assert all((x.dtype, x.device, x.ndim) == (torch.float32, CUDA, 0) for x in losses.values())
    states = [
        x for optimizer in engine.optimizers.values() for state in optimizer.state.values() for x in state.values()
    ]
    averages = [p for network in engine.ema.networks.values() for p in network.parameters()]
    kept = [
        x
        for x in (*engine.method.parameters(), *engine.method.buffers(), *states, *averages)
        if isinstance(x, torch.Tensor)
    ]
    assert all(x.device == CUDA and x.dtype in (torch.float32, torch.int64) for x in kept)


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_a_step_stays_on_the_device_and_waits_for_nothing(name, precision):
    """Losses, gradient penalties, pools, fused Adam and its scale, gradient norms, averages, and the check for nan."""
    engine = fake_engine(name, precision)
    losses, watch = watched_steps(name, engine)
    check_types(engine, losses, watch)
    adam = [optimizer for optimizer in engine.optimizers.values() if isinstance(optimizer, torch.optim.Adam)]
    assert watch.counts["_fused_adam_"] >= len(adam)
    assert watch.counts["_foreach_lerp_"] == 2 * len(engine.ema.networks)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if cls.grows])
def test_a_level_that_fades_in_stays_on_the_device(name):
    engine = fake_engine(name)
    planned = engine.schedule.planned
    engine.images = METHODS[name].stages(engine.method.cfg, planned, planned)[1].image + 1
    assert "fading" in engine.method.phase(engine.clock)
    check_types(engine, *watched_steps(name, engine))


@pytest.mark.slow
@pytest.mark.usefixtures("kornia")
@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_penalties_and_augmentations_in_parts_and_channels_last_stay_on_the_device(name):
    engine = fake_engine(name, channels_last=True, batch_size=2, **PENALTY)
    check_types(engine, *watched_steps(name, engine, parts=2))


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_attacked_inputs_and_noise_in_cycles_stay_on_the_device(name, attack):
    noise = {"cycle_noise": 0.1} if METHODS[name].has_cycle else {}
    engine = fake_engine(name, adversarial_training=attack, **noise)
    check_types(engine, *watched_steps(name, engine))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODERN)
def test_the_preset_modern_stays_on_the_device(name):
    """With frozen feature networks, and the start from the colours of the other domain."""
    settings = sized_settings(METHODS[name], "modern", {"crop_size": 32})
    small = {"generator": "resize_unet_2levels_1blocks", "g_width": 4, "d_width": 8, "batch_size": 2}
    engine = fake_engine(name, **{**settings, **small})
    frozen = [x for net in engine.method.modules() if isinstance(net, FeatureNetwork) for x in net.buffers()]
    assert frozen and all(x.device == CUDA for x in frozen)
    check_types(engine, *watched_steps(name, engine))


@pytest.mark.usefixtures("kornia")
def test_augmentations_of_a_batch_stay_on_the_device():
    x, key = torch.empty(2, 3, 32, 32, device=CUDA), torch.empty(2, dtype=torch.int64, device=CUDA)
    with DeviceWatch():
        y = apply_augmentations(x, key, "a", BATCH_AUGMENTATIONS)
    assert (y.shape, y.dtype, y.device) == (x.shape, x.dtype, CUDA)


def stand_at_level(monkeypatch, method, level):
    """Let networks that grow say that they have come to a level, which fades in; fake numbers do not say how far.

    The level decides which layers run, so the host reads it: once in a preview, which it waits for anyway.
    """
    kinds = {type(network) for network in method.modules() if hasattr(type(network), "grown")}
    assert method.grows == bool(kinds)
    for kind in kinds:
        monkeypatch.setattr(kind, "grown", property(lambda network: (level, torch.empty((), device=CUDA))))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_previews_and_the_monitor_of_discriminators_stay_on_the_device(name, monkeypatch):
    engine = fake_engine(name)
    stand_at_level(monkeypatch, engine.method, level=2)
    batch = engine.with_keys(empty_batch(name, engine.method.cfg))
    with engine.evaluation_mode(), engine.ema.swapped_in(), DeviceWatch():
        columns = engine.method.preview(batch)
        logits = engine.method.discriminator_outputs(batch)
    assert all(x.ndim == 4 and x.device == CUDA for x in columns.values())
    assert logits or not hasattr(engine.method, "adversarial_loss")


def test_graphs_are_recorded_and_replayed():
    """Three steps are launched, one is recorded; all that changes from step to step is filled into tensors on the device."""
    said = []
    runner = GraphRunner(CUDA, CudaGraphRecorder(CUDA), said.append)
    engine = fake_engine("dcgan", runner=runner)
    watched_steps("dcgan", engine, steps=5)
    assert said == [] and len(runner._recorded) == 1
    assert all(x.device == CUDA for x in runner.scalars._tensors.values())


# What the watch sees.


class Faulty:
    """A method of which a step does something more."""

    def __init__(self, method, fault):
        self.method, self.fault = method, fault

    def __call__(self, batch, clock, scheduled):
        for update, losses in type(self.method).step(self.method, batch, clock, scheduled):
            yield update, {name: loss + self.fault(loss) for name, loss in losses.items()}


FAULTS = {
    "a value": (lambda loss: loss.detach().item(), DataDependentOutputException, "_local_scalar_dense"),
    "a branch on a value": (lambda loss: 1 if loss > 0 else 0, DataDependentOutputException, "_local_scalar_dense"),
    "a constant of the host": (lambda loss: torch.tensor([1.0]).sum(), AssertionError, "touches a tensor on cpu"),
    "a copy to the host": (lambda loss: loss.cpu().to(CUDA), AssertionError, "touches a tensor on cpu"),
    "a shape by values": (lambda loss: loss.detach()[None].nonzero().sum(), Exception, "nonzero"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_watch_sees(fault, monkeypatch):
    function, error, message = FAULTS[fault]
    engine = fake_engine("dcgan", g_width=2, d_width=2)
    monkeypatch.setattr(engine.method, "step", Faulty(engine.method, function))
    with pytest.raises(error, match=message):
        watched_steps("dcgan", engine, steps=1)


def test_autocast_is_on():
    """Else nothing would be said about the types of a GPU."""
    with DeviceWatch() as watch, PRECISIONS["fp16"].autocast(CUDA):
        torch.nn.functional.conv2d(*(torch.empty(1, 3, 8, 8, device=CUDA) for _ in "xw"))
    assert watch.dtypes["convolution"] == {torch.float16}
    assert isinstance(fake_engine("dcgan"), Engine)

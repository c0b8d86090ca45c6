"""Ways to compute the same thing: each agrees with plain float32, for every method."""

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch._dynamo.utils import counters

from translate import config
from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods import METHODS
from translate.nn.losses import ADVERSARIAL
from translate.runtime.precision import PRECISIONS, configure_tf32, cudnn_benchmark

from ..helpers import default, distinct_methods

# Largest difference of a loss in the first step, relative to the loss or to VANISHING if that is more, and least cosine between
# the gradients. Float32 itself is 3e-7 and 3e-6 from float64 here (relative; a cosine of 1 − 5e-12).
EXACT = (1e-5, 1 - 1e-8)
VANISHING = 1e-6  # the divergence of a code that starts as a difference of nearly equal numbers is rounding alone
# The square of a logit's distance to its label moves by twice the distance for each unit of the logit. Relative to the loss
# that has no bound near the label, so that in half precision adversarial losses below a distance of one half count as that one.
NEAR_LABEL = 0.25
WAYS = {
    "channels_last": ({}, {"channels_last": True}, EXACT),
    "gradient_checkpointing": ({"gradient_checkpointing": True}, {}, EXACT),
    # A rounding changes a value by up to 2^-8 in bf16, 2^-11 in fp16. Those of up to 64 layers in a row, each with a sign of
    # its own, add up to 8 of them.
    "bf16": ({}, {"precision": "bf16"}, (8 * 2**-8, 0.9)),
    "fp16": ({}, {"precision": "fp16"}, (8 * 2**-11, 0.99)),
}


REFUSES_FP16 = {"stylegan2"}
"""Methods whose default recipe has penalties that float16 cannot hold."""


def first_step(tiny, name, flags, options):
    """Losses up to the first update, and its gradients: later losses come after a step that fp16's scaler may skip."""
    # Not a critic's cost: a difference of means that nearly cancel has no relative error worth telling.
    # Nor squares of biggan's logits, sums over places of a map, which leave the range of fp16 in networks as small as these.
    cost = "hinge" if name == "biggan" else "lsgan"
    engine = tiny.engine(name, **options, norm="batch", dropout=False, adversarial=cost, lambda_path=0.0, **flags)
    first = {}

    def keep(update):
        first.setdefault("update", update)
        if update == first["update"]:
            scale = engine.scalers[update].get_scale() if engine.scalers[update].is_enabled() else 1
            first["gradients"] = torch.cat(
                [p.grad.double().flatten() / scale for p in engine.parameters[update] if p.grad is not None]
            )
        apply(update)

    apply, engine._apply = engine._apply, keep
    for scaler in engine.scalers.values():
        if scaler.is_enabled():
            scaler._init_scale = (
                256.0  # what the scaler comes to; its first one overflows on networks as small as these
            )
    losses = engine.step(tiny.engine_batch(name, engine))
    wanted = {key: loss.item() for key, loss in losses.items() if key.startswith(first["update"])}
    return wanted, first["gradients"]


def assert_agree(left, right, tolerance):
    (losses, gradients), (plain, exact) = left, right
    most, least = tolerance
    assert losses.keys() == plain.keys()
    for key, loss in plain.items():
        near_label = most > EXACT[0] and "adv" in key.split("/")[-1]
        assert abs(losses[key] - loss) / max(abs(loss), NEAR_LABEL if near_label else VANISHING) < most, key
    assert torch.cosine_similarity(gradients, exact, dim=0) > least


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_each_way_agrees_with_plain_float32(name, tiny):
    plain = first_step(tiny, name, {}, {})
    for way, (flags, options, tolerance) in WAYS.items():
        if way == "fp16" and name in REFUSES_FP16:
            with pytest.raises(UsageError, match="--precision fp16"):
                tiny.config(name, precision="fp16")
        else:
            assert_agree(first_step(tiny, name, flags, options), plain, tolerance)


@pytest.mark.parametrize("name", METHODS)
def test_channels_last_lies_so(name, tiny):
    """Wherever something is learned: without gradients, instance norm gives its result in the usual order."""
    engine = tiny.engine(name, channels_last=True)
    seen = []

    def see(module, given, out):
        if torch.is_grad_enabled():
            seen.append((given[0], module.weight))

    for module in engine.method.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(see)
    engine.step(tiny.engine_batch(name, engine))
    wide = [(x, weight) for x, weight in seen if min(*x.shape[1:], *weight.shape[1:]) > 1]
    assert wide
    assert all(x.is_contiguous(memory_format=torch.channels_last) for pair in wide for x in pair)


@pytest.mark.slow
@pytest.mark.each_kind
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler looks at inputs
@pytest.mark.filterwarnings(
    "ignore:The distutils package is deprecated"
)  # inductor imports it before it calls a compiler
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.hours)])
@pytest.mark.parametrize(
    ("name", "adversarial"),
    [*((name, "wgan-gp") for name in distinct_methods()), ("cyclegan", "relativistic"), ("pix2pix", "lsgan")],
)
def test_compiled_networks_agree_with_plain_ones(name, adversarial, backend, tiny):
    if backend == "inductor":  # which starts threads of autograd, after which other tests could fork no process
        mp.start_processes(compare_compiled, (name, adversarial, backend, tiny), nprocs=1, start_method="fork")
    else:
        compare_compiled(0, name, adversarial, backend, tiny)


def compare_compiled(rank, name, adversarial, backend, tiny):
    with pytest.MonkeyPatch.context() as patch:
        real = nn.Module.compile
        patch.setattr(nn.Module, "compile", lambda network: real(network, backend=backend))
        compare_with_plain(name, adversarial, tiny)


def keep_gradients(engine):
    """Copies of the gradients that each update is applied with, by its name and the parameter's."""
    apply, names, kept = engine._apply, {p: key for key, p in engine.method.named_parameters()}, {}

    def keep(update):
        kept.update({f"{update} {names[p]}": p.grad.clone() for p in engine.parameters[update] if p.grad is not None})
        apply(update)

    engine._apply = keep
    return kept


def compare_with_plain(name, adversarial, tiny):
    """Losses and gradients of one step; a penalty is differentiated twice, past the compiler."""
    flags = {"norm": "instance" if ADVERSARIAL[adversarial].penalty_weight else "batch", "adversarial": adversarial}
    if default(name, "generator") is not None:
        flags["generator"] = "resnet_1blocks"
    compiled, plain = (tiny.engine(name, compiled=on, dropout=False, **flags) for on in (True, False))
    gradients = [keep_gradients(engine) for engine in (compiled, plain)]
    ours, theirs = (e.step(tiny.engine_batch(name, e)) for e in (compiled, plain))
    for key, loss in theirs.items():
        torch.testing.assert_close(ours[key], loss, rtol=1e-5, atol=1e-6, msg=key)
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][key], gradient, rtol=1e-3, atol=1e-5, msg=key)
    frames = counters["frames"]["total"]
    assert frames > 0
    with compiled.evaluation_mode():  # a look at it is not compiled anew for its size
        compiled.method.preview(tiny.batch(name, 3))
    assert counters["frames"]["total"] == frames
    assert compiled.method.state_dict().keys() == plain.method.state_dict().keys()


CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("setting", ["graph", "channels_last"])
@pytest.mark.parametrize(("given", "meant"), [("on", "on"), (True, "on"), (False, "off"), ("auto", "auto")])
def test_a_switch_of_three_is_given_as_a_flag_or_as_python_and_toml_have_it(setting, given, meant):
    """Runs of before there was a third hold `channels_last = false`."""
    assert getattr(config.resolve(TrainConfig, ("test", {setting: given})), setting) == meant
    with pytest.raises(UsageError, match="must be one of auto, on, off"):
        config.resolve(TrainConfig, ("test", {setting: "yes"}))


@pytest.fixture
def arithmetic():
    """How torch multiplies on CUDA: (matrices in TF32, convolutions in TF32)."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    def now():
        # what torch.compile asks for has to be known too
        assert torch.backends.cuda.matmul.allow_tf32 == (torch.backends.cuda.matmul.fp32_precision == "tf32")
        return torch.get_float32_matmul_precision() == "high", torch.backends.cudnn.allow_tf32

    yield now
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
    torch.use_deterministic_algorithms(False)


def test_on_cuda_float32_is_multiplied_in_tf32_unless_all_bits_are_asked_for(arithmetic):
    fp32, fp64 = PRECISIONS["fp32"], PRECISIONS["fp64"]
    before = arithmetic()
    configure_tf32(CPU, fp32)
    assert arithmetic() == before
    configure_tf32(CUDA, fp32)
    assert arithmetic() == (True, True)
    configure_tf32(CUDA, fp64)
    assert arithmetic() == (False, False)
    configure_tf32(CUDA, fp32)
    torch.use_deterministic_algorithms(True)
    configure_tf32(CUDA, fp32)
    assert arithmetic() == (False, False)


@pytest.mark.parametrize(("device", "one_size", "deterministic", "tries"), [
    (CUDA, True, False, True), (CUDA, False, False, False), (CUDA, True, True, False), (CPU, True, False, False),
])  # fmt: skip
def test_cudnn_tries_its_algorithms_in_steps_on_images_of_one_size(
    device, one_size, deterministic, tries, tiny, monkeypatch
):
    """And not in looks at images of whatever size between them."""
    engine, seen = tiny.engine("pix2pix"), []
    engine.fixed_size = one_size
    work = engine._work
    monkeypatch.setattr(engine, "_work", lambda *given: seen.append(torch.backends.cudnn.benchmark) or work(*given))
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    monkeypatch.setattr("translate.training.engine.cudnn_benchmark", lambda own_device: cudnn_benchmark(device))
    engine.step(tiny.engine_batch("pix2pix", engine))
    assert seen == [tries]
    assert torch.backends.cudnn.benchmark is False

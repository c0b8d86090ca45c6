"""Convolutions are computed as recorded, else as cached, else in the faster way: a choice that depends on nothing else."""

import json
import typing
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate import config, convolution_choice, convolution_timing
from translate.cli.flags import DeviceOptions
from translate.convolution_choice import (
    CONVOLUTIONS,
    TUNING,
    ConvolutionSetting,
    Probe,
    choose_algorithms,
    convolutions_restored,
    copy_convolutions,
    resolve_convolution,
    set_convolutions,
)
from translate.convolution_timing import (
    CONVERSION,
    TRAINING,
    ConvolutionShape,
    choose_fastest,
    find_candidates,
    time_algorithms,
)
from translate.errors import UsageError
from translate.nn import fast_conv
from translate.nn.tuned_conv import TunedConv2d, TunedConvolution, use_tuned_convolutions
from translate.runtime.precision import PRECISIONS

FAST, SLOW = {"direct": 2.0, "winograd": 1.0}, {"direct": 1.0, "winograd": 2.0}
"""Times by which Winograd's algorithm is chosen, or not."""


def silent(line):
    pass


@pytest.fixture
def times(monkeypatch, tmp_path):
    """Number of output channels → timing of such a layer, and the shapes that were timed; with an empty cache."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 4)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known, timed = {8: FAST, 12: SLOW}, []

    def time(shape, candidates, tune):
        assert candidates == list(known[shape.out_channels])
        timed.append(shape)
        return known[shape.out_channels]

    monkeypatch.setattr(convolution_choice, "time_algorithms", time)
    return known, timed


def network():
    """Two wide layers, at full and at half the size, and one that is too narrow for a choice."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, padding=1)
    )
    use_tuned_convolutions(net)
    return net


def probe(net, side=18, purpose=TRAINING, batch=1, layout=torch.contiguous_format):
    """A network's border takes two pixels, so that 18 are 16 in its maps."""
    x = torch.zeros(1, 3, side, side).contiguous(memory_format=layout)
    return Probe(lambda: net(x), purpose, batch, 32 / (side - 2))


def choose(net, setting="auto", recorded=None, say=silent, **more):
    return set_convolutions(net, ConvolutionSetting(setting), recorded, lambda: probe(net, **more), say)


def ways(net):
    return [layer.algorithm for layer in net.modules() if isinstance(layer, TunedConvolution)]


WIDE, HALF = "training 4 to 8, 1x32x32, padding 0", "training 8 to 12, 1x16x16, padding 1"


def test_each_layer_is_computed_in_the_way_that_is_faster_for_its_shape(times):
    net = network()
    assert choose(net, recorded={}) == {WIDE: "winograd", HALF: "direct"}
    assert ways(net)[1:] == ["winograd", "direct"]
    x = torch.randn(1, 8, 16, 16)
    assert torch.equal(net[3](x), F.conv2d(x, net[3].weight, net[3].bias, padding=1))
    x = torch.randn(1, 4, 16, 16)
    assert not torch.equal(net[1](x), F.conv2d(x, net[1].weight, net[1].bias))


@pytest.mark.parametrize("winograd", [1.0, 0.3])
def test_winograds_algorithm_must_be_clearly_faster(winograd):
    for ratio, expected in ((1.05, "winograd"), (1.04, "direct"), (1.0, "direct")):
        assert choose_fastest({"direct": ratio * winograd, "winograd": winograd}) == expected


def test_the_nominal_shape_does_not_depend_on_the_probe(times):
    shapes = [set(choose(net, recorded={}, side=side)) for net in [network()] for side in (10, 18, 34)]
    assert shapes == [{WIDE, HALF}] * 3
    last = choose(network(), recorded={}, batch=8, purpose=CONVERSION, layout=torch.channels_last)
    assert set(last) == {f"conversion 4 to 8, 2x32x32, padding 0{', channels last'}",
                         f"conversion 8 to 12, 2x16x16, padding 1{', channels last'}"}  # fmt: skip


def test_large_maps_are_timed_in_part(times):
    net = network()
    large = Probe(lambda: net(torch.zeros(1, 3, 18, 18)), TRAINING, batch=64, scale=32.0)
    record = set_convolutions(net, ConvolutionSetting("auto"), {}, lambda: large, silent)
    assert set(record) == {"training 4 to 8, 2x64x64, padding 0", "training 8 to 12, 2x64x64, padding 1"}


def test_the_same_machine_chooses_the_same_again(times):
    known, timed = times
    first = choose(network(), recorded={})
    assert [shape.out_channels for shape in timed] == [8, 12]
    known.clear()  # to time again would fail
    assert choose(network(), recorded={}) == first


@pytest.mark.parametrize("changed", ["cpu", "torch", "threads", "kernels"])
def test_another_machine_or_version_chooses_anew(times, monkeypatch, changed):
    known, timed = times
    choose(network(), recorded={})
    known[8] = SLOW
    if changed == "cpu":
        monkeypatch.setattr(convolution_timing, "cpu_model", lambda: "another")
    elif changed == "torch":
        monkeypatch.setattr(torch, "__version__", "another")
    elif changed == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 17)
    else:
        monkeypatch.setattr(convolution_timing, "KERNELS_VERSION", "another")
    assert choose(network(), recorded={})[WIDE] == "direct"
    assert len(timed) == 4


def damage(path, kind):
    content = json.loads(path.read_text())
    damaged = {
        "cut off": path.read_text()[:20],
        "no object": "[1]",
        "a field short": json.dumps({"algorithm": content["algorithm"]}),
        "another algorithm": json.dumps({**content, "algorithm": "fft"}),
        "other conditions": json.dumps({**content, "conditions": {}}),
    }
    path.write_text(damaged[kind])


@pytest.mark.parametrize("kind", ["cut off", "no object", "a field short", "another algorithm", "other conditions"])
def test_a_damaged_cache_is_not_believed(times, kind):
    known, timed = times
    first = choose(network(), recorded={})
    for path in convolution_timing.cache_folder().iterdir():
        damage(path, kind)
    assert choose(network(), recorded={}) == first
    assert len(timed) == 4
    known.clear()  # both are in the cache again
    assert choose(network(), recorded={}) == first


def test_without_a_cache_it_chooses_each_time(times, tmp_path, monkeypatch):
    _, timed = times
    (tmp_path / "cache").write_text("a file where the folder should be")
    first = choose(network(), recorded={})
    assert choose(network(), recorded={}) == first
    assert len(timed) == 4

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert choose(network(), recorded={}) == first


@pytest.mark.parametrize("base", ["", "relative/folder"])
def test_the_cache_is_that_of_the_user(base, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert convolution_timing.cache_folder() == tmp_path / ".cache" / "image-translate" / "convolutions"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert convolution_timing.cache_folder().is_relative_to(tmp_path / "own")


def test_what_another_process_chose_in_the_meantime_counts(times, monkeypatch):
    """Two that start at the same time both time, and take the same."""
    known, _ = times
    slow = convolution_choice.time_algorithms

    def time(shape, candidates, tune):
        monkeypatch.setattr(convolution_choice, "time_algorithms", slow)
        choose(network(), recorded={})
        known[8] = SLOW
        return slow(shape, candidates, tune)

    monkeypatch.setattr(convolution_choice, "time_algorithms", time)
    assert choose(network(), recorded={})[WIDE] == "winograd"


def test_a_record_counts_more_than_times_and_cache_and_is_kept(times):
    _, timed = times
    choose(network(), recorded={})
    net, recorded = network(), {WIDE: "direct", "training 1 to 1": "winograd"}
    assert choose(net, recorded=recorded) == {**recorded, HALF: "direct"}
    assert ways(net)[1:] == ["direct", "direct"]
    assert len(timed) == 2


def test_work_without_a_record_used_winograds_algorithm(times):
    _, timed = times
    net = network()
    assert choose(net, recorded=None) is None
    assert ways(net) == ["winograd"] * 3
    assert not timed


@pytest.mark.parametrize("setting", ["direct", "winograd"])
@pytest.mark.parametrize("recorded", [None, {}, {WIDE: "direct", HALF: "winograd"}])
def test_what_is_asked_for_counts_more_than_a_record(times, setting, recorded):
    _, timed = times
    net = network()
    assert choose(net, setting, recorded) == recorded
    assert ways(net) == [setting] * 3
    assert not timed


def test_other_processes_take_the_choice_of_the_first(times):
    _, timed = times
    net, first = network(), {WIDE: "direct", HALF: "winograd"}
    assert (
        set_convolutions(net, ConvolutionSetting("auto"), {}, lambda: probe(net), silent, lambda choose: first) == first
    )
    assert ways(net)[1:] == ["direct", "winograd"]
    assert not timed


def test_where_there_is_nothing_to_choose_nothing_is_run(times):
    """In float64, on other devices than the CPU, and with narrow layers."""
    recorded = {WIDE: "direct"}
    for net in (network().double(), network().to("meta"), network()[:1]):
        assert set_convolutions(net, ConvolutionSetting("auto"), recorded, pytest.fail, silent) == recorded


def test_a_line_says_what_was_timed_and_none_what_was_known(times):
    lines = []
    choose(network(), recorded={}, say=lines.append)
    (line,) = lines
    assert "4 to 8 channels at 32×32: direct 2000.0 ms, winograd 1000.0 ms; using winograd" in line
    assert "8 to 12 channels at 16×16: direct 1000.0 ms, winograd 2000.0 ms; using direct" in line
    choose(network(), recorded={}, say=lines.append)
    assert len(lines) == 1


def test_layers_are_copied_and_restored(times):
    net, other = network(), network()
    with convolutions_restored(net):
        choose(net, recorded={})
        copy_convolutions(net, other)
    assert ways(net) == ["winograd"] * 3
    assert ways(other)[1:] == ["winograd", "direct"]


def test_the_names_are_those_of_the_flags():
    for name in CONVOLUTIONS:
        assert resolve_convolution(name, PRECISIONS["fp32"]) == ConvolutionSetting(name)
    with pytest.raises(UsageError, match="--convolution fft: unknown; possible: auto, direct, winograd"):
        resolve_convolution("fft", PRECISIONS["fp32"])
    with pytest.raises(UsageError, match="--tune slow: unknown; possible: off, fast, full"):
        resolve_convolution("auto", PRECISIONS["fp32"], "slow")
    for options in (config.TrainConfig, DeviceOptions):
        choices = {f.name: f.metadata["choices"] for f in typing.cast(type, options).__dataclass_fields__.values()}
        assert (choices["convolution"], choices["tune"]) == (CONVOLUTIONS, TUNING)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_off_is_direct_and_what_is_asked_for_is_not_tuned(precision):
    asked = PRECISIONS[precision]
    assert resolve_convolution("auto", asked, "off") == ConvolutionSetting("direct")
    assert {resolve_convolution("direct", asked, tune).convolution for tune in TUNING} == {"direct"}
    assert {resolve_convolution("winograd", PRECISIONS["fp32"], tune).convolution for tune in TUNING} == {"winograd"}


def test_autocast_leaves_a_choice_in_bf16_alone():
    assert resolve_convolution("auto", PRECISIONS["bf16"], "full") == ConvolutionSetting("auto", "full", bf16=True)
    assert resolve_convolution("winograd", PRECISIONS["bf16"]) == ConvolutionSetting("direct")
    assert {resolve_convolution(name, PRECISIONS["fp16"]) for name in CONVOLUTIONS} == {ConvolutionSetting("direct")}


# Candidates.


@pytest.fixture
def bf16_cpu(monkeypatch):
    """Says whether the CPU has instructions for bfloat16 from now on."""

    def use(has):
        for module in (convolution_choice, convolution_timing):
            monkeypatch.setattr(module, "has_cpu_bf16", lambda: has)

    use(True)
    return use


def shape_of(
    purpose=TRAINING, channels=(256, 256), side=64, *, last=False, kernel=3, stride=1, transposed=False, bf16=False
):
    return ConvolutionShape(purpose, 1, *channels, side, side, 1, last, kernel, stride, transposed, 0, bf16)


@pytest.mark.parametrize(
    ("shape", "fast", "full"),
    [
        (shape_of(), "direct winograd", "direct winograd channels_last"),
        (shape_of(CONVERSION, last=True), "direct winograd", "direct winograd winograd_2x2 contiguous"),
        (shape_of(channels=(255, 256)), "direct", "direct channels_last"),
        (shape_of(side=31), "direct winograd", "direct winograd channels_last"),
        (shape_of(side=29), "direct", "direct channels_last"),
        (shape_of(kernel=4, stride=2), "direct", "direct channels_last"),
        (shape_of(kernel=4, stride=2, transposed=True), "direct", "direct channels_last"),
        (shape_of(channels=(64, 3), kernel=7), "direct", "direct channels_last"),
        (shape_of(channels=(64, 64), side=16), "direct", "direct"),
        (
            shape_of(bf16=True),
            "float32 float32_winograd bf16",
            "float32 float32_winograd float32_winograd_4x4 bf16 bf16_channels_last",
        ),
        (
            shape_of(CONVERSION, last=True, bf16=True),
            "float32 float32_winograd bf16",
            "float32 float32_winograd bf16 bf16_contiguous",
        ),
        (shape_of(kernel=4, stride=2, bf16=True), "float32 bf16", "float32 bf16 bf16_channels_last"),
        (shape_of(channels=(64, 3), kernel=7, bf16=True), "float32", "float32"),
        (shape_of(channels=(64, 64), side=16, bf16=True), "float32", "float32"),
    ],
    ids=str,
)  # fmt: skip
def test_the_candidates_follow_from_the_shape(bf16_cpu, shape, fast, full):
    """31 pixels and a border of 1 are 33² of input, above the 32² of MIN_PIXELS; 29 and the border are 31²."""
    assert " ".join(find_candidates(shape, "fast")) == fast
    assert " ".join(find_candidates(shape, "full")) == full


def test_without_instructions_bf16_is_no_candidate(bf16_cpu):
    bf16_cpu(False)
    for tune in ("fast", "full"):
        assert not [name for name in find_candidates(shape_of(bf16=True), tune) if name.startswith("bf16")]


def test_every_shape_has_a_name_of_its_own():
    """Those of 3×3 convolutions in float32 are as in runs of before."""
    kinds = [{}, {"kernel": 4}, {"stride": 2}, {"stride": 2, "transposed": True}, {"bf16": True}, {"last": True}]
    names = [str(shape_of(**kind)) for kind in kinds]
    assert names[0] == "training 256 to 256, 1x64x64, padding 1"
    assert names[3] == "training 256 to 256, 1x64x64, padding 1, transposed kernel 3, stride 2"
    assert len(set(names)) == len(kinds)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more"), [(3, 1, 1, 0), (4, 2, 1, 0), (3, 2, 1, 1), (7, 1, 0, 0)]
)
def test_the_input_of_a_shape_gives_its_output(transposed, kernel, stride, padding, more):
    more = more if transposed else 0
    shape = ConvolutionShape(TRAINING, 1, 2, 2, 12, 16, padding, False, kernel, stride, transposed, more)
    x, weight = torch.zeros(1, 2, *shape.input_size), torch.zeros(2, 2, kernel, kernel)
    y = (
        F.conv_transpose2d(x, weight, None, stride, padding, more)
        if transposed
        else F.conv2d(x, weight, None, stride, padding)
    )
    assert y.shape[2:] == (12, 16)


def test_bf16_computes_each_layer_as_chosen_and_those_at_an_image_in_float32(bf16_cpu, times, monkeypatch):
    """The network is a float32 network: so are its outputs."""
    for name in ("MIN_PRODUCTS", "MIN_BF16_CHANNELS"):
        monkeypatch.setattr(convolution_timing, name, 4 if "CHANNELS" in name else 1)
    known, timed = times
    known[8] = {"float32": 2.0, "float32_winograd": 3.0, "bf16": 1.0}
    known[12] = {"float32": 2.0, "float32_winograd": 1.0, "bf16": 1.5}
    net, setting = network(), resolve_convolution("auto", PRECISIONS["bf16"])
    record = set_convolutions(net, setting, {}, lambda: probe(net), silent)
    assert record == {
        "training 3 to 4, 1x36x36, padding 1, bf16": "float32", WIDE + ", bf16": "bf16", HALF + ", bf16": "float32_winograd"
    }  # fmt: skip
    assert ways(net) == ["float32", "bf16", "float32_winograd"]
    x = torch.randn(1, 3, 18, 18)
    with torch.autocast("cpu", torch.bfloat16):
        y = net[0](x)
        assert y.dtype == net[1](y).dtype == torch.float32
        assert torch.equal(
            y, F.conv2d(x.double(), net[0].weight.double(), net[0].bias.double(), padding=1).float()
        ) or ((y - F.conv2d(x.double(), net[0].weight.double(), net[0].bias.double(), padding=1)).abs().max() < 1e-5)
        rounded = [tensor.bfloat16() for tensor in (y, net[1].weight, net[1].bias)]
        assert torch.equal(net[1](y), F.conv2d(*rounded).float())
    assert len(timed) == 2


def test_what_this_cpu_lacks_is_computed_as_recorded_and_said(bf16_cpu, times):
    bf16_cpu(False)
    _, timed = times
    recorded = {f"{name}, bf16": "bf16" for name in (WIDE, HALF, "training 3 to 4, 1x36x36, padding 1")}
    net, setting, lines = network(), resolve_convolution("auto", PRECISIONS["bf16"]), []
    assert set_convolutions(net, setting, recorded, lambda: probe(net), lines.append) == recorded
    assert ways(net) == ["bf16"] * 3
    assert not timed
    (line,) = lines
    assert "as recorded: this CPU has no instructions for them (AVX-512-BF16 or AMX)" in line


def test_full_has_a_cache_of_its_own_and_times_all_layers(times, monkeypatch):
    monkeypatch.setattr(convolution_timing, "MIN_PRODUCTS", 1)
    known, timed = times
    choose(network(), recorded={})
    known[4], known[8] = {"direct": 2.0, "channels_last": 1.0}, {**FAST, "channels_last": 0.5}
    known[12] = {**SLOW, "channels_last": 3.0}
    net, setting = network(), resolve_convolution("auto", PRECISIONS["fp32"], "full")
    record = set_convolutions(net, setting, {}, lambda: probe(net), silent)
    assert record == {"training 3 to 4, 1x36x36, padding 1": "channels_last", WIDE: "channels_last", HALF: "direct"}
    assert len(timed) == 5
    assert convolution_timing.count_cached() == {"channels_last": 2, "direct": 2, "winograd": 1}
    monkeypatch.setattr(convolution_timing, "cpu_model", lambda: "another")
    assert not convolution_timing.count_cached()


def test_many_times_are_told_in_one_line(times, monkeypatch):
    monkeypatch.setattr(convolution_choice, "MAX_DESCRIBED", 1)
    lines = []
    choose(network(), recorded={}, say=lines.append)
    (line,) = lines
    assert line.endswith("s: 2 shapes; using winograd for 1, direct for 1")


# Timing.


@pytest.fixture
def calls(monkeypatch):
    """How each layer was run: with or without Winograd's algorithm, with or without gradients."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 4)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 36)
    made = []
    forward = TunedConv2d.forward

    def noted(layer, x):
        made.append((layer.uses_winograd(x), torch.is_grad_enabled()))
        return forward(layer, x)

    monkeypatch.setattr(TunedConv2d, "forward", noted)
    return made


@pytest.mark.parametrize("purpose", [TRAINING, CONVERSION])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("channels_last", [False, True])
def test_all_are_timed_alike_and_nothing_is_drawn(calls, purpose, padding, channels_last):
    before = torch.get_rng_state()
    times = time_algorithms(ConvolutionShape(purpose, 2, 4, 8, 6, 7, padding, channels_last), ["direct", "winograd"])
    assert list(times) == ["direct", "winograd"]
    assert min(times.values()) > 0
    uses, grad = zip(*calls[1:], strict=True)  # the first one finds the size of the output
    assert uses.count(True) == uses.count(False) >= 4
    assert set(grad) == {purpose == TRAINING}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("purpose", [TRAINING, CONVERSION])
def test_layers_of_other_kinds_are_timed_too(purpose, transposed):
    shape = ConvolutionShape(purpose, 1, 4, 8, 6, 6, 1, False, 4, 2, transposed, 0, True)
    names = ["float32", "bf16", "bf16_channels_last"]
    assert list(time_algorithms(shape, names)) == names


def test_what_leaves_no_choice_is_not_timed(times, monkeypatch):
    _, timed = times
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 36)
    shape = ConvolutionShape(TRAINING, 1, 4, 4, 3, 3, 1, False)
    assert choose_algorithms([shape], {}, pytest.fail) == {str(shape): "direct"}
    assert not timed


def test_threads_are_as_before_after_work_with_another_number(monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    before = torch.get_num_threads()
    with convolution_choice.torch_threads(before + 2):
        pass
    with convolution_choice.torch_threads(None):
        pass
    assert counts == [before + 2, before, before, before]

"""Convolutions are computed as recorded, else as cached, else in the faster way: a choice that depends on nothing else."""

import json
import typing
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate import config, convolution_choice
from translate.cli.flags import DeviceOptions
from translate.convolution_choice import (
    CONVERSION,
    CONVOLUTIONS,
    TRAINING,
    ConvolutionShape,
    Probe,
    Timing,
    choose_algorithms,
    convolutions_restored,
    copy_convolutions,
    resolve_convolution,
    set_convolutions,
    time_algorithms,
)
from translate.errors import UsageError
from translate.nn import fast_conv
from translate.nn.fast_conv import WinogradConv2d, use_winograd
from translate.runtime.precision import PRECISIONS

FAST, SLOW = Timing(direct=2.0, winograd=1.0), Timing(direct=1.0, winograd=2.0)
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

    def time(shape):
        timed.append(shape)
        return known[shape.out_channels]

    monkeypatch.setattr(convolution_choice, "time_algorithms", time)
    return known, timed


def network():
    """Two wide layers, at full and at half the size, and one that is too narrow for a choice."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, padding=1)
    )
    use_winograd(net)
    return net


def probe(net, side=18, purpose=TRAINING, batch=1, layout=torch.contiguous_format):
    """A network's border takes two pixels, so that 18 are 16 in its maps."""
    x = torch.zeros(1, 3, side, side).contiguous(memory_format=layout)
    return Probe(lambda: net(x), purpose, batch, 32 / (side - 2))


def choose(net, setting="auto", recorded=None, say=silent, **more):
    return set_convolutions(net, setting, recorded, lambda: probe(net, **more), say)


def is_direct(net):
    return [layer.is_direct for layer in net.modules() if isinstance(layer, WinogradConv2d)]


WIDE, HALF = "training 4 to 8, 1x32x32, padding 0", "training 8 to 12, 1x16x16, padding 1"


def test_each_layer_is_computed_in_the_way_that_is_faster_for_its_shape(times):
    net = network()
    assert choose(net, recorded={}) == {WIDE: "winograd", HALF: "direct"}
    assert is_direct(net)[1:] == [False, True]
    x = torch.randn(1, 8, 16, 16)
    assert torch.equal(net[3](x), F.conv2d(x, net[3].weight, net[3].bias, padding=1))
    x = torch.randn(1, 4, 16, 16)
    assert not torch.equal(net[1](x), F.conv2d(x, net[1].weight, net[1].bias))


@pytest.mark.parametrize("winograd", [1.0, 0.3])
def test_winograds_algorithm_must_be_clearly_faster(winograd):
    assert Timing(1.05 * winograd, winograd).faster == "winograd"
    assert Timing(1.04 * winograd, winograd).faster == "direct"
    assert Timing(winograd, winograd).faster == "direct"


def test_the_nominal_shape_does_not_depend_on_the_probe(times):
    shapes = [set(choose(net, recorded={}, side=side)) for net in [network()] for side in (10, 18, 34)]
    assert shapes == [{WIDE, HALF}] * 3
    last = choose(network(), recorded={}, batch=8, purpose=CONVERSION, layout=torch.channels_last)
    assert set(last) == {f"conversion 4 to 8, 2x32x32, padding 0{', channels last'}",
                         f"conversion 8 to 12, 2x16x16, padding 1{', channels last'}"}  # fmt: skip


def test_large_maps_are_timed_in_part(times):
    net = network()
    large = Probe(lambda: net(torch.zeros(1, 3, 18, 18)), TRAINING, batch=64, scale=32.0)
    record = set_convolutions(net, "auto", {}, lambda: large, silent)
    assert set(record) == {"training 4 to 8, 2x64x64, padding 0", "training 8 to 12, 2x64x64, padding 1"}


def test_the_same_machine_chooses_the_same_again(times):
    known, timed = times
    first = choose(network(), recorded={})
    assert [shape.out_channels for shape in timed] == [8, 12]
    known.clear()  # to time again would fail
    assert choose(network(), recorded={}) == first


@pytest.mark.parametrize("changed", ["cpu", "torch", "threads", "version"])
def test_another_machine_or_version_chooses_anew(times, monkeypatch, changed):
    known, timed = times
    choose(network(), recorded={})
    known[8] = SLOW
    if changed == "cpu":
        monkeypatch.setattr(convolution_choice, "cpu_model", lambda: "another")
    elif changed == "torch":
        monkeypatch.setattr(torch, "__version__", "another")
    elif changed == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 17)
    else:
        monkeypatch.setattr(convolution_choice, "__version__", "another")
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
    for path in convolution_choice.cache_folder().iterdir():
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
    assert convolution_choice.cache_folder() == tmp_path / ".cache" / "image-translate" / "convolutions"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert convolution_choice.cache_folder().is_relative_to(tmp_path / "own")


def test_what_another_process_chose_in_the_meantime_counts(times, monkeypatch):
    """Two that start at the same time both time, and take the same."""
    known, _ = times
    slow = convolution_choice.time_algorithms

    def time(shape):
        monkeypatch.setattr(convolution_choice, "time_algorithms", slow)
        choose(network(), recorded={})
        known[8] = SLOW
        return slow(shape)

    monkeypatch.setattr(convolution_choice, "time_algorithms", time)
    assert choose(network(), recorded={})[WIDE] == "winograd"


def test_a_record_counts_more_than_times_and_cache_and_is_kept(times):
    _, timed = times
    choose(network(), recorded={})
    net, recorded = network(), {WIDE: "direct", "training 1 to 1": "winograd"}
    assert choose(net, recorded=recorded) == {**recorded, HALF: "direct"}
    assert is_direct(net)[1:] == [True, True]
    assert len(timed) == 2


def test_work_without_a_record_used_winograds_algorithm(times):
    _, timed = times
    net = network()
    assert choose(net, recorded=None) is None
    assert is_direct(net) == [False] * 3
    assert not timed


@pytest.mark.parametrize(("setting", "direct"), [("direct", True), ("winograd", False)])
@pytest.mark.parametrize("recorded", [None, {}, {WIDE: "direct", HALF: "winograd"}])
def test_what_is_asked_for_counts_more_than_a_record(times, setting, direct, recorded):
    _, timed = times
    net = network()
    assert choose(net, setting, recorded) == recorded
    assert is_direct(net) == [direct] * 3
    assert not timed


def test_other_processes_take_the_choice_of_the_first(times):
    _, timed = times
    net, first = network(), {WIDE: "direct", HALF: "winograd"}
    assert set_convolutions(net, "auto", {}, lambda: probe(net), silent, lambda choose: first) == first
    assert is_direct(net)[1:] == [True, False]
    assert not timed


def test_where_there_is_nothing_to_choose_nothing_is_run(times):
    """In float64, on other devices than the CPU, and with narrow layers."""
    recorded = {WIDE: "direct"}
    for net in (network().double(), network().to("meta"), network()[:1]):
        assert set_convolutions(net, "auto", recorded, pytest.fail, silent) == recorded


def test_a_line_says_what_was_timed_and_none_what_was_known(times):
    lines = []
    choose(network(), recorded={}, say=lines.append)
    (line,) = lines
    assert "4 to 8 channels at 32×32: direct 2000.0 ms, Winograd 1000.0 ms; using winograd" in line
    assert "8 to 12 channels at 16×16: direct 1000.0 ms, Winograd 2000.0 ms; using direct" in line
    choose(network(), recorded={}, say=lines.append)
    assert len(lines) == 1


def test_layers_are_copied_and_restored(times):
    net, other = network(), network()
    with convolutions_restored(net):
        choose(net, recorded={})
        copy_convolutions(net, other)
    assert is_direct(net) == [False] * 3
    assert is_direct(other)[1:] == [False, True]


def test_the_names_are_those_of_the_flags_and_autocast_is_direct():
    assert [resolve_convolution(name, PRECISIONS["fp32"]) for name in CONVOLUTIONS] == list(CONVOLUTIONS)
    assert {resolve_convolution(name, PRECISIONS["bf16"]) for name in CONVOLUTIONS} == {"direct"}
    with pytest.raises(UsageError, match="--convolution fft: unknown; possible: auto, direct, winograd"):
        resolve_convolution("fft", PRECISIONS["fp32"])
    for options in (config.TrainConfig, DeviceOptions):
        (field,) = (f for f in typing.cast(type, options).__dataclass_fields__.values() if f.name == "convolution")
        assert field.metadata["choices"] == CONVOLUTIONS


# Timing.


@pytest.fixture
def calls(monkeypatch):
    """How each layer was run: with or without Winograd's algorithm, with or without gradients."""
    monkeypatch.setattr(fast_conv, "MIN_CHANNELS", 4)
    monkeypatch.setattr(fast_conv, "MIN_PIXELS", 36)
    made = []
    forward = WinogradConv2d.forward

    def noted(layer, x):
        made.append((layer.uses_winograd(x), torch.is_grad_enabled()))
        return forward(layer, x)

    monkeypatch.setattr(WinogradConv2d, "forward", noted)
    return made


@pytest.mark.parametrize("purpose", [TRAINING, CONVERSION])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("channels_last", [False, True])
def test_both_are_timed_alike_and_nothing_is_drawn(calls, purpose, padding, channels_last):
    before = torch.get_rng_state()
    timing = time_algorithms(ConvolutionShape(purpose, 2, 4, 8, 6, 7, padding, channels_last))
    assert timing is not None
    assert min(timing.direct, timing.winograd) > 0
    uses, grad = zip(*calls, strict=True)
    assert uses.count(True) == uses.count(False) >= 4
    assert set(grad) == {purpose == TRAINING}
    assert torch.equal(torch.get_rng_state(), before)


def test_a_map_too_small_for_winograds_algorithm_is_not_timed(calls):
    assert time_algorithms(ConvolutionShape(TRAINING, 1, 4, 4, 5, 5, 1, False)) is None
    assert not calls


def test_a_map_too_small_is_direct_in_the_record(times, monkeypatch):
    monkeypatch.setattr(convolution_choice, "time_algorithms", lambda shape: None)
    shape = ConvolutionShape(TRAINING, 1, 4, 4, 5, 5, 1, False)
    assert choose_algorithms([shape], {}, pytest.fail) == {str(shape): "direct"}


def test_threads_are_as_before_after_work_with_another_number(monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    before = torch.get_num_threads()
    with convolution_choice.torch_threads(before + 2):
        pass
    with convolution_choice.torch_threads(None):
        pass
    assert counts == [before + 2, before, before, before]

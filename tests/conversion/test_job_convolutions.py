"""A conversion records how it computes convolutions in its first line, and all that continue it compute them so."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translate.conversion.cluster.worker import JobSpec
from translate.conversion.item import ItemConverter
from translate.conversion.job import ConversionOptions, ConversionResult
from translate.conversion.manifest import Manifest
from translate.convolution_choice import ConvolutionSetting
from translate.nn import fast_conv
from translate.nn.tuned_conv import TunedConvolution
from translate.trained import translator
from translate.trained.translator import Translator

from .output_folder import save

Convert = Callable[..., ConversionResult]
Draw = Callable[..., np.ndarray]

SHAPE = "conversion 16 to 16, 1x64x64, padding 0, channels last"


@pytest.fixture
def source(tmp_path: Path, draw: Draw) -> Path:
    for n in range(4):
        save(tmp_path / "in" / f"{n}.png", draw(n, 16, 16))
    return tmp_path / "in"


@pytest.fixture
def model(cyclegan_folder: Path) -> Translator:
    """A model that has not chosen yet."""
    return translator.load(cyclegan_folder, device="cpu")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether Winograd's algorithm was used since the last call."""
    calls: list[int] = []
    convolve = fast_conv.winograd_conv3x3

    def noted(x: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append(len(x))
        return convolve(x, *rest)

    def was_used() -> bool:
        found = bool(calls)
        calls.clear()
        return found

    monkeypatch.setattr(fast_conv, "winograd_conv3x3", noted)
    return was_used


@pytest.fixture
def divided(source: Path, draw: Draw) -> Path:
    """Images enough for two parts."""
    for n in range(4, 8):
        save(source / f"{n}.png", draw(n, 16, 16))
    return source


def records(out: Path, name: str = "manifest.jsonl") -> list[Any]:
    """The record of each line; None where it has none."""
    return [json.loads(line).get("convolutions") for line in (out / name).read_text().splitlines()]


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_the_first_line_holds_the_choice(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], used: Any, algorithm: str
) -> None:  # fmt: skip
    faster(algorithm)
    convert(source, tmp_path / "out", model)
    assert records(tmp_path / "out") == [{SHAPE: algorithm}, None, None, None]
    assert used() == (algorithm == "winograd")


@pytest.mark.parametrize(("before", "now"), [("direct", "winograd"), ("winograd", "direct")])
def test_a_restart_computes_as_before_and_adds_no_record(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], used: Any,
    before: str, now: str,
) -> None:  # fmt: skip
    """On a machine on which the other way is faster, by a model that computes so."""
    faster(before)
    convert(source, tmp_path / "out", model, limit=2)
    faster(now)
    model.convolutions = {}
    model.choose_convolutions({})
    used()
    assert convert(source, tmp_path / "out", model).done == 2
    assert used() == (before == "winograd")
    assert records(tmp_path / "out") == [{SHAPE: before}, None, None, None]
    model(torch.zeros(1, 3, 16, 16))  # afterwards it computes as it did
    assert used() == (now == "winograd")


def test_the_choice_does_not_decide_what_is_done(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, cyclegan_folder: Path, faster: Callable[[str], None]
) -> None:  # fmt: skip
    faster("direct")
    convert(source, tmp_path / "out", model)
    faster("winograd")
    other = translator.load(cyclegan_folder, device="cpu", convolution="winograd")
    assert convert(source, tmp_path / "out", other).skipped == 4
    assert len(records(tmp_path / "out")) == 4


def test_what_is_asked_for_counts_more_than_the_record(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, cyclegan_folder: Path, faster: Callable[[str], None],
    used: Any,
) -> None:  # fmt: skip
    faster("direct")
    convert(source, tmp_path / "out", model, limit=2)
    convert(source, tmp_path / "out", translator.load(cyclegan_folder, device="cpu", convolution="winograd"))
    assert used()
    assert records(tmp_path / "out") == [{SHAPE: "direct"}, None, None, None]


def test_to_convert_all_again_is_to_choose_again(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], used: Any
) -> None:
    faster("direct")
    convert(source, tmp_path / "out", model)
    faster("winograd")
    model.convolutions = {}
    convert(source, tmp_path / "out", model, overwrite=True)
    assert used()
    assert records(tmp_path / "out")[4:] == [{SHAPE: "winograd"}, None, None, None]
    assert Manifest(tmp_path / "out", "", {}).convolutions == {SHAPE: "winograd"}


def test_a_job_of_version_0_1_goes_on_with_winograds_algorithm(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], used: Any
) -> None:
    """Its manifest has no record; one that is empty or of other settings is no such job."""
    faster("winograd")
    convert(source, tmp_path / "out", model, limit=2)
    path = tmp_path / "out" / "manifest.jsonl"
    old = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "convolutions"}) + "\n" for line in old))
    faster("direct")
    model.convolutions = {}
    used()
    convert(source, tmp_path / "out", model)
    assert used()
    assert records(tmp_path / "out") == [None] * 4
    convert(source, tmp_path / "out", model, seed=1)
    assert not used()
    assert records(tmp_path / "out")[4:] == [{SHAPE: "direct"}, None, None, None]


def test_the_references_pixels_leave_nothing_to_choose(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], used: Any
) -> None:
    faster("winograd")
    convert(source, tmp_path / "out", model, pixels="reference")
    assert not used()
    assert records(tmp_path / "out") == [None] * 4


def test_parts_compute_as_the_first_one_and_record_it_each(
    convert: Convert, model: Translator, divided: Path, tmp_path: Path, faster: Callable[[str], None], used: Any
) -> None:
    faster("direct")
    first = convert(divided, tmp_path / "out", model, shard="0/2")
    faster("winograd")
    model.convolutions = {}
    second = convert(divided, tmp_path / "out", model, shard="1/2")
    assert first.done
    assert second.done
    assert not used()
    for part in "01":
        assert [r for r in records(tmp_path / "out", f"manifest-{part}-of-2.jsonl") if r] == [{SHAPE: "direct"}]
    convert(divided, tmp_path / "out", model, merge=True)
    assert records(tmp_path / "out") == [{SHAPE: "direct"}, *[None] * 7]


def test_a_part_that_chose_for_itself_goes_on_so(
    convert: Convert, model: Translator, divided: Path, tmp_path: Path, faster: Callable[[str], None]
) -> None:
    """As of parts that began at the same time, on machines that are not alike."""
    faster("direct")
    convert(divided, tmp_path / "out", model, shard="0/2")
    faster("winograd")
    model.convolutions = {}
    convert(divided, tmp_path / "elsewhere", model, shard="1/2")
    (tmp_path / "elsewhere" / "manifest-1-of-2.jsonl").rename(tmp_path / "out" / "manifest-1-of-2.jsonl")
    for part, algorithm in (("0", "direct"), ("1", "winograd")):
        assert Manifest(tmp_path / "out", "", {}, f"manifest-{part}-of-2.jsonl").convolutions == {SHAPE: algorithm}


@pytest.mark.parametrize("record", ["direct", {SHAPE: "fft"}, [], 1, {SHAPE: None}])
def test_a_record_that_is_none_is_passed_over(
    convert: Convert, model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], record: Any
) -> None:
    faster("direct")
    convert(source, tmp_path / "out", model, limit=1)
    path = tmp_path / "out" / "manifest.jsonl"
    line = json.loads(path.read_text())
    path.write_text(json.dumps({**line, "convolutions": record}) + "\n")
    assert convert(source, tmp_path / "out", model).skipped == 1


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_a_worker_computes_as_its_driver(
    model: Translator, source: Path, tmp_path: Path, faster: Callable[[str], None], algorithm: str
) -> None:
    faster(algorithm)
    here = ItemConverter(model, source, tmp_path, ConversionOptions())
    with model.convolutions_of({}, print):
        sent = pickle.dumps(JobSpec.from_converter(here, tmp_path, b"", gpu=False))
    faster("winograd" if algorithm == "direct" else "direct")
    there = pickle.loads(sent).build_converter()
    layers = [layer for layer in there.translator.method.modules() if isinstance(layer, TunedConvolution)]
    assert {layer.algorithm for layer in layers if layer.is_winograd_shape} == {algorithm}
    assert there.translator.convolutions == {SHAPE: algorithm}


def test_workers_on_another_device_than_their_driver_have_no_choice(model: Translator, tmp_path: Path) -> None:
    """Each of them would have to time what the driver cannot."""
    here = ItemConverter(model, tmp_path, tmp_path, ConversionOptions())
    assert JobSpec.from_converter(here, tmp_path, b"", gpu=False).convolution == model.convolution_setting
    model.device = torch.device("cuda", 0)
    assert JobSpec.from_converter(here, tmp_path, b"", gpu=False).convolution == ConvolutionSetting("direct")
    assert JobSpec.from_converter(here, tmp_path, b"", gpu=True).convolution == model.convolution_setting

"""Tests of the record of an evaluation, and of comparing two records."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from translate.errors import UsageError
from translate.evaluation import evaluator, image_sets, protocol
from translate.evaluation.evaluator import Evaluator, Subject
from translate.evaluation.image_sets import ReadOptions
from translate.evaluation.uncertainty import Estimate

from .photos import no_extractor, random_images


def record(**figures: tuple[float | None, float | None]) -> dict[str, Any]:
    """Return results of an evaluation with (value, error) by key."""
    settings = {evaluator.metric_of_key(key): {} for key in figures}
    known = {"data": "x", "size": 64, "seed": 0, "code": "image-translate 1", "real_sha256": "ab", "settings": settings}
    return {"metrics": {key: {"value": v, "error": e} for key, (v, e) in figures.items()}, "protocol": known}


def test_the_protocol_holds_images_settings_and_versions() -> None:
    real, outputs = random_images(1, 2, 3), random_images(4, 5)
    done = Evaluator(Subject(outputs, real), no_extractor)
    done.compute("colour")
    known = protocol.build_protocol(done, ReadOptions(size=12), code="image-translate 1", seed=3, data="x")
    assert known == {
        "data": "x", "real_images": 3, "real_sha256": real.sha256(), "real_format": "pixels", "output_images": 2,
        "output_format": "pixels", "size": 12, "resize": image_sets.RESIZE_FILTER, "extractor": None, "extractor_sha256": None,
        "extractor_resize": None, "seed": 3, "code": "image-translate 1", "settings": {"colour": {}},
    }  # fmt: skip


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = record(l1=(3.0, 0.5), psnr=(None, None))
    protocol.write_results(tmp_path / "metrics.json", written)
    assert protocol.read_results(tmp_path / "metrics.json") == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"metrics": {"l1": 3}}',
        '{"metrics": {"l1": {"value": "a"}}, "protocol": {"settings": {}}}',
        "\xff",
    ],
)
def test_a_file_without_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"x\.json: not the results of an evaluation"):
        protocol.read_results(tmp_path / "x.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.json: no such file; give the metrics\.json of an evaluation"):
        protocol.read_results(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("second", "value", "exceeds"),
    [(10.0, 10.0, False), (10.01, 10.01, True), (-10.01, -10.01, True), (0.0, 0.0, False)],
)
def test_a_difference_is_compared_with_two_standard_errors(second: float, value: float, exceeds: bool) -> None:
    """Errors of 3 and 4 make one of 5: twice that is 10."""
    (found,) = protocol.compare_results(record(l1=(0.0, 3.0)), record(l1=(second, 4.0)), ("A", "B"))
    assert (found.error, found.value, found.is_significant) == (5, value, exceeds)


def test_without_an_error_significance_is_unknown() -> None:
    found = protocol.compare_results(
        record(l1=(0.0, 3.0), psnr=(None, 1.0)), record(l1=(9.0, None), psnr=(1.0, 1.0)), ("A", "B")
    )
    assert [(d.error, d.value, d.is_significant) for d in found] == [(None, 9.0, None), (math.hypot(1, 1), None, None)]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"size": 128}, "  size: 64, 128"),
        ({"size": None}, "  size: 64, none"),
        ({"seed": 1}, "  seed: 0, 1"),
        ({"code": "image-translate 2"}, "  code: image-translate 1, image-translate 2"),
        ({"real_sha256": "cd"}, "  real_sha256: ab, cd"),
        ({"split": "val"}, "  split: none, val"),
        ({"settings": {"kid": {"extractor": "inception"}}}, "  kid: none, extractor inception"),
    ],
)
def test_different_protocols_are_not_compared(change: dict[str, Any], line: str) -> None:
    first, second = record(kid=(0.1, 0.1)), record(kid=(0.2, 0.1))
    second["protocol"] |= change
    with pytest.raises(UsageError) as raised:
        protocol.compare_results(first, second, ("A.json", "B.json"))
    head, *lines = str(raised.value).split("\n")
    assert head.startswith("A.json and B.json were measured in different ways")
    assert lines == [line]


def test_what_does_not_concern_the_shared_metrics_may_differ() -> None:
    """The folder of the data, and the settings of metrics that only one of the two has."""
    first, second = record(l1=(1.0, 1.0)), record(l1=(2.0, 1.0), kid=(0.1, 0.1))
    second["protocol"] |= {"data": "y", "extractor": "inception", "extractor_sha256": "67"}
    assert [d.key for d in protocol.compare_results(first, second, ("A", "B"))] == ["l1"]


def test_results_without_a_common_metric_are_refused() -> None:
    with pytest.raises(UsageError, match="A and B have no metric in common"):
        protocol.compare_results(record(l1=(1.0, 1.0)), record(psnr=(1.0, 1.0)), ("A", "B"))


def test_results_of_another_version_are_refused() -> None:
    first, second = record(l1=(1.0, 1.0)), record(l1=(2.0, 1.0))
    for each in (first, second):
        each["metrics"]["new"] = {"value": 1.0, "error": 1.0}
    second["protocol"]["code"] = "image-translate 2"
    with pytest.raises(UsageError, match="code: image-translate 1, image-translate 2"):
        protocol.compare_results(first, second, ("A", "B"))


def test_comparing_changes_nothing() -> None:
    first = record(l1=(1.0, 1.0))
    before = copy.deepcopy(first)
    protocol.compare_results(first, record(l1=(1.0, 1.0)), ("A", "B"))
    assert first == before
    assert (
        json.dumps(protocol.estimate_to_json(Estimate(1.5, None, (1.0, 2.0))))
        == '{"value": 1.5, "error": null, "interval": [1.0, 2.0]}'
    )


@pytest.mark.parametrize(
    ("settings", "networks"),
    [
        ({}, []),
        (
            {"discriminator": "n_layers", "lambda_features": 0.0, "lambda_perceptual": 0.0, "perceptual_network": "x"},
            [],
        ),
        ({"discriminator": "projected"}, ["efficientnet-lite0"]),
        ({"discriminator": "projected+pixel", "features": "thin-resnet50"}, ["thin-resnet50"]),
        ({"lambda_features": 2, "features": "efficientnet-lite2"}, ["efficientnet-lite2"]),
        (
            {
                "discriminator": "projected",
                "lambda_features": 2.0,
                "lambda_perceptual": 1.0,
                "perceptual_network": "vgg",
            },
            ["efficientnet-lite0", "vgg"],
        ),
        ({"discriminator": "projected", "features": "far/efficientnet-lite0-57934424.pth"}, ["efficientnet-lite0"]),
        ({"discriminator": None, "lambda_features": "2"}, []),
    ],
)
def test_networks_of_a_training_are_named_by_its_settings(settings: dict[str, Any], networks: list[str]) -> None:
    assert protocol.networks_trained_against(settings) == networks


def test_networks_of_trainings_do_not_hinder_a_comparison() -> None:
    first, second = record(l1=(3.0, 0.5)), record(l1=(5.0, 0.5))
    second["protocol"]["trained_against"] = ["efficientnet-lite0"]
    assert protocol.protocol_differences(first["protocol"], second["protocol"], ["l1"]) == []

"""Tests of the evaluator: names of metrics, what each of them needs, and values per image."""

import math

import numpy as np
import pytest
from torch import Tensor

from translate.errors import DataError, UsageError
from translate.evaluation import evaluator, protocol
from translate.evaluation.evaluator import Evaluator, Subject
from translate.evaluation.metrics import METRICS, NEEDS

from .photos import no_extractor, random_image, random_images


def test_every_row_of_needs_has_a_method() -> None:
    assert evaluator._COMPUTE.keys() == NEEDS.keys()


@pytest.mark.parametrize("row", METRICS)
def test_metrics_are_found_by_row_and_by_key(row: str) -> None:
    assert evaluator.resolve_metric(row) == row
    for key in METRICS[row].keys:
        assert evaluator.resolve_metric(key) == evaluator.metric_of_key(key) == row


def test_labels_name_the_extractor_unless_it_is_inception() -> None:
    """KID of papers is that on Inception's features; FID is defined on them alone."""
    assert evaluator.metric_label("kid", "efficientnet-lite0") == "KID-EL0"
    assert evaluator.metric_label("kid", "inception") == "KID"
    assert evaluator.metric_label("recall", "dinov2") == "recall-DINOv2"
    assert evaluator.metric_label("l1", "efficientnet-lite0") == "L1"
    assert evaluator.metric_label("swd_64", None) == "swd 64"
    for name in ("fid", "inception_score"):
        evaluator.check_extractor(name, "inception")
        with pytest.raises(UsageError, match=f"--metrics {name}: .* not on those of efficientnet-lite0"):
            evaluator.check_extractor(name, "efficientnet-lite0")


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--metrics vmaf: unknown; possible: l1, psnr"):
        evaluator.resolve_metric("vmaf")


def test_values_of_pairs_give_rows_per_image_and_a_mean() -> None:
    outputs, truth = random_images(1, 2, 3), random_images(1, 5, 6)
    done = Evaluator(Subject(outputs, truth, truth), no_extractor)
    psnr, l1 = done.compute("psnr")["psnr"], done.compute("l1")["l1"]
    by_hand = [np.abs(random_image(i).astype(float) - random_image(j)).mean() for i, j in ((1, 1), (2, 5), (3, 6))]
    assert psnr.value == math.inf
    assert l1.value == pytest.approx(np.mean(by_hand))
    rows = done.per_image_rows()
    assert [row["name"] for row in rows] == ["1", "2", "3"]
    assert [row["l1"] for row in rows] == pytest.approx(by_hand)
    assert rows[0]["psnr"] is None
    assert protocol.estimate_to_json(psnr)["value"] is None


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("l1", DataError, "l1: needs the true image of each output"),
        (
            "edge_correlation",
            UsageError,
            "edge_correlation: needs a model and its inputs: translate evaluate MODEL ROOT",
        ),
        ("fgsm", UsageError, "fgsm: needs a model"),
        ("cycle_psnr", UsageError, "cycle_psnr: needs a model"),
        ("classification", UsageError, "classification: needs a model"),
    ],
)
def test_a_missing_need_is_named(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Evaluator(Subject(random_images(1, 2), random_images(3, 4)), no_extractor).compute(name)


def test_a_round_trip_needs_a_two_way_model() -> None:
    def same(x: Tensor) -> Tensor:
        return x

    subject = Subject(random_images(1), random_images(2), inputs=random_images(1), translate=same)
    with pytest.raises(UsageError, match="cycle_psnr: needs a model that translates both ways"):
        Evaluator(subject, no_extractor).compute("cycle_psnr")
    both = Evaluator(
        Subject(random_images(1), random_images(2), inputs=random_images(1), translate=same, translate_back=same),
        no_extractor,
    )
    assert both.compute("cycle_psnr")["cycle_psnr"].value == math.inf


def test_robustness_attacks_evenly_spaced_inputs_and_keeps_the_worst_first() -> None:
    inputs = random_images(1, 2, 3, 4)
    subject = Subject(inputs, inputs, inputs=inputs, translate_with_grad=lambda x: 2 * x.square())
    done = Evaluator(subject, no_extractor, attack_images=2)
    values = done.compute("robustness")
    assert tuple(values) == METRICS["robustness"].keys
    rows = done.per_image_rows()
    known = [row["robustness_pgd40_8"] is not None for row in rows]
    assert known == [True, False, True, False]
    attacked = [row["robustness_pgd40_8"] for row in rows if row["robustness_pgd40_8"] is not None]
    assert values["robustness_pgd40_8"].value == pytest.approx(np.mean(attacked))
    assert [image.change for image in done.attacked] == pytest.approx(sorted(attacked, reverse=True))
    assert done.settings["robustness"] | {"images": 2, "restarts": 1} == done.settings["robustness"]
    often = Evaluator(subject, no_extractor, attack_images=2, attack_restarts=2)
    again = often.compute("robustness")
    assert again["robustness_pgd40_8"].value > values["robustness_pgd40_8"].value
    assert often.settings["robustness"]["restarts"] == 2
    assert "hidden_signal" not in done.settings


def test_robustness_of_a_model_that_translates_both_ways_looks_for_hidden_inputs() -> None:
    inputs = random_images(1)
    subject = Subject(
        inputs,
        inputs,
        inputs=inputs,
        translate=lambda x: x,
        translate_back=lambda x: x,
        translate_with_grad=lambda x: x,
    )
    values = Evaluator(subject, no_extractor, attack_images=1).compute("robustness")
    assert values.keys() == {*METRICS["robustness"].keys, *METRICS["hidden_signal"].keys}

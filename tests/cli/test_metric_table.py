"""The table of metrics as text, beside values of reference, and the words below it."""

from typing import Any

import pytest

from translate.cli.metric_table import closing_lines, is_better_than_copying, metric_rows

VALUES = {"l1": (40.0, 1.0), "ssim": (0.5, 0.01), "kid": (0.2, 0.01), "swd": (0.1, 0.02), "swd_64": (0.1, 0.001)}
COPYING = {"l1": (43.0, 1.0), "ssim": (0.5, 0.01), "kid": (0.1, 0.01), "swd": (0.13, 0.02), "swd_64": (0.2, 0.001)}


def figures(values: dict[str, tuple[float | None, float | None]]) -> dict[str, dict[str, float | None]]:
    return {key: {"value": value, "error": error} for key, (value, error) in values.items()}


def results(**references: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"l1": {}, "ssim": {}, "kid": {}, "swd": {}}
    known = {"extractor": "efficientnet-lite0", "settings": settings, "trained_against": []}
    return {"metrics": figures(VALUES), "protocol": known, **references}


def test_references_are_columns_with_the_places_of_the_model() -> None:
    real = {"kid": (0.09123, 0.01), "swd": (0.1, 0.02), "swd_64": (None, None)}
    head, l1, ssim, kid, *_, level = metric_rows(results(copying=figures(COPYING), real=figures(real)))
    assert head.split() == ["model", "copying", "real", "than", "copying"]
    assert l1.split() == ["L1", "↓", "40.0", "±", "1.0", "of", "255", "43.0", "better"]
    assert ssim.split()[:6] == ["SSIM", "↑", "0.500", "±", "0.010", "0.500"]
    assert kid.split() == ["KID-EL0", "↓", "0.200", "±", "0.010", "0.100", "0.091", "worse"]
    assert level.split()[-2:] == ["infinite", "better"]
    assert kid.index("0.091") == head.index("real")


def test_without_references_there_are_neither_columns_nor_words() -> None:
    assert metric_rows(results())[0].split() == ["L1", "↓", "40.0", "±", "1.0", "of", "255"]
    assert closing_lines(results()) == []


def test_one_line_says_in_words_what_differs_from_copying() -> None:
    """Beyond two standard errors of the difference: √2 for L1, which differs by 3; 0.028 for SWD, which differs by 0.03."""
    assert closing_lines(results(copying=figures(COPYING))) == [
        "",
        "L1: better than copying; KID-EL0: worse than leaving the photo as it is; "
        "SSIM, sliced Wasserstein distance: no significant difference from copying",
    ]


@pytest.mark.parametrize(
    ("key", "model", "copying", "verdict"),
    [
        ("l1", (10.0, 1.0), (13.0, 1.0), True),
        ("l1", (10.0, 1.0), (12.8, 1.0), None),
        ("psnr", (10.0, 0.1), (13.0, 0.1), False),
        ("psnr", (13.0, 0.1), (10.0, 0.1), True),
        ("psnr", (None, None), (10.0, 0.1), None),
        ("l1", (10.0, None), (50.0, 1.0), None),
        ("checkerboard", (1.0, 0.01), (0.1, 0.01), None),
        ("log_checkerboard", (0.0, 0.01), (2.3, 0.01), True),
    ],
)
def test_better_and_worse_follow_the_direction_of_the_metric(key: str, model: Any, copying: Any, verdict: Any) -> None:
    case = {"metrics": figures({key: model}), "copying": figures({key: copying})}
    assert is_better_than_copying(key, case) is verdict


def test_a_network_that_the_training_used_is_no_independent_judge() -> None:
    case = results()
    case["protocol"]["trained_against"] = ["efficientnet-lite0"]
    (line,) = closing_lines(case)
    assert line.startswith(
        "KID-EL0 uses efficientnet-lite0, which this model was trained against; see also --extractor "
    )
    assert "efficientnet-lite0" not in line.rpartition("--extractor")[2]
    case["protocol"]["trained_against"] = ["vgg16-hed"]
    assert closing_lines(case) == []

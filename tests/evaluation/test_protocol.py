"""What stands beside figures: fingerprints, and which evaluations may be compared; and how sets are read and judged."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from translate.data.split import ImageRef
from translate.errors import DataError, UsageError
from translate.evaluation import evaluator, image_sets, protocol
from translate.evaluation.evaluator import Evaluator, Subject
from translate.evaluation.image_sets import ImageSet, ReadOptions
from translate.evaluation.metrics import METRICS, NEEDS
from translate.evaluation.uncertainty import Estimate


def image(seed: int, width: int = 12, height: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pictures(*seeds: int) -> ImageSet:
    stored = tuple(torch.from_numpy(image(seed)).permute(2, 0, 1).contiguous() for seed in seeds)
    return ImageSet(tuple(map(str, seeds)), stored)


def folder(path: Path, **images: np.ndarray) -> Path:
    """Images by name, as PNG unless the name says otherwise with a last underscore: a_bmp."""
    for name, pixels in images.items():
        stem, _, ext = name.partition("_")
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path / f"{stem}.{ext or 'png'}")
    return path


def read(path: Path, **way: Any) -> ImageSet:
    return image_sets.read_image_set(image_sets.list_images(path), path, ReadOptions(**way))


# Sets.


def test_the_fingerprint_is_of_what_the_images_show(tmp_path: Path) -> None:
    """Names, order and lossless formats play no part; one level of one pixel does."""
    first = read(folder(tmp_path / "1", a=image(1), b=image(2)))
    second = read(folder(tmp_path / "2", x_bmp=image(2), y_bmp=image(1)))
    assert (first.formats, second.formats) == ("2 png", "2 bmp")
    assert first.sha256() == second.sha256()
    other = image(2)
    other[3, 4, 1] ^= 1
    assert read(folder(tmp_path / "3", a=image(1), b=other)).sha256() != first.sha256()
    assert read(folder(tmp_path / "4", a=image(1))).sha256() != first.sha256()


def test_images_are_resized_to_a_square_by_pillow_s_bicubic_filter(tmp_path: Path) -> None:
    place = folder(tmp_path, a=image(1, 20, 30))
    wanted = np.asarray(Image.fromarray(image(1, 20, 30)).resize((8, 8), Image.Resampling.BICUBIC))
    assert (read(place, size=8).pixels(0)[0].permute(1, 2, 0).numpy() == wanted).all()
    assert read(place).pixels(0).shape == (1, 3, 30, 20)


def test_deep_and_declared_values_in_8_bits(tmp_path: Path) -> None:
    """65535 is 255; of values declared as 0 to 1000, 500 is the middle."""
    np.save(tmp_path / "a.npy", np.full((4, 4), 500, np.uint16))
    assert read(tmp_path, channels=1).pixels(0).unique().tolist() == [round(500 / 257)]
    declared = read(tmp_path, channels=1, values=(0.0, 1000.0))
    assert declared.pixels(0).unique().tolist() == [128]
    assert declared.normalized(0).unique().tolist() == [0]


def test_a_file_that_cannot_be_read_ends_the_evaluation(tmp_path: Path) -> None:
    place = folder(tmp_path, a=image(1))
    (place / "b.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"b\.jpg': not an image; mend or remove it: figures are of the whole set"):
        read(place)


@pytest.mark.parametrize(("name", "told"), [("nowhere", "no such folder"), ("", "no images in it")])
def test_folders_without_images(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        image_sets.list_images(tmp_path / name)


def test_images_of_unlike_sizes_are_named_where_one_size_is_needed(tmp_path: Path) -> None:
    found = read(folder(tmp_path, a=image(1), b=image(2, 20, 30)))
    with pytest.raises(DataError, match=r"swd: 'b\.png' has 20×30 pixels, but 'a\.png' has 12×12; --size N"):
        found.stack("swd")
    assert read(tmp_path, size=8).stack("swd").shape == (2, 3, 8, 8)


def test_partners_are_found_by_path_without_extension(tmp_path: Path) -> None:
    fake, real = tmp_path / "fake", tmp_path / "real"
    fakes = [ImageRef(fake / "x" / "1.png"), ImageRef(fake / "2.png")]
    reals = [ImageRef(real / "2.jpg"), ImageRef(real / "x" / "1.bmp")]
    assert image_sets.match_by_name(fakes, reals, (fake, real)) == reals[::-1]
    assert image_sets.match_by_name(fakes, reals[:1], (fake, real)) is None
    assert image_sets.match_by_name(fakes[:1], reals, (fake, real)) is None
    assert image_sets.match_by_name(fakes, [*reals, ImageRef(real / "2.png")], (fake, real)) is None


# The judge.


def absent() -> Any:
    raise AssertionError("no extractor is needed")


def test_every_need_has_its_way() -> None:
    assert evaluator._WAYS.keys() == NEEDS.keys()


@pytest.mark.parametrize("row", METRICS)
def test_figures_are_found_by_row_and_by_key(row: str) -> None:
    assert evaluator.resolve_metric(row) == row
    for key in METRICS[row].keys:
        assert evaluator.resolve_metric(key) == evaluator.metric_of_key(key) == row


def test_names_for_people() -> None:
    """Only on Inception's features is it KID as papers have it; no other network's is called FID."""
    assert evaluator.metric_label("kid", "efficientnet-lite0") == "KID-EL0"
    assert evaluator.metric_label("kid", "inception") == "KID"
    assert evaluator.metric_label("recall", "dinov2") == "recall-DINOv2"
    assert evaluator.metric_label("l1", "efficientnet-lite0") == "L1"
    assert evaluator.metric_label("swd_64", None) == "swd 64"
    for name in ("fid", "inception_score"):
        evaluator.check_extractor(name, "inception")
        with pytest.raises(UsageError, match=f"--metrics {name}: .* not on those of efficientnet-lite0; ask for kid"):
            evaluator.check_extractor(name, "efficientnet-lite0")


def test_an_unknown_metric() -> None:
    with pytest.raises(UsageError, match=r"--metrics vmaf: unknown; possible: l1, psnr"):
        evaluator.resolve_metric("vmaf")


def test_values_of_pairs_go_to_single_images_and_the_mean() -> None:
    outputs, truth = pictures(1, 2, 3), pictures(1, 5, 6)
    done = Evaluator(Subject(outputs, truth, truth), absent)
    psnr, l1 = done.compute("psnr")["psnr"], done.compute("l1")["l1"]
    by_hand = [np.abs(image(i).astype(float) - image(j)).mean() for i, j in ((1, 1), (2, 5), (3, 6))]
    assert psnr.value == math.inf
    assert l1.value == pytest.approx(np.mean(by_hand))
    rows = done.per_image_rows()
    assert [row["name"] for row in rows] == ["1", "2", "3"]
    assert [row["l1"] for row in rows] == pytest.approx(by_hand)
    assert rows[0]["psnr"] is None
    assert protocol.estimate_to_json(psnr)["value"] is None


@pytest.mark.parametrize(
    ("name", "error", "told"),
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
def test_what_a_metric_lacks(name: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        Evaluator(Subject(pictures(1, 2), pictures(3, 4)), absent).compute(name)


def test_a_way_back_is_needed_for_a_round_trip() -> None:
    def same(x: Tensor) -> Tensor:
        return x

    subject = Subject(pictures(1), pictures(2), inputs=pictures(1), translate=same)
    with pytest.raises(UsageError, match="cycle_psnr: needs a model that translates both ways"):
        Evaluator(subject, absent).compute("cycle_psnr")
    both = Evaluator(Subject(pictures(1), pictures(2), inputs=pictures(1), translate=same, translate_back=same), absent)
    assert both.compute("cycle_psnr")["cycle_psnr"].value == math.inf


# Records.


def record(**figures: tuple[float | None, float | None]) -> dict[str, Any]:
    """A record of an evaluation with (value, error) by key."""
    settings = {evaluator.metric_of_key(key): {} for key in figures}
    known = {"data": "x", "size": 64, "seed": 0, "code": "image-translate 1", "real_sha256": "ab", "settings": settings}
    return {"metrics": {key: {"value": v, "error": e} for key, (v, e) in figures.items()}, "protocol": known}


def test_the_protocol_says_what_was_measured_on_what_and_how() -> None:
    real, outputs = pictures(1, 2, 3), pictures(4, 5)
    done = Evaluator(Subject(outputs, real), absent)
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
def test_a_file_that_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"x\.json: no record of an evaluation"):
        protocol.read_results(tmp_path / "x.json")


def test_a_record_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.json: no such file; give the metrics\.json of an evaluation"):
        protocol.read_results(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("second", "value", "exceeds"),
    [(10.0, 10.0, False), (10.01, 10.01, True), (-10.01, -10.01, True), (0.0, 0.0, False)],
)
def test_a_difference_is_held_against_two_standard_errors(second: float, value: float, exceeds: bool) -> None:
    """Errors of 3 and 4 make one of 5: twice that is 10."""
    (found,) = protocol.compare_results(record(l1=(0.0, 3.0)), record(l1=(second, 4.0)), ("A", "B"))
    assert (found.error, found.value, found.is_significant) == (5, value, exceeds)


def test_without_an_error_nothing_can_be_said() -> None:
    found = protocol.compare_results(
        record(l1=(0.0, 3.0), psnr=(None, 1.0)), record(l1=(9.0, None), psnr=(1.0, 1.0)), ("A", "B")
    )
    assert [(d.error, d.value, d.is_significant) for d in found] == [(None, 9.0, None), (math.hypot(1, 1), None, None)]


@pytest.mark.parametrize(
    ("change", "told"),
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
def test_unlike_protocols_are_not_compared(change: dict[str, Any], told: str) -> None:
    first, second = record(kid=(0.1, 0.1)), record(kid=(0.2, 0.1))
    second["protocol"] |= change
    with pytest.raises(UsageError) as raised:
        protocol.compare_results(first, second, ("A.json", "B.json"))
    head, *lines = str(raised.value).split("\n")
    assert head == "A.json and B.json were not measured alike; evaluate one of them again:"
    assert lines == [told]


def test_what_does_not_touch_the_shared_figures_may_differ() -> None:
    """The place of the data, and how figures were computed that only one of the two has."""
    first, second = record(l1=(1.0, 1.0)), record(l1=(2.0, 1.0), kid=(0.1, 0.1))
    second["protocol"] |= {"data": "y", "extractor": "inception", "extractor_sha256": "67"}
    assert [d.key for d in protocol.compare_results(first, second, ("A", "B"))] == ["l1"]


def test_records_without_a_figure_in_common() -> None:
    with pytest.raises(UsageError, match="A and B have no figure in common"):
        protocol.compare_results(record(l1=(1.0, 1.0)), record(psnr=(1.0, 1.0)), ("A", "B"))


def test_figures_of_a_later_version_are_refused_by_its_number() -> None:
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

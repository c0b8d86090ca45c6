"""Tests of `translate.evaluation.result_files`."""

import csv

import numpy as np

from translate.evaluation.result_files import WORST, write_image_table, write_result_page
from translate.evaluation.robustness import AttackedImage


def attacked(number):
    grey = np.full((8, 8, 3), 10 * number, np.uint8)
    return AttackedImage(f"photo {number}.png", number / 10, grey, grey, grey, grey)


RESULTS = {
    "protocol": {"data": "<set>", "output_images": 4, "real_images": 5},
    "subject": {"model": "night"},
    "metrics": {"robustness_pgd40_8": {"value": 0.25, "error": None}, "l1": {"value": 12.5, "error": 0.5}},
}


def test_a_table_has_a_row_for_each_image_and_a_column_for_each_value(tmp_path):
    rows = [{"name": "a, b.png", "l1": 3.0}, {"name": "c.png", "l1": None, "robustness_noise_1": 0.5}]
    write_image_table(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": "a, b.png", "l1": "3.0", "robustness_noise_1": ""},
            {"name": "c.png", "l1": "", "robustness_noise_1": "0.5"},
        ]
    write_image_table(tmp_path / "empty.csv", [])
    assert (tmp_path / "empty.csv").read_text().strip() == ""


def test_a_page_shows_the_values_and_the_five_worst_images(tmp_path):
    write_result_page(tmp_path / "r.html", RESULTS, [attacked(n) for n in range(8, 0, -1)])
    text = (tmp_path / "r.html").read_text()
    assert "&lt;set&gt;" in text
    assert "robustness_pgd40_8" in text
    assert text.count("<img") == 4 * WORST
    assert "photo 8.png" in text
    assert "photo 3.png" not in text
    write_result_page(tmp_path / "r.html", RESULTS, [])
    assert "under attack" not in (tmp_path / "r.html").read_text()

"""The report of a run."""

import json
import re

import pytest
from PIL import Image

from translate import run_folder
from translate.training.loss_names import LossNames
from translate.training.run_report import MAX_GRIDS, write_run_report

from ..pages import Page, assert_of_one_piece

CONFIG = 'method = "cyclegan"\nroot = "/data/<b>"\nlr = 0.0002\nflip = true\n'
POINT = {
    "loss/g/adv_ab": 0.5, "loss/d/adv_b": 0.2, "judge/real_b": 0.9, "judge/fake_b": 0.1, "loss/g/cycle_a": 1.5, "progress": 0.5,
    "time/images_per_second": 2.0,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run of three log points, two of them with a validation, and nine sample grids."""
    folder = tmp_path / "night"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    lines = [{"images": n, **POINT} for n in (100, 200, 300)]
    lines[1] |= {"val/l1": 40.0, "advice": ["warning: <i>too red"]}
    lines[2] |= {"val/l1": 30.25}
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for n in range(9):
        Image.new("RGB", (60, 40), (20 * n, 0, 0)).save(run_folder.sample_path(folder, 100 * n))
    return folder


def report(folder):
    write_run_report(folder, LossNames())
    return Page(folder / "report.html")


def test_it_shows_samples_metrics_curves_and_settings(run):
    page = report(run)
    assert_of_one_piece(page)
    assert page.said("h1.") == ["night: cyclegan"]
    assert page.said("p.intro")[0].startswith("Data: /data/<b> · 300 images seen, 50% of the training · 2.000 images/s")
    assert page.said("section.advice", "li.")[0].strip() == "warning: <i>too red"
    grids = page.said("figure.grid", "figcaption.")
    assert len(grids) == MAX_GRIDS
    assert grids[0] == "after 800 images"
    assert grids[-1] == "after 0 images"
    assert page.said("div.wide", "td.") == ["200", "40.00", "300", "30.25"]
    assert page.said("details.settings", "td.") == [
        "method",
        "cyclegan",
        "root",
        "/data/<b>",
        "lr",
        "0.0002",
        "flip",
        "true",
    ]
    assert "script" not in [tag for tag, _ in page.tags]


def test_the_newest_grid_is_the_first_picture(run):
    colour = report(run).pictures()[0].convert("RGB").getpixel((30, 20))
    assert abs(colour[0] - 160) <= 4


def test_generators_and_discriminators_have_other_colours(run):
    """What a generator makes is of the first colour, what a discriminator learns of the second, in each chart of both."""
    charts = re.findall(r'<figure class="chart">.*?</figure>', report(run).html)
    legends = [{name: colour for colour, name in re.findall(r'<i class="(l\d)"></i>([^<]+)', c)} for c in charts]
    assert {"loss/d/adv_b": "l1", "loss/g/adv_ab": "l0"} in legends
    assert {"judge/real_b": "l1", "judge/fake_b": "l0"} in legends


def test_a_run_that_has_just_begun_and_one_with_a_damaged_grid(run, tmp_path):
    run_folder.sample_path(run, 800).write_bytes(b"no image")
    assert report(run).said("figure.grid", "figcaption.")[0] != "after 800 images"
    empty = tmp_path / "empty"
    empty.mkdir()
    page = report(empty)
    assert page.said("p.intro")[0].startswith("Data: unknown · 0 images seen")
    assert "h2" not in [tag for tag, _ in page.tags]

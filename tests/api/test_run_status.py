"""Status of a run, as a dictionary: its state, plan, health checks and newest checkpoint."""

import pytest

from translate import locks
from translate.api import models, run_status

from ..helpers import write_run_folder


@pytest.mark.parametrize(("images", "state"), [(1000, "stopped"), (4000, "finished")])
def test_the_state_of_a_run_that_no_process_holds(tmp_path, images, state):
    known = run_status.describe_run(write_run_folder(tmp_path, [{"images": images}]))
    assert (known["state"], known["process"], known["seconds_left"]) == (state, None, None)
    assert (known["method"], known["data"], known["images"], known["planned"]) == (
        "cyclegan",
        "/data/earth",
        images,
        4000,
    )


def test_a_run_whose_folder_is_locked_is_running(tmp_path):
    write_run_folder(tmp_path, [{"images": 1000, "time/images_per_second": 10.0}])
    with locks.lock_folder(tmp_path, "wait"):
        known = run_status.describe_run(tmp_path)
    assert known["state"] == "running"
    assert known["process"]
    assert known["seconds_left"] == pytest.approx(300)


def test_the_newest_checkpoint_is_the_one_with_most_images(tmp_path):
    write_run_folder(tmp_path, [])
    assert run_status.describe_run(tmp_path)["checkpoint"] is None
    for images in (900, 1400):
        (tmp_path / f"state-{images}.ckpt").write_bytes(bytes(images))
    known = run_status.describe_run(tmp_path)["checkpoint"]
    assert (known["images"], known["bytes"]) == (1400, 1400)


@pytest.mark.parametrize(
    ("images", "value", "verdict"), [(2000, 1.0, "ok"), (2000, 0.01, "warns"), (100, 0.01, "too early")]
)
def test_health_checks_have_a_verdict(tmp_path, images, value, verdict):
    point = {"images": images, "progress": images / 4000, "watch/variety_b": value}
    known = run_status.describe_run(write_run_folder(tmp_path, [point]))["watch"]["watch/variety_b"]
    assert (known["verdict"], known["side"], known["value"]) == (verdict, "below", value)


def test_a_model_in_a_run_is_described_as_any_other(build, tmp_path):
    """Without torch from the files, and with torch from the networks: the same, but for the place."""
    write_run_folder(tmp_path / "run", [{"images": 10}])
    (tmp_path / "run" / "model").mkdir()
    build("cyclegan", folder=tmp_path / "run" / "model", generator="resnet_3blocks", norm="batch")
    known = run_status.status(tmp_path / "run")
    assert known.pop("run")["images"] == 10
    assert known == models.describe_model(tmp_path / "run" / "model")

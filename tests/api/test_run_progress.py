"""Progress of a run, and where its data is."""

import pytest

from translate.api.run_progress import describe_progress


@pytest.mark.parametrize(
    ("settings", "points", "planned", "state"),
    [
        ({"images": 40}, [{"images": 10}], 40, "stopped"),
        ({"images": 40}, [{"images": 10}, {"images": 40}], 40, "finished"),
        ({}, [{"images": 10, "progress": 0.25}], 40, "stopped"),  # epochs are counted: a quarter of the plan
        ({}, [], None, "stopped"),
    ],
)
def test_the_plan_and_how_far_it_is(tmp_path, settings, points, planned, state):
    (tmp_path / "stats.jsonl").touch()
    found = describe_progress(tmp_path, settings, points)
    assert (found["planned"], found["state"]) == (planned, state)
    assert found["images"] == (points[-1]["images"] if points else 0)


def test_data_is_where_it_is_found_or_where_it_was(tmp_path):
    run, data = tmp_path / "run", tmp_path / "data"
    run.mkdir()
    settings = {"root": "/nowhere/data", "root_from_run": "../data"}
    assert describe_progress(run, settings, [])["data"] == "/nowhere/data"
    data.mkdir()
    assert describe_progress(run, settings, [])["data"] == str(data)

"""The benchmarks against the reference run, whatever packages are installed beside them."""

import importlib
import json
import sys
from types import ModuleType

import pytest


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """Run a benchmark by its arguments, and measure its memory in this process, too; returns the rows of its JSON file."""

    def run(name, path, *arguments):
        bench = importlib.import_module(name)

        def measure(script, asked):
            capsys.readouterr()
            bench.print_peak({**asked, "threads": 1})
            return float(capsys.readouterr().out.splitlines()[-1])

        monkeypatch.setattr(bench, "run_in_new_process", measure)
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--rounds", "1", "--device", "cpu", "--json", str(path)])
        bench.main()
        return json.loads(path.read_text())["rows"]

    return run


@pytest.mark.parametrize("name", ["bench_train", "bench_infer"])
def test_no_installed_package_hides_the_double(name, monkeypatch):
    """torch-fidelity installs a package `tests`; a regular package `parity` would hide a folder of that name."""
    for hidden in ("tests", "parity", "double"):
        monkeypatch.setitem(sys.modules, hidden, ModuleType(hidden))
    monkeypatch.delitem(sys.modules, name, raising=False)
    bench = importlib.import_module(name)
    assert bench.double.__file__.endswith("double.py")
    assert {"CycleGAN", "Pix2Pix", "Pool"} <= vars(bench.double).keys()


@pytest.mark.slow
def test_a_training_step_is_compared_with_the_reference(in_this_process, tmp_path):
    small = ("--methods", "cyclegan", "--crops", "32", "--width", "4", "--inputs", "1", "--convolution", "direct")
    (row,) = in_this_process("bench_train", tmp_path / "rows.json", *small)
    assert row["agreement"]["losses"] < 1e-5  # step 1 in float32: rounding of sums over a patch map
    assert row["ours"] > 0 < row["double"]


@pytest.mark.slow
def test_a_translation_is_compared_with_the_reference(in_this_process, tmp_path):
    small = ("--generators", "resnet_9blocks", "--sizes", "32", "--convolution", "direct")
    (row,) = in_this_process("bench_infer", tmp_path / "rows.json", *small)
    assert row["most"] <= 1  # bytes may round differently, by one
    assert row["values"] < 1e-3


@pytest.mark.slow
def test_steps_in_several_environments_are_taken_in_turn(monkeypatch, tmp_path):
    bench = importlib.import_module("bench_environment")
    kept = {name: bench.ENVIRONMENTS[name] for name in ("default", "freed memory kept")}
    monkeypatch.setattr(bench, "ENVIRONMENTS", kept)
    small = ["--method", "pix2pix", "--crop", "64", "--width", "8", "--rounds", "2", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["bench_environment", *small, "--json", str(tmp_path / "rows.json")])
    bench.main()
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["environment"] for row in rows] == list(kept)
    assert rows[0]["speed_up"] == 1
    assert all(row["seconds"] > 0 and row["mib"] > 100 for row in rows)

"""The scripts of docs/examples: what they log, by stand-ins for the packages, and with these where they are installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import translate

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SETTINGS = {
    "images": 4, "log_every": 2, "sample_every": 2, "evaluate_every": 4, "evaluate_metrics": "l1", "batch_size": 2,
    "crop_size": 32, "load_size": 36, "g_width": 4, "d_width": 4, "device": "cpu", "say": None,
}  # fmt: skip


def example(name: str) -> Any:
    """Import a script."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(root: Path, folder: Path, callback: object) -> Any:
    return translate.train("pix2pix", root, run=folder / "run", callbacks=[callback], **SETTINGS)


def numbers(point: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if isinstance(value, int | float)}


class Recorder(ModuleType):
    """Module that has any function, and notes its calls."""

    def __init__(self, name: str, **given: Any) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        vars(self).update(given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args, _ in self.calls if called == name]


def test_what_is_logged_to_wandb(paired_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Recorder("run", summary={})
    module = Recorder("wandb", init=lambda **options: run, Image=lambda path: f"image {path}")
    monkeypatch.setitem(sys.modules, "wandb", module)
    trained = train(paired_root, tmp_path, example("wandb_callback").WandbCallback(project="p"))
    logged = [args[0] for args in run.named("log")]
    assert all(numbers(point) in logged for point in trained.history)
    grids = [f"image {path}" for path in sorted((trained.path / "samples").iterdir())]
    assert [point["samples"] for point in logged if "samples" in point] == grids
    assert [point["images"] for point in logged if "samples" in point] == [0, 2, 4]
    assert {point["images"] for point in logged if "val/l1" in point} == {4}
    assert run.summary["outcome"] == "finished"
    assert ("finish", (), {"exit_code": 0}) in run.calls


def test_what_is_logged_to_mlflow(paired_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Recorder("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", module)
    callback = example("mlflow_callback").MlflowCallback({"method": "pix2pix"}, run_name="night")
    trained = train(paired_root, tmp_path, callback)
    logged = [(args[0], kwargs["step"]) for name, args, kwargs in module.calls if name == "log_metrics"]
    assert all((numbers(point), point["images"]) in logged for point in trained.history)
    assert {step for metrics, step in logged if "val/l1" in metrics} == {4}
    assert module.named("log_params") == [({"method": "pix2pix"},)]
    assert [Path(path).suffix for path, folder in module.named("log_artifact")] == [".png"] * 3
    assert module.named("end_run") == [("FINISHED",)]


@pytest.mark.slow
def test_wandb_offline(paired_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    train(paired_root, tmp_path, example("wandb_callback").WandbCallback(project="p", dir=str(tmp_path)))
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 1
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/*.png"))) == 3


@pytest.mark.slow
def test_mlflow_in_a_folder(paired_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    trained = train(paired_root, tmp_path, example("mlflow_callback").MlflowCallback({"method": "pix2pix"}))
    (run,) = mlflow.search_runs(output_format="list")
    last = numbers(trained.history[-1])
    assert run.info.status == "FINISHED"
    assert {name: run.data.metrics[name] for name in last} == pytest.approx(last)

"""Train with MLflow: losses, validation metrics, sample grids and the model of a run.

    uv run --with mlflow-skinny python docs/examples/mlflow_callback.py cyclegan datasets/earth_season --images 4000

Everything goes to the server in `MLFLOW_TRACKING_URI`. Without one: MLFLOW_TRACKING_URI=file:./mlruns and
MLFLOW_ALLOW_FILE_STORE=true write to a folder; with the whole package, mlflow, sqlite:///mlflow.db is better.
"""

import argparse
from typing import Any

import mlflow

import translate

STATUS = {"finished": "FINISHED", "stopped early": "FINISHED", "interrupted": "KILLED"}
"""Outcome of a training → status of its run in MLflow; all others have failed."""


class MlflowCallback(translate.TrainingCallback):
    """Log a training to a run of MLflow, with images seen as the step.

    Args:
        settings: Settings of the training, which become the parameters of the run.
        options: Arguments of `mlflow.start_run`, such as run_name.
    """

    def __init__(self, settings: dict[str, Any], **options: Any) -> None:
        self.run = mlflow.start_run(**options)
        mlflow.log_params(settings)

    def on_log(self, values: dict[str, Any]) -> None:
        scalars = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        mlflow.log_metrics(scalars, step=values["images"])

    def on_validation(self, metrics: dict[str, Any]) -> None:
        self.on_log(metrics)

    def on_sample(self, path: Any) -> None:
        mlflow.log_artifact(str(path), "samples")

    def on_end(self, result: dict[str, Any]) -> None:
        mlflow.set_tags(result)
        mlflow.end_run(STATUS.get(result["outcome"], "FAILED"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("root")
    parser.add_argument("--images", type=int, default=4000)
    args = parser.parse_args()
    settings = {"method": args.method, "root": args.root, "images": args.images}
    callback = MlflowCallback(settings, run_name=f"{args.method} on {args.root}")
    translate.train(args.method, args.root, images=args.images, callbacks=[callback])


if __name__ == "__main__":
    main()

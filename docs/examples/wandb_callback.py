"""Train with Weights & Biases: losses, validation metrics and sample grids of a run.

    uv run --with wandb python docs/examples/wandb_callback.py cyclegan datasets/earth_season --images 4000

`WANDB_MODE=offline` writes to wandb/ alone; `wandb sync wandb/offline-run-*` uploads it later.
"""

import argparse
from typing import Any

import wandb

import translate


class WandbCallback(translate.TrainingCallback):
    """Log a training to a run of Weights & Biases, with images seen as the axis.

    Args:
        options: Arguments of `wandb.init`, such as project, name and config.
    """

    def __init__(self, **options: Any) -> None:
        self.run = wandb.init(**options)
        self.run.define_metric("*", step_metric="images")
        self.images = 0

    def on_step(self, images: int) -> None:
        self.images = images

    def on_log(self, values: dict[str, Any]) -> None:
        self.run.log({name: value for name, value in values.items() if isinstance(value, int | float)})

    def on_validation(self, metrics: dict[str, Any]) -> None:
        self.on_log(metrics)

    def on_sample(self, path: Any) -> None:
        self.run.log({"samples": wandb.Image(str(path)), "images": self.images})

    def on_end(self, result: dict[str, Any]) -> None:
        self.run.summary.update(result)
        self.run.finish(exit_code=0 if result["outcome"] in ("finished", "stopped early") else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("root")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--project", default="image-translate")
    args = parser.parse_args()
    settings = {"method": args.method, "root": args.root, "images": args.images}
    callback = WandbCallback(project=args.project, config=settings)
    translate.train(args.method, args.root, images=args.images, callbacks=[callback])


if __name__ == "__main__":
    main()

"""Error of a small classifier, clean and under attack, without and with adversarial training (Goodfellow et al., 2015).

    uv run python tools/robust_classifier.py /usr/share/datasets/fashion-mnist --epsilon 0.1

FOLDER holds train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-… of MNIST or Fashion-MNIST, with or without .gz; Debian
has the latter as dataset-fashion-mnist.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from translate import robust
from translate.catalog.builders.mnist import read_idx

FORMS = {"clean inputs": 1.0, "half clean, half attacked": 0.5, "attacked inputs": 0.0}
"""Trainings by their weight α of clean inputs."""
BATCH = 128


def read_table(folder: Path, name: str) -> Tensor:
    """Return the values of an IDX file of bytes, (N, …) uint8."""
    path = next(path for path in sorted(folder.rglob(f"{name}*")) if path.suffix in ("", ".gz"))
    return torch.from_numpy(read_idx(path.read_bytes(), path.name).copy())


def build() -> nn.Module:
    """Return a small convolutional classifier of ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the IDX files")
    parser.add_argument("--epsilon", type=float, default=0.1, help="largest change of each value, of 1")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training images")
    parser.add_argument("--images", type=int, default=20_000, help="training images")
    parser.add_argument("--test-images", type=int, default=2000, help="test images")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sets = {}
    for split, count in (("train", args.images), ("t10k", args.test_images)):
        images, labels = read_table(args.folder, f"{split}-images"), read_table(args.folder, f"{split}-labels")
        sets[split] = images[:count, None].float() / 255, labels[:count].long()
    (x, label), (test_x, test_label) = sets["train"], sets["t10k"]
    for form, alpha in FORMS.items():
        torch.manual_seed(args.seed)
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for epoch in range(args.epochs):
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(args.seed + epoch))
            robust.train(model, [(x[i], label[i]) for i in order.split(BATCH)], optimizer, args.epsilon, alpha=alpha)
        inputs = {
            "clean": test_x,
            "fgsm": robust.fgsm(model, test_x, test_label, args.epsilon),
            "pgd10": robust.pgd(model, test_x, test_label, args.epsilon),
        }
        errors = {name: 100 * robust.error_rate(model, each, test_label) for name, each in inputs.items()}
        print(f"{form:26}", "  ".join(f"{name} {error:5.1f} %" for name, error in errors.items()), flush=True)


if __name__ == "__main__":
    main()

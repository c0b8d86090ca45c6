"""Accuracy of a classifier with few labels of a domain, with and without translations of a labelled set of another domain.

    apt-get download dataset-fashion-mnist
    uv run python tools/bench_augment.py garments dataset-fashion-mnist_*.deb --out runs/augment
    uv run python tools/bench_augment.py faces --out runs/augment-faces

garments: domain A, with labels, is Fashion-MNIST as it is: grey garments on black. Domain B is other garments of the same ten
classes on coloured grounds. A CycleGAN learns A → B without labels. faces: domain A is drawn faces with dark hair, domain B
others with blond hair; the classes are five kinds of eyebrows, which have the colour of the hair. The shipped model blond-hair,
which has seen none of these faces, translates.

Few images of B have labels; the test images are of domain B. The translator translates the labelled images of A. A small
network is trained on the few labels of B alone or beside other images: those of A as they are, their translations, or as many
labelled images of B (the oracle); each with and without plain augmentation (mirroring, shifts, brightness and contrast). All
trainings of a set have as many steps, and half of each batch is of the few labels.

Each result is a line of OUT/results.jsonl, and what is there already is not computed again. The intervals are those of
Student's t over the seeds, at 95 %. A seed draws the labelled images, the weights and the batches. All runs on one thread.
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from semi_supervised import interval
from torch import Tensor, nn

import translate
from translate import keyed_random
from translate.catalog.builders import avatars, mnist, packages, svg_rendering
from translate.catalog.cards import find_card, read_cards

SOURCE, TARGET, POOL, TEST = 300, 300, 300, 200
"""Images of each class: labelled ones of A, those of B that the CycleGAN sees, those of B that may have labels, test images."""
FACES = {"source": 100, "pool": 100, "test": 100}
"""The same of the faces, whose translator is trained already."""
EYEBROWS = ("raised", "angry", "happy", "sad", "neutral")
"""The classes of the faces."""
SIDE = 32
"""Side of the garments in pixels."""
STEPS = {"garments": 150, "faces": 400}
"""Steps of a classifier; eyebrows are found later than garments."""
BATCH = 64

EXTRAS = ("nothing", "source", "translations", "oracle")
"""Labelled images beside the few of domain B."""
MAIN = (("nothing", False), ("nothing", True), ("source", False), ("translations", False), ("oracle", False))
"""Trainings that are compared first: what is beside the few labels, and whether images are augmented plainly."""

TRANSLATOR: dict[str, Any] = {
    "preset": "modern", "crop_size": SIDE, "load_size": SIDE, "device": "cpu", "threads": 1, "loader": "resident",
    "save_every": 4000, "sample_every": 4000,
}  # fmt: skip


# The two domains.


def textured(garment: np.ndarray, seed: int) -> np.ndarray:
    """Lay a garment (H, W) on a ground of smooth random colours: (H, W, 3), uint8. It is opaque from a quarter of white on."""
    draws = np.random.default_rng(seed)
    cells = int(draws.integers(3, 9))
    coarse = Image.fromarray(draws.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    ground = np.asarray(coarse.resize(garment.shape[::-1], Image.Resampling.BICUBIC), np.float64)
    opaque = np.clip(garment[:, :, None] / 64.0, 0, 1)
    return np.rint(opaque * garment[:, :, None] + (1 - opaque) * ground).astype(np.uint8)


def first_of_each_class(labels: np.ndarray, start: int, count: int) -> np.ndarray:
    """Return the indices of images number `start` to `start + count` of each class, class after class."""
    return np.concatenate([np.flatnonzero(labels == label)[start : start + count] for label in np.unique(labels)])


Parts = dict[str, tuple[np.ndarray, np.ndarray]]
"""Images (N, H, W, 3) and their labels by part: source, target, pool and test."""


def read_garments(package: Path) -> Parts:
    """Return garments (N, 32, 32) and labels of the parts, all of different garments; those of B lie on coloured grounds."""
    tables = mnist.read_tables(package)
    parts = {"source": ("train", 0, SOURCE), "target": ("train", SOURCE, TARGET), "test": ("t10k", 0, TEST)}
    parts["pool"] = ("train", SOURCE + TARGET, POOL)
    found = {}
    for number, (part, (stem, start, count)) in enumerate(sorted(parts.items())):
        images, labels = tables[stem]
        chosen = first_of_each_class(labels, start, count)
        padded = np.pad(images[chosen], ((0, 0), (2, 2), (2, 2)))
        if part == "source":
            shown = np.repeat(padded[..., None], 3, axis=3)
        else:
            shown = np.stack([textured(garment, 100_000 * number + i) for i, garment in enumerate(padded)])
        found[part] = shown, labels[chosen]
    return found


def face_options() -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Return class and options of all faces by part, each another person: dark hair in the source, blond hair elsewhere."""
    hair = {part: avatars.HAIR.a if part == "source" else avatars.HAIR.b for part in FACES}
    return {
        part: [
            (label, {**hair[part], "eyebrows": [kind], "seed": f"u{part}{label}-{i}"})
            for i in range(count)
            for label, kind in enumerate(EYEBROWS)
        ]
        for part, count in FACES.items()
    }


def draw_faces() -> Parts:
    """Return drawn faces (N, 64, 64, 3) and the labels of their eyebrows by part."""
    card = find_card("avatar_hair", read_cards())
    options = face_options()
    with tempfile.TemporaryDirectory() as folder:
        fetched = {package.name: packages.fetch_package(package, Path(folder)) for package in card.packages}
        render = svg_rendering.load_renderer(fetched[svg_rendering.RESVG])
        faces = [face for rows in options.values() for _, face in rows]
        texts = iter(avatars.draw_faces(avatars.HAIR.style, fetched, faces))
        return {
            part: (np.stack([avatars.draw(render, next(texts)) for _ in rows]), np.array([label for label, _ in rows]))
            for part, rows in options.items()
        }


# The translator.


def write_images(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write images as FOLDER/<class>/<number>.png; files that are there stay."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{number:05}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def train_translator(out: Path, parts: Parts, images: int) -> Path:
    """Train the CycleGAN of the garments, or resume it, and return its run."""
    write_images(out / "data" / "trainB", *parts["target"])
    run = out / "translator"
    translate.train(
        "cyclegan", out / "data", run=run, watch=False, images=images, decay_images=images // 2, **TRANSLATOR
    )
    return run


def translations(out: Path, parts: Parts, model: str | Path) -> np.ndarray:
    """Return the translations of the source images, which are OUT/data/trainA, by a model."""
    result = translate.convert(model, out / "data" / "trainA", out / "translated", device="cpu")
    if result.failures:
        raise SystemExit(f"{len(result.failures)} images could not be translated")
    paths = (out / "translated" / str(label) / f"{number:05}.png" for number, label in enumerate(parts["source"][1]))
    return np.stack([np.asarray(Image.open(path)) for path in paths])


# The classifier.


class Classifier(nn.Sequential):
    """Three 3×3 convolutions of 16, 32 and 64 channels, each with batch norm and pooling, and a linear layer."""

    def __init__(self, side: int, classes: int) -> None:
        layers: list[nn.Module] = []
        for width, channels in ((3, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(64 * (side // 8) ** 2, classes))


def augment_plainly(x: Tensor, draws: torch.Generator) -> Tensor:
    """Mirror half of the images, shift them by up to 3 pixels, and change brightness and contrast; (N, C, H, W) in [-1, 1]."""
    count, side = len(x), x.shape[-1]
    mirrored = torch.rand(count, generator=draws) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    offsets = torch.randint(0, 7, (count, 2), generator=draws).tolist()
    padded = F.pad(x, (3, 3, 3, 3), mode="reflect")
    x = torch.stack(
        [image[:, top : top + side, left : left + side] for image, (top, left) in zip(padded, offsets, strict=True)]
    )
    contrast, brightness = (torch.rand(2, count, 1, 1, 1, generator=draws) - 0.5).unbind()
    return (x * (1 + contrast) + 0.5 * brightness).clamp(-1, 1)


def as_tensor(images: np.ndarray) -> Tensor:
    """Return images (N, H, W, 3) of uint8 as (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


Labelled = tuple[Tensor, Tensor]


def batches(steps: int, few: Labelled, extra: Labelled | None, draws: torch.Generator) -> Iterator[Labelled]:
    """Yield batches, drawn with replacement: half of the few labels and half of the others, where there are others."""
    for _ in range(steps):
        parts = []
        for images, labels in [few] if extra is None else [few, extra]:
            chosen = torch.randint(0, len(labels), (BATCH if extra is None else BATCH // 2,), generator=draws)
            parts.append((images[chosen], labels[chosen]))
        yield torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def accuracy(steps: int, few: Labelled, extra: Labelled | None, test: Labelled, plain: bool, seed: int) -> float:
    """Train a classifier, and return the percentage of test images whose class it finds."""
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    network = Classifier(test[0].shape[-1], int(test[1].max()) + 1).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for x, labels in batches(steps, few, extra, draws):
        given = augment_plainly(x, draws) if plain else x
        optimizer.zero_grad()
        F.cross_entropy(network(given), labels).backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        found = torch.cat([network(part).argmax(1) for part in test[0].split(500)])
    return 100 * (found == test[1]).float().mean().item()


def choose_labelled(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the indices of `count` images of each class, drawn by the seed; those of a smaller count are among them."""
    found = []
    for label in np.unique(labels).tolist():
        indices = np.flatnonzero(labels == label)
        found.append(indices[keyed_random.permutation(len(indices), seed, "labels", label)[:count].numpy()])
    return np.concatenate(found)


# The results.


def cells(steps: int, labels: Sequence[int], seeds: int, main_only: bool) -> Iterator[dict[str, Any]]:
    """Yield the keys of all results: those of MAIN for all seeds, then the others."""
    others = [(extra, plain) for extra in EXTRAS for plain in (False, True) if (extra, plain) not in MAIN]
    for trainings in (MAIN,) if main_only else (MAIN, others):
        for seed in range(seeds):
            for count in labels:
                for extra, plain in trainings:
                    yield {"labels": count, "extra": extra, "plain": plain, "seed": seed, "steps": steps}


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of results; the last one of a killed run may be incomplete."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return a row for each number of labels, extra images and plain augmentation: mean, half interval and seeds."""
    groups: dict[tuple[int, str, bool], list[float]] = {}
    for result in results:
        groups.setdefault((result["labels"], result["extra"], result["plain"]), []).append(result["accuracy"])
    rows = []
    for (count, extra, plain), values in groups.items():
        mean, half = interval(values)
        spread = "" if half is None else f" ± {half:.1f}"
        name = f"{extra}{', plain augmentation' if plain else ''}"
        rows.append(f"{count:3} labels a class, beside them {name:36} {mean:5.1f}{spread} %  ({len(values)} seeds)")
    return rows


def measure(
    out: Path, parts: dict[str, Labelled], translator: str, wanted: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Compute those of the wanted results that are missing in OUT/results.jsonl, and return all of them."""
    path = out / "results.jsonl"
    known = [result for result in read_results(path) if result["translator"] == translator]
    path.write_text("".join(json.dumps(result) + "\n" for result in read_results(path)))
    results = []
    for cell in wanted:
        found = next((result for result in known if cell.items() <= result.items()), None)
        if found is None:
            started = time.process_time()
            images, classes = parts["pool"]
            chosen = torch.from_numpy(choose_labelled(classes.numpy(), cell["labels"], cell["seed"]))
            few = images[chosen], classes[chosen]
            extra = None if cell["extra"] == "nothing" else parts[cell["extra"]]
            value = accuracy(cell["steps"], few, extra, parts["test"], cell["plain"], cell["seed"])
            seconds = round(time.process_time() - started, 1)
            found = {**cell, "accuracy": value, "cpu_seconds": seconds, "translator": translator}
            with path.open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)
        results.append(found)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", choices=("garments", "faces"), help="the two domains")
    parser.add_argument(
        "package", type=Path, nargs="?", help="the Debian package dataset-fashion-mnist, of the garments"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/augment"), help="folder of the data, the model and the results"
    )
    parser.add_argument("--labels", default="5,10,50", help="labels a class")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--images", type=int, default=8000, help="training images of the CycleGAN of the garments")
    parser.add_argument("--main-only", action="store_true", help="no plain augmentation beside other images")
    given = parser.parse_args()
    if (given.data == "garments") != (given.package is not None):
        parser.error("garments need the package, and faces take none")
    torch.set_num_threads(1)
    found = read_garments(given.package) if given.data == "garments" else draw_faces()
    write_images(given.out / "data" / "trainA", *found["source"])
    model = train_translator(given.out, found, given.images) if given.data == "garments" else "blond-hair"
    made = translations(given.out, found, model)
    parts = {name: (as_tensor(images), torch.from_numpy(labels).long()) for name, (images, labels) in found.items()}
    parts["translations"] = as_tensor(made), parts["source"][1]
    parts["oracle"] = parts["pool"]
    digest = hashlib.sha256(made.tobytes()).hexdigest()[:12]
    wanted = cells(STEPS[given.data], [int(n) for n in given.labels.split(",")], given.seeds, given.main_only)
    print("\n".join(table(measure(given.out, parts, digest, wanted))))


if __name__ == "__main__":
    main()

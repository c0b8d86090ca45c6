"""Labelled sets of small images, as tests of augmentation use them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def write_set(root: Path, *paths: str) -> Path:
    """Write files: images by their extension, others with the text behind a = in their entry."""
    for seed, entry in enumerate(paths):
        name, _, text = entry.partition("=")
        if text or name.endswith((".txt", ".json", ".csv", ".xml")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        else:
            write_image(root / name, seed)
    return root


def coco(*names: str, **fields: Any) -> str:
    """A COCO document of these images, each with one object."""
    images = [{"id": 10 + n, "file_name": name, "width": 8, "height": 8} for n, name in enumerate(names)]
    annotations = [
        {"id": 5 + n, "image_id": 10 + n, "bbox": [1, 2, 3.5, 4], "keypoints": [1, 2, 2], "category_id": 7}
        for n in range(len(names))
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 7}], **fields})

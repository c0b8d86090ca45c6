"""Milliseconds and bytes of PNG files at each of zlib's levels and strategies, on photos and on flat pictures.

    uv run python tools/bench_png.py [--rounds 5]

Levels are taken in turn, round after round, so that other load on the machine falls on all alike; the time is that of the CPU,
the median of the rounds. Files are compared with those of level 6, zlib's default.
"""

import argparse
import io
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageDraw, features
from skimage import data

DATASETS = Path(__file__).parents[1] / "datasets"
STRATEGIES = {"default": 0, "filtered": 1, "huffman": 2, "rle": 3, "fixed": 4}


def mosaic(folder, side, columns=8):
    """Many small images of the sample sets as a large one; of side-by-side files one half."""
    files = sorted(folder.glob("*.jpg"))[: columns * columns]
    sheet = Image.new("RGB", (columns * 128, columns * 128))
    for number, file in enumerate(files):
        tile = Image.open(file).convert("RGB")
        left = tile.width - 128 if side == "right" else 0
        sheet.paste(tile.crop((left, 0, left + 128, 128)), (number % columns * 128, number // columns * 128))
    return sheet


def drawing():
    """Shapes of few colours with sharp edges, as label maps and cartoons have."""
    sheet = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(sheet)
    rng = np.random.default_rng(0)
    for x, y, width, height, *colour in rng.integers(0, 256, (200, 7)):
        draw.rectangle((x * 4, y * 4, x * 4 + width, y * 4 + height), tuple(map(int, colour)))
    return sheet


def text():
    """Draw a page of letters that repeats the same lines."""
    sheet = Image.new("RGB", (1024, 1024), "white")
    lines = (f"{number % 17} the quick brown fox jumps over the lazy dog " * 4 for number in range(70))
    ImageDraw.Draw(sheet).multiline_text((4, 4), "\n".join(lines), "black", font_size=11)
    return sheet


def pictures():
    return {
        "photo (astronaut)": Image.fromarray(data.astronaut()),
        "photo (coffee)": Image.fromarray(data.coffee()),
        "photos (satellite)": mosaic(DATASETS / "earth_season" / "trainA", "left"),
        "flat (map)": mosaic(DATASETS / "earth_map" / "train", "right"),
        "flat (drawing)": drawing(),
        "flat (text)": text(),
        "dithered (astronaut)": Image.fromarray(data.astronaut()).convert("1").convert("RGB"),
    }


def encoded(image, options):
    """Seconds of CPU, and bytes."""
    buffer = io.BytesIO()
    began = time.process_time()
    image.save(buffer, "PNG", **options)
    return time.process_time() - began, len(buffer.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"Pillow {PIL.__version__}, zlib {features.version('zlib')}, Python {platform.python_version()}")
    settings = {f"level {level}": {"compress_level": level} for level in range(10)}
    settings |= {
        f"level 1, {name}": {"compress_level": 1, "compress_type": kind} for name, kind in STRATEGIES.items() if kind
    }
    for name, image in pictures().items():
        times, sizes = {setting: [] for setting in settings}, {}
        for _ in range(rounds):
            for setting, options in settings.items():
                seconds, sizes[setting] = encoded(image, options)
                times[setting].append(seconds)
        print(f"\n{name}, {image.width}×{image.height}: {'ms':>11} {'KiB':>8}   of level 6: time  bytes")
        median = {setting: statistics.median(taken) for setting, taken in times.items()}
        for setting in settings:
            slower, larger = median[setting] / median["level 6"], sizes[setting] / sizes["level 6"]
            absolute = f"{median[setting] * 1000:19.1f} {sizes[setting] / 1024:8.0f}"
            print(f"  {setting:20} {absolute} {slower:17.2f} {larger:6.2f}")


if __name__ == "__main__":
    main()

"""Helpers of the data tests: loaders, batches and folders of images."""

import io
from itertools import islice

import numpy as np
import torch
from PIL import Image

from translate.data import crop_flip, layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.loader_context import LoaderContext
from translate.data.preprocessing import Preprocessing, load_image
from translate.data.sampler import BatchSampler, Sampler
from translate.data.stream_dataset import StreamDataset

from ..helpers import write_smooth_image

CPU = torch.device("cpu")
TIERS = ["resident", "ram", "stream"]
RULES = ["resize_and_crop", "crop", "scale_width_and_crop", "scale_width", "none"]
SIZES = [(31, 50), (64, 33), (20, 20), (18, 41), (90, 27)]
"""Heights and widths, upright and across, some with a side below the load size."""


# Loaders and batches.


def make_loader(
    split, preprocessing, *, tier="resident", batch_size=1, seed=0, workers=0, said=None, dtype=torch.float32, device=CPU,
    **options,
):  # fmt: skip
    """Return a loader of one process; its notices are appended to `said`."""
    say = (said if said is not None else []).append
    options = LoaderOptions(batch_size=batch_size, seed=seed, tier=tier, workers=workers, **options)
    return Loader(split, preprocessing, options, device=device, dtype=dtype, say=say)


def make_context(split, preprocessing, batch_size=2, seed=0):
    """Return the context of a loader without worker processes."""
    sampler = Sampler(split, seed)
    return LoaderContext(
        split,
        preprocessing,
        sampler,
        BatchSampler(sampler, batch_size),
        CPU,
        torch.float32,
        lambda line: None,
        workers=0,
    )


def make_stream_dataset(split, preprocessing, contents):
    """Return the data set of tier `stream`; `contents`: keep encoded files for the device's decoder."""
    return StreamDataset(split, preprocessing, Sampler(split, 0), keep_encoded=contents)


def first_batches(batches, count):
    """Return copies of the first batches; a tier yields them with their numbers, a loader without."""
    taken = (batch[1] if isinstance(batch, tuple) else batch for batch in batches)
    return [{name: x.clone() for name, x in batch.items()} for batch in islice(taken, count)]


def same_batch(x, y):
    """Do two batches hold the same tensors, bit for bit?"""
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def same_batches(first, second):
    """Are two lists of batches equal, bit for bit?"""
    return len(first) == len(second) and all(same_batch(x, y) for x, y in zip(first, second, strict=True))


def draw_square_cuts(stored, key, name, size, flip):
    """Return crops and flips drawn for stored images (N, C, H, W), all of one size."""
    heights, widths = (torch.full((len(key),), n) for n in stored.shape[2:])
    return crop_flip.draw_cuts(key, name, heights, widths, size, flip)


def load_square(ref, channels, size):
    """Load an image, resized to a square, without a crop or flip."""
    return load_image(ref, Preprocessing(size, size, False, (channels, channels)), 0)


def decode_with_pillow(contents, channels):
    """Decode JPEG files in memory as nvJPEG does, and fail as it does."""
    decoded = []
    for data in contents:
        try:
            with Image.open(io.BytesIO(data.numpy().tobytes())) as image:
                array = np.array(image.convert("RGB" if channels == 3 else "L"))
        except OSError as e:
            raise RuntimeError("nvJPEG: damaged") from e
        decoded.append(torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1))
    return decoded


# Folders of images.


def write_empty_images(root, *names):
    """Write files of these names that are no images, and return the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    return root


def write_named_files(root, *names):
    """Write files that hold their own names, and return the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return root


def write_numbered_images(root, count=6, folders=("trainA", "trainB")):
    """Write the same smooth images into each folder, and return the unpaired split."""
    for folder in folders:
        for i in range(count):
            write_smooth_image(root / folder / f"{i}.png", 24, 24, i)
    return layouts.find_split(root, "unpaired")


def write_grey_squares(folder, count, bad=()):
    """Write squares, the i-th of grey 20 i; those with the numbers in `bad` are no images."""
    folder.mkdir(parents=True)
    for i in range(count):
        path = folder / f"{i}.png"
        Image.new("RGB", (20, 20), (20 * i,) * 3).save(path)
        if i in bad:
            path.write_text("no image")
    return folder


def numbers_of_squares(x):
    """Return which grey square each image of a batch is."""
    return [round((value + 1) * 127.5 / 20) for value in x.mean((1, 2, 3)).tolist()]


def find_split_of_squares(root, bad_a, bad_b, layout):
    """Write five grey squares for each domain, some of them unreadable, and return their split."""
    write_grey_squares(root / "trainA", 5, bad_a)
    write_grey_squares(root / "trainB", 5, bad_b)
    return layouts.find_split(root, layout)

"""Helpers of the tests of methods: small models, their engines and batches."""

import torch

from translate import config, keyed_random
from translate.methods.dcgan import DCGAN, DCGANConfig
from translate.methods.stargan import StarGAN
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import SIZE

COUNT = 4
"""Images in a batch of DCGAN and StarGAN."""


def noise_batch(count=2, first=0):
    """Return images `first` to `first + count` of both domains: noise in [-1, 1), float64, with its keys."""
    key = keyed_random.image_keys(3, torch.arange(first, first + count))
    images = {side: keyed_random.uniform(key, side, 3, SIZE, SIZE).double() * 2 - 1 for side in "ab"}
    return {**images, "key": key}


# DCGAN.

CLASSES = "cat,dog,owl"
VIRTUAL = {"virtual_batch_norm": True, "norm": "none"}
SMALL_DCGAN = {
    "crop_size": SIZE, "load_size": SIZE, "g_width": 2, "d_width": 2, "batch_size": COUNT, "noise_size": 6,
    "reference_size": 5,
}  # fmt: skip


def dcgan_config(**flags):
    """Return settings of a small DCGAN."""
    return DCGAN.resolve_config(config.resolve(DCGANConfig, ("test", {**SMALL_DCGAN, **flags})))


def small_dcgan(**flags):
    """Return a small DCGAN."""
    return DCGAN(dcgan_config(**flags))


def dcgan_engine(precision="fp64", **flags):
    """Return the engine of a small DCGAN, for a run of 1000 images."""
    cfg = dcgan_config(**flags)
    schedule = Schedule(10, 0, 0, images=1000)
    return Engine(
        DCGAN(cfg), schedule, seed=cfg.seed, device=torch.device("cpu"), precision=PRECISIONS[precision],
        batch_size=cfg.batch_size, ema_half_life=cfg.ema_half_life,
    )  # fmt: skip


def dcgan_batch(step=0, count=COUNT, dtype=torch.float64):
    """Return the batch of a step: noise in [-1, 1) with labels, some of them unknown (-1)."""
    keys = keyed_random.image_keys(3, torch.arange(step * count, (step + 1) * count))
    return {"a": keyed_random.uniform(keys, "a", 3, SIZE, SIZE).to(dtype) * 2 - 1, "label": torch.arange(count) % 4 - 1}


def keyed_dcgan_batch(step=0, dtype=torch.float32):
    """Return the batch of a step with the keys of its draws."""
    batch = dcgan_batch(step, dtype=dtype)
    return {**batch, "key": keyed_random.image_keys(0, torch.arange(COUNT))}


# StarGAN.

NAMES = ("autumn", "summer", "winter")


def stargan_config(names=NAMES, exclusive=True, **flags):
    """Return settings of a small StarGAN of these domains or, if they are not exclusive, attributes."""
    small = {"crop_size": SIZE, "load_size": SIZE, "g_width": 4, "d_width": 4, "batch_size": COUNT}
    cfg = StarGAN.resolve_config(config.resolve(StarGAN.Config, ("test", {**small, **flags})))
    return StarGAN.resolve_config(StarGAN.with_labels(cfg, names, exclusive))


def small_stargan(names=NAMES, exclusive=True, **flags):
    """Return a small StarGAN."""
    return StarGAN(stargan_config(names, exclusive, **flags))


def labelled_batch(exclusive=True, first=0, count=COUNT, dtype=torch.float64, kinds=3):
    """Return images `first` to `first + count` of an endless set of noise with labels."""
    numbers = torch.arange(first, first + count)
    key = keyed_random.image_keys(7, numbers)
    label = numbers % kinds if exclusive else (keyed_random.uniform(key, "label", kinds) < 0.5).float()
    image = keyed_random.uniform(key, "image", 3, SIZE, SIZE).to(dtype) * 2 - 1
    return {"a": image, "label": label, "key": key}

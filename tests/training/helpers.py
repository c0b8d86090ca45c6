"""Helpers of the training tests: whole trainings of a small CycleGAN, and what is done to them."""

import torch
import torch.nn.functional as F

import translate
from translate import keyed_random
from translate.data.loader import Loader

from ..helpers import SIZE

SMALL = {"crop_size": 32, "load_size": 36, "g_width": 4, "d_width": 4, "log_every": 2, "save_every": 4, "device": "cpu"}
CYCLEGAN = {**SMALL, "generator": "resnet_3blocks", "pool_size": 3, "sample_every": 1000}


class PowerCut(BaseException):
    """Raised where the power is cut: no handler of errors sees it."""


def train_cyclegan(root, run, say=lambda line: None, **flags):
    """Train a small CycleGAN that saves every 4 images."""
    return translate.train("cyclegan", root, run=run, say=say, **{**CYCLEGAN, **flags})


def model_bytes(run):
    """Return the bytes of the weights in the run's model folder."""
    return (run / "model" / "model.safetensors").read_bytes()


def act_before_image(monkeypatch, image, action):
    """Do something to a running training before the step of an image."""
    batches = Loader.batches

    def acting(self, start):
        for n, batch in enumerate(batches(self, start)):
            if start + n == image:
                action()
            yield batch

    monkeypatch.setattr(Loader, "batches", acting)


def smooth_tensors(first, count=4, size=SIZE):
    """Return smooth images (count, 3, size, size) in (-1, 1), the same for the same number."""
    coarse = keyed_random.uniform(torch.arange(first, first + count), "coarse", 3, 4, 4) * 1.8 - 0.9
    return F.interpolate(coarse, size=size, mode="bilinear")

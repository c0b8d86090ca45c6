"""A trained model as a callable, and the folder it is kept in.

A model folder holds `model.safetensors` (the generators that conversion needs), `config.json` (all that is needed to build
them) and `README.md` (the card): the layout of the Hugging Face hub.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load as load_weights
from safetensors.torch import save
from torch import Tensor

import translate
from translate import config, images, noise, runtime
from translate.errors import ModelError, UsageError
from translate.methods import METHODS, Method

NETWORK_SETTINGS = ("input_channels", "output_channels", "generator", "norm", "dropout", "g_width", "norm_statistics")
"""What `config.json` keeps of a training's settings: enough to build the generators."""


class Translator:
    """A trained model: picture → picture of the same size, tensor → tensor of the same size."""

    def __init__(
        self, method: Method, info: dict[str, Any], sha256: str, device: torch.device, precision: str = "fp32"
    ):
        self.method, self.info, self.sha256, self.device = method, info, sha256, device
        self.precision = runtime.pick_precision(precision, device)
        for attribute in info["directions"].values():
            method.get_submodule(attribute).to(device, self.precision.weights)
        method.eval()
        self.directions: tuple[str, ...] = tuple(info["directions"])
        """The domains it can translate to: "b", or "b" and "a"."""

    def check_target(self, to: str) -> None:
        if to not in self.directions:
            raise UsageError(f"this model translates to {' and '.join(self.directions)} only, not to {to!r}")

    def channels(self, to: str) -> int:
        """Channels of the images that it takes when translating to `to`."""
        return self.info["domains"]["a" if to == "b" else "b"]["channels"]

    @overload
    def __call__(self, image: Image.Image, to: str = "b", *, seed: int = 0) -> Image.Image: ...
    @overload
    def __call__(self, image: Tensor, to: str = "b", *, seed: int = 0) -> Tensor: ...

    def __call__(self, image: Image.Image | Tensor, to: str = "b", *, seed: int = 0) -> Image.Image | Tensor:
        """A Pillow image, or a tensor (N, C, H, W) in [-1, 1], in domain `to` and of the same size.

        `seed` decides the noise of models that have it (dropout); the same picture gets the same noise each time.
        """
        self.check_target(to)
        if isinstance(image, Image.Image):
            picture = images.decode(ImageOps.exif_transpose(image), self.channels(to))
            (pixels,) = self.translate_pixels([picture.pixels], to, seed=seed)
            return images.to_image(pixels, picture.alpha)
        if image.ndim != 4 or image.shape[1] != self.channels(to):
            raise UsageError(f"a tensor of shape {tuple(image.shape)}; this model takes (N, {self.channels(to)}, H, W)")
        keys = [pixel_key(images.to_pixels(x), seed) for x in image]
        return torch.stack(self._run(list(image), to, keys)).to(image.device, image.dtype)

    def translate_pixels(self, pictures: Sequence[np.ndarray], to: str, *, seed: int = 0) -> list[np.ndarray]:
        """(H, W, C) uint8 arrays in domain `to`, as (H, W, C') uint8 arrays; all have one `padded_size`."""
        keys = [pixel_key(pixels, seed) for pixels in pictures]
        results = self._run([images.to_tensor(pixels) for pixels in pictures], to, keys)
        return [images.to_pixels(x) for x in results]

    def _run(self, pictures: Sequence[Tensor], to: str, keys: Sequence[int]) -> list[Tensor]:
        key = torch.tensor(keys, device=self.device)
        with torch.inference_mode(), self.precision.autocast(self.device):
            batch = torch.stack([pad(x.to(self.device, self.precision.weights), **self.info["size"]) for x in pictures])
            results = self.method.translate(batch, to, key)
        return [result[:, : x.shape[1], : x.shape[2]] for result, x in zip(results, pictures, strict=True)]

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """What the network sees of an image of this size."""
        return _padded(height, **self.info["size"]), _padded(width, **self.info["size"])


def pixel_key(pixels: np.ndarray, seed: int, sample: int = 0) -> int:
    """The key of the noise of one image: a function of its pixels, the seed and the number of the sample."""
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()
    return noise.mix(seed, sample, int.from_bytes(digest[:8], "little"))


def _padded(length: int, multiple_of: int, minimum: int) -> int:
    return -(-max(length, minimum) // multiple_of) * multiple_of


def pad(x: Tensor, multiple_of: int, minimum: int) -> Tensor:
    """(C, H, W) reflected at the right and the bottom up to the size rule; edges repeated where that is too far."""
    for axis in (1, 2):
        length = x.shape[axis]
        extra = _padded(length, multiple_of, minimum) - length
        if extra:
            mode = "reflect" if extra < length else "replicate"
            x = F.pad(x, [0, extra] if axis == 2 else [0, 0, 0, extra], mode=mode)
    return x


# The model folder.


def write_model(folder: Path, method: Method, cfg: Any, *, title: str, seen: int) -> None:
    """Fills an empty folder with the method's generators, what is needed to build them, and a card."""
    networks = list(dict.fromkeys(method.translators.values()))
    weights = {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name in networks
        for key, tensor in method.get_submodule(name).state_dict().items()
    }
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    info = {
        "format": 1,
        "method": method.name,
        "version": translate.__version__,
        "networks": {name: getattr(cfg, name) for name in NETWORK_SETTINGS},
        "directions": dict(method.translators),
        "size": _size_rule(method),
        "domains": _domains(cfg),
        "norm_statistics": cfg.norm_statistics,
        "dropout": "on" if cfg.dropout else "off",
        "trained_on": {"data": title, "images": seen, "crop_size": cfg.crop_size, "load_size": cfg.load_size},
    }
    (folder / "config.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(info), encoding="utf-8")


def _card(info: dict[str, Any]) -> str:
    trained, settings = info["trained_on"], info["networks"]
    return f"""---
library_name: image-translate
pipeline_tag: image-to-image
tags: [{info["method"]}, image-to-image]
---

# {info["method"]} on {trained["data"]}

{settings["generator"]} of width {settings["g_width"]}, trained on {trained["images"]} images at {trained["crop_size"]} px with
image-translate {info["version"]}. Translates to domain {" and ".join(info["directions"])}.

    translate convert THIS_FOLDER photos/ out/
"""


def load(model: str | Path, *, device: str = "auto", precision: str = "fp32") -> Translator:
    """The Translator in a run folder, a model folder, or `checkpoints/<model>`; ModelError if there is none."""
    folder = find_model(model)
    where = runtime.pick_device(device)
    try:
        info = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        data = (folder / "model.safetensors").read_bytes()
        weights = load_weights(data)
    except (OSError, ValueError, RecursionError, SafetensorError) as e:
        raise ModelError(f"{folder}: not a usable model: {' '.join(str(e).split())}") from None
    try:
        cls = METHODS[info["method"]]
        method = cls.on_meta(config.resolve(cls.Config, (f"{folder}/config.json", info["networks"])))
        _check_info(info, method)
        for attribute in info["directions"].values():
            own = {k.removeprefix(f"{attribute}."): v for k, v in weights.items() if k.startswith(f"{attribute}.")}
            method.get_submodule(attribute).load_state_dict(own, assign=True)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ModelError(f"{folder}: its config.json and model.safetensors do not fit together: {reason}") from None
    return Translator(method, info, hashlib.sha256(data).hexdigest(), where, precision)


def _check_info(info: dict[str, Any], method: Method) -> None:
    """ValueError where the fields that conversion relies on are not what the method's networks say."""
    if not info["directions"] or not info["directions"].items() <= method.translators.items():
        raise ValueError(f"directions are {info['directions']}, but {method.name} has {dict(method.translators)}")
    if info["size"] != _size_rule(method):
        raise ValueError(f"size is {info['size']}, but its generator's is {_size_rule(method)}")
    if info["domains"] != _domains(method.cfg):
        raise ValueError(f"domains are {info['domains']}, but its networks' are {_domains(method.cfg)}")


def _size_rule(method: Method) -> dict[str, int]:
    generator = method.generator_for("b")
    return {"multiple_of": generator.multiple_of, "minimum": generator.minimum}


def _domains(cfg: Any) -> dict[str, Any]:
    channels = {"a": cfg.input_channels, "b": cfg.output_channels}
    return {name: {"channels": n, "range": [-1, 1]} for name, n in channels.items()}


def find_model(model: str | Path) -> Path:
    """The model folder of MODEL: an existing path, else below checkpoints/; ModelError names what was looked for."""
    path = Path(model)
    candidates = [path] if path.exists() else [Path("checkpoints") / path]
    for folder in candidates:
        for place in (folder / "model", folder / ".model-old", folder):
            if is_model(place):
                return place
    if not candidates[0].exists():
        raise ModelError(f"{model}: no such model; give a run folder, a model folder, or a name in checkpoints/")
    raise ModelError(
        f"{candidates[0]}: no model in it (config.json and model.safetensors); has the training saved yet?"
    )


def is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()

"""Augmentation by a user's own albumentations recipe, for `--albumentations recipe.yaml`, on the CPU.

A recipe is a list of transforms by name:

    transforms:
      - HorizontalFlip: {p: 0.5}
      - OneOf:
          p: 0.3
          transforms:
            - GaussianBlur: {blur_limit: [3, 5]}
            - RandomGamma

or what albumentations itself saves (`A.save(transform, "recipe.yaml", data_format="yaml")`). Only transforms of the
albumentations package are built, by a look-up in a table; nothing is imported by its name. Each image's draws are a pure
function of its key, so that neither workers nor their order change them.
"""

import difflib
import hashlib
import inspect
import json
import os
import random
import re
import threading
import traceback
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from translate import keyed_random
from translate.errors import UsageError
from translate.text import one_line

COMPOSITIONS = frozenset(["OneOf", "SomeOf", "RandomOrder", "OneOrOther", "Sequential"])
"""What may hold transforms. SelectiveChannelTransform may not: it changes the first image of a pair only."""

EXCLUDED_CLASSES = frozenset(
    ["BasicTransform", "DualTransform", "ImageOnlyTransform", "Lambda", "ToTensorV2", "ToTensor3D"]
)
"""Classes of albumentations that a recipe cannot use: bases, one that takes Python functions, makers of tensors."""

MAX_RECIPE_BYTES = 1 << 20
"""Bytes of a recipe, at most."""


@dataclass(frozen=True)
class AlbumentationsRecipe:
    """A checked recipe. It is plain data, so it travels to worker processes; they build the transforms themselves."""

    path: str
    steps: str
    """The transforms as JSON."""
    resizes: bool
    """Whether the result may have another size (`resizes: true` in the file)."""

    @property
    def digest(self) -> str:
        """Changes with what the recipe says, not with its comments, its layout or its place."""
        return hashlib.sha256(f"{self.steps} {self.resizes}".encode()).hexdigest()[:16]

    def __call__(self, images: Mapping[str, np.ndarray], key: int, labels: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Images (H, W, C) by name → the same names, channels and dtypes, all changed by the same draws.

        uint8, or uint16 or float32 in [0, 1] where every transform takes them. Those named in `labels` are label maps:
        geometry only, the nearest pixel. The draws are a function of key and names, so that {"a": …, "b": …}, a pair, is
        changed alike and {"a": …} and {"b": …}, which are none, are changed apart. The inputs stay as they are.
        """
        labels = frozenset(labels)
        kinds = tuple((name, "mask" if name in labels else "image") for name in images)
        for name, image in images.items():
            if image.dtype == np.float32 and (image.min() < 0 or image.max() > 1):  # transforms would clip it
                raise ValueError(
                    f"image {name} has values from {image.min()} to {image.max()}; float32 must be in [0, 1]"
                )
        targets = _targets(kinds)
        compose = _built(self, kinds)
        seed = keyed_random.derive_key(key, "albumentations", *sorted(images)) & ((1 << 63) - 1)
        # Not set_random_seed: that gives every transform the same seed, so that all of a recipe would draw alike.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        given = {targets[name]: image for name, image in images.items()}
        if "image" not in given:  # label maps alone; albumentations measures an image
            given["image"] = np.zeros((*next(iter(images.values())).shape[:2], 3), np.uint8)
        try:
            results = compose(**given)
        except Exception as e:  # cv2, numpy and albumentations raise a dozen kinds
            raise UsageError(
                f"{self.path}: {_culprit(e)} cannot be done to {_kind(images)}: {_line(e)}; remove it or mend its settings"
            ) from None
        return {name: self._checked(name, image, results[targets[name]]) for name, image in images.items()}

    def _checked(self, name: str, before: np.ndarray, after: Any) -> np.ndarray:
        """The result, whose type and shape must be the input's."""
        same = isinstance(after, np.ndarray) and after.dtype == before.dtype and after.shape[2:] == before.shape[2:]
        if not same:
            raise UsageError(
                f"{self.path}: it turns {_kind({name: before})} into {_kind({name: after})}; leave out what changes "
                f"the type or the channels (Normalize, ToFloat, ToRGB …)"
            )
        if after.shape != before.shape and not self.resizes:
            raise UsageError(
                f"{self.path}: it turns {_kind({name: before})} into {_kind({name: after})}; leave out what changes the "
                f"size, or say `resizes: true` in it"
            )
        return np.ascontiguousarray(after)


def load_recipe(path: str | os.PathLike[str]) -> AlbumentationsRecipe:
    """Reads and checks a recipe; UsageError says in one line what is wrong with it."""
    document = _read(Path(path))
    steps: Any = document
    resizes = False
    if isinstance(document, dict) and isinstance(document.get("transform"), dict):  # as albumentations saves it
        steps = [document["transform"]]
    elif isinstance(document, dict):
        extra = document.keys() - {"transforms", "resizes"}
        if extra:
            raise UsageError(
                f"{path}: unknown key {min(map(str, extra))!r}; a recipe has transforms, and may have resizes"
            )
        steps, resizes = document.get("transforms"), document.get("resizes", False)
    if not isinstance(steps, list) or not steps:
        raise UsageError(f"{path}: no transforms in it; write a list of them under `transforms:`")
    if not isinstance(resizes, bool):
        raise UsageError(f"{path}: resizes is {resizes!r}, but must be true or false")
    try:
        text = json.dumps(steps, sort_keys=True)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{path}: {_line(e)}; use numbers, texts, lists and mappings only") from None
    recipe = AlbumentationsRecipe(str(path), text, resizes)
    _built(recipe, (("image", "image"),))
    return recipe


def _read(path: Path) -> Any:
    """What a YAML file says, without making anything but numbers, texts, lists and mappings."""
    import yaml  # type: ignore[import-untyped]  # comes with albumentations

    class Loader(yaml.SafeLoader):
        """Without aliases: a few lines of them can stand for more values than there is memory."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases (*name) are not allowed")
            return super().compose_node(parent, index)

    remedy = "--albumentations takes a YAML file of transforms"
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: not a regular file; {remedy}")
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise UsageError(f"{path}: more than {MAX_RECIPE_BYTES} bytes; {remedy}")
        return yaml.load(path.read_text(encoding="utf-8"), Loader)  # a subclass of the safe one
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as e:
        raise UsageError(f"{path}: not a readable YAML file: {_line(e)}; {remedy}") from None


# Building. albumentations is imported here and nowhere else: it takes seconds.


def _albumentations() -> ModuleType:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks the network for its newest version
    import albumentations  # type: ignore[import-untyped]
    import cv2

    cv2.setNumThreads(1)  # several images at once are the workers' business
    return albumentations


_LOCAL = threading.local()
"""The transforms that each thread has built: they keep their draws in themselves, so threads cannot share them."""


def _built(recipe: AlbumentationsRecipe, kinds: tuple[tuple[str, str], ...]) -> Any:
    """The Compose for images of these names and kinds."""
    built: dict[Any, Any] = _LOCAL.__dict__.setdefault("built", {})
    if (recipe, kinds) not in built:
        a = _albumentations()
        steps = [_step(a, recipe.path, step) for step in json.loads(recipe.steps)]
        targets = _targets(kinds)
        built[recipe, kinds] = a.Compose(
            steps, additional_targets={targets[name]: kind for name, kind in kinds if targets[name] != "image"}
        )
    return built[recipe, kinds]


def _targets(kinds: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Our names → albumentations': its first image must be called so, the others must not be names that it knows."""
    targets: dict[str, str] = {}
    for name, kind in kinds:
        targets[name] = "image" if kind == "image" and "image" not in targets.values() else f"also {name}"
    return targets


def _step(a: ModuleType, path: str, step: Any) -> Any:
    """One transform from its name, {name: arguments}, or albumentations' own form."""
    if isinstance(step, dict) and isinstance(step.get("__class_fullname__"), str):
        name = step["__class_fullname__"]
        arguments = {key: value for key, value in step.items() if key != "__class_fullname__"}
        if name == "Compose":  # its other settings are about boxes and points
            name, arguments = "Sequential", {key: arguments[key] for key in ("transforms", "p") if key in arguments}
    elif isinstance(step, dict) and len(step) == 1:
        name, arguments = next(iter(step.items()))
        arguments = {} if arguments is None else arguments
    else:
        name, arguments = step, {}
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UsageError(
            f"{path}: {step!r} is no transform; write its name, or its name and arguments: `Blur: {{p: 0.5}}`"
        )
    known = _transforms(a)
    if name not in known:
        raise UsageError(f"{path}: albumentations has no transform {name!r} that can be used here{_near(name, known)}")
    takes = [parameter for parameter in inspect.signature(known[name]).parameters if parameter != "strict"]
    for key in arguments:
        if key not in takes and "__class_fullname__" not in step:  # albumentations saves some that it does not take
            raise UsageError(f"{path}: {name} has no argument {key!r}{_near(key, takes)}")
    arguments = {key: _constant(value) for key, value in arguments.items() if key in takes}
    if name in COMPOSITIONS:
        inner = arguments.get("transforms")
        if not isinstance(inner, list) or not inner:
            raise UsageError(f"{path}: {name} needs a list of transforms")
        arguments["transforms"] = [_step(a, path, each) for each in inner]
    elif "InitSchema" in vars(known[name]):
        arguments["strict"] = True  # else it may fall back on its defaults and only warn
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to use another transform
            return known[name](**arguments)
    except Exception as e:  # pydantic's and many others
        raise UsageError(f"{path}: {name}: {_line(e)}") from None


def _transforms(a: ModuleType) -> dict[str, type]:
    """The classes that a recipe may use, by name."""
    found = {name: value for name, value in vars(a).items() if inspect.isclass(value) and name not in EXCLUDED_CLASSES}
    return {
        name: value for name, value in found.items()
        if name in COMPOSITIONS or (issubclass(value, a.BasicTransform) and not issubclass(value, a.Transform3D))
    }  # fmt: skip


def _constant(value: Any) -> Any:
    """cv2.BORDER_REFLECT_101 and cv2.INTER_CUBIC instead of the numbers that albumentations takes."""
    if isinstance(value, str) and re.fullmatch(r"cv2\.(BORDER|INTER)_[A-Z0-9_]+", value):
        import cv2

        return getattr(cv2, value[4:], value)
    return value


# Words.


def _near(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; see albumentations.ai/docs for what there is"


def _kind(images: Mapping[str, Any]) -> str:
    """Types and shapes, in words."""
    each = [f"{i.dtype} {i.shape}" if isinstance(i, np.ndarray) else type(i).__name__ for i in images.values()]
    return " and ".join(dict.fromkeys(each))


def _line(error: Exception) -> str:
    """An error's text in one line of bearable length."""
    text = str(error)
    errors = getattr(error.__cause__, "errors", None)
    if errors is not None:  # pydantic's
        text = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in errors())
    return one_line(text) if text else type(error).__name__


def _culprit(error: Exception) -> str:
    """The transform in which an error was raised."""
    from albumentations import BasicTransform

    found = "a transform"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(frame.f_locals.get("self"), BasicTransform):
            found = type(frame.f_locals["self"]).__name__
    return found

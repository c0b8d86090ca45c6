"""Augmentation on the CPU by a user's albumentations recipe, for `--albumentations recipe.yaml`.

A recipe is a list of transforms by name:

    transforms:
      - HorizontalFlip: {p: 0.5}
      - OneOf:
          p: 0.3
          transforms:
            - GaussianBlur: {blur_limit: [3, 5]}
            - RandomGamma

or what albumentations itself saves (`A.save(transform, "recipe.yaml", data_format="yaml")`). Only transforms of the
albumentations package are built, by look-up in a table; nothing is imported by name. Each image's draws are a pure function of
its key, so that the number and order of workers do not change them.
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
"""Classes that may hold transforms. SelectiveChannelTransform may not: it changes the first image of a pair only."""

EXCLUDED_CLASSES = frozenset(
    ["BasicTransform", "DualTransform", "ImageOnlyTransform", "Lambda", "ToTensorV2", "ToTensor3D"]
)
"""Classes of albumentations that a recipe cannot use: base classes, one that takes Python functions, tensor conversions."""

MAX_RECIPE_BYTES = 1 << 20
"""Largest size of a recipe file in bytes."""


@dataclass(frozen=True)
class AlbumentationsRecipe:
    """Checked recipe of albumentations transforms.

    It is plain data, so that it can be sent to worker processes, which build the transforms themselves.
    """

    path: str
    steps: str
    """Transforms as JSON."""
    resizes: bool
    """Permission for results of another size (`resizes: true` in the file)."""

    @property
    def digest(self) -> str:
        """Hash of the transforms, the same whatever the file's comments, layout and path: 16 hexadecimal digits."""
        return hashlib.sha256(f"{self.steps} {self.resizes}".encode()).hexdigest()[:16]

    def __call__(
        self, images: Mapping[str, np.ndarray], key: int, label_maps: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """Augment images (H, W, C), uint8, or uint16 or float32 in [0, 1] where every transform takes them.

        All are changed by the same draws, a function of key and names: {"a": …, "b": …}, a pair, is changed alike, and {"a": …}
        and {"b": …}, which are none, are changed independently. Images named in `label_maps` are masks, beside an image: they
        move by the nearest pixel and keep their values. The inputs are not modified. Raise ValueError for float32
        outside [0, 1], and UsageError where a transform fails, or changes type, channels or, unless `resizes`, size.
        """
        for name, image in images.items():
            if image.dtype == np.float32 and (image.min() < 0 or image.max() > 1):  # transforms would clip it
                raise ValueError(
                    f"image {name} has values from {image.min()} to {image.max()}; float32 must be in [0, 1]"
                )
        targets = _targets(tuple(images), label_maps)
        compose = _compose(self, tuple(images), label_maps)
        seed = keyed_random.derive_key(key, "albumentations", *sorted(images)) & ((1 << 63) - 1)
        # Not set_random_seed: it gives every transform the same seed, so that all transforms of a recipe would draw alike.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            results = compose(**{targets[name]: image for name, image in images.items()})
        except Exception as e:  # cv2, numpy and albumentations raise a dozen kinds
            raise UsageError(
                f"{self.path}: {_failed_transform(e)} cannot be applied to {_describe(images)}: {_one_line(e)}; "
                f"remove it or change its settings"
            ) from None
        return {name: self._checked(name, image, results[targets[name]]) for name, image in images.items()}

    def _checked(self, name: str, before: np.ndarray, after: Any) -> np.ndarray:
        """Return the result as a contiguous array; UsageError unless its type and shape are the input's."""
        same = isinstance(after, np.ndarray) and after.dtype == before.dtype and after.shape[2:] == before.shape[2:]
        if not same:
            raise UsageError(
                f"{self.path}: it turns {_describe({name: before})} into {_describe({name: after})}; remove what changes "
                f"the type or the channels (Normalize, ToFloat, ToRGB …)"
            )
        if after.shape != before.shape and not self.resizes:
            raise UsageError(
                f"{self.path}: it turns {_describe({name: before})} into {_describe({name: after})}; remove what changes the "
                f"size, or write `resizes: true` in it"
            )
        return np.ascontiguousarray(after)


def load_recipe(path: str | os.PathLike[str]) -> AlbumentationsRecipe:
    """Read and check a recipe; UsageError gives its fault in one line."""
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
        raise UsageError(f"{path}: {_one_line(e)}; use numbers, strings, lists and mappings only") from None
    recipe = AlbumentationsRecipe(str(path), text, resizes)
    _compose(recipe, ("image",))
    return recipe


def _read(path: Path) -> Any:
    """Read a YAML file; nothing but numbers, strings, lists and mappings is built."""
    import yaml  # type: ignore[import-untyped]  # comes with albumentations

    class RecipeYamlLoader(yaml.SafeLoader):
        """Safe loader without aliases: a few lines of them can stand for more values than memory holds."""

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
        return yaml.load(path.read_text(encoding="utf-8"), RecipeYamlLoader)  # a subclass of the safe one
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as e:
        raise UsageError(f"{path}: not a readable YAML file: {_one_line(e)}; {remedy}") from None


# Building. albumentations is imported here and nowhere else: it takes seconds.


def _albumentations() -> ModuleType:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks the network for its newest version
    import albumentations  # type: ignore[import-untyped]
    import cv2

    cv2.setNumThreads(1)  # the workers augment several images at once
    return albumentations


_LOCAL = threading.local()
"""Transforms that each thread has built: they hold the state of their draws, so threads cannot share them."""


def _compose(recipe: AlbumentationsRecipe, names: tuple[str, ...], label_maps: tuple[str, ...] = ()) -> Any:
    """Build the Compose for images of these names, or return the one that this thread has built."""
    built: dict[Any, Any] = _LOCAL.__dict__.setdefault("built", {})
    if (recipe, names, label_maps) not in built:
        a = _albumentations()
        steps = [_build_transform(a, recipe.path, step) for step in json.loads(recipe.steps)]
        targets = _targets(names, label_maps)
        built[recipe, names, label_maps] = a.Compose(
            steps,
            additional_targets={
                target: "mask" if name in label_maps else "image"
                for name, target in targets.items()
                if target != "image"
            },
        )
    return built[recipe, names, label_maps]


def _targets(names: tuple[str, ...], label_maps: tuple[str, ...] = ()) -> dict[str, str]:
    """Map names of images to albumentations' targets: the first image must be "image", the others none of its own names."""
    first = next(name for name in names if name not in label_maps)
    return {name: "image" if name == first else f"also {name}" for name in names}


def _parse_step(path: str, step: Any) -> tuple[str, dict[str, Any]]:
    """Split a step of a recipe into the name of a transform and its arguments; UsageError where it is neither form."""
    if isinstance(step, dict) and isinstance(step.get("__class_fullname__"), str):
        name = step["__class_fullname__"]
        arguments = {key: value for key, value in step.items() if key != "__class_fullname__"}
        if name == "Compose":  # its other settings concern boxes and points
            name, arguments = "Sequential", {key: arguments[key] for key in ("transforms", "p") if key in arguments}
    elif isinstance(step, dict) and len(step) == 1:
        name, arguments = next(iter(step.items()))
        arguments = {} if arguments is None else arguments
    else:
        name, arguments = step, {}
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UsageError(
            f"{path}: {step!r} is not a transform; write its name, or its name and arguments: `Blur: {{p: 0.5}}`"
        )
    return name, arguments


def _build_transform(a: ModuleType, path: str, step: Any) -> Any:
    """Build one transform from its name, {name: arguments}, or albumentations' own form."""
    name, arguments = _parse_step(path, step)
    known = _usable_transforms(a)
    if name not in known:
        raise UsageError(
            f"{path}: albumentations has no transform {name!r} that can be used here{_suggest(name, known)}"
        )
    accepted = [parameter for parameter in inspect.signature(known[name]).parameters if parameter != "strict"]
    for key in arguments:
        # What albumentations saves may hold arguments that it does not accept.
        if key not in accepted and "__class_fullname__" not in step:
            raise UsageError(f"{path}: {name} has no argument {key!r}{_suggest(key, accepted)}")
    arguments = {key: _constant(value) for key, value in arguments.items() if key in accepted}
    if name in COMPOSITIONS:
        inner = arguments.get("transforms")
        if not isinstance(inner, list) or not inner:
            raise UsageError(f"{path}: {name} needs a list of transforms")
        arguments["transforms"] = [_build_transform(a, path, each) for each in inner]
    elif "InitSchema" in vars(known[name]):
        arguments["strict"] = True  # else it may use its defaults and only warn
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to use another transform
            return known[name](**arguments)
    except Exception as e:  # pydantic's and many others
        raise UsageError(f"{path}: {name}: {_one_line(e)}") from None


def _usable_transforms(a: ModuleType) -> dict[str, type]:
    """Classes that a recipe may use, by name."""
    found = {name: value for name, value in vars(a).items() if inspect.isclass(value) and name not in EXCLUDED_CLASSES}
    return {
        name: value for name, value in found.items()
        if name in COMPOSITIONS or (issubclass(value, a.BasicTransform) and not issubclass(value, a.Transform3D))
    }  # fmt: skip


def _constant(value: Any) -> Any:
    """Replace a string such as cv2.BORDER_REFLECT_101 or cv2.INTER_CUBIC by the number that albumentations accepts."""
    if isinstance(value, str) and re.fullmatch(r"cv2\.(BORDER|INTER)_[A-Z0-9_]+", value):
        import cv2

        return getattr(cv2, value[4:], value)
    return value


# Messages.


def _suggest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; see albumentations.ai/docs for a list"


def _describe(images: Mapping[str, Any]) -> str:
    """Types and shapes of images, for messages."""
    each = [f"{i.dtype} {i.shape}" if isinstance(i, np.ndarray) else type(i).__name__ for i in images.values()]
    return " and ".join(dict.fromkeys(each))


def _one_line(error: Exception) -> str:
    """Message of an error on one line, of at most 200 characters."""
    text = str(error)
    errors = getattr(error.__cause__, "errors", None)
    if errors is not None:  # pydantic's
        text = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in errors())
    return one_line(text) if text else type(error).__name__


def _failed_transform(error: Exception) -> str:
    """Name of the transform in which an error was raised."""
    from albumentations import BasicTransform

    found = "a transform"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(frame.f_locals.get("self"), BasicTransform):
            found = type(frame.f_locals["self"]).__name__
    return found

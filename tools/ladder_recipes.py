"""Tables of the ladder: its sets, recipes and stages, and the settings of a training that follow from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from translate import load_plugin
from translate.api.presets import with_load_size
from translate.config import FLAGS, TrainConfig, resolve
from translate.errors import UsageError
from translate.evaluation.extractors import EXTRACTORS
from translate.evaluation.metrics import METRICS
from translate.methods import Method, find
from translate.text import flag_name, one_line

Settings = dict[str, Any]
"""Settings of a training by name."""


@dataclass(frozen=True)
class LadderSet:
    """Data set of the ladder. Every recipe sees the same crops of it, and is evaluated on whole test images."""

    load_size: int = 128
    """Side in pixels of training images before the crop, and of test images."""
    crop_size: int = 64
    """Side in pixels of the crops."""
    channels: int = 3
    """Channels of both domains."""
    truth: str | None = None
    """"side by side" or "names": how the true image of each test image is known; None: it is not."""

    @property
    def settings(self) -> Settings:
        """Settings of a training on the set."""
        return {
            "load_size": self.load_size, "crop_size": self.crop_size,
            "input_channels": self.channels, "output_channels": self.channels,
        }  # fmt: skip


SETS: dict[str, LadderSet] = {
    "earth_season": LadderSet(truth="names"),
    "earth_map": LadderSet(truth="side by side"),
    "emoji_flat2three": LadderSet(truth="side by side"),
    "sneaker2boot": LadderSet(load_size=32, crop_size=32, channels=1),
    "land_color": LadderSet(truth="side by side"),
    "land_desert": LadderSet(),
    "openmoji_color": LadderSet(truth="side by side"),
    "avatar_hair": LadderSet(load_size=64, truth="names"),
    "avatar_glasses": LadderSet(load_size=64, truth="names"),
}
"""Data sets by the name of their folder."""

Pair = tuple[str, str]
"""A set and the method that is trained on it."""

PAIRS: tuple[Pair, ...] = (
    ("earth_season", "cyclegan"),
    ("earth_map", "pix2pix"),
    ("earth_map", "cyclegan"),  # its two domains drawn apart
    ("emoji_flat2three", "pix2pix"),
    ("emoji_flat2three", "cyclegan"),
    ("sneaker2boot", "cyclegan"),
    ("land_color", "pix2pix"),
    ("land_desert", "cyclegan"),
    ("openmoji_color", "pix2pix"),
    ("avatar_hair", "cyclegan"),
    ("avatar_glasses", "cyclegan"),
)

SHARED_LENGTH = 1_000_000
"""Images of the trainings whose lengths are compared."""

COMMON: Settings = {"threads": 1, "device": "cpu", "loader": "resident", "log_every": 500}
"""Settings of every training; the resident loader has no processes of its own."""


@dataclass(frozen=True)
class LadderRecipe:
    """Recipe of the ladder: a preset, and what is changed in it. Sizes and channels are those of the set."""

    preset: str
    settings: Settings = field(default_factory=dict)
    """Settings for all its methods."""
    by_method: Mapping[str, Settings] = field(default_factory=dict)
    """Further settings for one method."""
    decay_share: Mapping[str, float] = field(default_factory=dict)
    """Share of the training over which the learning rate falls, by method [default: that of the preset]."""
    methods: tuple[str, ...] = ("pix2pix", "cyclegan")
    """Methods that have it."""
    plugins: tuple[str, ...] = ()
    """Plug-ins of this folder that it needs: what it tries is not in the package yet."""
    trains: Mapping[str, str] = field(default_factory=dict)
    """Methods that are trained in the place of its methods: {"pix2pix": "pix2pix-elements"}."""
    length_shares: Mapping[str, float] = field(default_factory=dict)
    """Settings that are this share of the training's images."""

    def settings_of(self, method: str) -> Settings:
        """Return the settings for a method."""
        return {**self.settings, **self.by_method.get(method, {})}

    @property
    def plugin_files(self) -> list[Path]:
        """Files of the plug-ins."""
        return [Path(__file__).with_name(name) for name in self.plugins]

    def trained_method(self, method: str) -> str:
        """Return the name of the method that is trained for a method."""
        return self.trains.get(method, method)


_RUNNING_BATCH_NORM: Settings = {"norm": "batch", "norm_statistics": "running"}


def _element(methods: tuple[str, ...] = ("pix2pix", "cyclegan"), **settings: Any) -> LadderRecipe:
    """Return `modern` with a single change."""
    return LadderRecipe("modern", settings, methods=methods)


def _network(settings: Settings | None = None, by_method: Mapping[str, Settings] | None = None) -> LadderRecipe:
    """Return `modern` with a network of ladder_networks.py."""
    return LadderRecipe("modern", settings or {}, by_method or {}, plugins=("ladder_networks.py",))


def _variant(
    methods: tuple[str, ...] = ("pix2pix", "cyclegan"),
    length_shares: Mapping[str, float] | None = None,
    **settings: Any,
) -> LadderRecipe:
    """Return `modern` with a single change that the methods of ladder_variants.py have."""
    return LadderRecipe(
        "modern", settings, methods=methods, plugins=("ladder_variants.py",), length_shares=length_shares or {},
        trains={method: f"{method}-elements" for method in methods},
    )  # fmt: skip


def _decay(share: float) -> LadderRecipe:
    """Return `modern` with another share of the training over which the learning rate falls."""
    return LadderRecipe("modern", decay_share={"pix2pix": share, "cyclegan": share})


MAIN: dict[str, LadderRecipe] = {
    # the commands of docs/results.md
    "paper": LadderRecipe(
        "paper",
        _RUNNING_BATCH_NORM,
        {
            "pix2pix": {
                "batch_size": 16, "g_width": 24, "d_width": 24, "dropout": False, "lr": 5e-4, "lambda_l1": 300.0,
            },
            "cyclegan": {
                "batch_size": 4, "generator": "unet_16", "g_width": 16, "discriminator": "n_layers", "d_layers": 2,
                "d_width": 32, "lr": 1e-3, "lambda_cycle": 5.0,
            },
        },
        {"pix2pix": 0.5, "cyclegan": 0.7},
    ),
    "modern": LadderRecipe("modern"),
    "quick": LadderRecipe("quick"),
}  # fmt: skip
"""Recipes that are compared on all sets."""

ELEMENTS: dict[str, LadderRecipe] = {
    "modern-lsgan": _element(adversarial="lsgan"),
    "modern-relativistic": _element(adversarial="relativistic", norm="instance"),  # its penalty is of single images
    "modern-projected-alone": _element(discriminator="projected"),
    "modern-lite2": _element(features="efficientnet-lite2"),
    "modern-instance-norm": _element(norm="instance"),
    "modern-batch-16": _element(batch_size=16),
    "modern-ema-3000": _element(ema_half_life=3000),
    "modern-augmented-colour": _element(diffaugment="color,translation,cutout"),
    "modern-decay-all": _decay(1.0),
    "modern-decay-quarter": _decay(0.25),
    "modern-4-levels": _element(("cyclegan",), generator="resize_unet_4levels_2blocks"),
    "modern-identity": _element(("cyclegan",), lambda_identity=0.5),
    "modern-cycle-5": _element(("cyclegan",), lambda_cycle=5.0),
    "modern-no-colour-start": _element(("cyclegan",), colour_start=False),
    "modern-tanh": _element(("cyclegan",), residual=False, colour_start=False),
    "modern-residual": _element(("pix2pix",), residual=True),
    "modern-colour-start": _element(("pix2pix",), residual=True, colour_start=True),
    "modern-light-content": _element(("pix2pix",), lambda_l1=2.5, lambda_lowpass=10.0),
    "modern-no-lowpass": _element(("pix2pix",), lambda_lowpass=0.0),
    "modern-no-features": _element(("pix2pix",), lambda_features=0.0),
    "modern-perceptual": _element(("pix2pix",), lambda_perceptual=1.0),
    # Johnson 2016: texture may move a little on the way back; the weight is to that of L1 as in pix2pix
    "modern-cycle-features": _element(("cyclegan",), lambda_features=0.2),
    "modern-cycle-features-alone": _element(("cyclegan",), lambda_features=0.2, lambda_cycle=0.0),
    # Kumari 2022, Vision-aided GAN: a classifier's features say more than random mixtures of them
    "modern-vision-aided": _network({"discriminator": "vision_aided+pixel"}),
    # Sauer 2021, the authors' code: small images are enlarged, so that maps are finer and features as in their training
    "modern-features-x2": _network({"discriminator": "projected_x2+pixel"}),
    # Odena 2016: repeated pixels leave stripes in flat colour
    "modern-bilinear": _network(
        by_method={
            "cyclegan": {"generator": "resize_unet_3levels_2blocks_bilinear"},
            "pix2pix": {"generator": "resize_unet_4levels_2blocks_2last_bilinear"},
        }
    ),
    # Park 2020, CUT, with two encoders as Han 2021: layout stays where the cycle alone lets it go
    "modern-patchnce": _variant(("cyclegan",), lambda_nce=1.0),
    # the projected heads alone had the better KID, the pixel discriminator the better texture: half of it
    "modern-half-pixel": _variant(pixel_weight=0.5),
    # the colour map alone is nearer to the truth than what training makes of it: let go of it slowly
    "modern-anchor": _variant(("cyclegan",), {"anchor_images": 1.0}, lambda_anchor=1.0),
    # Mescheder 2018, lazy as Karras 2020: heads without norms have no bound; on maps of frozen features it is cheap
    "modern-map-r1": _variant(lambda_map_penalty=1.0),
    # Huang 2024: the relativistic loss needs R1 and R2; on maps they go with batch norm in the generator
    "modern-relativistic-map-r1": _variant(adversarial="relativistic", lambda_map_penalty=1.0),
    # Torbunov 2023, UVCGAN: generators that can draw their domain before the game begins
    "modern-inpainting": _variant(("cyclegan",), {"inpainting_images": 0.2}),
    # Karras 2018 and most GANs since: momentum averages over a game that moves on
    "modern-beta1-0": _variant(beta1=0.0),
}
"""`modern` with single changes. To try another one, add its row; what has no setting yet is in ladder_networks.py and
ladder_variants.py."""

OTHER_METHODS: dict[str, LadderRecipe] = {
    "pix2pixhd": LadderRecipe("quick", methods=("pix2pix",), trains={"pix2pix": "pix2pixhd"}),
}
"""Small presets of other methods on the sets of a method, each compared with its `paper`."""

RECIPES = MAIN | ELEMENTS | OTHER_METHODS


@dataclass(frozen=True)
class Stage:
    """Part of the ladder: some recipes on some sets for equal CPU time."""

    seconds: float
    """CPU seconds of each training."""
    pairs: Sequence[Pair]
    recipes: Sequence[str]


ELEMENT_PAIRS: tuple[Pair, ...] = (
    ("earth_season", "cyclegan"),
    ("avatar_hair", "cyclegan"),
    ("earth_map", "cyclegan"),
    ("earth_map", "pix2pix"),
    ("emoji_flat2three", "pix2pix"),
    ("land_color", "pix2pix"),
)
"""Three sets for each method."""
STAGES: dict[str, Stage] = {
    "main": Stage(120, PAIRS, tuple(MAIN)),
    "elements": Stage(120, ELEMENT_PAIRS, tuple(ELEMENTS)),
    "methods": Stage(120, (("earth_map", "pix2pix"), ("openmoji_color", "pix2pix")), ("paper", *OTHER_METHODS)),
    "ten-minutes": Stage(600, (*ELEMENT_PAIRS[:2], ("land_color", "pix2pix")), tuple(MAIN)),
    "hour": Stage(
        3600,
        (
            ("avatar_hair", "cyclegan"),
            ("avatar_glasses", "cyclegan"),
            ("land_desert", "cyclegan"),
            ("emoji_flat2three", "pix2pix"),
            ("earth_map", "pix2pix"),
        ),
        tuple(MAIN),
    ),
}
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One training of the ladder."""

    set: str
    method: str
    recipe: str
    budget: float
    """CPU seconds of the training."""
    seed: int

    @property
    def name(self) -> str:
        """Name for files."""
        return f"{self.set}-{self.method}-{self.recipe}-{self.budget:g}s-{self.seed}"


def stage_cells(stage: Stage, seconds: float | None = None) -> Iterator[Cell]:
    """Yield the cells of a stage, all recipes of a seed before the next seed; `seconds` replace those of the stage."""
    for seed in SEEDS:
        for data, method in stage.pairs:
            for recipe in stage.recipes:
                if method in RECIPES[recipe].methods:
                    yield Cell(data, method, recipe, seconds or stage.seconds, seed)


def training_settings(cell: Cell) -> Settings:
    """Return the settings of a cell's training, without its length."""
    own = RECIPES[cell.recipe].settings_of(cell.method)
    return {**COMMON, **SETS[cell.set].settings, **own, "seed": cell.seed}


def length_settings(cell: Cell, images: int) -> Settings:
    """Return the settings of the length of a training: the rate is flat, then falls to zero over the recipe's share."""
    shares = {"decay_images": decay_share(cell), **RECIPES[cell.recipe].length_shares}
    return {"images": images, **{name: round(images * share) for name, share in shares.items()}}


def decay_share(cell: Cell) -> float:
    """Return the share of a training over which the learning rate falls."""
    given = RECIPES[cell.recipe].decay_share.get(cell.method)
    if given is not None:
        return given
    cls = method_class(RECIPES[cell.recipe], cell.method)
    preset = cls.presets[RECIPES[cell.recipe].preset]
    if "images" in preset:
        return preset.get("decay_images", 0) / preset["images"]
    cfg = resolve(cls.Config, ("preset", preset))
    return cfg.decay_epochs / (cfg.epochs + cfg.decay_epochs)


def resolve_settings(cell: Cell) -> TrainConfig:
    """Return the checked settings of a cell. UsageError, in one line, for what this version of the package does not have."""
    found = _resolve(cell.method, cell.recipe, replace(SETS[cell.set], truth=None))
    if isinstance(found, str):
        raise UsageError(found)
    return replace(found, seed=cell.seed)


@cache
def _resolve(method: str, name: str, data: LadderSet) -> TrainConfig | str:
    """Return the checked settings of a recipe on sets of one kind, or why there are none; a check builds networks."""
    recipe = RECIPES[name]
    cls = method_class(recipe, method)
    if recipe.preset not in cls.presets:
        return f"this version's {method} has no preset {recipe.preset}"
    settings = {**cls.presets[recipe.preset], "load_size": None}
    given = {**COMMON, **data.settings, **recipe.settings_of(method)}
    try:
        return cls.resolve_config(with_load_size(resolve(cls.Config, (recipe.preset, settings), (FLAGS, given))))
    except UsageError as e:
        return one_line(e)


def method_class(recipe: LadderRecipe, method: str) -> type[Method[Any]]:
    """Return the class that a recipe trains for a method; its plug-ins are loaded."""
    for file in recipe.plugin_files:
        load_plugin(file)
    cls = find(recipe.trained_method(method))
    assert cls is not None, "the tables name methods that there are"
    return cls


def why_unavailable(cell: Cell, sets: Path) -> str:
    """Return why a cell is not computed here, in one line; empty if it is."""
    if not (sets / cell.set).is_dir():
        return f"{sets / cell.set}: no such folder; translate data get {cell.set} makes it, or give --sets DIR"
    try:
        other = equal_recipe(cell)
    except UsageError as e:
        return str(e)
    return f"{cell.recipe} has the settings of {other} on these sets with {cell.method}" if other else ""


def equal_recipe(cell: Cell) -> str | None:
    """Return the first of the recipes before a cell's that has the same settings on its set; None if there is none.

    UsageError, in one line, for what this version of the package does not have.
    """
    settings = resolve_settings(cell)
    for other in takewhile(lambda name: name != cell.recipe, RECIPES):
        if cell.method in RECIPES[other].methods and _is_equal(settings, cell, replace(cell, recipe=other)):
            return other
    return None


def compared_cells(cell: Cell) -> list[Cell]:
    """Return the cells that a cell is compared with, so that all are trained on one kind of processor.

    They are the main recipes of its seed, `modern` for a single change of it, or `paper` for another method.
    """
    if cell.recipe not in MAIN:
        return [replace(cell, recipe="modern" if cell.recipe in ELEMENTS else "paper")]
    others = [replace(cell, recipe=name) for name in MAIN if name != cell.recipe]
    return [other for other in others if cell.method in RECIPES[other.recipe].methods and equal_recipe(other) is None]


def _is_equal(settings: TrainConfig, cell: Cell, other: Cell) -> bool:
    """Return whether another recipe has the same settings, apart from the length of its preset, and shares of the length.

    Settings of two methods are never the same.
    """
    length: Settings = {"images": None, "decay_images": 0}
    try:
        same = replace(settings, **length) == replace(resolve_settings(other), **length)
    except UsageError:
        return False
    return same and length_settings(cell, SHARED_LENGTH) == length_settings(other, SHARED_LENGTH)


def command_words(cell: Cell, root: Path, run: Path, length: Settings) -> list[str]:
    """Return the words of `translate` that train a cell."""
    recipe = RECIPES[cell.recipe]
    words = ["train", recipe.trained_method(cell.method), str(root), "--run", str(run)]
    words += [word for file in recipe.plugin_files for word in ("--plugin", str(file))]
    words += ["--preset", recipe.preset] if recipe.preset != "paper" else []
    return words + flag_words({**length, **training_settings(cell)})


def flag_words(settings: Settings) -> list[str]:
    """Return settings as flags of the command line."""
    return [word for name, value in settings.items() for word in (flag_name(name), _flag_value(value))]


def _flag_value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Measure:
    """Metrics of `evaluate` that are computed by one call."""

    metrics: tuple[str, ...]
    """Rows of METRICS."""
    extractor: str | None = None
    """Row of EXTRACTORS."""
    needs_truth: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Names in the ladder of keys that would stand twice."""

    @property
    def why_missing(self) -> str:
        """Why this version cannot compute it, in one line; empty if it can."""
        for name in self.metrics:
            if name not in METRICS:
                return f"this version has no metric {name}"
        if self.extractor is not None and self.extractor not in EXTRACTORS:
            return f"this version has no extractor {self.extractor}"
        return ""


MEASURES: tuple[Measure, ...] = (
    Measure(("kid",), "efficientnet-lite0", renamed={"kid": "kid_el0"}),
    Measure(("kid",), "thin-resnet50", renamed={"kid": "kid_r50"}),
    Measure(("swd",)),
    Measure(("l1", "psnr", "ssim"), needs_truth=True),
    Measure(("log_checkerboard",)),
    Measure(("colour",)),
    Measure(("c2st",)),
)
REFERENCES = ("copying", "colour_map", "real")
"""References that `evaluate` gives beside a model's metrics: lines of their own, one a set and machine."""

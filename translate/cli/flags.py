"""Command-line flags made from dataclasses of options, so that an option is declared once (`config.option`)."""

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from translate.config import ON_OFF, option
from translate.text import flag_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

GROUP_ORDER = (
    "Arguments", "Common", "Run", "Data", "Length", "Networks", "Losses", "Images", "Metrics", "Translation", "Input", "Output",
    "Server", "Limits", "Speed", "Logging", "Validation", "Parameters",
)  # fmt: skip
"""Groups of flags, in the order in which help shows them."""

GROUPS = {name: Group(name, sort_key=place) for place, name in enumerate(GROUP_ORDER)}

APP_GROUPS: dict[str, Any] = {"group_arguments": GROUPS["Arguments"], "group_parameters": GROUPS["Parameters"]}
"""Default groups of every App, so that they have their place in the order."""

JSON = Parameter(
    help="print one JSON object on stdout [default: off]", show_default=False, negative=(), group=GROUPS["Output"]
)
"""The flag of the commands that print for programs."""

MODEL_HELP = (
    "run (RUN: its newest model; RUN@N: the one kept after N images; RUN/model-best: the best), model folder, .pth of the "
    "reference, .onnx file, or hf://user/name; names are looked up in checkpoints/"
)
"""Help of the argument MODEL."""

DROPOUT = Parameter(
    help="on or off: dropout in the conversion [default: as the model says]", group=GROUPS["Translation"]
)
NORM_STATISTICS = Parameter(
    help="statistics for batch norm: sample (each image's own) or running (averages over training) "
    "[default: as the model says]",
    group=GROUPS["Translation"],
)
"""The flags of the commands that change how the networks of a model behave."""


@dataclass(frozen=True)
class DeviceOptions:
    """Options of the commands that run a trained model."""

    device: str = option("auto", "device to run on: auto, cpu, cuda, cuda:N or mps", group="Speed")
    precision: str = option("fp32", "arithmetic: auto, fp32, bf16, fp16 or fp64", group="Speed")
    convolution: str = option(
        "auto",
        "how convolutions are computed on a CPU; auto takes the fastest way of each shape, as --tune finds it",
        choices=("auto", "direct", "winograd"),
        group="Speed",
    )
    tune: str = option(
        "fast", "what --convolution auto times, once on each machine: off nothing, fast a few ways (seconds), full all of them",
        choices=("off", "fast", "full"), group="Speed",
    )  # fmt: skip


def take_device_options(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields of DeviceOptions from a command's options; return those that were given."""
    taken = {f.name: options.pop(f.name, None) for f in fields(DeviceOptions)}
    return {name: value for name, value in taken.items() if value is not None}


def flag_parameters(
    options: "type[DataclassInstance]",
    *,
    switches: bool = False,
    with_defaults: bool = True,
    common: Container[str] = (),
    names: Mapping[str, str] | None = None,
) -> list[inspect.Parameter]:
    """Return a keyword parameter for each option of a dataclass; None, its default, means that the flag was not given.

    Options that are on or off take that word (`--flip off`), or none if they are switches, as all are with `switches`
    (`--overwrite`, `--no-mark`). Those in `common` are shown first in the help, which leaves defaults out unless
    `with_defaults`. `names`: flags that differ from the option's name.
    """
    hints = typing.get_type_hints(options)
    parameters = []
    for f in fields(options):
        group = "Common" if f.name in common else f.metadata["group"]
        flag = (names or {}).get(f.name, flag_name(f.name))
        is_switch = switches or f.metadata["switch"]
        hint: Any = _flag_type(f, hints[f.name], is_switch)
        has_negative = f.default is True if switches else f.metadata["switch"]
        negative = "--no-" + flag.removeprefix("--") if is_switch and has_negative else ()
        described = Parameter(
            flag,
            help=_help_text(f, with_defaults),
            show_default=False,
            negative=negative,
            group=GROUPS[group] if group else None,
        )
        parameters.append(
            inspect.Parameter(
                f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[hint | None, described]
            )
        )
    return parameters


def _flag_type(f: Field[Any], hint: Any, switches: bool) -> Any:
    """Return the type by which a flag's words are read."""
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not types.NoneType]
    if bool in kinds:
        return bool if switches else Literal[tuple(ON_OFF)]
    if f.metadata["choices"] and not f.metadata["accepts"] and kinds == [str]:
        return Literal[tuple(f.metadata["choices"])]
    if Path in kinds:  # str beside it is for Python
        return Path
    return functools.reduce(operator.or_, kinds)


def _help_text(f: Field[Any], with_default: bool) -> str:
    """Return the help of an option with its choices and its default, which is added where the text itself does not say it."""
    text, bracket, default = f.metadata["help"].partition(" [default: ")
    if f.metadata["accepts"]:
        text += ", such as " + ", ".join(filter(None, f.metadata["choices"]))
    if not with_default:
        return text
    if bracket:
        return text + bracket + default
    words = {True: "on", False: "off"}
    return f"{text} [default: {words[f.default] if isinstance(f.default, bool) else f.default}]"


def with_flags(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> Callable[..., Any]:
    """Return the function with the flags in place of its `**options`."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]

    def command(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    signature = inspect.Signature([*own, *parameters])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__doc__ = function.__doc__
    return command

"""`translate train METHOD ROOT`: one subcommand for each method, its flags read off the method's config."""

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from translate import api
from translate.config import ON_OFF
from translate.methods import METHODS

app = App(name="train", help="Train a method on a folder. The same command again resumes.")


def flag_parameters(config: type) -> list[inspect.Parameter]:
    """A keyword parameter for each setting; None, the default, stands for not given."""
    hints = typing.get_type_hints(config)
    parameters = []
    for f in fields(config):
        kind: Any = next(k for k in (*typing.get_args(hints[f.name]), hints[f.name]) if k is not types.NoneType)
        if kind is bool:
            kind = Literal[tuple(ON_OFF)]
        elif f.metadata["choices"] and not f.metadata["accepts"]:
            kind = Literal[f.metadata["choices"]]
        default = {True: "on", False: "off"}.get(f.default, f.default) if isinstance(f.default, bool) else f.default
        assert f.default is not MISSING, "a setting has a default"
        more = f"; {', '.join(f.metadata['choices'])}, or another number" if f.metadata["accepts"] else ""
        text = f.metadata["help"] + more + ("" if f.default is None else f" [default: {default}]")
        annotation = Annotated[kind | None, Parameter(help=text, show_default=False, negative=())]
        parameters.append(
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )
    return parameters


def with_flags(function: Callable[..., Any], config: type) -> Callable[..., Any]:
    """The function with a flag for each setting in place of its `**flags`."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]

    def command(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    signature = inspect.Signature([*own, *flag_parameters(config)])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__doc__ = function.__doc__
    return command


def _command(name: str) -> Callable[..., Any]:
    def train(
        root: Annotated[Path, Parameter(help="folder that holds the data")],
        /,
        *,
        run: Annotated[
            str | None, Parameter(help="run folder, or a name in checkpoints/ [default: METHOD-ROOT]")
        ] = None,
        config: Annotated[Path | None, Parameter(help="TOML file of settings; flags win over it")] = None,
        preset: Annotated[str, Parameter(help="set of defaults")] = "paper",
        **flags: Any,
    ) -> None:
        api.train(name, root, run=run, config=config, preset=preset, **flags)

    train.__doc__ = inspect.getdoc(METHODS[name])
    return with_flags(train, METHODS[name].Config)


for _name in METHODS:
    app.command(_command(_name), name=_name)

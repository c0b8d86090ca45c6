"""`translate train METHOD ROOT`: one subcommand for each method, with the options of the method as its flags."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from translate import api, methods
from translate.api.presets import OWN_PRESET, PRESETS
from translate.cli.flags import APP_GROUPS, GROUPS, flag_parameters, with_flags
from translate.cli.progress import show_training
from translate.methods import METHODS, PLUGIN_METHODS, Method

COMMON = (
    "epochs", "decay_epochs", "images", "batch_size", "load_size", "crop_size", "direction", "lr", "generator", "device",
    "precision",
)  # fmt: skip
"""The options that most trainings set."""

ABOUT = "Train a method on a data folder. The same command again resumes the run."


def _preset_table() -> str:
    """Return what each preset is for, and the methods that have it where not all do."""
    lines = []
    for name, purpose in PRESETS.items():
        having = [method for method, cls in METHODS.items() if name in cls.presets]
        lines.append(f"--preset {name}: {purpose}" + (f" ({', '.join(having)})" if len(having) < len(METHODS) else ""))
    return "\n\n".join(lines)


def _preset_help(method: type[Method]) -> str:
    """Return the help of `--preset` with a phrase for each preset that the method has."""
    return "settings to start from; " + "; ".join(f"{name}: {PRESETS.get(name, OWN_PRESET)}" for name in method.presets)


app = App(name="train", help=f"{ABOUT}\n\n{_preset_table()}", **APP_GROUPS)


def _command(name: str) -> Callable[..., Any]:
    """Return the subcommand of a method. UsageError if it is a plug-in that cannot be used."""
    method = methods.find(name)
    assert method is not None, "it has just been listed"

    def train(
        root: Annotated[Path, Parameter(help="data folder")],
        /,
        *,
        run: Annotated[
            str | None,
            Parameter(
                help="run folder, or a name below checkpoints/ [default: METHOD and the name of ROOT, as pix2pix-maps]",
                group=GROUPS["Common"],
            ),
        ] = None,
        config: Annotated[
            Path | None, Parameter(help="TOML file of settings; flags override it [default: none]", group=GROUPS["Run"])
        ] = None,
        preset: Annotated[str, Parameter(help=_preset_help(method), group=GROUPS["Common"])] = "paper",
        **flags: Any,
    ) -> None:
        with show_training() as (say, progress):
            api.train(name, root, run=run, config=config, preset=preset, say=say, progress=progress, **flags)

    summary = method.summary
    train.__doc__ = f"{summary[:1].upper()}{summary[1:]}.\n\n{inspect.getdoc(method)}"
    return with_flags(train, flag_parameters(method.Config, common=COMMON))


def __getattr__(name: str) -> Callable[..., Any]:
    """Return the subcommand of an installed plug-in, which is imported for it alone."""
    if name in PLUGIN_METHODS.installed():
        return _command(name)
    raise AttributeError(name)


for _place, _name in enumerate((*METHODS, *PLUGIN_METHODS.loaded)):
    app.command(_command(_name), name=_name, sort_key=_place)
for _name in PLUGIN_METHODS.installed():
    app.command(f"{__name__}:{_name}", name=_name, sort_key=len(METHODS))

"""`translate resume RUN [flags]`: resume a run, with other settings where flags are given."""

import inspect
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api, methods
from translate.cli.flags import GROUPS, flag_parameters, with_flags
from translate.cli.progress import show_training
from translate.errors import UsageError


def _resume(
    run: Annotated[str, Parameter(help="run folder, or a name below checkpoints/")],
    /,
    *,
    from_images: Annotated[
        int | None,
        Parameter(
            name="--from",
            help="begin a new run (--run) with the checkpoint after N images; translate status RUN lists those that are "
            "kept [default: the newest, in the run itself]",
            group=GROUPS["Run"],
        ),
    ] = None,
    new_run: Annotated[
        str | None,
        Parameter(
            name="--run", help="with --from: folder of the new run, or a name below checkpoints/", group=GROUPS["Run"]
        ),
    ] = None,
    root: Annotated[
        Path | None,
        Parameter(help="data folder, if it has been moved [default: as recorded in the run]", group=GROUPS["Run"]),
    ] = None,
    **flags: Any,
) -> None:
    """Resume a run; flags change its settings.

    A flag that is not given leaves its setting as it is in the run. Flags that the method of the run does not have are refused.
    """
    with show_training() as (say, progress):
        api.resume(run, from_images=from_images, new_run=new_run, root=root, say=say, progress=progress, **flags)


def _flags_of_all_methods() -> list[inspect.Parameter]:
    """Return a parameter for each option that any method has; of equal names, that of the first method."""
    parameters: dict[str, inspect.Parameter] = {}
    for name in methods.names():
        try:
            method = methods.find(name)
        except UsageError:  # an installed package that cannot be used: a run of its method will say so
            continue
        assert method is not None, "it has just been listed"
        for parameter in flag_parameters(method.Config, with_defaults=False):
            parameters.setdefault(parameter.name, parameter)
    return list(parameters.values())


resume = with_flags(_resume, _flags_of_all_methods())

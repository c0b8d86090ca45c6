"""`translate resume RUN [flags]`: resume a run, with other settings where flags are given."""

import inspect
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.flags import flag_parameters, with_flags
from translate.cli.progress import show_training
from translate.methods import METHODS


def _resume(run: Annotated[str, Parameter(help="run folder, or a name below checkpoints/")], /, **flags: Any) -> None:
    """Resume a run; flags change its settings.

    A flag that is not given leaves its setting as it is in the run. Flags that the method of the run does not have are refused.
    """
    with show_training() as (say, progress):
        api.resume(run, say=say, progress=progress, **flags)


def _flags_of_all_methods() -> list[inspect.Parameter]:
    """Return a parameter for each option that any method has; of equal names, that of the first method."""
    parameters: dict[str, inspect.Parameter] = {}
    for method in METHODS.values():
        for parameter in flag_parameters(method.Config, with_defaults=False):
            parameters.setdefault(parameter.name, parameter)
    return list(parameters.values())


resume = with_flags(_resume, _flags_of_all_methods())

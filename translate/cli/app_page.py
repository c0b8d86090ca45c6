"""`translate app`: a page that translates images, for people."""

from typing import Annotated, Any

from cyclopts import Parameter

from translate.cli.console import say
from translate.cli.flags import DeviceOptions, flag_parameters, take_device_options, with_flags
from translate.config import FLAGS, resolve
from translate.serving.model_list import list_models
from translate.serving.page_server import check_page_installed, serve_page
from translate.serving.serving_options import AppOptions


def _app(
    *model: Annotated[
        str, Parameter(help="runs and model folders to offer [default: all in checkpoints/ and all that ship]")
    ],
    **options: Any,
) -> None:
    """Open a page that translates images, for a browser on this computer.

    Choose a model, drop images, compare before and after, download. Nothing leaves the computer. It needs the extra app.
    """
    check_page_installed()
    behaviour = take_device_options(options)
    chosen = resolve(AppOptions, (FLAGS, options))

    def announce(url: str) -> None:
        print(f"open {url} in a browser", flush=True)
        say("Ctrl-C ends the page")

    serve_page(list_models(model), chosen, behaviour, announce)


app_command = with_flags(_app, [*flag_parameters(AppOptions), *flag_parameters(DeviceOptions)])

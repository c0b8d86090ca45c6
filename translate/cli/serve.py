"""`translate serve MODEL...`: serve models over HTTP."""

from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.console import say
from translate.cli.flags import (
    DROPOUT,
    MODEL_HELP,
    NORM_STATISTICS,
    DeviceOptions,
    flag_parameters,
    take_device_options,
    with_flags,
)
from translate.config import FLAGS, resolve
from translate.serving.program_server import check_server_installed, serve
from translate.serving.serving_options import ServeOptions


def _serve(
    model: Annotated[str, Parameter(help=f"{MODEL_HELP}; several models may be given")],
    /,
    *more: Annotated[str, Parameter(help="further models, which requests choose by ?model=NAME")],
    dropout: Annotated[str | None, DROPOUT] = None,
    norm_statistics: Annotated[str | None, NORM_STATISTICS] = None,
    **options: Any,
) -> None:
    """Serve models over HTTP, for programs: POST an image to /convert, and the answer is the translated image.

    Answers have the bytes that convert writes, and ?to=, ?format=, ?seed= and the like are its flags. /openapi.json describes
    all. A signal ends the server once all accepted requests are answered. It needs the extra app.
    """
    check_server_installed("serve")
    behaviour = take_device_options(options) | {"dropout": dropout, "norm_statistics": norm_statistics}
    chosen = resolve(ServeOptions, (FLAGS, options))
    translators = [api.load(name, **behaviour, say=say) for name in (model, *more)]
    names = ", ".join(translator.name for translator in translators)

    def announce(url: str, token: str | None) -> None:
        print(f"serving {names} at {url}", flush=True)
        if token is not None:
            print(f"token: {token}", flush=True)
        say("Ctrl-C ends the server")

    serve(translators, chosen, announce)


serve_command = with_flags(_serve, [*flag_parameters(ServeOptions), *flag_parameters(DeviceOptions)])

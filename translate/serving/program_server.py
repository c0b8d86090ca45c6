"""The server for programs, put together: `translate serve`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from translate.errors import Interrupted, UsageError
from translate.runtime import signals
from translate.serving.access import listen
from translate.serving.conversion_service import ConversionService
from translate.serving.serving_options import ServeOptions
from translate.trained.extras import import_extra
from translate.trained.translator import Translator


def check_server_installed(command: str) -> None:
    """Raise UsageError, with the command that installs them, unless the packages of a server are there."""
    import_extra("app", command, "uvicorn", "starlette", "python_multipart")


def name_models(translators: Sequence[Translator]) -> dict[str, Translator]:
    """Return the models by the last part of their names. UsageError if two have the same."""
    models: dict[str, Translator] = {}
    for translator in translators:
        name = Path(translator.name).name
        if name in models:
            raise UsageError(f"{models[name].name} and {translator.name}: two models named {name}; rename one")
        models[name] = translator
    return models


def serve(
    translators: Sequence[Translator], options: ServeOptions, announce: Callable[[str, str | None], None]
) -> None:
    """Serve models over HTTP until a signal, and answer then what was accepted. Ends with Interrupted.

    announce: gets the address and the token, if one was made, once requests are accepted. UsageError for an address that
    cannot be used, BusyError for a port in use.
    """
    check_server_installed("serve")
    from translate.serving.http_app import HttpInterface, make_app  # of the extra
    from translate.serving.http_server import GuardedApp, run_server

    models = name_models(translators)
    listener = listen(options)
    service = ConversionService(options.queue, options.batch_size)
    try:
        for translator in translators:
            service.prepare(translator)
        app = GuardedApp(make_app(HttpInterface(service, models, options)), listener)
        with signals.stop_on_signal() as stop:
            announce(listener.url, listener.token if options.token_file is None else None)
            run_server(app, listener, stop)
    finally:
        listener.socket.close()
        service.close()
    raise Interrupted(f"stopped serving: {service.answered} requests for conversions answered", stop.signal)

"""The commands, as cyclopts parses them."""

from cyclopts import App

from translate.cli import ABOUT, COMMANDS
from translate.cli.flags import APP_GROUPS
from translate.version import __version__

EPILOGUE = """--plugin FILE.py adds the methods and networks of a file. --quiet (-q) prints results and errors only."""

app = App(
    name="translate", help=ABOUT, version=__version__, version_flags=("--version", "-V"),
    help_format="plaintext", help_epilogue=EPILOGUE, **APP_GROUPS,
)  # fmt: skip
app.command("translate.cli.completion:install_completion", name="--install-completion")
for _name, (_where, _) in COMMANDS.items():
    app.command(_where, name=_name)

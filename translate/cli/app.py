"""The commands and their flags, as cyclopts parses them."""

from cyclopts import App

from translate.cli import ABOUT, COMMANDS
from translate.version import __version__

app = App(name="translate", help=ABOUT, version=__version__, help_format="plaintext")
for _name, (_where, _help) in COMMANDS.items():
    app.command(_where, name=_name, help=_help)

"""The commands, as cyclopts parses them."""

from cyclopts import App

from translate.cli import ABOUT, COMMANDS
from translate.cli.flags import APP_GROUPS
from translate.version import __version__

app = App(name="translate", help=ABOUT, version=__version__, help_format="plaintext", **APP_GROUPS)
for _name, (_where, _) in COMMANDS.items():
    app.command(_where, name=_name)

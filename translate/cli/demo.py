"""`translate demo`: from real photos to a report in five minutes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import demo as task
from translate.api import say_to_stderr
from translate.errors import UsageError


def demo(
    *,
    out: Annotated[Path, Parameter(help="folder for all that is made")] = Path("demo"),
    minutes: Annotated[float, Parameter(help="about how long it may take on this machine")] = 4.2,
) -> None:
    """Real satellite photos become maps and summer becomes winter, by networks trained before your eyes."""
    if not minutes > 0:
        raise UsageError(f"--minutes {minutes}: must be more than 0")
    task.demo(out, minutes, say_to_stderr)
    print(f"\nreport      {(out / 'report.html').resolve()}")
    print(f"TensorBoard {out.resolve()}")
    print("\nNext:")
    for command in task.next_commands(out):
        print(f"  {command}")

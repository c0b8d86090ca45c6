"""`translate demo`: train two models on real photos and write a report, in five minutes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate.cli.console import say
from translate.demo import next_commands, run_demo
from translate.errors import UsageError
from translate.text import printable


def demo(
    *,
    out: Annotated[Path, Parameter(help="folder for the runs, images and the report")] = Path("demo"),
    minutes: Annotated[float, Parameter(help="approximate duration in minutes")] = 4.2,
) -> None:
    """Train CycleGAN (dark → blond hair) and pix2pix (flat → shaded drawings) from scratch, and write a report."""
    if not minutes > 0:
        raise UsageError(f"--minutes {minutes}: must be more than 0")
    metrics = run_demo(out, minutes, say)
    print(f"\nreport      {printable((out / 'report.html').resolve())}")
    print(f"TensorBoard {printable(out.resolve())}")
    print("\nNext:")
    for purpose, command in next_commands(out, metrics):
        print(f"  {purpose}:\n    {printable(command)}")

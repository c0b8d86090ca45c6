"""`--quiet`: results and errors alone."""

from pathlib import Path

import pytest

from translate import cli
from translate.cli.console import open_console, say, take_quiet

from .conftest import SMALL


@pytest.fixture(autouse=True)
def loud_again():
    yield
    take_quiet([])


@pytest.mark.parametrize(
    ("given", "rest", "quiet"),
    [
        (["convert", "a", "-q", "b"], ["convert", "a", "b"], True),
        (["--quiet", "demo"], ["demo"], True),
        (["demo"], ["demo"], False),
        (["convert", "--", "-q"], ["convert", "--", "-q"], False),
    ],
)
def test_it_may_stand_anywhere_but_behind_two_dashes(given, rest, quiet, capfd):
    assert take_quiet(given) == rest
    say("a line")
    open_console().print("a line")
    assert capfd.readouterr().err == ("" if quiet else "a line\na line\n")


def test_a_quiet_command_prints_results_and_failures(capfd, one_way_model: Path, mixed_photos: Path):
    assert cli.run(["convert", str(one_way_model), str(mixed_photos), "loud"]) == 1
    loud = capfd.readouterr().err
    assert cli.run(["convert", str(one_way_model), str(mixed_photos), "quiet", "--quiet"]) == 1
    quiet = capfd.readouterr().err
    assert quiet.splitlines() == [line for line in loud.splitlines() if line.startswith("failed: ")]


def test_a_quiet_training_prints_errors_alone(capfd, paired_root: Path):
    command = ["train", "pix2pix", str(paired_root), *SMALL, "--images", "1", "--run", "r", "-q"]
    assert cli.run(command) == 0
    assert capfd.readouterr() == ("", "")
    assert cli.run([*command, "--lr", "1"]) == 2
    assert "--lr" in capfd.readouterr().err

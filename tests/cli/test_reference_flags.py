"""Flags of pytorch-CycleGAN-and-pix2pix: what is proposed exists, and docs/parity.md has the same table."""

import re
from pathlib import Path

import pytest

from translate import cli
from translate.cli.app import app
from translate.cli.reference_flags import LEAVE_OUT, REFERENCE_FLAGS, SAME_FLAGS
from translate.methods import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "parity.md").read_text(encoding="utf-8")
ASKED_FOR = [
    "--dataroot", "--name", "--gpu_ids", "--netG", "--netD", "--ngf", "--ndf", "--n_epochs", "--n_epochs_decay",
    "--continue_train", "--lambda_A", "--lambda_B", "--lambda_L1", "--no_flip", "--no_dropout", "--display_id", "--num_test",
    "--epoch", "--serial_batches",
]  # fmt: skip


def all_flags() -> set[str]:
    """The flags of all commands and methods."""
    chains = [[name] for name in cli.COMMANDS if name not in ("train", "data")] + [["train", name] for name in METHODS]
    commands = [app.parse_commands(chain)[1][-1] for chain in chains]
    return {
        name for command in commands for argument in command.assemble_argument_collection() for name in argument.names
    }


def test_every_flag_that_is_proposed_exists() -> None:
    known = all_flags()
    proposed = {flag for text in REFERENCE_FLAGS.values() for flag in re.findall(r"(?<!\w)--[\w-]+", text)}
    assert proposed <= known | {"--logdir"}


def test_flags_of_the_same_name_are_taken_and_not_in_the_table() -> None:
    known = all_flags()
    assert all(flag.replace("_", "-") in known for flag in SAME_FLAGS)
    assert not set(SAME_FLAGS) & set(REFERENCE_FLAGS)


@pytest.mark.parametrize("flag", ASKED_FOR)
def test_the_usual_flags_are_in_the_table(flag: str) -> None:
    assert flag in REFERENCE_FLAGS


def test_the_page_on_parity_has_each_flag_with_the_same_words() -> None:
    section = PAGE.split("## Flags")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`--.*?) \| (.*?) \|$", section, flags=re.MULTILINE)
    table = {flag: text.replace("`", "") for flags, text in rows for flag in re.findall(r"`(--[^`]+)`", flags)}
    for flag, text in REFERENCE_FLAGS.items():
        assert table[flag] == text, flag
    for flag in SAME_FLAGS:
        assert table[flag] == "the same", flag
    assert table.keys() == REFERENCE_FLAGS.keys() | set(SAME_FLAGS)
    assert LEAVE_OUT in PAGE

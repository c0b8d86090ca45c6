"""Flags that a command does not have: all at once, each with what to give here."""

from .conftest import Fails

TRAIN = ["train", "cyclegan", "data"]


def test_one_flag_is_one_line(fails: Fails) -> None:
    (line,) = fails([*TRAIN, "--no_flip"], 2)
    assert line == "error: --no_flip: here --flip off (see translate train cyclegan --help)"


def test_several_are_listed_in_their_order_and_once(fails: Fails) -> None:
    words = ["--dataroot", "x", "--direction", "AtoB", "--lambda_A=3", "--crop-sise", "64", "--name", "y", "--no_flip"]
    words += ["--name", "z", "--zzz"]
    lines = fails([*TRAIN, *words], 2, more=7)
    assert lines[0] == "error: flags that are different here (see translate train cyclegan --help):"
    assert [line.strip() for line in lines[1:]] == [
        "--dataroot: here ROOT, the word after the method: translate train METHOD ROOT",
        "--direction AtoB: here --direction a2b",
        "--lambda_A: here --lambda-cycle, for both directions",
        "--crop-sise: unknown; did you mean --crop-size?",
        "--name: here --run NAME",
        "--no_flip: here --flip off",
        "--zzz: unknown",
    ]


def test_a_method_that_is_missing_is_part_of_the_list(fails: Fails) -> None:
    lines = fails(["train", "--dataroot", "x", "--load_size", "286", "--model", "cycle_gan"], 2, more=3)
    assert "translate train needs one of pix2pix, pix2pixhd, bicyclegan, cyclegan" in lines[1]
    assert [line.split(":")[0].strip() for line in lines[2:]] == ["--dataroot", "--model"]


def test_flags_of_the_same_name_are_taken(fails: Fails) -> None:
    fails([*TRAIN, "--load_size", "32", "--crop_size", "32", "--lambda_identity", "0.1"], 3, "data: no such folder")


def test_a_command_without_the_flag_of_another_says_where_it_is(fails: Fails) -> None:
    fails(["resume", "run", "--num_test", "5"], 2, "--num_test: here --limit, of translate convert")
    fails(["convert", "m", "in", "out", "--eval"], 2, "--norm-statistics running --dropout off")


def test_words_after_two_dashes_are_no_flags(fails: Fails) -> None:
    fails(["convert", "nowhere", "in", "--", "--dataroot"], 4, "nowhere")

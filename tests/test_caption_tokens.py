"""Tokens of captions: what makes texts alike, and that they are the same on every machine."""

import pytest

from translate.caption_tokens import BUCKETS, CAPTION_LENGTH, caption_of_folder, tokenise


def known(caption):
    return {token for token in tokenise(caption) if token}


def test_tokens_are_numbers_of_words_pairs_and_letters():
    """Of "ab cd": two words, a pair, and <ab ab> <cd cd>."""
    tokens = tokenise("ab cd")
    assert len(tokens) == CAPTION_LENGTH and all(0 <= token < BUCKETS for token in tokens)
    assert all(tokens[:7]) and not any(tokens[7:])
    assert tokens[:2] == (tokenise("ab")[0], tokenise("cd")[0])
    assert tokens[3:5] == tokenise("ab")[1:3] and tokens[5:7] == tokenise("cd")[1:3]


def test_they_are_those_of_the_first_version():
    """Models hold vectors of these numbers: hashes of the text alone, which no version may change."""
    assert tokenise("red apple")[:3] == (4249, 1861, 4925)


@pytest.mark.parametrize("same", ["red apple", "  Red   APPLE ", "red, apple!", "ｒｅｄ apple"])
def test_case_spaces_marks_and_forms_do_not_count(same):
    assert tokenise(same) == tokenise("red apple")


def test_the_order_of_words_counts_and_misspelt_words_are_near():
    assert known("red apple") != known("apple red")
    near, far = known("red aple"), known("two pears")
    assert len(known("red apple") & near) > 4 > len(known("red apple") & far)


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_an_empty_caption_has_none(text):
    with pytest.raises(ValueError, match="an empty caption"):
        tokenise(text)


@pytest.mark.parametrize("text", ["!!!", "🍎", "赤いりんご"])
def test_any_other_text_has_some(text):
    assert known(text)


def test_long_captions_keep_their_words():
    words = [f"w{n}" for n in range(200)]
    assert tokenise(" ".join(words)) == tokenise(" ".join(words[:CAPTION_LENGTH]))


def test_folders_are_captions():
    assert [caption_of_folder(name) for name in ("red_apple", "red-apple", "pear", "_")] == ["red apple"] * 2 + [
        "pear",
        "_",
    ]

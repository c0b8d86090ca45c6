"""The tool that measures whether images of a text show it: rates by hand, and a matcher that learns what can be learnt."""

import caption_retrieval as tool
import pytest
import torch


class Exact:
    """Matcher whose images are vectors already, and whose captions are the axes."""

    def see(self, x):
        return x

    def read(self, tokens):
        return torch.eye(3)[: len(tokens)]


def test_the_rate_is_the_mean_over_captions_and_its_error_theirs():
    """Of "a" one image of two is nearest to its caption, of "b" the only one: (½ + 1) / 2, deviation √⅛, over √2."""
    x = torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.1, 1.0], [0.3, 0.9, 0.0]])
    rate, error = tool.retrieval(Exact(), x, ["a", "a", "b"], ["a", "b", "c"])
    assert (rate, error) == (0.75, pytest.approx(0.25))


def test_the_matcher_learns_which_colours_belong_to_which_words():
    torch.manual_seed(0)
    colours = {"a red shirt": (1, -1, -1), "a green shirt": (-1, 1, -1), "a blue shirt": (-1, -1, 1)}
    texts = [text for text in colours for _ in range(16)]
    x = torch.stack([torch.tensor(colours[text]).float()[:, None, None].expand(3, 16, 16) for text in texts])
    x = x + 0.2 * torch.randn_like(x)
    matcher = tool.Matcher(3)
    tool.fit(matcher, x, texts, epochs=20)
    assert tool.retrieval(matcher, x, texts, list(colours))[0] == 1
    shifted = texts[16:] + texts[:16]
    assert tool.retrieval(matcher, x, shifted, list(colours))[0] == 0

"""How often a small matcher finds the caption that images were generated from, beside that of real test images.

    uv run translate data get avatar_captions
    uv run translate train stackgan datasets/avatar_captions --run runs/faces --crop-size 32 …
    uv run python tools/caption_retrieval.py runs/faces datasets/avatar_captions --per-caption 4

The matcher is two small networks, of images and of the words of captions, that learn from the real images of train/ which
belong together (a contrastive loss, as Radford et al. 2021). For each image the nearest of all captions of test/ is looked up.
Rates have the standard error over captions.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from translate import images
from translate.caption_tokens import BUCKETS, tokenise
from translate.data import captions
from translate.data.split import ImageRef
from translate.evaluation import image_sets
from translate.trained import find
from translate.trained.sampler import ImageSampler

FEATURES = 64
BATCH = 128
TEMPERATURE = 0.1


class Matcher(nn.Module):
    """Images (N, C, S, S) in −1 to 1 and tokens of captions (M, L) to unit vectors of FEATURES numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, 32, 64, 128)
        layers = [
            layer
            for before, after in pairwise(widths)
            for layer in (nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU())
        ]
        self.image = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 16, FEATURES))
        self.words = nn.EmbeddingBag(BUCKETS, FEATURES, mode="sum", padding_idx=0)

    def see(self, x: Tensor) -> Tensor:
        """Return the vectors of images."""
        return F.normalize(self.image(x))

    def read(self, tokens: Tensor) -> Tensor:
        """Return the vectors of captions."""
        return F.normalize(self.words(tokens))


def read_split(root: Path, split: str, size: int, channels: int) -> tuple[Tensor, list[str]]:
    """Return images (N, C, size, size) in −1 to 1 and the first caption of each."""
    paths = images.list_images(root / split)
    table = captions.find_caption_file((root,))
    assert table is not None, f"{root}: has no captions.txt"
    known = captions.read_captions(table, {path.relative_to(root).as_posix() for path in images.list_images(root)})
    found = image_sets.read_image_set([ImageRef(path) for path in paths], root, image_sets.ReadOptions(size, channels))
    return found.all_normalized(), [known[name][0].text for name in found.names]


def encode(texts: Sequence[str]) -> Tensor:
    """Return the tokens of captions, (N, L)."""
    return torch.tensor([tokenise(text) for text in texts])


def fit(matcher: Matcher, x: Tensor, texts: Sequence[str], epochs: int) -> None:
    """Learn which captions belong to which images; images of one caption are not held against each other."""
    kinds = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    kind, tokens = torch.tensor([kinds[text] for text in texts]), encode(texts)
    optimizer = torch.optim.Adam(matcher.parameters(), 2e-3)
    matcher.train()
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for chosen in order.split(BATCH):
            logits = matcher.see(x[chosen]) @ matcher.read(tokens[chosen]).T / TEMPERATURE
            same = kind[chosen][:, None] == kind[chosen][None]
            apart = logits.masked_fill(same & ~torch.eye(len(chosen), dtype=torch.bool), -torch.inf)
            target = torch.arange(len(chosen))
            loss = F.cross_entropy(apart, target) + F.cross_entropy(apart.T, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    matcher.eval()


@torch.no_grad()
def retrieval(matcher: Matcher, x: Tensor, texts: Sequence[str], candidates: Sequence[str]) -> tuple[float, float]:
    """Return the share of images whose own caption is the nearest of the candidates, and its standard error over captions."""
    nearest = (matcher.see(x) @ matcher.read(encode(candidates)).T).argmax(1).tolist()
    by_caption: dict[str, list[bool]] = {}
    for text, number in zip(texts, nearest, strict=True):
        by_caption.setdefault(text, []).append(candidates[number] == text)
    rates = torch.tensor([sum(hits) / len(hits) for hits in by_caption.values()], dtype=torch.float64)
    return float(rates.mean()), float(rates.std() / len(rates) ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run or model folder of stackgan")
    parser.add_argument("root", type=Path, help="data folder with captions.txt, train/ and test/")
    parser.add_argument("--per-caption", type=int, default=4, help="images that are generated of each caption")
    parser.add_argument("--epochs", type=int, default=30, help="passes of the matcher over the real images of train/")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    sampler = ImageSampler(find.read_model(args.model), torch.device("cpu"))
    size, channels = sampler.method.cfg.crop_size, sampler.method.cfg.input_channels
    x, texts = read_split(args.root, "train", size, channels)
    matcher = Matcher(channels)
    fit(matcher, x, texts, args.epochs)
    real, real_texts = read_split(args.root, "test", size, channels)
    candidates = list(dict.fromkeys(real_texts))
    made = torch.cat([
        sampler(range(number * args.per_caption, (number + 1) * args.per_caption), text=text)
        for number, text in enumerate(candidates)
    ])  # fmt: skip
    made_texts = [text for text in candidates for _ in range(args.per_caption)]
    rates = {"real test images": (real, real_texts), "generated images": (made, made_texts)}
    chance = 1 / len(candidates)
    found = {name: retrieval(matcher, *each, candidates) for name, each in rates.items()}
    print(f"captions: {len(candidates)}, chance {100 * chance:.2f} %")
    for name, (rate, error) in found.items():
        print(f"{name}: {100 * rate:.1f} ± {100 * error:.1f} %, {rate / chance:.1f} times chance")
    print(json.dumps({"captions": len(candidates), **{name: rate for name, (rate, _) in found.items()}}))


if __name__ == "__main__":
    main()

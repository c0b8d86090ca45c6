"""Captions as numbers: words, pairs of neighbouring words, and runs of three letters, each hashed to a token; or embeddings.

No vocabulary is kept: any text has tokens, and misspelt words share most of theirs with the right ones. As in Bojanowski et
al., "Enriching Word Vectors with Subword Information", 2017, sec. 3.2, and Weinberger et al., "Feature Hashing", 2009.
"""

import re
import unicodedata
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from translate.text import one_line

CAPTION_LENGTH = 96
"""Tokens of a caption; further ones are left out, shorter captions are filled up with 0."""
BUCKETS = 8192
"""Numbers of tokens, from 0 for none."""


def tokenise(caption: str) -> tuple[int, ...]:
    """Return the CAPTION_LENGTH tokens of a caption, in [0, BUCKETS): those of words first. ValueError for an empty one."""
    text = " ".join(unicodedata.normalize("NFKC", caption).casefold().split())
    if not text:
        raise ValueError("an empty caption")
    words = re.findall(r"\w+", text) or [text]
    grams = [f"word {word}" for word in words]
    grams += [f"pair {first} {second}" for first, second in pairwise(words)]
    grams += [f"letters {gram}" for word in words for gram in _letters(f"<{word}>")]
    tokens = [_hash(gram) for gram in grams[:CAPTION_LENGTH]]
    return (*tokens, *[0] * (CAPTION_LENGTH - len(tokens)))


def caption_of_folder(name: str) -> str:
    """Return the name of a folder of images as their caption: "red_apple" and "red-apple" as "red apple"."""
    return " ".join(name.replace("_", " ").replace("-", " ").split()) or name


def read_embedding(file: str, size: int) -> tuple[float, ...]:
    """Read the embedding of a text from a .npy file. ValueError, which says why, unless it holds `size` finite numbers."""
    try:
        given = np.load(file, allow_pickle=False)
        vector = np.asarray(given, dtype=np.float64).ravel()
    except (OSError, ValueError, EOFError, TypeError) as e:
        raise ValueError(f"cannot be read ({one_line(e)})") from None
    if len(vector) != size:
        raise ValueError(f"holds {len(vector)} numbers")
    if not np.isfinite(vector).all():
        raise ValueError("holds numbers that are not finite")
    return tuple(vector.tolist())


def _letters(word: str) -> list[str]:
    return [word[i : i + 3] for i in range(len(word) - 2)]


@lru_cache(maxsize=1 << 16)
def _hash(gram: str) -> int:
    """Return the number of a token, from 1 on."""
    digest = blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "little") % (BUCKETS - 1)

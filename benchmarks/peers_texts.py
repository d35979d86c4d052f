"""The texts of each question: samples of real ones, and made ones of exact lengths in tokens. All drawn by seed."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

from farthing.engine.text.tokenization import TextTokenizer

SPECIAL_TOKENS = 2
"""What MiniLM's tokenizer puts around a text."""

SHORTEST, LONGEST = 4, 512
STRATA = 4


def sampled(texts: list[str], count: int, seed: int = 0) -> list[str]:
    """Return so many different texts in a random order; all of them if there are no more."""
    return random.Random(seed).sample(texts, min(count, len(texts)))


def for_batch_search(texts: list[str], share: int = 4) -> list[str]:
    """Return one text in `share`, in runs of neighbours in length: batches of them are as even as those of all texts.

    Every n-th text would make batches more ragged than they will be and favour small ones.
    """
    ordered = sorted(texts, key=len)
    stratum = math.ceil(len(ordered) / STRATA)
    taken: list[str] = []
    for start in range(0, len(ordered), stratum):
        part = ordered[start : start + stratum]
        middle = (len(part) - len(part) // share) // 2
        taken += part[middle : middle + max(1, len(part) // share)]
    random.Random(0).shuffle(taken)
    return taken


def one_token_words(texts: Sequence[str], tokenizer: TextTokenizer) -> list[str]:
    """Return the lower-case words of texts, as often as they occur, that the tokenizer leaves whole."""
    words = [word for text in texts for word in re.findall(r"\b[a-z]+\b", text)]
    different = sorted(set(words))
    lengths = tokenizer.encode(different).lengths
    whole = {word for word, length in zip(different, lengths, strict=True) if length == 1 + SPECIAL_TOKENS}
    return [word for word in words if word in whole]


def mixed_requests(words: list[str], requests: int, texts: int, seed: int = 0) -> list[list[str]]:
    """Return requests of texts of 4 to 512 tokens in arrival order, the lengths log-uniform.

    Queries beside documents, as a server sees them: half of the texts are of at most 45 tokens.
    """
    choose = random.Random(seed)
    low, high = math.log(SHORTEST - 0.5), math.log(LONGEST + 0.5)
    return [
        [_made(words, round(math.exp(choose.uniform(low, high))), choose) for _ in range(texts)]
        for _ in range(requests)
    ]


def short_texts(words: list[str], tokens: int, texts: int, seed: int = 0) -> list[str]:
    """Return texts of exactly so many tokens, the special ones counted."""
    choose = random.Random(seed)
    return [_made(words, tokens, choose) for _ in range(texts)]


def instructed_queries(queries: int, instruction: int, tokens: int, seed: int = 0) -> tuple[str, list[str]]:
    """Return an instruction and queries for a tokenizer of the words w0, w1, …: so many tokens, none special."""
    choose = random.Random(seed)
    texts = [" ".join(f"w{choose.randrange(2, 100_000)}" for _ in range(tokens)) for _ in range(queries)]
    return " ".join(f"w{word}" for word in range(2, 2 + instruction)) + " ", texts


def _made(words: list[str], tokens: int, choose: random.Random) -> str:
    return " ".join(choose.choices(words, k=tokens - SPECIAL_TOKENS))

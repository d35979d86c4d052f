"""How many tokens do the article's texts have? Its "tokens" are words × 1.3; this counts them with Qwen's own BPE.

The texts are random draws from 92 English words (91 different), in sentences of 10 to 25 words with a capital and a
full stop, the first behind one of ten opening phrases. The word list is its author's: clone
github.com/tugot17/tokenomics and name the file with `--generator tokenomics/embedding_benchmark.py` (the lists are
read from its syntax tree; nothing of it is run). Lists of our own are drawn beside it, to show how little the result
depends on which common words they are.

The vocabulary is the file `qwen.tiktoken` of the PyPI package dashscope. This script fetches that wheel itself with
`pip download --no-deps dashscope`; or name one that is here with `--wheel`. No test needs it: they read the kept
result. Qwen3-Embedding ends every text with one more token, <|endoftext|>, which is counted: it is computed too.

Run: .venv/bin/python benchmarks/article_tokens.py --generator embedding_benchmark.py --prose scifact/corpus.jsonl
Source: QwenLM/Qwen3-Embedding issue 54 (the end token); dashscope/tokenizers/qwen_tokenizer.py (PATTERN).
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from results_file import save

STATED_TOKENS = (130, 260, 520, 1040, 1300, 2600, 5200)
"""The lengths of the article, as it states them. Source: docs/facts.md, Article."""

TOKENS_PER_WORD = 1.3
"""What the article multiplies words with. Source: docs/facts.md, Article."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen cuts text before merging bytes. Source: dashscope/tokenizers/qwen_tokenizer.py, PAT_STR."""

OWN_WORDS = """
    a about across after again air almost along already always among animal answer apple area around artist autumn
    baker balance basket beach become before begin behind below between bicycle blanket body book border bottle branch
    bread bridge bring brother build butter button calendar camera candle captain careful carry castle catch center
    century chair chapter choose circle city clear climate cloud coffee cold collect color common company compare
    copper corner country cousin create crowd dance danger decide degree desert detail dinner direction discover
    distance doctor door dream early earth easy effort eight electric empty engine enough evening event example family
    farmer father festival field figure final finger finish flower follow foreign fresh friend garden general glass
    harbor harvest height history holiday honest hospital house imagine important inside island journey kitchen ladder
    language laughter letter library lion market measure medicine memory metal middle million minute mirror modern
    moment morning mother music mystery narrow nation neighbor never notice number ocean office opinion orange paper
    parent pattern people perfect person picture planet pocket poetry popular possible pottery prepare president
    problem promise question railway rather reason remember restaurant sailor salad season second secret seven shadow
    silver simple sister smile soldier special spirit square station story street student summer surface surprise
    teacher theater thousand ticket together tomorrow traffic travel treasure umbrella university usually valley
    village visit voice waiter weather weekend welcome window winter without wonder yellow yesterday young
"""
"""Common English words of our own choice, from which stand-ins for the article's list are drawn."""

OWN_LIST_WORDS = 92


def read_ranks(tiktoken_file: bytes) -> dict[bytes, int]:
    """Return the rank of every token of a vocabulary in tiktoken's format: base64 token and rank per line."""
    return {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in tiktoken_file.splitlines() if line)
    }


def merged_tokens(piece: bytes, ranks: Mapping[bytes, int]) -> int:
    """Return the number of tokens of one piece: of all neighbours, those of lowest rank together merge first."""
    parts = [bytes([byte]) for byte in piece]
    while True:
        known = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not known:
            return len(parts)
        _, i = min(known)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def token_counter(ranks: Mapping[bytes, int]) -> Callable[[str], int]:
    """Return a function from a text to its tokens, the end token included."""
    split = Split(Regex(PATTERN), "isolated")
    counted: dict[str, int] = {}

    def count(text: str) -> int:
        total = 1  # <|endoftext|>
        for piece, _ in split.pre_tokenize_str(text):
            if piece not in counted:
                counted[piece] = merged_tokens(piece.encode(), ranks)
            total += counted[piece]
        return total

    return count


def random_text(words: Sequence[str], openings: Sequence[str], length: int, choose: random.Random) -> str:
    """Return a text of `length` words (over 50), built as the article's are; without openings, of sentences alone."""
    sentences: list[str] = []
    left = length
    while left:
        size = left if left <= 15 else min(choose.randint(10, 25), left)
        opening = choose.choice(openings).split() if openings and not sentences else []
        sentence = " ".join([*opening, *choose.choices(words, k=max(0, size - len(opening)))])
        sentences.append(sentence[0].upper() + sentence[1:] + ".")
        left -= size
    return " ".join(sentences)


def recount(
    words: Sequence[str], openings: Sequence[str], count: Callable[[str], int], *, texts: int, seed: int
) -> list[dict[str, float]]:
    """Return, for each length that the article states, the true tokens of `texts` texts: mean and range."""
    choose = random.Random(seed)
    rows = []
    for stated in STATED_TOKENS:
        length = round(stated / TOKENS_PER_WORD)
        counts = [count(random_text(words, openings, length, choose)) for _ in range(texts)]
        mean = statistics.mean(counts)
        rows.append(
            {
                "stated_tokens": stated,
                "words": length,
                "tokens": mean,
                "least": min(counts),
                "most": max(counts),
                "true_over_stated": mean / stated,
            }
        )
    return rows


def per_word(texts: Sequence[str], count: Callable[[str], int]) -> dict[str, float]:
    """Return words and tokens of these texts, the end tokens left out."""
    words = sum(len(text.split()) for text in texts)
    tokens = sum(count(text) - 1 for text in texts)
    return {"texts": len(texts), "words": words, "tokens": tokens, "tokens_per_word": tokens / words}


def read_generator(path: Path) -> tuple[list[str], list[str]]:
    """Return the words and the opening phrases that the article's benchmark assigns; none of its code is run.

    Raises:
        SystemExit: the file assigns no such lists.
    """
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    found[target.attr] = ast.literal_eval(node.value)
    if not {"words", "sentence_starters"} <= found.keys():
        raise SystemExit(
            f"{path} assigns no self.words and self.sentence_starters: give embedding_benchmark.py"
        )
    return found["words"], found["sentence_starters"]


def qwen_vocabulary(wheel: Path | None) -> tuple[str, bytes]:
    """Return the file name of dashscope's wheel and the vocabulary in it.

    Args:
        wheel: the wheel; None fetches the newest one with pip, into a folder of its own.

    Raises:
        SystemExit: pip cannot fetch it.
    """
    if wheel is not None:
        with zipfile.ZipFile(wheel) as archive:
            return wheel.name, archive.read("dashscope/resources/qwen.tiktoken")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "dashscope"]
        if subprocess.run(pip, check=False).returncode:
            raise SystemExit(
                "pip could not download dashscope: fetch the wheel elsewhere and give --wheel FILE"
            )
        return qwen_vocabulary(next(Path(folder).glob("dashscope-*.whl")))


def main() -> None:
    """Count, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--generator", type=Path, help="the author's embedding_benchmark.py; without it nothing is kept"
    )
    parser.add_argument("--wheel", type=Path, help="dashscope's wheel, where pip cannot fetch it")
    parser.add_argument(
        "--prose", type=Path, help="real texts, to see what a word of those has: JSON lines with a text"
    )
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--own-lists", type=int, default=10)
    arguments = parser.parse_args()
    package, raw = qwen_vocabulary(arguments.wheel)
    count = token_counter(read_ranks(raw))
    figures: dict[str, Any] = {
        "vocabulary": {
            "package": package,
            "file": "qwen.tiktoken",
            "sha256": hashlib.sha256(raw).hexdigest(),
        },
        "texts_per_length": arguments.texts,
        "end_token": 1,
    }
    if arguments.generator:
        words, openings = read_generator(arguments.generator)
        figures["article"] = {
            "source": "github.com/tugot17/tokenomics, embedding_benchmark.py (the word list is not copied here)",
            "words": len(words),
            "different_words": len(set(words)),
            "sha256_of_words": hashlib.sha256(" ".join(words).encode()).hexdigest(),
            "seed": arguments.seed,
            "lengths": recount(words, openings, count, texts=arguments.texts, seed=arguments.seed),
        }
    figures["own_lists"] = [
        {
            "seed": seed,
            "words": OWN_LIST_WORDS,
            "lengths": recount(
                random.Random(seed).sample(OWN_WORDS.split(), OWN_LIST_WORDS),
                (),
                count,
                texts=arguments.texts // 10,
                seed=seed,
            ),
        }
        for seed in range(arguments.own_lists)
    ]
    if arguments.prose:
        lines = arguments.prose.read_text(encoding="utf-8").splitlines()
        figures["prose"] = {
            "file": "/".join(arguments.prose.parts[-2:]),
            **per_word([json.loads(line)["text"] for line in lines], count),
        }
        print(f"real prose: {figures['prose']['tokens_per_word']:.3f} tokens per word")
    for row in figures.get("article", {}).get("lengths", ()):
        print(f"{row['stated_tokens']:5d} stated {row['tokens']:7.1f} true: {row['true_over_stated']:.3f}")
    own = [row["true_over_stated"] for one in figures["own_lists"] for row in one["lengths"]]
    print(f"lists of our own: {min(own):.3f} to {max(own):.3f}")
    if arguments.generator:
        print(save("article-tokens", figures))


if __name__ == "__main__":
    main()

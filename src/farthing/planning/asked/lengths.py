"""Lengths as people give them: a mean, a profile's name, a file of token counts or of texts, or a list."""

from __future__ import annotations

import codecs
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import index
from pathlib import Path

from farthing.errors import InputError, RowError
from farthing.theory.lengths import (
    PROFILES,
    LengthDistribution,
    counted_lengths,
    fixed_length,
    profile_lengths,
)

CountTokens = Callable[[Sequence[str]], list[int]]
"""Texts → tokens of each, special tokens included."""

SPECIAL_TOKENS = 2
"""Tokens that a model puts around a text, where they are estimated: BERT's [CLS] and [SEP]. Those that end a text
with one token, as Qwen3's, have one fewer."""

MOST_TOKENS = 10**9
"""More than any text has: a larger number is taken for a mistyped one."""

_LOOKED_AT = 100
"""Lines that tell whether a file holds token counts or texts."""

_TEXTS_AT_ONCE = 1000

_JSON_SUFFIXES = (".jsonl", ".ndjson")

LengthsInput = int | float | str | Path | Sequence[int] | LengthDistribution
"""What a caller may give as lengths."""


def lengths_from(
    given: LengthsInput, *, tokens_per_character: float, count_tokens: CountTokens | None = None
) -> LengthDistribution:
    """Return the distribution that `given` stands for.

    Args:
        given: tokens that every text has; the name of a profile; a file with one token count or one text per
            line, or JSON lines with a `text`; token counts; or a distribution. A file whose first lines are numbers,
            at least half of them, holds token counts, and a line that is none is an error.
        tokens_per_character: of the model's tokenizer, for files of texts when they cannot be counted.
        count_tokens: counts the tokens of texts; None where no tokenizer is at hand.

    Raises:
        InputError: it is none of these; a RowError names the line of a file.
    """
    if isinstance(given, LengthDistribution):
        return given
    if isinstance(given, Path):
        return _from_file(given, tokens_per_character, count_tokens)
    if not isinstance(given, str):
        return _from_numbers(given)
    name = given.strip()
    number = _number(name)
    if number is not None:
        return _mean(number, given)
    if name.lower() in PROFILES:
        return profile_lengths(name.lower())
    path = _existing(name)
    if path is None:
        raise InputError(
            f"lengths {given!r}: give a mean in tokens, a file, or one of the profiles {', '.join(PROFILES)}"
        )
    return _from_file(path, tokens_per_character, count_tokens)


def _mean(tokens: float, given: object) -> LengthDistribution:
    if not 1 <= tokens <= MOST_TOKENS:
        raise InputError(f"lengths {given}: give a mean from 1 to {MOST_TOKENS:,} tokens")
    return fixed_length(round(tokens))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _existing(name: str) -> Path | None:
    """Return the file or folder called `name`, or None: a name may be too long or hold what no path can."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _from_numbers(given: object) -> LengthDistribution:
    """Return the distribution of one number or of several; numpy's count as Python's."""
    if isinstance(given, Iterable) and not isinstance(given, bytes):
        checked = (_count(count, f"lengths[{position}]") for position, count in enumerate(given))
        return counted_lengths(checked, "the token counts given")
    try:
        mean = math.nan if isinstance(given, bool) else float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        mean = math.nan
    return _mean(mean, given)


def _count(count: object, where: str) -> int:
    try:
        tokens = 0 if isinstance(count, bool) else index(count)  # type: ignore[arg-type]
    except TypeError:
        tokens = 0
    if not 1 <= tokens <= MOST_TOKENS:
        raise InputError(f"{where} is {count!r}: give token counts from 1 to {MOST_TOKENS:,}")
    return tokens


def _from_file(
    path: Path, tokens_per_character: float, count_tokens: CountTokens | None
) -> LengthDistribution:
    lines = _lines(path)
    head = list(islice(lines, _LOOKED_AT))
    if not head:
        raise InputError(f"{path}: is empty; give one token count or one text per line")
    rest = chain(head, lines)
    # As many words as numbers is a damaged list of counts, not texts: those hardly ever are bare numbers.
    if 2 * sum(_number(line) is not None for _, line in head) >= len(head):
        seen = Counter(_count_of_line(path, number, line) for number, line in rest)
        return counted_lengths(seen, f"{seen.total()} token counts in {path.name}")
    if path.suffix.lower() == ".csv":
        raise InputError(
            f'{path}: a table: give one token count or one text per line, JSON lines with a "text" '
            "(.jsonl), or, if it holds arrivals, --trace"
        )
    texts = (_text(path, number, line) for number, line in rest)
    seen = Counter()
    while some := list(islice(texts, _TEXTS_AT_ONCE)):
        if count_tokens is None:
            seen.update(round(len(text) * tokens_per_character) + SPECIAL_TOKENS for text in some)
        else:
            seen.update(max(1, tokens) for tokens in count_tokens(some))
    how = (
        f"tokens estimated at {tokens_per_character:.3g} per character"
        if count_tokens is None
        else "tokenized"
    )
    return counted_lengths(seen, f"{seen.total()} texts in {path.name}, {how}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield the lines that are not blank, each with its number; a byte-order mark is dropped.

    Lines end at \n alone, as in `embed`: a text may hold what Unicode calls a line separator.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).decode("utf-8")
                except UnicodeDecodeError:
                    line = "\0"
                if "\0" in line:
                    raise RowError(str(path), f"line {number}", "is no text; give a file of UTF-8 text")
                if line.strip():
                    yield number, line.strip()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def _count_of_line(path: Path, number: int, line: str) -> int:
    # Python refuses to convert thousands of digits.
    if not line.isdecimal() or len(line) > len(str(MOST_TOKENS)) or not 1 <= int(line) <= MOST_TOKENS:
        raise RowError(
            str(path),
            f"line {number}",
            f"{line[:40]!r} among token counts: give whole numbers from 1 to {MOST_TOKENS:,}, one per line; if the "
            'lines are texts, JSON lines with a "text" (.jsonl)',
        )
    return int(line)


def _text(path: Path, number: int, line: str) -> str:
    if path.suffix.lower() not in _JSON_SUFFIXES:
        return line
    try:
        row = json.loads(line)
        text = row.get("text") if isinstance(row, dict) else None
        if isinstance(text, str):
            text.encode()
            return text
    except (ValueError, RecursionError):  # no JSON, nested beyond Python's limit, or half a character
        pass
    raise RowError(str(path), f"line {number}", 'expected a JSON object with a "text"')

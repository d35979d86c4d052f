"""Token ids of as much of a text as a model reads, in memory that the length of the text does not set.

A tokenizer takes some 180 bytes for each character, and a model reads a few hundred tokens. So a long text is tokenized
from the end that is kept, as far as it takes to have those tokens and some more, as the last ones before a cut may be
others than in the whole text. Where even the first ones depend on where the cut is, more is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from farthing.engine.text.tokenizer_file import failure
from farthing.engine.text.tokenizer_parts import parts
from farthing.errors import EngineError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_CHARACTERS = 2_000_000
"""Of one text that are tokenized, which takes some 400 MB."""

TOGETHER_CHARACTERS = 1_000_000
"""Of several texts that are tokenized together: enough for all cores, in bounded memory."""

_CHARACTERS_PER_TOKEN = 16
"""Characters that are read first for each token that is kept."""

_SPARE_TOKENS = 160
"""Tokens next to a cut that are not used. A word that WordPiece gives up whole becomes up to 100 where it is cut."""

_GROWTH = 8
_PROBES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 37)
"""Characters by which other cuts differ from the first. Where tokens depend on where a text is cut, they differ between
these: where something of up to 8 characters is said again and again, tokens of several of it start at every second or
fourth, counted from the cut."""

_SPACE = re.compile(r"(?<=[0-9A-Za-z]) (?=[0-9A-Za-z])")
_LONG_RUNS = re.compile(r"([0-9A-Za-z]{256})[0-9A-Za-z]+|([ \t\r\n])[ \t\r\n]+")
_SPLITTING = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel", "Metaspace")

Item = TypeVar("Item")


class Content(NamedTuple):
    """What a tokenizer makes of a text, special tokens left out.

    Attributes:
        ids: the tokens that are kept.
        tokens: of the whole text; None where it was not read to its end, and has more than are kept.
        error: why there are none.
    """

    ids: list[int]
    tokens: int | None
    error: EngineError | None = None


class ContentReader:
    """Reads what is kept of texts."""

    def __init__(self, tokenizer: Tokenizer, kept: int, side: str) -> None:
        """Take what reads.

        Args:
            tokenizer: without truncation and padding.
            kept: most tokens of a text, special tokens left out.
            side: where a longer one loses tokens, left or right.
        """
        self._tokenizer, self._kept, self._from_end = tokenizer, kept, side == "left"
        self._first = min(MOST_CHARACTERS, _CHARACTERS_PER_TOKEN * (kept + _SPARE_TOKENS))
        kinds, model = list(map(_kind, parts(tokenizer.pre_tokenizer))), tokenizer.model
        self._splits = any(kind in _SPLITTING for kind in kinds)
        # Words of ASCII and what is between them: a word above 100 characters is unknown, blanks are nothing.
        self._words = (
            type(model).__name__ == "WordPiece"
            and model.max_input_chars_per_word < 256
            and kinds[:1] in (["BertPreTokenizer"], ["Whitespace"], ["WhitespaceSplit"])
            and len(kinds) == 1
            and not any(
                one.content.strip().isalnum() for one in tokenizer.get_added_tokens_decoder().values()
            )
        )

    def read(self, texts: Sequence[str]) -> list[Content]:
        """Return the contents of texts, each the same as alone. One that cannot be read has an error."""
        if max(map(len, texts), default=0) <= self._first:
            return [self._whole(ids) for ids in self._ids(texts)]
        return [
            content
            for some in together(iter(texts), lambda text: min(len(text), self._first))
            for content in self._read(some)
        ]

    def _read(self, texts: list[str]) -> Iterator[Content]:
        parts = [text if len(text) <= self._first else self._part(text, self._first) for text in texts]
        for text, part, ids in zip(texts, parts, self._ids(parts), strict=True):
            if len(part) == len(text):
                yield self._whole(ids)
            else:
                yield self._of_part(text, part, ids) or self._of_long(text)

    def _of_long(self, text: str) -> Content:
        """Return the content of a text whose first part was not enough."""
        if self._words:
            text = _LONG_RUNS.sub(r"\1\2", text)
        reach = self._first
        while reach < min(len(text), MOST_CHARACTERS):
            reach = min(reach * _GROWTH, MOST_CHARACTERS)
            part = text if len(text) <= reach else self._part(text, reach)
            (ids,) = self._ids([part])
            if len(part) == len(text):
                return self._whole(ids)
            if (content := self._of_part(text, part, ids)) is not None:
                return content
        if len(text) <= reach:
            return self._whole(*self._ids([text]))
        side = "last" if self._from_end else "first"
        return Content(
            [],
            None,
            EngineError(
                f"of its {len(text):,} characters the {side} {reach:,} do not say what its {side} {self._kept:,} "
                "tokens are, and more are not tokenized; split it"
            ),
        )

    def _whole(self, ids: list[int] | EngineError) -> Content:
        if isinstance(ids, EngineError):
            return Content([], None, ids)
        return Content(self._cut(ids) if len(ids) > self._kept else ids, len(ids))

    def _of_part(self, text: str, part: str, ids: list[int] | EngineError) -> Content | None:
        """Return what is kept of a text, or None where a part of it does not say."""
        if isinstance(ids, EngineError):
            return Content([], None, ids)
        if len(ids) < self._kept + _SPARE_TOKENS:
            return None
        kept, place = self._cut(ids), len(text) - len(part) if self._from_end else len(part)
        if not (self._splits and _SPACE.match(text, place)):
            if len(text) <= _GROWTH * len(part):
                return None  # which takes no longer than to read parts of it again and again
            for fewer in _PROBES:
                (again,) = self._ids([part[fewer:] if self._from_end else part[:-fewer]])
                if isinstance(again, EngineError) or self._cut(again) != kept:
                    return None
        return Content(kept, None)

    def _cut(self, ids: list[int]) -> list[int]:
        return ids[-self._kept :] if self._from_end else ids[: self._kept]

    def _part(self, text: str, reach: int) -> str:
        """Return the part of a text up to a space between words if there is one, else of so many characters."""
        if self._from_end:
            start = len(text) - reach
            found = _SPACE.search(text, start, start + reach // 4)
            return text[start if found is None else found.start() :]
        places = [found.start() for found in _SPACE.finditer(text, reach - reach // 4, reach)]
        return text[: places[-1] if places else reach]

    def _ids(self, texts: Sequence[str]) -> list[list[int] | EngineError]:
        found: list[list[int] | EngineError] = []
        for some in together(iter(texts), len):
            found += self._ids_together(some)
        return found

    def _ids_together(self, texts: list[str]) -> list[list[int] | EngineError]:
        try:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except BaseException as error:  # a panic is no Exception
            reason = failure(error)
            if len(texts) == 1:
                return [EngineError(f"the tokenizer cannot read it: {reason}")]
            half = len(texts) // 2
            return self._ids_together(texts[:half]) + self._ids_together(texts[half:])
        return [encoding.ids for encoding in encodings]


def together(
    source: Iterator[Item], size_of: Callable[[Item], int], texts: int = 1 << 30
) -> Iterator[list[Item]]:
    """Yield runs of so many items at most, and none more once they have so many characters as are read together."""
    while some := taken(source, texts, TOGETHER_CHARACTERS, size_of):
        yield some


def taken(source: Iterator[Item], texts: int, characters: int, size_of: Callable[[Item], int]) -> list[Item]:
    """Return the next of a source: so many items at most, and none more once they have so many characters."""
    some: list[Item] = []
    for item in islice(source, texts):
        some.append(item)
        characters -= size_of(item)
        if characters <= 0:
            break
    return some


def _kind(splitter: dict[str, Any]) -> str:
    """Return which pre-tokenizer it is that cuts words apart at spaces, or `whole` for one that does not."""
    whole = splitter.get("use_regex") is False or splitter.get("split") is False
    return "whole" if whole else str(splitter["type"])

"""Refuses texts over the length limit before anything is computed, for those who do not want them cut.

Tokenizes every text once more than the job does: a job that would fail at its end costs more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from farthing.engine.text.tokenization import TextTokenizer

_TEXTS = 1024
_CHARACTERS = 1_000_000
"""Texts, or characters, that are tokenized together: enough for all cores, and bounded memory."""

NamedText = tuple[str, str]
"""What a reader knows a text by, as it stands at the start of a sentence, and the text with its prompt."""


def refuse_over_limit(texts: Iterable[NamedText], tokenizer: TextTokenizer) -> None:
    """Read every text.

    Raises:
        InputError: a text is over the limit; it is named with its tokens.
    """
    for chunk in _chunks(texts):
        over = tokenizer.first_over_limit([text for _, text in chunk])
        if over is not None:
            row, tokens = over
            raise tokenizer.too_long(chunk[row][0], tokens)


def _chunks(texts: Iterable[NamedText]) -> Iterator[list[NamedText]]:
    chunk: list[NamedText] = []
    characters = 0
    for named in texts:
        chunk.append(named)
        characters += len(named[1])
        if len(chunk) == _TEXTS or characters >= _CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    yield chunk

"""Texts as people hand them over in Python."""

from __future__ import annotations

from collections.abc import Iterable

from farthing.errors import InputError


def require_texts(texts: Iterable[str]) -> list[str]:
    """Return texts that came as Python objects, each of them usable.

    Raises:
        InputError: `texts` is one string, or one of them is not a string or holds half of a surrogate pair.
    """
    if isinstance(texts, str):
        raise InputError("texts is one string; give a list of texts")
    checked = list(texts)
    for row, text in enumerate(checked):
        if not isinstance(text, str):
            raise InputError(f"text {row} is {type(text).__name__}, not str; convert it or leave it out")
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise InputError(
                    f"text {row} holds half of a surrogate pair, which is no text; fix it or leave it out"
                ) from None
    return checked

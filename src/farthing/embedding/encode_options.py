"""The arguments of sentence-transformers' `encode` beside texts and prompts, and which of them cannot be had here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from farthing.embedding.formats import Precision, Values
from farthing.engine.load import PROCESSOR_NAMES
from farthing.engine.torch.cards import as_tensor
from farthing.errors import InputError


class EncodeOptions(TypedDict, total=False):
    """What `encode`, `encode_query` and `encode_document` take by name; `Embedder.encode` says what each does."""

    batch_size: int
    show_progress_bar: bool | None
    output_value: str | None
    precision: Precision
    convert_to_numpy: bool
    convert_to_tensor: bool
    device: Any
    normalize_embeddings: bool
    truncate_dim: int | None
    pool: Any
    chunk_size: int | None
    ranges: npt.ArrayLike | None
    sentences: str | Sequence[str] | None


def require_texts(texts: Iterable[str], argument: str = "texts") -> list[str]:
    """Return texts that came as Python objects, each of them usable.

    Args:
        texts: a sequence, an iterator, or a column of numpy, pandas or Arrow.
        argument: what the caller knows them by.

    Raises:
        InputError: `texts` is no run of texts, or one of them is not a string or holds half of a surrogate pair.
    """
    if type(texts) is not list:
        texts = _in_order(texts, argument)
    for row, text in enumerate(checked := list(texts)):
        if not isinstance(text, str):
            raise InputError(
                f"text {row} is {type(text).__name__}, not str; convert it or leave it out of {argument}"
            )
        if not text.isascii():
            _require_encodable(text, f"text {row}", f" of {argument}")
    return checked


def require_string(value: object, argument: str) -> None:
    """Refuse what is given for a string and is none.

    Raises:
        InputError: it is something else, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise InputError(f"{argument} is {value!r}: give a string")
    _require_encodable(value, argument)


def require_whole(value: object, argument: str) -> None:
    """Refuse what is given for a whole number and is none, such as True or "64".

    Raises:
        InputError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{argument} is {value!r}: give a whole number")


def require_flag(value: object, argument: str) -> None:
    """Refuse what is given for True or False and is neither, such as "no".

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{argument} is {value!r}: give True or False")


def _in_order(texts: Any, argument: str) -> Iterable[Any]:
    if isinstance(texts, str):
        raise InputError(f"{argument} is one string; give a list of texts")
    # Frames and tables iterate over their columns or their columns' names.
    unusable = isinstance(texts, bytes | bytearray | memoryview | Mapping | set | frozenset)
    if (
        unusable
        or hasattr(texts, "columns")
        or not isinstance(texts, Iterable)
        or getattr(texts, "ndim", 1) != 1
    ):
        raise InputError(f"{argument} is {type(texts).__name__}; give a list of texts, or one column of them")
    return texts.to_pylist() if hasattr(texts, "to_pylist") else texts


def _require_encodable(text: str, name: str, source: str = "") -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{name} holds half of a surrogate pair, which is no text; fix it or leave it out{source}"
        ) from None


def require_possible(*, output_value: str | None, device: Any, own_device: str, pool: Any) -> None:
    """Refuse what would change the result or where it is computed, and cannot be done in one call.

    Raises:
        InputError: token vectors, another device than the embedder's, or a pool of processes.
    """
    if output_value != "sentence_embedding":
        raise InputError(
            f"output_value {output_value!r}: an Embedder gives one vector per text, 'sentence_embedding'"
        )
    same = PROCESSOR_NAMES if own_device in PROCESSOR_NAMES else (own_device,)
    if device is not None and str(device) not in same:
        raise InputError(
            f"device {device!r}: this Embedder runs on {own_device}; make another one for another"
        )
    if pool is not None:
        raise InputError("pool: there are none here; an Embedder uses every core from one process")


def as_asked(values: Values, *, convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
    """Return an array (n, width) as it is, as one tensor, or as a list of n tensors when neither is asked for.

    Raises:
        MissingExtraError: a tensor is asked for and torch is not installed.
    """
    if convert_to_tensor:
        return as_tensor(values)
    return values if convert_to_numpy else list(as_tensor(values))


@contextmanager
def progress_bar(texts: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr and give what moves it, called with the texts and tokens of each step."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("texts", total=texts)
        yield lambda count, _tokens: bar.advance(task, count)
        bar.update(task, completed=texts)  # repeats are in no step

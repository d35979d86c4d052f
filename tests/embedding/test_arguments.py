"""What is not a text is never taken for one, and wrong types of arguments are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing import Embedder
from farthing.errors import InputError

NO_TEXT = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=4),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.just("\ud800"),
)


@settings(max_examples=60)
@given(st.data(), st.lists(st.text(max_size=4), max_size=3), NO_TEXT)
def test_a_list_with_something_else_names_its_row(
    tiny: Embedder, data: st.DataObject, texts: list[Any], other: object
) -> None:
    row = data.draw(st.integers(0, len(texts)))
    texts.insert(row, other)
    for take in (tiny.encode, tiny.embed, tiny.encode_query, tiny.encode_document):
        with pytest.raises(InputError, match=f"^text {row} .* of (inputs|texts)$"):
            take(texts)


NO_TEXTS: list[Any] = [
    {"a": "x", "b": "y"},
    {"a", "b"},
    frozenset({"a"}),
    b"ab",
    bytearray(b"ab"),
    memoryview(b"ab"),
    5,
    2.5,
    True,
    object(),
    np.array("a"),
    np.array([["a", "b"]]),
    pa.table({"text": ["a", "b"]}),
    pa.record_batch({"text": ["a", "b"]}),
]


@pytest.mark.parametrize("given", NO_TEXTS, ids=lambda given: type(given).__name__)
def test_what_is_no_list_of_texts_is_refused(tiny: Embedder, given: Any) -> None:
    kind = type(given).__name__
    with pytest.raises(InputError, match=f"^inputs is {kind};"):
        tiny.encode(given)
    with pytest.raises(InputError, match=f"^sentences is {kind};"):
        tiny.encode(sentences=given)
    with pytest.raises(InputError, match=f"^texts is {kind};"):
        tiny.embed(given)


class _Column:
    """As a column of pandas: no sequence, but its values in order."""

    ndim = 1

    def __iter__(self) -> Any:
        return iter(["a", "b c"])


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        iter,
        lambda texts: dict.fromkeys(texts).keys(),
        lambda texts: (text for text in texts),
        np.array,
        lambda texts: np.array(texts, object),
        pa.array,
        lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
        lambda _: _Column(),
    ],
)
def test_every_column_of_texts_is_taken(tiny: Embedder, make: Any) -> None:
    expected = tiny.encode(["a", "b c"])
    assert np.array_equal(tiny.encode(make(["a", "b c"])), expected)
    assert np.allclose(tiny.embed(make(["a", "b c"])).vectors, expected, atol=1e-6)


WRONG = [
    ("prompt", 5),
    ("prompt", b"x"),
    ("prompt", "\udfff"),
    ("prompt_name", 5),
    ("prompt_name", ["query"]),
    ("truncate_dim", "64"),
    ("truncate_dim", 2.0),
    ("truncate_dim", True),
    ("ranges", "x"),
    ("ranges", [[1], [2, 3]]),
    ("precision", ["int8"]),
    ("precision", 8),
]


@pytest.mark.parametrize(("argument", "value"), WRONG)
def test_a_wrong_type_of_an_argument_is_named(tiny: Embedder, argument: str, value: Any) -> None:
    options: dict[str, Any] = {"precision": "int8", argument: value}
    for take in (tiny.encode, tiny.embed):
        with pytest.raises(InputError, match=argument):
            take(["a", "b"], **options)


WRONG_SETTINGS = [
    ("model", 5),
    ("revision", 5),
    ("device", None),
    ("device", 0),
    ("dtype", 16),
    ("max_length", "64"),
    ("max_length", True),
    ("max_length", 8.0),
    ("truncation_side", 5),
    ("truncate", "no"),
    ("truncate", None),
    ("usd_per_hour", "1"),
    ("usd_per_hour", True),
    ("cache_texts", None),
    ("cache_texts", "10"),
    ("mode", 5),
    ("threads", "2"),
    ("threads", True),
]


@pytest.mark.parametrize(("argument", "value"), WRONG_SETTINGS)
def test_a_wrong_type_of_a_setting_is_named(tiny: Embedder, argument: str, value: Any) -> None:
    given: dict[str, Any] = {"model": str(tiny.model.checkpoint.folder), argument: value}
    with pytest.raises(InputError, match="USD per hour" if argument == "usd_per_hour" else argument):
        Embedder(**given)

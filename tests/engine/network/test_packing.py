"""Where the tokens of a step stand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine.network.packing import dense_width, grid_width, packed, padded

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=6)


def texts_of(lengths: list[int]) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    return [np.arange(1, length + 1, dtype=np.int32) + 1000 * row for row, length in enumerate(lengths)]


@given(LENGTHS, st.integers(0, 20))
def test_packed_tokens(lengths: list[int], more: int) -> None:
    texts, width = texts_of(lengths), max(lengths) + more
    ids, positions, slots, places, counts = packed(texts, width)
    assert counts.tolist() == lengths
    assert slots.shape == (len(lengths), width)
    assert ids.tolist() == np.concatenate(texts).tolist()
    for row, text in enumerate(texts):
        assert ids[slots[row, : len(text)]].tolist() == text.tolist()
        assert not slots[row, len(text) :].any()
    assert slots.reshape(-1)[places].tolist() == list(range(len(ids)))
    assert positions.tolist() == [place for length in lengths for place in range(length)]
    assert packed(texts).slots.shape[1] == max(lengths)


@given(LENGTHS)
def test_padded_tokens(lengths: list[int]) -> None:
    texts = texts_of(lengths)
    width = dense_width(max(lengths))
    ids, positions, slots, counts = padded(texts, width)
    assert counts.tolist() == lengths
    assert max(lengths) <= width <= 1.125 * max(lengths)
    assert width == max(lengths) or max(lengths) > 16
    assert slots.tolist() == np.arange(len(lengths) * width).reshape(-1, width).tolist()
    assert positions.max() == max(lengths) - 1
    for row, text in enumerate(texts):
        assert ids.reshape(slots.shape)[row].tolist() == [*text, *[0] * (width - len(text))]
        assert positions.reshape(slots.shape)[row, : len(text)].tolist() == list(range(len(text)))


def test_few_different_lengths() -> None:
    """A length that was not met before costs time and memory: there are not many of them."""
    assert len({dense_width(length) for length in range(1, 513)}) == 16 + 5 * 8


def test_a_row_is_filled_up_where_it_is_half_way_there() -> None:
    lengths = (1, 7, 8, 16, 17, 23, 24, 250)
    assert [grid_width(longest) for longest in lengths] == [1, 7, 16, 16, 17, 23, 32, 256]

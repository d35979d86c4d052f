"""Sizes of recorded steps, and how a step's input lies in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine.torch.recorded import Size, recorded_sizes
from farthing.engine.torch.staging import Staging, room
from farthing.theory.shapes import ModelShape
from makers import MINILM, QWEN3_8B

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("shape", "padded", "most"), [(MINILM, False, 8448), (MINILM, True, 512), (QWEN3_8B, False, 1024)]
)
def test_small_models_are_recorded_further(shape: ModelShape, padded: bool, most: int) -> None:
    sizes = list(recorded_sizes(shape, padded=padded))
    assert sizes == sorted(set(sizes))
    assert max(size.tokens for size in sizes) == most
    assert 10 < len(sizes) < 60
    assert all(size.texts <= size.tokens <= size.texts * size.longest for size in sizes)
    assert all(size.longest <= min(size.tokens, shape.max_positions) for size in sizes)
    assert all(size.longest <= 512 for size in sizes if size.texts > 5)


@given(st.integers(1, 256))
def test_a_full_step_is_recorded_whatever_its_texts(texts: int) -> None:
    """Of a small model: launching it takes longer than running it."""
    shape = replace(MINILM, max_positions=8192)
    lengths = [8192 // texts] * texts if texts > 16 else [*[1] * (texts - 1), 8193 - texts]
    found = [size.filler(lengths) for size in recorded_sizes(shape, padded=False)]
    few = texts <= 4 or texts > 16  # between, a long text among many is not
    assert any(filler is not None for filler in found) or not few


@given(LENGTHS, st.sampled_from(list(recorded_sizes(MINILM, padded=False))))
def test_a_step_is_filled_up_or_not_of_the_size(lengths: list[int], size: Size) -> None:
    filler = size.filler(lengths)
    if filler is None:
        more = size.texts - len(lengths)
        spare = size.tokens - sum(lengths)
        assert more < 1 or not more <= spare <= more * size.longest or max(lengths) > size.longest
        return
    assert len(lengths) + len(filler) == size.texts
    assert sum(lengths) + sum(filler) == size.tokens
    assert 1 <= min(filler) <= max(filler) <= size.longest


@given(LENGTHS, st.lists(st.integers(1, 9), max_size=3))
def test_what_the_network_is_told(lengths: list[int], filler: list[int]) -> None:
    texts = [np.full(length, place + 1, np.int32) for place, length in enumerate(lengths)]
    staging, everything = Staging(CPU), [*lengths, *filler]
    for _ in range(2):  # again, from memory that is not empty
        ids, bounds, longest = staging.placed(texts, filler)
        assert ids.dtype == bounds.dtype == torch.int32
        assert ids.tolist() == [*np.concatenate(texts), *[0] * sum(filler)]
        assert bounds.tolist() == [0, *np.cumsum(everything)]
        assert longest % 8 == 0
        assert max(everything) <= longest < max(everything) + 8
        assert (bounds.data_ptr() - ids.data_ptr()) % 16 == 0
        lengths = [*reversed(lengths)]
        texts, everything = [*reversed(texts)], [*lengths, *filler]


def test_memory_is_used_again() -> None:
    staging, memory = Staging(CPU), room(5, 2, CPU)
    first = staging.placed([np.arange(3, dtype=np.int32)], [2], memory)
    second = staging.placed([np.arange(7, 10, dtype=np.int32)], [2], memory)
    assert first.ids.data_ptr() == second.ids.data_ptr()
    assert first.ids.tolist() == [7, 8, 9, 0, 0]
    vectors = torch.arange(6.0).reshape(2, 3).bfloat16()
    found = staging.fetched(vectors)
    assert found.dtype == torch.float32
    assert staging.fetched(vectors + 1).data_ptr() == found.data_ptr()
    assert found.tolist() == [[1, 2, 3], [4, 5, 6]]

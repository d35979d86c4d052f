"""Formatting a job: ranges from exactly the first texts, whatever the parts, and nothing held longer than it must."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.embedding import formatting
from farthing.embedding.formats import VectorFormat, ranges_of
from farthing.embedding.formatting import Formatter
from farthing.embedding.steps import EmbeddedTexts
from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.errors import EngineError, InputError

DIMENSION = 36
SAMPLE = 10


@pytest.fixture(scope="module")
def checkpoint(tiny_bert: Path) -> Checkpoint:
    return read_checkpoint(locate_model(str(tiny_bert)))


@pytest.fixture(autouse=True, scope="module")
def _small_sample() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(formatting, "RANGE_SAMPLE_TEXTS", SAMPLE)
    yield
    patch.undo()


def drawn(texts: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(texts).normal(size=(texts, DIMENSION)).astype(np.float32)


def parts_of(
    vectors: npt.NDArray[np.float32], sizes: list[int], failed: Container[int] = ()
) -> list[EmbeddedTexts]:
    numbers = np.arange(len(vectors), dtype=np.int32)
    ends = np.cumsum(sizes)[:-1]
    return [
        EmbeddedTexts(
            part,
            tokens,
            {row: EngineError(f"{number}") for row, number in enumerate(tokens.tolist()) if number in failed},
        )
        for part, tokens in zip(np.split(vectors, ends), np.split(numbers, ends), strict=True)
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 14), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 2))
def test_ranges_are_of_exactly_the_first_texts(checkpoint: Checkpoint, sizes: list[int]) -> None:
    vectors = drawn(sum(sizes))
    formatter = Formatter(checkpoint, precision="int8")
    done = formatter.joined(parts_of(vectors, sizes))
    form = VectorFormat("int8", DIMENSION, ranges_of(vectors[:SAMPLE]))
    np.testing.assert_array_equal(done.vectors, form.quantized(vectors))
    assert done.tokens.tolist() == list(range(len(vectors)))
    assert formatter.sample_texts == min(SAMPLE, len(vectors))
    assert formatter.clipped == form.outside(vectors[SAMPLE:])
    np.testing.assert_array_equal(formatter.format.ranges, form.ranges)


def test_parts_are_held_back_only_for_the_sample(checkpoint: Checkpoint) -> None:
    taken = 0

    def parts() -> Iterator[EmbeddedTexts]:
        nonlocal taken
        for part in parts_of(drawn(60), [6] * 10):
            taken += 1
            yield part

    for precision, given_ranges, first in (
        ("int8", None, 2),
        ("float16", None, 1),
        ("uint8", np.stack([drawn(9).min(axis=0), drawn(9).max(axis=0)]), 1),
    ):
        taken = 0
        formatter = Formatter(checkpoint, precision=precision, ranges=given_ranges)
        done = formatter.run(parts())
        next(done)
        assert taken == first
        assert len(list(done)) == 9
    assert formatter.sample_texts == 0
    assert formatter.clipped > 0


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 14), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 2),
    failing=st.sets(st.integers(0, 60)),
)
def test_failed_texts_are_named_and_tell_nothing_of_ranges(
    checkpoint: Checkpoint, sizes: list[int], failing: set[int]
) -> None:
    """Their rows are zeros, which may lie outside the ranges of all others; nobody clipped a value there."""
    vectors = drawn(sum(sizes)) + 100
    failed = [row for row in range(len(vectors)) if row in failing]
    good = np.delete(np.arange(len(vectors)), failed)
    vectors[failed] = 0
    formatter = Formatter(checkpoint, precision="int8")
    if len(good) < 2:
        with pytest.raises(InputError, match="at least 2 texts"):
            formatter.joined(parts_of(vectors, sizes, failed))
        return
    done = formatter.joined(parts_of(vectors, sizes, failed))
    assert sorted(done.failed) == failed
    assert all(str(error) == str(row) for row, error in done.failed.items())
    form = VectorFormat("int8", DIMENSION, ranges_of(vectors[good][:SAMPLE]))
    np.testing.assert_array_equal(formatter.format.ranges, form.ranges)
    np.testing.assert_array_equal(done.vectors[good], form.quantized(vectors[good]))
    assert formatter.sample_texts == min(SAMPLE, len(good))
    assert formatter.clipped == form.outside(vectors[good])


@pytest.mark.parametrize(
    ("precision", "width"), [("int8", 12), ("float16", 12), ("binary", 2), ("ubinary", 2)]
)
def test_cut_and_scaled_before_quantizing(checkpoint: Checkpoint, precision: str, width: int) -> None:
    vectors = drawn(7)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    formatter = Formatter(checkpoint, precision=precision, truncate_dim=12)
    done = formatter.joined(parts_of(vectors, [7]))
    assert done.vectors.shape == (7, width)
    expected = vectors[:, :12] / np.linalg.norm(vectors[:, :12], axis=1, keepdims=True)
    if precision == "int8":
        assert formatter.format.ranges is not None
        np.testing.assert_allclose(formatter.format.ranges, ranges_of(expected), atol=1e-6)
    back = formatter.format.floats(done.vectors)
    nearest = np.sign(expected) if "binary" in precision else expected
    np.testing.assert_allclose(back, nearest, atol=1 / 255)


def test_no_texts(checkpoint: Checkpoint) -> None:
    formatter = Formatter(checkpoint, precision="int8")
    formatter.require_enough(0)
    done = formatter.joined([])
    assert (done.vectors.shape, done.tokens.shape) == ((0, DIMENSION), (0,))
    assert done.vectors.dtype == np.int8


def test_what_cannot_be_is_said_before_anything_runs(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match="'int4'"):
        Formatter(checkpoint, precision="int4")
    for dimension in (0, -1, DIMENSION + 1):
        with pytest.raises(InputError, match=f"{dimension} dimensions: must be 1 to {DIMENSION}"):
            Formatter(checkpoint, truncate_dim=dimension)
    with pytest.raises(InputError, match=r"shape \(2, 36\), not \(2, 12\)"):
        Formatter(checkpoint, precision="int8", truncate_dim=12, ranges=np.zeros((2, 36)))
    with pytest.raises(InputError, match="binary has no ranges"):
        Formatter(checkpoint, precision="binary", ranges=np.zeros((2, 36)))
    with pytest.raises(InputError, match="at least 2 texts"):
        Formatter(checkpoint, precision="uint8").require_enough(1)
    Formatter(checkpoint, precision="uint8", ranges=np.zeros((2, 36))).require_enough(1)
    Formatter(checkpoint, precision="binary").require_enough(1)

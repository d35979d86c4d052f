"""Output formats: sentence-transformers' to the bit, and what comes back is as near as a step allows."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.embedding.formats import (
    PRECISIONS,
    Precision,
    VectorFormat,
    cut,
    ranges_of,
    require_precision,
    require_ranges,
    require_sample,
    unit,
)
from farthing.errors import InputError

Vectors = npt.NDArray[np.float32]

THEIRS = ("float32", "int8", "uint8", "binary", "ubinary")


def drawn(texts: int, dimension: int, seed: int) -> Vectors:
    """Return vectors with a dimension that never changes, one that is zero, and one far from zero."""
    vectors = np.random.default_rng(seed).normal(size=(texts, dimension)).astype(np.float32)
    vectors[:, 0] = 0.25
    if dimension > 2:
        vectors[:, 1] = 0
        vectors[:, 2] += 100
    return vectors


sizes = {"texts": st.integers(2, 40), "dimension": st.integers(1, 40), "seed": st.integers(0, 2**32 - 1)}


@pytest.mark.parametrize("precision", THEIRS)
@settings(deadline=None)
@given(**sizes)
def test_equal_to_sentence_transformers(precision: Any, texts: int, dimension: int, seed: int) -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    sample, later = drawn(texts, dimension, seed), drawn(texts, dimension, seed + 1)
    form = VectorFormat(precision, dimension, ranges_of(sample))
    for vectors in (sample, later):
        ours = form.quantized(vectors)
        theirs: Any = quantize_embeddings(vectors, precision, calibration_embeddings=sample)
        assert ours.dtype == theirs.dtype == form.value_type
        assert ours.shape == theirs.shape == (texts, form.width)
        np.testing.assert_array_equal(ours, theirs)


def test_by_hand() -> None:
    vectors = np.array([[0.5, -1, 0, 0.1, 2, -3, 1e-9, -0.0, 7, -7]], np.float32)
    # 1001 1010 10……: positive is 1, and zero is not positive.
    assert VectorFormat("ubinary", 10).quantized(vectors).tolist() == [[0b10011010, 0b10000000]]
    assert VectorFormat("binary", 10).quantized(vectors).tolist() == [[0b10011010 - 128, 0]]
    assert VectorFormat("binary", 10).floats(np.array([[0b10011010 - 128, 0]], np.int8)).tolist() == [
        [1, -1, -1, 1, 1, -1, 1, -1, 1, -1]
    ]
    ranges = np.array([[0, -255], [255, 255]], np.float32)
    values = np.array([[0, -255], [1.5, 0], [255, 255], [-9, 900]], np.float32)
    assert VectorFormat("uint8", 2, ranges).quantized(values).tolist() == [
        [0, 0],
        [1, 127],
        [255, 255],
        [0, 255],
    ]
    assert VectorFormat("int8", 2, ranges).quantized(values).tolist() == [
        [-128, -128],
        [-127, -1],
        [127, 127],
        [-128, 127],
    ]
    assert VectorFormat("int8", 2, ranges).outside(values) == 2
    assert VectorFormat("uint8", 2, ranges).floats(np.array([[1, 255]], np.uint8)).tolist() == [[1.5, 255]]


@pytest.mark.parametrize("precision", ["int8", "uint8"])
@settings(deadline=None)
@given(**sizes)
def test_integers_come_back_within_half_a_step(
    precision: Precision, texts: int, dimension: int, seed: int
) -> None:
    vectors = drawn(texts, dimension, seed)
    form = VectorFormat(precision, dimension, ranges_of(vectors))
    assert form.outside(vectors) == 0
    back = form.floats(form.quantized(vectors))
    assert back.dtype == np.float32
    width = vectors.max(axis=0) - vectors.min(axis=0)
    rounding = np.abs(vectors).max(axis=0) * 1e-6
    assert (np.abs(back - vectors) <= width / 510 + rounding).all()
    # What lies outside comes back as the nearest value inside.
    beyond = form.floats(form.quantized(vectors + 2 * width))
    np.testing.assert_allclose(beyond, np.broadcast_to(vectors.max(axis=0), beyond.shape), rtol=1e-6)
    assert form.outside(vectors + 2 * width) == int((width > 0).sum()) * texts


def test_floats_come_back_as_they_are() -> None:
    vectors = drawn(9, 7, 0)
    assert VectorFormat("float32", 7).quantized(vectors) is vectors
    half = VectorFormat("float16", 7)
    np.testing.assert_array_equal(half.floats(half.quantized(vectors)), vectors.astype(np.float16))
    large = np.array([[1e5, -np.inf, 65504, 0]], np.float32)
    assert VectorFormat("float16", 4).outside(large) == 2
    assert VectorFormat("float16", 4).quantized(large).tolist() == [[65504, -65504, 65504, 0]]


def test_a_very_narrow_range_clips_what_is_far_outside() -> None:
    ranges = np.array([[0], [1e-37]], np.float32)
    assert VectorFormat("uint8", 1, ranges).quantized(np.array([[1e30], [-1e30]], np.float32)).tolist() == [
        [255],
        [0],
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_vectors(precision: Precision) -> None:
    form = VectorFormat(precision, 9, np.zeros((2, 9), np.float32))
    values = form.quantized(np.empty((0, 9), np.float32))
    assert (values.shape, values.dtype) == ((0, form.width), form.value_type)
    assert form.floats(values).shape == (0, 9)
    assert form.outside(np.empty((0, 9), np.float32)) == 0


@pytest.mark.parametrize(
    "ranges",
    [
        np.zeros(4),
        np.zeros((2, 3)),
        np.zeros((4, 2)),
        [[0, 0, 0, 1], [1, 1, 1, 0.5]],
        np.full((2, 4), np.nan),
    ],
)
def test_ranges_that_cannot_be(ranges: npt.ArrayLike) -> None:
    with pytest.raises(InputError, match="ranges"):
        require_ranges(ranges, 4)


def test_ranges_of_a_user() -> None:
    given_as_lists = require_ranges([[0, 1], [0, 2]], 2)
    assert given_as_lists.dtype == np.float32
    assert given_as_lists.tolist() == [[0, 1], [0, 2]]


def test_one_text_has_no_range() -> None:
    require_sample(2)
    for texts in (0, 1):
        with pytest.raises(InputError, match="at least 2 texts"):
            ranges_of(np.ones((texts, 4), np.float32))


def test_precisions_have_names() -> None:
    assert [require_precision(name) for name in get_args(Precision)] == list(PRECISIONS)
    with pytest.raises(InputError, match=r"'int4': use one of float32, float16, int8"):
        require_precision("int4")


def test_cut_and_scaled() -> None:
    vectors = np.array([[3, 4, 12], [0, 0, 1]], np.float32)
    assert cut(vectors, 3) is vectors
    assert cut(vectors, 2).tolist() == [[3, 4], [0, 0]]
    np.testing.assert_allclose(unit(cut(vectors, 2)), np.array([[0.6, 0.8], [0, 0]]), atol=1e-7)

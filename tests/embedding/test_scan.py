"""Scanning: everything is counted and checked, the sample is uniform over different texts, and bounded."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.bulk.reading import open_source
from farthing.embedding.scan import scan
from farthing.errors import InputError, RowError


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(1, 40), st.integers(1, 2000))
def test_counts_and_bounds(texts: list[str], most: int, most_bytes: int) -> None:
    result = scan(texts, sample_texts=most, sample_bytes=most_bytes)
    assert (result.texts, result.characters) == (len(texts), sum(map(len, texts)))
    assert len(result.sample) <= most
    assert bool(result.sample) == bool(texts)
    occurrences = Counter(texts)
    assert [occurrences[text] for text in result.sample] == list(result.repeats)
    assert len(set(result.sample)) == len(result.sample)
    if len(result.sample) > 1:
        assert sum(map(sys.getsizeof, result.sample)) <= most_bytes
    assert result == scan(texts, sample_texts=most, sample_bytes=most_bytes)


def test_few_texts_are_all_sampled() -> None:
    texts = [str(n) for n in range(2000)]
    result = scan(texts)
    assert set(result.sample) == set(texts)
    assert result.scale == 1


def test_more_texts_are_sampled_evenly() -> None:
    result = scan([str(n) for n in range(20_000)])
    assert len(set(result.sample)) == 2000
    mean = sum(map(int, result.sample)) / 2000
    assert mean == pytest.approx(10_000, abs=5 * 20_000 / 12**0.5 / 2000**0.5)


def test_long_texts_lower_the_count_and_stay_even() -> None:
    texts = [f"{n:04}" * 250 for n in range(3000)]
    result = scan(texts, sample_bytes=200_000)
    assert 150 < len(result.sample) < 200
    assert set(result.sample) <= set(texts)
    mean = sum(int(text[:4]) for text in result.sample) / len(result.sample)
    assert mean == pytest.approx(1500, abs=5 * 3000 / 12**0.5 / len(result.sample) ** 0.5)


@pytest.mark.parametrize("copies", [1, 4])
def test_scale_leads_to_the_characters_of_different_texts(copies: int) -> None:
    different = ["x" * (1 + n % 50) + str(n) for n in range(10_000)]
    result = scan(different * copies)
    estimate = result.scale * sum(map(len, result.sample))
    assert estimate == pytest.approx(sum(map(len, different)), rel=1e-9)


def test_scale_sees_that_only_some_texts_repeat() -> None:
    different = [f"text number {n}" for n in range(12_000)]
    result = scan(different + different[:6000] * 3)
    estimate = result.scale * sum(map(len, result.sample))
    assert estimate == pytest.approx(sum(map(len, different)), rel=0.1)


def test_prefix_is_part_of_what_is_counted() -> None:
    result = scan(["a", "bb", "bb"]).prefixed("query: ")
    assert set(result.sample) == {"query: a", "query: bb"}
    assert result.characters == 3 * 7 + 5
    assert result.scale == 1


def test_empty_texts_have_a_scale() -> None:
    assert scan([""] * 5).scale == 1


def test_a_text_larger_than_the_bound_is_kept_whole() -> None:
    assert scan(["x" * 10_000], sample_bytes=10).sample == ("x" * 10_000,)


def test_a_bad_last_row_is_found(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a"}\n' * 3000 + '{"text": 1}\n')
    with pytest.raises(RowError, match=r"c\.jsonl: row 3000 \(line 3001\)"):
        scan(record.text for record in open_source(str(path)))


def test_nothing_to_scan(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.touch()
    with pytest.raises(InputError, match=r"c\.txt: holds no texts"):
        scan(record.text for record in open_source(str(path)))


def test_what_is_past_the_limit_is_no_work() -> None:
    """Twenty thousand short texts and one endless one: its length must not scale the rest."""
    texts = [f"short text {n}" for n in range(20_000)] + ["x" * 10_000_000]
    result = scan(texts, cap=100)
    estimate = result.scale * sum(min(len(text), 100) for text in result.sample)
    assert estimate == pytest.approx(sum(min(len(text), 100) for text in texts), rel=1e-9)
    assert result.scale == pytest.approx(10, rel=0.1)

"""`--lengths`: a mean, a profile, a file of counts or of texts, token counts; and what is none of these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.load import load_tokenizers
from farthing.engine.text.token_counts import token_counter_if_here
from farthing.errors import InputError, RowError
from farthing.planning.asked.lengths import SPECIAL_TOKENS, lengths_from
from farthing.theory.lengths import PROFILES, LengthDistribution, counted_lengths, profile_lengths


def read(given: Any, **counting: Any) -> LengthDistribution:
    return lengths_from(given, **{"tokens_per_character": 0.25, **counting})


def words(texts: Sequence[str]) -> list[int]:
    """Count words, as some tokenizer would; of a text of none, none."""
    return [len(text.split()) for text in texts]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# A number, a profile, token counts, a distribution


@pytest.mark.parametrize(
    ("given", "tokens"), [(300, 300), (299.6, 300), ("300", 300), (" 2e3 ", 2000), ("1_000", 1000), (1, 1)]
)
def test_a_number_is_the_length_of_every_text(given: Any, tokens: int) -> None:
    texts = read(given)
    assert (texts.lengths, texts.probabilities) == ((tokens,), (1.0,))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_goes_by_its_name(name: str) -> None:
    assert read(name) == read(f" {name.upper()} ") == profile_lengths(name)


def test_a_file_does_not_hide_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "code", "5\n")
    assert read("code") == profile_lengths("code")
    assert read("./code").lengths == (5,)


@given(st.lists(st.integers(1, 10**9), min_size=1))
def test_token_counts_are_counted(counts: list[int]) -> None:
    assert read(counts) == read(tuple(counts)) == counted_lengths(counts, "the token counts given")


def test_numpys_numbers_count_as_pythons() -> None:
    numpy = pytest.importorskip("numpy")
    assert read(numpy.array([3, 5, 5])).lengths == (3, 5)
    assert read(numpy.int64(300)).lengths == (300,)
    assert read(numpy.float32(300)).lengths == (300,)


def test_a_distribution_stays_as_it_is() -> None:
    texts = counted_lengths([3, 4], "here")
    assert read(texts) is texts


@pytest.mark.parametrize(
    "given",
    [0, -5, 0.4, float("nan"), float("inf"), 10**10, True, "0", "-3", "nan", "inf", "1e300", None, b"x"],
)
def test_a_mean_must_be_a_length(given: Any) -> None:
    with pytest.raises(InputError, match=r"lengths .*give a mean from 1 to 1,000,000,000 tokens"):
        read(given)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "5", None, float("nan"), 10**12])
def test_a_bad_count_is_named_by_its_place(bad: Any) -> None:
    with pytest.raises(InputError, match=r"lengths\[2\] is "):
        read([7, 8, bad, 9])


def test_no_counts_are_an_error() -> None:
    with pytest.raises(InputError, match="at least one"):
        read([])


@pytest.mark.parametrize(
    "given", ["", "  ", "tweets", "no/such/file.txt", "~nobody-of-that-name/x", "x" * 5000, "a\0b", "1,5"]
)
def test_what_is_nothing_says_what_it_could_be(given: str) -> None:
    with pytest.raises(InputError, match=r"give a mean in tokens, a file, or one of the profiles queries"):
        read(given)


# Files of token counts


def test_a_file_of_counts(tmp_path: Path) -> None:
    path = write(tmp_path, "counts.txt", "10\n20\n20\n\n30\n")
    for as_given in (path, str(path)):
        assert read(as_given) == counted_lengths([10, 20, 20, 30], "4 token counts in counts.txt")


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "counts.txt", "10\n")
    assert read("~/counts.txt").lengths == (10,)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf10\n20\n", b"10\r\n20\r\n", b"  10\n\t20", b"\n\n10\n \n20\n\n"]
)
def test_marks_line_ends_and_blanks_do_not_matter(tmp_path: Path, content: bytes) -> None:
    assert read(write(tmp_path, "counts.txt", content)).lengths == (10, 20)


@pytest.mark.parametrize("bad", ["0", "-5", "3.5", "nan", "inf", "1e3", "9" * 5000, "tokens", "10,20", "²"])
def test_a_bad_line_among_counts_is_named_by_its_number(tmp_path: Path, bad: str) -> None:
    """Never taken for a text, nor the whole file for texts; blank lines count as lines."""
    path = write(tmp_path, "counts.txt", f"10\n\n20\n{bad}\n30\n")
    with pytest.raises(RowError, match=r"line 4: .*whole numbers from 1") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 200


def test_a_bad_line_far_down_is_found_too(tmp_path: Path) -> None:
    path = write(tmp_path, "counts.txt", "10\n" * 5000 + "ten\n")
    with pytest.raises(RowError, match="line 5001: 'ten'"):
        read(path)


@pytest.mark.parametrize(
    ("content", "line"),
    [("12\nfoo\n", "line 2: 'foo'"), ("foo\n12\n", "line 1: 'foo'"), ("1\n\na b\n2\nc\n", "line 3: 'a b'")],
)
def test_as_many_words_as_numbers_are_not_taken_for_texts(tmp_path: Path, content: str, line: str) -> None:
    path = write(tmp_path, "counts.txt", content)
    with pytest.raises(RowError, match=rf"{line} among token counts: .*if the lines are texts, JSON lines"):
        read(path, count_tokens=words)


def test_texts_that_are_numbers_are_forced_by_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "texts.jsonl", '{"text": "12"}\n{"text": "foo"}\n')
    assert read(path, count_tokens=words) == counted_lengths([1, 1], "2 texts in texts.jsonl, tokenized")


# Files of texts


def test_texts_are_estimated_without_a_tokenizer(tmp_path: Path) -> None:
    path = write(tmp_path, "texts.txt", "x" * 400 + "\n" + "y" * 80 + "\n")
    texts = read(path)
    assert texts.lengths == (20 + SPECIAL_TOKENS, 100 + SPECIAL_TOKENS)
    assert texts.source == "2 texts in texts.txt, tokens estimated at 0.25 per character"


def test_texts_are_counted_with_one(tmp_path: Path) -> None:
    path = write(tmp_path, "texts.txt", "one two three\r\n\r\nfour five\r\n")
    assert read(path, count_tokens=words) == counted_lengths([3, 2], "2 texts in texts.txt, tokenized")


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.ndjson", "texts.JSONL"])
def test_json_lines_have_a_text(tmp_path: Path, name: str) -> None:
    rows = [{"text": "one two three"}, {"id": 7, "text": "four\nfive"}]
    path = write(tmp_path, name, "\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert read(path, count_tokens=words).lengths == (2, 3)


def test_lines_end_where_embed_ends_them(tmp_path: Path) -> None:
    """U+2028 and form feeds are part of a text, in JSON as in plain text."""
    row = json.dumps({"text": "one\u2028two"}, ensure_ascii=False)
    assert read(write(tmp_path, "a.jsonl", row + "\n"), count_tokens=words).lengths == (2,)
    assert read(write(tmp_path, "a.txt", "one\x0ctwo\x85three\n"), count_tokens=words).lengths == (3,)


def test_a_text_without_tokens_has_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": ""}\n')
    assert read(path, count_tokens=words).lengths == (1,)
    assert read(path).lengths == (SPECIAL_TOKENS,)


def test_numbers_may_stand_among_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "texts.txt", "forty two\n42\nhow many\n")
    assert read(path, count_tokens=words) == counted_lengths([2, 1, 2], "3 texts in texts.txt, tokenized")


def test_many_texts_are_counted_a_part_at_a_time(tmp_path: Path) -> None:
    sizes = []

    def count(texts: Sequence[str]) -> list[int]:
        sizes.append(len(texts))
        return words(texts)

    path = write(tmp_path, "texts.txt", "".join(f"{'a ' * (n % 7 + 1)}\n" for n in range(2500)))
    texts = read(path, count_tokens=count)
    assert texts == counted_lengths([n % 7 + 1 for n in range(2500)], texts.source)
    assert sum(sizes) == 2500
    assert max(sizes) <= 1000


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "{",
        "[1, 2]",
        '"text"',
        "null",
        "{}",
        '{"txt": "a"}',
        '{"text": 5}',
        '{"text": null}',
        '{"text": "\\ud800"}',
        "[" * 100_000,
    ],
)
def test_a_json_line_without_a_text_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, "texts.jsonl", f'{{"text": "fine"}}\n\n{line}\n')
    with pytest.raises(RowError, match=r'texts\.jsonl: line 3: expected a JSON object with a "text"'):
        read(path)


@pytest.mark.parametrize("content", ["", "\n\n  \n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(InputError, match=r"empty\.txt: is empty; give one"):
        read(write(tmp_path, "empty.txt", content))


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(str(tmp_path))


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.txt: cannot be read"):
        read(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"\x89PNG\r\n\x1a\n\0\0", 1), (b"fine\n\xff\xfe\n", 2), (b"a\nb\nc\0d\n", 3), (bytes(900), 1)],
)
def test_a_binary_file(tmp_path: Path, content: bytes, line: int) -> None:
    with pytest.raises(RowError, match=rf"data\.bin: line {line}: is no text"):
        read(write(tmp_path, "data.bin", content))


def test_a_table_is_not_taken_for_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "trace.csv", "timestamp,tokens\n2026-01-01,5\n")
    with pytest.raises(InputError, match=r"trace\.csv: a table.*\.jsonl.*--trace"):
        read(path)
    assert read(write(tmp_path, "counts.csv", "5\n6\n")).lengths == (5, 6)


# The estimate beside the exact count


def test_the_estimate_is_near_the_count_of_the_default_models_tokenizer(
    tmp_path: Path, scifact: Path, minilm: Path
) -> None:
    """On 200 of SciFact's documents, title and text: as near as the catalog's interval for that tokenizer says."""
    with (scifact / "corpus.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(next(file)) for _ in range(200)]
    lines = [json.dumps({"text": f"{row['title']} {row['text']}"}) for row in rows]
    path = write(tmp_path, "documents.jsonl", "\n".join(lines))
    rate = next(row for row in load_tokenizers() if row.tokenizer == "wordpiece")
    counted = read(path, count_tokens=token_counter_if_here(str(minilm)))
    low, mid, high = (read(path, tokens_per_character=r).mean for r in (rate.low, rate.mid, rate.high))
    assert low < counted.mean < high
    assert mid == pytest.approx(counted.mean, rel=0.1)

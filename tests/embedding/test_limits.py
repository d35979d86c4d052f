"""Texts over the limit: cut and counted, or refused by name before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from farthing.bulk.embed_file import embed_file
from farthing.bulk.reading import open_source
from farthing.embedding.embedder import Embedder
from farthing.errors import InputError

pytestmark = pytest.mark.usefixtures("_calibrated")

LONG = "a " * 70
"""72 tokens, over the limit of 32."""


@pytest.fixture(scope="module")
def strict(tiny_bert: Path) -> Embedder:
    return Embedder(str(tiny_bert), truncate=False)


def test_the_text_its_tokens_and_the_limit_are_named(strict: Embedder) -> None:
    for call in (strict.encode, strict.embed, strict.encode_query):
        with pytest.raises(InputError, match=r"^text 2 has 72 tokens, over the limit of 32; "):
            call(["a", "a " * 30, LONG, LONG])
    with pytest.raises(InputError, match=r"^text 0 has 33 tokens"):
        strict.encode("a " * 31)


def test_texts_up_to_the_limit_are_taken(strict: Embedder) -> None:
    assert strict.encode(["a", "a " * 30]).shape == (2, 36)
    assert strict.embed(["a " * 30]).receipt.truncated == 0


def test_the_prompt_counts(strict: Embedder) -> None:
    with pytest.raises(InputError, match="text 0 has 33 tokens"):
        strict.encode(["a " * 29], prompt="b c ")


def test_truncating_is_what_happens_otherwise(tiny: Embedder) -> None:
    result = tiny.embed(["a", LONG])
    assert (result.tokens.tolist(), result.receipt.truncated) == ([3, 32], 1)


def test_a_row_of_a_file_is_named(strict: Embedder, tmp_path: Path) -> None:
    lines = [{"text": "a", "name": f"n{row}"} for row in range(2000)]
    lines[1500]["text"] = LONG
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    output = tmp_path / "out.parquet"
    for id_field, named in ((None, "row 1500"), ("name", r"row 1500 \(id n1500\)")):
        source = open_source(str(path), id_field=id_field)
        with pytest.raises(InputError, match=rf"in\.jsonl: {named} has 72 tokens, over the limit of 32; "):
            embed_file(source, str(output), strict)
    assert not output.exists()


def test_every_text_is_read_and_no_more_than_needed_at_once(strict: Embedder) -> None:
    read = 0

    def texts(count: int, long_at: int) -> Iterator[tuple[str, str]]:
        nonlocal read
        for row in range(count):
            read += 1
            yield f"the {row}th", LONG if row == long_at else "a"

    strict.model.tokenizer.refuse_longer(texts(5000, -1))
    assert read == 5000
    read = 0
    with pytest.raises(InputError, match="the 10th has 72 tokens"):
        strict.model.tokenizer.refuse_longer(texts(5000, 10))
    assert read < 5000
    for last in (1023, 1024, 4999):
        with pytest.raises(InputError, match=f"the {last}th"):
            strict.model.tokenizer.refuse_longer(texts(last + 1, last))
    strict.model.tokenizer.refuse_longer([])


def test_long_texts_are_read_few_at_a_time(strict: Embedder) -> None:
    """Memory is bounded by characters as well: a thousand texts of a megabyte are not read together."""
    read = 0

    def texts() -> Iterator[tuple[str, str]]:
        nonlocal read
        for row in range(1000):
            read += 1
            yield f"the {row}th", "a " * 300_000

    with pytest.raises(InputError, match="the 0th has more than 32 tokens, over the limit of 32"):
        strict.model.tokenizer.refuse_longer(texts())
    assert read == 2

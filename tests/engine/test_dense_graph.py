"""The graph for few texts: the vectors of the packed one, of every kind of attention, with nothing gathered between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from farthing.engine.folder.checkpoint import Pooling, read_checkpoint
from farthing.engine.dense_graph import padded
from farthing.engine.folder.locate import locate_model
from farthing.engine.openvino.engine import OpenVinoModel
from small_families import MOST_DEVIATION, deviation, random_ids, save_family

KINDS: list[tuple[str, Pooling]] = [
    ("mpnet", "mean"),  # relative positions
    ("modernbert", "cls"),  # rotary and local, the last layer trimmed
    ("qwen3", "last_token"),  # causal, grouped heads, a prefix
]


@pytest.fixture(scope="module")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Pooling], OpenVinoModel]:
    def make(family: str, pooling: Pooling) -> OpenVinoModel:
        folder = save_family(family, tmp_path_factory.mktemp("family"))
        Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
        return OpenVinoModel(replace(read_checkpoint(locate_model(str(folder))), pooling=pooling))

    return make


@pytest.mark.parametrize(("family", "pooling"), KINDS)
def test_the_vectors_of_the_packed_graph(
    family: str, pooling: Pooling, make_model: Callable[[str, Pooling], OpenVinoModel]
) -> None:
    """Several texts padded to the longest, and each alone, to lengths that are rounded up and that are not."""
    model, ids = make_model(family, pooling), random_ids()
    expected = model.stream().run(ids).copy()
    stream = model.stream("latency")
    assert model._compiled["latency"].dense
    assert len(model._compiled["latency"].graph.inputs) == 4 + model._checkpoint.reuses_prefixes
    assert deviation(stream.run(ids), expected) <= MOST_DEVIATION
    alone = np.concatenate([stream.run([one]).copy() for one in ids])
    assert deviation(alone, expected) <= MOST_DEVIATION
    if model._checkpoint.reuses_prefixes:
        before = ids[4][:5]
        past, _ = model.prefix(before)
        whole = model.stream().run([np.concatenate((before, one)) for one in ids]).copy()
        assert deviation(stream.run(ids, past), whole) <= MOST_DEVIATION
        assert deviation(stream.run(ids), expected) <= MOST_DEVIATION  # and forgotten again


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_tokens_stand_where_the_inputs_say(lengths: list[int]) -> None:
    texts = [np.arange(1, length + 1, dtype=np.int32) + 1000 * row for row, length in enumerate(lengths)]
    ids, positions, slots, counts = padded(texts)
    assert counts.tolist() == lengths
    width = slots.shape[1]
    assert max(lengths) <= width <= 1.125 * max(lengths)
    assert width == max(lengths) or max(lengths) > 16
    assert slots.tolist() == np.arange(len(lengths) * width).reshape(-1, width).tolist()
    assert positions.max() == max(lengths) - 1
    for row, text in enumerate(texts):
        assert ids.reshape(slots.shape)[row].tolist() == [*text, *[0] * (width - len(text))]
        assert positions.reshape(slots.shape)[row, : len(text)].tolist() == list(range(len(text)))


def test_few_different_lengths() -> None:
    """A length that was not met before costs time and memory: there are not many of them."""
    widths = {padded([np.zeros(length, np.int32)])[2].shape[1] for length in range(1, 513)}
    assert len(widths) == 16 + 5 * 8

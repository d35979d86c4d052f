"""The mode of an Embedder: chosen by the texts or by the caller; the warm way to a first vector imports little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from farthing.embedding.embedder import Embedder
from farthing.engine.contract import Mode
from farthing.engine.openvino.engine import OpenVinoEngine
from farthing.errors import InputError

FIRST_VECTOR = """
import sys
from farthing import Embedder
assert Embedder(sys.argv[1]).encode("the end of a story").shape == (36,)
heavy = ("torch", "transformers", "sentence_transformers", "huggingface_hub", "pyarrow", "pandas", "rich")
print([name for name in heavy if name in sys.modules])
"""


def compiled_of(embedder: Embedder) -> set[Mode]:
    assert isinstance(embedder.model.engine, OpenVinoEngine)
    return set(embedder.model.engine._compiled)


def test_the_first_vector_needs_neither_torch_nor_transformers(tiny_bert: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_VECTOR, str(tiny_bert)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_mode_is_the_callers(tiny_bert: Path) -> None:
    texts = [f"{row} of many" for row in range(300)]
    expected = Embedder(str(tiny_bert)).encode(texts)
    modes: tuple[Mode, ...] = ("latency", "throughput")
    for mode in modes:
        embedder = Embedder(str(tiny_bert), mode=mode)
        assert compiled_of(embedder) == set()
        np.testing.assert_allclose(embedder.encode("0 of many"), expected[0], atol=1e-5)
        np.testing.assert_allclose(embedder.encode(texts), expected, atol=1e-5)
        assert compiled_of(embedder) == {mode}


def test_few_texts_of_many_may_be_left_to_compute(tiny_bert: Path) -> None:
    """What is in the cache does not count: the rest is run at once."""
    embedder = Embedder(str(tiny_bert), cache_texts=10_000)
    texts = [f"{row} of many" for row in range(300)]
    whole = embedder.encode(texts)
    assert compiled_of(embedder) == {"throughput"}
    again = embedder.encode([*texts[:200], "another", *texts[200:]])
    assert compiled_of(embedder) == {"throughput", "latency"}  # the one text that is left, at once
    np.testing.assert_array_equal(np.delete(again, 200, axis=0), whole)
    np.testing.assert_allclose(again[200], embedder.encode("another"), atol=1e-6)
    assert len(np.unique(again, axis=0)) == 301


@pytest.mark.usefixtures("_calibrated")
def test_a_receipt_is_of_the_mode_that_was_calibrated(tiny_bert: Path) -> None:
    """Compiled before the job's clock runs."""
    embedder = Embedder(str(tiny_bert), mode="latency")
    receipt = embedder.embed(["a text"]).receipt
    assert compiled_of(embedder) == {"throughput"}
    assert receipt.seconds.device <= receipt.seconds.wall


def test_an_unknown_mode_is_named(tiny_bert: Path) -> None:
    with pytest.raises(InputError, match="mode 'quick'"):
        Embedder(str(tiny_bert), mode="quick")  # type: ignore[arg-type]

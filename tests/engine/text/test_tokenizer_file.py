"""A tokenizer.json of a stranger: it neither fills the memory nor ends the process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing import Embedder
from farthing.cli.main import main
from farthing.engine.text.tokenizer_file import failure, load_tokenizer
from farthing.errors import EngineError, ModelError

GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
ENDLESS = {"type": "Replace", "pattern": {"Regex": "^(a+)+$"}, "content": "b"}
CHOKING = "a" * 60 + " b"
TEXTS = ["the end", CHOKING, "of a story", CHOKING, "and more"]


def changed(tiny_bert: Path, folder: Path, **entries: Any) -> Path:
    shutil.copytree(tiny_bert, folder)
    row = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**row, **entries}))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Sequence", "normalizers": [GROWING] * 7},
        {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [GROWING] * 2}, GROWING]},
        {**GROWING, "content": "b" * 17},
        {**GROWING, "pattern": {"Regex": "[ab]"}, "content": "b" * 17},
        {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "ab"}] * 3},
    ],
)
def test_replacements_that_grow_without_end_are_refused(
    tiny_bert: Path, tmp_path: Path, normalizer: Any
) -> None:
    """At bfe82b2 seven of them took 366 MB for one letter."""
    folder = changed(tiny_bert, tmp_path / "model", normalizer=normalizer)
    with pytest.raises(ModelError, match=r"tokenizer\.json: its normalizer makes [0-9,]+ characters of one"):
        Embedder(str(folder))


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, {**GROWING, "content": "▁"}],
        },
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFKD"}, {"type": "Lowercase"}]},
    ],
)
def test_usual_normalizers_are_taken(tiny_bert: Path, tmp_path: Path, normalizer: Any) -> None:
    folder = changed(tiny_bert, tmp_path / "model", normalizer=normalizer)
    assert load_tokenizer(folder / "tokenizer.json").encode("a b").ids


def test_a_tokenizer_that_panics_at_once_is_refused_by_name(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A panic is no Exception: it went through every handler, to a traceback."""
    folder = changed(tiny_bert, tmp_path / "model", pre_tokenizer={"type": "FixedLength", "length": 0})
    (tmp_path / "in.txt").write_text("a\n")
    arguments = ["embed", str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.parquet"), "-m", str(folder)]
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("farthing: ")
    assert "tokenizer.json: cannot read a text" in shown
    assert shown.count("\n") == 1


@pytest.mark.usefixtures("_calibrated")
def test_a_text_that_a_tokenizer_panics_at_fails_alone(tiny_bert: Path, tmp_path: Path) -> None:
    folder = changed(
        tiny_bert,
        tmp_path / "model",
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {
                    "type": "Split",
                    "pattern": {"Regex": "^(a+)+b?$(?<=b)"},
                    "behavior": "Isolated",
                    "invert": False,
                },
            ],
        },
    )
    with Embedder(str(folder)) as embedder:
        result = embedder.embed(TEXTS)
        assert sorted(result.failed) == [1, 3]
        assert (result.receipt.failed, result.receipt.embedded) == (2, 3)
        assert "the tokenizer cannot read it: " in str(result.failed[1])
        good = [0, 2, 4]
        np.testing.assert_allclose(
            result.vectors[good], embedder.encode([TEXTS[row] for row in good]), atol=1e-6
        )
        assert not result.vectors[[1, 3]].any()
        with pytest.raises(EngineError, match=r"^text 1 got no vector: the tokenizer cannot read it"):
            embedder.encode(TEXTS)
        with pytest.raises(EngineError, match="the tokenizer cannot read it"):
            embedder.embed([CHOKING])
        assert embedder.encode("the end").shape == (embedder.dimension,)


def test_a_library_that_fails_is_one_line_and_an_interrupt_stays_one() -> None:
    assert failure(ValueError("no\n such   token")) == "no such token"
    assert failure(ValueError("")) == "ValueError"
    assert len(failure(ValueError("x" * 999))) == 200
    with pytest.raises(KeyboardInterrupt):
        failure(KeyboardInterrupt())

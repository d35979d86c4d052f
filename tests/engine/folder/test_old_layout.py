"""sentence-transformers' first layout: the transformer is in a folder of its own, and config.json says nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.errors import ModelError

TEXTS = ["a text", "another text that is longer", "a"]
ROWS = [
    {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


@pytest.fixture
def old(tiny_bert: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copytree(
        tiny_bert, folder / "0_Transformer", ignore=shutil.ignore_patterns("modules.json", "1_Pooling")
    )
    (folder / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps(ROWS))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def test_vectors_are_those_of_the_same_files_in_one_folder(old: Path, tiny_bert: Path) -> None:
    with Embedder(str(old)) as before, Embedder(str(tiny_bert)) as now:
        vectors, expected = (np.asarray(each.encode(TEXTS)) for each in (before, now))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_the_limit_is_that_of_the_transformers_own_folder(old: Path) -> None:
    (old / "0_Transformer" / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    with Embedder(str(old)) as embedder:
        long, cut = (np.asarray(embedder.encode([text])) for text in ("a text that is longer", "a text"))
        assert embedder.max_length == 4
    np.testing.assert_allclose(long, cut, atol=1e-6)


def test_a_folder_that_leads_out_of_the_model_is_refused(old: Path) -> None:
    (old / "modules.json").write_text(json.dumps([ROWS[0] | {"path": "../elsewhere"}, *ROWS[1:]]))
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        Embedder(str(old))

"""Model folders: what they say is read, and what the engine cannot do is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import LocatedModel
from farthing.errors import ModelError


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """Return a copy of the small BERT that a test may change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def read(folder: Path) -> Checkpoint:
    return read_checkpoint(LocatedModel("tiny", folder, None))


def write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def change(path: Path, **changes: Any) -> None:
    write(path, {**json.loads(path.read_text()), **changes})


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_a_whole_folder(folder: Path) -> None:
    checkpoint = read(folder)
    assert checkpoint.name == "tiny"
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.max_length) == ("mean", True, 32)
    assert (checkpoint.shape.layers, checkpoint.shape.hidden, checkpoint.dimension) == (3, 36, 36)
    assert checkpoint.weights == (folder / "model.safetensors",)
    assert (checkpoint.dense, checkpoint.truncation_side, checkpoint.trimmable) == ((), None, False)
    assert not checkpoint.lowercase
    assert (checkpoint.prompts, checkpoint.default_prompt) == ({}, None)


def test_the_default_model(minilm: Path) -> None:
    checkpoint = read(minilm)
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.max_length) == ("mean", True, 256)
    assert checkpoint.revision == "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_the_revision_is_the_hubs_commit_or_the_hash_of_the_weights(folder: Path) -> None:
    by_hash = read(folder).revision
    weights = (folder / "model.safetensors").read_bytes()
    assert by_hash == f"sha256:{hashlib.sha256(weights).hexdigest()}"
    kinds = ("Transformer", "Pooling", "Dense")
    rows = [{"type": f"sentence_transformers.models.{kind}", "path": f"1_{kind}"} for kind in kinds]
    write(folder / "modules.json", [{**rows[0], "path": ""}, *rows[1:]])
    write(folder / "1_Dense" / "config.json", {"in_features": 36, "out_features": 36})
    (folder / "1_Dense" / "model.safetensors").write_bytes(b"dense")
    assert read(folder).revision == f"sha256:{hashlib.sha256(weights + b'dense').hexdigest()}"
    assert read_checkpoint(LocatedModel("tiny", folder, "c0ffee")).revision == "c0ffee"


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
        ("1_Pooling/config.json", "1_Pooling"),
    ],
)
def test_a_missing_file_is_named(folder: Path, gone: str, named: str) -> None:
    (folder / gone).unlink()
    assert named in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ],
)
@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff", b""])
def test_a_broken_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    assert name in refusal(folder)


@pytest.mark.parametrize(
    ("transformer", "tokenizer", "expected"),
    [
        ({"max_seq_length": 16}, {"model_max_length": 8}, 16),
        ({"max_seq_length": 4096}, {}, 40),
        ({"max_seq_length": None}, {"model_max_length": 24}, 24),
        ({}, {"model_max_length": 24}, 24),
        ({}, {"model_max_length": 512}, 40),
        ({}, {"model_max_length": 1000000000000000019884624838656}, 40),
        ({}, {"model_max_length": 1e30}, 40),
        ({}, {}, 40),
        (None, None, 40),
    ],
)
def test_the_length_limit(folder: Path, transformer: object, tokenizer: object, expected: int) -> None:
    (folder / "sentence_bert_config.json").unlink()
    for name, value in (("sentence_bert_config", transformer), ("tokenizer_config", tokenizer)):
        if value is not None:
            write(folder / f"{name}.json", value)
    assert read(folder).max_length == expected


@pytest.mark.parametrize("limit", [0, -1, 12.5, "128", [128], True])
def test_a_limit_that_is_none_is_refused(folder: Path, limit: object) -> None:
    change(folder / "sentence_bert_config.json", max_seq_length=limit)
    assert repr(limit) in refusal(folder)


def test_earlier_names_of_the_file_with_the_limit(folder: Path) -> None:
    (folder / "sentence_bert_config.json").rename(folder / "sentence_roberta_config.json")
    change(folder / "sentence_roberta_config.json", max_seq_length=20, do_lower_case=True)
    assert (read(folder).max_length, read(folder).lowercase) == (20, True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_that_long_texts_are_truncated_on(folder: Path, side: str) -> None:
    write(folder / "tokenizer_config.json", {"truncation_side": side})
    assert read(folder).truncation_side == side
    write(folder / "tokenizer_config.json", {"truncation_side": "middle"})
    assert "'middle'" in refusal(folder)


def test_lower_case(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    assert read(folder).lowercase


def test_prompts(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    write(path, {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"})
    checkpoint = read(folder)
    assert checkpoint.prompts == {"query": "query: ", "document": ""}
    assert checkpoint.default_prompt == "query"
    write(path, {"prompts": {"query": None}, "default_prompt_name": "query"})
    assert read(folder).prompts == {"query": ""}
    write(path, {"prompts": None, "default_prompt_name": None})
    assert (read(folder).prompts, read(folder).default_prompt) == ({}, None)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"prompts": {"query": "q: "}, "default_prompt_name": "passage"}, "'passage'"),
        ({"default_prompt_name": "passage"}, "'passage'"),
        ({"prompts": ["q: "]}, "prompts"),
        ({"prompts": {"query": 3}}, "prompts"),
        ({"truncate_dim": 64}, "truncate_dim 64"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(folder: Path, config: object, named: str) -> None:
    write(folder / "config_sentence_transformers.json", config)
    assert named in refusal(folder)

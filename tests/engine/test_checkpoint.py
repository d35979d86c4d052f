"""Model folders: what they say is read, and what the engine cannot do is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from farthing.engine.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.locate import LocatedModel, locate_model
from farthing.errors import ModelError, UnsupportedModelError


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


def refusal(folder: Path, kind: type[ModelError] = ModelError) -> str:
    with pytest.raises(ModelError) as caught:
        read(folder)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_a_whole_folder(folder: Path) -> None:
    checkpoint = read(folder)
    assert checkpoint.name == "tiny"
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.max_length) == ("mean", True, 32)
    assert (checkpoint.shape.layers, checkpoint.shape.hidden, checkpoint.dimension) == (3, 36, 36)
    assert checkpoint.weights.is_file()
    assert not checkpoint.lowercase
    assert (checkpoint.prompts, checkpoint.default_prompt) == ({}, None)


def test_the_default_model(minilm: Path) -> None:
    checkpoint = read(minilm)
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.max_length) == ("mean", True, 256)
    assert checkpoint.revision == "sha256:53aa51172d142c89"


def test_the_revision_is_the_hubs_commit_or_the_hash_of_the_weights(folder: Path) -> None:
    by_hash = read(folder).revision
    assert by_hash.startswith("sha256:")
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert read(folder).revision != by_hash
    assert read_checkpoint(LocatedModel("tiny", folder, "c0ffee")).revision == "c0ffee"


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"word_embedding_dimension": 36}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["cls"]}, "cls"),
        ({"pooling_mode": "cls", "include_prompt": True}, "cls"),
    ],
)
def test_both_spellings_of_pooling(folder: Path, config: object, pooling: str) -> None:
    write(folder / "1_Pooling" / "config.json", config)
    assert read(folder).pooling == pooling


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "pooling_mode_cls_token + pooling_mode_mean_tokens",
        ),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": ["cls", "mean"]}, "cls + mean"),
        ({"pooling_mode": []}, "pooling"),
        ({"pooling_mode": 3}, "3"),
        ({"pooling_mode": [["cls"]]}, "cls"),
        ({"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
    ],
)
def test_an_unsupported_pooling_is_named(folder: Path, config: object, named: str) -> None:
    write(folder / "1_Pooling" / "config.json", config)
    message = refusal(folder, UnsupportedModelError)
    assert named in message
    assert "1_Pooling" in message


def test_the_pooling_is_read_where_modules_json_says(folder: Path) -> None:
    (folder / "1_Pooling").rename(folder / "pool")
    assert "1_Pooling" in refusal(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "pool"
    write(folder / "modules.json", modules)
    assert read(folder).pooling == "mean"


def test_without_modules_json_it_is_the_mean_as_it_is(folder: Path) -> None:
    (folder / "modules.json").unlink()
    checkpoint = read(folder)
    assert (checkpoint.pooling, checkpoint.normalize) == ("mean", False)


def test_without_a_normalize_module_it_is_not_normalised(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    write(folder / "modules.json", modules[:2])
    assert not read(folder).normalize


def test_an_unsupported_module_is_named(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    write(folder / "modules.json", modules)
    assert "'Dense'" in refusal(folder, UnsupportedModelError)


@pytest.mark.parametrize("modules", [[], [{"type": "sentence_transformers.models.Transformer"}]])
def test_a_model_without_pooling_is_refused(folder: Path, modules: object) -> None:
    write(folder / "modules.json", modules)
    assert "Pooling" in refusal(folder, UnsupportedModelError)


@pytest.mark.parametrize("modules", ["[", "[1, 2]", '["Transformer"]', "{}", "3"])
def test_broken_modules_are_named(folder: Path, modules: str) -> None:
    write(folder / "modules.json", modules)
    assert "modules.json" in refusal(folder)


def test_an_unsupported_architecture_is_named(folder: Path) -> None:
    change(folder / "config.json", model_type="t5", architectures=["T5EncoderModel"])
    assert "T5EncoderModel" in refusal(folder, UnsupportedModelError)


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


def test_lower_case(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    assert read(folder).lowercase


def test_prompts(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    write(path, {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"})
    checkpoint = read(folder)
    assert checkpoint.prompts == {"query": "query: ", "document": ""}
    assert checkpoint.default_prompt == "query"
    write(path, {"prompts": None, "default_prompt_name": None})
    assert (read(folder).prompts, read(folder).default_prompt) == ({}, None)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"prompts": {"query": "q: "}, "default_prompt_name": "passage"}, "'passage'"),
        ({"default_prompt_name": "passage"}, "'passage'"),
        ({"prompts": ["q: "]}, "prompts"),
        ({"prompts": {"query": None}}, "prompts"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(folder: Path, config: object, named: str) -> None:
    write(folder / "config_sentence_transformers.json", config)
    assert named in refusal(folder)


def test_a_family_that_only_the_theory_knows(tiny_bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "qwen"
    shutil.copytree(tiny_bert, folder)
    config = {
        "model_type": "qwen3",
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match=r"'qwen3'.*bert.*farthing explain"):
        read_checkpoint(locate_model(str(folder)))

"""Models of other kinds: each one line that says what the model is, which file says so and what to use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.load import load_model
from farthing.errors import UnsupportedModelError

QWEN3 = {
    "model_type": "qwen3",
    "vocab_size": 100,
    "hidden_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
NOMIC = {
    "model_type": "nomic_bert",
    "vocab_size": 100,
    "n_embd": 36,
    "n_head": 2,
    "n_layer": 2,
    "n_positions": 64,
    "activation_function": "swiglu",
    "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
}


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """Return a copy of the small BERT that a test may change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def change(path: Path, **changes: object) -> None:
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, **changes}))


def modules(folder: Path, *types: str) -> None:
    rows = [{"type": kind, "path": "" if not index else f"{index}"} for index, kind in enumerate(types)]
    (folder / "modules.json").write_text(json.dumps(rows))


def refusal(folder: Path) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        read_checkpoint(locate_model(str(folder)))
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        (["sparse_encoder.models.MLMTransformer", "sparse_encoder.models.SpladePooling"], "a sparse model"),
        (["models.Transformer", "models.Pooling", "sparse_encoder.models.CSRSparsity"], "a sparse model"),
        (["models.Transformer", "models.Dense"], "a multi-vector model"),
        (["models.Transformer", "models.Dense", "models.Pooling"], "a multi-vector model"),
        (
            ["base.modules.transformer.Transformer", "multi_vector_encoder.modules.MultiVectorMask"],
            "multi-vector",
        ),
        (["models.Transformer", "cross_encoder.modules.logit_score.LogitScore"], "a reranker"),
    ],
)
def test_other_kinds_by_their_modules(folder: Path, types: list[str], kind: str) -> None:
    modules(folder, *(f"sentence_transformers.{module}" for module in types))
    message = refusal(folder)
    assert kind in message
    assert "modules.json" in message
    assert ": use " in message


def test_pylates_modules(folder: Path) -> None:
    modules(folder, "sentence_transformers.models.Transformer", "pylate.models.Dense.Dense")
    assert "PyLate" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "key", "value", "kind"),
    [
        ("config_sentence_transformers.json", "model_type", "SparseEncoder", "a sparse model"),
        ("config_sentence_transformers.json", "model_type", "CrossEncoder", "a reranker"),
        ("config_sentence_transformers.json", "model_type", "ColBERT", "a multi-vector model"),
        ("config_sentence_transformers.json", "model_type", "MultiVectorEncoder", "a multi-vector model"),
        ("config_sentence_transformers.json", "model_type", "Oracle", "does not run"),
        ("sentence_bert_config.json", "transformer_task", "fill-mask", "a sparse model"),
        ("sentence_bert_config.json", "transformer_task", "sequence-classification", "a reranker"),
        ("sentence_bert_config.json", "query_expansion", {"length": 32}, "a multi-vector model"),
        ("config.json", "architectures", ["HF_ColBERT"], "a multi-vector model"),
        ("adapter_config.json", "base_model_name_or_path", "other", "merge it"),
        ("config.json", "quantization_config", {"quant_method": "gptq"}, "quantization_config"),
    ],
)
def test_other_kinds_by_their_settings(folder: Path, file: str, key: str, value: object, kind: str) -> None:
    change(folder / file, **{key: value})
    message = refusal(folder)
    assert kind in message
    assert file in message


def test_a_reranker_is_known_by_its_architecture_unless_modules_say_otherwise(folder: Path) -> None:
    change(folder / "config.json", architectures=["BertForSequenceClassification"])
    assert read_checkpoint(locate_model(str(folder))).pooling == "mean"
    (folder / "modules.json").unlink()
    assert "a reranker" in refusal(folder)


def test_a_folder_without_a_configuration_is_told_by_what_it_has(folder: Path) -> None:
    """Adapters have one of their own."""
    (folder / "adapter_config.json").write_text("{}")
    for file in ("config.json", "modules.json"):
        (folder / file).unlink()
    assert "merge it" in refusal(folder)


def test_code_of_a_checkpoint_is_never_run(folder: Path) -> None:
    """jina-embeddings-v2 calls itself a BERT, gte-Qwen2 a Qwen2; only their own code says what they are."""
    change(folder / "config.json", auto_map={"AutoConfig": "c.C", "AutoModel": "modeling_qwen.Qwen2Model"})
    message = refusal(folder)
    assert "AutoModel: modeling_qwen.Qwen2Model" in message
    assert "trust_remote_code" in message
    change(folder / "config.json", auto_map={"AutoConfig": "c.C"})
    assert read_checkpoint(locate_model(str(folder))).shape.family == "bert"


def test_code_that_the_engine_has_itself_is_no_reason(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(NOMIC))
    assert read_checkpoint(locate_model(str(folder))).shape.family == "nomic_bert"


def test_trust_is_refused_before_anything_is_looked_for() -> None:
    with pytest.raises(UnsupportedModelError, match="trust_remote_code: Farthing never runs"):
        load_model("nobody/no-such-model", trust_remote_code=True)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**QWEN3, "model_type": "eurobert"}, "'eurobert'"),
        ({**QWEN3, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({**NOMIC, "moe_every_n_layers": 2, "num_experts": 8, "moe_top_k": 2}, "mixtures of experts"),
        ({**NOMIC, "rotary_scaling_factor": 2.0}, "'dynamic'"),
    ],
)
def test_what_only_the_theory_knows(folder: Path, config: object, named: str) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    message = refusal(folder)
    assert named in message
    assert "farthing explain" in message


def test_plain_rotary_positions_run(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**QWEN3, "rope_scaling": {"rope_type": "default"}}))
    assert read_checkpoint(locate_model(str(folder))).shape.rotary_scaling is None


def test_an_architecture_that_nobody_knows(folder: Path) -> None:
    change(folder / "config.json", model_type="longt5", architectures=["LongT5EncoderModel"])
    assert "LongT5EncoderModel" in refusal(folder)


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        (
            "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel",
            {"position_embedding_type": "alibi"},
        ),
        ("mosaicml/mosaic-bert-base--bert_layers.BertForMaskedLM", {"alibi_starting_size": 512}),
    ],
)
def test_a_bert_whose_code_differs(folder: Path, code: str, settings: dict[str, object]) -> None:
    """In more than the ALiBi that the engine runs."""
    change(folder / "config.json", auto_map={"AutoModel": code}, **settings)
    assert code in refusal(folder)

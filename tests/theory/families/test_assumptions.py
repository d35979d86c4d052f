"""What is said of models whose own code is not known, and of quantized weights."""

from __future__ import annotations

from typing import Any

import pytest

from farthing.theory.families.assumptions import assumptions

QWEN = {"model_type": "qwen3"}
NEW = "Alibaba-NLP/new-impl--modeling.NewModel"


def _code(where: str) -> dict[str, Any]:
    return {"auto_map": {"AutoConfig": "c.C", "AutoModel": where}}


@pytest.mark.parametrize(
    "config",
    [
        QWEN | _code("modeling_qwen3_jasper.JasperV2Encoder"),
        {"model_type": "qwen2"} | _code("modeling_qwen.Qwen2Model"),
        {"model_type": "qwen2", "auto_map": {"AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM"}},
        {"model_type": "llama"} | _code("bidirectional_llama.LlamaBiModel"),
        {"model_type": "bert"} | _code("someone/else--modeling.OtherBert"),
        {"model_type": "bert", "position_embedding_type": "alibi"}
        | _code("jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"),
        {"model_type": "xlm-roberta"} | _code("modeling.Other"),
    ],
)
def test_code_that_is_not_known_is_said_loudly(config: dict[str, Any]) -> None:
    (note,) = assumptions(config, "folder/config.json")
    assert note.startswith("ASSUMED")
    assert "folder/config.json" in note
    assert next(reversed(config["auto_map"].values())) in note
    assert config["model_type"] in note


@pytest.mark.parametrize(
    "config",
    [
        QWEN,
        QWEN | {"auto_map": {"AutoConfig": "c.C"}},
        QWEN | {"auto_map": None},
        {"model_type": "new"} | _code(NEW),
        {"model_type": "nomic_bert"}
        | _code("nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"),
        {"model_type": "bert", "position_embedding_type": "alibi"}
        | _code("jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"),
        {"model_type": "bert", "alibi_starting_size": 512} | _code("bert_layers.BertForMaskedLM"),
        {"architectures": ["XLMRobertaModel"], "position_embedding_type": "rotary"}
        | _code("jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"),
    ],
)
def test_code_that_is_known_needs_no_word(config: dict[str, Any]) -> None:
    assert assumptions(config, "here") == ()


def test_quantized_weights_are_said() -> None:
    known = QWEN | {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
    (note,) = assumptions(known, "here")
    assert "gptq" in note
    assert "4.16 bits" in note
    (note,) = assumptions(QWEN | {"quantization_config": {"quant_method": "of-tomorrow"}}, "here")
    assert note.startswith("ASSUMED")
    assert "of-tomorrow" in note

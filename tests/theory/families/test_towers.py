"""Families that are priced and not run. Those of transformers are counted in tests/parity/test_flops_counter.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farthing.errors import ModelError
from farthing.theory.families.configs import shape_from_config

TEXT: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 80,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
}


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"])
def test_a_tower_is_described_inside_or_by_itself(kind: str) -> None:
    alone = shape_from_config(TEXT | {"model_type": f"{kind}_text"}, "here")
    inside = shape_from_config(
        {"model_type": kind, "text_config": TEXT, "vision_config": {"hidden_size": 1}}, "here"
    )
    assert replace(inside, family=alone.family) == alone
    if kind.startswith("qwen2"):
        assert shape_from_config(TEXT | {"model_type": kind}, "here") == inside


def test_clip_may_say_nothing_of_its_text() -> None:
    shape = shape_from_config(
        {"model_type": "clip", "text_config": {"model_type": "clip_text_model"}}, "here"
    )
    assert shape == shape_from_config({"model_type": "clip"}, "here")
    assert (shape.layers, shape.hidden, shape.max_positions, shape.causal) == (12, 512, 77, True)


@pytest.mark.parametrize("kind", ["clip", "qwen2_vl", "qwen3_vl"])
def test_a_text_config_that_is_none(kind: str) -> None:
    with pytest.raises(ModelError, match="text_config is 5"):
        shape_from_config({"model_type": kind, "text_config": 5}, "here")


def test_mosaic_bert_has_no_table_of_positions_and_a_gate() -> None:
    config = {
        key: TEXT[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    }
    config |= {"model_type": "bert", "intermediate_size": 96, "max_position_embeddings": 80}
    bert = shape_from_config(config, "here")
    mosaic = shape_from_config(config | {"alibi_starting_size": 512}, "here")
    assert mosaic.linear_parameters - bert.linear_parameters == 3 * 64 * 96
    assert bert.embedding_parameters - mosaic.embedding_parameters == 80 * 64


@pytest.mark.parametrize(
    ("name", "kind"),
    [("BertModel", "bert"), ("XLMRobertaForMaskedLM", "xlm-roberta"), ("Qwen3ForCausalLM", "qwen3")],
)
def test_a_missing_model_type_is_told_by_the_class(name: str, kind: str) -> None:
    unnamed = shape_from_config(TEXT | {"architectures": [name]}, "here")
    assert unnamed == shape_from_config(TEXT | {"model_type": kind}, "here")

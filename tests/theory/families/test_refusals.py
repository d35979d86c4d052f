"""What a family cannot be priced with is refused by its key, and what may be left out is."""

from __future__ import annotations

from typing import Any

import pytest

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.configs import shape_from_config
from makers import MINILM_CONFIG

BERT: dict[str, Any] = {**MINILM_CONFIG, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
T5: dict[str, Any] = {
    "model_type": "t5",
    "vocab_size": 100,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
}
DEBERTA: dict[str, Any] = {**BERT, "model_type": "deberta-v2", "relative_attention": True}

UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "t5's gate": ({**T5, "feed_forward_proj": "half-gelu"}, "feed_forward_proj 'half-gelu'"),
    "albert's inner groups": ({**BERT, "model_type": "albert", "inner_group_num": 2}, "inner_group_num 2"),
    "deberta's embeddings": ({**DEBERTA, "embedding_size": 8}, "embedding_size 8"),
    "deberta's convolution": ({**DEBERTA, "conv_groups": 2}, "conv_groups 2"),
    "deberta's keys": ({**DEBERTA, "pos_att_type": "c2p|p2c", "share_att_key": False}, "share_att_key false"),
    "jina's MLP": (
        {
            **BERT,
            "position_embedding_type": "alibi",
            "feed_forward_type": "swiglu",
        },
        "feed_forward_type 'swiglu'",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_is_not_supported_is_named(case: str) -> None:
    config, said = UNSUPPORTED[case]
    with pytest.raises(UnsupportedModelError, match=said):
        shape_from_config(config, "here")


def test_deberta_without_relative_positions_has_none() -> None:
    shape = shape_from_config({**DEBERTA, "relative_attention": False}, "here")
    assert (shape.relative_scores, shape.positions) == (0, "learned")


def test_jinas_first_models_have_the_mlp_of_a_bert() -> None:
    shape = shape_from_config({**BERT, "position_embedding_type": "alibi"}, "here")
    assert (shape.positions, shape.gated_mlp) == ("alibi", False)


def test_a_missing_number_is_named() -> None:
    gemma = {
        "model_type": "gemma2",
        "vocab_size": 100,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "attn_logit_softcapping": "wide",
    }
    with pytest.raises(ModelError, match="attn_logit_softcapping is 'wide': expected a number above 0"):
        shape_from_config(gemma, "here")

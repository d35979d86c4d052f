"""What each family calls its tensors: a table per family, from our parameters to a checkpoint's.

Source: the state dictionaries that transformers 5.23 saves; NomicBERT's are those of its own code on the hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple


class Part(NamedTuple):
    """A module of a checkpoint; a fused one keeps the weights of several of ours below each other.

    Attributes:
        name: of the module.
        place: which of them is meant.
        fused: whether there are several.
    """

    name: str
    place: int
    fused: bool = True


@dataclass(frozen=True, slots=True)
class WeightNames:
    """Names of one family's tensors, without the ending `.weight` or `.bias`.

    Attributes:
        outside: our module → theirs, what stands outside the layers.
        layer: what a layer's tensors begin with; {} is its number.
        inside: our module in a layer → theirs.
        prefixes: what a checkpoint of the family with a head puts before each name.
        ignored: beginnings of names that no embedding needs: heads and buffers.
        aliases: other names of tensors → those that they have here.
    """

    outside: Mapping[str, str]
    layer: str
    inside: Mapping[str, str | Part]
    prefixes: tuple[str, ...]
    ignored: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def source(self, module: str) -> Part:
        """Return the checkpoint's module that one of ours is in, `layers.3.attention.query` for example."""
        if not module.startswith("layers."):
            return Part(self.outside[module], 0, fused=False)
        _, layer, inside = module.split(".", 2)
        found, start = self.inside[inside], self.layer.format(layer)
        if isinstance(found, Part):
            return found._replace(name=start + found.name)
        return Part(start + found, 0, fused=False)


def _fused(source: str, *ours: str) -> dict[str, Part]:
    """Return our modules that a checkpoint keeps below each other, in their order."""
    return {module: Part(source, index) for index, module in enumerate(ours)}


_HEADS = (
    "cls.",
    "lm_head.",
    "classifier.",
    "pooler.",
    "qa_outputs.",
    "score.",
    "vocab_",
    "head.",
    "decoder.",
)

_BERT = WeightNames(
    outside={
        "embeddings.tokens": "embeddings.word_embeddings",
        "embeddings.positions": "embeddings.position_embeddings",
        "embeddings.types": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
    },
    layer="encoder.layer.{}.",
    inside={
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "mlp.up": "intermediate.dense",
        "mlp.down": "output.dense",
        "mlp_norm": "output.LayerNorm",
    },
    prefixes=("bert.", "roberta.", "model."),
    ignored=(*_HEADS, "embeddings.position_ids", "embeddings.token_type_ids"),
)

_DISTILBERT = replace(
    _BERT,
    layer="transformer.layer.{}.",
    inside={
        "attention.query": "attention.q_lin",
        "attention.key": "attention.k_lin",
        "attention.value": "attention.v_lin",
        "attention.output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "mlp.up": "ffn.lin1",
        "mlp.down": "ffn.lin2",
        "mlp_norm": "output_layer_norm",
    },
    prefixes=("distilbert.",),
)

_MPNET = replace(
    _BERT,
    outside={**_BERT.outside, "relative.table": "encoder.relative_attention_bias"},
    inside={
        **_BERT.inside,
        "attention.query": "attention.attn.q",
        "attention.key": "attention.attn.k",
        "attention.value": "attention.attn.v",
        "attention.output": "attention.attn.o",
        "attention_norm": "attention.LayerNorm",
    },
    prefixes=("mpnet.",),
)

_NOMIC_BERT = WeightNames(
    outside={
        "embeddings.tokens": "embeddings.word_embeddings",
        "embeddings.types": "embeddings.token_type_embeddings",
        "embeddings.norm": "emb_ln",
    },
    layer="encoder.layers.{}.",
    inside={
        **_fused("attn.Wqkv", "attention.query", "attention.key", "attention.value"),
        "attention.output": "attn.out_proj",
        "attention_norm": "norm1",
        "mlp.gate": "mlp.fc12",
        "mlp.up": "mlp.fc11",
        "mlp.down": "mlp.fc2",
        "mlp_norm": "norm2",
    },
    prefixes=("bert.",),
    ignored=_BERT.ignored,
)

_NOMIC_BERT_PLAIN = replace(_NOMIC_BERT, inside={**_NOMIC_BERT.inside, "mlp.up": "mlp.fc1"})

_MODERNBERT = WeightNames(
    outside={
        "embeddings.tokens": "embeddings.tok_embeddings",
        "embeddings.norm": "embeddings.norm",
        "norm": "final_norm",
    },
    layer="layers.{}.",
    inside={
        **_fused("attn.Wqkv", "attention.query", "attention.key", "attention.value"),
        "attention.output": "attn.Wo",
        "attention_norm": "attn_norm",
        **_fused("mlp.Wi", "mlp.gate", "mlp.up"),
        "mlp.down": "mlp.Wo",
        "mlp_norm": "mlp_norm",
    },
    prefixes=("model.",),
    ignored=_HEADS,
)

_DECODER = WeightNames(
    outside={"embeddings.tokens": "embed_tokens", "norm": "norm"},
    layer="layers.{}.",
    inside={
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.query_norm": "self_attn.q_norm",
        "attention.key_norm": "self_attn.k_norm",
        "attention.output": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.down": "mlp.down_proj",
        "mlp_norm": "post_attention_layernorm",
    },
    prefixes=("model.",),
    ignored=_HEADS,
)

_GEMMA = replace(
    _DECODER,
    inside={
        **_DECODER.inside,
        "attention_out_norm": "post_attention_layernorm",
        "mlp_norm": "pre_feedforward_layernorm",
        "mlp_out_norm": "post_feedforward_layernorm",
    },
)

_JINA_BERT = replace(
    _BERT,
    inside={
        **_BERT.inside,
        **_fused("mlp.gated_layers", "mlp.gate", "mlp.up"),
        "mlp.down": "mlp.wo",
        "mlp_norm": "mlp.layernorm",
    },
)

_ALBERT = replace(
    _BERT,
    outside={**_BERT.outside, "embeddings.projection": "encoder.embedding_hidden_mapping_in"},
    layer="encoder.albert_layer_groups.{}.albert_layers.0.",
    inside={
        "attention.query": "attention.query",
        "attention.key": "attention.key",
        "attention.value": "attention.value",
        "attention.output": "attention.dense",
        "attention_norm": "attention.LayerNorm",
        "mlp.up": "ffn",
        "mlp.down": "ffn_output",
        "mlp_norm": "full_layer_layer_norm",
    },
    prefixes=("albert.",),
    ignored=(*_BERT.ignored, "predictions.", "sop_classifier."),
)

_T5 = WeightNames(
    outside={
        "embeddings.tokens": "shared",
        "norm": "encoder.final_layer_norm",
        "relative.table": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    },
    layer="encoder.block.{}.layer.",
    inside={
        "attention.query": "0.SelfAttention.q",
        "attention.key": "0.SelfAttention.k",
        "attention.value": "0.SelfAttention.v",
        "attention.output": "0.SelfAttention.o",
        "attention_norm": "0.layer_norm",
        "mlp.gate": "1.DenseReluDense.wi_0",
        "mlp.up": "1.DenseReluDense.wi_1",
        "mlp.down": "1.DenseReluDense.wo",
        "mlp_norm": "1.layer_norm",
    },
    prefixes=(),
    ignored=_HEADS,
    aliases={"encoder.embed_tokens.weight": "shared.weight"},
)

_T5_PLAIN = replace(_T5, inside={**_T5.inside, "mlp.up": "1.DenseReluDense.wi"})

_FAMILIES: Mapping[str, WeightNames] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
    "nomic_bert": _NOMIC_BERT,
    "modernbert": _MODERNBERT,
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "llama": _DECODER,
    "mistral": _DECODER,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "jina_bert": _JINA_BERT,
    "albert": _ALBERT,
    "t5": _T5,
}

_UNGATED: Mapping[str, WeightNames] = {"nomic_bert": _NOMIC_BERT_PLAIN, "jina_bert": _BERT, "t5": _T5_PLAIN}
"""Families whose MLP comes with a gate or without."""

SUPPORTED_FAMILIES = (*_FAMILIES, "static")
"""Families that the engine runs; the theory prices more."""


def names_of(family: str, *, gated: bool) -> WeightNames:
    """Return the names of a family's tensors.

    Args:
        family: one of `SUPPORTED_FAMILIES`.
        gated: whether its MLP has a gate.
    """
    return _FAMILIES[family] if gated or family not in _UNGATED else _UNGATED[family]

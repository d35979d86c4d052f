"""Encoders with a table of positions: BERT and what descends from it, one small function per family.

Knows the keys and defaults of each family's configuration. Knows no file and no weights. Encoders with rotary
positions are in `rotary_encoders`.

Source: the configuration and model classes of transformers 5.23.
"""

from __future__ import annotations

from dataclasses import replace

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.values import (
    Config,
    activation,
    count,
    head_size,
    layer_count,
    number,
    rotary_scaling,
    rotary_theta,
)
from farthing.theory.shapes import Activation, ModelShape

_GATES: dict[str, Activation] = {"geglu": "gelu", "reglu": "relu"}
"""What JinaBERT calls gated MLPs, and the activation of the gate."""

_MPNET_PADDING = 1
"""MPNet's embeddings take this as their padding id, whatever the configuration says."""


def bert(config: Config, source: str) -> ModelShape:
    """Return the shape of a BERT, or of the one with ALiBi that jina-embeddings-v2 is.

    Source: huggingface.co/jinaai/jina-bert-implementation, `JinaBertModel`.
    """
    if _positions(config, source, "absolute", "alibi") == "absolute":
        return bert_shape(config, source, "bert")
    shape = replace(bert_shape(config, source, "jina_bert"), positions="alibi")
    kind = config.get("feed_forward_type", "original")
    if kind == "original":
        return shape
    if kind not in _GATES:
        raise UnsupportedModelError(
            f"{source}: feed_forward_type {kind!r} is not supported: use original, {', '.join(_GATES)}"
        )
    return replace(shape, gated_mlp=True, activation=_GATES[kind], mlp_up_bias=False)


def albert(config: Config, source: str) -> ModelShape:
    """Return the shape of an ALBERT: layers in groups that share their weights, and narrow embedding tables."""
    if config.get("inner_group_num", 1) != 1:
        raise UnsupportedModelError(
            f"{source}: inner_group_num {config['inner_group_num']!r} is not supported, only 1"
        )
    shape = bert_shape({"hidden_act": "gelu_new", **config}, source, "albert")
    return replace(
        shape,
        layer_groups=count(config, "num_hidden_groups", source, default=1, most=shape.layers),
        embedding_size=count(config, "embedding_size", source, default=128),
    )


def roberta(config: Config, source: str) -> ModelShape:
    """Return the shape of a RoBERTa: a BERT whose positions count from the padding id + 1."""
    _positions(config, source, "absolute")
    return bert_shape(config, source, "roberta", padding=_padding(config, source))


def camembert(config: Config, source: str) -> ModelShape:
    """Return the shape of a CamemBERT, which is a RoBERTa."""
    _positions(config, source, "absolute")
    return bert_shape(config, source, "camembert", padding=_padding(config, source))


def xlm_roberta(config: Config, source: str) -> ModelShape:
    """Return the shape of an XLM-RoBERTa, or of the rotary variant that jina-embeddings-v3 is.

    The adapters of jina-embeddings-v3 are not counted: 12.9e6 weights beside 559e6 (rank 4, five tasks). Its
    code adds the one that is asked for to the weights, so a token is multiplied with no more of them.

    Source: huggingface.co/jinaai/xlm-roberta-flash-implementation.
    """
    if _positions(config, source, "absolute", "rotary") == "rotary":
        return rotary_bert_shape(config, source, "xlm-roberta", theta_key="rotary_emb_base", theta=10_000.0)
    return bert_shape(config, source, "xlm-roberta", padding=_padding(config, source))


def mpnet(config: Config, source: str) -> ModelShape:
    """Return the shape of an MPNet: no token types, and biases on the scores by relative position."""
    return bert_shape(
        config,
        source,
        "mpnet",
        padding=_MPNET_PADDING,
        token_types=0,
        relative_buckets=count(config, "relative_attention_num_buckets", source, default=32),
    )


def distilbert(config: Config, source: str) -> ModelShape:
    """Return the shape of a DistilBERT: a BERT without token types and with names of its own."""
    renamed = {
        "hidden_size": count(config, "dim", source),
        "num_attention_heads": count(config, "n_heads", source),
        "num_hidden_layers": count(config, "n_layers", source),
        "intermediate_size": count(config, "hidden_dim", source),
        "hidden_act": config.get("activation", "gelu"),
        "layer_norm_eps": 1e-12,  # fixed in its code
    }
    return bert_shape({**config, **renamed}, source, "distilbert", token_types=0)


def bert_shape(
    config: Config,
    source: str,
    family: str,
    *,
    padding: int | None = None,
    token_types: int | None = None,
    relative_buckets: int = 0,
) -> ModelShape:
    """Return the shape that BERT's keys give: a norm after each sum, biases everywhere, a plain MLP.

    Args:
        config: the configuration.
        source: where it came from.
        family: name of the family.
        padding: the padding id that positions count from; None where they count from 0.
        token_types: rows of the token-type table, where the configuration does not say.
        relative_buckets: as in ModelShape.
    """
    if config.get("is_decoder"):
        raise UnsupportedModelError(f"{source}: is_decoder is set: only {family} as an encoder is supported")
    hidden = count(config, "hidden_size", source)
    heads = count(config, "num_attention_heads", source)
    table = count(config, "max_position_embeddings", source)
    offset = 0 if padding is None else padding + 1
    if table <= offset:
        raise ModelError(f"{source}: max_position_embeddings is {table}: expected more than {offset}")
    if token_types is None:
        token_types = count(config, "type_vocab_size", source, default=2)
    return ModelShape(
        family=family,
        layers=layer_count(config, "num_hidden_layers", source),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_size=head_size({}, hidden, heads, source, "num_attention_heads"),
        intermediate=count(config, "intermediate_size", source),
        gated_mlp=False,
        activation=activation(config, "hidden_act", source, "gelu"),
        vocabulary=count(config, "vocab_size", source),
        max_positions=table - offset,
        token_types=token_types,
        positions="learned",
        causal=False,
        norm="layer_norm",
        norm_place="post",
        norm_epsilon=number(config, "layer_norm_eps", source, default=1e-12),
        qk_norm=False,
        attention_bias=True,
        output_bias=True,
        mlp_up_bias=True,
        mlp_down_bias=True,
        position_offset=offset,
        relative_buckets=relative_buckets,
        embedding_norm=True,
    )


def rotary_bert_shape(
    config: Config,
    source: str,
    family: str,
    *,
    theta_key: str,
    theta: float,
    token_types: int | None = None,
) -> ModelShape:
    """Return the shape of a BERT with rotary positions instead of a table: nothing is offset.

    Args:
        config: the configuration.
        source: where it came from.
        family: name of the family.
        theta_key: key of the base of the frequencies, where it is not among the rotary parameters.
        theta: the base where nothing is said.
        token_types: rows of the token-type table, where the configuration does not say.
    """
    return replace(
        bert_shape(config, source, family, token_types=token_types),
        positions="rotary",
        rotary_theta=rotary_theta(config, source, "full_attention", theta_key, theta),
        rotary_scaling=rotary_scaling(config, source, "full_attention"),
    )


def _positions(config: Config, source: str, *supported: str) -> str:
    """Return `position_embedding_type`, if it is supported; the first one is the default."""
    kind = config.get("position_embedding_type", supported[0])
    if kind not in supported:
        known = ", ".join(map(repr, supported))
        raise UnsupportedModelError(
            f"{source}: position_embedding_type {kind!r} is not supported: use a model with {known}"
        )
    return str(kind)


def _padding(config: Config, source: str) -> int:
    """Return the padding id, which may be 0; 1 by default."""
    return count(config, "pad_token_id", source, default=1, least=0)

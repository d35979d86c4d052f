"""ModelShape: a model described once, for the theory that prices it and the engine that runs it.

Knows widths, counts and kinds. Knows no weights, no device and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from farthing.errors import ModelError

Norm = Literal["layer_norm", "rms_norm"]
NormPlace = Literal["pre", "post", "sandwich"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
Positions = Literal["learned", "rotary", "alibi", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The shape of an embedding model, as its config.json tells it. The defaults are those of most models.

    A static model (a table of token vectors, averaged) has no layers, no heads and no norms.

    Attributes:
        family: the `model_type` of the configuration, for example `bert`; `static` for a table.
        layers: number of transformer layers.
        hidden: width of the residual stream, h.
        heads: number of query heads.
        kv_heads: number of key and value heads (fewer than `heads` under grouped-query attention).
        head_size: width of one head; `heads * head_size` need not be `hidden`.
        intermediate: width inside the MLP, m.
        gated_mlp: whether the MLP has a gate beside its up-projection (three matrices, not two).
        activation: non-linearity of the MLP, applied to the gate where there is one.
        vocabulary: rows of the token embedding table.
        max_positions: most positions that a text may have.
        token_types: rows of the token-type table; 0 when there is none.
        positions: how positions enter; `alibi` takes the distance of two tokens, times a slope of each head, from
            their score; `none` leaves the order of the tokens unknown.
        causal: whether a token attends only to itself and those before it.
        norm: kind of normalisation.
        norm_place: before each block (pre), after each residual sum (post), or before and after each block,
            inside the residual (sandwich).
        norm_epsilon: its epsilon.
        qk_norm: whether queries and keys are normalised per head, with one weight per channel of a head.
        attention_bias: whether the projections to queries, keys and values have biases.
        output_bias: whether the projection out of the attention has one.
        mlp_up_bias: whether the MLP's projections to its inner width have biases, the gate's among them. Experts
            have none.
        mlp_down_bias: whether the MLP's projection back has one. Experts share one, added after their sum.
        attention_reach: for each layer, the most |i − j| at which token i attends to token j; None is no
            limit. Left out, no layer has a limit.
        attention_scale: factor on QKᵀ; None is 1/√head_size.
        rotary_theta: base of the rotary frequencies; None unless `positions` is `rotary`.
        rotary_theta_local: base in layers with a limited reach, where it is another one.
        rotary_share: share of a head's channels that is rotated.
        rotary_scaling: the `rope_type` of scaled frequencies (`yarn`, `llama3`, …); None is unscaled.
        position_offset: row of the learned position table that the first token takes.
        relative_buckets: rows of a table of biases on the scores by relative position, one column per head;
            0 when there is none.
        relative_distance: distance, in tokens, from which on they share a bucket.
        relative_rows: rows of a table of vectors by relative position, `hidden` wide, which each layer projects once
            a pass to multiply all its queries or keys with (DeBERTa); 0 when there is none.
        relative_scores: how many such products each layer adds to its scores: with queries, with keys, or both.
        relative_norm: whether that table is normalised.
        convolution: tokens that a convolution beside the first layer mixes (DeBERTa v2), with a bias and a norm; 0
            when there is none.
        linear_bits: bits of one weight of the layers' matrices as they are kept, scales and zero points among them;
            None where they are as wide as the activations.
        table_bits: likewise of the embedding tables.
        score_cap: scores s become cap · tanh(s / cap); None is no cap.
        layer_groups: sets of weights that the layers share, each used by as many layers in a row; 0 where each layer
            has its own.
        embedding_size: width of the embedding tables, where a matrix takes it to `hidden`; 0 where it is `hidden`.
        embedding_norm: whether the embeddings are normalised before the first layer.
        embedding_scale: factor on the token embeddings.
        first_attention_norm: whether the first layer has the norm before its attention.
        norm_bias: whether layer norms have a bias; RMS norms never do.
        norm_unit_offset: whether norms multiply with 1 + weight.
        experts: experts of each mixture-of-experts layer; 0 when there are none.
        experts_per_token: how many of them each token uses.
        expert_intermediate: width inside one expert, which is gated as the MLP is.
        expert_layers: the layers that have experts instead of the MLP, counted from 0.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    gated_mlp: bool
    activation: Activation
    vocabulary: int
    max_positions: int
    token_types: int
    positions: Positions
    causal: bool
    norm: Norm
    norm_place: NormPlace
    norm_epsilon: float
    qk_norm: bool
    attention_bias: bool
    output_bias: bool
    mlp_up_bias: bool
    mlp_down_bias: bool
    attention_reach: tuple[int | None, ...] = ()
    attention_scale: float | None = None
    rotary_theta: float | None = None
    rotary_theta_local: float | None = None
    rotary_share: float = 1.0
    rotary_scaling: str | None = None
    position_offset: int = 0
    relative_buckets: int = 0
    relative_distance: int = 128
    relative_rows: int = 0
    relative_scores: int = 0
    relative_norm: bool = False
    convolution: int = 0
    linear_bits: float | None = None
    table_bits: float | None = None
    score_cap: float | None = None
    layer_groups: int = 0
    embedding_size: int = 0
    embedding_norm: bool = False
    embedding_scale: float = 1.0
    first_attention_norm: bool = True
    norm_bias: bool = True
    norm_unit_offset: bool = False
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    expert_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Give every layer its reach.

        Raises:
            ModelError: the reaches are not as many as the layers, or an expert layer does not exist.
        """
        if not self.attention_reach:
            object.__setattr__(self, "attention_reach", (None,) * self.layers)
        if len(self.attention_reach) != self.layers:
            raise ModelError(
                f"{self.family}: attention_reach has {len(self.attention_reach)} values for {self.layers} layers"
            )
        if not all(0 <= layer < self.layers for layer in self.expert_layers):
            raise ModelError(f"{self.family}: expert_layers {self.expert_layers} are not among {self.layers}")

    @property
    def attention_width(self) -> int:
        """Width of all query heads together, a."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, kv; the values have the same."""
        return self.kv_heads * self.head_size

    @property
    def table_width(self) -> int:
        """Width of the embedding tables."""
        return self.embedding_size or self.hidden

    @property
    def stored_layers(self) -> int:
        """Layers that have weights of their own."""
        return self.layer_groups or self.layers

    def stored_layer(self, layer: int) -> int:
        """Return which of them a layer's weights are."""
        return layer * self.stored_layers // self.layers

    @property
    def dense_layers(self) -> int:
        """Number of layers with a plain MLP instead of experts."""
        return self.layers - len(self.expert_layers)

    @property
    def mlp_matrices(self) -> int:
        """Matrices of an MLP or of an expert: up and down, and the gate where there is one."""
        return 3 if self.gated_mlp else 2

    @property
    def mlp_parameters(self) -> int:
        """Weights of the matrices of one dense MLP."""
        return self.mlp_matrices * self.hidden * self.intermediate

    @property
    def expert_parameters(self) -> int:
        """Weights of the matrices of one expert."""
        return self.mlp_matrices * self.hidden * self.expert_intermediate

    @property
    def linear_parameters(self) -> int:
        """Weights that one token is multiplied with, biases not counted.

        Of the experts those that the token uses, and the router that chooses them.
        """
        once = self.embedding_size + self.convolution * self.hidden
        return self._linear_parameters(self.experts_per_token) + once * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Weights of the tables that tokens, positions and token types are looked up in."""
        learned = self.max_positions + self.position_offset if self.positions == "learned" else 0
        return (self.vocabulary + learned + self.token_types) * self.table_width

    @property
    def total_parameters(self) -> int:
        """All weights that are kept in memory: every expert, tables, biases and norms.

        No pooler, head or Dense module behind the last layer.
        """
        in_layers = self._linear_parameters(self.experts) + self.bias_parameters
        in_layers += self._layer_norms * self.norm_width
        shared = in_layers - in_layers * self.stored_layers // max(self.layers, 1)
        projection = self.hidden * (self.embedding_size + 1) if self.embedding_size else 0
        return (
            self._linear_parameters(self.experts)
            - shared
            + projection
            + self.embedding_parameters
            + self.bias_parameters
            + self.norm_parameters
            + self.relative_buckets * self.heads
            + self.relative_rows * self.hidden
            + (self.convolution * self.hidden + 1) * self.hidden * (self.convolution > 0)
        )

    @property
    def bias_parameters(self) -> int:
        """Biases of the linear layers."""
        qkv = self.attention_width + 2 * self.kv_width if self.attention_bias else 0
        output = self.hidden if self.output_bias else 0
        down = self.hidden if self.mlp_down_bias else 0
        up = (self.mlp_matrices - 1) * self.intermediate if self.mlp_up_bias else 0
        return self.layers * (qkv + output + down) + self.dense_layers * up

    @property
    def norm_parameters(self) -> int:
        """Weights and biases of all norms."""
        heads = 2 * self.layers * self.head_size if self.qk_norm else 0
        narrower = (
            self.norm_width * (self.hidden - self.table_width) // self.hidden if self.embedding_norm else 0
        )
        return (self.norms + self.relative_norm + (self.convolution > 0)) * self.norm_width + heads - narrower

    @property
    def norms(self) -> int:
        """Norms over the residual stream: those of the layers, of the embeddings and after the last layer."""
        if not self.layers:
            return 0
        final = 0 if self.norm_place == "post" else 1
        return self._layer_norms + final + int(self.embedding_norm) - int(not self.first_attention_norm)

    @property
    def _layer_norms(self) -> int:
        return (4 if self.norm_place == "sandwich" else 2) * self.layers

    @property
    def norm_width(self) -> int:
        """Weights and biases of one such norm."""
        return (2 if self.norm == "layer_norm" and self.norm_bias else 1) * self.hidden

    def linear_bytes(self, weights: float, bytes_per_value: int) -> int:
        """Return the bytes of so many weights of the layers' matrices, beside activations of so many bytes."""
        return _kept_bytes(weights, self.linear_bits, bytes_per_value)

    def table_bytes(self, weights: float, bytes_per_value: int) -> int:
        """Return the bytes of so many weights of the embedding tables, likewise."""
        return _kept_bytes(weights, self.table_bits, bytes_per_value)

    def memory_bytes(self, bytes_per_value: int) -> int:
        """Return the bytes of all weights that are kept in memory, `total_parameters`."""
        linear = self._linear_parameters(self.experts) * self.stored_layers // max(self.layers, 1)
        others = self.total_parameters - linear - self.embedding_parameters
        return (
            self.linear_bytes(linear, bytes_per_value)
            + self.table_bytes(self.embedding_parameters, bytes_per_value)
            + others * bytes_per_value
        )

    def _linear_parameters(self, experts: int) -> int:
        """Return the weights of the linear layers, `experts` of the experts of each layer counted."""
        attention = self.hidden * (2 * self.attention_width + 2 * self.kv_width)
        mixture = experts * self.expert_parameters + self.experts * self.hidden
        return (
            self.layers * attention
            + self.dense_layers * self.mlp_parameters
            + len(self.expert_layers) * mixture
        )


def _kept_bytes(weights: float, bits: float | None, bytes_per_value: int) -> int:
    return round(weights * (8 * bytes_per_value if bits is None else bits) / 8)

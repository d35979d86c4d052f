"""ModelShape: a model described once, for the theory that prices it and the engine that runs it.

Knows widths, counts and kinds. Knows no weights, no device and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Norm = Literal["layer_norm", "rms_norm"]
NormPlace = Literal["pre", "post"]
Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]
Positions = Literal["learned", "rotary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The shape of a transformer, as its config.json tells it.

    Attributes:
        family: the `model_type` of the configuration, for example `bert`.
        layers: number of transformer layers.
        hidden: width of the residual stream, h.
        heads: number of query heads.
        kv_heads: number of key and value heads (fewer than `heads` under grouped-query attention).
        head_size: width of one head; `heads * head_size` need not be `hidden`.
        intermediate: width inside the MLP, m.
        gated_mlp: whether the MLP has a gate beside its up-projection (three matrices, not two).
        activation: non-linearity of the MLP.
        vocabulary: rows of the token embedding table.
        max_positions: most positions that the model knows.
        token_types: rows of the token-type table; 0 when there is none.
        positions: how positions enter.
        rotary_theta: base of the rotary frequencies; None unless `positions` is `rotary`.
        causal: whether a token attends only to itself and those before it.
        norm: kind of normalisation.
        norm_place: before each block (pre) or after each residual sum (post).
        norm_epsilon: its epsilon.
        qk_norm: whether queries and keys are normalised per head.
        attention_bias: whether the attention projections have biases.
        mlp_bias: whether the MLP projections have biases.
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
    rotary_theta: float | None
    causal: bool
    norm: Norm
    norm_place: NormPlace
    norm_epsilon: float
    qk_norm: bool
    attention_bias: bool
    mlp_bias: bool

    @property
    def attention_width(self) -> int:
        """Width of all query heads together, a."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, kv; the values have the same."""
        return self.kv_heads * self.head_size

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers: what a token is multiplied with, biases not counted."""
        attention = self.hidden * (2 * self.attention_width + 2 * self.kv_width)
        mlp = (3 if self.gated_mlp else 2) * self.hidden * self.intermediate
        return self.layers * (attention + mlp)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the tables that tokens are looked up in."""
        learned = self.max_positions if self.positions == "learned" else 0
        return (self.vocabulary + learned + self.token_types) * self.hidden

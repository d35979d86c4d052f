"""The one transformer: a torch module built from ModelShape, pooled and normalised inside.

It takes padded token ids and true lengths, and gives one vector for each text. Every backend runs this
module or a graph converted from it; there are no twins. Today its parts are those of the BERT family; a
later family adds a kind of norm, position or MLP here, never a second transformer.

Knows shapes and operations. Knows no checkpoint names (engine/weights.py) and no device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.checkpoint import Pooling
from farthing.theory.shapes import Activation, ModelShape

_MASKED = -1e9
"""Added to the score of a padded key: far below any real score, and finite, so that no row becomes NaN."""


class Embeddings(nn.Module):
    """Token, position and type embeddings, summed and normalised."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Embedding(shape.max_positions, shape.hidden)
        self.types = nn.Embedding(shape.token_types, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, shape.norm_epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (batch, length, hidden) from ids of (batch, length)."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        # Every text is a single segment, so each token's type is 0.
        summed = self.tokens(ids) + self.positions(positions) + self.types.weight[0]
        normed: Tensor = self.norm(summed)
        return normed


class Attention(nn.Module):
    """Multi-head self-attention with Q, K and V in one matrix product."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.heads, self.head_size = shape.heads, shape.head_size
        self.qkv = nn.Linear(shape.hidden, 3 * shape.attention_width, bias=shape.attention_bias)
        self.output = nn.Linear(shape.attention_width, shape.hidden, bias=shape.output_bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, length, hidden); `mask` is (batch, 1, 1, length), added to the scores."""
        batch, length = x.shape[0], x.shape[1]
        query, key, value = (
            part.reshape(batch, length, self.heads, self.head_size).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined = mixed.transpose(1, 2).reshape(batch, length, self.heads * self.head_size)
        projected: Tensor = self.output(joined)
        return projected


class Mlp(nn.Module):
    """The plain two-matrix MLP."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.hidden, shape.intermediate, bias=shape.mlp_up_bias)
        self.down = nn.Linear(shape.intermediate, shape.hidden, bias=shape.mlp_down_bias)
        self.activation: Activation = shape.activation

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, length, hidden)."""
        down: Tensor = self.down(_activate(self.up(x), self.activation))
        return down


class Layer(nn.Module):
    """Attention and MLP, each with its residual sum and the norm after it."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.attention_norm = nn.LayerNorm(shape.hidden, shape.norm_epsilon)
        self.mlp = Mlp(shape)
        self.mlp_norm = nn.LayerNorm(shape.hidden, shape.norm_epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, length, hidden)."""
        x = self.attention_norm(x + self.attention(x, mask))
        out: Tensor = self.mlp_norm(x + self.mlp(x))
        return out


class Transformer(nn.Module):
    """Token ids and lengths in, one vector for each text out."""

    def __init__(self, shape: ModelShape, pooling: Pooling, normalize: bool) -> None:
        """Build the module with uninitialised meaning: weights come from `engine.weights`.

        Args:
            shape: the model.
            pooling: how token vectors become one.
            normalize: whether the vector is scaled to length one.
        """
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.pooling: Pooling = pooling
        self.normalize = normalize

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return vectors of shape (batch, hidden).

        Args:
            ids: int32 of shape (batch, length); positions past a text's length hold any valid id.
            lengths: int32 of shape (batch,), all ≥ 1.
        """
        positions = torch.arange(ids.shape[1], device=ids.device)
        valid = positions[None, :] < lengths[:, None]
        x = self.embeddings(ids)
        mask = torch.where(valid, 0.0, _MASKED)[:, None, None, :].to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        vectors = _pool(x, valid.to(x.dtype), self.pooling)
        return functional.normalize(vectors, dim=-1) if self.normalize else vectors


def _pool(x: Tensor, valid: Tensor, pooling: Pooling) -> Tensor:
    """Return (batch, hidden) from x (batch, length, hidden) and `valid` (batch, length), 1 for a token else 0."""
    if pooling == "cls":
        return x[:, 0]
    return (x * valid[:, :, None]).sum(dim=1) / valid.sum(dim=1, keepdim=True)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    if activation == "gelu":
        return functional.gelu(x)
    if activation == "gelu_tanh":
        return functional.gelu(x, approximate="tanh")
    return functional.relu(x) if activation == "relu" else functional.silu(x)

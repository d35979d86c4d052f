"""The one transformer: a torch module built from ModelShape, pooled and normalised inside.

It takes packed token ids and gives one vector for each text. Every backend runs this module or a graph converted
from it; there are no twins. A family is a choice of parts: the kind and place of norms, of positions, of the
attention's reach, of the MLP.

Knows shapes and operations. Knows no checkpoint names (engine/weights.py) and no device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.attention import Attention
from farthing.engine.folder.checkpoint import DenseShape, Pooling
from farthing.engine.grid import Grid, Kept
from farthing.engine.norms import norm_of
from farthing.engine.positions import RelativeBias, Rotation
from farthing.theory.shapes import Activation, ModelShape


class Embeddings(nn.Module):
    """Token embeddings, with those of positions and token types where there are such, summed and normalised."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        learned = shape.positions == "learned"
        rows = shape.max_positions + shape.position_offset
        self.positions = nn.Embedding(rows, shape.hidden) if learned else None
        self.types = nn.Embedding(shape.token_types, shape.hidden) if shape.token_types else None
        self.norm = norm_of(shape) if shape.embedding_norm else None
        self.scale, self.offset = shape.embedding_scale, shape.position_offset

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return (T, hidden) from ids and positions of (T,)."""
        x: Tensor = self.tokens(ids)
        if self.scale != 1:
            x = x * self.scale
        if self.positions is not None:
            x = x + self.positions(positions + self.offset)
        if self.types is not None:
            x = x + self.types.weight[0]  # every text is a single segment, so each token's type is 0
        return x if self.norm is None else self.norm(x)


class Mlp(nn.Module):
    """Up, activation and down; gate and up in one matrix product where there is a gate."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gated, self.activation = shape.gated_mlp, shape.activation
        width = (shape.mlp_matrices - 1) * shape.intermediate
        self.up = nn.Linear(shape.hidden, width, bias=shape.mlp_up_bias)
        self.down = nn.Linear(shape.intermediate, shape.hidden, bias=shape.mlp_down_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (T, hidden)."""
        inner = self.up(x)
        if self.gated:
            gate, inner = inner.chunk(2, dim=-1)
            inner = activated(gate, self.activation) * inner
        else:
            inner = activated(inner, self.activation)
        down: Tensor = self.down(inner)
        return down


class Layer(nn.Module):
    """Attention and MLP, each with its residual sum and the norms around it."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.place = shape.norm_place
        self.attention, self.mlp = Attention(shape, layer), Mlp(shape)
        unnormed = layer == 0 and not shape.first_attention_norm
        self.attention_norm = None if unnormed else norm_of(shape)
        self.mlp_norm = norm_of(shape)
        sandwich = shape.norm_place == "sandwich"
        self.attention_out_norm = norm_of(shape) if sandwich else None
        self.mlp_out_norm = norm_of(shape) if sandwich else None

    def forward(
        self,
        x: Tensor,
        grid: Grid,
        rotation: Rotation | None,
        bias: Tensor | None,
        past: Tensor | None = None,
        kept: Kept | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (T, hidden), or (B, hidden) of the kept tokens, and keys and values; as in `Attention`."""
        before = self.place != "post"
        read = self.attention_norm(x) if before and self.attention_norm is not None else x
        moved, made = self.attention(read, grid, rotation, bias, past, kept)
        if self.attention_out_norm is not None:
            moved = self.attention_out_norm(moved)
        x = (x if kept is None else x[kept.rows]) + moved
        if not before and self.attention_norm is not None:
            x = self.attention_norm(x)
        moved = self.mlp(self.mlp_norm(x) if before else x)
        if self.mlp_out_norm is not None:
            moved = self.mlp_out_norm(moved)
        x = x + moved
        return x if before else self.mlp_norm(x), made


class Transformer(nn.Module):
    """Packed token ids in, one vector for each text out."""

    def __init__(
        self,
        shape: ModelShape,
        pooling: Pooling,
        normalize: bool,
        dense: tuple[DenseShape, ...] = (),
        *,
        trimmed: bool = True,
    ) -> None:
        """Build the module with uninitialised meaning: weights come from `engine.weights`.

        Args:
            shape: the model.
            pooling: how token vectors become one.
            normalize: whether the vector is scaled to length one.
            dense: matrices behind the pooling.
            trimmed: whether the last layer computes only the tokens that the pooling reads.
        """
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.relative = RelativeBias(shape) if shape.relative_buckets else None
        self.layers = nn.ModuleList(Layer(shape, layer) for layer in range(shape.layers))
        self.norm = norm_of(shape) if shape.norm_place != "post" else None
        self.dense = nn.ModuleList(nn.Linear(one.inputs, one.outputs, bias=one.bias) for one in dense)
        self.activations = tuple(one.activation for one in dense)
        self.pooling: Pooling = pooling
        self.normalize = normalize
        self.trimmed = trimmed and pooling in ("cls", "last_token")

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        places: Tensor,
        lengths: Tensor,
        past: Tensor | None = None,
    ) -> Tensor:
        """Return vectors of shape (B, dimension). The arguments are those of `engine.packing.PackedStep`.

        Args:
            ids: int32 (T,).
            positions: int32 (T,), from 0, whatever prefix there is.
            slots: int32 (B, S).
            places: int32 (T,).
            lengths: int32 (B,).
            past: keys and values of a shared prefix of P tokens, (layers, 2, P, kv).
        """
        return self._vectors(*self.states(ids, positions, slots, places, lengths, past)[:2])

    def states(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        places: Tensor,
        lengths: Tensor,
        past: Tensor | None = None,
    ) -> tuple[Tensor, Grid, Tensor]:
        """Return the last layer's states, where they stand, and all keys and values (layers, 2, T, kv).

        The states are (T, hidden), or where the last layer is trimmed (B, hidden).
        """
        prefix = 0 if past is None else past.shape[2]
        bounds = functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        grid = Grid(positions + prefix, slots, places, lengths, bounds, prefix)
        x = self.embeddings(ids, grid.positions)
        rotations = self._rotations(grid.positions)
        bias = None if self.relative is None else self.relative(grid.keys, grid.keys)
        made = []
        for index, layer in enumerate(self.layers):
            local = self.shape.attention_reach[index] is not None
            kept = self._kept(grid) if self.trimmed and index == self.shape.layers - 1 else None
            x, pair = layer(x, grid, rotations[local], bias, None if past is None else past[index], kept)
            made.append(pair)
        return x if self.norm is None else self.norm(x), grid, torch.stack(made)

    def _rotations(self, positions: Tensor) -> tuple[Rotation | None, Rotation | None]:
        """Return the rotary positions of layers without and with a limited reach."""
        shape = self.shape
        if shape.positions != "rotary" or shape.rotary_theta is None:
            return None, None
        size = int(shape.head_size * shape.rotary_share)
        everywhere = Rotation(positions, shape.rotary_theta, size)
        if shape.rotary_theta_local is None or shape.rotary_theta_local == shape.rotary_theta:
            return everywhere, everywhere
        return everywhere, Rotation(positions, shape.rotary_theta_local, size)

    def _kept(self, grid: Grid) -> Kept:
        """Return the token of each text that the pooling reads."""
        if self.pooling == "cls":
            return Kept(grid.slots[:, 0], last=False)
        return Kept(grid.slots.gather(1, (grid.lengths - 1).long()[:, None])[:, 0], last=True)

    def _vectors(self, x: Tensor, grid: Grid) -> Tensor:
        """Return (B, dimension): pooled, through the matrices behind, scaled."""
        if self.pooling in ("cls", "last_token"):
            vectors = x if self.trimmed else x[self._kept(grid).rows]
        else:
            own = grid.keys[None, :]
            weight = (own < grid.lengths[:, None]).to(x.dtype)
            if self.pooling == "weighted_mean":
                weight = weight * (own + 1)
            vectors = (x[grid.slots] * weight[:, :, None]).sum(dim=1) / weight.sum(dim=1, keepdim=True)
        for dense, activation in zip(self.dense, self.activations, strict=True):
            vectors = dense(vectors)
            if activation is not None:
                vectors = torch.tanh(vectors) if activation == "tanh" else activated(vectors, activation)
        return functional.normalize(vectors, dim=-1) if self.normalize else vectors


class PrefixStates(nn.Module):
    """What texts reuse that begin with the same tokens: their keys and values in every layer."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids: Tensor, positions: Tensor, slots: Tensor, places: Tensor, lengths: Tensor
    ) -> Tensor:
        """Return (layers, 2, P, kv) of one text of P tokens."""
        return self.model.states(ids, positions, slots, places, lengths)[2]


def activated(x: Tensor, activation: Activation) -> Tensor:
    """Return the activation of `x`."""
    if activation == "gelu":
        return functional.gelu(x)
    if activation == "gelu_tanh":
        return functional.gelu(x, approximate="tanh")
    return functional.relu(x) if activation == "relu" else functional.silu(x)

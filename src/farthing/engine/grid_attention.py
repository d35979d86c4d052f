"""Attention on a padded grid: gathered by index, masked, computed by torch, scattered back.

Runs on every backend and knows every pattern; OpenVINO's graphs are made of it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from farthing.engine.grid import Grid, Kept, Sight

MASKED = -1e9
"""Added to the score of a key that is not seen: far below any real score, and finite, so that no row becomes NaN."""


def mixed_on_grid(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grid: Grid,
    sight: Sight,
    *,
    bias: Tensor | None = None,
    past: Tensor | None = None,
    kept: Kept | None = None,
) -> Tensor:
    """Return the mixed values of each query, (T, heads · size), or (B, heads · size) of the kept ones.

    Args:
        query: (T, heads, size), or of the kept tokens (B, heads, size).
        key: (T, KV heads, size).
        value: (T, KV heads, size).
        grid: where the tokens stand.
        sight: who sees whom.
        bias: (1, heads, S, S), added to the scores.
        past: keys and values of the shared prefix, (2, P, KV heads · size).
        kept: which tokens the queries are of; None for all.
    """
    heads, kv_heads, size = query.shape[1], key.shape[1], query.shape[2]
    queries = query[grid.slots] if kept is None else query[:, None]
    keys, values = key[grid.slots], value[grid.slots]
    if past is not None:
        before = past.reshape(2, 1, -1, kv_heads, size).expand(-1, keys.shape[0], -1, -1, -1)
        keys, values = torch.cat((before[0], keys), dim=1), torch.cat((before[1], values), dim=1)
    groups = heads // kv_heads
    mixed = functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        _repeated(keys.transpose(1, 2), groups),
        _repeated(values.transpose(1, 2), groups),
        attn_mask=_mask(grid, sight, kept, query.dtype, bias),
        scale=sight.scale,
    )
    if kept is not None:
        return mixed.reshape(-1, heads * size)
    return mixed.transpose(1, 2).reshape(-1, heads * size)[grid.places]


def _mask(grid: Grid, sight: Sight, kept: Kept | None, dtype: torch.dtype, bias: Tensor | None) -> Tensor:
    """Return what is added to the scores, (B or 1, heads or 1, queries, keys)."""
    own = grid.keys
    seen = (own[None, :] < grid.lengths[:, None])[:, None, :]  # (B, 1, S)
    keys = own + grid.prefix
    if isinstance(grid.prefix, Tensor) or grid.prefix:
        before = torch.arange(grid.prefix, device=own.device)  # type: ignore[arg-type]
        keys = torch.cat((before, keys))
        always = torch.ones_like(seen[:, :, :1]).expand(-1, -1, before.shape[0])
        seen = torch.cat((always, seen), dim=2)
    positions = None if kept is None else grid.positions[kept.rows]
    if sight.causal or sight.reach is not None:
        queries = (own + grid.prefix)[None, :] if positions is None else positions[:, None]
        behind = queries[:, :, None] - keys[None, None, :]  # (B or 1, queries, keys)
        if sight.causal:
            seen = seen & (behind >= 0)
        if sight.reach is not None:
            seen = seen & (behind.abs() <= sight.reach)
    mask = torch.where(seen, 0.0, MASKED)[:, None].to(dtype)
    if bias is None:
        return mask
    if positions is not None:
        bias = bias[0].transpose(0, 1)[positions][:, :, None]  # (B, heads, 1, S)
    return mask + bias.to(dtype)


def _repeated(heads: Tensor, groups: int) -> Tensor:
    """Return (B, heads, S, size) with each key head as often as it is asked.

    By hand: `enable_gqa` converts to a graph with attention in parts (facts: cpu).
    """
    if groups == 1:
        return heads
    batch, count, length, size = heads.shape
    return heads[:, :, None].expand(batch, count, groups, length, size).reshape(batch, -1, length, size)

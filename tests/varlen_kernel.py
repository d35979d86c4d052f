"""What stands for torch's variable-length attention where there is no card: the same arguments, query by query.

So as many FLOPs are computed as there are pairs of tokens that see each other.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


@torch.library.custom_op("farthing_tests::varlen", mutates_args=())
def _opaque(
    query: Tensor, key: Tensor, value: Tensor, bounds: list[Tensor], scale: float, window: list[int]
) -> Tensor:
    """One operation for torch.compile, as the kernel is."""
    return _by_query(query, key, value, bounds, scale, window)


@_opaque.register_fake
def _(
    query: Tensor, _key: Tensor, _value: Tensor, _bounds: list[Tensor], _scale: float, _window: list[int]
) -> Tensor:
    return torch.empty_like(query)


def _by_query(
    query: Tensor, key: Tensor, value: Tensor, bounds: list[Tensor], scale: float, window: list[int]
) -> Tensor:
    starts, key_starts = (one.tolist() for one in bounds)
    mixed = torch.empty_like(query)
    groups = query.shape[1] // key.shape[1]
    left, right = window
    for row, (first, stop) in enumerate(pairwise(starts)):
        own = slice(key_starts[row], key_starts[row + 1])
        keys, values = (one[own].repeat_interleave(groups, 1).transpose(0, 1) for one in (key, value))
        if left < 0 and right < 0:
            scores = query[first:stop].transpose(0, 1) @ keys.transpose(1, 2) * scale
            mixed[first:stop] = (scores.softmax(-1) @ values).transpose(0, 1)
            continue
        for at in range(first, stop):
            place = at - stop + keys.shape[1]  # queries and keys of a text end together
            seen = slice(max(0, place - left) if left >= 0 else 0, place + right + 1 if right >= 0 else None)
            scores = query[at, :, None] @ keys[:, seen].transpose(1, 2) * scale
            mixed[at] = (scores.softmax(-1) @ values[:, seen])[:, 0]
    return mixed


def varlen_2_13(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Tensor:
    """As in torch 2.13's documentation."""
    assert enable_gqa or key.shape[1] == query.shape[1]
    scale = query.shape[2] ** -0.5 if scale is None else scale
    bounds = [cu_seq_q, cu_seq_k]
    if torch.compiler.is_compiling():
        found: Tensor = _opaque(query, key, value, bounds, scale, list(window_size))
        return found
    assert int(cu_seq_q.diff().max()) <= max_q
    assert int(cu_seq_k.diff().max()) <= max_k
    return _by_query(query, key, value, bounds, scale, list(window_size))


def varlen_2_11(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """As it was before groups."""
    return varlen_2_13(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size
    )

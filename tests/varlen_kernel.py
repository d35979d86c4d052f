"""What stands for torch's variable-length attention kernel where there is no CUDA: the same arguments, text by text."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
    """As in torch 2.13's documentation; queries and keys of a text end together."""
    assert enable_gqa or key.shape[1] == query.shape[1]
    assert int(cu_seq_q.diff().max()) <= max_q
    assert int(cu_seq_k.diff().max()) <= max_k
    mixed = []
    for row in range(len(cu_seq_q) - 1):
        q = query[int(cu_seq_q[row]) : int(cu_seq_q[row + 1])]
        own = slice(int(cu_seq_k[row]), int(cu_seq_k[row + 1]))
        k, v = (one[own].repeat_interleave(query.shape[1] // key.shape[1], 1) for one in (key, value))
        scores = torch.einsum("qhd,khd->hqk", q, k) * (q.shape[2] ** -0.5 if scale is None else scale)
        ahead = torch.arange(len(k)) - (torch.arange(len(q)) + len(k) - len(q))[:, None]
        left, right = window_size
        hidden = (ahead > right) & (right >= 0) | (ahead < -left) & (left >= 0)
        mixed.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, -torch.inf).softmax(-1), v))
    return torch.cat(mixed)


def varlen_2_10(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
    return_aux: Any = None,
) -> Tensor:
    """As it was before windows, groups and scales."""
    window = (-1, 0) if is_causal else (-1, -1)
    return varlen_2_13(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, window_size=window)

"""FLOPs that a pass saves without changing its vectors: a prefix that was computed before, a trimmed last layer."""

from __future__ import annotations

from farthing.errors import InputError
from farthing.theory.flops import attention_pairs, forward_flops
from farthing.theory.shapes import ModelShape


def reused_flops(shape: ModelShape, prefix: int, length: int) -> int:
    """Return the FLOPs that a text saves whose first tokens' keys and values were computed before.

    That is the whole pass over the prefix: none of its tokens attends to what follows.

    Args:
        shape: the model.
        prefix: tokens that are shared.
        length: tokens of the text, the prefix among them.

    Raises:
        InputError: there is a prefix and the model is not causal, or it is not shorter than the text.

    Source: the matrix products that are left out, counted as in `flops`.
    """
    check_prefix(shape, prefix, length)
    return forward_flops(shape, [prefix]).total


def trimmed_flops(shape: ModelShape, length: int, prefix: int = 0) -> int:
    """Return the FLOPs that cls or last-token pooling saves in the last layer of one text.

    Keys and values are needed of all tokens; queries, attention rows, the output projection and the MLP of the
    pooled token alone, which is the first (attending both ways) or the last. With mean pooling every token is
    pooled: nothing can be trimmed.

    Args:
        shape: the model.
        length: tokens of the text.
        prefix: tokens of it that are reused, and so have nothing left to trim.

    Raises:
        InputError: the text has no token, there is a prefix and the model is not causal, or it is not shorter
            than the text.

    Source: the matrix products that are left out, counted as in `flops`.
    """
    check_prefix(shape, prefix, length)
    if not shape.layers:
        return 0
    reach = shape.attention_reach[-1]
    pairs = attention_pairs(length, causal=shape.causal, reach=reach)
    if prefix:
        pairs -= attention_pairs(prefix, causal=shape.causal, reach=reach)
    kept = length if reach is None else min(reach + 1, length)
    return kept_block_flops(shape) * (length - prefix - 1) + 4 * (pairs - kept) * shape.attention_width


def kept_block_flops(shape: ModelShape) -> int:
    """Return the FLOPs per token of the last layer's products but those to keys and values."""
    block = 2 * shape.hidden * shape.attention_width  # Q and O
    if shape.layers - 1 in shape.expert_layers:
        block += shape.experts_per_token * shape.expert_parameters + shape.experts * shape.hidden
    else:
        block += shape.mlp_parameters
    return 2 * block


def prefix_flops(shape: ModelShape, prefix: int) -> int:
    """Return the FLOPs of making the keys and values of a prefix of so many tokens, on no grid but their own.

    Nothing of the last layer is needed but those.
    """
    if not shape.layers:
        return 0
    pairs = attention_pairs(prefix, causal=shape.causal, reach=shape.attention_reach[-1])
    last = kept_block_flops(shape) * prefix + 4 * pairs * shape.attention_width
    return forward_flops(shape, [prefix]).total - last


def check_prefix(shape: ModelShape, prefix: int, length: int) -> None:
    """Refuse a prefix that a text of so many tokens cannot reuse.

    Raises:
        InputError: there is a prefix and the model is not causal, or it is not shorter than the text.
    """
    if not 0 <= prefix < length:
        raise InputError(
            f"a prefix of {prefix} tokens and a text of {length}: it must be shorter than the text"
        )
    if prefix and not shape.causal:
        raise InputError(f"{shape.family} attends both ways: a prefix cannot be reused, use a causal model")

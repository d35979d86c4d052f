"""What the bound of parity sees: a network that is wrong in one small thing goes red, in both op sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import farthing.engine.openvino.engine
import farthing.engine.torch.engine
from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.network.transformer import score_scale
from farthing.engine.network.weights import weights_of
from farthing.theory.shapes import ModelShape
from small_families import MOST_DEVIATION, deviation, pooled, random_ids
from ways import checkpoint_of, lane_of

Weights = dict[str, npt.NDArray[np.float32]]
Mutate = Callable[[ModelShape, Weights], ModelShape]
"""Changes the weights, or returns another shape."""


def dropped_bias(shape: ModelShape, weights: Weights) -> ModelShape:
    weights["layers.1.attention.output.bias"][:] = 0
    return shape


def other_gelu(shape: ModelShape, _: Weights) -> ModelShape:
    other: dict[str, Any] = {"gelu": "gelu_tanh", "gelu_tanh": "gelu"}
    return replace(shape, activation=other[shape.activation])


def other_epsilon(shape: ModelShape, _: Weights) -> ModelShape:
    return replace(shape, norm_epsilon=1e-2)


def other_scale(shape: ModelShape, _: Weights) -> ModelShape:
    return replace(shape, attention_scale=1.01 * score_scale(shape))


def other_theta(shape: ModelShape, _: Weights) -> ModelShape:
    assert shape.rotary_theta is not None
    return replace(shape, rotary_theta=1.2 * shape.rotary_theta)


def wider_window(shape: ModelShape, _: Weights, tokens: int = 1) -> ModelShape:
    reach = tuple(None if one is None else one + tokens for one in shape.attention_reach)
    assert reach != shape.attention_reach
    return replace(shape, attention_reach=reach)


def narrower_window(shape: ModelShape, weights: Weights) -> ModelShape:
    return wider_window(shape, weights, -1)


def swapped_kv_heads(shape: ModelShape, weights: Weights) -> ModelShape:
    key = weights["layers.0.attention.key.weight"]
    key[:] = np.roll(key, shape.head_size, axis=0)
    return shape


def shifted_positions(shape: ModelShape, weights: Weights) -> ModelShape:
    table = weights["embeddings.positions.weight"]
    table[:] = np.roll(table, 1, axis=0)
    return shape


def other_padding(shape: ModelShape, _: Weights) -> ModelShape:
    return replace(shape, position_offset=shape.position_offset + 1)


def shifted_biases(shape: ModelShape, weights: Weights) -> ModelShape:
    table = weights["relative.table.weight"]
    table[:] = np.roll(table, 1, axis=0)
    return shape


def other_distance(shape: ModelShape, _: Weights) -> ModelShape:
    return replace(shape, relative_distance=shape.relative_distance * 2)


def no_slopes(shape: ModelShape, _: Weights) -> ModelShape:
    return replace(shape, positions="none")


def other_cap(shape: ModelShape, _: Weights) -> ModelShape:
    assert shape.score_cap is not None
    return replace(shape, score_cap=1.1 * shape.score_cap)


def swapped_groups(shape: ModelShape, weights: Weights) -> ModelShape:
    one, other = (weights[f"layers.{group}.mlp.down.bias"] for group in (0, 1))
    one[:], other[:] = other.copy(), one.copy()
    return shape


def dropped_projection_bias(shape: ModelShape, weights: Weights) -> ModelShape:
    weights["embeddings.projection.bias"][:] = 0
    return shape


def swapped_gate(shape: ModelShape, weights: Weights) -> ModelShape:
    one, other = (weights[f"layers.1.mlp.{part}.weight"] for part in ("gate", "up"))
    one[:], other[:] = other.copy(), one.copy()
    return shape


MUTATIONS: list[tuple[str, Mutate]] = [
    ("bert", dropped_bias),
    ("bert", other_gelu),
    ("gemma3_text", other_gelu),
    ("distilbert", other_epsilon),
    ("mpnet", other_scale),
    ("qwen3", other_scale),
    ("modernbert", other_theta),
    ("llama", other_theta),
    ("modernbert", wider_window),
    ("modernbert", narrower_window),
    ("mistral", wider_window),
    ("mistral", narrower_window),
    ("qwen2", swapped_kv_heads),
    ("roberta", shifted_positions),
    ("xlm-roberta", shifted_positions),
    ("xlm-roberta", other_padding),
    ("mpnet", other_padding),
    ("camembert", other_padding),
    ("t5", other_scale),
    ("t5", shifted_biases),
    ("t5 with a gate", other_distance),
    ("t5 with a gate", swapped_gate),
    ("gemma2", other_cap),
    ("gemma2", other_scale),
    ("gemma2", wider_window),
    ("jina_bert", no_slopes),
    ("jina_bert", swapped_gate),
    ("jina_bert", other_gelu),
    ("albert in groups", swapped_groups),
    ("albert", dropped_projection_bias),
    ("albert", shifted_positions),
    ("nomic_bert", other_theta),
]


@pytest.fixture
def mutated(monkeypatch: pytest.MonkeyPatch) -> Callable[[Checkpoint, Mutate], Checkpoint]:
    """Return what mutates a checkpoint, for both engines."""

    def of(checkpoint: Checkpoint, mutate: Mutate) -> Checkpoint:
        weights = {name: values.copy() for name, values in weights_of(checkpoint)}
        shape = mutate(checkpoint.shape, weights)
        for module in (farthing.engine.openvino.engine, farthing.engine.torch.engine):
            monkeypatch.setattr(module, "weights_of", lambda _: iter(weights.items()))
        return replace(checkpoint, shape=shape)

    return of


@pytest.mark.parametrize("way", ["torch, on a grid", "torch, on tokens", "openvino, packed"])
@pytest.mark.parametrize(("family", "mutate"), MUTATIONS)
def test_the_bound_catches_mutations(
    family: str,
    mutate: Mutate,
    way: str,
    family_folder: Callable[[str], Path],
    states: Callable[[str], list[torch.Tensor]],
    mutated: Callable[[Checkpoint, Mutate], Checkpoint],
) -> None:
    """And a copy of the weights that is not changed passes."""
    checkpoint, theirs = checkpoint_of(family_folder(family), "mean"), pooled(states(family), "mean")
    same = lane_of(way, mutated(checkpoint, lambda shape, _: shape)).run(random_ids())
    assert deviation(same.vectors, theirs) <= MOST_DEVIATION
    wrong = lane_of(way, mutated(checkpoint, mutate)).run(random_ids())
    assert not wrong.failed
    assert deviation(wrong.vectors, theirs) > MOST_DEVIATION

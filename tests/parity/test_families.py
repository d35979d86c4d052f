"""Every family against transformers' own fp32 module, every parameter random: the same vectors, packed and alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from farthing.engine.folder.checkpoint import Checkpoint, Pooling, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.openvino.engine import OpenVinoModel
from farthing.engine.network.packing import packed
from farthing.engine.network.transformer import Transformer
from farthing.engine.network.weights import load_transformer
from small_families import FAMILIES, LENGTHS, MOST_DEVIATION, deviation, pooled, random_ids, reference_states

POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "last_token", "weighted_mean")
Vectors = npt.NDArray[np.float32]

families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def states(family_folder: Callable[[str], Path]) -> Callable[[str], list[torch.Tensor]]:
    """Return transformers' last states of each of the random texts, by family; computed once."""
    known: dict[str, list[torch.Tensor]] = {}

    def of(family: str) -> list[torch.Tensor]:
        if family not in known:
            known[family] = reference_states(family_folder(family), random_ids())
        return known[family]

    return of


def checkpoint_of(folder: Path, pooling: Pooling) -> Checkpoint:
    return replace(read_checkpoint(locate_model(str(folder))), pooling=pooling)


def run(model: Transformer, ids: list[npt.NDArray[np.int32]]) -> Vectors:
    with torch.inference_mode():
        vectors: Vectors = model(*map(torch.from_numpy, packed(ids).inputs)).numpy()
    return vectors


@families
@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_transformers(
    family: str,
    pooling: Pooling,
    family_folder: Callable[[str], Path],
    states: Callable[[str], list[torch.Tensor]],
) -> None:
    """Packed together, alone, and with the last layer untrimmed."""
    checkpoint = checkpoint_of(family_folder(family), pooling)
    model, ids = load_transformer(checkpoint), random_ids()
    theirs = pooled(states(family), pooling)
    assert deviation(run(model, ids), theirs) <= MOST_DEVIATION
    assert deviation(np.concatenate([run(model, [one]) for one in ids]), theirs) <= MOST_DEVIATION
    if pooling in ("cls", "last_token"):
        assert model.trimmed
        whole = load_transformer(checkpoint, trimmed=False)
        assert deviation(run(whole, ids), theirs) <= MOST_DEVIATION


@families
def test_the_graph_gives_the_same_vectors(
    family: str, family_folder: Callable[[str], Path], states: Callable[[str], list[torch.Tensor]]
) -> None:
    pooling: Pooling = "last_token" if family in ("qwen3", "mistral") else "mean"
    model = OpenVinoModel(checkpoint_of(family_folder(family), pooling))
    ids = random_ids()
    stream = model.stream()
    theirs = pooled(states(family), pooling)
    assert deviation(stream.run(ids).copy(), theirs) <= MOST_DEVIATION
    assert deviation(np.concatenate([stream.run([one]).copy() for one in ids]), theirs) <= MOST_DEVIATION


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].causal])
def test_a_shared_prefix_is_computed_once(family: str, family_folder: Callable[[str], Path]) -> None:
    """Its keys and values, then each text behind it, against both in one."""
    checkpoint = checkpoint_of(family_folder(family), "last_token")
    model = load_transformer(checkpoint)
    prefix = random_ids(seed=3)[4][:11]
    ids = [one[: LENGTHS[-1] - len(prefix)] for one in random_ids()]
    plain = run(model, [np.concatenate((prefix, one)) for one in ids])
    with torch.inference_mode():
        past = model.states(*map(torch.from_numpy, packed([prefix]).inputs))[2]
        reused = model(*map(torch.from_numpy, packed(ids).inputs), past).numpy()
    assert deviation(reused, plain) <= MOST_DEVIATION
    graph = OpenVinoModel(checkpoint)
    stream, (kept, computed) = graph.stream(), graph.prefix(prefix)
    assert deviation(stream.run(ids, kept).copy(), plain) <= MOST_DEVIATION
    assert computed
    again, computed = graph.prefix(prefix)
    assert again is kept
    assert not computed
    alone = np.concatenate([stream.run([one], kept).copy() for one in ids])
    assert deviation(alone, plain) <= MOST_DEVIATION


Mutation = Callable[[Any], None]


def _drop_bias(model: Any) -> None:
    model.get_parameter("layers.1.attention.output.bias").zero_()


def _other_gelu(model: Any) -> None:
    for layer in model.layers:
        layer.mlp.activation = {"gelu": "gelu_tanh", "gelu_tanh": "gelu"}[layer.mlp.activation]


def _other_scale(model: Any) -> None:
    for layer in model.layers:
        layer.attention.sight = replace(layer.attention.sight, scale=1.01 * layer.attention.sight.scale)


def _other_theta(model: Any) -> None:
    model.shape = replace(model.shape, rotary_theta=model.shape.rotary_theta * 1.2)


def _wider_window(model: Any, tokens: int = 1) -> None:
    for layer in model.layers:
        sight = layer.attention.sight
        if sight.reach is not None:
            layer.attention.sight = replace(sight, reach=sight.reach + tokens)


def _narrower_window(model: Any) -> None:
    _wider_window(model, -1)


def _swapped_kv_heads(model: Any) -> None:
    attention = model.layers[0].attention
    start = attention.heads * attention.head_size
    rows = attention.qkv.weight[start : start + attention.kv_heads * attention.head_size]
    rows.copy_(rows.clone().roll(attention.head_size, dims=0))


def _shifted_positions(model: Any) -> None:
    model.embeddings.offset -= 1


def _other_epsilon(model: Any) -> None:
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-2


@pytest.mark.parametrize(
    ("family", "mutate"),
    [
        ("bert", _drop_bias),
        ("bert", _other_gelu),
        ("gemma3_text", _other_gelu),
        ("distilbert", _other_epsilon),
        ("mpnet", _other_scale),
        ("qwen3", _other_scale),
        ("modernbert", _other_theta),
        ("llama", _other_theta),
        ("modernbert", _wider_window),
        ("modernbert", _narrower_window),
        ("mistral", _wider_window),
        ("mistral", _narrower_window),
        ("qwen2", _swapped_kv_heads),
        ("roberta", _shifted_positions),
        ("xlm-roberta", _shifted_positions),
        ("nomic_bert", _other_theta),
    ],
)
def test_the_bound_catches_mutations(
    family: str,
    mutate: Mutation,
    family_folder: Callable[[str], Path],
    states: Callable[[str], list[torch.Tensor]],
) -> None:
    model = load_transformer(checkpoint_of(family_folder(family), "mean"))
    theirs = pooled(states(family), "mean")
    assert deviation(run(model, random_ids()), theirs) <= MOST_DEVIATION
    with torch.no_grad():
        mutate(model)
    assert deviation(run(model, random_ids()), theirs) > MOST_DEVIATION

"""Our BERT against transformers' own, with every parameter random: the same vectors, alone and in any batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import BertModel

from farthing.engine.checkpoint import read_checkpoint
from farthing.engine.locate import locate_model
from farthing.engine.openvino_model import OpenVinoModel
from farthing.engine.weights import load_transformer

MOST_DEVIATION = 2e-4
"""Source: facts/cpu.md; fp32 noise is under 5e-5, the wrong kind of GELU gives 9e-4."""

LENGTHS = (1, 2, 3, 7, 16, 31, 40)

Vectors = npt.NDArray[np.float32]


def deviation(ours: Vectors, theirs: Vectors) -> float:
    """Return max‖a−b‖ / median‖a−mean‖: cosine alone is nearly blind on random weights."""
    spread = np.linalg.norm(theirs - theirs.mean(axis=0), axis=1)
    return float(np.linalg.norm(ours - theirs, axis=1).max() / np.median(spread))


def random_ids(seed: int = 0, vocabulary: int = 80) -> list[npt.NDArray[np.int32]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, vocabulary, length, np.int32) for length in LENGTHS]


def reference(folder: Path, ids: list[npt.NDArray[np.int32]], pooling: str, normalize: bool) -> Vectors:
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager")
    model.train(False)
    rows = []
    with torch.no_grad():
        for one in ids:
            states = model(torch.from_numpy(one).long()[None]).last_hidden_state[0]
            vector = states[0] if pooling == "cls" else states.mean(dim=0)
            rows.append(torch.nn.functional.normalize(vector, dim=-1) if normalize else vector)
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_same_vectors_as_transformers(
    make_bert: Callable[..., Path], pooling: str, normalize: bool, activation: str
) -> None:
    folder = make_bert(pooling=pooling, normalize=normalize, hidden_act=activation)
    model = OpenVinoModel(read_checkpoint(locate_model(str(folder))))
    ids = random_ids()
    together = model.stream().run(ids, max(LENGTHS)).copy()
    theirs = reference(folder, ids, pooling, normalize)
    assert deviation(together, theirs) <= MOST_DEVIATION
    alone = np.concatenate([model.stream().run([one], len(one)).copy() for one in ids])
    assert deviation(alone, theirs) <= MOST_DEVIATION


def _drop_bias(model: torch.nn.Module) -> None:
    model.get_parameter("layers.1.attention.output.bias").zero_()


def _swap_key_and_value(model: torch.nn.Module) -> None:
    weight = model.get_parameter("layers.0.attention.qkv.weight")
    query, key, value = weight.clone().chunk(3)
    weight.copy_(torch.cat([query, value, key]))


def _other_gelu(model: torch.nn.Module) -> None:
    for layer in range(3):
        model.get_submodule(f"layers.{layer}.mlp").activation = "gelu_tanh"  # type: ignore[assignment]


def _other_epsilon(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-2


def _shifted_positions(model: torch.nn.Module) -> None:
    weight = model.get_parameter("embeddings.positions.weight")
    weight.copy_(weight.clone().roll(1, dims=0))


@pytest.mark.parametrize(
    "mutate", [_drop_bias, _swap_key_and_value, _other_gelu, _other_epsilon, _shifted_positions]
)
def test_the_bound_catches_mutations(
    make_bert: Callable[..., Path], mutate: Callable[[torch.nn.Module], None]
) -> None:
    folder = make_bert()
    model = load_transformer(read_checkpoint(locate_model(str(folder))))
    ids = random_ids()
    theirs = reference(folder, ids, "mean", normalize=True)

    def ours() -> Vectors:
        rows = [
            model(torch.from_numpy(one)[None], torch.tensor([len(one)], dtype=torch.int32)) for one in ids
        ]
        return torch.cat(rows).numpy()

    assert deviation(ours(), theirs) <= MOST_DEVIATION
    with torch.no_grad():
        mutate(model)
    assert deviation(ours(), theirs) > MOST_DEVIATION

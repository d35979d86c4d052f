"""Weights: every tensor found, of the right shape and finite, or one line that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.network.weights import modules_of, weights_of
from farthing.errors import ModelError

QUERY = "encoder.layer.1.attention.self.query.weight"
KEY = "encoder.layer.1.attention.self.key.weight"
NORM = "encoder.layer.2.output.LayerNorm.weight"

Tensors = dict[str, Tensor]
Weights = dict[str, npt.NDArray[np.float32]]


@pytest.fixture
def checkpoint(tiny_bert: Path, tmp_path: Path) -> Checkpoint:
    """Return a copy of the small BERT that a test may change."""
    return read_checkpoint(locate_model(str(shutil.copytree(tiny_bert, tmp_path / "model"))))


def rewrite(checkpoint: Checkpoint, change: Callable[[Tensors], Tensors]) -> Checkpoint:
    save_file(change(load_file(checkpoint.weights[0])), checkpoint.weights[0])
    return checkpoint


def refusal(checkpoint: Checkpoint, kind: type[ModelError] = ModelError) -> str:
    with pytest.raises(ModelError) as caught:
        dict(weights_of(checkpoint))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(ours: Weights, other: Weights) -> bool:
    return list(ours) == list(other) and all(np.array_equal(ours[name], other[name]) for name in ours)


def test_every_tensor_is_taken(checkpoint: Checkpoint) -> None:
    weights, tensors = dict(weights_of(checkpoint)), load_file(checkpoint.weights[0])
    assert sum(values.size for values in weights.values()) == sum(
        tensor.numel() for name, tensor in tensors.items() if "position_ids" not in name
    )
    assert {values.dtype for values in weights.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(weights["layers.1.attention.query.weight"], tensors[QUERY])
    np.testing.assert_array_equal(weights["layers.1.attention.key.weight"], tensors[KEY])
    np.testing.assert_array_equal(weights["layers.2.mlp_norm.weight"], tensors[NORM])
    assert isinstance(weights["layers.1.attention.key.weight"].base, np.memmap)  # and not read yet


def test_each_module_says_its_sizes(checkpoint: Checkpoint) -> None:
    weights, named = dict(weights_of(checkpoint)), {}
    for module, size, bias in modules_of(checkpoint.shape):
        named[f"{module}.weight"] = size
        if bias:
            named[f"{module}.bias"] = size[:1]
    assert {name: values.shape for name, values in weights.items()} == named


@pytest.mark.parametrize(
    "name", [QUERY, NORM, "embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias"]
)
def test_a_missing_tensor_is_named(checkpoint: Checkpoint, name: str) -> None:
    rewrite(checkpoint, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    message = refusal(checkpoint)
    assert name in message
    assert str(checkpoint.weights[0]) in message


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (NORM, (35,)),
        (NORM, ()),
        ("embeddings.word_embeddings.weight", (10, 36)),
        ("encoder.layer.0.intermediate.dense.weight", (36, 52)),
        (QUERY, (35, 36)),
        (QUERY, (36, 35)),
        (QUERY, (36,)),
        ("encoder.layer.1.attention.self.key.bias", ()),
    ],
)
def test_a_wrong_shape_is_named(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> None:
    rewrite(checkpoint, lambda tensors: {**tensors, name: torch.ones(shape)})
    message = refusal(checkpoint)
    assert name in message
    assert str(shape) in message


def test_wrong_shapes_that_make_up_for_each_other_are_found(checkpoint: Checkpoint) -> None:
    rewrite(checkpoint, lambda tensors: {**tensors, QUERY: torch.ones(40, 36), KEY: torch.ones(32, 36)})
    assert QUERY in refusal(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", [QUERY, NORM])
def test_a_value_that_is_not_finite_is_named(checkpoint: Checkpoint, name: str, value: float) -> None:
    def spoil(tensors: Tensors) -> Tensors:
        tensors[name].view(-1)[7] = value
        return tensors

    message = refusal(rewrite(checkpoint, spoil))
    assert name in message
    assert "finite" in message


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_that_was_cut_is_named(checkpoint: Checkpoint, keep: int) -> None:
    content = checkpoint.weights[0].read_bytes()
    checkpoint.weights[0].write_bytes(content[:keep])
    assert str(checkpoint.weights[0]) in refusal(checkpoint)


def test_a_file_that_is_something_else_is_named(checkpoint: Checkpoint) -> None:
    checkpoint.weights[0].write_text("version https://git-lfs.github.com/spec/v1\n" * 3)
    assert str(checkpoint.weights[0]) in refusal(checkpoint)


def test_the_encoder_of_a_task_model(checkpoint: Checkpoint) -> None:
    plain = dict(weights_of(checkpoint))
    rewrite(
        checkpoint,
        lambda tensors: {
            **{f"bert.{name}": tensor for name, tensor in tensors.items()},
            "cls.predictions.bias": torch.ones(5),
        },
    )
    assert same(dict(weights_of(checkpoint)), plain)


def test_gamma_and_beta(checkpoint: Checkpoint) -> None:
    plain = dict(weights_of(checkpoint))

    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    rewrite(checkpoint, lambda tensors: {old(name): tensor for name, tensor in tensors.items()})
    assert same(dict(weights_of(checkpoint)), plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_exactly(checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    rewrite(checkpoint, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    tensors = load_file(checkpoint.weights[0])
    weights = dict(weights_of(checkpoint))
    assert {values.dtype for values in weights.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(weights["layers.2.mlp_norm.weight"], tensors[NORM].float())


@pytest.mark.parametrize("family", ["qwen2", "modernbert", "gemma3_text"])
def test_fused_tensors_and_norms_by_one_more(family: str, family_folder: Callable[[str], Path]) -> None:
    """A part of a tensor is its rows; what a model adds to its norms is added here."""
    checkpoint = read_checkpoint(locate_model(str(family_folder(family))))
    weights, tensors = dict(weights_of(checkpoint)), load_file(checkpoint.weights[0])
    shape = checkpoint.shape
    if family == "modernbert":
        fused, gated = tensors["layers.1.attn.Wqkv.weight"], tensors["layers.1.mlp.Wi.weight"]
        np.testing.assert_array_equal(weights["layers.1.attention.key.weight"], fused[60:120])
        np.testing.assert_array_equal(weights["layers.1.mlp.gate.weight"], gated[:88])
        np.testing.assert_array_equal(weights["layers.1.mlp.up.weight"], gated[88:])
        assert "layers.0.attention_norm.weight" not in weights
    norm = tensors["layers.1.mlp_norm.weight" if family == "modernbert" else "norm.weight"]
    ours = weights["layers.1.mlp_norm.weight" if family == "modernbert" else "norm.weight"]
    np.testing.assert_array_equal(ours, norm.numpy() + shape.norm_unit_offset)


def test_a_tensor_that_nothing_is_made_of_is_named(checkpoint: Checkpoint) -> None:
    rewrite(checkpoint, lambda tensors: {**tensors, "encoder.layer.3.output.dense.bias": torch.ones(36)})
    message = refusal(checkpoint)
    assert "encoder.layer.3.output.dense.bias" in message
    assert "config.json" in message


def test_heads_and_buffers_are_left_alone(checkpoint: Checkpoint) -> None:
    plain = dict(weights_of(checkpoint))
    extra = {"pooler.dense.bias": torch.ones(36), "embeddings.position_ids": torch.arange(40)[None]}
    assert same(dict(weights_of(rewrite(checkpoint, lambda tensors: {**tensors, **extra}))), plain)


@pytest.mark.parametrize(
    "names", [["encoder.embed_tokens.weight"], ["shared.weight", "encoder.embed_tokens.weight"]]
)
def test_the_table_of_a_t5_has_two_names(
    names: list[str], family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """And the decoder of a whole T5 is left alone."""
    folder = shutil.copytree(family_folder("t5"), tmp_path / "t5")
    checkpoint = read_checkpoint(locate_model(str(folder)))
    plain = dict(weights_of(checkpoint))

    def renamed(tensors: Tensors) -> Tensors:
        table = tensors.pop("shared.weight")
        decoder = {"decoder.block.0.layer.0.SelfAttention.q.weight": torch.ones(3, 3)}
        return tensors | decoder | {name: table.clone() for name in names}

    assert same(dict(weights_of(rewrite(checkpoint, renamed))), plain)


@pytest.mark.parametrize("family", ["albert in groups", "t5", "gemma2", "jina_bert"])
def test_every_tensor_of_a_family_is_taken(family: str, family_folder: Callable[[str], Path]) -> None:
    checkpoint = read_checkpoint(locate_model(str(family_folder(family))))
    stored = load_file(checkpoint.weights[0]).values()
    assert sum(values.size for _, values in weights_of(checkpoint)) == sum(one.numel() for one in stored)

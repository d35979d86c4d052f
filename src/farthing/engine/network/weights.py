"""A checkpoint's weights under our names, checked against the shape that config.json describes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.folder.tensors import TensorFile, as_float32, is_finite
from farthing.engine.folder.weight_names import WeightNames, names_of
from farthing.errors import ModelError
from farthing.theory.shapes import ModelShape

_NAMED = 3
"""Tensors that an error names; of more it gives the number."""


def weights_of(checkpoint: Checkpoint) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield our parameters by name, `layers.3.attention.query.weight` for example.

    What is stored in float32 shares the mapped file's memory; other types are widened, one tensor at a time.

    Raises:
        ModelError: a file is damaged, or a tensor is missing, too many, has a wrong shape or is not finite.
    """
    if checkpoint.static is not None:
        yield "embeddings.tokens.weight", checkpoint.static.rows()
    else:
        yield from _transformer(checkpoint)
    for index, dense in enumerate(checkpoint.dense):
        file = TensorFile(dense.weights)
        yield f"dense.{index}.weight", _whole(file, "linear.weight", (dense.outputs, dense.inputs))
        if dense.bias:
            yield f"dense.{index}.bias", _whole(file, "linear.bias", (dense.outputs,))


def _transformer(checkpoint: Checkpoint) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    tensors = _Tensors(checkpoint)
    shape = checkpoint.shape
    for module, size, bias in modules_of(shape):
        for kind, wanted in (("weight", size), *((("bias", size[:1]),) if bias else ())):
            values = tensors.part(module, kind, wanted)
            if shape.norm_unit_offset and module.endswith("norm"):
                values = values + 1
            if module == "embeddings.positions":
                values = values[max(shape.position_offset - 1, 0) :]
            yield f"{module}.{kind}", values
    tensors.check_all_used()


def modules_of(shape: ModelShape) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Yield our modules with the size of their weight and whether they have a bias."""
    h, width, kv, inner = shape.hidden, shape.attention_width, shape.kv_width, shape.intermediate
    norm_bias = shape.norm == "layer_norm" and shape.norm_bias
    yield "embeddings.tokens", (shape.vocabulary, shape.table_width), False
    if shape.positions == "learned":
        yield (
            "embeddings.positions",
            (shape.max_positions + shape.position_offset, shape.table_width),
            False,
        )
    if shape.token_types:
        yield "embeddings.types", (shape.token_types, shape.table_width), False
    if shape.embedding_norm:
        yield "embeddings.norm", (shape.table_width,), norm_bias
    if shape.embedding_size:
        yield "embeddings.projection", (h, shape.embedding_size), True
    if shape.relative_buckets:
        yield "relative.table", (shape.relative_buckets, shape.heads), False
    for layer in range(shape.stored_layers):
        start = f"layers.{layer}."
        for name, rows in (("query", width), ("key", kv), ("value", kv)):
            yield f"{start}attention.{name}", (rows, h), shape.attention_bias
        if shape.qk_norm:
            yield f"{start}attention.query_norm", (shape.head_size,), False
            yield f"{start}attention.key_norm", (shape.head_size,), False
        yield f"{start}attention.output", (h, width), shape.output_bias
        if layer or shape.first_attention_norm:
            yield f"{start}attention_norm", (h,), norm_bias
        yield f"{start}mlp_norm", (h,), norm_bias
        if shape.norm_place == "sandwich":
            yield f"{start}attention_out_norm", (h,), norm_bias
            yield f"{start}mlp_out_norm", (h,), norm_bias
        if shape.gated_mlp:
            yield f"{start}mlp.gate", (inner, h), shape.mlp_up_bias
        yield f"{start}mlp.up", (inner, h), shape.mlp_up_bias
        yield f"{start}mlp.down", (h, inner), shape.mlp_down_bias
    if shape.norm_place != "post":
        yield "norm", (h,), norm_bias


class _Tensors:
    """The tensors of a checkpoint's files by name, and which of them were used."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        shape = checkpoint.shape
        self._names = names_of(shape.family, gated=shape.gated_mlp)
        self._heads = (shape.attention_width, shape.kv_width, shape.kv_width)
        self._first = checkpoint.weights[0]
        self._where: dict[str, tuple[TensorFile, str]] = {}
        for path in checkpoint.weights:
            file = TensorFile(path)
            self._where |= {_plain(key, self._names): (file, key) for key in file}
        self._used: set[str] = set()
        self._last: tuple[str, npt.NDArray[np.float32]] | None = None

    def part(self, module: str, kind: str, wanted: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return one of our parameters, of the wanted shape: a tensor, or some rows of one."""
        source = self._names.source(module)
        name = self._found(f"{source.name}.{kind}", f"{module}.{kind}")
        parts: tuple[int, ...] = wanted[:1]
        if source.fused:
            parts = self._heads if ".attention." in module else wanted[:1] * 2
        if self._last is None or self._last[0] != name:
            file, key = self._where[name]
            self._last = name, _whole(file, key, (sum(parts), *wanted[1:]))
        start = sum(parts[: source.place])
        return self._last[1][start : start + parts[source.place]]

    def check_all_used(self) -> None:
        """Refuse tensors that no part of the model is for: the weights are another model's than config.json's."""
        extra = [where for name, where in self._where.items() if not self._is_known(name)]
        if extra:
            named = ", ".join(key for _, key in extra[:_NAMED])
            more = f" and {len(extra) - _NAMED} more" if len(extra) > _NAMED else ""
            raise ModelError(
                f"{extra[0][0].path}: tensor {named}{more}: nothing in config.json is made of it; do the two files "
                "belong together?"
            )

    def _is_known(self, name: str) -> bool:
        buffer = name.endswith(("rotary_emb.inv_freq", "position_ids", "masked_bias"))
        return name in self._used or buffer or name.startswith(self._names.ignored)

    def _found(self, source: str, parameter: str) -> str:
        # Old checkpoints call LayerNorm's parameters gamma and beta.
        old = source.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
        for name in (source, old):
            if name in self._where:
                self._used.add(name)
                return name
        raise ModelError(f"{self._first}: tensor {source} is missing; config.json asks for it as {parameter}")


def _plain(key: str, names: WeightNames) -> str:
    """Return a checkpoint's name without what a model with a head puts before it."""
    for prefix in names.prefixes:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return names.aliases.get(key, key)


def _whole(file: TensorFile, key: str, wanted: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if key not in file:
        raise ModelError(f"{file.path}: tensor {key} is missing")
    if file.shape(key) != wanted:
        raise ModelError(f"{file.path}: {key} has shape {file.shape(key)}, config.json says {wanted}")
    values = as_float32(file.array(key))
    if not is_finite(values):
        raise ModelError(f"{file.path}: {key} holds values that are not finite in float32")
    return values

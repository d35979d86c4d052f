"""Checkpoint tensors to the Transformer's parameters, one at a time, fused and checked.

Knows files and shapes. Which tensors make a parameter is in `weight_names`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.network.transformer import Transformer
from farthing.engine.folder.weight_names import WeightNames, names_of
from farthing.errors import ModelError

_NAMED = 3
"""Tensors that an error names; of more it gives the number."""


def load_transformer(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, *, trimmed: bool = True
) -> Transformer:
    """Return the checkpoint's transformer with its weights, on the CPU, ready for inference.

    Tensors are read from memory-mapped files one parameter at a time: beside the module itself no more than one
    of them is in memory.

    Args:
        checkpoint: the model folder.
        dtype: of the parameters.
        trimmed: whether the last layer computes only the tokens that the pooling reads.

    Raises:
        ModelError: a file is damaged, or a tensor is missing, too many, has a wrong shape or is not finite.
    """
    with torch.device("meta"):
        model = Transformer(
            checkpoint.shape, checkpoint.pooling, checkpoint.normalize, checkpoint.dense, trimmed=trimmed
        )
    names = names_of(checkpoint.shape.family, gated=checkpoint.shape.gated_mlp)
    state: dict[str, Tensor] = {}
    with ExitStack() as stack:
        files = _Tensors(checkpoint, names, stack)
        for name, parameter in model.named_parameters():
            if not name.startswith("dense."):
                state[name] = files.fused(name, parameter.shape, dtype)
        files.check_all_used()
        state |= _dense_state(checkpoint, dtype, stack)
    if checkpoint.shape.norm_unit_offset:
        for name in state:
            if name == "norm.weight" or name.endswith("_norm.weight"):
                state[name] += 1
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


class _Tensors:
    """The tensors of a checkpoint's files by name, and which of them were used."""

    def __init__(self, checkpoint: Checkpoint, names: WeightNames, stack: ExitStack) -> None:
        self._names, self._shape, self._paths = names, checkpoint.shape, checkpoint.weights
        self._where: dict[str, tuple[Path, str, Any]] = {}
        self._used: set[str] = set()
        for path in self._paths:
            file = stack.enter_context(opened(path))
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                self._where[_plain(key, names)] = path, key, file

    def fused(self, parameter: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return one of our parameters, of the given shape, its parts below each other."""
        sources = self._names.sources(parameter)
        whole = torch.empty(shape, dtype=dtype)
        row = 0
        for source, rows in zip(sources, self._rows(shape, len(sources)), strict=True):
            path, key, file = self._found(source, parameter)
            sizes, wanted = tuple(file.get_slice(key).get_shape()), (rows, *shape[1:])
            if sizes != wanted:
                raise ModelError(f"{path}: {key} has shape {sizes}, config.json says {wanted}")
            part = whole[row : row + rows]
            part.copy_(_read(file, key, path))
            if not _is_finite(part):
                raise ModelError(f"{path}: {key} holds values that are not finite in {dtype}")
            row += rows
        return whole

    def _rows(self, shape: torch.Size, parts: int) -> tuple[int, ...]:
        """Return the rows of each tensor that is fused: queries, keys and values, or equal parts."""
        kv_width = self._shape.kv_width
        return (shape[0] - 2 * kv_width, kv_width, kv_width) if parts == 3 else (shape[0] // parts,) * parts

    def check_all_used(self) -> None:
        """Refuse tensors that no part of the model is for: the weights are another model's than config.json's."""
        extra = [key for name, (_, key, _) in self._where.items() if not self._is_known(name)]
        if extra:
            more = f" and {len(extra) - _NAMED} more" if len(extra) > _NAMED else ""
            raise ModelError(
                f"{self._where[_plain(extra[0], self._names)][0]}: tensor {', '.join(extra[:_NAMED])}{more}: "
                "nothing in config.json is made of it; do the two files belong together?"
            )

    def _is_known(self, name: str) -> bool:
        buffer = name.endswith(("rotary_emb.inv_freq", "position_ids", "masked_bias"))
        return name in self._used or buffer or name.startswith(self._names.ignored)

    def _found(self, source: str, parameter: str) -> tuple[Path, str, Any]:
        # Old checkpoints call LayerNorm's parameters gamma and beta.
        old = source.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
        for name in (source, old):
            if name in self._where:
                self._used.add(name)
                return self._where[name]
        raise ModelError(
            f"{self._paths[0]}: tensor {source} is missing; config.json asks for it as {parameter}"
        )


def _plain(key: str, names: WeightNames) -> str:
    """Return a checkpoint's name without what a model with a head puts before it."""
    for prefix in names.prefixes:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


def _dense_state(checkpoint: Checkpoint, dtype: torch.dtype, stack: ExitStack) -> dict[str, Tensor]:
    """Return the parameters of the matrices behind the pooling."""
    state = {}
    for index, dense in enumerate(checkpoint.dense):
        file = stack.enter_context(opened(dense.weights))
        wanted: Mapping[str, tuple[int, ...]] = {"weight": (dense.outputs, dense.inputs)}
        if dense.bias:
            wanted = {**wanted, "bias": (dense.outputs,)}
        for kind, shape in wanted.items():
            key = f"linear.{kind}"
            if key not in file.keys():  # noqa: SIM118
                raise ModelError(f"{dense.weights}: tensor {key} is missing")
            tensor = _read(file, key, dense.weights).to(dtype)
            if tuple(tensor.shape) != shape:
                raise ModelError(
                    f"{dense.weights}: {key} has shape {tuple(tensor.shape)}, its config.json says {shape}"
                )
            if not _is_finite(tensor):
                raise ModelError(f"{dense.weights}: {key} holds values that are not finite")
            state[f"dense.{index}.{kind}"] = tensor
    return state


def _is_finite(tensor: Tensor) -> bool:
    """Say whether all numbers are finite, in one pass over them and without another tensor of their number."""
    return all(math.isfinite(bound) for bound in torch.aminmax(tensor))


def opened(path: Path) -> Any:
    """Return an open safetensors file, memory-mapped.

    Raises:
        ModelError: it is missing, damaged or cut off.
    """
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from error


def _read(file: Any, key: str, path: Path) -> Tensor:
    try:
        tensor: Tensor = file.get_tensor(key)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: tensor {key} cannot be read: {error}") from error
    return tensor

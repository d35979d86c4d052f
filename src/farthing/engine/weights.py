"""Checkpoint tensors to the Transformer's parameters: a small table per family, with Q, K and V fused.

Knows names. Knows nothing of how the tensors are used.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from farthing.engine.checkpoint import Checkpoint
from farthing.engine.transformer import Transformer
from farthing.errors import ModelError

_BERT_EMBEDDINGS = {
    "embeddings.tokens.weight": ("embeddings.word_embeddings.weight",),
    "embeddings.positions.weight": ("embeddings.position_embeddings.weight",),
    "embeddings.types.weight": ("embeddings.token_type_embeddings.weight",),
    "embeddings.norm.weight": ("embeddings.LayerNorm.weight",),
    "embeddings.norm.bias": ("embeddings.LayerNorm.bias",),
}
_BERT_LAYER = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "mlp.up": ("intermediate.dense",),
    "mlp.down": ("output.dense",),
    "mlp_norm": ("output.LayerNorm",),
}


def load_transformer(checkpoint: Checkpoint) -> Transformer:
    """Return the checkpoint's transformer with its weights, float32, on the CPU, ready for inference.

    Raises:
        ModelError: the file is damaged, or a tensor is missing, has a wrong shape or holds NaN.
    """
    shape = checkpoint.shape
    tensors = _read_tensors(checkpoint)
    with torch.device("meta"):
        model = Transformer(shape, checkpoint.pooling, checkpoint.normalize)
    state = {}
    for name, parameter in model.named_parameters():
        sources = _sources(name)
        # In BERT, the tensors that are fused share the rows evenly.
        expected = (parameter.shape[0] // len(sources), *parameter.shape[1:])
        parts = [_take(tensors, source, expected, checkpoint) for source in sources]
        state[name] = (torch.cat(parts) if len(parts) > 1 else parts[0]).float()
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _read_tensors(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    try:
        tensors = load_file(checkpoint.weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{checkpoint.weights}: cannot be read as safetensors: {error}") from error
    # Checkpoints of task models (masked LM, …) carry the encoder under its family's name.
    prefix = f"{checkpoint.shape.family}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _sources(name: str) -> tuple[str, ...]:
    """Return the checkpoint's names of the tensors that make one parameter, in order of fusing."""
    if name in _BERT_EMBEDDINGS:
        return _BERT_EMBEDDINGS[name]
    _, layer, rest = name.split(".", 2)
    module, kind = rest.rsplit(".", 1)
    return tuple(f"encoder.layer.{layer}.{source}.{kind}" for source in _BERT_LAYER[module])


def _take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], checkpoint: Checkpoint) -> Tensor:
    # Old checkpoints call LayerNorm's parameters gamma and beta.
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    tensor = tensors.get(name, tensors.get(old))
    if tensor is None:
        raise ModelError(
            f"{checkpoint.weights}: tensor {name} is missing; is this a checkpoint of {checkpoint.shape.family}?"
        )
    if tensor.shape != shape:
        raise ModelError(
            f"{checkpoint.weights}: {name} has shape {tuple(tensor.shape)}, config.json says {shape}"
        )
    if not torch.isfinite(tensor).all():
        raise ModelError(f"{checkpoint.weights}: {name} holds values that are not finite")
    return tensor

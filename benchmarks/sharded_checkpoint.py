"""Writes a random checkpoint of a decoder in shards, as large as asked: for what loading costs, not for its vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD, VOCABULARY = 1536, 4608, 16, 8, 128, 100_000
LAYER_PARAMETERS = HIDDEN * HEAD * 2 * (HEADS + KV_HEADS) + 3 * HIDDEN * INTERMEDIATE
SHARD_BYTES = 500_000_000


def write_checkpoint(folder: Path, total_bytes: int) -> tuple[int, int]:
    """Write a folder of Qwen3's architecture in bf16 and return (parameters, bytes of the largest shard)."""
    layers = max(1, round((total_bytes / 2 - VOCABULARY * HIDDEN) / LAYER_PARAMETERS))
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3Model"],
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    _write_tokenizer(folder)
    files: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    parameters = largest = 0
    for name, tensor in _tensors(layers):
        if shard and _bytes(shard) + 2 * tensor.numel() > SHARD_BYTES:
            largest = max(largest, _save(shard, folder, files))
            shard = {}
        shard[name] = tensor
        parameters += tensor.numel()
    largest = max(largest, _save(shard, folder, files))
    index = {"metadata": {"total_size": 2 * parameters}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return parameters, largest


def _tensors(layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def random(*sizes: int) -> torch.Tensor:
        return torch.empty(*sizes, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)

    yield "embed_tokens.weight", random(VOCABULARY, HIDDEN)
    for layer in range(layers):
        attention, mlp = f"layers.{layer}.self_attn", f"layers.{layer}.mlp"
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield f"{attention}.{name}_proj.weight", random(heads * HEAD, HIDDEN)
        yield f"{attention}.o_proj.weight", random(HIDDEN, HEADS * HEAD)
        for name in ("q_norm", "k_norm"):
            yield f"{attention}.{name}.weight", 1 + random(HEAD)
        for name in ("gate_proj", "up_proj"):
            yield f"{mlp}.{name}.weight", random(INTERMEDIATE, HIDDEN)
        yield f"{mlp}.down_proj.weight", random(HIDDEN, INTERMEDIATE)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"layers.{layer}.{name}.weight", 1 + random(HIDDEN)
    yield "norm.weight", 1 + random(HIDDEN)


def _bytes(shard: dict[str, torch.Tensor]) -> int:
    return sum(2 * tensor.numel() for tensor in shard.values())


def _save(shard: dict[str, torch.Tensor], folder: Path, files: dict[str, str]) -> int:
    name = f"model-{len(set(files.values())) + 1:05d}.safetensors"
    save_file(shard, folder / name, metadata={"format": "pt"})
    files |= dict.fromkeys(shard, name)
    return _bytes(shard)


def _write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({f"w{row}": row for row in range(VOCABULARY)}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = {"0": ("", "Transformer"), "1": ("1_Pooling", "Pooling")}
    modules = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, (path, kind) in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

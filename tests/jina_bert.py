"""JinaBERT, which exists as code on the hub alone, written down a second time: float64, one text, no tricks.

Source: Günther et al. 2023 (jina-embeddings-v2) and Press et al. 2022 (ALiBi); tensors are named as in
huggingface.co/jinaai/jina-embeddings-v2-small-en.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Array = npt.NDArray[Any]

CONFIG: dict[str, Any] = {
    "architectures": ["JinaBertForMaskedLM"],
    "auto_map": {
        "AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
        "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel",
    },
    "model_type": "bert",
    "position_embedding_type": "alibi",
    "feed_forward_type": "geglu",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
}


def save_jina_bert(settings: dict[str, Any], folder: Path) -> None:
    """Save a model, every parameter random, and its configuration."""
    config = CONFIG | settings
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    gated = config["feed_forward_type"] != "original"
    sizes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        start = f"encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            sizes |= {f"{start}attention.{part}.weight": (hidden, hidden)}
            sizes |= {f"{start}attention.{part}.bias": (hidden,)}
        if gated:
            sizes |= {f"{start}mlp.gated_layers.weight": (2 * inner, hidden)}
            sizes |= {f"{start}mlp.wo.weight": (hidden, inner), f"{start}mlp.wo.bias": (hidden,)}
            norms.append(f"{start}mlp.layernorm")
        else:
            sizes |= {f"{start}intermediate.dense.weight": (inner, hidden)}
            sizes |= {f"{start}intermediate.dense.bias": (inner,)}
            sizes |= {f"{start}output.dense.weight": (hidden, inner), f"{start}output.dense.bias": (hidden,)}
            norms.append(f"{start}output.LayerNorm")
        norms.append(f"{start}attention.output.LayerNorm")
    sizes |= {f"{norm}.{kind}": (hidden,) for norm in norms for kind in ("weight", "bias")}
    generator = np.random.default_rng(12)
    folder.mkdir(parents=True)
    save_file(
        {
            name: generator.normal(
                0.4 if len(size) == 1 else 0, 0.3 if len(size) == 1 else 0.15, size
            ).astype(np.float32)
            for name, size in sizes.items()
        },
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def jina_bert_states(folder: Path, ids: npt.NDArray[np.int32]) -> Array:
    """Return the last states of one text, (tokens, hidden)."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {
        name: values.astype(np.float64) for name, values in load_file(folder / "model.safetensors").items()
    }
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    place = np.arange(len(ids))
    distance = np.abs(place[:, None] - place)
    for layer in range(config["num_hidden_layers"]):
        start = f"encoder.layer.{layer}."
        query, key, value = (
            linear(x, f"{start}attention.self.{part}").reshape(len(ids), heads, -1)
            for part in ("query", "key", "value")
        )
        mixed = np.empty_like(query)
        for head, slope in enumerate(slopes(heads)):
            scores = query[:, head] @ key[:, head].T / math.sqrt(query.shape[2]) - slope * distance
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[:, head] = shares / shares.sum(-1, keepdims=True) @ value[:, head]
        moved = linear(mixed.reshape(len(ids), -1), f"{start}attention.output.dense")
        x = norm(x + moved, f"{start}attention.output.LayerNorm")
        if f"{start}mlp.wo.weight" in weights:
            gate, up = np.split(linear(x, f"{start}mlp.gated_layers"), 2, axis=-1)
            gate = gelu(gate) if config["feed_forward_type"] == "geglu" else np.maximum(gate, 0)
            x = norm(x + linear(gate * up, f"{start}mlp.wo"), f"{start}mlp.layernorm")
        else:
            inner = gelu(linear(x, f"{start}intermediate.dense"))
            x = norm(x + linear(inner, f"{start}output.dense"), f"{start}output.LayerNorm")
    return x


def slopes(heads: int) -> list[float]:
    """Return the slope of each head: for 8 heads ½, ¼, … 1⁄256."""
    if heads & (heads - 1) == 0:
        return [2 ** (-8 * (head + 1) / heads) for head in range(heads)]
    below = 1 << (heads.bit_length() - 1)
    return slopes(below) + slopes(2 * below)[::2][: heads - below]


def gelu(x: Array) -> Array:
    found: Array = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return found

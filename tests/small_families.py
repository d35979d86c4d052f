"""Small models of every family that the engine runs, as transformers saves them, and what they answer."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jina_bert import jina_bert_states, save_jina_bert

MOST_DEVIATION = 2e-4
"""Measured here: fp32 noise is under 5e-5, the wrong kind of GELU gives 9e-4."""

LENGTHS = (1, 2, 3, 7, 16, 31, 40, 61)
VOCABULARY = 83
PADDING_IDS = (0, 1, 5)

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Family:
    """A class of transformers and the settings of a small one."""

    prefix: str
    settings: dict[str, Any] = field(default_factory=dict)
    causal: bool = False


_ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 60,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 88,
    "max_position_embeddings": 80,
}
_DECODER = _ENCODER | {"num_key_value_heads": 2, "pad_token_id": 0, "head_dim": 14}

_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 60,
    "d_kv": 14,
    "d_ff": 88,
    "num_layers": 3,
    "num_heads": 6,
}

FAMILIES: dict[str, Family] = {
    "bert": Family("Bert", _ENCODER),
    "bert with relu": Family("Bert", _ENCODER | {"hidden_act": "relu"}),
    "roberta": Family("Roberta", _ENCODER),
    "roberta, padding with 5": Family("Roberta", _ENCODER | {"pad_token_id": 5}),
    "camembert": Family("Camembert", _ENCODER | {"type_vocab_size": 1}),
    "xlm-roberta": Family("XLMRoberta", _ENCODER | {"type_vocab_size": 1}),
    "jina_bert": Family("JinaBert", _ENCODER),
    "jina_bert with relu": Family(
        "JinaBert", _ENCODER | {"feed_forward_type": "reglu", "num_attention_heads": 4}
    ),
    "jina_bert without gates": Family("JinaBert", _ENCODER | {"feed_forward_type": "original"}),
    "albert": Family("Albert", _ENCODER | {"embedding_size": 24, "num_hidden_layers": 4}),
    "albert in groups": Family(
        "Albert",
        _ENCODER
        | {"embedding_size": 60, "num_hidden_layers": 5, "num_hidden_groups": 2, "hidden_act": "gelu"},
    ),
    "t5": Family("T5", _T5),
    "t5 with a gate": Family(
        "T5",
        _T5
        | {
            "feed_forward_proj": "gated-gelu",
            "relative_attention_num_buckets": 12,
            "relative_attention_max_distance": 20,
        },
    ),
    "distilbert": Family(
        "DistilBert",
        {
            "vocab_size": VOCABULARY,
            "dim": 60,
            "n_layers": 3,
            "n_heads": 6,
            "hidden_dim": 88,
            "max_position_embeddings": 80,
        },
    ),
    "mpnet": Family("MPNet", _ENCODER),
    "nomic_bert": Family("NomicBert", _ENCODER),
    "modernbert": Family(
        "ModernBert", _ENCODER | {"num_hidden_layers": 5, "local_attention": 10, "pad_token_id": 0}
    ),
    "modernbert with biases": Family(
        "ModernBert",
        _ENCODER
        | {
            "local_attention": 8,
            "pad_token_id": 0,
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
        },
    ),
    "qwen2": Family("Qwen2", _DECODER, causal=True),
    "qwen2 both ways": Family("Qwen2", _DECODER | {"is_causal": False}),
    "qwen3": Family("Qwen3", _DECODER | {"head_dim": 22}, causal=True),
    "qwen3 with windows": Family(
        "Qwen3",
        _DECODER | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
        causal=True,
    ),
    "llama": Family("Llama", _DECODER | {"attention_bias": True, "mlp_bias": True}, causal=True),
    "mistral": Family("Mistral", _DECODER | {"sliding_window": 9}, causal=True),
    "gemma2": Family(
        "Gemma2",
        _DECODER | {"sliding_window": 9, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 3.0},
        causal=True,
    ),
    "gemma3_text": Family(
        "Gemma3Text",
        _DECODER
        | {
            "num_hidden_layers": 7,
            "sliding_window": 9,
            "sliding_window_pattern": 3,
            "use_bidirectional_attention": True,
        },
    ),
    "gemma3_text causal": Family(
        "Gemma3Text", _DECODER | {"sliding_window": 9, "sliding_window_pattern": 2}, causal=True
    ),
}


def save_family(name: str, folder: Path) -> Path:
    """Save a family's small model, every parameter random, and return its folder.

    Biases and norms too: as transformers initialises them, dropped ones would not be noticed.
    """
    transformers: Any = importlib.import_module("transformers")
    family = FAMILIES[name]
    if family.prefix == "JinaBert":
        save_jina_bert(family.settings, folder)
        return folder
    config = getattr(transformers, f"{family.prefix}Config")(**family.settings)
    kind = getattr(transformers, f"{family.prefix}{'EncoderModel' if family.prefix == 'T5' else 'Model'}")
    with torch.random.fork_rng():
        torch.manual_seed(11)
        pools = "add_pooling_layer" in inspect.signature(kind).parameters
        module = kind(config, add_pooling_layer=False) if pools else kind(config)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_(0.0 if parameter.dim() > 1 else 0.4, 0.3 if parameter.dim() == 1 else 0.15)
    module.save_pretrained(folder)
    return folder


def family_folders(root: Path) -> Callable[[str], Path]:
    """Return what gives the folder of a family's small model, with a tokenizer; each is saved once."""

    @cache
    def of(name: str) -> Path:
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel

        folder = save_family(name, root / name.replace(" ", "-"))
        words = {letter: row for row, letter in enumerate("abcdefgh")}
        Tokenizer(WordLevel(words, unk_token="a")).save(str(folder / "tokenizer.json"))
        return folder

    return of


def random_ids(seed: int = 0) -> list[npt.NDArray[np.int32]]:
    """Return token ids of texts of `LENGTHS`. Padding ids stand in them too, as a text may spell them."""
    generator = np.random.default_rng(seed)
    texts = [generator.integers(0, VOCABULARY, length, np.int32) for length in LENGTHS]
    for one in texts[3:]:
        one[generator.random(len(one)) < 0.15] = PADDING_IDS[generator.integers(len(PADDING_IDS))]
    return texts


def reference_states(folder: Path, ids: list[npt.NDArray[np.int32]]) -> list[torch.Tensor]:
    """Return the last states of transformers' module, (tokens, hidden), each text alone."""
    from transformers import AutoConfig, AutoModel, T5EncoderModel

    if (
        json.loads((folder / "config.json").read_text(encoding="utf-8")).get("position_embedding_type")
        == "alibi"
    ):
        return [torch.from_numpy(jina_bert_states(folder, one)).float() for one in ids]
    kind = T5EncoderModel if AutoConfig.from_pretrained(folder).model_type == "t5" else AutoModel
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    model.train(False)
    with torch.no_grad():
        return [model(torch.from_numpy(one).long()[None]).last_hidden_state[0] for one in ids]


def pooled(states: list[torch.Tensor], pooling: str) -> Vectors:
    """Return the pooled states, (texts, hidden), as sentence-transformers pools them."""
    rows = []
    for one in states:
        if pooling == "cls":
            rows.append(one[0])
        elif pooling == "last_token":
            rows.append(one[-1])
        elif pooling == "mean":
            rows.append(one.mean(dim=0))
        else:
            weights = torch.arange(1, len(one) + 1).float()[:, None]
            rows.append((one * weights).sum(dim=0) / weights.sum())
    return torch.stack(rows).numpy()


def deviation(ours: Vectors, theirs: Vectors) -> float:
    """Return max‖a−b‖ / median‖a−mean‖: cosine alone is nearly blind on random weights."""
    spread = np.linalg.norm(theirs - theirs.mean(axis=0), axis=1)
    return float(np.linalg.norm(ours - theirs, axis=1).max() / np.median(spread))

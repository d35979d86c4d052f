"""Saves a random model of a catalog model's shape: python peer_random_model.py NAME LAYERS TO.

In a process of its own, so that its gigabytes are gone when it ends. Its tokenizer knows a word for each id, w0, w1, …;
pooling is of the last token, as Qwen3-Embedding has it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from farthing.catalog.load import load_models
from farthing.catalog.lookups import find_model


def main() -> None:
    """Write the folder in sentence-transformers' layout, in fp32."""
    name, layers, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    known = find_model(load_models(), name)
    if known is None:
        sys.exit(f"{name}: not in the catalog; name one of farthing's catalog")
    figures = dict(known.config) | {"num_hidden_layers": layers}
    transformers: Any = import_module("transformers")
    config = transformers.AutoConfig.for_model(figures.pop("model_type"), **figures)
    torch.manual_seed(0)
    module = transformers.AutoModel.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in module.parameters():  # norms too: transformers leaves them at 1
            if parameter.dim() == 1:
                parameter.normal_(1.0, 0.2)
    module.save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({f"w{word}": word for word in range(config.vocab_size)}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0", pad_token="w1")
    fast.save_pretrained(folder)
    kinds = {"0": ("", "Transformer"), "1": ("1_Pooling", "Pooling"), "2": ("2_Normalize", "Normalize")}
    modules = [
        {"idx": int(row), "name": row, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for row, (path, kind) in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512}', encoding="utf-8")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_mean_tokens": False,  # sentence-transformers takes it for true where it is not said
        "pooling_mode_lasttoken": True,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")


if __name__ == "__main__":
    main()

"""sentence-T5's layout, a bias-free Dense and a Normalize behind a T5's encoder, against sentence-transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import farthing
from farthing.engine.contract import Mode

TEXTS = ["a b c", "b", "d e a a b h g", "", "c " * 30]


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("mode", ["latency", "throughput"])
@pytest.mark.parametrize("family", ["t5", "t5 with a gate"])
def test_sentence_t5_and_instructor(
    family: str, mode: Mode, include_prompt: bool, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    encoder = shutil.copytree(family_folder(family), tmp_path / "encoder")
    words = {word: row for row, word in enumerate(("<pad>", "</s>", "<unk>", *"abcdefgh"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    kind: Any = import_module("transformers").PreTrainedTokenizerFast
    kind(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=50,
    ).save_pretrained(encoder)
    torch.manual_seed(3)
    model = SentenceTransformer(
        modules=[
            modules.Transformer(str(encoder)),
            modules.Pooling(60, "mean", include_prompt=include_prompt),
            modules.Dense(60, 32, bias=False, activation_function=torch.nn.Identity()),
            modules.Normalize(),
        ],
        device="cpu",
    )
    model.save(str(tmp_path / "model"), create_model_card=False)
    with farthing.Embedder(str(tmp_path / "model"), mode=mode) as embedder:
        for prompt in ("", "h g f: "):
            theirs = model.encode(TEXTS, prompt=prompt)
            assert np.abs(embedder.encode(TEXTS, prompt=prompt) - theirs).max() <= 2e-4

"""Poolings that leave a prompt out, as INSTRUCTOR's does, against sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

import farthing
from farthing.engine.contract import Mode
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import LocatedModel, locate_model
from farthing.engine.text.tokenization import TextTokenizer
from farthing.engine.torch.engine import Means, TorchEngine
from farthing.errors import EngineError
from ways import WAYS, lane_of

TEXTS = ["a b c", "d", "a e e e e b a c d", "", "c a"]
PROMPTS = ["", "b", "a b c d: ", "e " * 9]
MOST_DEVIATION = 2e-4


@pytest.fixture
def leaving_out(
    make_bert: Callable[..., Path], tmp_path: Path
) -> Callable[[str], tuple[Path, SentenceTransformer]]:
    """Return what saves a model of a pooling that leaves prompts out."""

    def save(pooling: str) -> tuple[Path, SentenceTransformer]:
        parts = [
            modules.Transformer(str(make_bert(vocab_size=90))),
            modules.Pooling(36, pooling, include_prompt=False),
        ]
        model = SentenceTransformer(modules=parts, device="cpu")
        model.save(str(tmp_path / "model"), create_model_card=False)
        return tmp_path / "model", model

    return save


@pytest.mark.parametrize("pooling", ["mean", "cls", "weightedmean", "lasttoken"])
@pytest.mark.parametrize("way", WAYS)
def test_vectors_are_those_of_sentence_transformers(
    way: str, pooling: str, leaving_out: Callable[[str], tuple[Path, SentenceTransformer]]
) -> None:
    """Together and alone, each prompt after another; and with the prompt in the pooling they are others."""
    folder, model = leaving_out(pooling)
    checkpoint = read_checkpoint(locate_model(str(folder)))
    tokenizer, lane = TextTokenizer(checkpoint), lane_of(way, checkpoint)
    pooled = lane_of(way, replace(checkpoint, pools_prompt=True))
    for prompt in PROMPTS:
        ids = tokenizer.encode([prompt + text for text in TEXTS]).ids
        own = tokenizer.prompt(prompt) if prompt else None
        theirs = model.encode(TEXTS, prompt=prompt)
        done = lane.run(ids, own)
        assert not done.failed
        assert np.abs(done.vectors - theirs).max() <= MOST_DEVIATION
        alone = np.concatenate([lane.run([one], own).vectors for one in ids])
        assert np.abs(alone - theirs).max() <= MOST_DEVIATION
        if prompt and pooling != "lasttoken":
            assert np.abs(pooled.run(ids, own).vectors - theirs).max() > MOST_DEVIATION


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_a_users_prompt(mode: Mode, leaving_out: Callable[[str], tuple[Path, SentenceTransformer]]) -> None:
    folder, model = leaving_out("mean")
    texts = TEXTS * 40
    with farthing.Embedder(str(folder), mode=mode) as embedder:
        for prompt in PROMPTS:
            theirs = model.encode(texts, prompt=prompt)
            assert np.abs(embedder.encode(texts, prompt=prompt) - theirs).max() <= MOST_DEVIATION


def test_nothing_behind_a_prompt(leaving_out: Callable[[str], tuple[Path, SentenceTransformer]]) -> None:
    """A text that is the prompt and no more, cut before its end, fails and says why."""
    folder, _ = leaving_out("mean")
    lane = lane_of("openvino, packed", read_checkpoint(locate_model(str(folder))))
    prompt = np.array([2, 7, 8], np.int32)
    done = lane.run([np.append(prompt, np.int32(9)), prompt], prompt)
    assert list(done.failed) == [1]
    assert "behind its prompt" in str(done.failed[1])
    assert isinstance(done.failed[1], EngineError)


def test_compiled_and_recorded(leaving_out: Callable[[str], tuple[Path, SentenceTransformer]]) -> None:
    """A recorded step pools all tokens: it is not used where some are left out."""
    folder, model = leaving_out("mean")
    checkpoint = read_checkpoint(locate_model(str(folder)))
    lane = TorchEngine(
        checkpoint, "fp32", "cpu", means=Means(compiler="eager", record=lambda work: work)
    ).lane()
    tokenizer = TextTokenizer(checkpoint)
    for prompt in PROMPTS:
        ids = tokenizer.encode([prompt + text for text in TEXTS]).ids
        done = lane.run(ids, tokenizer.prompt(prompt) if prompt else None)
        assert np.abs(done.vectors - model.encode(TEXTS, prompt=prompt)).max() <= MOST_DEVIATION


def test_instructor_does_not_say_so_itself(
    leaving_out: Callable[[str], tuple[Path, SentenceTransformer]],
) -> None:
    folder, _ = leaving_out("mean")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    assert read_checkpoint(locate_model(str(folder))).pools_prompt
    assert not read_checkpoint(LocatedModel("hkunlp/instructor-large", folder, None)).pools_prompt

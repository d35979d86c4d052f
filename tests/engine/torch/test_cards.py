"""Names of cards, and a job on torch from end to end; what stands for a card is torch on the processor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from farthing.embedding.embedder import Embedder
from farthing.engine.torch import cards
from farthing.engine.torch.cards import card_identity, card_name, copy_bandwidth
from farthing.engine.torch.engine import TorchEngine
from farthing.errors import InputError


@pytest.fixture
def _two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SimpleNamespace(name="NVIDIA H200", total_memory=139 * 2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: seen)


@pytest.mark.usefixtures("_two_cards")
def test_names() -> None:
    assert [card_name(name) for name in ("cuda", "cuda:0", "cuda:1")] == ["cuda:0", "cuda:0", "cuda:1"]


@pytest.mark.usefixtures("_two_cards")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:2", "torch sees 2 CUDA cards"),
        ("cuda:x", "write cuda, or cuda:1"),
        ("cuda:", "write cuda, or cuda:1"),
        ("cudas", "write cuda, or cuda:1"),
        ("teapot", "write cuda, or cuda:1"),
        ("cuda:0,1", "device 'cuda:0,1': a process runs one card; start one process for each"),
        ("cuda:all", "device 'cuda:all': a process runs one card"),
    ],
)
def test_names_that_are_none(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        card_name(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_no_card_is_one_error() -> None:
    with pytest.raises(InputError, match="torch sees 0 CUDA cards here"):
        Embedder(device="cuda")


@pytest.mark.usefixtures("_two_cards")
def test_what_a_calibration_is_valid_for() -> None:
    kind = f"NVIDIA H200, 139 GiB, compute 9.0, CUDA {torch.version.cuda}"
    assert card_identity("cuda:0") == card_identity("cuda:1") == kind


def test_a_copy_moves_bytes() -> None:
    assert copy_bandwidth("cpu", 4_000_000) > 1e6


def test_a_job_on_torch(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors of the other engine, the dtype of each device, and FP8's error said."""
    monkeypatch.setattr(cards, "card_name", lambda _: "cpu")
    texts = ["a text", "another one that is longer", "a text", "three"]
    plain = Embedder(str(minilm))
    assert plain.model.engine.dtype == "fp32"
    theirs = plain.encode(texts)
    ours = Embedder(str(minilm), device="cuda", dtype="fp32")
    assert isinstance(ours.model.engine, TorchEngine)
    np.testing.assert_allclose(ours.encode(texts), theirs, atol=2e-6)
    np.testing.assert_allclose(ours.encode("a text"), theirs[0], atol=2e-6)
    assert Embedder(str(minilm), device="cuda").model.engine.dtype == "bf16"
    small = Embedder(str(minilm), device="cuda", dtype="fp8", cache_texts=0)
    error = small.model.engine.vector_error
    assert error is not None
    assert (error["against"], error["texts"]) == ("bf16", 32)
    assert 0.9 < float(error["least_cosine"]) <= float(error["mean_cosine"]) < 1
    cosines = (small.encode(texts) * theirs).sum(axis=1)
    assert cosines.min() > 0.9
    assert cosines.min() < 1 - 1e-6

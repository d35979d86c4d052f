"""Names of cards, and a job on torch from end to end; what stands for a card is torch on the processor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from farthing.embedding.embedder import Embedder
from farthing.engine import cards, model
from farthing.engine.torch.cards import card_identity, card_names, copy_bandwidth
from farthing.engine.torch.engine import TorchModel
from farthing.errors import InputError


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SimpleNamespace(name="NVIDIA H200", total_memory=139 * 2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: seen)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cuda", ("cuda:0",)),
        ("cuda:1", ("cuda:1",)),
        ("cuda:1,0", ("cuda:1", "cuda:0")),
        ("cuda:all", ("cuda:0", "cuda:1")),
    ],
)
def test_names(name: str, meant: tuple[str, ...]) -> None:
    assert card_names(name) == meant


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:2", "torch sees 2 CUDA cards"),
        ("cuda:0,7", "torch sees 2"),
        ("cuda:x", "write cuda, cuda:1"),
        ("cuda:0,0", "twice"),
    ],
)
def test_cards_that_are_not_here(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        card_names(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_no_card_is_one_error() -> None:
    for name in ("cuda", "cuda:all"):
        with pytest.raises(InputError, match="torch sees 0 CUDA cards here"):
            Embedder(device=name)


@pytest.mark.usefixtures("two_cards")
def test_what_a_calibration_is_valid_for() -> None:
    kind = f"NVIDIA H200, 139 GiB, compute 9.0, CUDA {torch.version.cuda}"
    assert card_identity("cuda:0") == card_identity("cuda:1") == kind


def test_a_copy_moves_bytes() -> None:
    assert copy_bandwidth("cpu", 4_000_000) > 1e6


def test_a_job_on_torch(minilm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Embedder, calibration and receipt, on two devices: the vectors of the other engine, and FP8's error said."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(cards, "card_names", lambda _: ("cpu", "cpu"))
    monkeypatch.setattr(model, "card_names", lambda _: ("cpu", "cpu"))
    texts = ["a text", "another one that is longer", "a text", "three"]
    theirs = Embedder(str(minilm)).encode(texts)
    ours = Embedder(str(minilm), device="cuda:all", dtype="fp32")
    assert isinstance(ours.model.compiled, TorchModel)
    assert ours.model.compiled.streams == 4
    np.testing.assert_allclose(ours.encode(texts), theirs, atol=2e-6)
    np.testing.assert_allclose(ours.encode("a text"), theirs[0], atol=2e-6)
    small = Embedder(str(minilm), device="cuda", dtype="fp8", cache_texts=0)
    error = small.model.compiled.vector_error
    assert error is not None
    assert (error["against"], error["texts"]) == ("bf16", 32)
    assert 0.9 < float(error["least_cosine"]) <= float(error["mean_cosine"]) < 1
    cosines = (small.encode(texts) * theirs).sum(axis=1)
    assert cosines.min() > 0.9
    assert cosines.min() < 1 - 1e-6


def test_dtypes_by_device(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "card_names", lambda _: ("cpu",))
    assert Embedder(str(minilm)).model.compiled.dtype == "fp32"
    assert Embedder(str(minilm), device="cuda").model.compiled.dtype == "bf16"

"""`threads`: as many lanes and as many cores as are asked for, in both modes; what cannot be is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing.embedding.embedder import Embedder
from farthing.engine.machine import available_cores
from farthing.engine.openvino.engine import OpenVinoEngine
from farthing.errors import InputError

MANY = [f"{row} of many texts" for row in range(200)]


def test_all_that_the_process_may_use(tiny: Embedder) -> None:
    assert tiny.model.engine.lanes == available_cores()


@pytest.mark.parametrize("cores", [1, 2])
def test_fewer(tiny_bert: Path, tiny: Embedder, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    """The runtime is told, for either mode."""
    monkeypatch.setattr("farthing.engine.openvino.engine.available_cores", lambda: 3)
    with Embedder(str(tiny_bert), threads=cores) as embedder:
        np.testing.assert_allclose(embedder.encode(MANY), tiny.encode(MANY), atol=1e-5)
        np.testing.assert_allclose(embedder.encode("a"), tiny.encode("a"), atol=1e-5)
        engine = embedder.model.engine
        assert isinstance(engine, OpenVinoEngine)
        assert engine.lanes == len(embedder.path.lanes._threads) == cores
        for mode, streams in (("throughput", cores), ("latency", 1)):
            compiled = engine._compiled[mode]  # type: ignore[index]
            assert compiled.get_property("INFERENCE_NUM_THREADS") == cores
            assert compiled.get_property("NUM_STREAMS") == streams


@pytest.mark.parametrize("threads", [0, -1, 4, 10**6])
def test_a_number_out_of_range(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr("farthing.engine.openvino.engine.available_cores", lambda: 3)
    with pytest.raises(InputError, match=rf"^threads {threads}: this process may use 1 to 3 cores$"):
        Embedder(str(tiny_bert), threads=threads)

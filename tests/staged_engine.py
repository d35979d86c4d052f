"""A model whose engine computes nothing but a hash, and that a test can hold up or let choke on some texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from farthing.engine.contract import Ids, Lane, Mode, Ran
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.load import EmbeddingModel
from farthing.engine.openvino.engine import _Request
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import EngineError
from farthing.theory.shapes import ModelShape
from noop_engine import NoopEngine


class StagedEngine(NoopEngine):
    """As `NoopEngine`, with vectors as wide as the model's.

    Attributes:
        before: called with the texts of each pass, in the lane's thread.
        refuses: whether the device refuses a pass with such a text.
        spoils: whether a text's vector is not finite.
        ran: ids of the texts of each pass, in the order of the passes.
        made: the mode of each lane that was made.
    """

    def __init__(
        self,
        shape: ModelShape,
        dimension: int,
        lanes: int = 2,
        step_s: Callable[[Sequence[int]], float] = lambda _: 0.0,
    ) -> None:
        super().__init__(shape, step_s)
        self.dimension, self.lanes = dimension, lanes
        self.before: Callable[[Sequence[Ids]], object] = lambda _: None
        self.refuses: Callable[[Ids], bool] = lambda _: False
        self.spoils: Callable[[Ids], bool] = lambda _: False
        self.ran: list[list[tuple[int, ...]]] = []
        self.made: list[Mode] = []
        self._adding, self._closed = Lock(), False

    def lane(self, mode: Mode = "throughput") -> Lane:
        self.made.append(mode)
        return super().lane(mode)

    def close(self) -> None:
        self._closed = True

    def run(self, texts: Sequence[Ids], past: None, left_out: int = 0) -> Ran:
        if self._closed:
            raise EngineError("the model is closed; load it again")
        self.before(texts)
        with self._adding:
            self.ran.append([tuple(one.tolist()) for one in texts])
        if any(map(self.refuses, texts)):
            raise EngineError("the device choked")
        vectors = self.vectors_of(texts)
        vectors[[self.spoils(one) for one in texts]] = np.nan
        return Ran(vectors)

    def vectors_of(self, texts: Sequence[Ids]) -> npt.NDArray[np.float32]:
        """Return the vectors of some texts, none of zeros."""
        hashed = super().run(texts, None).vectors + 1
        return np.tile(hashed, -(-self.dimension // hashed.shape[1]))[:, : self.dimension]

    def texts_run(self) -> list[tuple[int, ...]]:
        """Return the ids of all texts that ran, sorted."""
        return sorted(one for texts in self.ran for one in texts)


def staged_model(
    folder: Path, lanes: int = 2, step_s: Callable[[Sequence[int]], float] = lambda _: 0.0
) -> tuple[EmbeddingModel, StagedEngine]:
    """Return a model folder's tokenizer and shape with an engine that computes nothing."""
    checkpoint = read_checkpoint(locate_model(str(folder)))
    engine = StagedEngine(checkpoint.shape, checkpoint.dimension, lanes, step_s)
    return EmbeddingModel(checkpoint, TextTokenizer(checkpoint), engine), engine


def choke_on(monkeypatch: pytest.MonkeyPatch, tokenizer: TextTokenizer, texts: Sequence[str]) -> None:
    """Let the processor's engine refuse every step that holds one of these texts."""
    bad = {tuple(ids.tolist()) for ids in tokenizer.encode(texts).ids}
    run = _Request.run

    def choking(self: _Request, texts: Sequence[Ids], past: Any) -> Ran:
        if any(tuple(one.tolist()) in bad for one in texts):
            raise EngineError("the device choked")
        return run(self, texts, past)

    monkeypatch.setattr(_Request, "run", choking)

"""Texts embedded in the caller's own thread, on the stream for latency: no queue, no thread, no window.

For few texts that someone waits for. Large jobs go through `pipeline`, which overlaps tokenizing, steps and the
consumer, and keeps memory bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from farthing.engine.compiled import Steps, Vectors
from farthing.engine.model import EmbeddingModel
from farthing.engine.network.packing import Ids
from farthing.embedding.steps import EmbeddedTexts, Progress
from farthing.engine.calibration.saturation import SMALLEST_LIMIT
from farthing.engine.text.tokenization import TokenizedTexts
from farthing.embedding.windows import shared_prefix
from farthing.scheduling.batching import batches_by_length

MOST_POSITIONS = 384
"""Places that several texts take at most, padded to the longest of them, to be run here unless the caller says so.
From about as many on the streams for throughput finish as soon (docs/log.md)."""

MOST_CHARACTERS = 8 * MOST_POSITIONS
"""Characters past which several texts are taken to be more than that, without tokenizing them."""


class Direct:
    """A model's stream for latency, made when it is first needed. Several threads may run texts: one waits."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        self._stream: Steps | None = None
        self._lock = Lock()

    def tokenized(self, texts: Sequence[str]) -> TokenizedTexts | None:
        """Return the ids of texts that are few and short enough for this to be the fastest way, else None.

        One text always is: a stream for throughput would run it on a single thread.
        """
        alone = len(texts) == 1
        if not texts or (not alone and sum(map(len, texts)) > MOST_CHARACTERS):
            return None
        done = self._model.tokenizer.encode(texts)
        return done if alone or len(texts) * max(done.lengths) <= MOST_POSITIONS else None

    def run(
        self, tokenized: TokenizedTexts, *, prompt: str = "", on_step: Progress | None = None
    ) -> EmbeddedTexts:
        """Return the vectors of texts, equal ones for equal texts.

        Args:
            tokenized: the texts, with what all of them begin with; none for no vectors.
            prompt: what all texts begin with; a causal model computes it once.
            on_step: called after each step with its texts and tokens.

        Raises:
            EngineError: a vector is not finite.
        """
        tokens = np.array(tokenized.lengths, np.int32)
        if len(tokens) == 1:
            return EmbeddedTexts(self._vectors(tokenized.ids, prompt, on_step), tokens)
        first: dict[bytes, int] = {}
        source = [first.setdefault(ids.tobytes(), len(first)) for ids in tokenized.ids]
        vectors = self._vectors([np.frombuffer(key, np.int32) for key in first], prompt, on_step)
        return EmbeddedTexts(vectors[source], tokens)

    def _vectors(self, texts: list[Ids], prompt: str, on_step: Progress | None) -> Vectors:
        """Return the vectors of different texts, (texts, dimension)."""
        prefix = self._shared(prompt, texts)
        past = self._model.compiled.prefix(texts[0][:prefix])[0] if prefix else None
        own = [ids[prefix:] for ids in texts] if prefix else texts
        if len(own) == 1:
            return self._step(own, past, texts, on_step)
        vectors = np.empty((len(own), self._model.compiled.dimension), np.float32)
        for batch in batches_by_length(list(map(len, own)), SMALLEST_LIMIT):
            rows = list(batch.rows)
            whole = [texts[row] for row in rows]
            vectors[rows] = self._step([own[row] for row in rows], past, whole, on_step)
        return vectors

    def _step(self, own: list[Ids], past: Any, whole: list[Ids], on_step: Progress | None) -> Vectors:
        with self._lock:
            if self._stream is None:
                self._stream = self._model.compiled.stream("latency")
            vectors = self._stream.run(own, past).copy()
        if on_step is not None:
            on_step(len(whole), sum(map(len, whole)))
        return vectors

    def _shared(self, prompt: str, texts: Sequence[Ids]) -> int:
        if not prompt or not texts or not self._model.checkpoint.reuses_prefixes:
            return 0
        return shared_prefix(self._model.tokenizer.encode([prompt]).ids[0], texts)

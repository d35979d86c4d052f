"""The texts of one call, embedded the faster way: at once for few of them, through the pipeline for many.

Knows how many texts there are and how long. Knows no format and no receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import get_args

from farthing.engine.compiled import Mode
from farthing.engine.direct import MOST_POSITIONS, Direct
from farthing.engine.model import EmbeddingModel
from farthing.embedding.steps import EmbeddedTexts, Pipeline, Progress, Totals
from farthing.engine.calibration.saturation import StepLimit
from farthing.engine.text.tokenization import TokenizedTexts
from farthing.errors import InputError

_TOKENIZED_TOGETHER = 1024
"""Texts of a call in the mode for latency that are tokenized, and grouped by length, at a time."""


class Calls:
    """Embeds the texts of calls on one model; from several threads, too.

    Attributes:
        mode: the one that every call takes; None for the faster of the two, by its texts.
    """

    def __init__(self, model: EmbeddingModel, mode: Mode | None = None) -> None:
        """Take what runs calls; nothing is compiled yet.

        Raises:
            InputError: no such mode.
        """
        if mode is not None and mode not in get_args(Mode):
            raise InputError(f"mode {mode!r}: expected {' or '.join(get_args(Mode))}, or None for either")
        self.mode = mode
        self._model = model
        self._direct = Direct(model)
        self._limit = StepLimit(model)

    def embedded(
        self,
        count: int,
        texts: Callable[[], Iterator[str]],
        *,
        prompt: str = "",
        on_step: Progress | None = None,
    ) -> tuple[Iterable[EmbeddedTexts], Totals]:
        """Return what texts become, in order, and totals that are complete when all of it was taken.

        Of the totals, those of texts run at once know how many there are and how many of them are cut.

        Args:
            count: how many texts there are.
            texts: gives them anew at each call, with the prompt.
            prompt: what all of them begin with; a causal model computes it once.
            on_step: called after each step with its texts and tokens.
        """
        totals = Totals()
        if self.mode == "latency":
            return self._at_once(texts(), totals, prompt, on_step), totals
        if self.mode is None and count <= MOST_POSITIONS:
            few = self._direct.tokenized(list(texts()))
            if few is not None:
                return [self._counted(few, totals, prompt, on_step)], totals
        pipeline = Pipeline(
            self._model, self._limit.tokens(sum(map(len, texts()))), on_step=on_step, prompt=prompt
        )
        return pipeline.run(texts()), pipeline.totals

    def _at_once(
        self, texts: Iterator[str], totals: Totals, prompt: str, on_step: Progress | None
    ) -> Iterator[EmbeddedTexts]:
        while some := list(islice(texts, _TOKENIZED_TOGETHER)):
            yield self._counted(self._model.tokenizer.encode(some), totals, prompt, on_step)

    def _counted(
        self, texts: TokenizedTexts, totals: Totals, prompt: str, on_step: Progress | None
    ) -> EmbeddedTexts:
        done = self._direct.run(texts, prompt=prompt, on_step=on_step)
        totals.texts += len(texts.ids)
        totals.truncated += sum(texts.truncated)
        return done

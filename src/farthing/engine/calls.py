"""The texts of one call, embedded the faster way: at once for few of them, through the pipeline for many.

Knows how many texts there are and how long. Knows no format and no receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from farthing.engine.compiled import Mode
from farthing.engine.direct import MOST_POSITIONS, Direct
from farthing.engine.model import EmbeddingModel
from farthing.engine.pipeline import EmbeddedTexts, Pipeline, Progress, Totals
from farthing.engine.saturation import StepLimit
from farthing.engine.tokenization import TokenizedTexts
from farthing.errors import InputError


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
        waiting = self._for_latency(count, texts)
        if waiting is not None:
            done = self._direct.run(waiting, prompt=prompt, on_step=on_step)
            return [done], Totals(texts=count, truncated=sum(waiting.truncated))
        pipeline = Pipeline(
            self._model, self._limit.tokens(sum(map(len, texts()))), on_step=on_step, prompt=prompt
        )
        return pipeline.run(texts()), pipeline.totals

    def _for_latency(self, count: int, texts: Callable[[], Iterator[str]]) -> TokenizedTexts | None:
        """Return the ids of texts that are to be run on the stream for latency, or None for the others."""
        if self.mode == "latency":
            return self._model.tokenizer.encode(list(texts()))
        if self.mode is None and count <= MOST_POSITIONS:
            return self._direct.tokenized(list(texts()))
        return None

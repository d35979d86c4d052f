"""One embedding job: predicted before it runs, run through the pipeline, billed when it ends.

The same job stands behind a file on the command line and a list in Python. Knows no file format.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from farthing.embedding.scan import Scan
from farthing.embedding.cache import Cached
from farthing.catalog import facts
from farthing.catalog.calibrations import discard_calibration
from farthing.engine.model import EmbeddingModel
from farthing.embedding.steps import EmbeddedTexts, Pipeline, Totals
from farthing.embedding.windows import WINDOW_CHARACTERS, WINDOW_TEXTS, Window
from farthing.metering.elsewhere import prices_elsewhere
from farthing.metering.receipt import PredictionBasis, Receipt, Seconds, make_receipt
from farthing.scheduling.forecast import forecast_job_s
from farthing.theory.devices import Calibration, ModelCalibration

_NOTHING_CACHED = Cached()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a job should take, said before its first batch runs.

    Attributes:
        seconds: wall seconds.
        tokens: tokens to compute.
        basis: whether every length was known, or a random sample of them.
    """

    seconds: float
    tokens: float
    basis: PredictionBasis


class Job:
    """Embeds texts once and keeps the books."""

    def __init__(
        self,
        model: EmbeddingModel,
        machine: Calibration,
        measured: ModelCalibration,
        scan: Scan,
        *,
        prompt: str = "",
        usd_per_hour: float | None = None,
        on_prediction: Callable[[Prediction], None] = lambda _: None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare a job.

        Args:
            model: the loaded model.
            machine: this machine's calibration: the peak that MFU refers to.
            measured: the model's calibration: what the prediction is made from.
            scan: what the input holds.
            prompt: what all texts begin with, for models that compute it once. The texts of `run` come with it.
            usd_per_hour: price of this machine; None when unknown.
            on_prediction: called once, before the first batch runs.
            on_step: called after each step with its texts and tokens.
        """
        self.prediction: Prediction | None = None
        self._model, self._machine, self._measured, self._scan = model, machine, measured, scan
        self._usd_per_hour = usd_per_hour
        self._on_prediction = on_prediction
        self._max_batch_tokens = measured.best_step_tokens()
        self._pipeline = Pipeline(
            model, self._max_batch_tokens, on_first_window=self._predict, on_step=on_step, prompt=prompt
        )
        self._sample_lengths = [] if self._fits_one_window else model.tokenizer.encode(scan.sample).lengths
        self._wall_s = 0.0
        # Read now: a wrong row in the user's files must not come up when the work is done.
        self._prices_elsewhere = partial(
            prices_elsewhere,
            model.checkpoint.shape,
            model.checkpoint.name,
            devices=facts.devices(),
            quotes=facts.rental_quotes(),
            apis=facts.api_prices(),
        )

    def run(self, texts: Iterable[str]) -> Generator[EmbeddedTexts]:
        """Yield the embedded texts in order; the wall clock runs until the consumer is done with the last."""
        started = time.perf_counter()
        yield from self._pipeline.run(texts)
        self._wall_s = time.perf_counter() - started

    @property
    def _fits_one_window(self) -> bool:
        return self._scan.texts <= WINDOW_TEXTS and self._scan.characters < WINDOW_CHARACTERS

    def _predict(self, window: Window) -> None:
        if window.last:
            self._set_prediction([len(ids) for ids in window.ids], 1.0, "all")
        else:
            self._set_prediction(self._sample_lengths, self._scan.scale, "sample of the lengths")

    def _set_prediction(self, lengths: Sequence[int], scale: float, basis: PredictionBasis) -> None:
        seconds = forecast_job_s(
            lengths,
            self._measured,
            max_batch_tokens=self._max_batch_tokens,
            window_texts=WINDOW_TEXTS,
            scale=scale,
        )
        self.prediction = Prediction(seconds, sum(lengths) * scale, basis)
        self._on_prediction(self.prediction)

    @property
    def totals(self) -> Totals:
        """What was done so far; complete when `run` has ended."""
        return self._pipeline.totals

    def settle(
        self,
        *,
        startup_s: float = 0.0,
        writing_s: float = 0.0,
        trailing_s: float = 0.0,
        cached: Cached = _NOTHING_CACHED,
    ) -> Receipt:
        """Return the bill of a job that has run to its end, and forget a calibration that it has refuted.

        Args:
            startup_s: seconds before the job: scanning the input, loading the model.
            writing_s: seconds that the consumer spent writing.
            trailing_s: seconds after the last text that belong to the job: closing the output.
            cached: texts beside those of `run` that were served from memory; they are billed as read, not as work.
        """
        totals = self.totals
        input_tokens = totals.input_tokens + cached.tokens
        prediction = self.prediction
        receipt = make_receipt(
            model=self._model.checkpoint.name,
            revision=self._model.checkpoint.revision,
            device=self._machine.machine,
            dtype=self._machine.dtype,
            texts=totals.texts + cached.texts,
            duplicates=totals.duplicates,
            cached=cached.texts,
            truncated=totals.truncated + cached.truncated,
            input_tokens=input_tokens,
            work=totals.work,
            seconds=Seconds(
                wall=self._wall_s + trailing_s,
                device=totals.busy_s / self._model.compiled.streams,
                tokenization=totals.tokenization_s,
                writing=writing_s,
                startup=startup_s,
            ),
            peak_flops_per_s=self._machine.peak_flops_per_s,
            peak_source=self._machine.peak_source,
            predicted_seconds=prediction.seconds if prediction else None,
            prediction_basis=prediction.basis if prediction else None,
            usd_per_hour=self._usd_per_hour,
            elsewhere=self._prices_elsewhere(
                input_tokens=input_tokens,
                texts=totals.texts + cached.texts,
                today=datetime.now(UTC).date(),
            ),
            vector_error=self._model.compiled.vector_error,
        )
        if receipt.refutes_calibration:
            discard_calibration(self._machine)
        return receipt

"""One embedding job: predicted before it runs, run on a model's lanes, billed when it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import Lock

from farthing.catalog import facts
from farthing.catalog.calibrations import discard_calibration, keep_run, kept_runs
from farthing.embedding.cache import VectorCache
from farthing.embedding.scan import Scan
from farthing.embedding.steps import EmbeddedTexts, Progress, StepPath, Totals
from farthing.embedding.windows import WINDOW_CHARACTERS, WINDOW_TEXTS, Window
from farthing.engine.calibration.calibrate import BUSY_SHARE, STILL_BUSY, Notify, ensure_calibrated
from farthing.engine.machine import OtherLoad
from farthing.metering.elsewhere import prices_elsewhere
from farthing.metering.receipt import PredictionBasis, Receipt, Seconds, make_receipt
from farthing.scheduling.batching import Batch
from farthing.scheduling.forecast import corrected, forecast_job_s
from farthing.theory.devices import PastRun
from farthing.theory.work import WorkCounter

SHORT_S = 1.0
"""A job predicted to take less shows what it takes beside its steps; in longer ones that is lost in their noise."""

HELD_UP = 0.1
"""Of the wall seconds in tokenizing, from which on it has slowed the steps beside it, which then tell nothing."""

_NAMED = 3
"""Texts without a vector that a receipt names; of more it gives the number."""


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


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told what while a job runs.

    Attributes:
        notify: a line of text before anything slow.
        on_prediction: what the job should take, before its first batch.
        on_step: texts and tokens of each finished step.
    """

    notify: Notify = lambda _: None
    on_prediction: Callable[[Prediction], None] = lambda _: None
    on_step: Progress = lambda _texts, _tokens: None


class Job:
    """Embeds texts once and keeps the books."""

    def __init__(
        self,
        path: StepPath,
        scan: Scan,
        *,
        prompt: str = "",
        cache: VectorCache | None = None,
        usd_per_hour: float | None = None,
        watch: Watch | None = None,
        to_file: bool = False,
    ) -> None:
        """Prepare a job; this machine and the model are calibrated first where they are not.

        Args:
            path: the model's way from texts to vectors.
            scan: what the input holds, without the prompt.
            prompt: what is put before each text.
            cache: vectors of earlier calls; None for none.
            usd_per_hour: price of this machine; None when unknown.
            watch: who is told what.
            to_file: whether the consumer writes the vectors to a file.
        """
        self.prediction: Prediction | None = None
        self._watch, self._usd_per_hour = watch or Watch(), usd_per_hour
        model = self._model = path.model
        model.engine.warm("throughput")
        self._revision = model.checkpoint.revision  # read now, while the files are there
        self._warnings: list[str] = []
        self._kind = (
            f"{'file' if to_file else 'memory'}, {'lanes in use' if path.lanes.started else 'new lanes'}"
        )
        self._machine, self._raw = ensure_calibrated(model, path.run_alone, self._notify)
        self._measured = corrected(self._raw, kept_runs(self._machine, self._raw), self._kind)
        self._counter = WorkCounter(model.checkpoint.shape, trim=model.checkpoint.trimmable)
        self._prefix = 0
        self._steps: dict[int, tuple[float, float]] = {}
        self._seen: tuple[int, set[tuple[int, int]]] = (0, set())
        self._learning = Lock()
        self._scan = scan.prefixed(prompt)
        self._step_tokens = self._measured.best_step_tokens()
        fits = self._scan.texts <= WINDOW_TEXTS and self._scan.characters < WINDOW_CHARACTERS
        self._sample = None if fits else model.tokenizer.encode(self._scan.sample)
        self._wall_s = 0.0
        self._path, self._prompt = path, prompt
        self._cache = VectorCache(0) if cache is None else cache  # an empty one is false
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
        """Yield the embedded texts in order; the wall clock runs until the consumer is done with the last.

        Raises:
            EngineError: not one of them got a vector.
        """
        started = self._started = time.perf_counter()
        self._load = OtherLoad()
        self._run = self._path.job(
            *(texts, self._step_tokens),
            prompt=self._prompt,
            cache=self._cache,
            on_first_window=self._predict,
            on_step=self._watch.on_step,
        )
        self._run.on_timed = self._learn
        yield from self._run
        self._wall_s = time.perf_counter() - started
        if self.totals.failed and len(self.totals.failed) == self.totals.texts:
            raise next(iter(self.totals.failed.values()))

    def _predict(self, window: Window) -> None:
        if window.last and not window.lengths:  # an earlier call has left them all: nothing is predicted
            return
        sample = None if window.last else self._sample
        lengths: Sequence[int] = window.lengths if sample is None else sample.lengths
        scale = 1.0 if window.last else self._scan.scale
        self._prefix = self._run.prefix_of(window)
        # What tokenizing takes is known by now: of all texts, or of the sample, however long some of them are.
        elapsed_s = time.perf_counter() - self._started if sample is None else sample.seconds
        streams = self._measured.streams
        a_token_s = elapsed_s * streams / sum(lengths) if lengths else 0.0
        seconds = forecast_job_s(
            lengths,
            replace(self._measured, tokenization_s_per_token=a_token_s),
            max_batch_tokens=self._step_tokens,
            window_texts=WINDOW_TEXTS,
            scale=scale,
            prefix=self._prefix,
            counter=self._counter,
        )
        basis: PredictionBasis = "all" if window.last else "sample of the lengths"
        self.prediction = Prediction(seconds, sum(lengths) * scale, basis)
        self._watch.on_prediction(self.prediction)

    def _notify(self, line: str) -> None:
        self._watch.notify(line)
        if line.startswith(STILL_BUSY):
            self._warnings.append(line.partition(": ")[2])

    def _learn(self, window: Window, batch: Batch, seconds: float) -> None:
        """Set what a step took beside what the calibration says of it."""
        times = self._raw.step_times
        shape = (len(batch.rows), batch.length)
        if self._prefix:  # behind one a step takes what its FLOPs say, not what the grid does
            return
        said = times.step_s(*shape)
        row = min(times.lengths, key=lambda length: abs(math.log(batch.length / length)))
        with self._learning:
            if self._seen[0] != window.serial:
                self._seen = (window.serial, set())
            if shape not in self._seen[1]:
                self._seen[1].add(shape)
                said += self._raw.new_shape_s
            before = self._steps.get(row, (0.0, 0.0))
            self._steps[row] = (before[0] + said, before[1] + seconds)

    def _keep_run(self, wall_s: float) -> None:
        if (prediction := self.prediction) is None or wall_s <= 0:
            return
        beside_s = wall_s - prediction.seconds + self._measured.job_overhead_s
        short = prediction.basis == "all" and prediction.seconds < SHORT_S
        held_up = self.totals.tokenization_s > HELD_UP * wall_s
        run = PastRun(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            kind=self._kind,
            predicted_s=prediction.seconds,
            wall_s=wall_s,
            beside_s=max(0.0, beside_s) if short else None,
            steps=() if held_up else tuple((length, *took) for length, took in sorted(self._steps.items())),
            busy=self._load.share() > BUSY_SHARE,
        )
        keep_run(run, self._machine, self._raw)

    @property
    def totals(self) -> Totals:
        """What was done so far; complete when `run` has ended."""
        return self._run.totals

    def settle(
        self,
        *,
        startup_s: float = 0.0,
        writing_s: float = 0.0,
        trailing_s: float = 0.0,
        name_of: Callable[[int], str] = lambda row: f"text {row}",
    ) -> Receipt:
        """Return the bill of a job that has run to its end, and forget a calibration that it has refuted.

        Args:
            startup_s: seconds before the job: scanning the input, loading the model.
            writing_s: seconds that the consumer spent writing.
            trailing_s: seconds after the last text that belong to the job: closing the output.
            name_of: what a reader knows a text by, from its number in the job.
        """
        totals, prediction = self.totals, self.prediction
        receipt = make_receipt(
            model=self._model.checkpoint.name,
            revision=self._revision,
            device=self._machine.machine,
            dtype=self._machine.dtype,
            texts=totals.texts,
            duplicates=totals.duplicates,
            cached=totals.cached,
            failed=len(totals.failed),
            truncated=totals.truncated,
            input_tokens=totals.input_tokens,
            work=totals.work,
            seconds=Seconds(
                wall=self._wall_s + trailing_s,
                device=totals.busy_s / self._model.engine.lanes,
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
                input_tokens=totals.input_tokens,
                texts=totals.texts,
                today=datetime.now(UTC).date(),
            ),
            vector_error=self._model.engine.vector_error,
            warnings=[*self._warnings, *self._failures(name_of)],
        )
        self._keep_run(receipt.seconds.wall)
        if receipt.refutes_calibration:
            discard_calibration(self._machine)
        return receipt

    def _failures(self, name_of: Callable[[int], str]) -> list[str]:
        failed = self.totals.failed
        named = [f"{name_of(row)} got no vector: {error}" for row, error in list(failed.items())[:_NAMED]]
        return [
            *named,
            *([f"{len(failed) - _NAMED} more got no vector"] if len(failed) > _NAMED else []),
        ]

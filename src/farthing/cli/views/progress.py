"""The progress bar of a job: tokens/s, time left and, when a price is known, cost so far."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from farthing.embedding.job import Prediction, Watch
from farthing.units import SECONDS_PER_HOUR, format_count, format_seconds, format_usd


class JobProgress:
    """Shows a job while it runs, on a terminal; gone when it ends."""

    def __init__(self, console: Console, usd_per_hour: float | None = None) -> None:
        """Prepare the bar.

        Args:
            console: where it is shown.
            usd_per_hour: price of this machine; None hides the cost.
        """
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            _Rate(),
            _TimeLeft(),
            *([_CostSoFar(usd_per_hour)] if usd_per_hour is not None else []),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # in a log it would leave an empty line
        )
        self._task = self._progress.add_task("reading", total=None)
        self.watch = Watch(notify=self._notify, on_prediction=self._predicted, on_step=self._step)

    def __enter__(self) -> JobProgress:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._progress.stop()

    def _notify(self, line: str) -> None:
        self._progress.update(self._task, description=f"measuring {line}")

    def _predicted(self, prediction: Prediction) -> None:
        self._progress.reset(self._task, total=prediction.tokens, description="embedding")

    def _step(self, _texts: int, tokens: int) -> None:
        self._progress.update(self._task, advance=tokens)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{format_count(task.speed)} tokens/s" if task.speed else "", style="cyan")


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text(f"{format_seconds(left)} left" if task.total and left is not None else "")


class _CostSoFar(ProgressColumn):
    def __init__(self, usd_per_hour: float) -> None:
        super().__init__()
        self._usd_per_hour = usd_per_hour

    def render(self, task: Task) -> Text:
        return Text(format_usd((task.elapsed or 0.0) / SECONDS_PER_HOUR * self._usd_per_hour), style="green")

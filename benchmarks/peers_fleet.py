"""The engines of one question, started on one model and ended together; those that do not run are named with why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from peers_engines import Engine, PeerError, Worker


class Fleet:
    """Running engines.

    Attributes:
        workers: one asleep process for each engine that runs, by name, in the order asked for.
        missing: for each engine that does not, why.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        model: Path,
        scratch: Path,
        failed_exports: Mapping[str, str],
        missing: Mapping[str, str],
    ) -> None:
        """Start the engines one after the other.

        Args:
            engines: which.
            model: folder that they load.
            scratch: folder for what they are asked and answer.
            failed_exports: exports that could not be made, with why; engines that read them are not started.
            missing: engines that did not run before; they are not tried again.
        """
        self.workers: dict[str, Worker] = {}
        self.missing = dict(missing)
        try:
            for engine in engines:
                if engine.name not in self.missing:
                    self._start(engine, model, scratch, failed_exports)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all engines."""
        for worker in self.workers.values():
            worker.close()

    def drop_ended(self, why: str) -> None:
        """Move engines whose process has ended to those that do not run."""
        for name in [name for name, worker in self.workers.items() if worker.ended]:
            self.workers.pop(name).close()
            self.missing[name] = why

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, engine: Engine, model: Path, scratch: Path, failed_exports: Mapping[str, str]) -> None:
        try:
            if engine.export is not None and engine.export in failed_exports:
                raise PeerError(failed_exports[engine.export])
            self.workers[engine.name] = Worker(engine, model, scratch)
            print(f"{engine.name} is up", flush=True)
        except PeerError as error:
            if engine.ours:
                raise
            self.missing[engine.name] = str(error)
            print(f"{engine.name} {error}", flush=True)

"""What is kept of calibrations, and how large it says that steps are to be.

What short calls need no part of is imported where it is used: their first vector does not wait for it.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from farthing.engine.contract import Engine
from farthing.engine.load import EmbeddingModel
from farthing.engine.machine import PROCESSOR, library_versions, this_machine
from farthing.engine.torch.cards import card_identity
from farthing.theory.devices import Calibration, ModelCalibration

WORTH_CHARACTERS = 400_000
"""Characters of a job from which on the limit is worth measuring: about 100,000 tokens, and it is measured on 1,500."""


def identity_of(engine: Engine) -> str:
    """Return one line that a calibration of an engine's device is valid for; of a processor with the cores it uses."""
    if engine.device != PROCESSOR:
        return card_identity(engine.device)
    return replace(this_machine(), cores=engine.lanes).identity


def kept_calibrations(model: EmbeddingModel) -> tuple[Calibration | None, ModelCalibration | None]:
    """Return the valid calibrations of this machine and the model that are kept."""
    from farthing.catalog.calibrations import load_calibration, load_model_calibration

    engine, checkpoint = model.engine, model.checkpoint
    machine = load_calibration(engine.dtype, machine=identity_of(engine), versions=library_versions())
    if machine is None:
        return None, None
    return machine, load_model_calibration(checkpoint.name, machine, revision=checkpoint.revision)


class StepLimit:
    """Most positions of a model's steps for throughput, found when it is first worth it."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        self._tokens: int | None = None
        self._lock = Lock()

    def tokens(self, characters: int) -> int:
        """Return the limit for a call: what a kept calibration found best, else measured now, for small calls neither.

        Args:
            characters: of the call's texts, together.
        """
        least = self._model.engine.step_tokens
        with self._lock:
            if self._tokens is None:
                if characters < WORTH_CHARACTERS:
                    return least  # shared among the lanes, such a call has hardly larger steps
                self._tokens = self._calibrated() or max(least, self._measured())
            return self._tokens

    def _calibrated(self) -> int | None:
        kept = kept_calibrations(self._model)[1]
        return None if kept is None else kept.best_step_tokens()

    def _measured(self) -> int:
        from farthing.engine.calibration.saturation import measured_steps, saturating_tokens

        checkpoint = self._model.checkpoint
        lane = self._model.engine.lane()
        return saturating_tokens(measured_steps(lane, checkpoint.shape.vocabulary, checkpoint.max_length))

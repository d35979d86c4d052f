"""What is kept of calibrations, and how large it says that steps are to be.

The catalog is imported where it is used: the first vector of a short call does not wait for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farthing.engine.contract import Engine
from farthing.engine.load import EmbeddingModel
from farthing.engine.machine import PROCESSOR, library_versions, this_machine
from farthing.engine.torch.cards import card_identity

if TYPE_CHECKING:
    from farthing.theory.devices import Calibration, ModelCalibration


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


def best_step_tokens(model: EmbeddingModel) -> int:
    """Return the positions that a kept calibration found best for a step, else the device's own."""
    kept = kept_calibrations(model)[1]
    return model.engine.step_tokens if kept is None else kept.best_step_tokens()

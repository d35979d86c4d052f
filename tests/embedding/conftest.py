"""Embedders that several tests of bulk share. They keep no vectors, so that no test sees another's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from farthing.bulk import embedder as module
from farthing.embedding.embedder import Embedder
from farthing.engine.model import EmbeddingModel
from farthing.theory.devices import Calibration, ModelCalibration, StepTimes
from makers import make_calibration, make_model_calibration


@pytest.fixture(scope="module")
def tiny(tiny_bert: Path) -> Embedder:
    return Embedder(str(tiny_bert), cache_texts=0)


@pytest.fixture(scope="module")
def default(minilm: Path) -> Embedder:
    return Embedder(cache_texts=0)


@pytest.fixture(scope="module")
def prompted(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """Return an embedder with prompts, one of them the default, that does not normalise."""
    folder = Path(shutil.copytree(tiny_bert, tmp_path_factory.mktemp("prompted") / "model"))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "of: ", "plain": ""}, "default_prompt_name": "query"})
    )
    return Embedder(str(folder), cache_texts=0)


@pytest.fixture
def _calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the measurements, which take seconds."""

    def ensure(model: EmbeddingModel, _: object) -> tuple[Calibration, ModelCalibration]:
        measured = make_model_calibration(
            model=model.checkpoint.name,
            streams=model.compiled.streams,
            step_times=StepTimes((8, 64), (128, 1024), ((1e-4, 8e-4), (1e-4, 8e-4))),
            new_shape_s=0.0,
        )
        return make_calibration(machine="a machine", peak_flops_per_s=1e11), measured

    monkeypatch.setattr(module, "ensure_calibrated", ensure)

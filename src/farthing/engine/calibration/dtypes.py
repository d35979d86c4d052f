"""Which of fp32 and bf16 a processor runs a model in unless it is told: measured, chosen once, and kept."""

from __future__ import annotations

import inspect
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import numpy as np

from farthing.engine.calibration.saturation import run_side_by_side
from farthing.engine.contract import Engine, Ids, Vectors
from farthing.engine.folder.tensors import TensorFile
from farthing.engine.load import EmbeddingModel, kept_choice
from farthing.engine.machine import PROCESSOR, library_versions, this_machine
from farthing.errors import InputError
from farthing.scheduling.batching import batches_by_length
from farthing.theory.devices import DtypeChoice
from farthing.theory.dtypes import DTYPE_BYTES, Dtype

_TEXTS = 128
_NEIGHBOURS = 10
_LEAST_COSINE, _LEAST_COSINE_16_BITS, _LEAST_OVERLAP = 0.9999, 0.999, 0.99
"""Of vectors in bf16 against those in fp32. A checkpoint that is itself in 16 bits may be ten times as far off, where
the texts keep their neighbours."""

_ROUNDS = 3
_MOST_OF_MEMORY = 0.25
"""Share of this machine's memory that a model in fp32 takes at most to be loaded a second time."""


def ensure_dtype_chosen(model: EmbeddingModel, notify: Callable[[str], None] = lambda _: None) -> None:
    """Choose a dtype for the runs to come where none is kept; the model goes on in its own.

    Nothing is chosen where the dtype was asked for, on a card, or where the processor has one dtype alone.
    """
    if model.automatic and model.engine.device == PROCESSOR:
        identity = replace(this_machine(), cores=model.engine.lanes).identity
        if kept_choice(model.checkpoint, identity) is None:
            choose_dtype(model, notify)


def choose_dtype(model: EmbeddingModel, notify: Callable[[str], None] = lambda _: None) -> DtypeChoice | None:
    """Measure a model in both dtypes of a processor, keep the choice and return it; takes about 3 s for a small model.

    Returns None where the processor has no bf16 units, or not the memory to load the model a second time, and for a
    static model, which multiplies no matrices.
    """
    from farthing.catalog.calibrations import save_dtype_choice
    from farthing.engine.openvino.engine import OpenVinoEngine

    engine, checkpoint, machine = model.engine, model.checkpoint, this_machine()
    if not checkpoint.shape.layers:
        return None
    if checkpoint.shape.total_parameters * DTYPE_BYTES["fp32"] > _MOST_OF_MEMORY * machine.memory_bytes:
        return None
    try:
        other = OpenVinoEngine(checkpoint, "fp32" if engine.dtype == "bf16" else "bf16", engine.lanes)
    except InputError:
        return None
    notify(f"{checkpoint.name} in {other.dtype}, beside {engine.dtype}")
    both: dict[Dtype, Engine] = {engine.dtype: engine, other.dtype: other}
    ids = sorted(model.tokenizer.encode(sample_texts()).ids, key=len)
    exact, rounded = _vectors(both["fp32"], ids), _vectors(both["bf16"], ids)
    cosine = float(np.min(np.sum(unit(exact) * unit(rounded), axis=1)))
    overlap = neighbours_kept(exact, rounded)
    speedup = _speedup(both, ids)
    other.close()
    stored = {kind for path in checkpoint.weights for kind in TensorFile(path).kinds}
    choice = DtypeChoice(
        model=checkpoint.name,
        revision=checkpoint.revision,
        machine=replace(machine, cores=engine.lanes).identity,
        versions=library_versions(),
        dtype=chosen(speedup, cosine, overlap, in_16_bits=stored <= {"F16", "BF16"}),
        speedup=speedup,
        cosine=cosine,
        overlap=overlap,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    save_dtype_choice(choice)
    if choice.dtype != engine.dtype:
        notify(f"from the next run on {checkpoint.name} runs in {choice.dtype} here: {choice.reason}")
    return choice


def chosen(speedup: float, cosine: float, overlap: float, *, in_16_bits: bool) -> Dtype:
    """Return the faster dtype whose vectors can be told from those in fp32 by nobody.

    Args:
        speedup: tokens per second in bf16 over those in fp32.
        cosine: least one of a vector in bf16 to the same in fp32.
        overlap: share of neighbours that stay.
        in_16_bits: whether the checkpoint itself is.
    """
    close = cosine >= _LEAST_COSINE_16_BITS and overlap >= _LEAST_OVERLAP if in_16_bits else False
    return "bf16" if speedup > 1 and (cosine >= _LEAST_COSINE or close) else "fp32"


def sample_texts() -> list[str]:
    """Return English that every Python has: what modules of its library say of themselves."""
    modules = (inspect, random, statistics)
    found = (
        inspect.getdoc(one) for module in modules for _, one in sorted(vars(module).items()) if callable(one)
    )
    return list(dict.fromkeys(text for text in found if text))[:_TEXTS]


def neighbours_kept(exact: Vectors, other: Vectors) -> float:
    """Return the share of each vector's nearest ten in one set that are so in another, too; (n, d) each."""
    nearest = []
    for vectors in (unit(exact), unit(other)):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2)
        nearest.append(np.argsort(-cosines, axis=1, kind="stable")[:, :_NEIGHBOURS])
    shared = sum(len(np.intersect1d(*pair)) for pair in zip(*nearest, strict=True))
    return shared / nearest[0].size


def unit(vectors: Vectors) -> Vectors:
    """Return vectors (n, d) of length one; zeros stay zeros, as those of texts that failed."""
    return cast(Vectors, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _vectors(engine: Engine, ids: Sequence[Ids]) -> Vectors:
    lane, vectors = engine.lane(), np.zeros((len(ids), engine.dimension), np.float32)
    for batch in batches_by_length(list(map(len, ids)), engine.step_tokens):
        vectors[list(batch.rows)] = lane.run([ids[row] for row in batch.rows]).vectors
    return vectors


def _speedup(engines: Mapping[Dtype, Engine], ids: Sequence[Ids]) -> float:
    """Return tokens per second in bf16 over those in fp32, of texts of middle length on all lanes, in turns."""
    fitting = max(1, engines["fp32"].step_tokens // len(ids[len(ids) // 2]))
    first = max(0, len(ids) // 2 - fitting // 2)
    step = ids[first : first + fitting]
    lanes = {dtype: [engine.lane() for _ in range(engine.lanes)] for dtype, engine in engines.items()}
    seconds: dict[Dtype, list[float]] = {dtype: [] for dtype in engines}
    for _ in range(_ROUNDS):
        for dtype, times in seconds.items():
            times.extend(time for line in run_side_by_side(lanes[dtype], step) for time in line[1:])
    return statistics.median(seconds["fp32"]) / statistics.median(seconds["bf16"])

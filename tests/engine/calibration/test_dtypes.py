"""Which dtype a processor runs a model in: measured, kept, and the same for as long as an Embedder lives."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.catalog.calibrations import calibrations_folder, load_dtype_choice, save_dtype_choice
from farthing.engine import load
from farthing.engine.calibration.dtypes import (
    chosen,
    ensure_dtype_chosen,
    neighbours_kept,
    sample_texts,
    unit,
)
from farthing.engine.load import load_model
from farthing.engine.machine import Machine, library_versions, this_machine
from farthing.engine.openvino.runtime import import_openvino
from farthing.errors import InputError
from farthing.theory.devices import DtypeChoice
from farthing.theory.dtypes import Dtype

HAS_BF16 = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(
    ("speedup", "cosine", "overlap", "in_16_bits", "dtype"),
    [
        (3.0, 0.99995, 0.9, False, "bf16"),
        (0.9, 1.0, 1.0, False, "fp32"),
        (3.0, 0.9998, 1.0, False, "fp32"),
        (3.0, 0.9998, 0.995, True, "bf16"),
        (3.0, 0.9998, 0.98, True, "fp32"),
        (3.0, 0.998, 1.0, True, "fp32"),
        (3.0, float("nan"), 1.0, True, "fp32"),
    ],
)
def test_the_faster_one_whose_vectors_stay(
    speedup: float, cosine: float, overlap: float, in_16_bits: bool, dtype: Dtype
) -> None:
    assert chosen(speedup, cosine, overlap, in_16_bits=in_16_bits) == dtype


def test_neighbours_that_stay() -> None:
    vectors = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)
    assert neighbours_kept(vectors, 3 * vectors) == 1
    assert 0 < neighbours_kept(vectors, np.random.default_rng(1).permutation(vectors)) < 0.5
    assert not unit(np.zeros((1, 4), np.float32)).any()


def test_the_sample_is_english_of_many_lengths() -> None:
    texts = sample_texts()
    assert len(set(texts)) == len(texts) == 128
    assert min(map(len, texts)) < 100 < 1000 < max(map(len, texts))


@pytest.fixture
def own_machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Machine:
    """Return a processor whose name no other test has, so that nothing is kept of it."""
    machine = replace(this_machine(), processor=request.node.name)
    for module in ("farthing.engine.load", "farthing.engine.calibration.dtypes"):
        monkeypatch.setattr(f"{module}.this_machine", lambda: machine)
    return machine


def choice_of(folder: Path, machine: Machine, dtype: Dtype) -> DtypeChoice:
    checkpoint = load_model(str(folder)).checkpoint
    return DtypeChoice(
        model=checkpoint.name,
        revision=checkpoint.revision,
        machine=machine.identity,
        versions=library_versions(),
        dtype=dtype,
        speedup=2.0,
        cosine=1.0,
        overlap=1.0,
        measured_at="2026-11-26T00:00:00+00:00",
    )


@pytest.mark.parametrize(("isa", "dtype"), [(("avx2",), "fp32"), (("avx2", "amx_bf16"), "bf16")])
def test_before_it_is_measured_the_units_decide(
    tiny_bert: Path, own_machine: Machine, monkeypatch: pytest.MonkeyPatch, isa: tuple[str, ...], dtype: Dtype
) -> None:
    monkeypatch.setattr(load, "this_machine", lambda: replace(own_machine, isa=isa))
    asked: list[Dtype] = []
    monkeypatch.setattr(load, "_engine", lambda _checkpoint, _device, dtype, _threads: asked.append(dtype))
    model = load_model(str(tiny_bert), dtype="auto")
    assert (asked, model.automatic) == ([dtype], True)


def test_what_was_measured_decides_as_long_as_it_holds(tiny_bert: Path, own_machine: Machine) -> None:
    plain = replace(own_machine, isa=())
    choice = choice_of(tiny_bert, own_machine, "fp32")
    save_dtype_choice(choice)
    assert load_model(str(tiny_bert), dtype="auto").engine.dtype == "fp32"
    checkpoint = load_model(str(tiny_bert)).checkpoint
    assert load.kept_choice(checkpoint, own_machine.identity) == choice
    for stale in (replace(choice, versions={"openvino": "1"}), replace(choice, revision="another")):
        save_dtype_choice(stale)
        assert load.kept_choice(checkpoint, own_machine.identity) is None
    assert load_dtype_choice(checkpoint.name, plain.identity) is None


@pytest.mark.parametrize("damage", ["{}", "[1]", "not JSON", '{"dtype": "int4"}'])
def test_a_damaged_choice_is_none(tiny_bert: Path, own_machine: Machine, damage: str) -> None:
    path = save_dtype_choice(choice_of(tiny_bert, own_machine, "fp32"))
    assert path.parent == calibrations_folder()
    path.write_text(damage, encoding="utf-8")
    assert load_dtype_choice(str(tiny_bert), own_machine.identity) is None


def test_it_is_measured_once(tiny_bert: Path, own_machine: Machine) -> None:
    said: list[str] = []
    model = load_model(str(tiny_bert), dtype="auto")
    ensure_dtype_chosen(model, said.append)
    kept = load_dtype_choice(model.checkpoint.name, own_machine.identity)
    if not HAS_BF16:
        assert (kept, said) == (None, [])
        return
    assert kept is not None
    assert 0.99 < kept.cosine <= 1 + 1e-6
    assert 0 < kept.overlap <= 1 < 1000 * kept.speedup
    assert kept.dtype == chosen(kept.speedup, kept.cosine, kept.overlap, in_16_bits=False)
    assert kept.machine == own_machine.identity
    before = len(said)
    assert before
    ensure_dtype_chosen(model, said.append)
    ensure_dtype_chosen(load_model(str(tiny_bert), dtype="fp32"), said.append)
    assert len(said) == before
    assert load_model(str(tiny_bert), dtype="auto").engine.dtype == kept.dtype


def test_a_configured_dtype_is_that_of_whoever_asks_for_none(tiny_bert: Path, own_machine: Machine) -> None:
    """The tests' own configuration says fp32."""
    save_dtype_choice(choice_of(tiny_bert, own_machine, "bf16" if HAS_BF16 else "fp32"))
    plain, auto = load_model(str(tiny_bert)), load_model(str(tiny_bert), dtype="auto")
    assert (plain.engine.dtype, plain.automatic) == ("fp32", False)
    assert (auto.engine.dtype, auto.automatic) == ("bf16" if HAS_BF16 else "fp32", True)


def test_a_choice_changes_no_embedder_that_lives(tiny_bert: Path, own_machine: Machine) -> None:
    save_dtype_choice(choice_of(tiny_bert, own_machine, "fp32"))
    with Embedder(str(tiny_bert), dtype="auto") as embedder:
        before = embedder.encode("a text")
        save_dtype_choice(choice_of(tiny_bert, own_machine, "bf16"))
        with pickle.loads(pickle.dumps(embedder)) as again:
            assert again.model.engine.dtype == "fp32"
            np.testing.assert_array_equal(again.encode("a text"), before)


def test_a_dtype_that_is_none(tiny_bert: Path) -> None:
    with pytest.raises(InputError, match="dtype 'int4' is not supported on the CPU; use fp32 or bf16"):
        load_model(str(tiny_bert), dtype="int4")

"""`explain` end to end, offline: goldens, defaults, and every bad input as a typed error."""

from __future__ import annotations

import datetime
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog.calibration_file import write_calibration_file
from farthing.catalog.resolve import resolve_model
from farthing.errors import (
    InputError,
    MissingExtraError,
    ModelError,
    ModelUnavailableError,
    UnsupportedModelError,
)
from farthing.planning.explain import explain
from farthing.theory.devices import ModelCalibration
from makers import TINY_BERT_CONFIG, make_calibration, make_model_calibration

QWEN3, MINILM = "Qwen/Qwen3-Embedding-8B", "all-MiniLM-L6-v2"
TODAY = datetime.date(2026, 11, 21)
CALIBRATION = make_calibration()
MODEL_CALIBRATION = make_model_calibration()


def test_golden_and_defaults() -> None:
    e = explain(QWEN3, today=TODAY)
    assert (e.model, e.device, e.dtype, e.length, e.batch) == (QWEN3, "h100-sxm", "bf16", 1024, 1)
    assert e.flops.total == pytest.approx(14.53e12, rel=1e-3)
    assert e.article_flops == pytest.approx(16.4e12, rel=1e-3)
    assert "23.0" in e.article_reason
    assert e.weight_bytes_read == pytest.approx(13.9e9, rel=1e-3)
    assert e.ridge_point == pytest.approx(295, abs=0.5)
    assert (e.bound, e.memory.fits) == ("compute", True)
    assert e.seconds.low == pytest.approx(e.flops.total / 794.5e12)
    assert e.seconds.low < e.seconds.step < e.seconds.high
    assert (e.usd_per_hour.value, e.usd_per_hour.as_of) == (4.08, "2026-10-24")


@pytest.mark.parametrize("device", ["h100-sxm", "rtx-4090", "a100-80g", "l4", "l40s"])
@pytest.mark.parametrize("model", [QWEN3, MINILM, "sentence-transformers/all-MiniLM-L6-v2"])
def test_every_device_and_model_explains_offline(model: str, device: str) -> None:
    e = explain(model, device=device, length=128, today=TODAY)
    assert e.tokens_per_s > 0
    assert json.loads(json.dumps(e.as_dict()))["device"] == device


def test_the_default_length_is_one_that_the_model_takes_and_a_longer_one_is_said_to_be_cut() -> None:
    """MiniLM has 512 positions, and its sentence_bert_config.json cuts at 256."""
    assert explain(MINILM, today=TODAY).length == 256
    longer = explain(MINILM, length=512, today=TODAY)
    assert any("cuts texts at 256 tokens (sentence_bert_config.json" in note for note in longer.notes)
    assert not any("cuts texts" in note for note in explain(MINILM, length=256, today=TODAY).notes)
    with pytest.raises(InputError, match="512 positions"):
        explain(MINILM, length=513, today=TODAY)


def test_a_given_price_is_dated_today() -> None:
    e = explain(MINILM, device="l4", length=128, usd_per_hour=0.8, today=TODAY)
    assert (e.usd_per_hour.value, e.usd_per_hour.as_of) == (0.8, "2026-11-21")
    assert e.usd_per_million_tokens.at_100_percent is not None


def test_old_prices_are_flagged() -> None:
    assert explain(QWEN3, today=datetime.date(2027, 11, 21)).usd_per_hour.stale


def test_half_the_bytes_per_value_is_faster() -> None:
    assert explain(QWEN3, dtype="fp8").seconds.step < explain(QWEN3).seconds.step


def test_local_with_calibrations(tmp_path: Path) -> None:
    alone, both = written(tmp_path, None), written(tmp_path, name="both.json")
    e = explain(MINILM, device="local", length=128, batch=16, calibration=alone)
    measured = explain(MINILM, device="local", length=128, batch=16, calibration=both, usd_per_hour=0.1)
    assert (e.device, e.dtype, e.usd_per_hour.value) == ("local", "fp32", None)
    assert measured.seconds.step == pytest.approx(0.4)
    assert measured.usd_per_million_tokens.at_100_percent == pytest.approx(0.1 / (10_240 * 3600) * 1e6)


def test_the_host_is_that_of_the_server_asked_for() -> None:
    ours = explain(MINILM, today=TODAY).host
    theirs = explain(MINILM, server="vllm", today=TODAY).host
    assert "assumed" in ours.source
    assert "published for one vLLM process" in theirs.source
    assert theirs.busy_s > 2 * ours.busy_s
    four = explain(MINILM, server="vllm", host_threads=4, today=TODAY).host
    assert four.busy_s == pytest.approx(theirs.busy_s / 4)


@pytest.mark.parametrize(("device", "dtype"), [("t4", "fp16"), ("v100", "fp16"), ("l4", "bf16")])
def test_the_default_dtype_is_one_that_the_device_has(device: str, dtype: str) -> None:
    assert explain(MINILM, device=device, length=128, today=TODAY).dtype == dtype


def test_a_model_that_does_not_fit() -> None:
    e = explain(QWEN3, device="t4", today=TODAY, batch=64)
    assert e.memory.fits is False
    assert e.memory.available_bytes is not None
    assert e.memory.needed_bytes > e.memory.available_bytes
    assert any("does not fit" in note for note in e.notes)


def written(
    folder: Path, model: ModelCalibration | None = MODEL_CALIBRATION, name: str = "calibration.json"
) -> Path:
    path = folder / name
    write_calibration_file(path, CALIBRATION, model)
    return path


def test_a_calibration_file_says_how_fast_and_the_catalog_what_it_costs(tmp_path: Path) -> None:
    e = explain(MINILM, device="l4", length=128, batch=16, calibration=written(tmp_path), today=TODAY)
    assert (e.device, e.dtype, e.basis) == ("l4", "fp32", "calibration")
    assert e.seconds.step == pytest.approx(0.4)
    assert e.usd_per_hour.value is not None
    assert e.memory.available_bytes == pytest.approx(0.9 * 24e9)
    assert "2026-11-21" in e.basis_source


def test_a_calibration_file_alone_is_of_a_local_device(tmp_path: Path) -> None:
    e = explain(MINILM, length=128, calibration=str(written(tmp_path)), today=TODAY)
    assert (e.device, e.energy, e.usd_per_hour.value) == ("local", None, None)


def test_a_calibration_file_of_the_machine_alone(tmp_path: Path) -> None:
    e = explain(QWEN3, length=128, calibration=written(tmp_path, None), today=TODAY)
    assert e.basis == "calibration"
    assert "model itself not measured" in e.basis_source


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model": QWEN3}, r"calibration\.json: model\.model is 'all-MiniLM-L6-v2', not Qwen"),
        ({"dtype": "bf16"}, "calibrated in fp32, not in bf16"),
        ({"calibration": "nowhere.json"}, r"nowhere\.json: cannot be read as JSON.*calibrate --output"),
    ],
)
def test_a_calibration_file_that_cannot_be_used(
    tmp_path: Path, arguments: dict[str, Any], named: str
) -> None:
    given = {"model": MINILM, "length": 128, "calibration": written(tmp_path), **arguments}
    with pytest.raises(InputError, match=named):
        explain(**given)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"length": 0}, "length"),
        ({"length": -5}, "length"),
        ({"batch": 0}, "batch"),
        ({"length": 40961}, "40960"),
        ({"dtype": "fp31"}, "fp31.*bf16"),
        ({"dtype": "fp32"}, "h100-sxm has no fp32"),
        ({"device": "a100-80g", "dtype": "fp8"}, "a100-80g has no fp8"),
        ({"device": "tpu"}, "unknown device 'tpu'.*local"),
        ({"device": "local", "dtype": "int8"}, "not calibrated in int8 yet: run `farthing calibrate"),
        ({"server": "triton"}, "unknown server 'triton': use one of farthing, tei"),
        ({"host_threads": 0}, "host threads is 0"),
        ({"usd_per_hour": -1.0}, "USD per hour"),
        ({"usd_per_hour": float("nan")}, "USD per hour"),
        ({"utilization": 0.0}, "utilization"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        explain(QWEN3, **arguments)


def test_a_folder_with_a_config(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY_BERT_CONFIG))
    e = explain(str(folder), length=16)
    assert (e.model, e.linear_parameters) == (str(folder), 2 * (4 * 8 * 8 + 2 * 8 * 20))


@pytest.mark.parametrize(
    ("content", "error", "named"),
    [
        (None, ModelError, "no config.json"),
        (b"{", ModelError, "JSON"),
        (b"\xff\xfe", ModelError, "JSON"),
        (b"[]", ModelError, "no JSON object"),
        (b'{"model_type": "longt5"}', UnsupportedModelError, "t5"),
        (b'{"model_type": "bert"}', ModelError, "hidden_size"),
    ],
)
def test_bad_folders(tmp_path: Path, content: bytes | None, error: type[ModelError], named: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(error, match=named):
        explain(str(tmp_path))


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/folder", "unknown-name", "a/b/c", "org/"])
def test_names_that_can_be_no_hub_id(model: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        explain(model)


@pytest.mark.parametrize("model", ["", "  "])
def test_no_name_at_all(model: str) -> None:
    with pytest.raises(ModelError, match="no model is named"):
        explain(model)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        explain(str(tmp_path / "model.txt"))


def test_a_hub_id_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"farthing\[cpu\]"):
        resolve_model("org/model")


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    hub_logging = importlib.import_module("huggingface_hub.utils.logging")
    before = hub_logging.get_verbosity()
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(ModelUnavailableError, match=r"org/model.*out of reach.*give its folder") as caught:
        resolve_model("org/model")
    assert "\n" not in str(caught.value)
    assert hub_logging.get_verbosity() == before


def test_a_hub_in_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY_BERT_CONFIG))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: str(tmp_path / "config.json"))
    found = resolve_model("org/model")
    assert (found.name, found.shape.hidden) == ("org/model", 8)


def test_a_model_that_barely_fits_may_not() -> None:
    e = explain("e5-mistral-7b-instruct", device="t4", length=300, batch=8, today=TODAY)
    assert e.memory.fits is True
    assert any(note.startswith("may not fit: real runners keep up to 2.4 times") for note in e.notes)

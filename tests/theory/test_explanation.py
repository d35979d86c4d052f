"""Explanation: its documented keys, its interval, and where its time comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.devices import Calibration, DeviceSpec, ModelCalibration, StepTimes
from farthing.theory.explaining import build_explanation
from farthing.theory.explanation import Explanation
from farthing.theory.families import shape_from_config
from farthing.theory.pricing import RentalPrice
from farthing.theory.roofline import calibrated_rates, datasheet_rates

MINILM = shape_from_config(
    {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
    },
    "MiniLM",
)
RATES = datasheet_rates(
    DeviceSpec(
        device="d",
        name="D",
        peak_flops_per_s={"bf16": 1000e12},
        achievable_flops_per_s={"bf16": 800e12},
        memory_bytes=80e9,
        bandwidth_bytes_per_s=4e12,
    ),
    "bf16",
)
LOCAL = calibrated_rates(
    Calibration(
        machine="two cores",
        versions={},
        measured_at="2026-11-21T00:00:00Z",
        dtype="fp32",
        peak_flops_per_s=180e9,
        peak_source="torch 2048³",
        bandwidth_bytes_per_s=20e9,
    )
)
MEASURED = ModelCalibration(
    model="MiniLM",
    dtype="fp32",
    streams=2,
    step_times=StepTimes((16, 128), (128, 2048), ((0.02, 0.3), (0.03, 0.4))),
    new_shape_s=0.002,
    tokenization_s_per_token=1e-6,
    job_overhead_s=0.0,
    measured_at="2026-11-21T00:00:00Z",
)
PRICE = RentalPrice(value=2.0, min=1.0, max=3.0, as_of="2026-11-09", quotes=3, stale=False, sources=("a",))


def explained(**changes: Any) -> Explanation:
    given_: dict[str, Any] = {"model": "m", "shape": MINILM, "rates": RATES, "batch": 4, "length": 128}
    return build_explanation(**(given_ | changes))


def test_the_documented_keys() -> None:
    """design/interface.md: keys may be added, never renamed."""
    data = json.loads(json.dumps(explained(price=PRICE).as_dict()))
    nested = {
        "flops": {"linear", "attention", "total", "per_token"},
        "seconds": {"compute", "memory", "step", "low", "high"},
        "usd_per_hour": {"value", "min", "max", "as_of"},
        "usd_per_million_tokens": {"at_100_percent", "at_10_percent"},
    }
    plain = {
        "model",
        "device",
        "dtype",
        "length",
        "batch",
        "linear_parameters",
        "weight_bytes_read",
        "arithmetic_intensity",
        "ridge_point",
        "bound",
        "tokens_per_s",
    }
    assert plain | nested.keys() <= data.keys()
    assert all(keys <= data[name].keys() for name, keys in nested.items())


def test_flops_are_those_of_the_whole_batch() -> None:
    one, four = explained(batch=1), explained(batch=4)
    assert four.flops.total == 4 * one.flops.total
    assert four.flops.per_token == one.flops.per_token
    assert four.article_flops == pytest.approx(4 * one.article_flops)


@given(st.integers(1, 300), st.integers(1, 512))
def test_the_interval_encloses_the_step_and_the_step_its_parts(batch: int, length: int) -> None:
    e = explained(batch=batch, length=length)
    assert e.seconds.low <= e.seconds.step < e.seconds.high
    assert e.seconds.step * (1 + 1e-9) >= max(e.seconds.compute, e.seconds.memory)
    assert e.tokens_per_s == pytest.approx(batch * length / e.seconds.step)
    assert e.bound == ("compute" if e.arithmetic_intensity > e.ridge_point else "memory")


def test_prices() -> None:
    e = explained(price=PRICE, utilization=0.5)
    per = e.usd_per_million_tokens
    assert per.at_100_percent is not None
    assert per.at_10_percent == pytest.approx(10 * per.at_100_percent)
    assert per.at_utilization == pytest.approx(2 * per.at_100_percent)
    assert (e.usd_per_hour.min, e.usd_per_hour.value, e.usd_per_hour.max) == (1, 2, 3)


def test_without_a_price_the_usd_fields_are_null() -> None:
    e = explained()
    assert e.usd_per_hour.value is None
    assert e.usd_per_million_tokens.at_100_percent is None
    assert any("--usd-per-hour" in note for note in e.notes)


def test_a_free_device_costs_nothing() -> None:
    assert explained(price=replace(PRICE, value=0.0)).usd_per_million_tokens.at_100_percent == 0


def test_a_stale_price_is_flagged() -> None:
    assert any("old" in note for note in explained(price=replace(PRICE, stale=True)).notes)


@pytest.mark.parametrize("utilization", [0, -1, 1.01])
def test_utilization_out_of_range(utilization: float) -> None:
    with pytest.raises(InputError, match="utilization"):
        explained(utilization=utilization)


def test_what_does_not_fit_is_said() -> None:
    e = explained(rates=replace(RATES, memory_bytes=1e6))
    assert e.memory.fits is False
    assert any("does not fit" in note for note in e.notes)


def test_a_model_calibration_gives_the_step_time() -> None:
    e = explained(rates=LOCAL, model_calibration=MEASURED, batch=16, length=128)
    assert e.seconds.step == pytest.approx(0.4)
    assert e.seconds.low == pytest.approx(0.38)
    assert e.seconds.high == pytest.approx(0.42)
    assert e.tokens_per_s == pytest.approx(2 * 2048 / 0.4)
    assert e.memory.fits is None


def test_a_stream_gets_its_share_of_the_measured_peak() -> None:
    one = explained(rates=LOCAL)
    two = explained(rates=LOCAL, model_calibration=MEASURED)
    assert two.seconds.compute == pytest.approx(2 * one.seconds.compute)


def test_outside_the_measured_grid_is_said() -> None:
    e = explained(rates=LOCAL, model_calibration=MEASURED, batch=1, length=512)
    assert any("extrapolated" in note for note in e.notes)


def test_a_calibration_in_another_dtype_is_refused() -> None:
    with pytest.raises(InputError, match="calibrate"):
        explained(rates=LOCAL, model_calibration=replace(MEASURED, dtype="int8"))


def test_a_machine_without_this_models_calibration_gives_a_lower_bound_and_says_so() -> None:
    e = explained(rates=LOCAL)
    assert e.seconds.low == e.seconds.step
    assert any("lower bound" in note for note in e.notes)

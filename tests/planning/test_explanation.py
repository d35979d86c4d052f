"""Explanation: its documented keys, its interval, and where its time comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.planning.explanation import Explanation
from farthing.planning.one_pass import build_explanation
from farthing.theory.devices import ModelCalibration
from farthing.theory.families.configs import shape_from_config
from farthing.theory.host import host_path
from farthing.theory.pricing import RentalPrice
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import Rates, calibrated_rates, datasheet_rates
from farthing.theory.time.steps import StepModel
from makers import MINILM, make_calibration, make_model_calibration, make_spec

RATES = datasheet_rates(make_spec(), "bf16")
LOCAL = calibrated_rates(make_calibration())
MEASURED = make_model_calibration()
PRICE = RentalPrice(value=2.0, provider="p", min=1.0, max=3.0, as_of="2026-11-09", offers=3, source="a")


STATIC = shape_from_config({"model_type": "model2vec", "vocab_size": 1000, "hidden_dim": 64}, "static")


def explained(
    shape: ModelShape = MINILM,
    rates: Rates = RATES,
    model_calibration: ModelCalibration | None = None,
    **changes: Any,
) -> Explanation:
    arguments: dict[str, Any] = {"model": "m", "batch": 4, "length": 128, **changes}
    return build_explanation(
        StepModel(shape, rates, model_calibration), host_path(model_calibration), **arguments
    )


def test_the_documented_keys() -> None:
    """design/interface.md: keys may be added, never renamed."""
    data = json.loads(json.dumps(explained(price=PRICE, power_w=300.0).as_dict(), allow_nan=False))
    nested = {
        "flops": {"linear", "attention", "total", "per_token"},
        "seconds": {"compute", "memory", "step", "low", "high"},
        "usd_per_hour": {"value", "min", "max", "as_of"},
        "usd_per_million_tokens": {"at_100_percent", "at_10_percent"},
        "memory": {"needed_bytes", "available_bytes", "fits"},
        "host": {"busy_s", "lone_s", "lone_latency_s", "tokens_per_s", "limited_by", "source"},
        "energy": {"wh_per_million_tokens", "g_co2_per_million_tokens", "power_w", "pue", "grid_g_per_kwh"},
        "generation": {"context", "prefill", "decode", "intensity_limit", "ridge_point", "largest_batch"},
        "saturated_tokens_per_s": {"low", "mid", "high"},
    }
    step = {"batch", "seconds", "tokens_per_s", "gain", "slowdown", "fits", "usd_per_million_tokens"}
    lists = {
        ("ops",): {"name", "flops", "bytes", "seconds", "share", "bound"},
        ("batches",): step | {"latency_s", "saturates"},
        ("generation", "prefill"): step | {"bound", "arithmetic_intensity"},
        ("generation", "decode"): step | {"bound", "arithmetic_intensity"},
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
        "saturation_tokens",
        "basis",
        "basis_source",
    }
    assert plain | nested.keys() <= data.keys()
    assert all(keys <= data[name].keys() for name, keys in nested.items())
    for path, keys in lists.items():
        rows = data
        for name in path:
            rows = rows[name]
        assert rows
        assert all(keys <= row.keys() for row in rows)


def test_flops_are_those_of_the_whole_batch() -> None:
    one, four = explained(batch=1), explained(batch=4)
    assert four.flops.total == 4 * one.flops.total
    assert four.flops.per_token == one.flops.per_token
    assert four.article_flops == pytest.approx(4 * one.article_flops)


@given(st.integers(1, 300), st.integers(1, 512))
def test_the_interval_encloses_the_step_and_the_step_its_parts(batch: int, length: int) -> None:
    e = explained(batch=batch, length=length)
    assert e.seconds.low <= e.seconds.step <= e.seconds.high
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


def test_a_machine_without_this_models_calibration_gives_its_roofline_as_the_best_case_and_says_so() -> None:
    e = explained(rates=LOCAL)
    assert e.seconds.low == pytest.approx(e.flops.total / 180e9)
    assert e.seconds.low < e.seconds.step < e.seconds.high
    assert e.basis == "calibration"
    assert any("not calibrated here" in note for note in e.notes)


def test_shares_add_up_and_seconds_are_those_of_the_step() -> None:
    e = explained(batch=64, length=512)
    assert sum(op.share for op in e.ops) == pytest.approx(1)
    assert sum(op.seconds for op in e.ops) == pytest.approx(e.seconds.step)
    assert sum(op.flops for op in e.ops) == e.flops.total
    assert sum(op.bytes for op in e.ops) == e.bytes_moved


@pytest.mark.parametrize("shape", [MINILM, STATIC])
def test_the_wait_for_launches_has_its_own_share(shape: ModelShape) -> None:
    e = explained(shape, batch=1, length=16)
    assert e.ops[-1].name == "waiting for launches"
    assert (e.ops[-1].flops, e.ops[-1].bytes, e.ops[-1].bound) == (0, 0, "overhead")
    assert sum(op.share for op in e.ops) == pytest.approx(1)
    assert sum(op.seconds for op in e.ops) == pytest.approx(e.seconds.step)
    assert "waiting for launches" not in [op.name for op in explained(batch=256, length=512).ops]


def test_a_measured_step_is_split_by_what_is_expected() -> None:
    e = explained(rates=LOCAL, model_calibration=MEASURED, batch=16, length=128)
    assert sum(op.seconds for op in e.ops) == pytest.approx(0.4)


def test_batches_up_to_the_saturation_point_and_beyond() -> None:
    e = explained(length=128)
    saturated = [row.batch for row in e.batches if row.saturates]
    assert saturated[0] * 128 == e.saturation_tokens
    assert {1, 2, 4, 8, 16, 32, 64, 128, 256} <= {row.batch for row in e.batches}
    rates = [row.tokens_per_s for row in e.batches]
    assert rates == sorted(rates)
    assert rates[-1] <= e.saturated_tokens_per_s.mid
    alone = e.batches[0]
    assert (alone.batch, alone.gain, alone.slowdown) == (1, 1, 1)
    for row in e.batches:
        assert row.seconds.low <= row.seconds.mid <= row.seconds.high
        assert row.gain == pytest.approx(row.tokens_per_s / alone.tokens_per_s)
        assert row.latency_s == pytest.approx(row.seconds.mid + e.host.lone_s)
        assert row.flops_per_s == pytest.approx(row.tokens_per_s * e.flops.per_token)


def test_a_batch_that_does_not_fit_is_said_not_to() -> None:
    roomy = explained(rates=replace(RATES, memory_bytes=120e6), batch=1)
    fits = {row.batch: row.fits for row in roomy.batches}
    assert fits[1]
    assert not fits[256]
    assert {row.fits for row in explained(rates=LOCAL).batches} == {None}


def test_the_host_and_the_device_overlap() -> None:
    e = explained(length=128)
    assert e.host.lone_latency_s == pytest.approx(e.host.lone_s + e.host.lone_device_s)
    assert e.host.lone_device_s == e.batches[0].seconds.mid
    assert e.host.tokens_per_s == pytest.approx(128 / max(e.host.busy_s, e.host.device_s))
    assert e.host.limited_by == "host"
    assert any("one server process is slower" in note for note in e.notes)
    slow = explained(rates=replace(RATES, achievable_flops_per_s=1e12, best_flops_per_s=1e12), length=512)
    assert slow.host.limited_by == "device"
    assert slow.host.tokens_per_s == pytest.approx(slow.saturated_tokens_per_s.mid)


def test_energy_needs_a_rated_power() -> None:
    assert explained().energy is None
    energy = explained(power_w=300.0).energy
    assert energy is not None
    assert energy.power_w == 300


@pytest.mark.parametrize("shape", [MINILM, STATIC])
def test_price_and_energy_are_of_what_gets_through(shape: ModelShape) -> None:
    """The host caps them: a device that waits for it is paid for, and on, all the same."""
    e = explained(shape, price=PRICE, power_w=300.0)
    assert e.host.limited_by == "host"
    for row in e.batches:
        assert row.served_tokens_per_s == min(row.tokens_per_s, e.host.tokens_per_s)
        assert row.usd_per_million_tokens == pytest.approx(2.0 / 3600 / row.served_tokens_per_s * 1e6)
    assert e.energy is not None
    assert e.energy.wh_per_million_tokens == pytest.approx(300 * 1.56 / 3600 / e.host.tokens_per_s * 1e6)
    busy = explained(
        shape, rates=replace(RATES, achievable_flops_per_s=1e12, best_flops_per_s=1e12), length=512
    )
    assert busy.host.limited_by == ("device" if shape.layers else "host")
    if shape.layers:
        assert all(row.served_tokens_per_s == row.tokens_per_s for row in busy.batches)


def test_a_small_pass_is_said_to_wait_for_launches() -> None:
    assert any("launch-bound" in note for note in explained(batch=1, length=16).notes)
    assert not any("launch-bound" in note for note in explained(batch=256, length=512).notes)


def test_a_static_model_has_bytes_and_no_flops() -> None:
    e = explained(STATIC, price=PRICE)
    assert (e.flops.total, e.bound, e.generation) == (0, "memory", None)
    assert e.tokens_per_s > 0
    assert any("static model" in note for note in e.notes)
    json.dumps(e.as_dict(), allow_nan=False)

"""The catalog's own files are whole, and a row without value, unit, source or date is refused by name."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.load import (
    load_api_prices,
    load_devices,
    load_models,
    load_rental_quotes,
    parse_api_prices,
    parse_devices,
    parse_models,
    parse_rental_quotes,
)
from farthing.errors import InputError
from farthing.theory.families import shape_from_config
from farthing.units import UNITS, to_base

FIGURE = '{ value = 1, unit = "%s", source = "s", date = 2026-11-20 }'
DEVICE = f"""
[d]
name = "D"
peak.bf16 = {FIGURE % "TFLOP/s"}
achievable.bf16 = {FIGURE % "GFLOP/s"}
memory = {FIGURE % "GB"}
bandwidth = {FIGURE % "TB/s"}
power = {FIGURE % "W"}
"""
MODEL = '["org/m"]\naliases = ["m"]\nsource = "s"\ndate = 2026-11-20\n["org/m".config]\nmodel_type = "bert"\n'
QUOTES = "device,provider,kind,usd_per_hour,date,source,note\n"
APIS = "provider,model,usd_per_million_tokens,date,source,note\n"


def test_the_devices_that_come_along() -> None:
    devices = {device.device: device.spec for device in load_devices()}
    assert list(devices) == ["h100-sxm", "rtx-4090", "a100-80g", "l4", "l40s"]
    h100 = devices["h100-sxm"]
    assert (h100.peak_flops_per_s["bf16"], h100.achievable_flops_per_s["bf16"]) == (989e12, 794.5e12)
    assert (h100.memory_bytes, h100.bandwidth_bytes_per_s, h100.power_w) == (80e9, 3.35e12, 700)
    assert "2026-08-10" in h100.sources["peak_flops_per_s.bf16"]
    for spec in devices.values():
        figures = {"memory_bytes", "bandwidth_bytes_per_s", "power_w"}
        figures |= {f"peak_flops_per_s.{dtype}" for dtype in spec.peak_flops_per_s}
        figures |= {f"achievable_flops_per_s.{dtype}" for dtype in spec.achievable_flops_per_s}
        assert figures == spec.sources.keys()


def test_the_models_that_come_along() -> None:
    shapes = {model.name: shape_from_config(model.config, model.name) for model in load_models()}
    assert shapes["sentence-transformers/all-MiniLM-L6-v2"].linear_parameters == 10_616_832
    assert shapes["Qwen/Qwen3-Embedding-8B"].linear_parameters == pytest.approx(6.946e9, rel=1e-4)


def test_the_prices_that_come_along() -> None:
    known = {device.device for device in load_devices()}
    assert {quote.device for quote in load_rental_quotes()} <= known
    apis = {(price.provider, price.model): price.usd_per_million_tokens for price in load_api_prices()}
    assert apis["OpenAI", "text-embedding-3-small"] == 0.02
    assert apis["Voyage", "voyage-4-lite"] == 0.02


def test_figures_are_converted_to_base_units() -> None:
    (device,) = parse_devices(DEVICE, "f.toml")
    assert device.peak["bf16"].value == 1e12
    assert device.achievable["bf16"].value == 1e9
    assert (device.memory.value, device.bandwidth.value, device.power.value) == (1e9, 1e12, 1)
    assert device.memory.date == datetime.date(2026, 11, 20)


@given(st.sampled_from(sorted(UNITS)), st.floats(1e-6, 1e6))
def test_units_round_trip(unit: str, value: float) -> None:
    assert to_base(value, unit) / to_base(1, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("memory = { value = 1,", "memory = {", "memory.value"),
        ("memory = { value = 1,", "memory = { value = -1,", "memory.value"),
        ("memory = { value = 1,", "memory = { value = nan,", "memory.value"),
        ("memory = { value = 1,", 'memory = { value = "1",', "memory.value"),
        ('unit = "GB", ', "", "memory.unit"),
        ('unit = "GB"', 'unit = "W"', "memory.unit"),
        ('unit = "GB"', 'unit = "kB"', "memory.unit"),
        ('unit = "GB", source = "s"', 'unit = "GB"', "memory.source"),
        ('unit = "GB", source = "s"', 'unit = "GB", source = " "', "memory.source"),
        ('"GB", source = "s", date = 2026-11-20', '"GB", source = "s"', "memory.date"),
        ('"GB", source = "s", date = 2026-11-20', '"GB", source = "s", date = "May 2026"', "memory.date"),
        ('name = "D"', "", "name"),
        ("peak.bf16", "peak.bf17", "peak.bf17"),
        ("peak.bf16 = ", "other = ", "peak"),
        ("power = ", "watts = ", "power"),
    ],
)
def test_a_bad_device_is_refused_by_file_row_and_key(old: str, new: str, key: str) -> None:
    assert old in DEVICE
    with pytest.raises(InputError, match=rf"f\.toml: d: {re.escape(key)}"):
        parse_devices(DEVICE.replace(old, new), "f.toml")


@pytest.mark.parametrize("text", ["[d", "d = 3", "= 1"])
def test_what_is_no_table_of_tables_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"f\.toml"):
        parse_devices(text, "f.toml")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('source = "s"\n', "", "source"),
        ("date = 2026-11-20\n", "", "date"),
        ("date = 2026-11-20\n", "date = 2026-11-20T10:00:00\n", "date"),
        ('aliases = ["m"]', "aliases = [1]", "aliases"),
        ('["org/m".config]\nmodel_type = "bert"', "config = 1", "config"),
    ],
)
def test_a_bad_model_is_refused_by_file_row_and_key(old: str, new: str, key: str) -> None:
    assert parse_models(MODEL, "m.toml")[0].aliases == ("m",)
    with pytest.raises(InputError, match=rf"m\.toml: org/m: {key}"):
        parse_models(MODEL.replace(old, new), "m.toml")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("d,,spot,1.5,2026-11-20,s,", "provider is missing"),
        ("d,p,weekly,1.5,2026-11-20,s,", "kind is 'weekly'"),
        ("d,p,spot,,2026-11-20,s,", "usd_per_hour is missing"),
        ("d,p,spot,free,2026-11-20,s,", "usd_per_hour is 'free'"),
        ("d,p,spot,0,2026-11-20,s,", "usd_per_hour is '0'"),
        ("d,p,spot,nan,2026-11-20,s,", "usd_per_hour is 'nan'"),
        ("d,p,spot,1.5,,s,", "date is missing"),
        ("d,p,spot,1.5,May 2026,s,", "date is 'May 2026'"),
        ("d,p,spot,1.5,2026-11-20, ,", "source is missing"),
        ("d,p,spot,1.5,2026-11-20,s", "fields"),
        ("d,p,spot,1.5,2026-11-20,s,one, two", "fields"),
    ],
)
def test_a_bad_quote_is_refused_by_file_row_and_key(row: str, problem: str) -> None:
    text = f"{QUOTES}d,p,spot,1.5,2026-11-20,s,\n{row}\n"
    with pytest.raises(InputError, match=rf"q\.csv: row 2 \(line 3\): .*{problem}"):
        parse_rental_quotes(text, "q.csv")


def test_a_bad_api_price_is_refused() -> None:
    assert parse_api_prices(f'{APIS}p,m,0.02,2026-11-20,s,"a, b"\n', "a.csv")[0].note == "a, b"
    with pytest.raises(InputError, match=r"a\.csv: row 1 \(line 2\): source is missing"):
        parse_api_prices(f"{APIS}p,m,0.02,2026-11-20,,\n", "a.csv")


@pytest.mark.parametrize("text", ["", "device,price\n", QUOTES.replace("note", "notes")])
def test_wrong_columns_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"q\.csv: columns"):
        parse_rental_quotes(text, "q.csv")

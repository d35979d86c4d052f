"""The catalog's own files are whole and true to their sources; a row that lacks anything is refused by name."""

from __future__ import annotations

import copy
import csv
import datetime
import io
import json
import re
import statistics
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog import load
from farthing.catalog.load import (
    load_api_prices,
    load_devices,
    load_models,
    load_rental_quotes,
    load_tokenizers,
    parse_api_prices,
    parse_devices,
    parse_models,
    parse_rental_quotes,
    parse_tokenizers,
)
from farthing.catalog.lookups import UNKNOWN_TOKENIZER
from farthing.catalog.rows import CatalogDevice, Fact
from farthing.errors import InputError, RowError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.time.roofline import LEAST_SHARE, UNMEASURED_SHARE
from farthing.units import UNITS, to_base

DATA = Path(load.__file__).parent / "data"
DEVICES: dict[str, dict[str, Any]] = tomllib.loads((DATA / "devices.toml").read_text(encoding="utf-8"))
MODELS: dict[str, dict[str, Any]] = tomllib.loads((DATA / "models.toml").read_text(encoding="utf-8"))

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
APIS = "provider,model,usd_per_million_tokens,usd_per_million_tokens_batch,tokenizer,date,source,note\n"

Figure = tuple[str, ...]


def toml(rows: dict[str, dict[str, Any]]) -> str:
    """Return rows as TOML, each as one inline table."""
    return "".join(f'"{name}" = {toml_value(row)}\n' for name, row in rows.items())


def toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {toml_value(entry)}' for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def figures(row: dict[str, Any]) -> Iterator[Figure]:
    """Yield where each figure of a device lies."""
    for key, entry in row.items():
        if key in ("peak", "achievable"):
            yield from ((key, dtype) for dtype in entry)
        elif isinstance(entry, dict):
            yield (key,)


def at(row: dict[str, Any], path: Figure) -> dict[str, Any]:
    for key in path:
        row = row[key]
    return row


# --- What comes along.


def test_the_h100_that_comes_along() -> None:
    h100 = next(device.spec for device in load_devices() if device.device == "h100-sxm")
    assert (h100.peak_flops_per_s["bf16"], h100.achievable_flops_per_s["bf16"]) == (989e12, 794.5e12)
    assert (h100.memory_bytes, h100.bandwidth_bytes_per_s, h100.power_w) == (80e9, 3.35e12, 700)
    assert "2026-08-10" in h100.sources["peak_flops_per_s.bf16"]


def test_at_least_twenty_devices_have_a_sourced_datasheet() -> None:
    devices = load_devices()
    assert len({device.device for device in devices}) == len(devices) >= 20
    for device in devices:
        spec = device.spec
        expected = {"memory_bytes", "bandwidth_bytes_per_s"}
        expected |= {"power_w"} if spec.power_w is not None else set()
        expected |= {f"peak_flops_per_s.{dtype}" for dtype in spec.peak_flops_per_s}
        expected |= {f"achievable_flops_per_s.{dtype}" for dtype in spec.achievable_flops_per_s}
        assert spec.peak_flops_per_s
        assert spec.sources.keys() == expected
        assert all(source.strip() for source in spec.sources.values())


def test_what_is_expected_of_devices_that_nobody_measured_is_the_median_of_the_others() -> None:
    """Of cards with a published product; a lower bound from training is none, and slices are of cards that count."""
    shares = [
        device.achievable[dtype].value / device.peak[dtype].value
        for device in load_devices()
        for dtype in ("bf16", "fp16")
        if dtype in device.achievable
        and "lower bound" not in device.achievable[dtype].source
        and "mig" not in device.device
    ]
    assert len(shares) >= 30
    assert statistics.median(shares) == pytest.approx(UNMEASURED_SHARE, abs=0.015)
    assert min(shares) == pytest.approx(LEAST_SHARE, abs=0.005)


def test_at_least_twelve_devices_have_a_sourced_price_on_demand() -> None:
    known = {device.device for device in load_devices()}
    quotes = load_rental_quotes()
    assert {quote.device for quote in quotes} <= known
    assert len({quote.device for quote in quotes if quote.kind == "on-demand"}) >= 12


def test_no_price_or_figure_is_of_the_future() -> None:
    newest = datetime.date.today()
    assert all(row.date <= newest for row in load_rental_quotes())
    assert all(row.date <= newest for row in load_api_prices())
    assert all(row.date <= newest for row in load_tokenizers())
    assert all(
        fact.date <= newest
        for device in load_devices()
        for fact in (*device.peak.values(), *device.achievable.values(), device.memory, device.bandwidth)
    )


TWICE_IN_INT8 = {"rtx-pro-6000", "rtx-a6000"}
"""Professional cards with a GeForce's name."""

SAME_RATE_IN_FP8 = {"gaudi3", "tpu-v6e"}


@pytest.mark.parametrize("device", load_devices(), ids=lambda device: device.device)
def test_peaks_are_dense(device: CatalogDevice) -> None:
    # The classic error of tables like this: a sparse figure beside dense ones, twice as high.
    wide = device.peak["bf16"].value if "bf16" in device.peak else device.peak["fp16"].value
    if "fp8" in device.peak:
        ratio = 1.0 if device.device in SAME_RATE_IN_FP8 else 2.0
        assert device.peak["fp8"].value / wide == pytest.approx(ratio, rel=0.02)
    if "fp16" in device.peak and "bf16" in device.peak:
        assert device.peak["fp16"].value == device.peak["bf16"].value
    if "int8" in device.peak and device.device != "v100":
        # GeForce halves the rate of products that accumulate in FP32; integer products are not halved.
        geforce = device.device.startswith("rtx-") and device.device not in TWICE_IN_INT8
        assert device.peak["int8"].value / wide == pytest.approx(4.0 if geforce else 2.0, rel=0.02)
    for dtype in {"fp4", "int4"} & set(device.peak):
        ratio = {"b300": 5.6, "rtx-5090": 8.0}.get(device.device, 4.0)
        assert device.peak[dtype].value / wide == pytest.approx(ratio, rel=0.02)
    for dtype, reached in device.achievable.items():
        least = 0.4 if "lower bound" in reached.source else 0.5
        assert least < reached.value / device.peak[dtype].value < 1.15


@pytest.mark.parametrize(
    ("device", "bf16", "fp8", "gigabytes", "gigabytes_per_s"),
    [
        ("h100-pcie", 756, 1513, 80, 2000),
        ("h200", 989, 1979, 141, 4800),
        ("b200", 2250, 4500, 180, 8000),
        ("a100-80g", 312, None, 80, 2040),
        ("l40s", 362, 733, 48, 864),
        ("l4", 121, 242, 24, 300),
        ("rtx-4090", 165.2, 330.3, 24, 1008),
        ("rtx-5090", 209.5, 419, 32, 1792),
        ("rtx-pro-6000", 503.8, 1007, 96, 1792),
        ("mi300x", 1307, 2615, 192, 5300),
        ("mi355x", 2500, 5000, 288, 8000),
        ("tpu-v6e", 918, 918, 32, 1640),
    ],
)
def test_figures_are_those_of_the_fact_sheet(
    device: str, bf16: float, fp8: float | None, gigabytes: float, gigabytes_per_s: float
) -> None:
    row = next(row for row in load_devices() if row.device == device)
    assert row.peak["bf16"].value == pytest.approx(bf16 * 1e12)
    assert ("fp8" in row.peak) == (fp8 is not None)
    if fp8 is not None:
        assert row.peak["fp8"].value == pytest.approx(fp8 * 1e12)
    assert row.memory.value == pytest.approx(gigabytes * 1e9)
    assert row.bandwidth.value == pytest.approx(gigabytes_per_s * 1e9)


def test_the_models_that_come_along() -> None:
    models = {model.name: model for model in load_models()}
    minilm = models["sentence-transformers/all-MiniLM-L6-v2"]
    assert shape_from_config(minilm.config, minilm.name).linear_parameters == 10_616_832
    assert all(model.source and model.date for model in models.values())


def test_the_api_prices_that_come_along() -> None:
    apis = {(price.provider, price.model): price for price in load_api_prices()}
    assert len(apis) == len(load_api_prices())
    assert apis["OpenAI", "text-embedding-3-small"].usd_per_million_tokens == 0.02
    assert apis["Voyage", "voyage-4-lite"].usd_per_million_tokens == 0.02
    for price in apis.values():
        mid, low, high = price.usd_per_million_characters
        assert 0 < low <= mid <= high < price.usd_per_million_tokens


BATCH_USD = {
    **{"text-embedding-3-small": 0.01, "text-embedding-3-large": 0.065, "nomic-embed-text-v1.5": 0.004},
    **{"voyage-4-large": 0.0804, "voyage-4": 0.0402, "voyage-4-lite": 0.0134, "voyage-3.5": 0.0402},
    **{
        "voyage-3.5-lite": 0.0134,
        "voyage-3-large": 0.1206,
        "voyage-code-3": 0.1206,
        "voyage-context-3": 0.1206,
    },
    **{"gemini-embedding-001": 0.075, "gemini-embedding-2": 0.1},
    **{"mistral-embed": 0.05, "text-embedding-ada-002": 0.05, "voyage-3": 0.0402, "voyage-3-lite": 0.0134},
}
"""Batch prices of the price survey of 2026-11-20 that have a source; Azure's is not OpenAI's."""


def test_the_batch_prices_that_come_along_are_those_that_have_a_source() -> None:
    found = {
        row.model: row.batch.usd_per_million_tokens for row in load_api_prices() if row.batch is not None
    }
    assert found == BATCH_USD
    assert not [row for row in load_api_prices() if row.batch is not None and row.provider == "Azure"]


def test_an_unknown_tokenizer_is_as_wide_as_all_that_are_known() -> None:
    rows = {row.tokenizer: row for row in load_tokenizers()}
    unknown = rows.pop(UNKNOWN_TOKENIZER)
    assert all(unknown.low <= row.low and row.high <= unknown.high for row in rows.values())
    sizes = [size for row in rows.values() for size in row.vocabularies]
    assert len(set(sizes)) == len(sizes)


def test_tokens_per_character_are_what_the_benchmark_counted() -> None:
    results = DATA.parents[3] / "benchmarks" / "results" / "tokens-per-character-2026-11-21.json"
    counted = {row["tokenizer"]: row for row in json.loads(results.read_text())["tokenizers"]}
    rows = {row.tokenizer: row for row in load_tokenizers()}
    for name, row in rows.items():
        if row.source.startswith("measured"):
            assert results.name in row.source
            figures = counted[name]["tokens_per_character"], counted[name]["low"], counted[name]["high"]
            assert (row.mid, row.low, row.high) == pytest.approx(figures, abs=5e-5)
    # The two that were not measured are reckoned from those that were, as their rows say.
    middles = sorted(row["tokens_per_character"] for row in counted.values())
    least, most = min(row["low"] for row in counted.values()), max(row["high"] for row in counted.values())
    unknown, guessed = rows[UNKNOWN_TOKENIZER], rows["xlm-r"]
    assert unknown.mid == pytest.approx((middles[2] + middles[3]) / 2, abs=5e-5)
    assert len(middles) == 6
    assert (guessed.mid, guessed.low) == pytest.approx((middles[-1], unknown.low), abs=5e-5)
    assert (unknown.low, unknown.high) == pytest.approx((least, 1.15 * most), abs=5e-5)


# --- What is refused. For every row that comes along, each thing that it needs is taken away in turn.


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("key", ["value", "unit", "source", "date"])
def test_no_figure_of_a_device_goes_without_value_unit_source_and_date(device: str, key: str) -> None:
    for path in figures(DEVICES[device]):
        row = copy.deepcopy(DEVICES[device])
        origin: dict[str, Any] = {name: row.pop(name) for name in ("source", "date") if name in row}
        for other in figures(row):
            figure = at(row, other)
            figure.update(origin | figure)
        parse_devices(toml({device: row}), "f.toml")
        del at(row, path)[key]
        with pytest.raises(RowError) as caught:
            parse_devices(toml({device: row}), "f.toml")
        assert str(caught.value).startswith(f"f.toml: {device}: {'.'.join((*path, key))} ")


@pytest.mark.parametrize("device", DEVICES)
def test_no_device_goes_without_the_keys_that_it_needs(device: str) -> None:
    needed = {"name", "memory", "bandwidth", "peak"} | ({"source", "date"} & DEVICES[device].keys())
    for key in needed:
        row = {name: entry for name, entry in DEVICES[device].items() if name != key}
        with pytest.raises(RowError, match=rf"^f\.toml: {re.escape(device)}: {key} "):
            parse_devices(toml({device: row}), "f.toml")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("key", ["source", "date", "config"])
def test_no_model_goes_without_source_date_and_figures(model: str, key: str) -> None:
    row = {name: entry for name, entry in MODELS[model].items() if name != key}
    with pytest.raises(RowError, match=rf"^m\.toml: {re.escape(model)}: {key} "):
        parse_models(toml({model: row}), "m.toml")


def _apis(text: str, source: str) -> Any:
    return parse_api_prices(text, source, load_tokenizers())


@pytest.mark.parametrize(
    ("file", "parse", "optional"),
    [
        ("rental_prices.csv", parse_rental_quotes, {"note", "sold_by"}),
        ("api_prices.csv", _apis, {"note", "usd_per_million_tokens_batch"}),
        ("tokens_per_character.csv", parse_tokenizers, {"note", "vocabularies"}),
    ],
)
def test_no_field_of_a_csv_row_may_be_blank(
    file: str, parse: Callable[[str, str], Any], optional: set[str]
) -> None:
    heading, *rows = csv.reader(io.StringIO((DATA / file).read_text(encoding="utf-8")))
    assert rows
    for number, row in enumerate(rows):
        for column, name in enumerate(heading):
            blank = [*row[:column], " ", *row[column + 1 :]]
            if name in optional:
                parse(lines(heading, blank), file)
                continue
            with pytest.raises(RowError) as caught:
                parse(lines(heading, rows[number - 1], blank), file)
            assert str(caught.value) == f"{file}: row 2 (line 3): {name} is missing"
    for column, name in enumerate(heading):
        if name in ("usd_per_million_tokens_batch", "sold_by"):
            continue  # files of an earlier Farthing lack it
        without = [name for number, name in enumerate(heading) if number != column]
        with pytest.raises(InputError, match=rf"^{file}: columns"):
            parse(lines(without, rows[0]), file)


def lines(*rows: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


LIMIT = "max_seq_length = { value = 8, unit = "


def test_a_text_limit_has_the_origin_of_its_row_or_its_own() -> None:
    (own,) = parse_models(MODEL.replace("date", f'{LIMIT}"tokens" }}\ndate'), "m.toml")
    assert own.max_seq_length == Fact(value=8, unit="tokens", source="s", date=datetime.date(2026, 11, 20))
    assert parse_models(MODEL, "m.toml")[0].max_seq_length is None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("max_seq_length = 8", "max_seq_length is missing: give { value"),
        (f'{LIMIT}"bytes" }}', "max_seq_length.unit is 'bytes'"),
        (
            'max_seq_length = { value = 8.5, unit = "tokens" }',
            "max_seq_length.value is 8.5: expected a whole",
        ),
        ('max_seq_len = { value = 8, unit = "tokens" }', "max_seq_len is not a key here"),
    ],
)
def test_a_wrong_text_limit_is_refused_by_key(line: str, named: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_models(MODEL.replace("date", f"{line}\ndate"), "m.toml")
    assert str(caught.value).startswith(f"m.toml: org/m: {named}")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("memory = { value = 1,", "memory = { value = -1,", "memory.value is -1"),
        ("memory = { value = 1,", "memory = { value = 0,", "memory.value is 0"),
        ("memory = { value = 1,", "memory = { value = nan,", "memory.value is nan"),
        ("memory = { value = 1,", "memory = { value = true,", "memory.value is True"),
        ("memory = { value = 1,", 'memory = { value = "1",', "memory.value is '1'"),
        ('unit = "GB"', 'unit = "W"', "memory.unit is 'W'"),
        ('unit = "GB"', 'unit = "kB"', "memory.unit: unknown unit 'kB'"),
        ('unit = "GB", source = "s"', 'unit = "GB", source = " "', "memory.source is missing"),
        ('unit = "GB", source', 'unit = "GB", sauce', "memory.sauce is not a key here"),
        ('"GB", source = "s", date = 2026-11-20', '"GB", source = "s", date = "May 2026"', "memory.date is"),
        ("memory = {", "memory = 80 # {", "memory is missing"),
        ("peak.bf16", "peak.bf17", "peak.bf17: unknown dtype"),
        ("peak.bf16 = ", "peak = 1 # ", "peak is 1"),
        ("power = ", "watts = ", "watts is not a key here"),
        ('name = "D"', 'name = "D"\nsource = "s"', "date is None"),
    ],
)
def test_a_wrong_device_is_refused_by_file_row_and_key(old: str, new: str, key: str) -> None:
    assert old in DEVICE
    with pytest.raises(RowError) as caught:
        parse_devices(DEVICE.replace(old, new), "f.toml")
    assert str(caught.value).startswith(f"f.toml: d: {key}")


@pytest.mark.parametrize("text", ["[d", "d = 3", "= 1"])
def test_what_is_no_table_of_tables_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^f\.toml: "):
        parse_devices(text, "f.toml")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("date = 2026-11-20\n", "date = 2026-11-20T10:00:00\n", "date"),
        ('aliases = ["m"]', "aliases = [1]", "aliases"),
        ('["org/m".config]\nmodel_type = "bert"', "config = 1", "config"),
    ],
)
def test_a_wrong_model_is_refused_by_file_row_and_key(old: str, new: str, key: str) -> None:
    assert parse_models(MODEL, "m.toml")[0].aliases == ("m",)
    with pytest.raises(RowError, match=rf"^m\.toml: org/m: {key}"):
        parse_models(MODEL.replace(old, new), "m.toml")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("d,p,weekly,1.5,2026-11-20,s,", "kind is 'weekly'"),
        ("d,p,spot,free,2026-11-20,s,", "usd_per_hour is 'free'"),
        ("d,p,spot,0,2026-11-20,s,", "usd_per_hour is '0'"),
        ("d,p,spot,nan,2026-11-20,s,", "usd_per_hour is 'nan'"),
        ("d,p,spot,inf,2026-11-20,s,", "usd_per_hour is 'inf'"),
        ("d,p,spot,1.5,May 2026,s,", "date is 'May 2026'"),
        ("d,p,spot,1.5,2026-11-20,s", "has not 7 fields"),
        ("d,p,spot,1.5,2026-11-20,s,one, two", "has not 7 fields"),
    ],
)
def test_a_wrong_quote_is_refused_by_file_row_and_key(row: str, problem: str) -> None:
    text = f"{QUOTES}d,p,spot,1.5,2026-11-20,s,\n{row}\n"
    with pytest.raises(RowError) as caught:
        parse_rental_quotes(text, "q.csv")
    assert str(caught.value).startswith(f"q.csv: row 2 (line 3): {problem}")


def test_an_api_price_names_a_known_tokenizer() -> None:
    (row,) = _apis(f'{APIS}p,m,0.02,,qwen,2026-11-20,s,"a, b"\n', "a.csv")
    assert (row.note, row.tokens_per_character.tokenizer, row.batch) == ("a, b", "qwen", None)
    with pytest.raises(RowError, match=r"^a\.csv: row 1 \(line 2\): tokenizer is 'runes': use one of .*qwen"):
        _apis(f"{APIS}p,m,0.02,,runes,2026-11-20,s,\n", "a.csv")


def test_a_batch_price_has_the_rows_date_and_source() -> None:
    (row,) = _apis(f"{APIS}p,m,0.02,0.02,qwen,2026-11-20,s,\n", "a.csv")
    assert row.batch is not None
    assert (row.batch.usd_per_million_tokens, row.batch.source) == (0.02, "s")
    assert row.batch.date == datetime.date(2026, 11, 20)


@pytest.mark.parametrize(
    ("usd", "problem"),
    [
        ("0.021", "is 0.021: expected at most usd_per_million_tokens, which is 0.02"),
        ("0", "is '0': expected a number above 0"),
        ("-1", "is '-1': expected a number above 0"),
        ("nan", "is 'nan': expected a number above 0"),
        ("half", "is 'half': expected a number above 0"),
    ],
)
def test_a_wrong_batch_price_is_refused_by_file_row_and_key(usd: str, problem: str) -> None:
    with pytest.raises(RowError) as caught:
        _apis(f"{APIS}p,m,0.02,,qwen,2026-11-20,s,\np,n,0.02,{usd},qwen,2026-11-20,s,\n", "a.csv")
    assert str(caught.value) == f"a.csv: row 2 (line 3): usd_per_million_tokens_batch {problem}"


def test_api_prices_of_an_earlier_farthing_have_no_batch_price() -> None:
    """A live file may be older than the program that reads it."""
    heading = "provider,model,usd_per_million_tokens,tokenizer,date,source,note\n"
    (row,) = _apis(f"{heading}p,m,0.02,qwen,2026-11-20,s,n\n", "a.csv")
    assert (row.usd_per_million_tokens, row.batch, row.note) == (0.02, None, "n")
    with pytest.raises(RowError, match=r"^a\.csv: row 1 \(line 2\): has not 7 fields"):
        _apis(f"{heading}p,m,0.02,0.01,qwen,2026-11-20,s,n\n", "a.csv")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("t,1,0.3,0.4,0.5,2026-11-20,s,", "tokens_per_character is 0.3"),
        ("t,1,0.6,0.4,0.5,2026-11-20,s,", "tokens_per_character is 0.6"),
        ("t,many,0.4,0.4,0.5,2026-11-20,s,", "vocabularies is 'many'"),
    ],
)
def test_a_wrong_tokenizer_is_refused_by_file_row_and_key(row: str, problem: str) -> None:
    heading = "tokenizer,vocabularies,tokens_per_character,low,high,date,source,note\n"
    with pytest.raises(RowError, match=rf"^t\.csv: row 1 \(line 2\): {problem}"):
        parse_tokenizers(heading + row + "\n", "t.csv")


@pytest.mark.parametrize("text", ["", "device,price\n", QUOTES.replace("note", "notes")])
def test_wrong_columns_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^q\.csv: columns"):
        parse_rental_quotes(text, "q.csv")


# --- What is read.


def test_figures_are_converted_to_base_units() -> None:
    (device,) = parse_devices(DEVICE, "f.toml")
    assert device.peak["bf16"].value == 1e12
    assert device.achievable["bf16"].value == 1e9
    assert (device.memory.value, device.bandwidth.value) == (1e9, 1e12)
    assert device.power is not None
    assert device.power.value == 1
    assert device.memory.date == datetime.date(2026, 11, 20)


def test_a_device_without_power_has_none() -> None:
    text = "\n".join(line for line in DEVICE.splitlines() if not line.startswith("power"))
    (device,) = parse_devices(text, "f.toml")
    assert (device.power, device.spec.power_w) == (None, None)
    assert "power_w" not in device.spec.sources


def test_source_and_date_of_a_device_stand_for_figures_that_name_neither() -> None:
    text = DEVICE.replace('"GB", source = "s", date = 2026-11-20', '"GB"')
    text = text.replace('name = "D"', 'name = "D"\nsource = "sheet"\ndate = 2025-01-02')
    (device,) = parse_devices(text, "f.toml")
    assert device.memory.origin == "sheet (2025-01-02)"
    assert device.bandwidth.origin == "s (2026-11-20)"
    # A date belongs to its source.
    with pytest.raises(RowError, match=r"^f\.toml: d: memory\.date is None"):
        parse_devices(text.replace('unit = "GB"', 'unit = "GB", source = "other"'), "f.toml")


@given(st.sampled_from(sorted(UNITS)), st.floats(1e-6, 1e6))
def test_units_round_trip(unit: str, value: float) -> None:
    assert to_base(value, unit) / to_base(1, unit) == pytest.approx(value)

"""Units: what people read, and the way into base units."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.units import (
    UNITS,
    format_amount,
    format_count,
    format_number,
    format_seconds,
    format_si,
    format_usd,
    to_base,
    usd_format,
)

NO_NUMBERS = [(math.nan, "nan"), (math.inf, "∞"), (-math.inf, "-∞")]


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "$0"),
        (1234.5, "$1,234.50"),
        (0.9996, "$1.00"),
        (0.37, "37 ¢"),
        (0.0166, "1.66 ¢"),
        (0.0000467, "0.00467 ¢"),
        (2e-9, "2e-7 ¢"),
        (3e20, "$3e20"),
        (-5, "-$5.00"),
        (-0.05, "-5 ¢"),
        (math.inf, "$∞"),
        (math.nan, "nan ¢"),
    ],
)
def test_usd(usd: float, shown: str) -> None:
    assert format_usd(usd) == shown


@pytest.mark.parametrize(
    ("amounts", "shown"),
    [
        ((0.000121, 0.00121), ["0.0121 ¢", "0.121 ¢"]),
        ((0.44, 12.29, 0.4, 0, 0.0000213), ["$0.44", "$12.29", "$0.40", "$0", "$0.0000213"]),
        ((0.0, None, 0.5), ["0 ¢", "50 ¢"]),
    ],
)
def test_amounts_side_by_side_are_in_one_unit(amounts: tuple[float | None, ...], shown: list[str]) -> None:
    usd = usd_format(amounts)
    assert [usd(amount) for amount in amounts if amount is not None] == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (3e-13, "3e-13 s"),
        (4.7e-7, "470 ns"),
        (2e-5, "20 µs"),
        (0.0183, "18.3 ms"),
        (0.9996, "1 s"),
        (4.2, "4.2 s"),
        (59.96, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (1e6, "11.6 days"),
        (1e9, "31.7 years"),
        (1e30, "3.17e22 years"),
        (-200, "-3 min 20 s"),
        (-0.0183, "-18.3 ms"),
        (math.nan, "nan s"),
        (math.inf, "∞ years"),
    ],
)
def test_seconds(seconds: float, shown: str) -> None:
    assert format_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1, "1"),
        (1e-9, "1e-9"),
        (0.1234, "0.123"),
        (512, "512"),
        (999.6, "1k"),
        (32_768, "32.8k"),
        (1.5e6, "1.5M"),
        (2e9, "2B"),
        (3.1e12, "3.1T"),
        (2e30, "2e30"),
        (-32_768, "-32.8k"),
        *NO_NUMBERS,
    ],
)
def test_amounts(value: float, shown: str) -> None:
    assert format_amount(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 FLOP"),
        (1e-9, "1e-9 FLOP"),
        (0.25, "0.25 FLOP"),
        (999.7e9, "1 TFLOP"),
        (2e18, "2 EFLOP"),
        (2e30, "2e30 FLOP"),
        (-989e12, "-989 TFLOP"),
        *((value, f"{shown} FLOP") for value, shown in NO_NUMBERS),
    ],
)
def test_prefixes(value: float, shown: str) -> None:
    assert format_si(value, "FLOP") == shown
    assert format_si(value, "") == shown.removesuffix("FLOP").strip()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-0.0, "0"),
        (7, "7"),
        (0.25, "0.25"),
        (5.371, "5.37"),
        (370_596.4, "370,596"),
        (-370_596, "-370,596"),
        (2e30, "2e30"),
        *NO_NUMBERS,
    ],
)
def test_counts(value: float, shown: str) -> None:
    assert format_count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1e-9, "1e-9"), (1.034, "1.03"), (2370.4, "2,370"), (2e30, "2e30"), *NO_NUMBERS],
)
def test_bare_numbers(value: float, shown: str) -> None:
    assert format_number(value) == shown


@given(st.floats())
def test_no_number_is_an_error_or_long(value: float) -> None:
    for written in (
        format_amount(value),
        format_count(value),
        format_number(value),
        format_seconds(value),
        format_si(value, "B"),
        format_usd(value),
    ):
        assert len(written) <= 24
        assert "+" not in written


def test_a_tflop_is_1e12() -> None:
    assert format_si(989e12, "FLOP/s") == "989 TFLOP/s"
    assert to_base(989, "TFLOP/s") == 989e12


@given(st.sampled_from(sorted(UNITS)), st.floats(1e-6, 1e6))
def test_units_survive_a_round_trip(unit: str, value: float) -> None:
    assert to_base(value, unit) / to_base(1, unit) == pytest.approx(value)


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(InputError, match="TiB"):
        to_base(1, "TiB")


def test_a_number_with_a_unit_is_in_powers_of_ten_sooner() -> None:
    assert format_seconds(-3.15418212e20) == "-1e13 years"

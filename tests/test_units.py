"""Units: what people read, and the way into base units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.units import UNITS, format_count, format_seconds, format_si, format_usd, to_base


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "$0"),
        (1234.5, "$1,234.50"),
        (0.0166, "1.66 ¢"),
        (0.37, "37 ¢"),
        (0.0000467, "$0.0000467"),
        (2e-9, "< $0.000001"),
    ],
)
def test_usd(usd: float, shown: str) -> None:
    assert format_usd(usd) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(2e-5, "20 µs"), (0.0183, "18.3 ms"), (4.2, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_seconds(seconds: float, shown: str) -> None:
    assert format_seconds(seconds) == shown


def test_a_tflop_is_1e12() -> None:
    assert format_si(989e12, "FLOP/s") == "989 TFLOP/s"
    assert to_base(989, "TFLOP/s") == 989e12
    assert format_count(370_596) == "370,596"


@given(st.sampled_from(sorted(UNITS)), st.floats(1e-6, 1e6))
def test_units_survive_a_round_trip(unit: str, value: float) -> None:
    assert to_base(value, unit) / to_base(1, unit) == pytest.approx(value)


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(InputError, match="TiB"):
        to_base(1, "TiB")

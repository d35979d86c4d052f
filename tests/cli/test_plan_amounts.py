"""Amounts as people write large ones, on the command line of `plan`."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.cli.plan import _amount


@pytest.mark.parametrize(
    ("given", "amount"),
    [
        ("2000000", 2e6),
        ("2e6", 2e6),
        ("2E6", 2e6),
        ("2M", 2e6),
        ("2m", 2e6),
        (" 2 M ", 2e6),
        ("1.5B", 1.5e9),
        ("1.5G", 1.5e9),
        ("900k", 900e3),
        ("0.5T", 0.5e12),
        ("1_000", 1000),
        ("1,000", 1000),
        ("1,234,567.5", 1234567.5),
        ("900", 900),
        ("0", 0),
    ],
)
def test_amounts(given: str, amount: float) -> None:
    assert _amount(given) == pytest.approx(amount, rel=1e-15)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "1,5B",
        "1,23",
        "k",
        "M",
        "two",
        "2MM",
        "2Mk",
        "2X",
        "2 000 000",
        "$5",
        "5%",
        "1.2.3",
        "0x10",
        "--5",
    ],
)
def test_what_is_no_amount_is_shown_with_an_example(bad: str) -> None:
    with pytest.raises(click.BadParameter, match="is no amount: give a number such as") as caught:
        _amount(bad)
    assert repr(bad) in str(caught.value)


@given(st.floats(0, 1e6), st.sampled_from([("", 1), ("k", 1e3), ("M", 1e6), ("B", 1e9), ("T", 1e12)]))
def test_an_amount_survives_a_round_trip(number: float, suffix: tuple[str, float]) -> None:
    assert _amount(f"{number!r}{suffix[0]}") == pytest.approx(number * suffix[1])


@given(st.integers(0, 10**15))
def test_thousands_may_be_separated(number: int) -> None:
    assert _amount(f"{number:,}") == _amount(f"{number:_}") == number

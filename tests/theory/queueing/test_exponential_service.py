"""M/M/c: known values, the recursion of the loss formula, and the sum of wait and service."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.queueing.exponential_service import (
    erlang_c,
    exponential_time_in_system_tail,
    exponential_wait_quantile_s,
    exponential_wait_tail,
)

shares = st.floats(1e-6, 1 - 1e-9)


def erlang_c_by_recursion(servers: int, offered: float) -> float:
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def test_known_values() -> None:
    assert erlang_c(1, 0.4) == pytest.approx(0.4)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(3, 2.0) == pytest.approx(4 / 9)
    assert erlang_c(5, 0.0) == 0
    assert erlang_c(2, 2.0) == erlang_c(2, 3.0) == 1


@given(st.integers(1, 3000), shares)
def test_series_and_recursion_agree(servers: int, rho: float) -> None:
    expected = erlang_c_by_recursion(servers, rho * servers)
    assert erlang_c(servers, rho * servers) == pytest.approx(expected, rel=1e-9, abs=1e-250)


def test_a_hundred_thousand_servers() -> None:
    assert 0.95 < erlang_c(100_000, 99_990.0) < 0.97
    assert erlang_c(100_000, 1.0) == 0


@given(shares, st.floats(0, 50))
def test_one_server_is_m_m_1(rho: float, t_s: float) -> None:
    rate = (1 - rho) / 2.0
    assert exponential_wait_tail(rho / 2, 2.0, 1, t_s) == pytest.approx(rho * math.exp(-rate * t_s))
    assert exponential_time_in_system_tail(rho / 2, 2.0, 1, t_s) == pytest.approx(math.exp(-rate * t_s))


@pytest.mark.parametrize("servers", [2, 3, 8, 50])
@pytest.mark.parametrize("rho", [0.01, 0.5, 0.9, 0.999])
def test_time_in_system_is_wait_plus_service(servers: int, rho: float) -> None:
    for t_s in (0.1, 1.0, 5.0, 40.0):
        # Simpson's rule over the wait's density, and the atom at 0 apart.
        surplus = servers * (1 - rho)
        waiting = erlang_c(servers, rho * servers)
        steps = 2000
        values = [math.exp(-surplus * x - (t_s - x)) for x in (t_s * k / steps for k in range(steps + 1))]
        integral = (
            (values[0] + values[-1] + 4 * sum(values[1::2]) + 2 * sum(values[2:-1:2])) * t_s / steps / 3
        )
        expected = (1 - waiting) * math.exp(-t_s) + waiting * (surplus * integral + math.exp(-surplus * t_s))
        found = exponential_time_in_system_tail(servers * rho, 1.0, servers, t_s)
        assert found == pytest.approx(expected, rel=1e-5)


def test_no_edge_where_wait_and_service_fall_at_one_rate() -> None:
    at = exponential_time_in_system_tail(1.0, 1.0, 2, 3.0)
    for rate in (1 - 1e-9, 1 + 1e-9):
        assert exponential_time_in_system_tail(rate, 1.0, 2, 3.0) == pytest.approx(at, rel=1e-8)


@given(st.integers(1, 100), st.floats(0.1, 0.999), st.floats(0.5, 0.9999))
def test_quantile_inverts_the_tail(servers: int, rho: float, quantile: float) -> None:
    wait_s = exponential_wait_quantile_s(rho * servers, 1.0, servers, quantile)
    if wait_s:
        assert exponential_wait_tail(rho * servers, 1.0, servers, wait_s) == pytest.approx(1 - quantile)
    else:
        assert exponential_wait_tail(rho * servers, 1.0, servers, 0.0) <= 1 - quantile


def test_overload_never_settles() -> None:
    assert exponential_wait_quantile_s(2.0, 1.0, 2) == math.inf
    assert exponential_wait_tail(2.0, 1.0, 2, 1e9) == 1
    assert exponential_time_in_system_tail(3.0, 1.0, 2, 1e9) == 1


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="0 servers"):
        erlang_c(0, 0.5)
    with pytest.raises(InputError, match="load of -1"):
        erlang_c(2, -1.0)
    with pytest.raises(InputError, match="-1 arrivals"):
        exponential_wait_tail(-1, 1.0, 2, 1.0)
    with pytest.raises(InputError, match="quantile 1"):
        exponential_wait_quantile_s(1.0, 1.0, 2, 1)

"""A corpus before a deadline: devices × hours × dollars."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.planning.corpus import corpus_rows
from farthing.planning.devices.candidate import Candidate
from farthing.planning.replicas.waiting import MOST_REPLICAS
from farthing.theory.lengths import fixed_length

MakeCandidate = Callable[..., Candidate]
TEXTS = fixed_length(300)


def test_devices_hours_and_dollars_belong_together(make_candidate: MakeCandidate) -> None:
    (row,) = corpus_rows([make_candidate(usd=1.5)], 50e9, 3600.0, TEXTS)
    assert row.devices is not None
    assert row.hours is not None
    assert row.usd_total is not None
    assert row.usd_per_million_tokens is not None
    assert row.hours.low < row.hours.mid < row.hours.high <= 1
    assert row.devices * row.hours.mid * 3600 * row.tokens_per_s == pytest.approx(50e9)
    assert row.usd_total.mid == pytest.approx(row.devices * row.hours.mid * 1.5)
    assert row.usd_per_million_tokens.mid == pytest.approx(row.usd_total.mid / 50_000)
    assert row.usd_total.high is not None
    assert row.usd_total.low < row.usd_total.mid < row.usd_total.high
    # One device less would take longer than the deadline, if steps are as slow as they may be.
    assert row.hours.high * row.devices / (row.devices - 1) > 1


def test_a_corpus_without_a_deadline_takes_one_device(make_candidate: MakeCandidate) -> None:
    (row,) = corpus_rows([make_candidate()], 50e9, None, TEXTS)
    assert row.devices == 1
    assert row.hours is not None
    assert row.hours.mid == pytest.approx(50e9 / row.tokens_per_s / 3600)


def test_a_late_deadline_takes_one_device(make_candidate: MakeCandidate) -> None:
    (row,) = corpus_rows([make_candidate()], 1e6, 1e9, TEXTS)
    assert row.devices == 1
    assert row.hours is not None
    assert row.hours.mid == pytest.approx(1e6 / row.tokens_per_s / 3600)


def test_what_does_not_fit_or_is_too_dear_comes_last_with_its_reason(make_candidate: MakeCandidate) -> None:
    rows = corpus_rows(
        [make_candidate("small", memory=1e9), make_candidate("dear", usd=30.0), make_candidate("fits")],
        1e9,
        3600.0,
        TEXTS,
        max_usd_per_hour=20.0,
    )
    assert rows[0].device == "fits"
    reasons = {row.device: row.reason for row in rows}
    assert reasons["fits"] is None
    assert "does not fit" in (reasons["small"] or "")
    assert reasons["dear"] == "4 devices cost $120.00 per hour, the limit is $20.00"
    (row,) = corpus_rows([make_candidate(usd=30.0)], 1e6, 3600.0, TEXTS, max_usd_per_hour=20.0)
    assert row.reason == "1 device costs $30.00 per hour, the limit is $20.00"


def test_more_devices_than_anyone_rents_is_a_reason(make_candidate: MakeCandidate) -> None:
    (row,) = corpus_rows([make_candidate()], 1e12, 3600.0, TEXTS)
    alone = corpus_rows([make_candidate()], 1e12, None, TEXTS)[0].hours
    assert alone is not None
    most = MOST_REPLICAS * 1e12 / alone.high
    (last,) = corpus_rows([make_candidate()], 0.999 * most, 3600.0, TEXTS)
    assert last.feasible
    assert last.devices == pytest.approx(0.999 * MOST_REPLICAS, rel=1e-4)
    for tokens in (1.001 * most, 1e300):
        (row,) = corpus_rows([make_candidate()], tokens, 3600.0, TEXTS)
        assert (row.feasible, row.reason) == (False, "it takes more than 100,000 devices")
        assert (row.devices, row.hours, row.usd_total, row.usd_per_million_tokens) == (None,) * 4


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(1e6, 1e11), st.floats(1, 10), st.floats(600, 1e6))
def test_more_tokens_never_cost_less(
    make_candidate: MakeCandidate, tokens: float, more: float, deadline_s: float
) -> None:
    totals = [
        corpus_rows([make_candidate()], n, deadline_s, TEXTS)[0].usd_total for n in (tokens, tokens * more)
    ]
    assert totals[0] is not None
    assert totals[1] is not None
    assert totals[0].mid <= totals[1].mid

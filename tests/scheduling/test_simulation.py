"""The simulator, which judges the formulas, against what is known without it (about 15 s)."""

from __future__ import annotations

import csv
import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_arrivals import poisson_times
from farthing.errors import InputError
from farthing.scheduling import simulation
from farthing.scheduling.arrivals import Arrivals, trace_times
from farthing.scheduling.simulation import Policy, Simulated, simulate

TEXTS = 600_000


def line_s(sizes: Sequence[float]) -> float:
    """Return the seconds of a step of these sizes: one, and a tenth of the sizes."""
    return 1.0 + sum(sizes) / 10


@st.composite
def arrivals(draw: st.DrawFn, classes: bool = False) -> Arrivals:
    """Draw up to 60 texts; many gaps are 0, and many times fall on the ends of services."""
    gaps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.5, 4.0, 0.1, 7.3]), min_size=1, max_size=60))
    times = [sum(gaps[: k + 1]) for k in range(len(gaps))]
    sizes = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.7]), min_size=len(gaps), max_size=len(gaps)))
    owners = st.lists(st.integers(0, 2), min_size=len(gaps), max_size=len(gaps))
    return Arrivals(times, sizes, draw(owners) if classes else None)


class TestKnownQueues:
    def outcome(self, rho: float, exponential: bool, servers: int = 1) -> Simulated:
        rng = random.Random(8)
        times = poisson_times(rho * servers, TEXTS, rng)
        sizes = [rng.expovariate(1.0) for _ in times] if exponential else [1.0] * TEXTS
        return simulate(Arrivals(times, sizes), Policy(servers=servers))

    @pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
    def test_exponential_service(self, rho: float) -> None:
        """M/M/1: the time in system is exponential with mean 1/(1−ρ)."""
        outcome = self.outcome(rho, exponential=True)
        assert fmean(outcome.latencies_s) == pytest.approx(1 / (1 - rho), rel=0.02)
        assert outcome.quantile_s(0.99) == pytest.approx(math.log(100) / (1 - rho), rel=0.03)
        assert outcome.utilization == pytest.approx(rho, rel=0.01)
        assert outcome.steps_of == {1: TEXTS}

    @pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
    def test_constant_service(self, rho: float) -> None:
        """M/D/1: E[W] = ρ/(2(1−ρ)), and P(W = 0) = 1 − ρ, P(W ≤ t) = (1 − ρ)·exp(ρt) up to one service."""
        outcome = self.outcome(rho, exponential=False)
        assert fmean(outcome.latencies_s) == pytest.approx(1 + rho / (2 * (1 - rho)), rel=0.02)
        for t in (0.0, 0.5, 0.99):
            below = sum(latency <= 1 + t + 1e-9 for latency in outcome.latencies_s) / TEXTS
            assert below == pytest.approx((1 - rho) * math.exp(rho * t), abs=0.006)

    @pytest.mark.parametrize("rho", [0.5, 0.8])
    def test_several_servers_on_one_queue(self, rho: float) -> None:
        """M/M/3: a text waits with Erlang's probability, then exponentially."""
        outcome = self.outcome(rho, exponential=True, servers=3)
        blocked = 1.0
        for servers in (1, 2, 3):
            blocked = 3 * rho * blocked / (servers + 3 * rho * blocked)
        wait = blocked / (1 - rho * (1 - blocked)) / (3 * (1 - rho))
        assert fmean(outcome.latencies_s) == pytest.approx(1 + wait, rel=0.02)
        assert outcome.utilization == pytest.approx(rho, rel=0.01)

    def test_replay_of_a_measured_trace(self) -> None:
        """Measured arrivals are burstier than Poisson ones of the same rate, and so wait longer."""
        path = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces" / "azure_llm_2023_conv.csv"
        if not path.is_file():
            pytest.skip(f"the trace is missing: no file {path}")
        with path.open() as file:
            rows = list(csv.DictReader(file))
        stamps = sorted(datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows)
        times = trace_times(stamps, 0.7)
        assert len(times) == len(rows) > 19_000
        assert (len(times) - 1) / times[-1] == pytest.approx(0.7)
        rng = random.Random(2)
        service = [1.0] * len(times)
        replayed = simulate(Arrivals(times, service), Policy())
        poisson = simulate(Arrivals(poisson_times(0.7, len(times), rng), service), Policy())
        assert replayed.utilization == pytest.approx(0.7, rel=0.02)
        assert fmean(replayed.latencies_s) > fmean(poisson.latencies_s)


class TestByHand:
    def test_batches_take_what_waits(self) -> None:
        texts = Arrivals([0.0, 0.1, 0.2, 0.3, 9.0], [1.0] * 5)
        outcome = simulate(texts, Policy(max_batch_texts=2), line_s)
        # 0–1.1: the first alone; 1.1–2.3: two; 2.3–3.4: the fourth; 9–10.1: the last meets an idle server.
        assert outcome.latencies_s == pytest.approx([1.1, 2.2, 2.1, 3.1, 1.1])
        assert outcome.steps_of == {1: 3, 2: 1}
        assert outcome.utilization == pytest.approx(4.5 / 10.1)
        assert len(outcome.latencies_s) / sum(outcome.steps_of.values()) == pytest.approx(5 / 4)

    def test_a_batch_stops_at_its_size_but_a_long_text_runs_alone(self) -> None:
        texts = Arrivals([0.0, 0.1, 0.2, 0.3], [1.0, 5.0, 2.0, 2.0])
        policy = Policy(max_batch_texts=10, max_batch_size=4.0)
        outcome = simulate(texts, policy, line_s)
        assert outcome.latencies_s == pytest.approx([1.1, 1.1 - 0.1 + 1.5, 2.6 - 0.2 + 1.4, 2.6 - 0.3 + 1.4])

    def test_filler_is_finished_first(self) -> None:
        texts = Arrivals([0.0, 1.5, 9.0], [1.0] * 3)
        outcome = simulate(texts, Policy(filler_step_s=2.0))
        # 0–1 text, 1–3 filler, 3–4 text, 4–10 filler, 10–11 text.
        assert outcome.latencies_s == [1.0, 2.5, 2.0]
        assert outcome.filler_share == pytest.approx(8 / 11)
        assert outcome.utilization == pytest.approx(3 / 11)

    def test_the_higher_class_goes_first_but_stops_nothing(self) -> None:
        texts = Arrivals([0.0, 0.1, 0.2, 0.3], [1.0] * 4, [1, 1, 0, 0])
        outcome = simulate(texts, Policy())
        assert outcome.latencies_s == pytest.approx([1.0, 3.9, 1.8, 2.7])
        assert outcome.latencies_of(0) == pytest.approx([1.8, 2.7])
        assert outcome.quantile_s(0.5, 1) == 1.0
        assert fmean(outcome.latencies_of(0)) == pytest.approx(2.25)

    def test_two_servers_share_a_queue(self) -> None:
        texts = Arrivals([0.0, 0.0, 0.0], [3.0, 1.0, 1.0])
        assert simulate(texts, Policy(servers=2)).latencies_s == [3.0, 1.0, 2.0]


class TestAnyRun:
    """Properties of every run, checked on the steps that the policy was asked to time."""

    @given(
        arrivals(classes=True),
        st.integers(1, 3),
        st.integers(1, 6),
        st.sampled_from([1.0, 4.0, math.inf]),
        st.sampled_from([None, 0.7, 3.0]),
    )
    @settings(max_examples=300, deadline=None)
    def test_every_text_once_and_no_batch_above_its_caps(
        self, texts: Arrivals, servers: int, most: int, size: float, filler: float | None
    ) -> None:
        policy = Policy(
            servers=servers,
            max_batch_texts=most,
            max_batch_size=size,
            filler_step_s=filler,
        )
        steps: list[tuple[float, ...]] = []

        def step_s(sizes: Sequence[float]) -> float:
            steps.append(tuple(sizes))
            return line_s(sizes)

        outcome = simulate(texts, policy, step_s)
        assert Counter(s for step in steps for s in step) == Counter(texts.sizes)
        assert sum(k * count for k, count in outcome.steps_of.items()) == len(texts.times_s)
        assert all(len(step) <= most and (sum(step) <= size or len(step) == 1) for step in steps)
        assert Counter(map(len, steps)) == outcome.steps_of
        assert len(outcome.latencies_s) == len(texts.times_s)
        least = [line_s([own]) for own in texts.sizes]
        assert all(t >= alone - 1e-9 for t, alone in zip(outcome.latencies_s, least, strict=True))
        assert 0 < outcome.utilization <= 1 + 1e-9
        if filler is None:
            assert outcome.filler_share == 0

    @given(arrivals(classes=True), st.integers(1, 3), st.integers(1, 5))
    @settings(max_examples=200, deadline=None)
    def test_first_come_first_served_within_a_class(self, texts: Arrivals, servers: int, most: int) -> None:
        outcome = simulate(
            texts,
            Policy(servers=servers, max_batch_texts=most),
            lambda sizes: 2.0,  # equal steps: who starts first ends first
        )
        ends = [time + latency for time, latency in zip(texts.times_s, outcome.latencies_s, strict=True)]
        assert texts.classes is not None
        for own in set(texts.classes):
            of_class = [end for end, other in zip(ends, texts.classes, strict=True) if other == own]
            assert all(one <= other + 1e-9 for one, other in pairwise(of_class))

    @given(
        arrivals(),
        st.integers(1, 4),
        st.integers(1, 6),
        st.sampled_from([1.0, 4.0, math.inf]),
        st.booleans(),
    )
    @settings(max_examples=400, deadline=None)
    def test_the_short_way_is_the_long_way_exactly(
        self, texts: Arrivals, servers: int, most: int, size: float, share: bool
    ) -> None:
        policy = Policy(
            servers=servers,
            max_batch_texts=most,
            max_batch_size=size,
            takes="share" if share else "all",
        )
        runs = (simulation._in_order, simulation._general)
        quick, general = (run(texts, policy, line_s) for run in runs)
        assert quick.latencies_s == general.latencies_s
        assert quick.steps_of == general.steps_of
        assert quick.utilization == pytest.approx(general.utilization)
        assert quick.filler_share == general.filler_share == 0

    @given(arrivals(), st.sampled_from([0.3, 1.0, 2.5]))
    @settings(max_examples=200, deadline=None)
    def test_filler_delays_no_text_by_more_than_a_step_when_served_alone(
        self, texts: Arrivals, filler: float
    ) -> None:
        without = simulate(texts, Policy()).latencies_s
        filled = simulate(texts, Policy(filler_step_s=filler)).latencies_s
        for one, other in zip(without, filled, strict=True):
            assert one - 1e-9 <= other <= one + filler + 1e-9


class TestBadInput:
    def test_policy(self) -> None:
        with pytest.raises(InputError, match="at least 1"):
            Policy(servers=0)
        with pytest.raises(InputError, match="filler"):
            Policy(filler_step_s=0.0)
        with pytest.raises(InputError, match="give step_s"):
            simulate(Arrivals([0.0], [1.0]), Policy(max_batch_texts=2))

    def test_quantiles_and_classes(self) -> None:
        outcome = simulate(Arrivals([0.0], [1.0], [0]), Policy())
        with pytest.raises(InputError, match="quantile"):
            outcome.quantile_s(1.5)
        with pytest.raises(InputError, match="class 1"):
            fmean(outcome.latencies_of(1))

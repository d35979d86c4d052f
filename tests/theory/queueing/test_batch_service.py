"""Steps of several texts: the line, the bound of the mean, and the chain against long simulations (about 25 s)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_arrivals import poisson_times
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, Simulated, simulate
from farthing.theory.queueing.batch_chain import solved_chain
from farthing.theory.queueing.batch_queue import BatchQueue
from farthing.theory.queueing.batch_service import (
    StepLine,
    batch_mean_time_in_system_s,
    batch_time_in_system_quantile_s,
    fit_step_line,
    mean_time_in_system_bound_s,
    saturation_tokens,
)
from farthing.theory.queueing.decay import tail_ratio
from farthing.theory.queueing.service_times import constant
from farthing.theory.queueing.single_server import mean_wait_s, time_in_system_quantile_s

WITHOUT_CAP = 4096
"""Far more than ever wait in the cells below."""

CAPS = st.integers(1, 80)
OVERHEADS = st.floats(0.0, 50.0)
LOADS = st.floats(0.02, 0.97)


def simulated(
    arrivals_per_s: float, step_s: Callable[[int], float], cap: int, texts: int, seed: int = 1
) -> Simulated:
    """Simulate texts that arrive at random and run in steps of up to `cap`."""
    rng = random.Random(seed)
    arrivals = Arrivals(poisson_times(arrivals_per_s, texts, rng), [1.0] * texts)
    return simulate(arrivals, Policy(max_batch_texts=cap), rng, lambda sizes: step_s(len(sizes)))


class TestLine:
    @given(
        st.floats(0.0, 1.0), st.floats(1e-7, 1e-2), st.lists(st.integers(1, 10**6), min_size=2, unique=True)
    )
    def test_points_on_a_line_give_the_line(self, overhead: float, token: float, tokens: list[int]) -> None:
        fitted = fit_step_line([(n, overhead + token * n) for n in tokens])
        for n in (min(tokens), max(tokens)):
            assert fitted.seconds(n) == pytest.approx(overhead + token * n, rel=1e-6)

    def test_small_steps_count_as_much_as_large_ones(self) -> None:
        """An error of 10 % of the largest step would move τ₀ by several times itself if squares were absolute."""
        points = [(n, 1e-3 + 1e-5 * n) for n in (8, 16, 32, 64, 10_000)]
        points[-1] = (10_000, points[-1][1] * 1.1)
        assert fit_step_line(points).overhead_s == pytest.approx(1e-3, rel=0.05)

    def test_overhead_is_never_negative(self) -> None:
        line = fit_step_line([(10, 0.5e-3), (100, 10e-3), (1000, 120e-3)])
        assert line.overhead_s == 0
        assert 50e-6 < line.token_s < 120e-6
        assert saturation_tokens(line) == 0

    @given(st.floats(1e-6, 1.0), st.floats(1e-8, 1e-2))
    def test_saturation_is_where_the_throughput_is_95_percent(self, overhead: float, token: float) -> None:
        line = StepLine(overhead, token)
        tokens = saturation_tokens(line)
        assert tokens / line.seconds(tokens) == pytest.approx(0.95 / token)
        assert tokens == pytest.approx(19 * overhead / token)

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(InputError, match="two different"):
            fit_step_line([(8, 1.0), (8, 1.1)])
        with pytest.raises(InputError, match="do not grow"):
            fit_step_line([(8, 1.0), (16, 0.5)])
        with pytest.raises(InputError, match="above 0"):
            fit_step_line([(8, 0.0), (16, 0.5)])
        with pytest.raises(InputError, match="step line of"):
            StepLine(-1.0, 1.0)


class TestMeanAndBound:
    """Bar: the batch mean is at most the bound and within 10 % of it, over λα × λτ₀."""

    @pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.7, 0.85, 0.95])
    @pytest.mark.parametrize("overheads", [0.03, 0.1, 0.3, 1.0, 2.0, 5.0, 20.0, 100.0])
    def test_mean_of_the_chain_is_within_ten_percent_below_the_bound(
        self, load: float, overheads: float
    ) -> None:
        bound = mean_time_in_system_bound_s(1.0, overheads, load)
        mean = batch_mean_time_in_system_s(1.0, StepLine(overheads, load).seconds, WITHOUT_CAP)
        assert 0.9 * bound <= mean <= bound * (1 + 1e-3)  # the chain's own error is below 1e-3

    @pytest.mark.parametrize("load", [0.1, 0.5, 0.8])
    @pytest.mark.parametrize("overheads", [0.3, 1.0, 5.0])
    def test_mean_of_a_simulation_is_within_ten_percent_below_the_bound(
        self, load: float, overheads: float
    ) -> None:
        line = StepLine(overheads, load)
        outcome = simulated(1.0, line.seconds, 10**9, 700_000 if load > 0.7 else 300_000, seed=2)
        bound = mean_time_in_system_bound_s(1.0, overheads, load)
        # Where overheads dominate the bound is all but reached, so the error of the sample counts.
        assert 0.9 * bound <= outcome.mean_s() <= bound + 3 * _standard_error_s(outcome)
        assert _standard_error_s(outcome) < 0.01 * bound
        assert outcome.mean_s() == pytest.approx(
            batch_mean_time_in_system_s(1.0, line.seconds, WITHOUT_CAP), rel=0.01
        )

    def test_bound_is_infinite_where_no_queue_settles(self) -> None:
        assert mean_time_in_system_bound_s(10.0, 1.0, 0.1) == math.inf
        assert mean_time_in_system_bound_s(0.0, 1.0, 0.1) == pytest.approx(1.1)
        with pytest.raises(InputError, match="arrivals per second"):
            mean_time_in_system_bound_s(-1.0, 1.0, 0.1)


class TestQuantile:
    """The chain against simulations of 400,000 texts."""

    @pytest.mark.parametrize("load", [0.1, 0.5, 0.8, 0.9])
    @pytest.mark.parametrize("cap", [2, 8, 64, 500])
    def test_step_at_its_saturation_point(self, cap: int, load: float) -> None:
        self.check(cap, StepLine(cap / 19, 1.0), load)

    @pytest.mark.parametrize(
        ("cap", "load"), [(2, 0.5), (8, 0.3), (8, 0.8), (20, 0.7), (64, 0.7), (500, 0.9)]
    )
    def test_steps_far_below_saturation(self, cap: int, load: float) -> None:
        """Nearly all is overhead: the cap is what limits, and texts wait for full steps."""
        self.check(cap, StepLine(1000.0, 1.0), load)

    def check(self, cap: int, line: StepLine, load: float) -> None:
        arrivals = load * cap / line.seconds(cap)
        outcome = simulated(arrivals, line.seconds, cap, 400_000, seed=3)
        queue = BatchQueue(arrivals, line.seconds, cap)
        assert queue.quantile_s(0.99) == pytest.approx(outcome.quantile_s(0.99), rel=0.03)
        assert queue.quantile_s(0.5) == pytest.approx(outcome.quantile_s(0.5), rel=0.02)
        assert queue.mean_s() == pytest.approx(outcome.mean_s(), rel=0.015)

    @pytest.mark.parametrize("load", [0.05, 0.3, 0.6, 0.9, 0.99])
    def test_a_cap_of_one_is_constant_service(self, load: float) -> None:
        service = constant(0.25)
        arrivals = load / 0.25
        exact = time_in_system_quantile_s(arrivals, service)
        assert batch_time_in_system_quantile_s(arrivals, lambda _: 0.25, 1) == exact
        mean = batch_mean_time_in_system_s(arrivals, lambda _: 0.25, 1)
        assert mean == mean_wait_s(arrivals, service) + 0.25
        # The chain's own distribution, which larger caps rely on, is that of M/D/1 too.
        queue = BatchQueue(arrivals, lambda _: 0.25, 1)
        for t in (0.25, 0.3, 0.4, 0.5, 0.7):
            assert queue.tail(t) == pytest.approx(
                1 - _below(arrivals, 0.25, t), abs=0.012
            )  # a step in six parts

    def test_light_load_is_the_time_of_a_step_alone(self) -> None:
        assert batch_time_in_system_quantile_s(0.0, lambda n: 1.0 + n, 64) == 2.0
        assert batch_time_in_system_quantile_s(1e-4, lambda n: 1.0 + n, 64) == pytest.approx(2.0, rel=1e-3)

    def test_too_much_work_waits_for_ever(self) -> None:
        assert batch_time_in_system_quantile_s(8.0, lambda n: 1.0, 8) == math.inf
        assert batch_mean_time_in_system_s(8.0, lambda n: 1.0, 8) == math.inf

    @given(CAPS, OVERHEADS, LOADS, st.floats(1.01, 1.5))
    @settings(max_examples=60, deadline=None)
    def test_rises_with_the_rate_and_falls_with_a_faster_server(
        self, cap: int, overhead: float, load: float, factor: float
    ) -> None:
        line = StepLine(overhead, 1.0)
        arrivals = load * cap / line.seconds(cap)
        p99 = batch_time_in_system_quantile_s(arrivals, line.seconds, cap)
        more = batch_time_in_system_quantile_s(
            min(arrivals * factor, 0.99 * cap / line.seconds(cap)), line.seconds, cap
        )
        faster = batch_time_in_system_quantile_s(arrivals, lambda n: line.seconds(n) / factor, cap)
        if arrivals * factor < 0.99 * cap / line.seconds(cap):
            assert more >= p99 * (1 - 0.02)  # the states of two rates differ, and so do their errors
        assert faster <= p99 * (1 + 1e-9)

    @given(CAPS, OVERHEADS, LOADS, st.floats(1e-3, 1e3))
    @settings(max_examples=40, deadline=None)
    def test_does_not_depend_on_the_unit_of_time(
        self, cap: int, overhead: float, load: float, unit: float
    ) -> None:
        line = StepLine(overhead, 1.0)
        arrivals = load * cap / line.seconds(cap)
        one = batch_time_in_system_quantile_s(arrivals, line.seconds, cap)
        other = batch_time_in_system_quantile_s(arrivals / unit, lambda n: unit * line.seconds(n), cap)
        assert other == pytest.approx(unit * one, rel=1e-3)

    @given(CAPS, OVERHEADS, LOADS)
    @settings(max_examples=60, deadline=None)
    def test_quantiles_are_in_order_and_no_shorter_than_a_step(
        self, cap: int, overhead: float, load: float
    ) -> None:
        line = StepLine(overhead, 1.0)
        queue = BatchQueue(load * cap / line.seconds(cap), line.seconds, cap)
        quantiles = [queue.quantile_s(q) for q in (0.0, 0.1, 0.5, 0.9, 0.99, 0.999)]
        assert quantiles == sorted(quantiles)
        assert quantiles[0] >= line.seconds(1) * (1 - 1e-4)
        assert queue.mean_s() <= quantiles[-1]

    def test_step_times_are_asked_for_once(self) -> None:
        asked: list[int] = []

        def step_s(texts: int) -> float:
            asked.append(texts)
            return 1.0 + 0.1 * texts

        queue = BatchQueue(5.0, step_s, 200)
        assert queue.quantile_s(0.5) < queue.quantile_s(0.99)
        assert queue.mean_s() > 0
        assert len(asked) == len(set(asked)) < 60

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(InputError, match="arrivals per second"):
            BatchQueue(-1.0, lambda _: 1.0, 8)
        with pytest.raises(InputError, match="largest batch"):
            BatchQueue(1.0, lambda _: 1.0, 0)
        with pytest.raises(InputError, match="quantile"):
            BatchQueue(1.0, lambda _: 0.1, 8).quantile_s(1.0)
        with pytest.raises(InputError, match="a step of 8 texts"):
            BatchQueue(1.0, lambda _: 0.0, 8)


class TestChain:
    @pytest.mark.parametrize(
        ("cap", "load"), [(1, 0.9), (5, 0.95), (12, 0.5), (13, 0.8), (40, 0.9), (64, 0.97)]
    )
    @pytest.mark.parametrize("overhead", [0.5, 10.0, 1000.0])
    def test_few_states_give_the_moments_of_all_states(self, cap: int, load: float, overhead: float) -> None:
        """Against the chain on every number of texts, up to where 1e-9 is left, by numpy's solver."""
        line = StepLine(overhead, 1.0)
        arrivals = load * cap / line.seconds(cap)
        exact = _solved_densely(arrivals, line.seconds, cap)
        mean = sum(n * p for n, p in enumerate(exact))
        chain = solved_chain(arrivals, line.seconds, cap)
        states = chain.spread_out(40 * cap + 40 / (1 - load))
        assert sum(p for _, p, _ in states) == pytest.approx(1, rel=1e-9)
        assert sum(n * p for n, p, _ in states) == pytest.approx(mean, rel=5e-3)
        if chain.ratio:
            listed = zip(chain.queues[:-1], chain.shares[:-1], strict=True)
            assert sum(n * p for n, p in listed) + chain.mean_of_last * chain.shares[-1] == pytest.approx(
                mean, rel=5e-3
            )

    @given(st.integers(1, 500), st.floats(0.01, 0.999))
    def test_ratio_of_the_tail_solves_its_equation(self, cap: int, load: float) -> None:
        ratio = tail_ratio(load * cap, cap)
        assert 0 < ratio < 1
        assert cap * math.log(1 / ratio) == pytest.approx(load * cap * (1 / ratio - 1), rel=1e-6)


def _standard_error_s(outcome: Simulated, blocks: int = 50) -> float:
    """Return the standard error of the mean latency, from the means of blocks that hardly depend on each other."""
    size = len(outcome.latencies_s) // blocks
    means = [math.fsum(outcome.latencies_s[k * size : (k + 1) * size]) / size for k in range(blocks)]
    middle = math.fsum(means) / blocks
    return math.sqrt(math.fsum((m - middle) ** 2 for m in means) / (blocks - 1) / blocks)


def _solved_densely(arrivals_per_s: float, step_s: Callable[[int], float], cap: int) -> list[float]:
    """Return the stationary probabilities of 0, 1, 2… texts at the start of a step."""
    import numpy as np

    load = arrivals_per_s * step_s(cap) / cap
    most = int(cap + 10 * math.sqrt(cap) + 14 / (1 - load)) + 20
    moves = np.zeros((most + 1, most + 1))
    for queue in range(1, most + 1):
        taken = min(queue, cap)
        mean = arrivals_per_s * step_s(taken)
        for n in range(most + 1):
            p = math.exp(n * math.log(mean) - mean - math.lgamma(n + 1))
            moves[queue, min(max(1, queue - taken + n), most)] += p
        moves[queue, most] += max(0.0, 1 - moves[queue].sum())
    moves[0, 1] = 1.0
    equations = (moves - np.eye(most + 1)).T
    equations[-1] = 1.0
    right = np.zeros(most + 1)
    right[-1] = 1.0
    return [float(p) for p in np.linalg.solve(equations, right)]


def _below(arrivals_per_s: float, service_s: float, t_s: float) -> float:
    """Return P(T ≤ t) of M/D/1, by Erlang's alternating sum, which is exact for short times."""
    wait = t_s - service_s
    rho = arrivals_per_s * service_s
    terms = (
        (-arrivals_per_s * (wait - k * service_s)) ** k
        / math.factorial(k)
        * math.exp(arrivals_per_s * (wait - k * service_s))
        for k in range(math.floor(wait / service_s + 1e-12) + 1)
    )
    return (1 - rho) * math.fsum(terms)

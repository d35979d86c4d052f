"""Priorities and filled idle time: closed forms against long simulations (about 40 s)."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_arrivals import poisson_times, sampled_sizes
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.queueing.batch_service import StepLine, saturation_tokens
from farthing.theory.queueing.service_times import ServiceTimes, constant, truncated_lognormal
from farthing.theory.queueing.sharing import (
    filled_mean_time_in_system_s,
    filled_rise_bound_s,
    filled_time_in_system_quantile_s,
    filled_time_in_system_tail,
    filler_efficiency,
    longest_filler_step_s,
    priority_waits_s,
)
from farthing.theory.queueing.single_server import mean_wait_s, time_in_system_quantile_s

SHORT = constant(1.0)
LONG = truncated_lognormal(3.0, 1.5, 8)
"""Three times as long, and of CV² 1.2 after the cut."""
SKEWED = truncated_lognormal(1.0, 1.0, 8)


class TestPriority:
    """Bar: Cobham's mean waits within 3 % of simulations, for both classes."""

    @pytest.mark.parametrize(
        ("rho_high", "high", "rho_low", "low", "texts"),
        [
            (0.2, SHORT, 0.3, LONG, 800_000),
            (0.3, SHORT, 0.3, SHORT, 600_000),
            (0.3, LONG, 0.3, SHORT, 1_000_000),
            (0.3, LONG, 0.5, SHORT, 2_000_000),
            (0.5, SHORT, 0.2, LONG, 2_000_000),
        ],
    )
    def test_both_classes(
        self, rho_high: float, high: ServiceTimes, rho_low: float, low: ServiceTimes, texts: int
    ) -> None:
        rng = random.Random(5)
        rates = rho_high / high.mean_s, rho_low / low.mean_s
        classes = rng.choices((0, 1), weights=rates, k=texts)
        drawn = sampled_sizes(high, texts, rng), sampled_sizes(low, texts, rng)
        sizes = [drawn[own][row] for row, own in enumerate(classes)]
        outcome = simulate(Arrivals(poisson_times(sum(rates), texts, rng), sizes, classes), Policy(), rng)
        waits = priority_waits_s(rates[0], high, rates[1], low)
        for own, wait in enumerate(waits):
            served = [size for size, other in zip(sizes, classes, strict=True) if other == own]
            assert outcome.mean_s(own) - math.fsum(served) / len(served) == pytest.approx(wait, rel=0.03)

    @given(st.floats(0.01, 0.6), st.floats(0.01, 0.39))
    def test_order_does_not_change_the_work_that_waits(self, rho_high: float, rho_low: float) -> None:
        """Kleinrock's conservation law: Σ ρᵢWᵢ is that of first come first served."""
        high_per_s, low_per_s = rho_high / SHORT.mean_s, rho_low / LONG.mean_s
        high_s, low_s = priority_waits_s(high_per_s, SHORT, low_per_s, LONG)
        assert high_s < low_s
        rho = rho_high + rho_low
        moment = high_per_s * SHORT.second_moment_s2 + low_per_s * LONG.second_moment_s2
        assert rho_high * high_s + rho_low * low_s == pytest.approx(rho * moment / 2 / (1 - rho))

    def test_one_class_alone_is_first_come_first_served(self) -> None:
        assert priority_waits_s(0.2, LONG, 0.0, SHORT)[0] == pytest.approx(mean_wait_s(0.2, LONG))
        assert priority_waits_s(0.0, SHORT, 0.2, LONG)[1] == pytest.approx(mean_wait_s(0.2, LONG))

    def test_too_much_low_work_is_served_as_filler(self) -> None:
        """The high class then meets a server that is never idle: each idle moment is part of a low service."""
        high_s, low_s = priority_waits_s(0.5, SHORT, 5.0, SHORT)
        assert low_s == math.inf
        assert high_s == pytest.approx(filled_mean_time_in_system_s(0.5, SHORT, 1.0) - 1.0)
        assert priority_waits_s(1.0, SHORT, 0.1, SHORT) == (math.inf, math.inf)

    def test_bad_rate_is_refused(self) -> None:
        with pytest.raises(InputError, match="arrivals per second"):
            priority_waits_s(-0.1, SHORT, 0.1, LONG)


class TestFilledOneAtATime:
    """Bar: mean and 99th percentile within 3 % of simulations."""

    @pytest.mark.parametrize(
        ("service", "rho", "filler_step"),
        [
            (SHORT, 0.3, 0.5),
            (SHORT, 0.3, 3.0),
            (SHORT, 0.6, 0.5),
            (SHORT, 0.6, 3.0),
            (SHORT, 0.8, 1.0),
            (SKEWED, 0.3, 0.5),
            (SKEWED, 0.3, 3.0),
            (SKEWED, 0.6, 0.5),
            (SKEWED, 0.6, 3.0),
            (SKEWED, 0.8, 1.0),
        ],
    )
    def test_mean_and_p99(self, service: ServiceTimes, rho: float, filler_step: float) -> None:
        texts = 800_000 if rho < 0.7 else 2_500_000
        rng = random.Random(3)
        arrivals = rho / service.mean_s
        times, sizes = poisson_times(arrivals, texts, rng), sampled_sizes(service, texts, rng)
        outcome = simulate(Arrivals(times, sizes), Policy(filler_step_s=filler_step), rng)
        assert outcome.filler_share == pytest.approx(1 - rho, abs=0.01)
        mean = filled_mean_time_in_system_s(arrivals, service, filler_step)
        assert outcome.mean_s() == pytest.approx(mean, rel=0.03)
        p99 = filled_time_in_system_quantile_s(arrivals, service, filler_step)
        assert outcome.quantile_s(0.99) == pytest.approx(p99, rel=0.03)

    @pytest.mark.parametrize(("rho", "filler_step"), [(0.0, 1.0), (0.2, 5.0), (0.7, 0.05), (0.7, 1.5)])
    def test_the_tail_integrates_to_the_mean(self, rho: float, filler_step: float) -> None:
        """A check of tail and mean against each other, by the trapezoid rule over both of their scales."""
        mean = filled_mean_time_in_system_s(rho, SHORT, filler_step)
        reach, steps = 10 * mean, 400
        tails = [
            filled_time_in_system_tail(rho, SHORT, filler_step, reach * k / steps) for k in range(steps + 1)
        ]
        area = (math.fsum(tails) - (tails[0] + tails[-1]) / 2) * reach / steps
        assert area == pytest.approx(mean, rel=0.01)

    @given(st.floats(0.0, 0.9), st.floats(0.01, 5.0), st.floats(1.01, 3.0))
    @settings(max_examples=20, deadline=None)
    def test_p99_rises_with_the_step_by_no_more_than_the_step(
        self, rho: float, filler_step: float, factor: float
    ) -> None:
        short = filled_time_in_system_quantile_s(rho, SKEWED, filler_step)
        long = filled_time_in_system_quantile_s(rho, SKEWED, filler_step * factor)
        without = time_in_system_quantile_s(rho, SKEWED)
        assert without * (1 - 1e-3) <= short <= (without + filler_step) * (1 + 1e-3)
        assert long >= short * (1 - 1e-3)

    def test_no_load_is_a_part_of_a_step_and_the_service(self) -> None:
        assert filled_time_in_system_quantile_s(0.0, SHORT, 2.0, 0.5) == pytest.approx(2.0, rel=1e-4)
        assert filled_time_in_system_quantile_s(1e-9, SHORT, 2.0, 0.5) == pytest.approx(2.0, rel=1e-3)
        assert filled_time_in_system_quantile_s(1.0, SHORT, 2.0) == math.inf

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(InputError, match="filler step"):
            filled_mean_time_in_system_s(0.5, SHORT, 0.0)
        with pytest.raises(InputError, match="quantile"):
            filled_time_in_system_quantile_s(0.5, SHORT, 1.0, 1.0)


class TestFilledBatches:
    """Bar: the 99th percentile rises by at most V(1 + λα)."""

    @pytest.mark.parametrize("load", [0.05, 0.3, 0.6, 0.85])
    @pytest.mark.parametrize("overheads", [0.02, 0.5, 3.0])
    @pytest.mark.parametrize("filler_steps", [0.3, 1.0, 6.0])
    def test_rise_without_a_cap(self, load: float, overheads: float, filler_steps: float) -> None:
        """At one text per second, with filler steps as a multiple of a lone step."""
        line = StepLine(overheads, load)
        filler = filler_steps * line.seconds(1)
        rise = self.rise_s(1.0, line, 10**9, filler)
        assert rise <= filled_rise_bound_s(filler, load)

    @pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
    @pytest.mark.parametrize("filler_steps", [0.2, 1.0])
    def test_rise_with_the_cap_at_saturation(self, load: float, filler_steps: float) -> None:
        """Filler steps as a multiple of a full step; the load is of full steps, as a plan counts it."""
        cap = 32
        line = StepLine(cap / 19, 1.0)
        filler = filler_steps * line.seconds(cap)
        rise = self.rise_s(load * cap / line.seconds(cap), line, cap, filler)
        assert rise <= filled_rise_bound_s(filler, load)

    def rise_s(self, arrivals_per_s: float, line: StepLine, cap: int, filler_s: float) -> float:
        texts = 100_000
        rng = random.Random(11)
        arrivals = Arrivals(poisson_times(arrivals_per_s, texts, rng), [1.0] * texts)
        p99 = [
            simulate(
                arrivals,
                Policy(max_batch_texts=cap, filler_step_s=step),
                rng,
                lambda sizes: line.seconds(len(sizes)),
            ).quantile_s(0.99)
            for step in (filler_s, None)
        ]
        return p99[0] - p99[1]


class TestFillerStep:
    @given(st.floats(1e-3, 10.0), st.floats(0.0, 10.0), st.floats(0.0, 0.99))
    def test_longest_step_just_keeps_the_target(self, target: float, without: float, rho: float) -> None:
        step = longest_filler_step_s(target, without, rho)
        assert step >= 0
        if step > 0:
            assert without + filled_rise_bound_s(step, rho) == pytest.approx(target)
        else:
            assert without >= target

    def test_no_step_where_nothing_settles(self) -> None:
        assert longest_filler_step_s(0.1, math.inf, 0.5) == 0

    @given(st.floats(1e-6, 1.0), st.floats(1e-8, 1e-2))
    def test_efficiency_at_the_saturation_point_is_95_percent(self, overhead: float, token: float) -> None:
        line = StepLine(overhead, token)
        assert filler_efficiency(line, line.seconds(saturation_tokens(line))) == pytest.approx(0.95)
        assert filler_efficiency(line, overhead) == filler_efficiency(line, 0.0) == 0

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(InputError, match="filler step"):
            filled_rise_bound_s(-1.0, 0.5)
        with pytest.raises(InputError, match="load"):
            longest_filler_step_s(1.0, 0.5, -0.1)

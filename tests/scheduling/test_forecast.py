"""The forecast: the batching policy times the step times, and nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.scheduling.batching import batches_by_length
from farthing.scheduling.forecast import RUNS_TAKEN, corrected, forecast_job_s
from farthing.theory.devices import ModelCalibration, PastRun, StepTimes
from farthing.theory.work import WorkCounter
from makers import MINILM, make_model_calibration

LENGTHS, TOKENS = (8, 64, 512), (64, 512, 1024)
CALIBRATION = make_model_calibration(
    step_times=StepTimes(
        LENGTHS,
        TOKENS,
        tuple(tuple(4e-4 + 1e-5 * n * (1 + length / 800) for n in TOKENS) for length in LENGTHS),
    ),
    new_shape_s=2e-4,
)
JOBS = st.lists(st.integers(1, 512), min_size=1, max_size=100)


def forecast(
    lengths: list[int],
    calibration: ModelCalibration = CALIBRATION,
    *,
    budget: int = 1024,
    window: int = 8192,
    scale: float = 1.0,
) -> float:
    return forecast_job_s(lengths, calibration, max_batch_tokens=budget, window_texts=window, scale=scale)


def ragged(count: int, seed: int = 0) -> list[int]:
    generator = random.Random(seed)
    return [min(512, max(3, round(generator.lognormvariate(4, 1)))) for _ in range(count)]


def test_every_job_has_its_overhead() -> None:
    def forecast(overhead_s: float) -> float:
        calibration = replace(CALIBRATION, job_overhead_s=overhead_s)
        return forecast_job_s([10], calibration, max_batch_tokens=1024, window_texts=8192)

    assert forecast(0.5) == pytest.approx(forecast(0.0) + 0.5)


def test_nothing_takes_no_time() -> None:
    assert forecast([]) == 0.0
    assert forecast([], scale=100.0) == 0.0


def test_one_text_is_one_step_and_its_tokens() -> None:
    expected = CALIBRATION.step_times.step_s(1, 64) + 2e-4 + 64 * 1e-6 / 2
    assert forecast([64]) == pytest.approx(expected)


@given(JOBS)
def test_tokenizing_is_spread_over_the_streams_and_added(lengths: list[int]) -> None:
    free = replace(CALIBRATION, tokenization_s_per_token=0.0)
    slow = replace(CALIBRATION, tokenization_s_per_token=1e-3)
    assert forecast(lengths, slow) - forecast(lengths, free) == pytest.approx(sum(lengths) * 1e-3 / 2)


@given(JOBS)
def test_a_shape_costs_extra_only_the_first_time(lengths: list[int]) -> None:
    one = replace(CALIBRATION, streams=1, new_shape_s=0.0)
    costly = replace(one, new_shape_s=1.0)
    shapes = {(len(batch.rows), batch.length) for batch in batches_by_length(lengths, 1024, 1)}
    assert forecast(lengths, costly) - forecast(lengths, one) == pytest.approx(len(shapes))


def test_equal_steps_are_one_new_shape() -> None:
    one = replace(CALIBRATION, streams=1, new_shape_s=1.0, tokenization_s_per_token=0.0)
    assert forecast([512] * 20, one) == pytest.approx(1.0 + 10 * one.step_times.step_s(2, 512))


@given(JOBS)
def test_on_one_stream_the_steps_add_up(lengths: list[int]) -> None:
    one = replace(CALIBRATION, streams=1, new_shape_s=0.0, tokenization_s_per_token=0.0)
    steps = [one.step_times.step_s(len(b.rows), b.length) for b in batches_by_length(lengths, 1024, 1)]
    assert forecast(lengths, one) == pytest.approx(sum(steps))


@given(JOBS, st.integers(1, 8))
def test_streams_share_the_steps_and_none_takes_less_than_its_share(lengths: list[int], streams: int) -> None:
    calibration = replace(CALIBRATION, streams=streams, new_shape_s=0.0, tokenization_s_per_token=0.0)
    steps = [
        calibration.step_times.step_s(len(b.rows), b.length)
        for b in batches_by_length(lengths, 1024, streams)
    ]
    seconds = forecast(lengths, calibration)
    assert max(*steps, sum(steps) / streams) <= seconds * (1 + 1e-9)
    # Source: Graham 1969, list scheduling.
    assert seconds <= (sum(steps) / streams + max(steps)) * (1 + 1e-9)


@given(JOBS, st.integers(2, 5))
def test_windows_follow_each_other_without_a_gap(lengths: list[int], times: int) -> None:
    several = forecast(lengths * times, window=len(lengths))
    assert several <= times * forecast(lengths) * (1 + 1e-9)
    one_stream = replace(CALIBRATION, streams=1)
    assert forecast(lengths * times, one_stream, window=len(lengths)) == pytest.approx(
        times * forecast(lengths, one_stream)
    )


@given(JOBS, JOBS)
def test_more_windows_never_take_less_time(lengths: list[int], more: list[int]) -> None:
    assert forecast(lengths + more, window=len(lengths)) > forecast(lengths)


@pytest.mark.parametrize("seed", range(5))
def test_more_texts_take_more_time(seed: int) -> None:
    """Of one kind, that is: a text more can let a few steps merge into fewer, and the policy does it."""
    seconds = [forecast(ragged(count, seed)) for count in (1, 10, 100, 1000, 4000, 8192, 20_000)]
    assert seconds == sorted(seconds)


@given(JOBS, st.floats(1.01, 50))
def test_scales_linearly_with_a_sample_of_a_whole_window(lengths: list[int], scale: float) -> None:
    window, one_stream = len(lengths), replace(CALIBRATION, streams=1)
    assert forecast(lengths, one_stream, window=window, scale=scale) == pytest.approx(
        scale * forecast(lengths, one_stream, window=window)
    )
    # Two streams wait for each other once, at the end of the job, however long it is.
    assert forecast(lengths, window=window, scale=scale) <= scale * forecast(lengths, window=window) * (
        1 + 1e-9
    )


@pytest.mark.parametrize("copies", [2, 7, 40])
def test_a_sample_stands_for_its_repetitions(copies: int) -> None:
    sample = ragged(500)
    full = forecast(sample * copies, window=4000)
    assert forecast(sample, window=4000, scale=copies) == pytest.approx(full, rel=0.02)


@pytest.mark.parametrize("count", [3000, 12_000, 40_000])
def test_a_blown_up_sample_is_near_the_whole_list(count: int) -> None:
    lengths = ragged(count)
    sample = random.Random(1).sample(lengths, 2000)
    scale = sum(lengths) / sum(sample)
    assert forecast(sample, scale=scale) == pytest.approx(forecast(lengths), rel=0.03)


COUNTER = WorkCounter(replace(MINILM, causal=True), trim=True)


def behind(prefix: int, lengths: list[int], calibration: ModelCalibration = CALIBRATION) -> float:
    return forecast_job_s(
        lengths, calibration, max_batch_tokens=1024, window_texts=8192, prefix=prefix, counter=COUNTER
    )


def test_a_reused_prefix_by_hand() -> None:
    """Eight texts of 40 tokens, 24 of them reused: one step of 8 × 16 on one stream, and the prefix made once."""
    one = replace(CALIBRATION, streams=1)
    alone, with_prefix = (
        # Per layer, 4 · width a pair, and 8 · width² + 4 · width · inner a token; the last layer keeps of all but the
        # pooled token only the keys' and values' 4 · width².
        sum(
            4 * 384 * pairs + 4 * 384**2 * 16 + (4 * 384**2 + 4 * 384 * 1536) * tokens
            for pairs, tokens in [*[(16 * 17 // 2 + 16 * prefix, 16)] * 5, (16 + prefix, 1)]
        )
        for prefix in (0, 24)
    )
    expected = one.step_times.step_s(8, 16) * with_prefix / alone + one.new_shape_s
    expected += one.step_times.step_s(1, 24) + 8 * 40 * one.tokenization_s_per_token
    assert 1 < with_prefix / alone < 1.1
    assert behind(24, [40] * 8, one) == pytest.approx(expected)


@given(JOBS, st.integers(1, 200))
def test_attending_to_a_reused_prefix_is_not_free(lengths: list[int], prefix: int) -> None:
    one = replace(CALIBRATION, tokenization_s_per_token=0.0)
    made_s = one.step_times.step_s(1, prefix)
    assert forecast(lengths, one) < behind(prefix, [prefix + length for length in lengths], one) - made_s


@given(st.integers(1, 300), st.integers(4, 200))
def test_a_reused_prefix_costs_less_than_computing_it_for_each_text(own: int, prefix: int) -> None:
    assert behind(prefix, [prefix + own] * 200) < forecast([prefix + own] * 200)


@given(JOBS)
def test_no_prefix_is_no_difference(lengths: list[int]) -> None:
    assert behind(0, lengths) == forecast(lengths)


def test_texts_no_longer_than_the_prefix_keep_a_token_of_their_own() -> None:
    assert behind(30, [5, 30]) == pytest.approx(behind(30, [31, 31]) - 27e-6 / 2)


def test_a_prefix_needs_to_know_the_model() -> None:
    with pytest.raises(ValueError, match="counter"):
        forecast_job_s([9], CALIBRATION, max_batch_tokens=64, window_texts=8, prefix=4)
    both_ways = WorkCounter(MINILM, trim=True)
    with pytest.raises(InputError, match="both ways"):
        forecast_job_s([9], CALIBRATION, max_batch_tokens=64, window_texts=8, prefix=4, counter=both_ways)


def past(
    *steps: tuple[int, float, float], kind: str = "memory", beside_s: float | None = None, busy: bool = False
) -> PastRun:
    return PastRun(
        at="2026-11-26T12:00:00+00:00",
        kind=kind,
        predicted_s=1.0,
        wall_s=1.0,
        beside_s=beside_s,
        steps=steps,
        busy=busy,
    )


def test_nothing_is_corrected_without_runs() -> None:
    assert corrected(CALIBRATION, [], "memory") == CALIBRATION


@given(st.floats(0.2, 5), st.integers(1, 8))
def test_steps_take_what_runs_say_by_their_length(ratio: float, count: int) -> None:
    runs = [past((8, 10.0, 10.0 * ratio), (64, 10.0, 20.0))] * count
    rows = corrected(CALIBRATION, runs, "memory").step_times.seconds
    for row, before, times in zip(
        rows, CALIBRATION.step_times.seconds, (ratio, 2, (ratio + 2) / 2), strict=True
    ):
        assert row == pytest.approx([seconds * times for seconds in before])  # the last: of no run, so as all


@given(st.permutations([1.1, 1.1, 1.1, 9.0, 0.1]))
def test_odd_runs_and_those_of_long_ago_correct_nothing(ratios: list[float]) -> None:
    runs = [past((8, 1.0, 5.0))] * RUNS_TAKEN + [past((8, 10.0, 10 * ratio)) for ratio in ratios]
    found = corrected(CALIBRATION, runs, "memory")
    assert found.step_times.seconds[0][0] == pytest.approx(1.1 * CALIBRATION.step_times.seconds[0][0])


def test_short_and_busy_runs_tell_nothing_of_steps() -> None:
    runs = [past((8, 0.01, 0.05)), past((8, 10.0, 50.0), busy=True, beside_s=9.0)]
    assert corrected(CALIBRATION, runs, "memory") == CALIBRATION


def test_what_is_beside_the_steps_is_that_of_the_kind() -> None:
    runs = [past(kind="file", beside_s=seconds) for seconds in (0.5, 0.1, 0.2)] + [past(beside_s=7.0)]
    assert corrected(CALIBRATION, runs, "file").job_overhead_s == 0.2
    assert corrected(CALIBRATION, runs, "memory").job_overhead_s == 7.0
    assert corrected(CALIBRATION, runs, "another").job_overhead_s == CALIBRATION.job_overhead_s

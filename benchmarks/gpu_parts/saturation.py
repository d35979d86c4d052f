"""Where a larger step stops paying: τ₀ and α of the step time, n*, and 1, 2, 4, 8 sequences at once.

The article says that batching embeddings past saturation buys no throughput. The verdict is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.engine.contract import Ids
from farthing.errors import InputError
from farthing.theory.time.saturation import SATURATION, fit_step_line, saturation_tokens
from gpu_parts.bench import Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject, forward_work
from gpu_parts.tables import markdown, ms, number

GAIN = 0.05
"""A throughput that grows by less than this counts as not growing."""


def measure(bench: Bench, subject: Subject, _peaks: Peaks) -> dict[str, Any]:
    """Return the line through the device's step times and the throughput of several sequences at once."""
    engine, vocabulary = subject.engine(), subject.shape.vocabulary
    lane = engine.lane()

    def seconds(texts: list[Ids]) -> dict[str, float]:
        return {
            "device_s": bench.median_s(forward_work(bench, engine, texts)),
            "wall_s": bench.median_s(lambda: lane.run(texts), wall=True),
        }

    points = []
    for tokens in bench.budget.within(bench.sizes.line_tokens):
        if tokens > subject.most_tokens:
            break
        length = min(tokens, subject.sequence)
        texts = bench.uniform(vocabulary, max(1, tokens // length), length)
        points.append({"tokens": len(texts) * length, "length": length, **seconds(texts)})
    sequences = {}
    for count in bench.budget.within(bench.sizes.sequences):
        found = seconds(bench.uniform(vocabulary, count, subject.sequence))
        sequences[str(count)] = found | {"tokens_per_s": count * subject.sequence / found["device_s"]}
    lines = {
        clock: _line([(int(point["tokens"]), point[clock]) for point in points])
        for clock in ("device_s", "wall_s")
    }
    return {
        "steps": points,
        "lines": lines,
        "length": subject.sequence,
        "sequences": sequences,
        "gains": gains(sequences),
        "verdict": None
        if lines["device_s"] is None
        else verdict(subject.sequence, gains(sequences), lines["device_s"]["saturation_tokens"]),
    }


def _line(points: list[tuple[int, float]]) -> dict[str, float] | None:
    """Return τ₀, α and n*; None where the points do not make a line."""
    try:
        line = fit_step_line(points)
    except InputError:  # too few, or as long whatever their tokens
        return None
    worst = max(abs(line.seconds(tokens) / seconds - 1) for tokens, seconds in points)
    return {
        "tau0_s": line.overhead_s,
        "alpha_s_per_token": line.token_s,
        "saturation_tokens": saturation_tokens(line),
        "worst_error": worst,
    }


def gains(sequences: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the throughput of each number of sequences over that of one."""
    rates = {count: found["tokens_per_s"] for count, found in sequences.items()}
    return {count: rate / rates["1"] for count, rate in rates.items()} if "1" in rates else {}


def verdict(length: int, gained: Mapping[str, float], saturated: float) -> dict[str, Any] | None:
    """Return whether more sequences buy throughput once a step is saturated, in figures and in a sentence.

    Args:
        length: tokens of a sequence.
        gained: throughput of each number of sequences over that of one.
        saturated: n*, tokens.
    """
    counts = sorted(map(int, gained))
    past = [count for count in counts if count * length >= saturated]
    if not counts or len(past) < 2:
        return None
    start = past[0]
    gain = max(gained[str(count)] for count in past[1:]) / gained[str(start)] - 1
    holds = gain < GAIN
    return {
        "holds": holds,
        "threshold": GAIN,
        "from_sequences": start,
        "to_sequences": past[-1],
        "gain": gain,
        "gain_from_one": max(gained.values()) - 1,
        "sentence": (
            f"The article's claim {'holds' if holds else 'does not hold'}: past saturation (n* = "
            f"{saturated:,.0f} tokens), from {start} to {past[-1]} sequences of {length} tokens, the device's "
            f"throughput gains {gain:+.1%} ({'less' if holds else 'not less'} than {GAIN:.0%}); from 1 to "
            f"{counts[-1]} it gains {max(gained.values()) - 1:+.1%} at best."
        ),
    }


def table(figures: dict[str, Any]) -> list[str]:
    """Return the steps, the line and the verdict as lines."""
    lines = markdown(
        ("tokens of a step", "device", "ids to vectors", "tokens/s of the device"),
        (
            (p["tokens"], ms(p["device_s"]), ms(p["wall_s"]), number(p["tokens"] / p["device_s"]))
            for p in figures["steps"]
        ),
    )
    for clock, line in figures["lines"].items():
        if line is not None:
            lines += [
                "",
                f"{'Device' if clock == 'device_s' else 'Ids to vectors'}: τ₀ {ms(line['tau0_s'])}, α "
                f"{number(line['alpha_s_per_token'] * 1e6)} µs a token, n* {number(line['saturation_tokens'])} tokens "
                f"({SATURATION:.0%} of the throughput of endless steps); worst point {line['worst_error']:.0%} off "
                "the line.",
            ]
    lines += [
        "",
        *markdown(
            (f"sequences of {figures['length']}", "device step", "tokens/s", "over one"),
            (
                (n, ms(s["device_s"]), number(s["tokens_per_s"]), f"{figures['gains'][n]:.2f}×")
                for n, s in figures["sequences"].items()
            ),
        ),
    ]
    unjudged = "No verdict on the article's claim: too few of these steps are past saturation."
    return [*lines, "", figures["verdict"]["sentence"] if figures["verdict"] else unjudged]

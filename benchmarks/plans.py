"""Are the replicas of a plan right? Pairs of device and demand, drawn by seed, against long simulations.

Each pair is planned twice: as the rows are that a plan simulates, and as those are that it approximates. Both are held
against the fewest replicas whose 99th percentile keeps the target over 200,000 texts.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from typing import Any

from farthing.catalog import facts
from farthing.catalog.lookups import default_dtype
from farthing.catalog.resolve import resolve_model
from farthing.planning.answer import PlanDemand
from farthing.planning.replicas.station import Station, station
from farthing.planning.replicas.waiting import MOST_TEXTS, least_texts, simulated
from farthing.planning.rows import fewest_replicas, fewest_simulated
from farthing.theory.host import SERVERS
from farthing.theory.lengths import PROFILES, fixed_length, profile_lengths
from farthing.theory.time.roofline import datasheet_rates
from farthing.theory.time.steps import StepModel
from results_file import save

MODELS = ("all-MiniLM-L6-v2", "bge-small-en-v1.5", "bge-m3", "Qwen3-Embedding-0.6B", "Qwen3-Embedding-8B")
LENGTHS = (20, 100, 300, 500, 1000)
MOST = 200
"""Replicas above which a pair is drawn again: one simulation of such a fleet takes minutes."""

NEAR = 0.03
"""Share of the target within which the 99th percentile of another number of replicas counts as the same answer."""


@dataclass(frozen=True)
class Pair:
    """A replica and a demand, with the fewest replicas by the approximation."""

    name: str
    replica: Station
    rate: float
    target_s: float
    guess: int


def drawn(rng: random.Random) -> Pair | None:
    """Return a pair; None where no number of replicas keeps the target, or too many do."""
    model, device = rng.choice(MODELS), rng.choice(facts.devices())
    lengths = rng.choice([fixed_length(rng.choice(LENGTHS)), profile_lengths(rng.choice(list(PROFILES)))])
    resolved = resolve_model(model)
    rates = datasheet_rates(device.spec, default_dtype(device))
    server = rng.choice(list(SERVERS))
    one = station(StepModel(resolved.shape, rates), SERVERS[server], lengths.truncated(resolved.limit.tokens))
    rate = 10 ** rng.uniform(math.log10(0.5), math.log10(5000))
    target_s = 10 ** rng.uniform(math.log10(0.05), math.log10(2))
    guess = fewest_replicas(one, rate, target_s)
    if guess is None or guess > MOST or least_texts(one, rate, guess) > MOST_TEXTS:
        return None
    name = f"{model} {device.device} {server} {lengths.source[:24]} {rate:.3g}/s {1000 * target_s:.0f} ms"
    return Pair(name, one, rate, target_s, guess)


def judged(pair: Pair) -> dict[str, Any]:
    """Return the replicas by each way, and what the judge says of them."""
    demand = PlanDemand(
        texts_per_s=pair.rate,
        peak_texts_per_s=pair.rate,
        peak_to_mean=1.0,
        tokens_per_day=1.0,
        p99_s=pair.target_s,
        batch_share=0.0,
        source="drawn",
    )
    start = time.perf_counter()
    planned, _ = fewest_simulated(pair.replica, demand, pair.guess)
    seconds = time.perf_counter() - start
    known: dict[int, float] = {}

    def p99_s(count: int) -> float:
        if count not in known:
            known[count] = simulated(pair.replica, pair.rate, count, texts=MOST_TEXTS).p99_s
        return known[count]

    true = planned
    while p99_s(true) > pair.target_s:
        true += 1
    while true > 1 and p99_s(true - 1) <= pair.target_s:
        true -= 1
    return {
        "pair": pair.name,
        "simulated": planned,
        "approximated": pair.guess,
        "judge": true,
        "simulated_right": planned == true or abs(p99_s(planned) / pair.target_s - 1) <= NEAR,
        "approximated_near": abs(pair.guess - true) <= max(1.0, 0.05 * true),
        "seconds": seconds,
    }


def main() -> None:
    """Draw pairs, judge them, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < arguments.pairs:
        pair = drawn(rng)
        if pair is not None:
            rows.append(judged(pair))
            row = rows[-1]
            flag = "" if row["simulated_right"] and row["approximated_near"] else "  <<<"
            print(
                f"{row['pair']}: {row['simulated']} ≈ {row['approximated']}, judge {row['judge']}{flag}",
                flush=True,
            )
    right, near = (sum(row[key] for row in rows) for key in ("simulated_right", "approximated_near"))
    several = sum(row["judge"] > 1 for row in rows)
    print(
        f"simulated right {right} of {len(rows)}, approximated near {near}; {several} take more than one replica"
    )
    print(
        save(
            "plans",
            {"seed": arguments.seed, "pairs": rows, "simulated_right": right, "approximated_near": near},
        )
    )


if __name__ == "__main__":
    main()

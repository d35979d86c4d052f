"""Makers of models on devices, with prices and demands, for tests of plans."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farthing.planning.answer import PlanDemand
from farthing.planning.devices.candidate import Candidate
from farthing.theory.families.configs import shape_from_config
from farthing.theory.host import SERVERS, HostPath
from farthing.theory.pricing import RentalPrice
from farthing.theory.time.roofline import datasheet_rates
from farthing.theory.time.steps import StepModel
from makers import QWEN3_06B, make_spec

QWEN_06B = shape_from_config(QWEN3_06B, "a model of 0.6B")

MakeCandidate = Callable[..., Candidate]
MakeDemand = Callable[..., PlanDemand]


@pytest.fixture(scope="session")
def make_candidate() -> MakeCandidate:
    """Return a maker of candidates: a model of 0.6B on a device of 200 TFLOP/s and 1 TB/s at $1 an hour."""

    def make(
        device: str = "d",
        *,
        peak: float = 200e12,
        share: float = 0.8,
        bandwidth: float = 1e12,
        memory: float = 24e9,
        usd: float = 1.0,
        spread: float = 1.0,
        spot: bool = False,
        sold_by: int = 1,
        host: HostPath = SERVERS["vllm"],
    ) -> Candidate:
        spec = make_spec(
            device=device,
            peak_flops_per_s={"bf16": peak},
            achievable_flops_per_s={"bf16": peak * share},
            memory_bytes=memory,
            bandwidth_bytes_per_s=bandwidth,
        )
        price = RentalPrice(
            value=usd,
            provider="p",
            min=usd / spread,
            max=usd * spread,
            as_of="2026-11-21",
            offers=3,
            source="s",
            sold_by=sold_by,
        )
        steps = StepModel(QWEN_06B, datasheet_rates(spec, "bf16"))
        return Candidate(steps=steps, host=host, price=price, spot=spot)

    return make


@pytest.fixture(scope="session")
def make_demand() -> MakeDemand:
    """Return a maker of demands: texts per second of a mean length, at a peak, with a target."""

    def make(
        texts_per_s: float = 20.0,
        *,
        mean: float = 300.0,
        peak: float = 2.0,
        p99_s: float = 0.2,
        batch_share: float = 0.0,
        spare: int = 0,
    ) -> PlanDemand:
        return PlanDemand(
            texts_per_s=texts_per_s,
            peak_texts_per_s=texts_per_s * peak,
            peak_to_mean=peak,
            tokens_per_day=texts_per_s * mean * 86400,
            p99_s=p99_s,
            batch_share=batch_share,
            source="test",
            spare=spare,
        )

    return make

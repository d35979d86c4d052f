"""What the server counts, as Prometheus reads it. Labels come from fixed sets."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from farthing.serve.dispatch import Dispatcher

ROUTES = (
    "/v1/embeddings",
    "/v2/embed",
    "/embed",
    "/",
    "/v1/models",
    "/info",
    "/health",
    "/ready",
    "/metrics",
)
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class _Device(Collector):
    """What the lanes did, read where it is kept."""

    def __init__(self, dispatcher: Dispatcher, usd_per_hour: float | None) -> None:
        self._dispatcher, self._usd_per_hour = dispatcher, usd_per_hour

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        """Return the families of this moment."""
        totals, lanes = self._dispatcher.totals, self._dispatcher.lanes
        wall_s = time.perf_counter() - self._dispatcher.started_s
        tokens = CounterMetricFamily("farthing_tokens", "Tokens computed.", labels=["kind"])
        tokens.add_metric(["useful"], totals.work.useful_tokens)
        tokens.add_metric(["padded"], totals.work.padded_tokens)
        tokens.add_metric(["reused"], totals.work.reused_tokens)
        seconds = CounterMetricFamily(
            "farthing_lane_seconds",
            "Seconds of lanes: in steps of requests, of clients that had gone, idle.",
            labels=["kind"],
        )
        seconds.add_metric(["billed"], totals.billed_s)
        seconds.add_metric(["dropped"], totals.dropped_s)
        seconds.add_metric(["idle"], max(0.0, lanes * wall_s - totals.busy_s))
        families: list[CounterMetricFamily | GaugeMetricFamily] = [
            tokens,
            seconds,
            CounterMetricFamily("farthing_steps", "Steps run.", totals.steps),
            CounterMetricFamily("farthing_flops", "FLOPs asked for.", totals.work.useful_flops),
            GaugeMetricFamily(
                "farthing_waiting_tokens", "Tokens that wait.", self._dispatcher.waiting_tokens
            ),
            GaugeMetricFamily("farthing_lanes", "Steps that run side by side.", lanes),
        ]
        useful = totals.work.useful_tokens
        if self._usd_per_hour is not None and useful:
            usd = GaugeMetricFamily(
                "farthing_usd_per_million_tokens",
                "Price of a million tokens: of the device's time in steps, and with its idle time.",
                labels=["kind"],
            )
            per_s = self._usd_per_hour / 3600
            usd.add_metric(["marginal"], totals.billed_s / lanes * per_s / useful * 1e6)
            usd.add_metric(["loaded"], wall_s * per_s / useful * 1e6)
            families.append(usd)
        return families


class Metrics:
    """Counters of one server."""

    def __init__(self, dispatcher: Dispatcher, usd_per_hour: float | None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Device(dispatcher, usd_per_hour))
        self._requests = Counter(
            "farthing_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "farthing_request_seconds",
            "Seconds from a request's head to its answer.",
            ["route"],
            registry=self._registry,
            buckets=BUCKETS_S,
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        route = path if path in ROUTES else "other"
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

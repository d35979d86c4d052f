"""Generation with the same weights, for contrast: one decode step at many batches. Is it ever bound by compute?

The step is the engine's own network over one token of each sequence, attention over a cache of keys and values, and
the vocabulary's product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from farthing.engine.folder.head import Pooling
from farthing.engine.network.ops import Sight
from farthing.engine.network.transformer import vectors
from farthing.engine.torch.model import Model
from farthing.engine.torch.ops import TorchOps
from farthing.engine.torch.staging import Inputs
from farthing.theory.generation import decode_operations, kv_cache_bytes
from farthing.theory.time.roofline import arithmetic_intensity, bytes_moved, ridge_point, total_flops
from gpu_parts.bench import Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject, model_of
from gpu_parts.tables import markdown, ms, number, share, tflops

ROOM = 0.9
"""Share of the free memory that a cache may take: the step itself needs some."""


@dataclass(frozen=True, slots=True)
class Caches:
    """Keys and values of every layer, (layers, 2, batch, KV heads, context, head size)."""

    states: Tensor

    @classmethod
    def random(cls, model: Model, batch: int, context: int) -> Caches:
        """Return full caches of random states, on the model's device."""
        shape, table = model.network.shape, model.weights.of("embeddings.tokens").weight
        sizes = (shape.layers, 2, batch, shape.kv_heads, context, shape.head_size)
        return cls(torch.empty(sizes, device=table.device, dtype=table.dtype).normal_())


class DecodeOps(TorchOps):
    """The network's operations over the newest token of each sequence, whose others are in the cache."""

    def __init__(self, model: Model, caches: Caches, ids: Tensor) -> None:
        bounds = torch.arange(len(ids) + 1, dtype=torch.int32, device=ids.device)
        super().__init__(model.network.shape, model.weights, None, Inputs(ids, bounds, 1))
        self._caches = caches

    @property
    def positions(self) -> Tensor:
        """The last place of the cache, (B,)."""
        return torch.full_like(self.ids, self._caches.states.shape[4] - 1)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, sight: Sight, _kept: Pooling | None
    ) -> Tensor:
        """Return the mixed values of each newest token, whose key and value go into the cache first."""
        keys, values = self._caches.states[sight.layer]
        keys[:, :, -1], values[:, :, -1] = key, value
        # The queries of a group ask the same keys: taken as so many queries, each key is read once.
        grouped = query.reshape(len(query), key.shape[1], -1, query.shape[2])
        mixed = functional.scaled_dot_product_attention(grouped, keys, values, scale=sight.scale)
        return mixed.reshape(len(query), -1)


def decode_work(model: Model, caches: Caches, ids: Tensor) -> Callable[[], Tensor]:
    """Return a step that takes the newest token of each sequence, (B,), and gives the scores of the next, (B, V).

    The newest token is the last of the cache: its keys and values are written there first.
    """
    network = replace(model.network, pooling="last_token", normalize=False, trim=False)
    table = model.weights.of("embeddings.tokens").weight

    def work() -> Tensor:
        with torch.inference_mode():
            states = vectors(DecodeOps(model, caches, ids), network)
            return functional.linear(states.to(table.dtype), table)

    return work


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return a decode step's seconds, FLOP/s and bytes/s at each batch and context, beside the roofline."""
    shape = subject.shape
    if not shape.causal or shape.norm_place != "pre":
        return {"skipped": "the model reads both ways and cannot write"}
    peak, bandwidth = peaks.best(subject), bench.device.copy_bytes_per_s()
    # As it is written: CUDA graphs take the launches away, and products and cache take the time.
    model = model_of(subject.engine())
    found: dict[str, Any] = {}
    for context, batch in bench.budget.within(product(bench.sizes.contexts, bench.sizes.decode_batches)):
        name, needed, free = (
            f"{batch}×{context}",
            batch * kv_cache_bytes(shape, context, 2),
            bench.device.free_bytes(),
        )
        if free is not None and needed > ROOM * free:
            found[name] = {
                "skipped": f"its cache of {needed / 2**30:.0f} GiB does not fit into {free / 2**30:.0f} GiB"
            }
            continue
        caches = Caches.random(model, batch, context)
        ids = torch.randint(shape.vocabulary, (batch,), device=bench.device.torch, dtype=torch.int32)
        work = bench.device.recorded(decode_work(model, caches, ids))
        seconds = bench.median_s(work)
        del work, caches
        ops = decode_operations(shape, batch, context, 2)
        flops, moved = total_flops(ops), bytes_moved(ops)
        of_compute, of_memory = flops / seconds / peak, moved / seconds / bandwidth
        found[name] = {
            "batch": batch,
            "context": context,
            "seconds": seconds,
            "tokens_per_s": batch / seconds,
            "flops_per_s": flops / seconds,
            "bytes_per_s": moved / seconds,
            "arithmetic_intensity": arithmetic_intensity(flops, moved),
            "share_of_compute": of_compute,
            "share_of_memory": of_memory,
            "roofline_s": max(flops / peak, moved / bandwidth),
            "compute_bound": of_compute > of_memory,
        }
    ridge = ridge_point(peak, bandwidth)
    return {
        "best_product_flops_per_s": peak,
        "copy_bytes_per_s": bandwidth,
        "ridge_point": ridge,
        "steps": found,
        "verdict": verdict(found, ridge),
    }


def verdict(steps: dict[str, Any], ridge: float) -> dict[str, Any] | None:
    """Return whether any step was bound by compute, in figures and in a sentence."""
    ran = {name: step for name, step in steps.items() if "skipped" not in step}
    if not ran:
        return None
    most = max(ran, key=lambda name: ran[name]["arithmetic_intensity"])
    bound = [name for name, step in ran.items() if step["compute_bound"]]
    said = (
        f"becomes compute-bound at {', '.join(bound)} (batch × context)"
        if bound
        else "never becomes compute-bound"
    )
    return {
        "ever_compute_bound": bool(bound),
        "sentence": (
            f"In what was measured decoding {said}: at most {ran[most]['arithmetic_intensity']:.0f} FLOP/byte, at "
            f"{most}, where the card's measured ridge point is {ridge:.0f}; it then reaches "
            f"{ran[most]['share_of_compute']:.1%} of the best product's rate and {ran[most]['share_of_memory']:.1%} of "
            "a copy's."
        ),
    }


def table(figures: dict[str, Any]) -> list[str]:
    """Return the steps as lines."""
    if "skipped" in figures:
        return [f"Not run: {figures['skipped']}."]
    rows = []
    for name, step in figures["steps"].items():
        if "skipped" in step:
            rows.append((name, f"not run: {step['skipped']}", *[""] * 6))
            continue
        rows.append(
            (
                name,
                ms(step["seconds"]),
                number(step["tokens_per_s"]),
                number(step["arithmetic_intensity"]),
                tflops(step["flops_per_s"]),
                share(step["share_of_compute"]),
                f"{step['bytes_per_s'] / 1e12:.2f} TB/s",
                share(step["share_of_memory"]),
            )
        )
    headers = (
        "batch × context",
        "one step",
        "tokens/s",
        "FLOP/byte",
        "rate",
        "of the best product",
        "memory",
        "of a copy",
    )
    lines = markdown(headers, rows)
    return [*lines, "", figures["verdict"]["sentence"]] if figures["verdict"] else lines

"""Generation with the same weights, for contrast: one decode step at many batches. Is it ever bound by compute?

The step is the model's own layers over one token of each sequence, attention over a cache of keys and values, and
the vocabulary's product. Rotary positions are left out: they are no product and move few bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from farthing.engine.network.transformer import Layer, Transformer
from farthing.theory.generation import decode_operations, kv_cache_bytes
from farthing.theory.roofline import arithmetic_intensity, bytes_moved, ridge_point, total_flops
from gpu_parts.bench import Bench
from gpu_parts.device import Work
from gpu_parts.matmuls import Peaks
from gpu_parts.models import DTYPE, Subject
from gpu_parts.tables import markdown, ms, number, share, tflops

ROOM = 0.9
"""Share of the free memory that a cache may take: the step itself needs some."""


@dataclass(frozen=True, slots=True)
class Caches:
    """Keys and values of every layer, (layers, 2, batch, KV heads, context, head size)."""

    states: Tensor

    @classmethod
    def random(cls, model: Transformer, batch: int, context: int) -> Caches:
        """Return full caches of random states, on the model's device."""
        shape, device = model.shape, model.embeddings.tokens.weight.device
        states = torch.empty(
            shape.layers, 2, batch, shape.kv_heads, context, shape.head_size, device=device, dtype=DTYPE
        )
        return cls(states.normal_())


def decode_work(model: Transformer, caches: Caches, ids: Tensor) -> Work:
    """Return a step that takes the newest token of each sequence, (B,), and gives the scores of the next, (B, V).

    The newest token is the last of the cache: its keys and values are written there first.
    """
    shape = model.shape
    kv_heads, groups, size = shape.kv_heads, shape.heads // shape.kv_heads, shape.head_size
    widths = [shape.attention_width, shape.kv_width, shape.kv_width]

    def work() -> Tensor:
        with torch.inference_mode():
            x = model.embeddings.tokens(ids)
            for layer, (keys, values) in zip(model.layers, caches.states, strict=True):
                assert isinstance(layer, Layer)
                assert layer.attention_norm is not None
                attention = layer.attention
                query, key, value = attention.qkv(layer.attention_norm(x)).split(widths, dim=-1)
                query = query.reshape(-1, kv_heads, groups, size)
                key = key.reshape(-1, kv_heads, size)
                if attention.query_norm is not None and attention.key_norm is not None:
                    query, key = attention.query_norm(query), attention.key_norm(key)
                keys[:, :, -1], values[:, :, -1] = key, value.reshape(-1, kv_heads, size)
                # The queries of a group ask the same keys: taken as so many queries, each key is read once.
                mixed = functional.scaled_dot_product_attention(
                    query, keys, values, scale=attention.sight.scale
                )
                x = x + attention.output(mixed.reshape(x.shape[0], -1))
                x = x + layer.mlp(layer.mlp_norm(x))
            assert model.norm is not None
            scores: Tensor = functional.linear(model.norm(x), model.embeddings.tokens.weight)
        return scores

    return work


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return a decode step's seconds, FLOP/s and bytes/s at each batch and context, beside the roofline."""
    shape = subject.shape
    if not shape.causal or shape.norm_place != "pre":
        return {"skipped": "the model reads both ways and cannot write"}
    peak, bandwidth = peaks.best(subject), bench.device.copy_bytes_per_s()
    # Its parts, not its compiled layers: CUDA graphs take the launches away, and products and cache take the time.
    model = subject.replica().model
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
        ids = torch.randint(shape.vocabulary, (batch,), device=bench.device.torch)
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

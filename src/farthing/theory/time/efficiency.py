"""How much of a device's rates kernels reach: at best, as expected, and at worst.

Every figure is a published measurement of kernels or of a tool's own constants, and none was fitted to whole
models: what whole models reach is what the step time predicts. Knows no shape and no batch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from farthing.theory.flops import Operation
from farthing.theory.time.roofline import Rates

MODEL_SHAPE_SHARE = 0.87
"""Share of the best matrix product of a device that the products of models reach when there are many tokens.

Source: microsoft/vidur, data/profiling/compute/{h100,a100}: 14,000 medians of the four products of a layer, six
to eight models, 8 to 4,096 tokens, one GPU; fitted here together with the next constant (16-bit, root mean
square error 11 %, medians +4 % on H100 and −3 % on A100; 5th to 95th percentile −21 to +22 %).
"""

EXPOSED_WEIGHT_SHARE = 0.7
"""Share of the time of loading its weights that a matrix product does not hide behind its FLOPs.

It is why few tokens reach less of the peak, and why the tokens that do scale with a device's ridge point.
Source: as for `MODEL_SHAPE_SHARE`.
"""

BANDWIDTH_SHARE = 0.8
"""Share of the datasheet's bandwidth that kernels reach. KERNEL_S: what each takes beside its work, in seconds.

Source: ai-dynamo/aiconfigurator, systems/*.yaml, mem_bw_empirical_scaling_factor and
mem_empirical_constant_latency, the same for A100, H100, H200 and B200.
"""

KERNEL_S = 3e-6

FLASH_ATTENTION_3 = ((512, 430.3), (1024, 517.1), (2048, 565.5), (4096, 590.2), (8192, 614.2), (16384, 620.7))
"""Tokens and TFLOP/s of attention in 16 bit on an H100 SXM: 16,384 tokens a batch, 16 heads of 128.

Source: pytorch/benchmark, pull request 2391 (flash_v3). It also gives the share of 989 TFLOP/s that other
devices are taken to reach of their own peak, but no more than their best matrix product: no table over
lengths was found for them.
"""

_FLASH_PEAK = 989.0
_ATTENTION_TILE = 128
"""Queries that a block of attention computes at once, fewer or not. Source: FlashAttention-3, arXiv 2407.08608."""

LAUNCH_S = 5e-6
"""Seconds that the host takes to launch a kernel. Source: susun-blog.com, pegainfer (3): 4–6 µs measured."""

EAGER_LAUNCH_S = 8.4e-3 / (32 * 8 + 2)
"""The same when Python launches every operation, per kernel as `steps` counts them: 33 µs.

Source: cloudai.pt, "CUDA Graphs + torch.compile": a pass of Llama-3.1-8B (32 layers) on an H100 with one token
takes 8.4 ms launched eagerly, 5.1 ms as a graph.
"""

SMALL_HIDDEN = 512
"""Hidden size below which products are too narrow for what was measured on the widths of language models."""

CALIBRATED_ERROR = 0.05
"""Error of a prediction from the model's own calibration, either way. An assumption: whole jobs are off by 1 to 2 %
where the machine is as quiet as when it was calibrated (docs/benchmarks.md)."""

CPU_SHARES = (0.87, 0.64)
"""Shares of a processor's measured matrix peak that whole models reach: expected, and at worst.

Source: all-MiniLM-L6-v2 in fp32 on two AVX2 cores: 163 of 188 GFLOP/s with OpenVINO on equal lengths, 120 with a plain
torch forward.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """What a device is taken to reach.

    Attributes:
        gemm_flops_per_s: rate of matrix products that hide their weights.
        attention_flops_per_s: rate of attention by length: (tokens, FLOP/s), tokens rising.
        bandwidth_bytes_per_s: bytes per second of memory.
        exposed_weight_s_per_byte: seconds per byte of weights that a product does not hide.
        kernel_s: seconds that each kernel takes beside its FLOPs and bytes.
        launch_s: seconds that the host takes to launch a kernel.
    """

    gemm_flops_per_s: float
    attention_flops_per_s: tuple[tuple[int, float], ...]
    bandwidth_bytes_per_s: float
    exposed_weight_s_per_byte: float = 0.0
    kernel_s: float = 0.0
    launch_s: float = 0.0


@lru_cache(maxsize=64)
def best_efficiency(rates: Rates) -> Efficiency:
    """Return the best case: the best rate known of the device, its full bandwidth, nothing in between."""
    return Efficiency(
        gemm_flops_per_s=rates.best_flops_per_s,
        attention_flops_per_s=((1, rates.best_flops_per_s),),
        bandwidth_bytes_per_s=rates.bandwidth_bytes_per_s,
    )


@lru_cache(maxsize=64)
def expected_efficiency(rates: Rates) -> Efficiency:
    """Return what is expected of the device, from published shares of its datasheet.

    Of measured rates (a processor) products and attention alike are expected to reach the share that whole
    models were seen to reach.
    """
    if rates.calibrated:
        rate = rates.achievable_flops_per_s * CPU_SHARES[0]
        return Efficiency(
            gemm_flops_per_s=rate,
            attention_flops_per_s=((1, rate),),
            bandwidth_bytes_per_s=rates.bandwidth_bytes_per_s,
        )
    scale, most = rates.peak_flops_per_s / _FLASH_PEAK, rates.achievable_flops_per_s
    return Efficiency(
        gemm_flops_per_s=rates.achievable_flops_per_s * MODEL_SHAPE_SHARE,
        attention_flops_per_s=tuple((n, min(rate * scale, most)) for n, rate in FLASH_ATTENTION_3),
        bandwidth_bytes_per_s=rates.bandwidth_bytes_per_s * BANDWIDTH_SHARE,
        exposed_weight_s_per_byte=EXPOSED_WEIGHT_SHARE / rates.bandwidth_bytes_per_s,
        kernel_s=KERNEL_S,
        launch_s=LAUNCH_S,
    )


def attention_rate(points: tuple[tuple[int, float], ...], length: int) -> float:
    """Return the FLOP/s of attention over sequences of `length` tokens.

    Between the points the rate is linear in the logarithm of the length, beyond the last it stays. Below the
    first it sinks with the slope of the first pair as far as one tile of queries, and from there in
    proportion to the length: a tile is computed whole, however few of its queries are real.
    """
    if len(points) == 1 or length >= points[-1][0]:
        return points[-1][1]
    tile = min(length, _ATTENTION_TILE) / _ATTENTION_TILE
    at = max(length, _ATTENTION_TILE)
    i = max(0, bisect_right(points, at, key=lambda point: point[0]) - 1)
    (left, low), (right, high) = points[i], points[i + 1]
    return tile * (low + (high - low) * math.log(at / left) / math.log(right / left))


def operation_s(
    op: Operation, kernels: int, length: int, efficiency: Efficiency
) -> tuple[float, float, float]:
    """Return the seconds of an operation: of its compute, of its memory, and of all of it.

    Args:
        op: the operation, summed over the layers.
        kernels: kernels that do it.
        length: tokens of a sequence, for attention.
        efficiency: what the device reaches.

    Source: the roofline (`roofline`), max(FLOPs / rate, bytes / bandwidth), and a constant for each kernel.
    """
    memory = op.total_bytes / efficiency.bandwidth_bytes_per_s
    if not op.flops:
        compute = 0.0
    elif is_attention(op):
        compute = op.flops / attention_rate(efficiency.attention_flops_per_s, length)
    else:
        exposed = op.weight_bytes * efficiency.exposed_weight_s_per_byte
        compute = op.flops / efficiency.gemm_flops_per_s + exposed
    return compute, memory, max(compute, memory) + kernels * efficiency.kernel_s


def is_attention(op: Operation) -> bool:
    """Return whether an operation is QKᵀ and AV rather than a product with weights."""
    return op.name.startswith("attention")

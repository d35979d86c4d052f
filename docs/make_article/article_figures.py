"""The article's figures on work, time, tokens, throughput and generation, as we compute them.

Each function returns the fields that a section of article.md.template names, in the unit that is printed.
"""

from __future__ import annotations

from types import SimpleNamespace

from article_material import (
    BYTES,
    H100,
    H100_BANDWIDTH,
    H100_MATMUL,
    H100_USD,
    LENGTH,
    RTX4090,
    STATED,
    Material,
)

from farthing.theory.flops import article_flops, attention_flops, forward_flops, linear_flops_per_token
from farthing.theory.generation import decode_intensity_limit, generation, lm_head
from farthing.theory.pricing import usd_per_million_tokens
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import datasheet_rates
from farthing.theory.time.steps import StepModel

BATCHES = (1, 8, 32, 128, 256)


def work_figures(m: Material) -> SimpleNamespace:
    """Return the figures on the FLOPs of a pass."""
    shape, h = m.shape, m.shape.hidden
    causal, theirs = forward_flops(shape, [LENGTH]), article_flops(shape, LENGTH)
    full_attention = shape.layers * 4 * LENGTH**2 * shape.attention_width
    coefficient = 2 * shape.linear_parameters / shape.layers / h**2
    return SimpleNamespace(
        ours_tflop=causal.total / 1e12,
        theirs_tflop=theirs / 1e12,
        excess=theirs / causal.total - 1,
        excess_8192=article_flops(shape, 8192) / forward_flops(shape, [8192]).total - 1,
        coefficient=coefficient,
        linear_gparams=shape.linear_parameters / 1e9,
        total_gparams=shape.total_parameters / 1e9,
        gflop_per_token=linear_flops_per_token(shape) / 1e9,
        mlp_share=2 * 3 * (3.5 - shape.intermediate / h) / 25.5,
        kv_share=2 * 2 * (shape.kv_width / h - 1 / 8) / 25.5,
        attention_tflop=causal.attention / 1e12,
        full_attention_tflop=full_attention / 1e12,
        full_tflop=(causal.linear + full_attention) / 1e12,
        extra_share=shape.layers * (10 * LENGTH * h + 5 * LENGTH**2 * shape.heads) / theirs,
        head_gflop=lm_head(shape, 1, BYTES).flops / 1e9,
        footnote=article_flops(shape, STATED) / theirs - 1,
        footnote_true=1 - _flops(shape, m.true[STATED]) / causal.total,
    )


def time_figures(m: Material) -> SimpleNamespace:
    """Return the figures on bytes, seconds and the bound, all of the H100."""
    shape, spec = m.shape, m.specs[H100]
    streamed, table = BYTES * shape.linear_parameters, BYTES * shape.embedding_parameters
    bandwidth = spec.bandwidth_bytes_per_s
    theirs_s = article_flops(shape, LENGTH) / H100_MATMUL
    ours_s = _flops(shape, LENGTH) / H100_MATMUL
    predicted = _steps(m).seconds(1, round(m.true[STATED]))
    return SimpleNamespace(
        product_tflops=528 * 1.83e9 * 1024 / 1e12,
        peak_tflops=spec.peak_flops_per_s["bf16"] / 1e12,
        achievable_tflops=spec.achievable_flops_per_s["bf16"] / 1e12,
        streamed_gb=streamed / 1e9,
        table_gb=table / 1e9,
        bandwidth_tbs=bandwidth / 1e12,
        memory_ms=streamed / bandwidth * 1e3,
        theirs_memory_ms=(streamed + table) / H100_BANDWIDTH * 1e3,
        theirs_ms=theirs_s * 1e3,
        ours_ms=ours_s * 1e3,
        theirs_bound=1 / theirs_s,
        ours_bound=1 / ours_s,
        true_bound=H100_MATMUL / _flops(shape, m.true[STATED]),
        best_1040=max(cell["embeddings_per_s"] for cell in m.cells(H100) if cell["stated_tokens"] == STATED),
        crossover_tokens=streamed / bandwidth * H100_MATMUL / linear_flops_per_token(shape),
        predicted_ms=predicted.mid * 1e3,
        predicted_low_ms=predicted.low * 1e3,
        predicted_high_ms=predicted.high * 1e3,
        predicted_260_ms=_steps(m).seconds(1, round(m.true[260])).mid * 1e3,
    )


def token_figures(m: Material) -> SimpleNamespace:
    """Return the figures on what a token is."""
    this = next(row for row in m.lengths if row["stated_tokens"] == STATED)
    own = [row["true_over_stated"] for one in m.recount["own_lists"] for row in one["lengths"]]
    fastest = max(cell["embeddings_per_s"] for cell in m.cells(RTX4090) if cell["stated_tokens"] == 5200)
    return SimpleNamespace(
        all_true=", ".join(f"{row['tokens']:.0f}" for row in m.lengths),
        all_shares=", ".join(f"{row['true_over_stated']:.3f}" for row in m.lengths),
        true_260=m.true[260],
        true_1040=m.true[STATED],
        least_1040=this["least"],
        most_1040=this["most"],
        texts=m.recount["texts_per_length"],
        different_words=m.recount["article"]["different_words"],
        per_word=(this["tokens"] - m.recount["end_token"]) / this["words"],
        prose_per_word=m.recount["prose"]["tokens_per_word"],
        prose_texts=m.recount["prose"]["texts"],
        own_lists=len(m.recount["own_lists"]),
        own_low=min(own),
        own_high=max(own),
        rtx_5200_tflops=fastest * _flops(m.shape, 5200) / 1e12,
        rtx_peak_tflops=m.specs[RTX4090].peak_flops_per_s["bf16"] / 1e12,
        package=m.recount["vocabulary"]["package"],
        file=m.recount["vocabulary"]["file"],
    )


def bench_figures(m: Material) -> SimpleNamespace:
    """Return the figures on throughput and batching, all of the H100."""
    fitted = m.fit["devices"][H100]
    lone, last = m.cell(H100, STATED, 1), m.cell(H100, STATED, 128)
    lone_s = fitted["latency_s"] + lone["device_s"]
    last_s = 128 / last["predicted_embeddings_per_s"]
    return SimpleNamespace(
        lone_ms=1e3 / lone["embeddings_per_s"],
        lone_model_ms=lone_s * 1e3,
        lone_share=fitted["latency_s"] / lone_s,
        gain_260=_gain(m, 260, 64),
        gain_520=_gain(m, 520, 64),
        gain_5200=_gain(m, 5200, 64),
        gain_1040_128=_gain(m, STATED, 128),
        gain_260_128=_gain(m, 260, 128),
        host_gain_260=_host_gain(m, 260, 64),
        host_gain_520=_host_gain(m, 520, 64),
        host_gain_5200=_host_gain(m, 5200, 64),
        host_gain_260_128=_host_gain(m, 260, 128),
        left_260=_gain(m, 260, 128) / _host_gain(m, 260, 128),
        best_stated=m.best_tokens_per_s(H100, true=False),
        best_true=m.best_tokens_per_s(H100, true=True),
        last_model_s=last_s,
        wait_ratio=128 / last["embeddings_per_s"] * lone["embeddings_per_s"],
        attention_2600=_attention_share(m.shape, 2600),
        attention_8000=_attention_share(m.shape, 8000),
        attention_2600_true=_attention_share(m.shape, m.true[2600]),
        attention_8000_true=_attention_share(m.shape, 8000 * m.share(5200)),
        linear_2600=1 - _attention_share(m.shape, m.true[2600]),
    )


def decode_figures(m: Material) -> SimpleNamespace:
    """Return the figures on text generation with the same weights on the H100."""
    steps = _steps(m)
    contrast = generation(steps, LENGTH, BATCHES, H100_USD)
    assert contrast is not None
    alone_s = steps.seconds(1, LENGTH).mid
    rows = []
    for batch, write in zip(BATCHES, contrast.decode, strict=True):
        read_s = steps.seconds(batch, LENGTH).mid
        rate = batch * LENGTH / read_s
        assert write.usd_per_million_tokens is not None
        rows.append(
            f"| {batch} | {rate:,.0f} | {usd_per_million_tokens(H100_USD, rate) * 100:.2f} | {read_s * 1e3:,.0f} ms "
            f"| {write.tokens_per_s:,.0f} | {write.usd_per_million_tokens * 100:.1f} | {write.seconds * 1e3:.1f} ms "
            f"| {write.arithmetic_intensity:.0f} |"
        )
    largest, write = BATCHES[-1], contrast.decode[-1]
    slowdown = steps.seconds(largest, LENGTH).mid / alone_s
    return SimpleNamespace(
        context=LENGTH,
        rows="\n".join(rows),
        largest=largest,
        decode_gain=write.gain,
        decode_slowdown=write.slowdown,
        prefill_gain=largest / slowdown,
        prefill_slowdown=slowdown,
        kv_mb=contrast.kv_bytes_per_sequence / 1e6,
        room=contrast.largest_batch,
        limit_1024=decode_intensity_limit(m.shape, 1024, BYTES),
        limit_8192=decode_intensity_limit(m.shape, 8192, BYTES),
        ridge=contrast.ridge_point,
    )


def _flops(shape: ModelShape, tokens: float) -> int:
    return forward_flops(shape, [round(tokens)]).total


def _steps(m: Material) -> StepModel:
    """The model on the H100, of which nothing was measured: datasheet and published kernels."""
    return StepModel(m.shape, datasheet_rates(m.specs[H100], "bf16"))


def _attention_share(shape: ModelShape, tokens: float) -> float:
    return attention_flops(shape, round(tokens)) / _flops(shape, tokens)


def _gain(m: Material, stated: int, concurrent: int) -> float:
    """How much faster the H100's server is with so many requests at once than with one."""
    return m.rate(H100, stated, concurrent) / m.rate(H100, stated, 1)


def _host_gain(m: Material, stated: int, concurrent: int) -> float:
    """The same as the fit has it, where the device's time per text does not change with company."""
    many, one = (m.cell(H100, stated, n)["predicted_embeddings_per_s"] for n in (concurrent, 1))
    return many / one

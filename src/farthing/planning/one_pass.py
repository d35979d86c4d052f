"""From a model on a device and its price to an Explanation.

Everything is an argument. Knows no catalog, no file, no screen.
"""

from __future__ import annotations

from farthing.errors import InputError
from farthing.planning.explanation import (
    BatchRow,
    Explanation,
    HostShare,
    HourlyPrice,
    MemoryNeed,
    MillionTokens,
    OperationShare,
    PassFlops,
    PassSeconds,
)
from farthing.theory.dtypes import DTYPE_BYTES
from farthing.theory.energy import energy_per_million_tokens
from farthing.theory.flops import article_flops, forward_flops, linear_flops_per_token, operations
from farthing.theory.generation import generation
from farthing.theory.host import HostPath
from farthing.theory.pricing import RentalPrice, usd_per_million_tokens
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import (
    ACTIVATIONS_ERROR,
    arithmetic_intensity,
    bytes_moved,
    memory_needed_bytes,
    ridge_point,
    total_flops,
    weight_bytes,
)
from farthing.theory.time.steps import Bound, StepModel
from farthing.units import format_number

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Batches that latency and throughput are shown for: the article's own."""


def build_explanation(
    steps: StepModel,
    host: HostPath,
    *,
    model: str,
    batch: int,
    length: int,
    price: RentalPrice | None = None,
    utilization: float | None = None,
    power_w: float | None = None,
) -> Explanation:
    """Explain one forward pass of `batch` texts of `length` tokens each.

    Args:
        steps: the model on the device. Of measured rates, each of several streams is taken to get an equal
            share.
        host: the host before it.
        model: name of the model, to be shown.
        batch: texts per pass.
        length: tokens per text.
        price: price of the device; None leaves the USD fields None.
        utilization: an extra utilization to price at, above 0 and at most 1.
        power_w: rated power of the device; None leaves the energy None.

    Raises:
        InputError: `batch` or `length` is not positive, or `utilization` is out of range.
    """
    if utilization is not None and not 0 < utilization <= 1:
        raise InputError(f"utilization is {utilization}: give a fraction above 0 and at most 1")
    shape, rates = steps.shape, steps.rates
    kernels = steps.kernel_times(batch, length)
    ops = [kernel.operation for kernel in kernels]
    flops = forward_flops(shape, [length] * batch)
    tokens, moved = batch * length, bytes_moved(ops)
    step = steps.seconds(batch, length)
    tokens_per_s = steps.streams * tokens / step.mid
    saturated_at = steps.saturation_tokens(length)
    needed = memory_needed_bytes(shape, tokens, DTYPE_BYTES[rates.dtype])
    intensity = arithmetic_intensity(flops.total, moved)
    ridge = ridge_point(rates.peak_flops_per_s, rates.bandwidth_bytes_per_s)
    usd_per_hour = None if price is None else price.value
    beside = _host(host, steps, length, usd_per_hour)

    def per_million(share: float | None) -> float | None:
        if usd_per_hour is None or share is None:
            return None
        return usd_per_million_tokens(usd_per_hour, tokens_per_s, share)

    return Explanation(
        model=model,
        device=rates.device,
        dtype=rates.dtype,
        length=length,
        batch=batch,
        linear_parameters=shape.linear_parameters,
        flops=PassFlops(
            linear=flops.linear,
            attention=flops.attention,
            total=flops.total,
            per_token=flops.total / tokens,
        ),
        article_flops=batch * article_flops(shape, length),
        article_reason=_article_reason(shape),
        weight_bytes_read=weight_bytes(ops),
        bytes_moved=moved,
        memory=MemoryNeed(
            needed_bytes=needed,
            available_bytes=rates.memory_bytes,
            fits=None if rates.memory_bytes is None else needed <= rates.memory_bytes,
        ),
        arithmetic_intensity=intensity,
        ridge_point=ridge,
        bound="compute" if intensity > ridge else "memory",
        seconds=PassSeconds(
            compute=flops.total * steps.streams / rates.achievable_flops_per_s,
            memory=moved * steps.streams / rates.bandwidth_bytes_per_s,
            step=step.mid,
            low=step.low,
            high=step.high,
        ),
        basis=steps.basis,
        basis_source=steps.basis_source,
        ops=_operations(steps, batch, length),
        streams=steps.streams,
        tokens_per_s=tokens_per_s,
        saturation_tokens=saturated_at,
        saturated_tokens_per_s=steps.tokens_per_s(length),
        batches=_batches(steps, length, host, usd_per_hour, saturated_at // length),
        host=beside,
        generation=generation(steps, length, BATCHES, usd_per_hour),
        energy=energy_per_million_tokens(power_w, min(tokens_per_s, host.tokens_per_s(length))),
        rates=rates,
        usd_per_hour=_hourly(price),
        utilization=utilization,
        usd_per_million_tokens=MillionTokens(
            at_100_percent=per_million(1.0),
            at_10_percent=per_million(0.1),
            at_utilization=per_million(utilization),
        ),
        notes=_notes(steps, batch, length, price=price, needed_bytes=needed, host=beside),
    )


def _operations(steps: StepModel, batch: int, length: int) -> tuple[OperationShare, ...]:
    """Return the operations; their seconds add up to the step's.

    Where the model was measured, its step is split as expected. Else what a step takes beyond its kernels is the
    wait for their launches, in a row of its own.
    """
    kernels = steps.kernel_times(batch, length)
    busy, step_s = sum(kernel.seconds for kernel in kernels), steps.seconds(batch, length).mid
    scale = step_s / busy if steps.model_calibration else 1.0

    def row(name: str, flops: int, moved: int, seconds: float, bound: Bound) -> OperationShare:
        return OperationShare(
            name=name,
            flops=flops,
            bytes=moved,
            arithmetic_intensity=arithmetic_intensity(flops, moved) if moved else 0.0,
            seconds=seconds,
            share=seconds / step_s,
            bound=bound,
        )

    ops = ((kernel.operation, kernel) for kernel in kernels)
    rows = [row(op.name, op.flops, op.total_bytes, k.seconds * scale, k.bound) for op, k in ops]
    if steps.launch_bound(batch, length):
        rows.append(row("waiting for launches", 0, 0, step_s - busy, "overhead"))
    return tuple(rows)


def _batches(
    steps: StepModel, length: int, host: HostPath, usd_per_hour: float | None, saturated: int
) -> tuple[BatchRow, ...]:
    """Return a row for each of `BATCHES`, and one for the batch that saturates the device."""
    host_s, host_rate = host.lone_s(length), host.tokens_per_s(length)
    alone = steps.seconds(1, length).mid
    value_bytes, memory = DTYPE_BYTES[steps.rates.dtype], steps.rates.memory_bytes
    rows = []
    for batch in sorted({*BATCHES, saturated}):
        seconds = steps.seconds(batch, length)
        rate = steps.streams * batch * length / seconds.mid
        needed = memory_needed_bytes(steps.shape, batch * length, value_bytes)
        ops = operations(steps.shape, batch, length, value_bytes)
        flops = total_flops(ops)
        rows.append(
            BatchRow(
                batch=batch,
                saturates=batch >= saturated,
                seconds=seconds,
                latency_s=seconds.mid + host_s,
                tokens_per_s=rate,
                served_tokens_per_s=min(rate, host_rate),
                gain=batch * alone / seconds.mid,
                slowdown=seconds.mid / alone,
                arithmetic_intensity=arithmetic_intensity(flops, bytes_moved(ops)),
                flops_per_s=steps.streams * flops / seconds.mid,
                fits=None if memory is None else needed <= memory,
                usd_per_million_tokens=None
                if usd_per_hour is None
                else usd_per_million_tokens(usd_per_hour, min(rate, host_rate)),
            )
        )
    return tuple(rows)


def _host(path: HostPath, steps: StepModel, length: int, usd_per_hour: float | None) -> HostShare:
    """Return the host beside the device."""
    busy, device = path.busy_s(length), length / steps.tokens_per_s(length).mid
    tokens_per_s, alone = length / max(busy, device), steps.seconds(1, length).mid
    return HostShare(
        busy_s=busy,
        device_s=device,
        lone_s=path.lone_s(length),
        lone_device_s=alone,
        lone_latency_s=path.lone_s(length) + alone,
        tokens_per_s=tokens_per_s,
        limited_by="host" if busy > device else "device",
        usd_per_million_tokens=None
        if usd_per_hour is None
        else usd_per_million_tokens(usd_per_hour, tokens_per_s),
        source=path.source,
    )


def _article_reason(shape: ModelShape) -> str:
    if not shape.layers:
        return "it has no layers: both formulas give nothing"
    coefficient = linear_flops_per_token(shape) / (shape.layers * shape.hidden**2)
    causal = "; it counts the full attention matrix, a causal model needs half" if shape.causal else ""
    return f"its 25.5·h² per token and layer is Llama-70B's, this model's is {coefficient:.1f}·h²{causal}"


def _hourly(price: RentalPrice | None) -> HourlyPrice:
    if price is None:
        return HourlyPrice()
    return HourlyPrice(
        value=price.value,
        min=price.min,
        max=price.max,
        as_of=price.as_of,
        provider=price.provider,
        quotes=price.offers,
        stale=price.stale,
        sources=() if price.source is None else (price.source,),
    )


def _most_bytes(steps: StepModel, tokens: int) -> int:
    return memory_needed_bytes(steps.shape, tokens, DTYPE_BYTES[steps.rates.dtype], ACTIVATIONS_ERROR)


def _notes(
    steps: StepModel,
    batch: int,
    length: int,
    *,
    price: RentalPrice | None,
    needed_bytes: int,
    host: HostShare,
) -> tuple[str, ...]:
    rates, measured = steps.rates, steps.model_calibration
    notes = []
    if not steps.shape.layers:
        notes.append(
            "a static model: each token is looked up and averaged, so memory binds and FLOPs are none"
        )
    if measured is not None:
        notes.append(f"step time measured for this model on this machine, {measured.measured_at}, ±5 %")
        times = measured.step_times
        if not (
            times.lengths[0] <= length <= times.lengths[-1]
            and times.step_tokens[0] <= batch * length <= times.step_tokens[-1]
        ):
            notes.append("batch × length lies outside the measured grid: the step time is extrapolated")
        notes.append(
            f"steps beyond {times.step_tokens[-1]:,} tokens are taken to run at the tokens/s of those"
        )
        if measured.streams > 1:
            notes.append(f"{measured.streams} passes run side by side; tokens/s counts all of them")
    elif rates.calibrated:
        notes.append(
            "this model was not calibrated here: taken from the machine's measured peak; run `farthing calibrate`"
        )
    else:
        notes.append("from the datasheet and what kernels are published to reach, not measured")
    if steps.launch_bound(batch, length):
        notes.append("launch-bound: the device waits for the host to launch kernels; larger batches are free")
    if host.limited_by == "host":
        notes.append(
            f"one server process is slower than the device, {format_number(host.busy_s / host.device_s)} times: "
            "it takes several, or fewer and larger requests, to keep the device busy"
        )
    if price is None:
        notes.append("no price is known for this device: give --usd-per-hour")
    elif price.stale:
        notes.append(f"the price is old: its newest quote is of {price.as_of}")
    have = rates.memory_bytes
    if have is not None and needed_bytes > have:
        notes.append("does not fit into the device's memory: smaller batch, smaller dtype or another device")
    elif have is not None and _most_bytes(steps, batch * length) > have:
        notes.append(f"may not fit: real runners keep up to {ACTIVATIONS_ERROR:g} times these activations")
    return tuple(notes)

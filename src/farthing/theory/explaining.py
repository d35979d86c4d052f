"""From a shape, the rates of a device and its price to an Explanation.

Everything is an argument. Knows no catalog, no file, no screen.
"""

from __future__ import annotations

from farthing.errors import InputError
from farthing.theory.devices import DTYPE_BYTES, ModelCalibration
from farthing.theory.explanation import (
    Explanation,
    HourlyPrice,
    MemoryNeed,
    MillionTokens,
    PassFlops,
    PassSeconds,
)
from farthing.theory.flops import article_flops, forward_flops, linear_flops_per_token, operations
from farthing.theory.pricing import RentalPrice, usd_per_million_tokens
from farthing.theory.roofline import (
    Rates,
    arithmetic_intensity,
    bytes_moved,
    memory_needed_bytes,
    ridge_point,
    step_seconds,
    total_flops,
    weight_bytes,
)
from farthing.theory.shapes import ModelShape

DATASHEET_ERROR = 0.30
"""How much longer a step may take than predicted from a datasheet: the worst published error, 12–30 %.

Source: design/theory.md, "Time of one step".
"""

CALIBRATED_ERROR = 0.05
"""Error of a prediction from the model's own calibration, either way: 3–5 % is expected. Same source."""


def build_explanation(
    *,
    model: str,
    shape: ModelShape,
    rates: Rates,
    batch: int,
    length: int,
    price: RentalPrice | None = None,
    utilization: float | None = None,
    model_calibration: ModelCalibration | None = None,
) -> Explanation:
    """Explain one forward pass of `batch` texts of `length` tokens each.

    Args:
        model: name of the model, to be shown.
        shape: its shape.
        rates: the device. Of measured rates, each of several streams is taken to get an equal share.
        batch: texts per pass.
        length: tokens per text.
        price: price of the device; None leaves the USD fields None.
        utilization: an extra utilization to price at, above 0 and at most 1.
        model_calibration: this model's own step times on the device; they replace the roofline's step time.

    Raises:
        InputError: `batch` or `length` is not positive, `utilization` is out of range, or the model's
            calibration is in another dtype than the rates.
    """
    bytes_per_value = DTYPE_BYTES[rates.dtype]
    ops = operations(shape, batch, length, bytes_per_value)
    flops = forward_flops(shape, [length] * batch)
    tokens, moved = batch * length, bytes_moved(ops)
    streams = model_calibration.streams if model_calibration else 1
    seconds = _seconds(shape, rates, batch, length, model_calibration)
    tokens_per_s = streams * tokens / seconds.step
    needed = memory_needed_bytes(shape, ops, tokens, bytes_per_value)
    intensity = arithmetic_intensity(flops.total, moved)
    ridge = ridge_point(rates.peak_flops_per_s, rates.bandwidth_bytes_per_s)

    def per_million(share: float | None) -> float | None:
        if price is None or share is None:
            return None
        return usd_per_million_tokens(price.value, tokens_per_s, share)

    if utilization is not None and not 0 < utilization <= 1:
        raise InputError(f"utilization is {utilization}: give a fraction above 0 and at most 1")
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
        seconds=seconds,
        streams=streams,
        tokens_per_s=tokens_per_s,
        rates=rates,
        usd_per_hour=_hourly(price),
        utilization=utilization,
        usd_per_million_tokens=MillionTokens(
            at_100_percent=per_million(1.0),
            at_10_percent=per_million(0.1),
            at_utilization=per_million(utilization),
        ),
        notes=_notes(rates, batch, length, price=price, measured=model_calibration, needed_bytes=needed),
    )


def _seconds(
    shape: ModelShape, rates: Rates, batch: int, length: int, measured: ModelCalibration | None
) -> PassSeconds:
    ops = operations(shape, batch, length, DTYPE_BYTES[rates.dtype])
    flops, moved = total_flops(ops), bytes_moved(ops)
    streams = measured.streams if measured else 1
    rate, bandwidth = rates.achievable_flops_per_s / streams, rates.bandwidth_bytes_per_s / streams
    if measured is None:
        step = step_seconds(ops, rate, bandwidth)
        low = step_seconds(ops, rates.best_flops_per_s, bandwidth)
        high = step * (1 + DATASHEET_ERROR)
    elif measured.dtype != rates.dtype:
        raise InputError(
            f"{measured.model} was calibrated in {measured.dtype}, the device in {rates.dtype}: "
            "run `farthing calibrate` again"
        )
    else:
        step = measured.step_times.step_s(batch, length)
        low, high = step * (1 - CALIBRATED_ERROR), step * (1 + CALIBRATED_ERROR)
    return PassSeconds(compute=flops / rate, memory=moved / bandwidth, step=step, low=low, high=high)


def _article_reason(shape: ModelShape) -> str:
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
        quotes=price.quotes,
        stale=price.stale,
        sources=price.sources,
    )


def _notes(
    rates: Rates,
    batch: int,
    length: int,
    *,
    price: RentalPrice | None,
    measured: ModelCalibration | None,
    needed_bytes: int,
) -> tuple[str, ...]:
    notes = []
    if measured is not None:
        notes.append(f"step time measured for this model on this machine, {measured.measured_at}, ±5 %")
        times = measured.step_times
        if not (
            times.lengths[0] <= length <= times.lengths[-1]
            and times.step_tokens[0] <= batch * length <= times.step_tokens[-1]
        ):
            notes.append("batch × length lies outside the measured grid: the step time is extrapolated")
        if measured.streams > 1:
            notes.append(f"{measured.streams} passes run side by side; tokens/s counts all of them")
    elif rates.calibrated:
        notes.append("this model was not calibrated here: a lower bound from this machine's measured peak")
    else:
        notes.append(
            "from the datasheet, not measured; a launch-bound run under 500 tokens may take twice as long"
        )
    if price is None:
        notes.append("no price is known for this device: give --usd-per-hour")
    elif price.stale:
        notes.append(f"the price is old: its newest quote is of {price.as_of}")
    if rates.memory_bytes is not None and needed_bytes > rates.memory_bytes:
        notes.append("does not fit into the device's memory: smaller batch, smaller dtype or another device")
    return tuple(notes)

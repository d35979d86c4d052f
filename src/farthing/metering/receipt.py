"""The receipt of a job: what was computed, how long it took, how near to the limit, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from farthing.theory.time.roofline import mfu
from farthing.theory.work import Work
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

_BUSY_CALIBRATION = (
    "faster than the measured peak, so the calibration was made on a busy machine: MFU and prediction are wrong; "
    "it was discarded, and the next run measures anew"
)

_MOST_OF_PEAK = 1.05
"""A device can beat its measured peak by noise, not by more."""

PredictionBasis = Literal["all", "sample of the lengths"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Tokens of a job, by the model's own tokenizer: `input` over all texts, `useful` over those computed."""

    input: int
    useful: int
    padded: int
    reused: int
    trimmed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Where the time went. Tokenization and writing overlap with the device, so the parts exceed the wall.

    `device` is the streams' busy seconds divided by the number of streams; `startup` (scanning the input,
    loading the model) comes before `wall`.
    """

    wall: float
    device: float
    tokenization: float
    writing: float
    startup: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopCounts:
    """`useful`: each text at its true length; `executed`: the shapes that ran, padding included."""

    useful: int
    executed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the job cost on this machine in USD; all None when the machine's price is not known.

    `total` is for the wall seconds, `marginal_per_million_tokens` for the device-busy seconds alone.
    """

    per_hour: float | None
    total: float | None
    marginal_per_million_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What the same tokens would cost on another device or at a provider."""

    device: str | None
    provider: str | None
    model: str
    usd_per_million_tokens: float
    usd_total: float
    as_of: str
    source: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a job did and what it really cost. Times in seconds, rates per second, money in USD.

    Attributes:
        model: name of the model.
        revision: revision of its weights.
        device: what it ran on.
        dtype: dtype of the matrix products.
        texts: texts read.
        embedded: texts that got a vector.
        duplicates: texts that repeated an earlier one and were not computed again.
        cached: texts that an earlier call had computed and that were served from memory.
        failed: texts that got none.
        truncated: texts cut at the length limit.
        tokens: exact token counts.
        seconds: where the time went.
        tokens_per_s: useful tokens / wall seconds.
        flops: useful and executed FLOPs.
        mfu: useful FLOPs / wall seconds / peak.
        mfu_device: useful FLOPs / device-busy seconds / peak.
        peak_flops_per_s: best matrix product measured on this machine.
        peak_source: which library and shape reached that peak.
        predicted_seconds: fixed before the first batch ran; None when nothing was predicted.
        prediction_error: |predicted − wall| / wall.
        prediction_basis: whether every length was known, or a random sample of them.
        usd: what it cost here.
        elsewhere: what the same tokens would cost elsewhere.
        warnings: what went wrong, and why a figure above should not be trusted, if one should not.
        vector_error: how far a quantized model's vectors are from those of a wider dtype, as measured when it was
            loaded: mean_cosine, least_cosine, texts, against. None where nothing is quantized.
    """

    model: str
    revision: str
    device: str
    dtype: str
    texts: int
    embedded: int
    duplicates: int
    cached: int
    failed: int
    truncated: int
    tokens: TokenCounts
    seconds: Seconds
    tokens_per_s: float
    flops: FlopCounts
    mfu: float
    mfu_device: float
    peak_flops_per_s: float
    peak_source: str
    predicted_seconds: float | None
    prediction_error: float | None
    prediction_basis: PredictionBasis | None
    usd: Cost
    elsewhere: tuple[Elsewhere, ...]
    warnings: tuple[str, ...]
    vector_error: Mapping[str, float | str] | None

    @property
    def refutes_calibration(self) -> bool:
        """Whether the device was faster than its measured peak allows, so that this peak cannot be right.

        FLOPs that ran are held against it: useful ones count what reuse and trimming saved, and may well exceed it.
        """
        return _beats_peak(self.flops.executed, self.seconds.device, self.peak_flops_per_s)

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as plain JSON types, with the documented keys."""
        return {
            **asdict(self),
            "elsewhere": [asdict(row) for row in self.elsewhere],
            "warnings": list(self.warnings),
        }


def make_receipt(
    *,
    model: str,
    revision: str,
    device: str,
    dtype: str,
    texts: int,
    duplicates: int,
    truncated: int,
    input_tokens: int,
    work: Work,
    seconds: Seconds,
    peak_flops_per_s: float,
    peak_source: str,
    predicted_seconds: float | None,
    prediction_basis: PredictionBasis | None,
    usd_per_hour: float | None,
    elsewhere: Sequence[Elsewhere] = (),
    cached: int = 0,
    failed: int = 0,
    warnings: Sequence[str] = (),
    vector_error: Mapping[str, float | str] | None = None,
) -> Receipt:
    """Turn what was counted into a receipt.

    The arguments are as in `Receipt` and `Work`; `warnings` come before the receipt's own.
    """
    total = None if usd_per_hour is None else usd_per_hour * seconds.wall / SECONDS_PER_HOUR
    refuted = _beats_peak(work.executed_flops, seconds.device, peak_flops_per_s)
    return Receipt(
        model=model,
        revision=revision,
        device=device,
        dtype=dtype,
        texts=texts,
        embedded=texts - failed,
        duplicates=duplicates,
        cached=cached,
        failed=failed,
        truncated=truncated,
        tokens=TokenCounts(
            input=input_tokens,
            useful=work.useful_tokens,
            padded=work.padded_tokens,
            reused=work.reused_tokens,
            trimmed=work.trimmed_tokens,
        ),
        seconds=seconds,
        tokens_per_s=_ratio(work.useful_tokens, seconds.wall),
        flops=FlopCounts(useful=work.useful_flops, executed=work.executed_flops),
        mfu=mfu(work.useful_flops, seconds.wall, peak_flops_per_s),
        mfu_device=mfu(work.useful_flops, seconds.device, peak_flops_per_s),
        peak_flops_per_s=peak_flops_per_s,
        peak_source=peak_source,
        predicted_seconds=predicted_seconds,
        prediction_error=None
        if predicted_seconds is None or not seconds.wall
        else abs(predicted_seconds - seconds.wall) / seconds.wall,
        prediction_basis=prediction_basis,
        usd=Cost(
            per_hour=usd_per_hour,
            total=total,
            marginal_per_million_tokens=None
            if usd_per_hour is None or not input_tokens
            else usd_per_hour * seconds.device / SECONDS_PER_HOUR / input_tokens * TOKENS_PER_MILLION,
        ),
        elsewhere=tuple(elsewhere),
        warnings=(*warnings, *([_BUSY_CALIBRATION] if refuted else [])),
        vector_error=vector_error,
    )


def _beats_peak(executed_flops: int, device_s: float, peak_flops_per_s: float) -> bool:
    return mfu(executed_flops, device_s, peak_flops_per_s) > _MOST_OF_PEAK


def _ratio(value: float, by: float) -> float:
    return value / by if by else 0.0

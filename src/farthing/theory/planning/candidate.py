"""A device that could serve a demand, at one price; and whether the model fits it.

Knows step times, hosts and prices as arguments. Knows no queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from farthing.theory.dtypes import DTYPE_BYTES
from farthing.theory.pricing import SPOT_TERMS, RentalPrice, spot_usd_per_hour
from farthing.theory.roofline import memory_needed_bytes
from farthing.theory.steps import HostPath, StepModel
from farthing.units import format_si


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device that could serve the demand, at one price.

    Attributes:
        steps: step times of the model on it.
        host: the host beside it.
        price: what an hour of it costs.
        provider: whose price that is.
        spot: whether it can be taken away.
    """

    steps: StepModel
    host: HostPath
    price: RentalPrice
    provider: str
    spot: bool = False

    @property
    def device(self) -> str:
        """Short name of the device."""
        return self.steps.rates.device

    def usd_per_hour(self, quoted: float) -> float:
        """Return what a useful hour costs at a quote: for spot devices, interruptions are paid for."""
        return spot_usd_per_hour(quoted, SPOT_TERMS) if self.spot else quoted


def memory_shortage(steps: StepModel, longest: int) -> str | None:
    """Return why a model does not fit a device with its longest text in flight, or None when it does."""
    available = steps.rates.memory_bytes
    if available is None:
        return None
    value_bytes = DTYPE_BYTES[steps.rates.dtype]
    needed = memory_needed_bytes(steps.shape, longest, value_bytes)
    if needed <= available:
        return None
    return f"does not fit: needs {format_si(needed, 'B')} of {format_si(available, 'B')} of memory"

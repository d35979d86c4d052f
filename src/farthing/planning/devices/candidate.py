"""A device that could serve a model: step times, host and price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from farthing.theory.dtypes import DTYPE_BYTES
from farthing.theory.host import HostPath
from farthing.theory.pricing import SPOT_TERMS, RentalPrice, spot_usd_per_hour
from farthing.theory.time.roofline import ACTIVATIONS_ERROR, memory_needed_bytes
from farthing.theory.time.steps import StepModel
from farthing.units import format_si


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device that could serve the demand, at one price.

    Attributes:
        steps: step times of the model on it.
        host: the host beside it.
        price: what an hour of it costs.
        spot: whether it can be taken away.
        named: whether it was asked for by name.
    """

    steps: StepModel
    host: HostPath
    price: RentalPrice
    spot: bool = False
    named: bool = False

    @property
    def device(self) -> str:
        """Short name of the device."""
        return self.steps.rates.device

    def memory_doubt(self, tokens: int) -> str | None:
        """Return why it may not fit with what real runners keep of activations, or None when it does."""
        shortage = self.memory_shortage(tokens, ACTIVATIONS_ERROR)
        return None if shortage is None else f"with all that real runners keep it {shortage}"

    def offered(self, tokens_per_s: float) -> dict[str, Any]:
        """Return the fields of `Offered`."""
        price = self.price
        return {
            "device": self.device,
            "provider": price.provider,
            "usd_per_hour": price.value,
            "usd_per_hour_min": price.min,
            "usd_per_hour_max": price.max,
            "price_as_of": price.as_of,
            "price_stale": price.stale,
            "price_source": price.source,
            "marketplace": price.market,
            "spot": self.spot,
            "basis": self.steps.basis,
            "tokens_per_s": tokens_per_s,
        }

    def usd_per_hour(self, quoted: float | None = None) -> float:
        """Return what a useful hour costs at a quote: for spot devices, interruptions are paid for."""
        quoted = self.price.value if quoted is None else quoted
        return spot_usd_per_hour(quoted, SPOT_TERMS) if self.spot else quoted

    def rented(self, replicas: int) -> int:
        """Return how many devices are paid for: as many as are sold together, or a multiple."""
        return -(-replicas // self.price.sold_by) * self.price.sold_by

    def memory_shortage(self, tokens: int, activations: float = 1.0) -> str | None:
        """Return why the model does not fit the device with a step of `tokens`, or None when it does.

        Args:
            tokens: of the largest step.
            activations: what is taken for them over the least that they need.
        """
        rates = self.steps.rates
        if rates.memory_bytes is None:
            return None
        needed = memory_needed_bytes(self.steps.shape, tokens, DTYPE_BYTES[rates.dtype], activations)
        if needed <= rates.memory_bytes:
            return None
        return (
            f"does not fit: needs {format_si(needed, 'B')} of {format_si(rates.memory_bytes, 'B')} of memory"
        )

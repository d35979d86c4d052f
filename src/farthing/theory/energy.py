"""Energy and carbon of a million tokens, bounded by the board's rated power.

Knows watts and tokens per second. Knows no meter: real power is below the rating when memory or launches bind,
and what the server around the board draws is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from farthing.errors import InputError
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

PUE = 1.56
"""Power of a data centre over that of its machines.

Source: Uptime Institute, survey of 2024, average of the respondents' largest data centres.
"""

GRID_G_PER_KWH = 481.0
"""Grams of CO₂ per kWh of electricity, worldwide in 2023. Source: Ember, as given by Statista on 2024-07-03."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """At most this much energy per million tokens, and what that assumes.

    Attributes:
        wh_per_million_tokens: watt-hours, the data centre's overhead counted.
        g_co2_per_million_tokens: grams of CO₂.
        power_w: rated power of the board.
        pue: power of the data centre over that of its machines.
        grid_g_per_kwh: grams of CO₂ per kWh.
    """

    wh_per_million_tokens: float
    g_co2_per_million_tokens: float
    power_w: float
    pue: float
    grid_g_per_kwh: float


def energy_per_million_tokens(
    power_w: float | None, tokens_per_s: float, *, pue: float = PUE, grid_g_per_kwh: float = GRID_G_PER_KWH
) -> Energy | None:
    """Return the energy of a million tokens with the board at its rated power; None when that is unknown.

    Args:
        power_w: rated power, or None.
        tokens_per_s: tokens per second while busy.
        pue: power usage effectiveness, at least 1.
        grid_g_per_kwh: carbon intensity of the electricity, at least 0.

    Raises:
        InputError: an argument is out of its range.

    Source: power × time; CO₂ = energy × carbon intensity.
    """
    if not tokens_per_s > 0:
        raise InputError(f"tokens per second is {tokens_per_s}: give a number above 0")
    if not pue >= 1:
        raise InputError(f"PUE is {pue}: give a number of at least 1")
    if not grid_g_per_kwh >= 0:
        raise InputError(f"grid intensity is {grid_g_per_kwh} g/kWh: give a number of at least 0")
    if power_w is None:
        return None
    wh = power_w * pue * TOKENS_PER_MILLION / tokens_per_s / SECONDS_PER_HOUR
    return Energy(
        wh_per_million_tokens=wh,
        g_co2_per_million_tokens=wh / 1000 * grid_g_per_kwh,
        power_w=power_w,
        pue=pue,
        grid_g_per_kwh=grid_g_per_kwh,
    )

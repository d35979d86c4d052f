"""Energy: power × time, with what it assumes."""

from __future__ import annotations

import pytest

from farthing.errors import InputError
from farthing.theory.energy import GRID_G_PER_KWH, PUE, energy_per_million_tokens


def test_by_hand() -> None:
    """700 W for 1000 s are 194 Wh at the board."""
    energy = energy_per_million_tokens(700.0, 1000.0, pue=1.5, grid_g_per_kwh=400.0)
    assert energy is not None
    assert energy.wh_per_million_tokens == pytest.approx(700 * 1000 / 3600 * 1.5)
    assert energy.g_co2_per_million_tokens == pytest.approx(0.7 * 1000 / 3600 * 1.5 * 400)


def test_the_assumptions_are_in_it() -> None:
    energy = energy_per_million_tokens(72.0, 5000.0)
    assert energy is not None
    assert (energy.power_w, energy.pue, energy.grid_g_per_kwh) == (72.0, PUE, GRID_G_PER_KWH)


def test_without_a_rated_power_there_is_none() -> None:
    assert energy_per_million_tokens(None, 1000.0) is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"tokens_per_s": 0.0}, "tokens per second"),
        ({"tokens_per_s": float("nan")}, "tokens per second"),
        ({"pue": 0.9}, "PUE"),
        ({"grid_g_per_kwh": -1.0}, "grid"),
    ],
)
def test_out_of_range(arguments: dict[str, float], named: str) -> None:
    given = {"power_w": 100.0, "tokens_per_s": 10.0, **arguments}
    with pytest.raises(InputError, match=named):
        energy_per_million_tokens(**given)

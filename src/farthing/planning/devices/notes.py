"""What a reader should know of the devices of a plan: what was measured, what is assumed, old or alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from farthing.catalog.rows import CatalogDevice
from farthing.planning.devices.candidate import Candidate
from farthing.planning.devices.on_device import Measured
from farthing.theory.pricing import SPOT_TERMS
from farthing.units import SECONDS_PER_HOUR

MEMORY = "from memory"
"""What stands in the source of a figure of the catalog that has none."""

OURS = ("NVIDIA", "8 vCPU")
"""How the names of devices begin that Farthing's engine runs on: CUDA's and processors."""


def candidate_notes(
    candidates: Sequence[Candidate],
    measured: Mapping[str, Measured],
    catalog: Sequence[CatalogDevice],
    *,
    spread: bool,
) -> tuple[str, ...]:
    """Return what should be known before the rows are believed.

    Args:
        candidates: devices with their prices.
        measured: device → what was measured of it.
        catalog: the known devices.
        spread: whether each price stands for all offers of its device, so that a lone one should be said.
    """
    notes = []
    for name, (machine, model) in measured.items():
        what = (
            "this model's step times"
            if model is not None
            else "the matrix peak and bandwidth, not this model,"
        )
        notes.append(f"{name}: {what} were measured on {machine.machine}, {machine.measured_at}")
    sheet = [c for c in candidates if c.steps.basis == "datasheet"]
    foreign = {device.device for device in catalog if not device.name.startswith(OURS)}

    def devices(which: Callable[[Candidate], bool], among: Sequence[Candidate] = candidates) -> str:
        return ", ".join(dict.fromkeys(c.device for c in among if which(c)))

    if sheet:
        notes.append(
            "step times of datasheets × published shares, not measured: up to a third longer or more; where they were "
            "off, they were mostly too short"
        )
    if unmeasured := devices(lambda c: not c.steps.rates.share_published, sheet):
        notes.append(
            f"no one has published what {unmeasured} really reach: the median share of the measured devices is taken, "
            "with a wide interval"
        )
    if remembered := devices(lambda c: MEMORY in c.steps.rates.peak_source, sheet):
        notes.append(f"the datasheet of {remembered} has figures from memory, without a source")
    if others := devices(lambda c: c.device in foreign):
        notes.append(
            f"Farthing's engine does not run on {others}: it takes another server, and these are the device's limits"
        )
    if sheet and sheet[0].host.assumed:
        notes.append(f"the server is assumed: {sheet[0].host.source}; --server names another")
    if unsourced := devices(lambda c: c.price.source is None):
        notes.append(f"prices without a source of their own: {unsourced}")
    if spread and (alone := devices(lambda c: c.price.offers == 1 and c.price.source != c.price.provider)):
        notes.append(f"one offer only, so how far prices spread is not known: {alone}")
    if stale := devices(lambda c: c.price.stale):
        notes.append(f"old prices, their newest quote is over 90 days old: {stale}")
    if devices(lambda c: c.spot):
        hours = SPOT_TERMS.mean_time_between_s / SECONDS_PER_HOUR
        notes.append(
            f"spot: an interruption every {hours:g} hours that costs "
            f"{SPOT_TERMS.lost_s + SPOT_TERMS.drain_s:g} s is assumed and paid for"
        )
    return tuple(notes)

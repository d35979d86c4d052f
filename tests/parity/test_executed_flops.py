"""The FLOPs that are billed are those that run: torch's counter over our own module, packed, trimmed, reused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from farthing.engine.folder.checkpoint import Pooling, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.network.packing import packed
from farthing.engine.network.weights import load_transformer
from farthing.theory.work import packed_batch_work, prefix_work
from small_families import FAMILIES, random_ids


def counted(run: Callable[[], object]) -> int:
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("pooling", ["mean", "last_token"])
@pytest.mark.parametrize("family", FAMILIES)
def test_executed_flops_are_what_the_counter_counts(
    family: str, pooling: Pooling, family_folder: Callable[[str], Path]
) -> None:
    checkpoint = replace(read_checkpoint(locate_model(str(family_folder(family)))), pooling=pooling)
    model, ids = load_transformer(checkpoint), random_ids()
    places = max(map(len, ids)) + 3
    inputs = [torch.from_numpy(array) for array in packed(ids, places).inputs]
    work = packed_batch_work(
        checkpoint.shape, [len(one) for one in ids], trim=checkpoint.trimmable, grid=places
    )
    assert work.executed_flops == counted(lambda: model(*inputs))
    assert (work.trimmed_flops > 0) == (pooling == "last_token")


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].causal])
def test_reuse_of_a_prefix_saves_what_is_billed(family: str, family_folder: Callable[[str], Path]) -> None:
    """The prefix once, then texts behind it; in sum as if the first text had computed it."""
    checkpoint = replace(read_checkpoint(locate_model(str(family_folder(family)))), pooling="last_token")
    model = load_transformer(checkpoint)
    prefix, ids = random_ids(seed=2)[4][:9], random_ids()
    ids = [one[:12] for one in ids[4:]]  # of one length, so that the grid is full
    inputs = [torch.from_numpy(array) for array in packed(ids).inputs]
    with torch.inference_mode():
        past = model.states(*(torch.from_numpy(array) for array in packed([prefix]).inputs))[2]
    work = packed_batch_work(
        checkpoint.shape, [21] * len(ids), prefix=9, prefix_known=True, trim=True, grid=12
    )
    assert work.reused_flops > 0
    assert work.executed_flops == counted(lambda: model(*inputs, past))
    together = work + prefix_work(checkpoint.shape, 9)
    first = packed_batch_work(checkpoint.shape, [21] * len(ids), prefix=9, trim=True)
    assert (together.reused_flops, together.reused_tokens) == (first.reused_flops, first.reused_tokens)

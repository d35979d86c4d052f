"""The FLOPs that are billed are those that run: torch's counter over the engine's own lane, whatever it saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from farthing.engine.contract import Done, Ids, Lane
from farthing.engine.folder.checkpoint import Pooling
from farthing.engine.torch.engine import Means, TorchEngine
from farthing.engine.torch.varlen import Kernel, has_plain_scores
from farthing.theory.flops import attention_pairs
from farthing.theory.work import Work
from small_families import FAMILIES, random_ids
from varlen_kernel import varlen_2_13
from ways import checkpoint_of, lane_of

CAUSAL = [name for name in FAMILIES if FAMILIES[name].causal]
ways = pytest.mark.parametrize("way", ["torch, on a grid", "torch, on tokens"])


def counted(lane: Lane, texts: Sequence[Ids], prompt: Ids | None = None, unbilled: int = 0) -> Done:
    """Return what a step became, its bill compared with the counter's."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        done = lane.run(texts, prompt)
    assert not done.failed
    assert done.work.executed_flops == counter.get_total_flops() - unbilled
    assert sum(done.works(), Work()) == done.work
    return done


@ways
@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_and_padded_trimmed_and_whole(
    family: str, pooling: Pooling, way: str, family_folder: Callable[[str], Path]
) -> None:
    checkpoint = checkpoint_of(family_folder(family), pooling)
    lane = lane_of(way, checkpoint)
    done = counted(lane, random_ids())
    counted(lane, random_ids()[3:4])
    assert (done.work.padded_flops > 0) == (
        way == "torch, on a grid" or not has_plain_scores(checkpoint.shape)
    )
    if pooling != "cls":  # which the kernel cannot always be trimmed for
        assert (done.work.trimmed_flops > 0) == (pooling == "last_token")


@ways
@pytest.mark.parametrize("family", CAUSAL)
def test_a_prefix_when_it_is_made_and_when_it_is_known(
    family: str, way: str, family_folder: Callable[[str], Path]
) -> None:
    checkpoint = checkpoint_of(family_folder(family), "last_token")
    lane = lane_of(way, checkpoint)
    prefix = random_ids(seed=2)[4][:9]
    texts = [np.concatenate((prefix, one)) for one in random_ids()[:6]]
    # A prefix is billed without the grid that it is made on, once: of 16 places, in all layers but the last.
    pairs = sum(
        attention_pairs(9, causal=True, reach=reach) for reach in checkpoint.shape.attention_reach[:-1]
    )
    on_grid = way == "torch, on a grid" or not has_plain_scores(checkpoint.shape)
    spare = 16**2 * (checkpoint.shape.layers - 1) - pairs
    unbilled = 4 * checkpoint.shape.attention_width * spare if on_grid else 0
    plain, made = counted(lane, texts), counted(lane, texts, prefix, unbilled)
    known = counted(lane, texts, prefix)
    assert plain.work.executed_flops > made.work.executed_flops > known.work.executed_flops


@pytest.mark.parametrize("pooling", ["mean", "last_token"])
@pytest.mark.parametrize("family", ["bert", "mpnet", "qwen3", "mistral"])
def test_texts_that_only_fill_a_recorded_step_up(
    family: str, pooling: Pooling, family_folder: Callable[[str], Path]
) -> None:
    kernel = None if family == "mpnet" else Kernel(varlen_2_13)
    checkpoint = checkpoint_of(family_folder(family), pooling)
    lane = TorchEngine(checkpoint, "fp32", "cpu", means=Means(kernel, record=lambda work: work)).lane()
    for texts in (random_ids(), random_ids()[2:3]):
        done = counted(lane, texts)
        ((_, step),) = done.passes
        assert step.filler
        assert done.work.padded_tokens == sum(step.filler)
        assert (sum(step.lengths) + sum(step.filler)) in (16, 256)

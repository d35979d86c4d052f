"""Every family against transformers' own fp32 module, every parameter random, in every way of running it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import farthing.engine.openvino.engine
import farthing.engine.torch.engine
from farthing.engine.contract import Done
from farthing.engine.folder.checkpoint import Checkpoint, Pooling
from farthing.engine.network.transformer import Network, network_of
from small_families import FAMILIES, LENGTHS, MOST_DEVIATION, Vectors, deviation, pooled, random_ids
from ways import WAYS, checkpoint_of, lane_of

POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "last_token", "weighted_mean")
CAUSAL = [name for name in FAMILIES if FAMILIES[name].causal]

families = pytest.mark.parametrize("family", FAMILIES)
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def _untrimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last layer be whole, whatever the pooling reads."""

    def whole(checkpoint: Checkpoint) -> Network:
        return replace(network_of(checkpoint), trim=False)

    for module in (farthing.engine.openvino.engine, farthing.engine.torch.engine):
        monkeypatch.setattr(module, "network_of", whole)


def vectors(done: Done) -> Vectors:
    assert not done.failed
    return done.vectors


@families
@pytest.mark.parametrize("pooling", POOLINGS)
@ways
def test_vectors_are_those_of_transformers(
    way: str,
    pooling: Pooling,
    family: str,
    family_folder: Callable[[str], Path],
    states: Callable[[str], list[torch.Tensor]],
) -> None:
    """Together and alone."""
    lane, ids = lane_of(way, checkpoint_of(family_folder(family), pooling)), random_ids()
    theirs = pooled(states(family), pooling)
    assert deviation(vectors(lane.run(ids)), theirs) <= MOST_DEVIATION
    alone = np.concatenate([vectors(lane.run([one])) for one in ids])
    assert deviation(alone, theirs) <= MOST_DEVIATION


@families
@pytest.mark.parametrize("pooling", ["cls", "last_token"])
@ways
@pytest.mark.usefixtures("_untrimmed")
def test_a_whole_last_layer_gives_the_same(
    way: str,
    pooling: Pooling,
    family: str,
    family_folder: Callable[[str], Path],
    states: Callable[[str], list[torch.Tensor]],
) -> None:
    done = lane_of(way, checkpoint_of(family_folder(family), pooling)).run(random_ids())
    assert deviation(vectors(done), pooled(states(family), pooling)) <= MOST_DEVIATION
    assert done.work.trimmed_flops == 0


@pytest.mark.parametrize("family", CAUSAL)
@ways
def test_a_shared_prefix_is_computed_once(
    way: str, family: str, family_folder: Callable[[str], Path]
) -> None:
    """Its keys and values, then each text behind it, against both in one."""
    lane = lane_of(way, checkpoint_of(family_folder(family), "last_token"))
    prefix = random_ids(seed=3)[4][:11]
    texts = [np.concatenate((prefix, one))[: LENGTHS[-1]] for one in random_ids()]
    plain = lane.run(texts)
    made, known = lane.run(texts, prefix), lane.run(texts, prefix)
    assert plain.work.reused_tokens == 0
    assert made.work.reused_tokens == known.work.reused_tokens - len(prefix) > 0
    for done in (made, known):
        assert deviation(vectors(done), vectors(plain)) <= MOST_DEVIATION
    alone = np.concatenate([vectors(lane.run([one], prefix)) for one in texts])
    assert deviation(alone, vectors(plain)) <= MOST_DEVIATION
    assert deviation(vectors(lane.run(texts)), vectors(plain)) <= MOST_DEVIATION  # and forgotten again

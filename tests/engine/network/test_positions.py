"""Biases by relative position, against transformers' own buckets."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch

from farthing.engine.network.positions import biases_by_distance
from makers import TINY_BERT


def test_buckets_are_those_of_mpnet() -> None:
    encoder: Any = import_module("transformers.models.mpnet.modeling_mpnet").MPNetEncoder
    longest, buckets = 200, 32
    shape = replace(TINY_BERT, relative_buckets=buckets, max_positions=longest)
    table = np.arange(buckets, dtype=np.float32)[:, None] * np.array([1, 10], np.float32)
    found = biases_by_distance(shape, table)
    assert found is not None
    assert found.shape == (2 * longest - 1, 2)
    ahead = torch.arange(1 - longest, longest)
    theirs = encoder.relative_position_bucket(ahead, num_buckets=buckets)
    np.testing.assert_array_equal(found, table[theirs.numpy()])

"""The public names: this list, each of them usable, and nothing else by accident."""

from __future__ import annotations

import importlib

import pytest

import farthing

NAMES = [
    "CorpusPlan",
    "EmbedResult",
    "Embedder",
    "Explanation",
    "FarthingError",
    "Plan",
    "Receipt",
    "explain",
    "plan",
    "plan_corpus",
]


def test_the_public_names_are_these() -> None:
    assert farthing.__all__ == NAMES
    assert dir(farthing) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_resolves_to_what_its_room_holds(name: str) -> None:
    value = getattr(farthing, name)
    assert value.__name__ == name
    assert value.__module__.startswith("farthing.")
    assert getattr(importlib.import_module(value.__module__), name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'embedd'"):
        _ = farthing.embedd
    assert not hasattr(farthing, "torch")

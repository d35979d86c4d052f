"""Folders of small models of every family, and what transformers' own modules say of the random texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from small_families import family_folders, random_ids, reference_states


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Let torch run on one thread: products as small as these are slower on several, by far where others run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what gives the folder of a family's small model."""
    return family_folders(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="session")
def states(family_folder: Callable[[str], Path]) -> Callable[[str], list[torch.Tensor]]:
    """Return transformers' last states of each of the random texts, by family; computed once."""
    known: dict[str, list[torch.Tensor]] = {}

    def of(family: str) -> list[torch.Tensor]:
        if family not in known:
            known[family] = reference_states(family_folder(family), random_ids())
        return known[family]

    return of

"""Folders of small models of every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from small_families import family_folders


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

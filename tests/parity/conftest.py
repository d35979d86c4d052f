"""Folders of small models of every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from small_families import save_family


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a family's small model, saved once."""
    known: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in known:
            from tokenizers import Tokenizer
            from tokenizers.models import WordLevel

            known[name] = save_family(name, tmp_path_factory.mktemp("family"))
            words = {letter: row for row, letter in enumerate("abcdefgh")}
            Tokenizer(WordLevel(words, unk_token="a")).save(str(known[name] / "tokenizer.json"))
        return known[name]

    return of

"""What the pages say exists: their links, the commands in them and the rooms that they draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farthing.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    known = set(COMMANDS)
    said = set(re.findall(r"(?:^|`)farthing ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert said <= known


def test_the_annotated_tree_names_every_module() -> None:
    tree = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "src" / "farthing").rglob("*.py")} - {"__init__.py"}
    commands = {path.name for path in (ROOT / "src" / "farthing" / "cli").glob("*.py")}
    assert {name for name in modules - commands if name not in tree} == set()
